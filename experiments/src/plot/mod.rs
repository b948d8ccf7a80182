//! Figures, as SVG and PNG. Their letters are drawn with the font of this repository, so that they look the same
//! wherever they are drawn.

mod axis;
mod cumulative;
mod histogram;
mod lines;
mod overlay;
mod ranges;

pub use cumulative::Cumulative;
pub use histogram::Histogram;
pub use lines::{Curve, Lines, Point};
pub use overlay::{Overlay, Shape};
pub use ranges::{Row, Rows};

use crate::digits::grouped;
use anyhow::{anyhow, bail};
use plotters::{
    coord::{CoordTranslate, Shift},
    prelude::*,
    style::{FontStyle, register_font},
};
use std::sync::OnceLock;

/// The name under which the font is known to plotters, and what an SVG viewer is told: the same font, or one as wide.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
static FONT_FILE: &[u8] = include_bytes!("../../assets/DejaVuSans-latin.ttf");

const BAR: RGBColor = RGBColor(116, 169, 207);
const BAR_EDGE: RGBColor = RGBColor(54, 112, 155);
const INK: RGBColor = RGBColor(51, 51, 51);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// What was measured elsewhere, behind ours.
const REFERENCE: RGBColor = RGBColor(210, 210, 210);
const REFERENCE_EDGE: RGBColor = RGBColor(160, 160, 160);
/// Lines that must be told apart, also by most colour-blind people (Okabe and Ito).
const SERIES: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];

/// What a pixel takes.
const RGB_BYTES: usize = 3;

type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Draws the names of a chart's series, each behind a mark of so many pixels with its margin.
fn draw_legend<'a, DB: DrawingBackend + 'a, CT: CoordTranslate>(
    chart: &mut ChartContext<'a, DB, CT>,
    position: SeriesLabelPosition,
    mark_width: u32,
) -> Drawn<DB> {
    chart
        .configure_series_labels()
        .position(position)
        .margin(14)
        .legend_area_size(mark_width)
        .background_style(WHITE.mix(0.9))
        .border_style(GRID)
        .label_font(font(17))
        .draw()
}

/// Something that can be drawn.
pub trait Figure {
    /// In pixels.
    fn size(&self) -> (u32, u32);

    /// Draws it onto an area of that size.
    ///
    /// # Errors
    /// When plotters fails to draw.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB>;

    /// As SVG.
    ///
    /// # Errors
    /// When plotters fails to draw.
    fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        paint(self, &SVGBackend::with_string(&mut svg, self.size()).into_drawing_area())?;
        Ok(svg)
    }

    /// As PNG.
    ///
    /// # Errors
    /// When plotters fails to draw, or the encoder to encode.
    fn png(&self) -> anyhow::Result<Vec<u8>> {
        let (width, height) = self.size();
        let mut pixels = vec![0; (width * height) as usize * RGB_BYTES];
        paint(self, &BitMapBackend::with_buffer(&mut pixels, self.size()).into_drawing_area())?;
        let mut file = Vec::new();
        // plotters' own encoder brings those of all other formats with it.
        let mut encoder = png::Encoder::new(&mut file, width, height);
        encoder.set_color(png::ColorType::Rgb);
        // Pictures are mostly one colour: more effort takes as long as a small run does, for half of the bytes.
        encoder.set_compression(png::Compression::Fast);
        encoder.write_header()?.write_image_data(&pixels)?;
        Ok(file)
    }
}

fn paint<DB: DrawingBackend>(figure: &(impl Figure + ?Sized), area: &DrawingArea<DB, Shift>) -> anyhow::Result<()> {
    load_font()?;
    let drawn = || -> Drawn<DB> {
        area.fill(&WHITE)?;
        figure.draw(area)?;
        area.present()
    };
    // Backends' errors are not `Sync`, so they go on as text.
    drawn().map_err(|error| anyhow!("drawing a figure: {error}"))
}

fn font(size: u32) -> TextStyle<'static> {
    (FONT, size).into_font().color(&INK)
}

