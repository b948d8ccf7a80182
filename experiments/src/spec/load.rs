//! Finds specs, follows `extends`, and merges the layers: bases first, then the spec itself, then the command line.

use super::{
    Arrivals, Origin, Spec,
    difference::changes,
    error::{SpecError, explain},
    library::{Library, Text, read_file},
    replay, scaled_object,
    validate::{Wrong, validate, wrong_together},
};
use std::path::{Path, PathBuf};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

/// Longest chain of `extends`; more can't be kept in mind by a reader.
const EXTENDS_MAX: usize = 8;
/// The key of the tasks that are played again.
const REPLAY: &str = "workload.replay";

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

/// The spec `name` of `library`, merged with what it extends and with `overrides`, and validated.
///
/// # Errors
/// When there is no such spec, or something in it, in one that it extends or in an override is wrong.
pub fn load(library: &Library, name: &str, overrides: &[Override]) -> Result<Spec, SpecError> {
    let layers = chain(library, name)?;
    if layers.last().is_some_and(|layer| layer.spec.is_abstract) {
        return Err(SpecError::Abstract(name.to_owned()));
    }
    let mut merged = Table::new();
    for layer in &layers {
        merge(&mut merged, layer.table.clone());
    }
    let as_it_is = resolve(&merged).map_err(|reason| SpecError::Wrong { at: name.to_owned(), reason })?;
    let mut spec = as_it_is.clone();
    for option in overrides {
        let mut table = option.table();
        include_scaled_objects(&mut table, None)?;
        merge(&mut merged, table);
        // One by one, so that the message can name the guilty.
        spec = resolve(&merged).map_err(|reason| SpecError::Wrong { at: option.option.clone(), reason })?;
    }
    let wrong = |reason: toml::ser::Error| SpecError::Wrong { at: name.to_owned(), reason: reason.to_string() };
    spec.origin = Origin {
        changes: changes(&as_it_is, &spec).map_err(wrong)?,
        built_in: layers.last().is_some_and(|layer| !layer.source.own),
    };
    name.clone_into(&mut spec.name);
    spec.gate = layers.last().is_some_and(|layer| layer.spec.gate);
    if let Err(wrong) = replayed(&mut spec, &layers).and_then(|()| validate(&spec)) {
        let at = wrong.paths().find_map(|path| overrides.iter().rev().find(|option| sets(option, path)));
        let at = at.map(|option| option.option.clone());
        let at =
            at.or_else(|| wrong.paths().find_map(|path| layers.iter().rev().find_map(|layer| layer.place_of(path))));
        return Err(SpecError::Wrong { at: at.unwrap_or_else(|| name.to_owned()), reason: wrong.to_string() });
    }
    Ok(spec)
}

/// Reads the tasks that are played again: from the folder of the file that names theirs, or of who runs it.
fn replayed(spec: &mut Spec, layers: &[Layer]) -> Result<(), Wrong> {
    let workload = &mut spec.workload;
    match (workload.arrivals, workload.replay.is_empty()) {
        (Arrivals::Replay, false) => {}
        (Arrivals::Replay, true) => {
            let rule = "is empty; `workload.arrivals = \"replay\"` needs a CSV file";
            return wrong_together(REPLAY, &["workload.arrivals"], rule);
        }
        (_, true) => return Ok(()),
        (_, false) => return wrong_together(REPLAY, &["workload.arrivals"], "is for `workload.arrivals = \"replay\"`"),
    }
    let named_by = layers.iter().rev().find(|layer| layer.spec.workload.replay == workload.replay);
    let folder = named_by.and_then(|layer| layer.source.path.parent()).unwrap_or(Path::new(""));
    match replay::read(&folder.join(&workload.replay), workload.tasks, workload.commands_per_task) {
        Ok(replayed) => workload.replayed = replayed,
        Err(rule) => return wrong_together(REPLAY, &["workload.tasks"], rule),
    }
    Ok(())
}

/// The one way from text to a spec. Each further format would be a parser of its own for each of its types, which the
/// compiler has to make.
pub(crate) fn parse(text: &str) -> Result<Spec, toml::de::Error> {
    toml::from_str(text)
}

fn resolve(merged: &Table) -> Result<Spec, String> {
    let text = merged.to_string();
    parse(&text).map_err(|error| explain(error.message(), error.span().and_then(|at| key_at(&text, at.start))))
}

fn sets(option: &Override, path: &str) -> bool {
    option.path == path || path.strip_prefix(&option.path).is_some_and(|rest| rest.starts_with('.'))
}

