//! An axis with marks at given places.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use std::ops::Range;

/// From one number to another, with marks where they are wanted instead of at round numbers.
#[derive(Clone, Debug)]
pub(super) struct MarkedAxis {
    /// What is shown.
    pub(super) range: Range<f64>,
    /// Where the marks are.
    pub(super) marks: Vec<f64>,
}

impl Ranged for MarkedAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}
