//! Cumulative distributions over a logarithmic axis: shows where each experiment's tasks are, whatever the scale.

use super::{
    Drawn, Figure, GRID,
    axis::{MarkedAxis, log_ticks, tick},
    font,
    legend::{self, Entry, Symbol},
    marks::{Pixel, draw_line, draw_marker, marker, stroke},
    titled,
};
use crate::measure::{Statistics, ms};
use plotters::{coord::Shift, prelude::*};

/// Steps of a drawn curve; finer ones could not be seen.
const STEPS: usize = 400;
/// Steps from one point on a curve to the next.
const STEPS_A_POINT: usize = 80;
/// Left end of the axis for what takes no time.
const LEAST_MS: f64 = 0.01;

/// Experiments' cumulative distributions.
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

    fn description(&self) -> String {
        let numbers = |(name, latencies): &(String, Vec<u64>)| {
            let Statistics { p50, p90, p99, .. } = Statistics::of(latencies)?;
            Some(format!("{name}: P50 {}, P90 {}, P99 {} ms", tick(&p50), tick(&p90), tick(&p99)))
        };
        let all: Vec<String> = self.experiments.iter().filter_map(numbers).collect();
        format!("Cumulative distributions of latencies. {}. {}.", self.title.join(", "), all.join("; "))
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let entry = |(place, (name, _)): (usize, &(String, Vec<u64>))| {
            let symbol = Symbol::Line(stroke(place), Some(marker(place, false)));
            Entry { text: name.clone(), symbol }
        };
        let entries: Vec<Entry> = self.experiments.iter().enumerate().map(entry).collect();
        let rest = legend::draw(&titled(area, &self.title)?, &entries)?;
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
            .x_desc("latency of the try that ended a task, in ms (logarithmic)")
            .y_desc("tasks up to that, in per cent")
            .x_labels(20)
            .y_labels(6)
            .x_label_formatter(&|at| tick(&libm::exp10(*at)))
            .y_label_formatter(&tick)
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        for (place, (_, latencies)) in self.experiments.iter().enumerate() {
            let curve = (0..=STEPS).filter(|_| !latencies.is_empty()).map(|step| {
                let index = (latencies.len() - 1) * step / STEPS;
                chart.backend_coord(&(libm::log10(at(latencies[index])), step as f64 * 100.0 / STEPS as f64))
            });
            let curve: Vec<Pixel> = curve.collect();
            draw_line(area, &curve, stroke(place))?;
            // Each series has its points elsewhere, so that those of curves that lie on each other can all be seen.
            let first = STEPS_A_POINT * (2 * place + 1) / (2 * self.experiments.len());
            for point in curve.into_iter().skip(first).step_by(STEPS_A_POINT) {
                draw_marker(area, point, marker(place, false))?;
            }
        }
        Ok(())
    }
}
