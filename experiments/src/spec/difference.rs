//! In which fields two specs differ.

use super::Spec;
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// A field that has another value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The field, as in `network.loss_ppm`.
    pub path: String,
    /// As JSON; `None`: left out.
    pub from: Option<Value>,
    /// As JSON; `None`: left out.
    pub to: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = |value: &Option<Value>| value.as_ref().map_or("none".to_owned(), Value::to_string);
        write!(f, "{} = {} instead of {}", self.path, value(&self.to), value(&self.from))
    }
}

/// What has to change in `from` to make it `to`, by path. Titles are for people only.
///
/// # Errors
/// When a spec does not fit into TOML; one that came from TOML does.
pub fn changes(from: &Spec, to: &Spec) -> Result<Vec<Change>, toml::ser::Error> {
    let mut changes = Vec::new();
    differences("", Some(&values(from)?), Some(&values(to)?), &mut changes);
    Ok(changes)
}

/// `spec` as TOML with nothing in it but what is not as it is by default: what a file of one's own would say.
#[must_use]
pub fn only_changes(spec: &Spec) -> String {
    let table = |spec: &Spec| toml::Table::try_from(spec).expect("a spec came from TOML, so it fits into TOML");
    let changed = changed(table(spec), &table(&Spec::default()));
    toml::to_string_pretty(&changed).expect("a part of what fits into TOML does, too")
}

fn changed(table: toml::Table, defaults: &toml::Table) -> toml::Table {
    let mut changed_ones = toml::Table::new();
    for (key, value) in table {
        match (value, defaults.get(&key)) {
            (value, Some(default)) if value == *default => {}
            (toml::Value::Table(inner), Some(toml::Value::Table(defaults))) => {
                changed_ones.insert(key, toml::Value::Table(changed(inner, defaults)));
            }
            (value, _) => drop(changed_ones.insert(key, value)),
        }
    }
    changed_ones
}

/// What a spec sets, as JSON. By way of TOML, the only format that a spec is written in.
fn values(spec: &Spec) -> Result<Value, toml::ser::Error> {
    let table = toml::Table::try_from(spec)?;
    Ok(serde_json::to_value(table).expect("what TOML can hold JSON can, too"))
}

fn differences(path: &str, from: Option<&Value>, to: Option<&Value>, into: &mut Vec<Change>) {
    if from == to || path == "title" {
        return;
    }
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (from, to) {
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            differences(&path, old.get(key), new.get(key), into);
        }
        return;
    }
    into.push(Change { path: path.to_owned(), from: from.cloned(), to: to.cloned() });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_differs_is_told_with_both_values_but_no_title() {
        let mut other = Spec { title: "another title".into(), ..Spec::default() };
        (other.seed, other.network.loss_ppm, other.expect.done_percent_max) = (7, 100, Some(5));
        let told: Vec<String> = changes(&Spec::default(), &other).unwrap().iter().map(Change::to_string).collect();
        let expected = [
            "expect.done_percent_max = 5 instead of none",
            "network.loss_ppm = 100 instead of 0",
            "seed = 7 instead of 1",
        ];
        assert_eq!(told, expected);
        assert_eq!(changes(&other, &other).unwrap(), []);
    }
}