/// One file of a chain.
struct Layer {
    source: Text,
    table: Table,
    /// What this file alone says; for the keys that are not inherited.
    spec: Spec,
}

impl Layer {
    fn parse(source: Text) -> Result<Self, SpecError> {
        let Text { path, text, .. } = &source;
        // Every key has a default, so each file must hold alone; that gives errors their lines.
        let wrong = |error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            SpecError::Wrong { at: place(path, text, at), reason: explain(error.message(), key_at(text, at)) }
        };
        let spec = parse(text).map_err(wrong)?;
        let mut table: Table = toml::from_str(text).map_err(wrong)?;
        table.remove("extends");
        table.remove("abstract");
        table.remove("gate");
        include_scaled_objects(&mut table, path.parent())?;
        Ok(Self { source, table, spec })
    }

    /// `file:line` where this file sets `key`, or the nearest table around it; `None` if it does not set it.
    fn place_of(&self, key: &str) -> Option<String> {
        let document = DeTable::parse(&self.source.text).ok()?;
        let mut keys = key.split('.');
        let (first, mut here) =
            document.get_ref().iter().find(|(name, _)| Some(name.get_ref().as_ref()) == keys.clone().next())?;
        keys.next();
        let mut at = first.span().start;
        for key in keys {
            (at, here) = inner(here, key)?;
        }
        Some(place(&self.source.path, &self.source.text, at))
    }
}

/// Puts what ScaledObjects say where `table` names their files, below what it says itself. `folder`: where the files
/// are, unless that is the present one.
fn include_scaled_objects(table: &mut Table, folder: Option<&Path>) -> Result<(), SpecError> {
    let Some(Value::Table(autoscale)) = table.get_mut("autoscale") else { return Ok(()) };
    for (_, rules) in autoscale.iter_mut() {
        let Value::Table(own) = rules else { continue };
        let Some(Value::String(file)) = own.remove("scaled_object") else { continue };
        let path = folder.map_or_else(|| PathBuf::from(&file), |folder| folder.join(&file));
        let wrong = |reason| SpecError::Wrong { at: path.display().to_string(), reason };
        let mut said = scaled_object::read(&read_file(&path)?).map_err(wrong)?;
        merge(&mut said, std::mem::take(own));
        *own = said;
    }
    Ok(())
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

/// The key whose value lies at `position` of a document, as in `workload.tasks`; `None` if there is none.
fn key_at(text: &str, position: usize) -> Option<String> {
    key_in(DeTable::parse(text).ok()?.get_ref(), position)
}

/// A table's own place is that of its header, so all tables are looked into.
fn key_in(table: &DeTable<'_>, position: usize) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let inner = match value.get_ref() {
            DeValue::Table(table) => key_in(table, position),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(place, item)| {
                let inner = item.get_ref().as_table().and_then(|table| key_in(table, position));
                inner.map(|inner| format!("{place}.{inner}"))
            }),
            _ => None,
        };
        let name = name.get_ref();
        let is_here = value.span().contains(&position).then(|| name.to_string());
        inner.map(|inner| format!("{name}.{inner}")).or(is_here)
    })
}

/// The files from the outermost base to `name` itself.
fn chain(library: &Library, name: &str) -> Result<Vec<Layer>, SpecError> {
    let source = library.read(name, None)?.ok_or_else(|| library.unknown(name))?;
    let mut seen = vec![(name.to_owned(), source.own)];
    let mut layers = vec![Layer::parse(source)?];
    while let Some(Layer { source, spec: Spec { extends: Some(base), .. }, .. }) = layers.last() {
        let found = library.read(base, Some(source))?;
        let link = (base.clone(), found.as_ref().is_some_and(|found| found.own));
        let problem = match () {
            // Nobody else has the name of a spec that extends itself.
            () if seen.contains(&link) || found.is_none() && seen.iter().any(|(name, _)| name == base) => {
                Some("goes in a circle")
            }
            () if seen.len() >= EXTENDS_MAX => Some("makes too long a chain"),
            () => None,
        };
        seen.push(link);
        if let Some(problem) = problem {
            let chain = seen.into_iter().map(|(name, _)| name).collect();
            return Err(SpecError::Extends { path: source.path.clone(), problem, chain });
        }
        let Some(found) = found else {
            let hint = library.base_hint(base);
            let at = layers.last().and_then(|layer| layer.place_of("extends")).unwrap_or_default();
            return Err(SpecError::Wrong { at, reason: format!("extends `{base}`, which does not exist{hint}") });
        };
        layers.push(Layer::parse(found)?);
    }
    layers.reverse();
    Ok(layers)
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
