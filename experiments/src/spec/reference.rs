//! Every field of a spec with its meaning, unit, default and range: taken from the types, their docs and their
//! defaults, so that there is nothing to keep in step.

use super::{Autoscaler, Behavior, FaultKind, Radio, Spec, Trigger, range};
use crate::digits::grouped;
use backbone::config;
use serde_json::Value as Json;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};
use toml::Value;

/// Columns of an explanation.
const COLUMNS: usize = 110;
/// The units that names end with.
const UNITS: [(&str, &str); 10] = [
    ("_us", "µs"),
    ("_ms", "ms"),
    ("_s", "s"),
    ("_s_max", "s"),
    ("_percent", "%"),
    ("_ppm", "ppm"),
    ("_bytes", "bytes"),
    ("_db", "dB"),
    ("_m", "m"),
    ("_m_per_min", "m/min"),
];

/// The field whose words have a table of their own.
const FAULT_KIND: &str = "faults.kind";

/// What docs say of units, which is said beside them.
const SAID_BESIDE: [&str; 5] = [", in us", ", in ms", ", in percent", "; in us", "; in m"];

/// One field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// As in `workload.tasks`.
    pub path: String,
    /// Its value without anything said, as TOML; `None`: there is none.
    pub default: Option<String>,
    /// What it is, for people.
    pub meaning: String,
    /// What its value is counted in; empty for what is not counted.
    pub unit: &'static str,
    /// What it may be: a range of numbers, or words with their meanings.
    pub accepted: Accepted,
}

/// What a field may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// From the one to the other.
    Numbers(u32, u32),
    /// One of these words.
    Words(Vec<(String, String)>),
    /// What its meaning says.
    Any,
}

/// All fields of a spec, those of a fault included, in the order of the types.
#[must_use]
pub fn fields() -> Vec<Field> {
    let schema = schemars::schema_for!(Spec).to_value();
    let spec = Spec::default();
    let defaults = Value::Table(toml::Table::try_from(&spec).expect("the default spec fits into TOML"));
    let backbone = meanings_of_the_services();
    let mut fields = Vec::new();
    for path in lines(&spec.to_toml()).filter_map(|line| line.path) {
        let default = value_at(&defaults, &path).map(ToString::to_string);
        fields.push(match path.strip_prefix("backbone.") {
            Some(key) => Field {
                default,
                meaning: backbone.get(key).cloned().unwrap_or_default(),
                unit: unit(&path),
                accepted: Accepted::Any,
                path,
            },
            None => field(&schema, path, default),
        });
    }
    // What has no default, or is not inherited, is in no file that is written out.
    fields.extend(["extends", "abstract", "gate"].map(|key| field(&schema, key.to_owned(), None)));
    let with_all = toml::Table::try_from(with_all()).expect("a spec fits into TOML").into();
    for (table, defaults) in
        [("expect", &defaults), ("faults", &defaults), ("fleet.radio", &with_all), ("autoscale", &with_all)]
    {
        fields_below(&schema, table, defaults, &mut fields);
    }
    fields
}

/// A spec with tables that may be left out.
fn with_all() -> Spec {
    let trigger: Trigger = toml::from_str("queue = \"\"").expect("all else has a default");
    let rules = Autoscaler { triggers: vec![trigger], behavior: Some(Behavior::default()), ..Autoscaler::default() };
    let mut spec = Spec::default();
    spec.fleet.radio = Some(Radio::default());
    (spec.autoscale.routers, spec.autoscale.task_workers) = (Some(rules.clone()), Some(rules));
    spec
}

/// All fields of the table at `path`, and of the tables in it. What has to be said has no default.
fn fields_below(schema: &Json, path: &str, defaults: &Value, fields: &mut Vec<Field>) {
    let mut here = schema;
    for key in path.split('.') {
        here = &resolved(schema, here)["properties"][key];
    }
    let table = resolved(schema, here);
    let Some(properties) = table["properties"].as_object() else { return };
    let required = table["required"].as_array();
    for (key, property) in properties {
        let path = format!("{path}.{key}");
        if resolved(schema, property)["properties"].is_object() {
            fields_below(schema, &path, defaults, fields);
        } else {
            let has_default = !required.is_some_and(|required| required.iter().any(|name| name == key));
            let default = value_at(defaults, &path).filter(|_| has_default).map(ToString::to_string);
            fields.push(field(schema, path, default));
        }
    }
}

