//! Finds specs, follows `extends`, and merges the layers: bases first, then the spec itself, then the command line.

use super::{
    Spec,
    error::{SpecError, explain, hint, suggestions},
    validate::validate,
};
use std::path::{Path, PathBuf};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

/// Longest chain of `extends`; more can't be kept in mind by a reader.
const EXTENDS_MAX: usize = 8;

/// The specs of this repository.
#[must_use]
pub fn default_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("specs")
}

/// A value given on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// As the user wrote it, for messages: `--tasks 5`.
    pub option: String,
    /// Where it goes: `workload.tasks`.
    pub path: String,
    /// What goes there.
    pub value: Value,
}

impl Override {
    /// From `path=value` as given to `--set`. The value is TOML; what is no TOML is taken as text.
    ///
    /// # Errors
    /// When there is no `=`, or no key before it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (path, value) = text.split_once('=').ok_or("expected PATH=VALUE, as in workload.tasks=500")?;
        let (path, value) = (path.trim(), value.trim());
        if path.split('.').any(str::is_empty) {
            return Err(format!("`{path}` is no path to a key, as workload.tasks is one"));
        }
        let parsed = format!("value = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        Ok(Self { option: format!("--set {text}"), path: path.to_owned(), value })
    }

    fn table(&self) -> Table {
        let mut keys = self.path.rsplit('.');
        let last = keys.next().unwrap_or_default();
        let innermost = Table::from_iter([(last.to_owned(), self.value.clone())]);
        keys.fold(innermost, |table, key| Table::from_iter([(key.to_owned(), Value::Table(table))]))
    }
}

/// A spec that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its title.
    pub title: String,
    /// Whether `experiments check` runs it.
    pub gate: bool,
}

