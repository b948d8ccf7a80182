//! A strip of percentiles: a row for each quantity, all on one logarithmic axis.

use super::{
    Drawn, GRID, SOFT,
    axis::{MarkedAxis, log_ticks, tick},
    font,
    legend::{self, Entry, Symbol},
    marks::{Marker, SERIES, Shape, draw_marker},
};
use crate::{digits::grouped, measure::Statistics};
use plotters::{
    coord::{Shift, ranged1d::Ranged},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const ROW_PIXELS: i32 = 27;
/// For the legend above the rows, and the numbers of the axis below.
const FRAME_PIXELS: i32 = 78;
/// For the names of the rows.
const NAMES_PIXELS: i32 = 275;
/// For their numbers.
const NUMBERS_PIXELS: i32 = 230;
/// What takes no time is drawn here.
const LEAST_MS: f64 = 0.01;
/// The axis is at least so many times longer than its beginning.
const SPAN_MIN: f64 = 10.0;
const COLOUR: RGBColor = SERIES[0];
const P90: RGBColor = RGBColor(128, 62, 170);
const P99: RGBColor = RGBColor(190, 80, 0);

/// What the strip takes.
pub(super) fn height_pixels(rows: usize) -> u32 {
    if rows == 0 { 0 } else { (FRAME_PIXELS + ROW_PIXELS * rows as i32) as u32 }
}

/// Draws the strip onto an area of its height; nothing without rows.
pub(super) fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, rows: &[(String, Statistics)]) -> Drawn<DB> {
    let Some((low, high)) = range_ms(rows) else { return Ok(()) };
    let marks = [("P50", P50_MARK), ("P90", P90_MARK), ("P99, in ms (logarithmic)", P99_MARK)];
    let entries = marks.map(|(text, mark)| Entry { text: text.to_owned(), symbol: Symbol::Point(mark) });
    let below = legend::draw(area, &entries)?;
    let width = area.dim_in_pixel().0 as i32;
    let top = area.dim_in_pixel().1 as i32 - below.dim_in_pixel().1 as i32;
    let pixels = (NAMES_PIXELS, width - NUMBERS_PIXELS);
    let axis = MarkedAxis {
        range: libm::log10(low)..libm::log10(high),
        marks: log_ticks(low, high).into_iter().map(libm::log10).collect(),
    };
    let bottom = top + ROW_PIXELS * rows.len() as i32 + 4;
    let style = |across, along| font(17).pos(Pos::new(across, along));
    for mark in &axis.marks {
        let x = axis.map(mark, pixels);
        area.draw(&PathElement::new([(x, top), (x, bottom)], GRID))?;
        let text = tick(&libm::exp10(*mark));
        area.draw(&Text::new(text, (x, bottom + 6), style(HPos::Center, VPos::Top)))?;
    }
    area.draw(&PathElement::new([(pixels.0, bottom), (pixels.1, bottom)], SOFT))?;
    for (text, x) in [("P50", columns(width)[0]), ("P99", columns(width)[1])] {
        area.draw(&Text::new(text, (x, top - ROW_PIXELS / 2), style(HPos::Right, VPos::Center)))?;
    }
    for (place, (name, statistics)) in rows.iter().enumerate() {
        let y = top + ROW_PIXELS * place as i32 + ROW_PIXELS / 2 + 2;
        let at = |ms: f64| (axis.map(&libm::log10(ms.max(LEAST_MS)), pixels), y);
        let Statistics { p50, p90, p99, .. } = *statistics;
        area.draw(&PathElement::new([at(p50), at(p99)], COLOUR.stroke_width(2)))?;
        draw_marker(area, at(p99), P99_MARK)?;
        draw_marker(area, at(p50), P50_MARK)?;
        draw_marker(area, at(p90), P90_MARK)?;
        area.draw(&Text::new(name.clone(), (pixels.0 - 16, y), style(HPos::Right, VPos::Center)))?;
        for (ms, x) in [p50, p99].into_iter().zip(columns(width)) {
            area.draw(&Text::new(number(ms), (x, y), style(HPos::Right, VPos::Center)))?;
        }
    }
    Ok(())
}

const P50_MARK: Marker = Marker { shape: Shape::Circle, colour: COLOUR, hollow: false, radius: 6 };
const P90_MARK: Marker = Marker { shape: Shape::Bar, colour: P90, hollow: false, radius: 6 };
const P99_MARK: Marker = Marker { shape: Shape::Diamond, colour: P99, hollow: true, radius: 6 };

/// Where the columns of numbers end.
fn columns(width: i32) -> [i32; 2] {
    [width - NUMBERS_PIXELS / 2 - 8, width - 30]
}

/// From below the least to above the largest percentile; `None` without rows.
fn range_ms(rows: &[(String, Statistics)]) -> Option<(f64, f64)> {
    const MARGIN: f64 = 1.3;
    let least = rows.iter().map(|(_, row)| row.p50).min_by(f64::total_cmp)?.max(LEAST_MS) / MARGIN;
    let largest = rows.iter().map(|(_, row)| row.p99).max_by(f64::total_cmp)?.max(LEAST_MS) * MARGIN;
    let missing = (SPAN_MIN / (largest / least)).max(1.0).sqrt();
    Some((least / missing, largest * missing))
}

/// Digits that say something: hundredths of a small number, none of a large one.
pub(super) fn number(ms: f64) -> String {
    let digits = match ms {
        small if small < 100.0 => 2,
        middle if middle < 1_000.0 => 1,
        _ => 0,
    };
    grouped(&format!("{ms:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(us: &[u64]) -> (String, Statistics) {
        (String::new(), Statistics::of(us).unwrap())
    }

    #[test]
    fn the_axis_holds_all_rows_and_is_a_decade_at_least() {
        let (low, high) = range_ms(&[row(&[500, 60_000_000]), row(&[3_000])]).unwrap();
        assert!(low < 0.5 && high > 60_000.0);
        let (low, high) = range_ms(&[row(&[3_000])]).unwrap();
        assert!(low < 3.0 && 3.0 < high && high / low > 9.9, "{low} {high}");
        assert_eq!(range_ms(&[]), None);
    }

    #[test]
    fn numbers_have_the_digits_that_matter() {
        assert_eq!([0.5, 12.345, 198.4, 60_012.5].map(number), ["0.50", "12.35", "198.4", "60,012"]);
    }
}