/// The spec as TOML, every field with what it means before it; what differs from the default says so.
#[must_use]
pub fn explain(spec: &Spec) -> String {
    let fields: BTreeMap<String, Field> = fields().into_iter().map(|field| (field.path.clone(), field)).collect();
    let values = Value::Table(toml::Table::try_from(spec).expect("a spec came from TOML, so it fits into TOML"));
    let mut out = format!("# {}, every field written out. A file of your own says only what differs.\n", spec.name);
    let written = spec.to_toml();
    let (mut said, mut explained) = (BTreeSet::new(), BTreeSet::new());
    for Line { path, text } in lines(&written) {
        if let Some(field) = path.as_ref().and_then(|path| fields.get(path)) {
            said.insert(field.path.clone());
            out.push('\n');
            let value = value_at(&values, &field.path).map(ToString::to_string);
            let is_new = match &field.accepted {
                Accepted::Words(words) => explained.insert(words),
                _ => false,
            };
            comment(&mut out, &field.told(value.as_deref(), is_new));
        }
        let _ = writeln!(out, "{text}");
    }
    out += "\n# Left out here:\n";
    for field in fields.values().filter(|field| !said.contains(&field.path)) {
        comment(&mut out, &format!("`{}`: {}", field.path, field.told(None, true)));
    }
    out
}

/// The same as a table for documents, without the services' configuration, which has a file of its own. `machines.*`
/// stands for each kind of machine, as they have the same fields, `autoscale.*` for each thing that is scaled, and
/// words are explained where they come first.
#[must_use]
pub fn markdown() -> String {
    let mut out = "| field | default | accepted | meaning |\n|---|---|---|---|\n".to_owned();
    let mut explained = BTreeSet::new();
    for field in fields().iter().filter(|field| !field.path.starts_with("backbone.")) {
        let path = match field.path.split('.').collect::<Vec<_>>()[..] {
            ["machines", "amqp", key] => format!("machines.*.{key}"),
            ["machines", _, _] => continue,
            ["autoscale", "routers", "behavior", "scale_down", ..] | ["autoscale", "task_workers", ..] => continue,
            ["autoscale", ..] => field.path.replace(".routers.", ".*.").replace(".scale_up.", ".*."),
            _ => field.path.clone(),
        };
        let default = field.default.as_ref().map_or(String::new(), |value| format!("`{value}`"));
        let (mut accepted, mut meaning) = (field.accepted(), field.meaning.clone());
        if path == FAULT_KIND {
            accepted = "a kind".into();
            meaning += " The kinds are below.";
        } else if let Accepted::Words(words) = &field.accepted
            && explained.insert(words)
        {
            words.iter().for_each(|(word, what)| meaning += &format!(" `{word}`: {what}"));
        }
        let _ = writeln!(out, "| `{path}` | {default} | {accepted} | {} |", meaning.replace('|', "\\|"));
    }
    out
}

/// The kinds of faults as a table for documents.
#[must_use]
pub fn faults_markdown() -> String {
    let mut out = "| kind | target | strength | what happens |\n|---|---|---|---|\n".to_owned();
    let kind = field(&schemars::schema_for!(Spec).to_value(), FAULT_KIND.to_owned(), None);
    let Accepted::Words(words) = &kind.accepted else { unreachable!("a kind is one of some words") };
    for (kind, (word, what)) in FaultKind::ALL.iter().zip(words) {
        let strength = kind.strength().map_or(String::new(), |strength| {
            let [min, max] = [strength.min, strength.max].map(|number| grouped(&number.to_string()));
            format!("{min} to {max} {}", strength.unit)
        });
        let _ = writeln!(out, "| `{word}` | {} | {strength} | {what} |", kind.scope());
    }
    out
}

