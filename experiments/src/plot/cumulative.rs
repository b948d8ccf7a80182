//! Cumulative distributions over a logarithmic axis: shows where each experiment's tasks are, whatever the scale.

use super::{
    Drawn, Figure, GRID, SERIES, along, axis::MarkedAxis, draw_legend, emptiest, font, log_ticks, tick, titled,
};
use crate::measure::ms;
use plotters::{coord::Shift, prelude::*};

/// Steps of a drawn curve; finer ones could not be seen.
const STEPS: usize = 400;
/// Left end of the axis for what takes no time.
const LEAST_MS: f64 = 0.01;

/// FanOut experiments' cumulative distributions.
#[derive(Clone, Debug)]
pub struct Cumulative {
    /// The first line is the largest.
    pub title: Vec<String>,
    /// Name, and latencies in ascending order, at least one.
    pub experiments: Vec<(String, Vec<u64>)>,
}

impl Figure for Cumulative {
    fn size(&self) -> (u32, u32) {
        (1_200, 640)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let rest = titled(area, &self.title)?;
        let at = |us: u64| ms(us).max(LEAST_MS);
        let firsts = self.experiments.iter().filter_map(|(_, latencies)| latencies.first());
        let lasts = self.experiments.iter().filter_map(|(_, latencies)| latencies.last());
        let low = firsts.map(|us| at(*us)).fold(f64::MAX, f64::min) / 1.3;
        let high = lasts.map(|us| at(*us)).fold(f64::MIN, f64::max) * 1.3;
        let ticks: Vec<f64> = log_ticks(low, high).into_iter().map(libm::log10).collect();
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d(MarkedAxis { range: libm::log10(low)..libm::log10(high), marks: ticks }, 0.0..102.0)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .x_desc("latency of a task, in ms (logarithmic)")
            .y_desc("tasks up to that, in per cent")
            .x_labels(20)
            .y_labels(6)
            .x_label_formatter(&|at| tick(&libm::exp10(*at)))
            .y_label_formatter(&tick)
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        let mut covered = Vec::new();
        for (place, (name, latencies)) in self.experiments.iter().enumerate() {
            let style = SERIES[place % SERIES.len()].stroke_width(3);
            let curve = (0..=STEPS).filter(|_| !latencies.is_empty()).map(|step| {
                let index = (latencies.len() - 1) * step / STEPS;
                (libm::log10(at(latencies[index])), step as f64 * 100.0 / STEPS as f64)
            });
            let curve: Vec<(f64, f64)> = curve.collect();
            let share = |(x, y): (f64, f64)| ((x - libm::log10(low)) / libm::log10(high / low), y / 102.0);
            covered.extend(along(&curve).map(share));
            chart
                .draw_series(LineSeries::new(curve, style))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 28, y)], style));
        }
        draw_legend(&mut chart, emptiest(&covered), 38)
    }
}