/// Draws the lines of a title, the first one larger, and gives what is left of the area.
fn titled<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    lines: &[String],
) -> Result<DrawingArea<DB, Shift>, DrawingAreaErrorKind<DB::ErrorType>> {
    let mut rest = area.margin(10, 0, 0, 0);
    for (place, line) in lines.iter().enumerate() {
        rest = rest.titled(line, font(if place == 0 { 25 } else { 20 }))?;
    }
    Ok(rest)
}

/// Numbers on an axis: no digits that say nothing, and groups of three in long ones.
fn tick(value: &f64) -> String {
    let size = value.abs();
    // What comes back from a logarithm is off by a hair.
    let is_whole = (value - value.round()).abs() < 1e-9 * size;
    let digits = if size >= 10.0 || is_whole || size == 0.0 { 0 } else { 1 + usize::from(size < 0.095) };
    let text = format!("{value:.digits$}");
    if text.len() < "10000".len() { text } else { grouped(&text) }
}

/// 1, 2 and 5 of each power of ten between `low` and `high`, both positive; only the powers if that is too many.
fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let powers = (libm::log10(low).floor() as i32)..=(libm::log10(high).ceil() as i32);
    let steps: &[f64] = if high / low > 2_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = powers.flat_map(|power| steps.iter().map(move |step| step * libm::exp10(f64::from(power))));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// The ninth of a picture where a legend covers least: that with the fewest of `points`, given as shares of the width
/// and of the height, from below.
fn emptiest(points: &[(f64, f64)]) -> SeriesLabelPosition {
    use SeriesLabelPosition::{
        LowerLeft, LowerMiddle, LowerRight, MiddleLeft, MiddleMiddle, MiddleRight, UpperLeft, UpperMiddle, UpperRight,
    };
    // In the order in which a reader looks for it.
    let places = [
        (UpperRight, 2.0, 2.0),
        (UpperLeft, 0.0, 2.0),
        (LowerRight, 2.0, 0.0),
        (LowerLeft, 0.0, 0.0),
        (MiddleRight, 2.0, 1.0),
        (MiddleLeft, 0.0, 1.0),
        (UpperMiddle, 1.0, 2.0),
        (LowerMiddle, 1.0, 0.0),
        (MiddleMiddle, 1.0, 1.0),
    ];
    let within = |share: f64, third: f64| (third..=third + 1.0).contains(&(share * 3.0));
    let covered = |(_, column, row): &(SeriesLabelPosition, f64, f64)| {
        points.iter().filter(|(x, y)| within(*x, *column) && within(*y, *row)).count()
    };
    places.into_iter().min_by_key(covered).map_or(UpperRight, |place| place.0)
}

/// Points on the way along `line`, for [`emptiest`].
fn along(line: &[(f64, f64)]) -> impl Iterator<Item = (f64, f64)> {
    const STEPS: u32 = 30;
    line.windows(2).flat_map(|pair| {
        let [(x0, y0), (x1, y1)] = [pair[0], pair[1]];
        (0..=STEPS).map(move |step| {
            let share = f64::from(step) / f64::from(STEPS);
            (x0 + (x1 - x0) * share, y0 + (y1 - y0) * share)
        })
    })
}

fn load_font() -> anyhow::Result<()> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    if !*LOADED.get_or_init(|| register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok()) {
        bail!("the font for the plots can't be read: experiments/assets/DejaVuSans-latin.ttf is damaged");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_read_well() {
        let texts = [0.0, 0.05, 0.5, libm::exp10(libm::log10(5.0)), 20.4, 1_500.0, 60_000.0].map(|value| tick(&value));
        assert_eq!(texts, ["0", "0.05", "0.5", "5", "20", "1500", "60,000"]);
        assert_eq!(log_ticks(3.0, 120.0), [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(3.0, 60_000.0), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn the_legend_goes_where_the_lines_are_not() {
        let falling: Vec<(f64, f64)> = along(&[(0.0, 1.0), (1.0, 0.0)]).collect();
        assert!(matches!(emptiest(&falling), SeriesLabelPosition::UpperRight));
        let level: Vec<(f64, f64)> = along(&[(0.0, 0.9), (1.0, 0.9)]).collect();
        assert!(matches!(emptiest(&level), SeriesLabelPosition::LowerRight));
    }
}
