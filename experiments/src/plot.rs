//! The latency histogram, in the style of the thesis' figures, so that both can stand side by side.

use crate::spec::Spec;
use crate::statistics::{Statistics, ms};
use anyhow::{anyhow, bail};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};
use std::sync::OnceLock;

/// Bins of equal width over the data's range.
const BINS: usize = 49;
/// In pixels.
const SIZE: (u32, u32) = (1_200, 720);
/// The name under which the font is known to plotters, and what an SVG viewer is told: the same font, or one as wide.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
/// The letters of the figures, so that they look the same wherever they are drawn.
static FONT_FILE: &[u8] = include_bytes!("../assets/DejaVuSans-latin.ttf");

const BAR: RGBColor = RGBColor(116, 169, 207);
const BAR_EDGE: RGBColor = RGBColor(54, 112, 155);
const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(225, 225, 225);

/// A figure that can be drawn.
#[derive(Clone, Debug)]
pub struct Histogram {
    experiment: String,
    router_replicas: u32,
    statistics: Statistics,
    /// The left edge of the first bin.
    low_ms: f64,
    width_ms: f64,
    counts: [u64; BINS],
}

impl Histogram {
    /// Of a run's task latencies, which must be in ascending order; `None` if there are none.
    #[must_use]
    pub fn of(spec: &Spec, sorted_us: &[u64]) -> Option<Self> {
        let statistics = Statistics::of(sorted_us)?;
        let (low_ms, high_ms) = (ms(*sorted_us.first()?), statistics.max);
        // All samples equal: one bar, a millisecond wide in all.
        let range_ms = if high_ms > low_ms { high_ms - low_ms } else { 1.0 };
        let width_ms = range_ms / BINS as f64;
        let mut counts = [0; BINS];
        for latency in sorted_us {
            let bin = ((ms(*latency) - low_ms) / width_ms) as usize;
            counts[bin.min(BINS - 1)] += 1;
        }
        let router_replicas = spec.replicas.routers;
        Some(Self { experiment: spec.name.clone(), router_replicas, statistics, low_ms, width_ms, counts })
    }

    /// As SVG.
    ///
    /// # Errors
    /// When plotters fails to draw.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())?;
        Ok(svg)
    }

    /// As PNG.
    ///
    /// # Errors
    /// When plotters fails to draw.
    pub fn png(&self) -> anyhow::Result<Vec<u8>> {
        // plotters writes PNG into files only, and tells the format by the name.
        let file = tempfile::Builder::new().suffix(".png").tempfile()?;
        self.draw(&BitMapBackend::new(file.path(), SIZE).into_drawing_area())?;
        Ok(std::fs::read(file.path())?)
    }

    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, plotters::coord::Shift>) -> anyhow::Result<()> {
        load_font()?;
        // Backends' errors are not `Sync`, so they go on as text.
        let failed = |error: DrawingAreaErrorKind<DB::ErrorType>| anyhow!("drawing the histogram: {error}");
        area.fill(&WHITE).map_err(failed)?;
        let rest = self.draw_title(area).map_err(failed)?;
        let high_ms = self.low_ms + self.width_ms * BINS as f64;
        let margin_ms = (high_ms - self.low_ms) * 0.03;
        let highest = *self.counts.iter().max().expect("there are bins") as f64 * 1.06;
        let mut chart = ChartBuilder::on(&rest)
            .margin(12)
            .margin_right(30)
            .x_label_area_size(58)
            .y_label_area_size(84)
            .build_cartesian_2d((self.low_ms - margin_ms).max(0.0)..high_ms + margin_ms, 0.0..highest)
            .map_err(failed)?;
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
            .label_style((FONT, 17).into_font().color(&INK))
            .axis_desc_style((FONT, 19).into_font().color(&INK))
            .draw()
            .map_err(failed)?;
        chart.draw_series(self.bars()).map_err(failed)?;
        self.draw_lines(&mut chart, highest).map_err(failed)?;
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .margin(14)
            .legend_area_size(42)
            .background_style(WHITE.mix(0.9))
            .border_style(GRID)
            .label_font((FONT, 17).into_font().color(&INK))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)
    }

    fn draw_title<DB: DrawingBackend>(
        &self,
        area: &DrawingArea<DB, plotters::coord::Shift>,
    ) -> Result<DrawingArea<DB, plotters::coord::Shift>, DrawingAreaErrorKind<DB::ErrorType>> {
        let lines = [
            ("Execution DeltaTime Distribution".to_owned(), 25),
            (format!("Experiment: {}", self.experiment), 20),
            (format!("RouterReplicas: {}", self.router_replicas), 20),
        ];
        let mut rest = area.margin(10, 0, 0, 0);
        for (text, size) in lines {
            rest = rest.titled(&text, (FONT, size).into_font().color(&INK))?;
        }
        Ok(rest)
    }

    fn bars(&self) -> impl Iterator<Item = Bar> {
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).flat_map(|(bin, count)| {
            let left = self.low_ms + self.width_ms * bin as f64;
            let corners = [(left, 0.0), (left + self.width_ms, *count as f64)];
            [Rectangle::new(corners, BAR.filled()), Rectangle::new(corners, BAR_EDGE.stroke_width(1))]
        })
    }

    fn draw_lines<'a, DB: DrawingBackend + 'a>(
        &self,
        chart: &mut ChartContext<'a, DB, Plane>,
        height: f64,
    ) -> Result<(), DrawingAreaErrorKind<DB::ErrorType>> {
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

type Bar = Rectangle<(f64, f64)>;
type Plane = Cartesian2d<RangedCoordf64, RangedCoordf64>;

fn tick(value: &f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.1}") }
}

fn load_font() -> anyhow::Result<()> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    if !*LOADED.get_or_init(|| register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok()) {
        bail!("the font for the plots can't be read: experiments/assets/DejaVuSans-latin.ttf is damaged");
    }
    Ok(())
}
