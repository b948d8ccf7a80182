//! What is wrong with a spec, said so that it can be put right.

use std::path::PathBuf;

/// Least likeness (1 is equal) at which a name is worth suggesting.
const SUGGESTION_LIKENESS_MIN: f64 = 0.7;

/// Why a spec could not be used. Always the user's to put right: the program exits with 2.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// No file of that name.
    #[error(
        "no experiment is called `{name}`{}{note}\n`experiments list` shows all in {place}",
        nearest(.suggestions)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// Where it was looked for.
        place: String,
        /// Names like it, best first.
        suggestions: Vec<String>,
        /// What else helps; may be empty.
        note: String,
    },
    /// The file or directory could not be read.
    #[error("cannot read {}: {error}", .path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A value, a key or the syntax is wrong.
    #[error("{at}: {reason}")]
    Wrong {
        /// `file:line`, or the option of the command line.
        at: String,
        /// What is wrong and what is accepted.
        reason: String,
    },
    /// Specs that extend each other in a circle, or in too long a chain.
    #[error("{}: `extends` {problem}: {}", .path.display(), .chain.join(" -> "))]
    Extends {
        /// The file whose `extends` closes the circle.
        path: PathBuf,
        /// What is wrong with the chain.
        problem: &'static str,
        /// Names, from the one asked for.
        chain: Vec<String>,
    },
    /// It is only there to be extended.
    #[error("`{0}` is only a base for other experiments and can't be run; `experiments list` shows those that can")]
    Abstract(String),
}

/// What follows the name of something unknown: the candidate that was probably meant, in the words that the backbone's
/// configuration has for it. Empty if none is like it.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    let mut suggestions = suggestions(name, candidates);
    suggestions.truncate(1);
    nearest(&suggestions)
}

fn nearest(suggestions: &[String]) -> String {
    match suggestions {
        [] => String::new(),
        names => format!("; did you mean {}?", quoted(names)),
    }
}

/// `a`, `b` or `c`
fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}

/// The candidates that `name` may have been meant for, best first, at most three.
pub(super) fn suggestions<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut rated: Vec<(f64, &str)> = candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= SUGGESTION_LIKENESS_MIN)
        .collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    rated.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Puts what serde says about an unknown key or value, or about a value of another type, into our words, with the `key`
/// that it is about, if that is known; leaves other messages alone.
pub(super) fn explain(message: &str, key: Option<String>) -> String {
    let (what, rest) = match (message.strip_prefix("unknown field "), message.strip_prefix("unknown variant ")) {
        (Some(rest), _) => ("key", rest),
        (_, Some(rest)) => ("value", rest),
        _ => return wrong_type(message.trim_end(), key),
    };
    // serde lists the unknown name first and then all that it knows, each in backticks.
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<String> = names.map(str::to_owned).collect();
    let hint = hint(unknown, known.iter().map(String::as_str));
    format!("unknown {what} `{unknown}`{hint} (known: {})", known.join(", "))
}

/// serde says "invalid type: string \"many\", expected u32" and "invalid value: integer `-1`, expected u32".
fn wrong_type(message: &str, key: Option<String>) -> String {
    let Some(key) = key else { return message.to_owned() };
    let what = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = what.and_then(|what| what.split_once(", expected ")) else {
        return format!("`{key}`: {message}");
    };
    let expected = match expected {
        "u8" => "a whole number, 0 to 255",
        "u16" => "a whole number, 0 to 65535",
        "u32" => "a whole number, 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        other => other,
    };
    format!("`{key}` is {}; expected {expected}", found.replace('`', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_explained_with_the_nearest_one() {
        let serde = "unknown field `taks`, expected one of `tasks`, `commands_per_task`, `esls`";
        assert_eq!(
            explain(serde, None),
            "unknown key `taks`; did you mean `tasks`? (known: tasks, commands_per_task, esls)"
        );
    }

    #[test]
    fn a_value_of_another_type_is_explained_with_its_key() {
        let explained = |message| explain(message, Some("workload.tasks".into()));
        let text = "`workload.tasks` is string \"many\"; expected a whole number, 0 to 4294967295";
        assert_eq!(explained("invalid type: string \"many\", expected u32"), text);
        let negative = "`workload.tasks` is integer -1; expected a whole number, 0 to 4294967295";
        assert_eq!(explained("invalid value: integer `-1`, expected u32"), negative);
        assert_eq!(explained("something else"), "`workload.tasks`: something else");
    }

    #[test]
    fn a_name_unlike_all_others_gets_no_suggestion() {
        assert_eq!(suggestions("xyz", ["smoke", "chain"]), Vec::<String>::new());
    }
}
