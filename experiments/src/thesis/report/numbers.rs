//! Numbers as people read them.

use crate::{digits::grouped, thesis::measured::Spread};

/// From here on a deviation is told as a multiple.
const MULTIPLE_FROM_PERCENT: f64 = 300.0;

/// Three digits that mean something, or more before the point; thousands in groups.
pub(super) fn number(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    grouped(&format!("{value:.digits$}"))
}

/// A number with its unit.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    let space = if matches!(unit, "" | "x" | "/s") { "" } else { " " };
    format!("{}{space}{unit}", number(value))
}

/// The median over the seeds, and the range where they differ by more than the digits shown.
pub(super) fn spread(value: Spread, unit: &str) -> String {
    let (low, high) = (number(value.min), number(value.max));
    let median = with_unit(value.median, unit);
    if low == high { median } else { format!("{median} ({low} to {high})") }
}

/// A deviation with its sign; a large one as a multiple, as nobody can picture four thousand per cent more.
pub(super) fn deviation(percent: f64) -> String {
    if percent >= MULTIPLE_FROM_PERCENT {
        return format!("{}x", number(1.0 + percent / 100.0));
    }
    let digits = usize::from(percent.abs() < 10.0);
    let text = format!("{percent:+.digits$} %");
    if text == "+0.0 %" || text == "-0.0 %" { "0 %".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_no_digits_that_say_nothing() {
        let texts = [0.0, 0.256, 4.0, 43.91, 121.38, 2_046.5, 56_906.63, -12.34].map(number);
        assert_eq!(texts, ["0", "0.26", "4", "43.9", "121", "2,046", "56,907", "-12.3"]);
    }

    #[test]
    fn a_range_is_told_where_seeds_differ() {
        let same = Spread { median: 43.91, min: 43.90, max: 43.92 };
        let apart = Spread { median: 43.91, min: 41.0, max: 47.26 };
        assert_eq!((spread(same, "ms").as_str(), spread(apart, "x").as_str()), ("43.9 ms", "43.9x (41 to 47.3)"));
    }

    #[test]
    fn deviations_have_signs() {
        assert_eq!([-98.25, 4.96, 0.01, 299.0, 4_256.0].map(deviation), ["-98 %", "+5.0 %", "0 %", "+299 %", "43.6x"]);
    }
}
