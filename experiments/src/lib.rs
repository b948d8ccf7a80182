//! The bench: experiments described in TOML, run in the simulator or for real, measured, and written down.
//!
//! The world that an experiment is simulated in is the crate `sim`. The modules here stand on each other: each imports
//! only those that come after it in this table, which a test reads.
//!
//! | floor | modules |
//! |---|---|
//! | the command line | [`cli`] |
//! | what is asked of runs | [`compare`], [`thesis`], [`gate`], [`calibrate`] |
//! | a run for people | [`table`] |
//! | a run on disk | [`results`] |
//! | running, one or many | [`run`] |
//! | two ways to run one spec | [`simulate`], [`live`] |
//! | what both start | `deployment` |
//! | pictures of numbers | [`plot`] |
//! | what is seen, and what must hold | [`measure`] |
//! | what there is to do | `workload` |
//! | what an experiment is | [`spec`] |
//! | ground | [`progress`], [`cost`], `digits` |

pub mod calibrate;
pub mod cli;
pub mod compare;
pub mod cost;
mod deployment;
mod digits;
pub mod gate;
pub mod live;
pub mod measure;
pub mod plot;
pub mod progress;
pub mod results;
pub mod run;
pub mod simulate;
pub mod spec;
pub mod table;
pub mod thesis;
mod workload;

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    /// The modules in the order of the table above.
    fn floors() -> Vec<&'static str> {
        let rows = include_str!("lib.rs").lines().filter(|line| line.starts_with("//! | ") && line.contains('`'));
        rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
    }

    /// The modules of this crate that a source names: `crate::one::…` and `crate::{one::…, two::…}`.
    fn named(source: &str) -> Vec<&str> {
        let mut starts = Vec::new();
        for rest in source.split("crate::").skip(1) {
            starts.push(rest.trim_start_matches('{').trim_start());
            let mut depth = 0;
            for (at, c) in rest.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => starts.push(rest[at + 1..].trim_start()),
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
            }
        }
        let names =
            starts.into_iter().filter_map(|start| start.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        names.filter(|name| !name.is_empty()).collect()
    }

    fn check(folder: &Path, module: Option<&str>, floors: &[&str]) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            let module = module.unwrap_or(stem);
            if path.is_dir() {
                check(&path, Some(module), floors);
            } else if !matches!(module, "lib" | "main") && stem != "tests" {
                let floor = |name: &str| floors.iter().position(|floor| *floor == name);
                for name in named(&fs::read_to_string(&path).unwrap()) {
                    let (from, to) = (floor(module), floor(name));
                    assert!(from.is_some() && to.is_some(), "{module} or {name} is on no floor");
                    assert!(from <= to, "{} imports {name}, which stands above it", path.display());
                }
            }
        }
    }

    #[test]
    fn imports_point_downwards() {
        assert_eq!(named("use crate::a::{B, C};\nuse crate::{\n    d::{E, F},\n    g,\n};"), ["a", "d", "g"]);
        let floors = floors();
        check(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &floors);
    }
}
