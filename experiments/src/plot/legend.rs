//! The legend: a strip of its own between the title and the data, so that it covers nothing.

use super::{
    Drawn, Rest, font,
    marks::{Fill, Marker, Pixel, Stroke, draw_bar, draw_line, draw_marker},
};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const FONT_PIXELS: u32 = 17;
const ROW_PIXELS: i32 = 26;
const SYMBOL_PIXELS: i32 = 52;
const POINT_PIXELS: i32 = 24;
/// Between a symbol and its text.
const GAP_PIXELS: i32 = 8;
/// Between two entries.
const SPACE_PIXELS: i32 = 26;
/// On each side.
const MARGIN_PIXELS: i32 = 20;

/// What stands before a text.
#[derive(Clone, Copy, Debug)]
pub(super) enum Symbol {
    /// A line, with a point on it if there are any in the picture.
    Line(Stroke, Option<Marker>),
    /// A point.
    Point(Marker),
    /// A bar.
    Bar(Fill),
}

impl Symbol {
    /// How wide it is.
    fn pixels(self) -> i32 {
        match self {
            Self::Line(..) | Self::Bar(_) => SYMBOL_PIXELS,
            Self::Point(_) => POINT_PIXELS,
        }
    }
}

/// A series and how it is drawn.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) symbol: Symbol,
}

/// Draws the entries at the upper end of the area, in as many rows as it takes, and gives what is left below.
pub(super) fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, entries: &[Entry]) -> Rest<DB> {
    let mut widths = Vec::new();
    for entry in entries {
        let (text, _) = area.estimate_text_size(&entry.text, &font(FONT_PIXELS))?;
        widths.push(entry.symbol.pixels() + GAP_PIXELS + text as i32);
    }
    let width = area.dim_in_pixel().0 as i32;
    let rows = balanced_rows(&widths, width - 2 * MARGIN_PIXELS);
    let (strip, rest) = area.split_vertically(ROW_PIXELS * rows.len() as i32);
    let mut places = entries.iter().zip(widths);
    for (row, count) in (0..).zip(rows) {
        let places: Vec<_> = places.by_ref().take(count).collect();
        let all: i32 = places.iter().map(|(_, width)| width).sum::<i32>() + SPACE_PIXELS * (count as i32 - 1);
        let mut x = (width - all) / 2;
        for (entry, entry_width) in places {
            draw_entry(&strip, entry, (x, ROW_PIXELS * row + ROW_PIXELS / 2))?;
            x += entry_width + SPACE_PIXELS;
        }
    }
    Ok(rest)
}

fn draw_entry<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, entry: &Entry, (x, y): Pixel) -> Drawn<DB> {
    let width = entry.symbol.pixels();
    let middle = (x + width / 2, y);
    match entry.symbol {
        Symbol::Line(stroke, marker) => {
            draw_line(area, &[(x, y), (x + width, y)], stroke)?;
            if let Some(marker) = marker {
                draw_marker(area, middle, marker)?;
            }
        }
        Symbol::Point(marker) => draw_marker(area, middle, marker)?,
        Symbol::Bar(fill) => draw_bar(area, [(x + width / 3, y - 7), (x + width, y + 7)], fill)?,
    }
    let style = font(FONT_PIXELS).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(entry.text.clone(), (x + width + GAP_PIXELS, y), style))
}

/// As [`rows`], and as few; but no row is longer than it has to be, so that no entry is left alone in the last one.
fn balanced_rows(widths: &[i32], width: i32) -> Vec<usize> {
    const STEP_PIXELS: usize = 10;
    let fewest = rows(widths, width);
    let widest = widths.iter().copied().max().unwrap_or(0);
    let narrower = (widest..=width).step_by(STEP_PIXELS).map(|width| rows(widths, width));
    narrower.into_iter().find(|rows| rows.len() == fewest.len()).unwrap_or(fewest)
}

/// How many entries of these widths each row takes.
fn rows(widths: &[i32], width: i32) -> Vec<usize> {
    let mut rows: Vec<(usize, i32)> = Vec::new();
    for entry in widths {
        match rows.last_mut() {
            Some((count, used)) if *used + SPACE_PIXELS + entry <= width => {
                *count += 1;
                *used += SPACE_PIXELS + entry;
            }
            _ => rows.push((1, *entry)),
        }
    }
    rows.into_iter().map(|(count, _)| count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_what_fits_and_at_least_one() {
        assert_eq!(rows(&[100, 100, 100, 500, 100], 330), [2, 1, 1, 1]);
        assert_eq!(rows(&[100, 100, 100], 352), [3]);
        assert!(rows(&[], 100).is_empty());
    }

    #[test]
    fn no_entry_is_left_alone() {
        assert_eq!(rows(&[100; 6], 610), [5, 1]);
        assert_eq!(balanced_rows(&[100; 6], 610), [3, 3]);
        assert_eq!(balanced_rows(&[100; 6], 1_000), [6]);
    }
}
