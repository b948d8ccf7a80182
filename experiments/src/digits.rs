//! Long numbers as people read them.

/// A number in decimal digits with its thousands in groups: `20000` as `20,000`, `-1234.56` as `-1,234.56`.
pub(crate) fn grouped(number: &str) -> String {
    let (sign, size) = number.strip_prefix('-').map_or(("", number), |size| ("-", size));
    let (whole, rest) = size.split_at(size.find('.').unwrap_or(size.len()));
    let mut out = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_groups_before_the_point_only() {
        let numbers = ["0", "999", "20000", "1234567", "-123", "-1234.5678", "2046.50"];
        assert_eq!(numbers.map(grouped), ["0", "999", "20,000", "1,234,567", "-123", "-1,234.5678", "2,046.50"]);
    }
}
