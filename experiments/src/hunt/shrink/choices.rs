//! What of a spec is a choice, and what of that is not as it is by default.

use crate::spec::{Spec, parse};
use toml::{Table, Value};

/// Tables and fields that are no choices: how much there is, and what shrinking has already dealt with.
const NO_CHOICES: [&str; 13] = [
    "title",
    "seed",
    "faults",
    "limits",
    "expect",
    "workload.tasks",
    "workload.commands_per_task",
    "replicas.task_workers",
    "replicas.routers",
    "fleet.gateways",
    "fleet.stores",
    "fleet.esls",
    "slo",
];

/// The paths, of so many parts each, at which `spec` has chosen something else than the default.
pub(super) fn chosen(spec: &Spec, depth: usize) -> Vec<String> {
    let mut paths = Vec::new();
    collect("", &table(spec), &table(&Spec::default()), depth, &mut paths);
    paths
}

/// `spec` with what it is by default at `path`; `None` if that makes no sense.
pub(super) fn without(spec: &Spec, path: &str) -> Option<Spec> {
    let mut changed = table(spec);
    put_default(&mut changed, &table(&Spec::default()), path);
    let changed: Spec = parse(&changed.to_string()).ok()?;
    Some(Spec { name: spec.name.clone(), ..changed })
}

fn table(spec: &Spec) -> Table {
    Table::try_from(spec).expect("a spec came from TOML, so it fits into TOML")
}

fn collect(prefix: &str, here: &Table, defaults: &Table, depth: usize, paths: &mut Vec<String>) {
    let absent = Table::new();
    for (key, value) in here {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let default = defaults.get(key);
        if default == Some(value) || NO_CHOICES.contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Table(inner) if depth > 1 => {
                let defaults = default.and_then(Value::as_table).unwrap_or(&absent);
                collect(&path, inner, defaults, depth - 1, paths);
            }
            _ if depth == 1 => paths.push(path),
            _ => {}
        }
    }
}

/// Lets `path` be as `defaults` have it, but for what in it is no choice.
fn put_default(here: &mut Table, defaults: &Table, path: &str) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (rest, here.get_mut(first), defaults.get(first)) {
        (Some(rest), Some(Value::Table(here)), Some(Value::Table(defaults))) => put_default(here, defaults, rest),
        (Some(_), ..) => {}
        (None, Some(Value::Table(inner)), Some(Value::Table(defaults))) => {
            let kept: Vec<(String, Value)> = NO_CHOICES
                .iter()
                .filter_map(|name| name.strip_prefix(first)?.strip_prefix('.'))
                .filter_map(|name| Some((name.to_owned(), inner.get(name)?.clone())))
                .collect();
            *inner = defaults.clone();
            inner.extend(kept);
        }
        (None, _, Some(default)) => drop(here.insert(first.to_owned(), default.clone())),
        (None, _, None) => drop(here.remove(first)),
    }
}
