//! An axis with marks at given places, and the numbers on axes.

use crate::digits::grouped;
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

/// Numbers on an axis: no digits that say nothing, and groups of three.
pub(super) fn tick(value: &f64) -> String {
    let size = value.abs();
    // What comes back from a logarithm is off by the last digit.
    let is_whole = (value - value.round()).abs() < 1e-9 * size;
    let digits = if size >= 10.0 || is_whole || size == 0.0 { 0 } else { 1 + usize::from(size < 0.095) };
    grouped(&format!("{value:.digits$}"))
}

/// 1, 2 and 5 of each power of ten between `low` and `high`, both positive; only the powers if that is too many.
pub(super) fn log_ticks(low: f64, high: f64) -> Vec<f64> {
    let powers = (libm::log10(low).floor() as i32)..=(libm::log10(high).ceil() as i32);
    let steps: &[f64] = if high / low > 2_000.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let all = powers.flat_map(|power| steps.iter().map(move |step| step * libm::exp10(f64::from(power))));
    all.filter(|tick| (low..=high).contains(tick)).collect()
}

/// Multiples of 1, 2 or 5 times a power of ten between `low` and `high`, about five to ten.
pub(super) fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let step = step(high - low);
    let first = (low / step).ceil();
    (0..).map(|place| (first + f64::from(place)) * step).take_while(|tick| *tick <= high).collect()
}

/// The same for what is counted: whole numbers.
pub(super) fn whole_ticks(high: f64) -> Vec<f64> {
    linear_ticks(0.0, high).into_iter().filter(|tick| tick.fract() == 0.0).collect()
}

/// The numbers at marks that are `linear_ticks`: as many digits as tell them apart.
pub(super) fn linear_tick(marks: &[f64]) -> impl Fn(&f64) -> String {
    let step = marks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::MAX, f64::min);
    let digits = (0..6).find(|digits| step * libm::exp10(f64::from(*digits)) > 0.99).unwrap_or(6) as usize;
    move |value| {
        let text = format!("{value:.digits$}");
        if value.abs() < 10_000.0 { text } else { grouped(&text) }
    }
}

/// A step of 1, 2 or 5 times a power of ten that gives five to ten marks.
fn step(range: f64) -> f64 {
    let power = libm::exp10(libm::log10(range / 10.0).ceil());
    [0.2, 0.5].into_iter().map(|part| part * power).find(|step| range / step <= 10.0).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_read_well() {
        let texts = [0.0, 0.05, 0.5, libm::exp10(libm::log10(5.0)), 20.4, 1_500.0, 60_000.0].map(|value| tick(&value));
        assert_eq!(texts, ["0", "0.05", "0.5", "5", "20", "1,500", "60,000"]);
        assert_eq!(log_ticks(3.0, 120.0), [5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!(log_ticks(3.0, 60_000.0), [10.0, 100.0, 1_000.0, 10_000.0]);
    }

    #[test]
    fn steps_are_round() {
        assert_eq!([8.0, 45.0, 112.0, 1_900.0].map(step), [1.0, 5.0, 20.0, 200.0]);
        assert_eq!(linear_ticks(29.4, 71.0), [30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 70.0]);
        assert_eq!((whole_ticks(1.06), whole_ticks(3.2)), (vec![0.0, 1.0], vec![0.0, 1.0, 2.0, 3.0]));
    }

    #[test]
    fn neighbouring_marks_have_different_numbers() {
        let texts = |low, high| {
            let marks = linear_ticks(low, high);
            let text = linear_tick(&marks);
            marks.iter().map(text).collect::<Vec<_>>()
        };
        assert_eq!(
            texts(4.65, 5.15),
            ["4.65", "4.70", "4.75", "4.80", "4.85", "4.90", "4.95", "5.00", "5.05", "5.10", "5.15"]
        );
        assert_eq!(texts(2.0, 5.3), ["2.0", "2.5", "3.0", "3.5", "4.0", "4.5", "5.0"]);
        assert_eq!(texts(9_000.0, 12_000.0), ["9000", "9500", "10,000", "10,500", "11,000", "11,500", "12,000"]);
    }
}
