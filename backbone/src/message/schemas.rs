//! The JSON Schemas of all messages that cross the border of the backbone: made from the types, and held to the files
//! in `backbone/schemas/`.

use super::{Mac, Reply, Request, RequestId, RssiReport, Task, TaskId, TaskResult};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema, schema_for};
use std::{borrow::Cow, fs, path::PathBuf};

impl JsonSchema for Mac {
    fn schema_name() -> Cow<'static, str> {
        "Mac".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A hardware address in hexadecimal with colons. We write capitals and read both.",
            "pattern": "^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$",
        })
    }
}

impl JsonSchema for RequestId {
    fn schema_name() -> Cow<'static, str> {
        "RequestId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Names one request; to be echoed as it came.",
            "pattern": "^[0-9a-f]{32}$",
        })
    }
}

impl JsonSchema for TaskId {
    fn schema_name() -> Cow<'static, str> {
        "TaskId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Chosen by the producer.",
            "pattern": "^[A-Za-z0-9._-]{1,64}$",
        })
    }
}

fn schemas() -> [(&'static str, Schema); 5] {
    [
        ("task", schema_for!(Task)),
        ("result", schema_for!(TaskResult)),
        ("command", schema_for!(Request)),
        ("reply", schema_for!(Reply)),
        ("rssi_report", schema_for!(RssiReport)),
    ]
}

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "schemas", &format!("{name}.schema.json")].iter().collect()
}

#[test]
fn the_schemas_are_those_of_the_types() {
    for (name, mut schema) in schemas() {
        schema.insert("$id".into(), format!("urn:shelfwire:{name}").into());
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("SHELFWIRE_WRITE_SCHEMAS").is_some() {
            fs::write(file(name), &text).unwrap();
        }
        let committed = fs::read_to_string(file(name)).unwrap_or_default();
        assert_eq!(committed, text, "SHELFWIRE_WRITE_SCHEMAS=1 cargo test -p backbone schemas writes {name} anew");
    }
}