impl Field {
    /// What it may be, with the unit, in few words.
    fn accepted(&self) -> String {
        match &self.accepted {
            Accepted::Numbers(min, max) => {
                let [min, max] = [min, max].map(|number| grouped(&number.to_string()));
                format!("{min} to {max} {}", self.unit).trim_end().to_owned()
            }
            Accepted::Words(words) => words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Accepted::Any => self.unit.to_owned(),
        }
    }

    /// All that is known about it, in sentences. `value`: what it is here. `explains`: its words, too.
    fn told(&self, value: Option<&str>, explains: bool) -> String {
        let mut text = self.meaning.clone();
        let mut facts = Vec::new();
        match &self.accepted {
            Accepted::Words(words) if explains => {
                words.iter().for_each(|(word, what)| text += &format!(" \"{word}\": {what}"));
            }
            Accepted::Words(_) => facts.push(self.accepted().replace('`', "\"")),
            Accepted::Numbers(..) => facts.push(self.accepted()),
            Accepted::Any if self.unit.is_empty() => {}
            Accepted::Any => facts.push(format!("in {}", self.unit)),
        }
        match (&self.default, value) {
            (Some(default), Some(value)) if default == value => facts.push("the default".to_owned()),
            (Some(default), _) => facts.push(format!("default {default}")),
            (None, _) => {}
        }
        if facts.is_empty() { text } else { format!("{text} ({})", facts.join("; ")) }.trim().to_owned()
    }
}

/// What a key's name says of its unit.
fn unit(path: &str) -> &'static str {
    let name = path.strip_suffix("_min").or_else(|| path.strip_suffix("_max")).unwrap_or(path);
    // The two of `ble_service_ms` are called by what they are of the time.
    let name = if name.contains("_ms.") { "_ms" } else { name };
    UNITS.iter().find(|(end, _)| name.ends_with(end)).map_or("", |(_, unit)| unit)
}

/// A line of a spec that was written out.
struct Line<'a> {
    /// Of a line with a key, the whole path to it: no place in a list is part of it.
    path: Option<String>,
    text: &'a str,
}

fn lines(written: &str) -> impl Iterator<Item = Line<'_>> {
    let mut table = String::new();
    written.lines().map(move |text| {
        if text.starts_with('[') {
            table = format!("{}.", text.trim_matches(['[', ']']));
        }
        // What goes on over several lines is indented.
        let key = text.split_once(" = ").map(|(key, _)| key).filter(|key| !key.starts_with([' ', '#']));
        Line { path: key.map(|key| format!("{table}{key}")), text }
    })
}

/// Of a list, that of its first item.
fn value_at<'a>(root: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(root, |here, key| here.get(key).or_else(|| here.get(0)?.get(key)))
}

/// The field at `path` of the schema.
fn field(schema: &Json, path: String, default: Option<String>) -> Field {
    let mut here = schema;
    let mut meaning = String::new();
    for key in path.split('.') {
        let property = &resolved(schema, here)["properties"][key];
        meaning = description(property);
        here = property;
    }
    let definition = resolved(schema, here);
    if meaning.is_empty() || meaning.starts_with("Default") {
        meaning = format!("{} {meaning}", description(definition)).trim().to_owned();
    }
    let accepted = match (range(&path), definition["oneOf"].as_array()) {
        (Some((min, max)), _) => Accepted::Numbers(min, max),
        (None, Some(words)) => Accepted::Words(
            words
                .iter()
                .map(|word| (word["const"].as_str().unwrap_or_default().to_owned(), description(word)))
                .collect(),
        ),
        (None, None) => Accepted::Any,
    };
    Field { unit: unit(&path), default, meaning, accepted, path }
}

