//! The modules of each crate stand on floors: the table in its `lib.rs` lists all of them, and each imports only those
//! that come after it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// The modules of the table in the docs of `lib`, from top to bottom.
fn floors(lib: &str) -> Vec<&str> {
    let rows = lib.lines().filter(|line| line.starts_with("//! | ") && line.contains('`'));
    rows.flat_map(|row| row.split('`').skip(1).step_by(2)).collect()
}

/// The modules that `source` declares, but for those that exist in tests only.
fn declared(source: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut for_tests = false;
    for line in source.lines() {
        let item = ["pub ", "pub(crate) ", "pub(super) "].iter().find_map(|public| line.strip_prefix(public));
        let name = item.unwrap_or(line).strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        names.extend(name.filter(|_| !for_tests));
        for_tests = line == "#[cfg(test)]" || for_tests && line.starts_with("#[");
    }
    names
}

/// The modules of its crate that `source` names: `crate::one::…` and `crate::{one::…, two::…}`.
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
    let names = starts.into_iter().filter_map(|start| start.split(|c: char| !c.is_alphanumeric() && c != '_').next());
    names.filter(|name| !name.is_empty()).collect()
}

/// Whether `source`, so many modules below the root, climbs up there by `super`, past `crate`. What is indented may
/// belong to a module within the file.
fn climbs_to_the_root(source: &str, depth: usize) -> bool {
    source.lines().any(|line| line.contains(&"super::".repeat(depth + usize::from(line.starts_with(' ')))))
}

/// Calls `look` with the path from the root and the source of the module in `file` and of all within it.
fn visit(file: &Path, path: &[&str], look: &mut impl FnMut(&[&str], &str)) {
    let source = fs::read_to_string(file).unwrap();
    look(path, &source);
    let folder = match file.file_name().unwrap().to_str() {
        Some("lib.rs" | "mod.rs") => file.parent().unwrap().to_owned(),
        _ => file.with_extension(""),
    };
    for name in declared(&source) {
        let candidates = [folder.join(format!("{name}.rs")), folder.join(name).join("mod.rs")];
        let file = candidates.iter().find(|file| file.exists()).unwrap();
        visit(file, &[path, &[name]].concat(), look);
    }
}

fn check(name: &str) {
    let lib: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", name, "src", "lib.rs"].iter().collect();
    let source = fs::read_to_string(&lib).unwrap();
    let floors = floors(&source);
    let listed = BTreeSet::from_iter(floors.iter().copied());
    assert_eq!(listed, BTreeSet::from_iter(declared(&source)), "{name}: the table lists all modules, and no others");
    assert_eq!(listed.len(), floors.len(), "{name}: the table lists a module twice");
    visit(&lib, &[], &mut |path, source| {
        let Some(module) = path.first() else { return };
        let shown = format!("{name}::{}", path.join("::"));
        let floor = |name: &str| floors.iter().position(|floor| *floor == name);
        for other in named(source) {
            assert!(floor(other).is_some(), "{shown} imports crate::{other}, which is no module");
            assert!(floor(module) <= floor(other), "{shown} imports {other}, which stands above it");
        }
        assert!(!climbs_to_the_root(source, path.len()), "{shown} imports by super what it should by crate");
    });
}

#[test]
fn imports_of_the_backbone_point_downwards() {
    check("backbone");
}

#[test]
fn imports_of_the_simulator_point_downwards() {
    check("sim");
}

#[test]
fn imports_of_the_bench_point_downwards() {
    check("experiments");
}

#[test]
fn sources_are_read_right() {
    assert_eq!(floors("//! | floor | modules |\n//! | top | [`a`], `b` |\n//! | ground | `c` |\n"), ["a", "b", "c"]);
    assert_eq!(declared("pub mod a;\n#[cfg(test)]\n#[rustfmt::skip]\nmod b;\nmod c;\nmod d {}\n"), ["a", "c"]);
    assert_eq!(named("use crate::a::{B, C};\nuse crate::{\n    d::{E, F},\n    g,\n};"), ["a", "d", "g"]);
    assert!(climbs_to_the_root("use super::b;", 1) && climbs_to_the_root("    use super::super::b;", 1));
    assert!(!climbs_to_the_root("use super::b;", 2) && !climbs_to_the_root("    use super::*;", 1));
}
