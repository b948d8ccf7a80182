//! What a server says about itself. Clients ask for some of it when they connect, few care for the answer.

use super::{
    call::{Call, Outcome},
    databases::{DATABASES, Databases},
    error::CommandError,
    glob,
    keyspace::Keyspace,
    resp::{BULK_BYTES_MAX, Reply},
};
use bytes::Bytes;

/// The version that is emulated.
pub(super) const VERSION: &str = "7.0.15";

pub(super) fn time(_: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let (seconds, micros) = (call.now_ms / 1000, call.now_ms % 1000 * 1000);
    Ok(Reply::Array([seconds, micros].map(|n| Reply::text(&n.to_string())).to_vec()))
}

/// `CONFIG GET`: the few settings that tell how this server behaves.
pub(super) fn config_get(_: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let (limit, databases) = (BULK_BYTES_MAX.to_string(), DATABASES.to_string());
    let settings = [
        ("appendonly", "no"),
        ("databases", &*databases),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("proto-max-bulk-len", &*limit),
        ("save", ""),
        ("timeout", "0"),
    ];
    let mut found = vec![];
    for (name, value) in settings {
        let matching = |pattern: &&Bytes| glob::matches(&pattern.to_ascii_lowercase(), name.as_bytes());
        if let Some(pattern) = call.args.iter().find(matching) {
            // A name comes back as it was asked for.
            let is_name = pattern.eq_ignore_ascii_case(name.as_bytes());
            found.push((if is_name { Reply::copy_of(pattern) } else { Reply::text(name) }, Reply::text(value)));
        }
    }
    Ok(Reply::Map(found))
}

/// `CONFIG SET`: nothing can be set.
pub(super) fn config_set(_: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([option], _) = call.at_least();
    Err(CommandError::ConfigSet(String::from_utf8_lossy(option).into_owned()))
}

/// `CONFIG RESETSTAT`: there are no statistics.
pub(super) fn config_resetstat(_: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::OK)
}

/// `INFO [section ...]`, of which there is what is known here.
pub(super) fn info(databases: &mut Databases, call: &Call<'_>) -> Outcome {
    let numbered = databases.iter().enumerate().filter(|(_, db)| !db.is_empty());
    let line = |(number, db): (usize, &Keyspace)| {
        format!("db{number}:keys={},expires={},avg_ttl=0\r\n", db.len(), db.expiring())
    };
    let keyspace = numbered.map(line).collect::<String>();
    let known = [
        ("Server", format!("redis_version:{VERSION}\r\nredis_mode:standalone\r\narch_bits:{}\r\n", usize::BITS)),
        ("Persistence", "loading:0\r\n".to_owned()),
        ("Replication", "role:master\r\nconnected_slaves:0\r\n".to_owned()),
        ("Cluster", "cluster_enabled:0\r\n".to_owned()),
        ("Keyspace", keyspace),
    ];
    let is_wanted = |name: &str| {
        let says = |section: &Bytes| {
            [name, "all", "default", "everything"].iter().any(|word| section.eq_ignore_ascii_case(word.as_bytes()))
        };
        call.args.is_empty() || call.args.iter().any(says)
    };
    let shown = known.iter().filter(|(name, _)| is_wanted(name));
    let text = shown.map(|(name, lines)| format!("# {name}\r\n{lines}")).collect::<Vec<_>>().join("\r\n");
    Ok(Reply::text(&text))
}