/// What a schema refers to; of a list, what it is of; or itself.
fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    // What may be left out is of a type or of none.
    let schema = if schema["anyOf"][0].is_object() { &schema["anyOf"][0] } else { schema };
    let schema = if schema["items"].is_object() { &schema["items"] } else { schema };
    let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/$defs/"));
    reference.map_or(schema, |name| &root["$defs"][name])
}

/// A doc comment as one line, without the default, if that is all its sentence says: it stands beside it.
fn description(schema: &Json) -> String {
    let text = schema["description"].as_str().unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ");
    let text = SAID_BESIDE.iter().fold(text, |text, unit| text.replace(unit, "")).replace(" us.", " µs.");
    let Some(at) = text.find("Default: ") else { return text };
    let (before, sentence) = text.split_at(at);
    let rest = sentence.split_once(". ").map_or("", |(_, rest)| rest);
    let says_more = sentence.trim_end_matches('.').contains(", ");
    if says_more { text } else { format!("{before}{rest}").trim().to_owned() }
}

/// What the example of the services' configuration says of each field, behind it.
fn meanings_of_the_services() -> BTreeMap<String, String> {
    let meaning =
        |line: Line<'_>| Some((line.path?, line.text.split_once(" # ").map_or("", |(_, what)| what).to_owned()));
    lines(config::EXAMPLE).filter_map(meaning).collect()
}

/// Writes `text` as comment lines.
fn comment(out: &mut String, text: &str) {
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > COLUMNS {
            let _ = writeln!(out, "{line}");
            line = "#".to_owned();
        }
        line += &format!(" {word}");
    }
    if line.len() > 1 {
        let _ = writeln!(out, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{Library, parse};

    #[test]
    fn every_field_of_the_bench_says_what_it_means() {
        let fields = fields();
        for path in ["workload.tasks", "fleet.ble_service_ms.median", "machines.router.frame_us", "faults.kind"] {
            assert!(fields.iter().any(|field| field.path == path), "{path} is missing");
        }
        for field in fields.iter().filter(|field| !field.path.starts_with("backbone.")) {
            assert!(field.meaning.len() > 10, "{} means {:?}", field.path, field.meaning);
        }
    }

    #[test]
    fn a_default_that_the_docs_name_is_the_default() {
        let schema = schemars::schema_for!(Spec).to_value();
        let mut named = 0;
        for field in fields().iter().filter(|field| !field.path.starts_with("backbone.")) {
            let mut here = &schema;
            for key in field.path.split('.') {
                here = &resolved(&schema, here)["properties"][key];
            }
            let docs = here["description"].as_str().unwrap_or_default().replace('\n', " ");
            let (Some((_, said)), Some(default)) = (docs.split_once("Default: "), &field.default) else { continue };
            let said =
                said.split([' ', '.', ';']).next().unwrap_or_default().trim_end_matches(',').replace(['`', ','], "");
            let said = if said == "empty" { String::new() } else { said };
            assert_eq!(said, default.trim_matches('"'), "{}: {docs}", field.path);
            named += 1;
        }
        assert!(named > 20, "only {named} docs name a default");
    }

    #[test]
    fn what_is_explained_is_the_same_spec_again() {
        for name in ["store", "custom_10k_20"] {
            let spec = Library::repository().load(name).unwrap();
            let explained = explain(&spec);
            assert_eq!(parse(&explained).unwrap().to_toml(), spec.to_toml(), "{explained}");
        }
    }

    #[test]
    fn an_explanation_tells_meaning_unit_default_and_range() {
        let mut spec = Spec::default();
        spec.replicas.worker_stagger_ms = 5;
        let text = explain(&spec).replace("\n# ", " ");
        for part in [
            "another label. Default: 2, as in the thesis. (1 to 1,000; the default)\ncommands_per_task = 2",
            "of the next. Default: 0, all at once. (0 to 60,000 ms; default 0)\nworker_stagger_ms = 5",
            "\"concurrent\": All that arrive. (the default)\nmode = \"serial\"",
            "`expect.done_percent_max`: Largest share",
            "unconfirmed tasks (the default)\nwindow = 256",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
    }
}
