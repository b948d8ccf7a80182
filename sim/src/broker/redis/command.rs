//! One command at work, and the commands on keys of any type.

use super::{
    error::CommandError,
    expiry::{self, Unit},
    glob, hashes,
    keyspace::{Keyspace, Value},
    resp::{Reply, read_integer},
    server, strings,
};
use bytes::Bytes;

pub(super) type Outcome = Result<Reply, CommandError>;

/// A command at work: its name as in the table, its arguments without the name, and the time.
pub(super) struct Call<'a> {
    pub(super) name: &'static str,
    pub(super) args: &'a [Bytes],
    pub(super) now_ms: u64,
}

impl Call<'_> {
    /// For what the table can't tell, such as a field without a value.
    pub(super) fn wrong_arity(&self) -> CommandError {
        CommandError::Arity(self.name.into())
    }
}

/// Runs one command that the table has. Keys that are due by then are gone before it looks.
pub(super) fn execute(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    db.expire_due(call.now_ms);
    let outcome = keys(db, call)
        .or_else(|| strings::execute(db, call))
        .or_else(|| hashes::execute(db, call))
        .or_else(|| server::execute(db, call));
    outcome.unwrap_or_else(|| unreachable!("{} with {} arguments is in the table", call.name, call.args.len()))
}

fn keys(db: &mut Keyspace, call: &Call<'_>) -> Option<Outcome> {
    Some(match (call.name, call.args) {
        ("del" | "unlink", keys) => Ok(Reply::count(keys.iter().filter_map(|key| db.remove(key)).count())),
        ("exists" | "touch", keys) => Ok(Reply::count(keys.iter().filter_map(|key| db.get(key)).count())),
        ("expire", [key, amount, options @ ..]) => expiry::expire(db, call, Unit::Seconds, key, amount, options),
        ("pexpire", [key, amount, options @ ..]) => expiry::expire(db, call, Unit::Millis, key, amount, options),
        ("expireat", [key, amount, options @ ..]) => expiry::expire(db, call, Unit::AtSeconds, key, amount, options),
        ("pexpireat", [key, amount, options @ ..]) => expiry::expire(db, call, Unit::AtMillis, key, amount, options),
        ("persist", [key]) => {
            let had = db.expiry(key).flatten().is_some();
            db.set_expiry(key, None);
            Ok(Reply::Integer(had.into()))
        }
        ("ttl", [key]) => Ok(Reply::Integer(expiry::left(db, call, key, |ms| (ms + 500) / 1000))),
        ("pttl", [key]) => Ok(Reply::Integer(expiry::left(db, call, key, |ms| ms))),
        ("expiretime", [key]) => Ok(Reply::Integer(expiry::expires_at(db, key, |ms| (ms + 500) / 1000))),
        ("pexpiretime", [key]) => Ok(Reply::Integer(expiry::expires_at(db, key, |ms| ms))),
        ("type", [key]) => Ok(Reply::Status(type_of(db.get(key)))),
        ("rename", [from, to]) => rename(db, from, to),
        ("renamenx", [from, to]) if db.get(from).is_some() && db.get(to).is_some() => Ok(Reply::Integer(0)),
        ("renamenx", [from, to]) => rename(db, from, to).map(|_| Reply::Integer(1)),
        ("dbsize", []) => Ok(Reply::count(db.len())),
        ("flushdb" | "flushall", options) => flush(db, options),
        ("keys", [pattern]) => {
            let keys = db.keys().filter(|key| glob::matches(pattern, key));
            Ok(Reply::Array(keys.map(Reply::copy_of).collect()))
        }
        ("scan", [cursor, options @ ..]) => scan(db, cursor, options),
        _ => return None,
    })
}

pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    read_integer(text).ok_or(CommandError::NotAnInteger)
}

fn type_of(value: Option<&Value>) -> &'static str {
    match value {
        None => "none",
        Some(Value::String(_)) => "string",
        Some(Value::Hash(_)) => "hash",
    }
}

fn rename(db: &mut Keyspace, from: &Bytes, to: &Bytes) -> Outcome {
    if db.rename(from, to) { Ok(Reply::OK) } else { Err(CommandError::NoSuchKey) }
}

fn flush(db: &mut Keyspace, options: &[Bytes]) -> Outcome {
    match options {
        [] => {}
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => {}
        _ => return Err(CommandError::Syntax),
    }
    db.clear();
    Ok(Reply::OK)
}

/// What a scan is to bring.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pattern: Option<&'a [u8]>,
    kind: Option<Vec<u8>>,
}

impl<'a> Wanted<'a> {
    /// Reads `cursor [MATCH pattern] [COUNT count]`, and `[TYPE type]` if there are types to choose from.
    pub(super) fn parse(cursor: &Bytes, mut options: &'a [Bytes], typed: bool) -> Result<Self, CommandError> {
        // C's strtoul takes a sign.
        let digits = cursor.strip_prefix(b"-").unwrap_or(cursor);
        if !std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u64>().is_ok()) {
            return Err(CommandError::Cursor);
        }
        let mut wanted = Self::default();
        while let [option, value, rest @ ..] = options {
            options = rest;
            match option.to_ascii_lowercase().as_slice() {
                b"match" => wanted.pattern = Some(value),
                b"count" if integer(value)? >= 1 => {}
                b"type" if typed => wanted.kind = Some(value.to_ascii_lowercase()),
                _ => return Err(CommandError::Syntax),
            }
        }
        if options.is_empty() { Ok(wanted) } else { Err(CommandError::Syntax) }
    }

    pub(super) fn has(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }

    /// A scan's answer. It always brings everything, with the cursor that says so: COUNT is a hint only.
    pub(super) fn answer(found: Vec<Reply>) -> Reply {
        Reply::Array(vec![Reply::copy_of(b"0"), Reply::Array(found)])
    }
}

fn scan(db: &Keyspace, cursor: &Bytes, options: &[Bytes]) -> Outcome {
    let wanted = Wanted::parse(cursor, options, true)?;
    let of_type = |key: &[u8]| wanted.kind.as_ref().is_none_or(|kind| *kind == type_of(db.get(key)).as_bytes());
    let found = db.keys().filter(|key| wanted.has(key) && of_type(key)).map(Reply::copy_of).collect();
    Ok(Wanted::answer(found))
}
