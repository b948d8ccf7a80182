//! Figures, as SVG and PNG. Their letters are drawn with the font of this repository, so that they look the same
//! wherever they are drawn.

mod axis;
mod binning;
mod cumulative;
mod histogram;
mod legend;
mod lines;
mod marks;
mod notes;
mod overlay;
mod percentiles;
mod ranges;
mod stacks;
mod timeline;
mod wording;

pub use cumulative::Cumulative;
pub use histogram::{Content, Histogram};
pub use lines::{Curve, Lines, Point};
pub use notes::Note;
pub use overlay::{Overlay, Shape};
pub use ranges::{Row, Rows};
pub use stacks::{Stack, StackPanel, Stacks};
pub use timeline::{Band, Panel, Scale, Timeline, Trace};
pub use wording::Wording;

use anyhow::{anyhow, bail};
use plotters::{
    coord::Shift,
    prelude::*,
    style::{FontStyle, register_font},
};
use std::sync::OnceLock;

/// The name under which the font is known to plotters, and what an SVG viewer is told: the same font, or one as wide.
const FONT: &str = "DejaVu Sans, Verdana, sans-serif";
static FONT_FILE: &[u8] = include_bytes!("../../assets/DejaVuSans-latin.ttf");

const INK: RGBColor = RGBColor(51, 51, 51);
/// For what is of less weight.
const SOFT: RGBColor = RGBColor(96, 96, 96);
const GRID: RGBColor = RGBColor(225, 225, 225);
/// What a pixel takes.
const RGB_BYTES: usize = 3;

type Failed<DB> = DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>;
type Drawn<DB> = Result<(), Failed<DB>>;
/// What is left of an area after something was drawn at its upper end.
type Rest<DB> = Result<DrawingArea<DB, Shift>, Failed<DB>>;

/// Something that can be drawn.
pub trait Figure {
    /// In pixels.
    fn size(&self) -> (u32, u32);

    /// Draws it onto an area of that size.
    ///
    /// # Errors
    /// When plotters fails to draw.
    fn draw<DB: DrawingBackend>(&self, area: &DrawingArea<DB, Shift>) -> Drawn<DB>;

    /// What it shows, in words, for those who can't see it.
    fn description(&self) -> String;

    /// As SVG, with its description.
    ///
    /// # Errors
    /// When plotters fails to draw.
    fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        paint(self, &SVGBackend::with_string(&mut svg, self.size()).into_drawing_area())?;
        let described = format!("<svg role=\"img\" aria-label=\"{}\" ", attribute(&self.description()));
        Ok(svg.replacen("<svg ", &described, 1))
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

/// Draws the lines of a title, the first one larger, and gives what is left of the area. Lines that are too long are
/// broken.
fn titled<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, lines: &[String]) -> Rest<DB> {
    let mut rest = area.margin(10, 0, 0, 0);
    for (place, line) in lines.iter().enumerate() {
        let style = font(if place == 0 { 25 } else { 20 });
        for line in wrapped(area, line, &style)? {
            rest = rest.titled(&line, style.clone())?;
        }
    }
    Ok(rest)
}

/// Breaks a text between its words into lines that fit into the area's width, but for some margin.
fn wrapped<DB: DrawingBackend>(
    area: &DrawingArea<DB, Shift>,
    text: &str,
    style: &TextStyle<'_>,
) -> Result<Vec<String>, Failed<DB>> {
    const MARGIN_PIXELS: u32 = 60;
    let width = area.dim_in_pixel().0 - MARGIN_PIXELS;
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (longer, lines.last_mut()) {
            (Some(longer), Some(line)) if area.estimate_text_size(&longer, style)?.0 <= width => *line = longer,
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}

/// A text as an attribute of XML.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

fn load_font() -> anyhow::Result<()> {
    static LOADED: OnceLock<bool> = OnceLock::new();
    if !*LOADED.get_or_init(|| register_font(FONT, FontStyle::Normal, FONT_FILE).is_ok()) {
        bail!("the font for the plots can't be read: experiments/assets/DejaVuSans-latin.ttf is damaged");
    }
    Ok(())
}
