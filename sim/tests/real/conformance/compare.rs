//! Two transcripts side by side.

use similar::{Algorithm, DiffTag, capture_diff_slices};

/// A place where the two brokers are known to differ.
#[derive(Debug)]
pub(crate) struct Difference {
    /// What is noted with the real broker, line by line.
    pub(crate) real: &'static [&'static str],
    /// What is noted with the emulated broker in its place.
    pub(crate) emulated: &'static [&'static str],
    /// Why it is left so.
    pub(crate) why: &'static str,
}

/// Lines that differ, from the one and from the other.
type Hunk<'a> = (Vec<&'a str>, Vec<&'a str>);

/// Checks that the transcripts differ exactly as `known`.
pub(crate) fn compare(real: &[String], emulated: &[String], known: &[Difference]) -> Result<(), String> {
    let hunks = hunks(real, emulated);
    let is_known =
        |hunk: &Hunk<'_>| known.iter().any(|difference| hunk.0 == difference.real && hunk.1 == difference.emulated);
    let mut report: String = hunks
        .iter()
        .filter(|hunk| !is_known(hunk))
        .map(|(real, emulated)| format!("differs\n{}{}", listed("real    ", real), listed("emulated", emulated)))
        .collect();
    for difference in known {
        if !hunks.iter().any(|hunk| hunk.0 == difference.real && hunk.1 == difference.emulated) {
            report += &format!("a known difference is gone: {difference:?}\n");
        }
    }
    if report.is_empty() { Ok(()) } else { Err(report) }
}

fn listed(whose: &str, lines: &[&str]) -> String {
    lines.iter().map(|line| format!("    {whose} {line}\n")).collect()
}

/// What is left of both when their longest common subsequence is taken out, in runs of neighbouring lines.
fn hunks<'a>(a: &'a [String], b: &'a [String]) -> Vec<Hunk<'a>> {
    let texts = |lines: &'a [String]| lines.iter().map(String::as_str).collect();
    let changes = capture_diff_slices(Algorithm::Lcs, a, b).into_iter().filter(|change| change.tag() != DiffTag::Equal);
    changes.map(|change| (texts(&a[change.old_range()]), texts(&b[change.new_range()]))).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn equal_transcripts_are_equal_and_others_are_not() {
    assert_eq!(compare(&lines("a b c"), &lines("a b c"), &[]), Ok(()));
    assert!(compare(&lines("a b c"), &lines("a c"), &[]).is_err());
    assert!(compare(&lines("a"), &lines("a b"), &[]).is_err());
    assert!(compare(&lines("a b"), &lines("b a"), &[]).is_err());
}

#[test]
fn a_difference_must_be_listed_exactly_and_still_exist() {
    let known = |real, emulated| Difference { real, emulated, why: "" };
    let (real, emulated) = (lines("a x y c"), lines("a z c"));
    assert_eq!(compare(&real, &emulated, &[known(&["x", "y"], &["z"])]), Ok(()));
    assert!(compare(&real, &emulated, &[known(&["x"], &["z"])]).is_err());
    assert!(compare(&real, &real, &[known(&["x", "y"], &["z"])]).is_err());
}
