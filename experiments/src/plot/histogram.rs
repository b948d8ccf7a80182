//! The latency histogram, in the style of the thesis' figures, so that both can stand side by side.

use super::{BAR, BAR_EDGE, Drawn, Figure, GRID, INK, draw_legend, font, tick, titled};
use crate::{
    measure::{BINS, Bins, Statistics},
    spec::Spec,
};
use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};

/// The latency histogram of one run.
#[derive(Clone, Debug)]
pub struct Histogram {
    experiment: String,
    router_replicas: u32,
    statistics: Statistics,
    bins: Bins,
}

impl Histogram {
    /// Of a run's task latencies, which must be in ascending order; `None` if there are none.
    #[must_use]
    pub fn of(spec: &Spec, sorted_us: &[u64]) -> Option<Self> {
        let (statistics, bins) = (Statistics::of(sorted_us)?, Bins::of(sorted_us)?);
        let router_replicas = spec.replicas.routers;
        Some(Self { experiment: spec.name.clone(), router_replicas, statistics, bins })
    }

    fn bars(&self) -> impl Iterator<Item = Rectangle<(f64, f64)>> {
        (0..BINS).filter(|bin| self.bins.counts[*bin] > 0.0).flat_map(|bin| {
            let (left, right) = self.bins.edges_ms(bin);
            let corners = [(left, 0.0), (right, self.bins.counts[bin])];
            [Rectangle::new(corners, BAR.filled()), Rectangle::new(corners, BAR_EDGE.stroke_width(1))]
        })
    }

    fn draw_lines<'a, DB: DrawingBackend + 'a>(
        &self,
        chart: &mut ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
        height: f64,
    ) -> Drawn<DB> {
        let Statistics { mean, p50, p90, p99, .. } = self.statistics;
        let lines = [
            ("Mean", mean, RGBColor(214, 39, 40)),
            ("Median", p50, RGBColor(44, 140, 44)),
            ("P90", p90, RGBColor(128, 62, 170)),
            ("P99", p99, RGBColor(255, 127, 14)),
        ];
        for (name, at, colour) in lines {
            let style = colour.stroke_width(2);
            chart
                .draw_series(DashedLineSeries::new([(at, 0.0), (at, height)], 9, 6, style))?
                .label(format!("{name}: {at:.2} ms"))
                .legend(move |at| {
                    let dash = |from| PathElement::new([(from, 0), (from + 8, 0)], style);
                    EmptyElement::at(at) + dash(0) + dash(12) + dash(24)
                });
        }
        Ok(())
    }
}

impl Figure for Histogram {
    fn size(&self) -> (u32, u32) {
        (1_200, 720)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB> {
        let title = [
            "Execution DeltaTime Distribution".to_owned(),
            format!("Experiment: {}", self.experiment),
            format!("RouterReplicas: {}", self.router_replicas),
        ];
        let rest = titled(area, &title)?;
        let (low_ms, high_ms) = (self.bins.low_ms, self.bins.high_ms());
        let margin_ms = (high_ms - low_ms) * 0.03;
        let highest = self.bins.counts.iter().copied().fold(0.0, f64::max) * 1.06;
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d((low_ms - margin_ms).max(0.0)..high_ms + margin_ms, 0.0..highest)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .axis_style(INK)
            .x_desc("DeltaTime (ms)")
            .y_desc("Frequency")
            .x_labels(11)
            .y_labels(9)
            .x_label_formatter(&tick)
            .y_label_formatter(&tick)
            .label_style(font(17))
            .axis_desc_style(font(19))
            .draw()?;
        chart.draw_series(self.bars())?;
        self.draw_lines(&mut chart, highest)?;
        draw_legend(&mut chart, SeriesLabelPosition::UpperRight, 42)
    }
}