/// All specs in `directory` that can be run, by name.
///
/// # Errors
/// When the directory can't be read, or a spec in it is wrong.
pub fn list(directory: &Path) -> Result<Vec<Listed>, SpecError> {
    let mut listed = Vec::new();
    for name in names(directory)? {
        match load(directory, &name, &[]) {
            Ok(spec) => listed.push(Listed { name, title: spec.title, gate: spec.gate }),
            Err(SpecError::Abstract(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(listed)
}

/// The spec `name` from `directory`, merged with what it extends and with `overrides`, and validated.
///
/// # Errors
/// When there is no such spec, or something in it, in one that it extends or in an override is wrong.
pub fn load(directory: &Path, name: &str, overrides: &[Override]) -> Result<Spec, SpecError> {
    let layers = chain(directory, name)?;
    if layers.last().is_some_and(|layer| layer.spec.is_abstract) {
        return Err(SpecError::Abstract(name.to_owned()));
    }
    let mut merged = Table::new();
    for layer in &layers {
        merge(&mut merged, layer.table.clone());
    }
    for option in overrides {
        merge(&mut merged, option.table());
        // One by one, so that the message can name the guilty.
        resolve(&merged).map_err(|reason| SpecError::Wrong { at: option.option.clone(), reason })?;
    }
    let mut spec = resolve(&merged).map_err(|reason| SpecError::Wrong { at: name.to_owned(), reason })?;
    name.clone_into(&mut spec.name);
    spec.gate = layers.last().is_some_and(|layer| layer.spec.gate);
    if let Err(wrong) = validate(&spec) {
        let option = overrides.iter().rev().find(|option| sets(option, &wrong.path));
        let at = option.map(|option| option.option.clone());
        let at = at.or_else(|| layers.iter().rev().find_map(|layer| layer.place_of(&wrong.path)));
        return Err(SpecError::Wrong { at: at.unwrap_or_else(|| name.to_owned()), reason: wrong.to_string() });
    }
    Ok(spec)
}

/// The one way from text to a spec. Each further format would be a parser of its own for each of its types, which the
/// compiler has to make.
pub(crate) fn parse(text: &str) -> Result<Spec, toml::de::Error> {
    toml::from_str(text)
}

fn resolve(merged: &Table) -> Result<Spec, String> {
    parse(&merged.to_string()).map_err(|error| explain(error.message()))
}

fn sets(option: &Override, path: &str) -> bool {
    option.path == path || path.strip_prefix(&option.path).is_some_and(|rest| rest.starts_with('.'))
}

/// One file of a chain.
struct Layer {
    path: PathBuf,
    text: String,
    table: Table,
    /// What this file alone says; for the keys that are not inherited.
    spec: Spec,
}

impl Layer {
    fn read(directory: &Path, name: &str) -> Result<Self, SpecError> {
        let path = directory.join(format!("{name}.toml"));
        let text =
            std::fs::read_to_string(&path).map_err(|error| SpecError::Unreadable { path: path.clone(), error })?;
        // Every key has a default, so each file must hold alone; that gives errors their lines.
        let wrong = |error: toml::de::Error| SpecError::Wrong {
            at: place(&path, &text, error.span().map_or(0, |span| span.start)),
            reason: explain(error.message()),
        };
        let spec = parse(&text).map_err(wrong)?;
        let mut table: Table = toml::from_str(&text).map_err(wrong)?;
        table.remove("extends");
        table.remove("abstract");
        table.remove("gate");
        Ok(Self { path, text, table, spec })
    }

    /// `file:line` where this file sets `key`, or the nearest table around it; `None` if it does not set it.
    fn place_of(&self, key: &str) -> Option<String> {
        let document = DeTable::parse(&self.text).ok()?;
        let mut keys = key.split('.');
        let (first, mut here) =
            document.get_ref().iter().find(|(name, _)| Some(name.get_ref().as_ref()) == keys.clone().next())?;
        keys.next();
        let mut at = first.span().start;
        for key in keys {
            (at, here) = inner(here, key)?;
        }
        Some(place(&self.path, &self.text, at))
    }
}

fn inner<'a, 'b>(value: &'a Spanned<DeValue<'b>>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'b>>)> {
    match value.get_ref() {
        DeValue::Table(table) => {
            let (name, value) = table.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
            Some((name.span().start, value))
        }
        DeValue::Array(array) => {
            let value = array.get(key.parse::<usize>().ok()?)?;
            Some((value.span().start, value))
        }
        _ => None,
    }
}

fn place(path: &Path, text: &str, at: usize) -> String {
    let line = text.as_bytes().iter().take(at).filter(|byte| **byte == b'\n').count() + 1;
    format!("{}:{line}", path.display())
}

/// The files from the outermost base to `name` itself.
fn chain(directory: &Path, name: &str) -> Result<Vec<Layer>, SpecError> {
    let known = names(directory)?;
    if !known.iter().any(|candidate| candidate == name) {
        let runnable = list_or_all(directory, &known);
        let suggestions = suggestions(name, runnable.iter().map(String::as_str));
        return Err(SpecError::Unknown { name: name.to_owned(), directory: directory.to_owned(), suggestions });
    }
    let mut seen = vec![name.to_owned()];
    let mut layers = vec![Layer::read(directory, name)?];
    while let Some(Layer { path, spec: Spec { extends: Some(base), .. }, .. }) = layers.last() {
        let (path, base) = (path.clone(), base.clone());
        let problem = match () {
            () if seen.contains(&base) => Some("goes in a circle"),
            () if seen.len() >= EXTENDS_MAX => Some("makes too long a chain"),
            () => None,
        };
        seen.push(base.clone());
        if let Some(problem) = problem {
            return Err(SpecError::Extends { path, problem, chain: seen });
        }
        if !known.contains(&base) {
            let hint = hint(&base, known.iter().map(String::as_str));
            let at = layers.last().and_then(|layer| layer.place_of("extends")).unwrap_or_default();
            return Err(SpecError::Wrong { at, reason: format!("extends `{base}`, which does not exist{hint}") });
        }
        layers.push(Layer::read(directory, &base)?);
    }
    layers.reverse();
    Ok(layers)
}

/// The names worth suggesting; all of them while some spec is broken.
fn list_or_all(directory: &Path, known: &[String]) -> Vec<String> {
    list(directory).map_or_else(|_| known.to_vec(), |listed| listed.into_iter().map(|spec| spec.name).collect())
}

fn names(directory: &Path) -> Result<Vec<String>, SpecError> {
    let unreadable = |error| SpecError::Unreadable { path: directory.to_owned(), error };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml")
            && let Some(name) = path.file_stem().and_then(|stem| stem.to_str())
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Lays `over` onto `base`: tables join key by key, everything else is replaced as a whole, lists too.
fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests;
