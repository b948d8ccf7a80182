//! What a reader must know of a run beside its numbers, under the title.

use super::{Drawn, FONT, Rest, SOFT, font, wrapped};
use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const FONT_PIXELS: u32 = 17;
const ROW_PIXELS: i32 = 25;
/// Between the text of a warning and the end of its box.
const PADDING_PIXELS: i32 = 12;
/// For the sign before a warning.
const SIGN_PIXELS: i32 = 24;
const WARNING: RGBColor = RGBColor(138, 52, 0);
const WARNING_BOX: RGBColor = RGBColor(255, 238, 217);

/// A short sentence under a title.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    text: String,
    is_warning: bool,
}

impl Note {
    /// Something to know.
    #[must_use]
    pub fn remark(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_warning: false }
    }

    /// Something without which the picture would be misread.
    #[must_use]
    pub fn warning(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_warning: true }
    }

    /// Whether it is a warning.
    #[must_use]
    pub fn is_warning(&self) -> bool {
        self.is_warning
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The texts of all notes, in the order in which they are drawn: remarks in one line, warnings each in its own.
pub(super) fn lines(notes: &[Note]) -> Vec<Note> {
    let remarks: Vec<&str> = notes.iter().filter(|note| !note.is_warning).map(|note| note.text.as_str()).collect();
    let remarks = (!remarks.is_empty()).then(|| Note::remark(remarks.join(" · ")));
    remarks.into_iter().chain(notes.iter().filter(|note| note.is_warning).cloned()).collect()
}

/// What the notes take if none is too long for a line.
pub(super) fn height_pixels(notes: &[Note]) -> u32 {
    ROW_PIXELS as u32 * lines(notes).len() as u32
}

/// Draws them at the upper end of the area, and gives what is left below.
pub(super) fn draw<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, notes: &[Note]) -> Rest<DB> {
    let mut rest = area.clone();
    for note in lines(notes) {
        let broken = wrapped(area, &note.text, &font(FONT_PIXELS))?;
        let (rows, below) = rest.split_vertically(ROW_PIXELS * broken.len() as i32);
        if note.is_warning {
            draw_warning(&rows, &broken)?
        } else {
            draw_remark(&rows, &broken)?
        }
        rest = below;
    }
    Ok(rest)
}

/// The middle of a row, from above.
fn row_y(row: usize) -> i32 {
    ROW_PIXELS * row as i32 + ROW_PIXELS / 2
}

fn draw_remark<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, lines: &[String]) -> Drawn<DB> {
    let middle = area.dim_in_pixel().0 as i32 / 2;
    let style = (FONT, FONT_PIXELS).into_font().color(&SOFT).pos(Pos::new(HPos::Center, VPos::Center));
    for (row, line) in lines.iter().enumerate() {
        area.draw(&Text::new(line.clone(), (middle, row_y(row)), style.clone()))?;
    }
    Ok(())
}

/// A box around all lines, with one sign at its upper left.
fn draw_warning<DB: DrawingBackend>(area: &DrawingArea<DB, Shift>, lines: &[String]) -> Drawn<DB> {
    let style = (FONT, FONT_PIXELS).into_font().color(&WARNING).pos(Pos::new(HPos::Left, VPos::Center));
    let mut text_pixels = 0;
    for line in lines {
        text_pixels = text_pixels.max(area.estimate_text_size(line, &style)?.0 as i32);
    }
    let (width, height) = area.dim_in_pixel();
    let half = (text_pixels + SIGN_PIXELS) / 2 + PADDING_PIXELS;
    let (left, right) = (width as i32 / 2 - half, width as i32 / 2 + half);
    area.draw(&Rectangle::new([(left, 1), (right, height as i32 - 2)], WARNING_BOX.filled()))?;
    let (x, y) = (left + PADDING_PIXELS + 8, row_y(0));
    area.draw(&Circle::new((x, y - 1), 9, WARNING.filled()))?;
    // Drawn, as the letter would be too thin to be seen.
    area.draw(&Rectangle::new([(x - 1, y - 7), (x + 1, y)], WHITE.filled()))?;
    area.draw(&Rectangle::new([(x - 1, y + 3), (x + 1, y + 4)], WHITE.filled()))?;
    for (row, line) in lines.iter().enumerate() {
        area.draw(&Text::new(line.clone(), (x - 8 + SIGN_PIXELS, row_y(row)), style.clone()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_share_a_line_before_the_warnings() {
        let notes = [Note::remark("seed 1"), Note::warning("all is lost"), Note::remark("live")];
        assert_eq!(lines(&notes), [Note::remark("seed 1 · live"), Note::warning("all is lost")]);
        assert!(lines(&[]).is_empty());
    }
}
