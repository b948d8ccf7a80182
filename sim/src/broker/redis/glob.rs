//! Patterns as `KEYS`, `SCAN` and `CONFIG GET` have them.

/// Whether `pattern` selects the key or field `name`: as [`matches()`], but a star alone is everything.
pub(super) fn selects(pattern: &[u8], name: &[u8]) -> bool {
    pattern == b"*" || matches(pattern, name)
}

/// Whether `text` matches `pattern` as Redis' `stringmatchlen` sees it: `*`, `?`, `[abc]`, `[^a-z]`, and `\\` before
/// what is to be itself. A `[` that nothing closes takes the rest of the pattern for its set.
pub(super) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty(); // a star, too, stands for what is there
    }
    // The classic two-pointer walk: after a mismatch the last star takes one byte more. Linear memory, no recursion.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
        } else if let Some(len) = one(&pattern[p..], text[t]) {
            p += len;
            t += 1;
        } else {
            let Some((after_star, from)) = retry else { return false };
            retry = Some((after_star, from + 1));
            (p, t) = (after_star, from + 1);
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

/// How much of `pattern` matches `byte`, if its first element does.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ref set @ ..] => {
            let (found, len) = in_set(set, byte);
            found.then_some(1 + len)
        }
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [plain, ..] => (plain == byte).then_some(1),
    }
}

/// Whether `byte` is in the set that begins after its `[`, and how long the set is with its `]`.
fn in_set(set: &[u8], byte: u8) -> (bool, usize) {
    let negated = set.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut found = false;
    loop {
        match set[at.min(set.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [a, b'-', b, ..] => {
                found |= (a.min(b)..=a.max(b)).contains(&byte);
                at += 3;
            }
            [plain, ..] => {
                found |= plain == byte;
                at += 1;
            }
        }
    }
    (found != negated, at)
}

#[cfg(test)]
mod tests {
    use super::{matches, selects};
    use proptest::prelude::*;

    #[test]
    fn every_element_takes_what_it_stands_for() {
        for (pattern, yes, no) in [
            ("a?c", "abc", "ac"),
            ("a*c*", "abbc", "ab"),
            ("[abc]x", "bx", "dx"),
            ("[^abc]x", "dx", "bx"),
            ("[a-c]", "b", "d"),
            ("[c-a]", "b", "d"),
            ("[a\\]]", "]", "b"),
            ("[a-", "-", "b"),
            ("\\*", "*", "a"),
            ("a\\", "a\\", "a"),
            ("*[0-9]", "x7", "7x"),
        ] {
            assert!(matches(pattern.as_bytes(), yes.as_bytes()), "{pattern} and {yes}");
            assert!(!matches(pattern.as_bytes(), no.as_bytes()), "{pattern} and {no}");
        }
    }

    proptest! {
        #[test]
        fn no_pattern_panics_and_stars_take_everything(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
            prop_assert_eq!(matches(b"**", &text), !text.is_empty());
            prop_assert!(selects(b"*", &text));
        }

        #[test]
        fn an_escaped_text_matches_itself_and_nothing_else(text: Vec<u8>, other: Vec<u8>) {
            let pattern: Vec<u8> = text.iter().flat_map(|byte| [b'\\', *byte]).collect();
            prop_assert!(matches(&pattern, &text));
            prop_assert_eq!(matches(&pattern, &other), text == other);
        }
    }
}
