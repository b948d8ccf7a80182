//! What a server says about itself. Clients ask for some of it when they connect, few care for the answer.

use super::{
    command::{Call, Outcome},
    error::CommandError,
    glob,
    keyspace::Keyspace,
    resp::{BULK_BYTES_MAX, Reply},
    table::COMMANDS,
};
use bytes::Bytes;

/// The version that is emulated.
pub(super) const VERSION: &str = "7.0.15";

/// Runs `call` if it is one of these commands.
pub(super) fn execute(db: &Keyspace, call: &Call<'_>) -> Option<Outcome> {
    Some(match (call.name, call.args) {
        ("time", []) => {
            let (seconds, micros) = (call.now_ms / 1000, call.now_ms % 1000 * 1000);
            Ok(Reply::Array([seconds, micros].map(|n| text(&n.to_string())).to_vec()))
        }
        ("info", sections) => Ok(text(&info(db, sections))),
        ("config|get", patterns) => Ok(settings(patterns)),
        ("config|set", pairs) => Err(CommandError::ConfigSet(String::from_utf8_lossy(&pairs[0]).into_owned())),
        ("config|resetstat", []) => Ok(Reply::OK),
        ("command|count", []) => Ok(Reply::count(names().count())),
        ("command|list", _) => Ok(Reply::Array(names().map(text).collect())),
        // Help texts and positions of keys: who gets none does without.
        ("command", []) => Ok(Reply::Array(vec![])),
        ("command|docs", _) => Ok(Reply::Map(vec![])),
        _ => return None,
    })
}

pub(super) fn text(text: &str) -> Reply {
    Reply::copy_of(text.as_bytes())
}

fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(name, _)| *name).filter(|name| !name.contains('|'))
}

/// `CONFIG GET`: the few settings that tell how this server behaves.
fn settings(patterns: &[Bytes]) -> Reply {
    let limit = BULK_BYTES_MAX.to_string();
    let settings = [
        ("appendonly", "no"),
        ("databases", "1"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("proto-max-bulk-len", &*limit),
        ("save", ""),
        ("timeout", "0"),
    ];
    let mut found = vec![];
    for (name, value) in settings {
        let matching = |pattern: &&Bytes| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
        if let Some(pattern) = patterns.iter().find(matching) {
            // A name comes back as it was asked for.
            let is_name = pattern.eq_ignore_ascii_case(name.as_bytes());
            found.push((if is_name { Reply::copy_of(pattern) } else { text(name) }, text(value)));
        }
    }
    Reply::Map(found)
}

/// `INFO [section ...]`, of which there is what is known here.
fn info(db: &Keyspace, sections: &[Bytes]) -> String {
    let keyspace = match db.len() {
        0 => String::new(),
        keys => format!("db0:keys={keys},expires={},avg_ttl=0\r\n", db.expiring()),
    };
    let known = [
        ("Server", format!("redis_version:{VERSION}\r\nredis_mode:standalone\r\narch_bits:{}\r\n", usize::BITS)),
        ("Persistence", "loading:0\r\n".to_owned()),
        ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("Keyspace", keyspace),
    ];
    let is_wanted = |name: &str| {
        let says = |section: &Bytes| {
            [name, "all", "default", "everything"].iter().any(|word| section.eq_ignore_ascii_case(word.as_bytes()))
        };
        sections.is_empty() || sections.iter().any(says)
    };
    let shown = known.iter().filter(|(name, _)| is_wanted(name));
    shown.map(|(name, lines)| format!("# {name}\r\n{lines}")).collect::<Vec<_>>().join("\r\n")
}
