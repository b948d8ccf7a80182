//! The commands on keys of any type. When keys go is in `expiry`.

use super::{
    call::{Call, Outcome},
    databases::Databases,
    error::CommandError,
    glob,
    keyspace::{Keyspace, Value},
    resp::Reply,
    scan::{self, ScanOptions},
};

pub(super) fn del(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    Ok(Reply::count(call.args.iter().filter_map(|key| db.remove(key)).count()))
}

pub(super) fn exists(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    Ok(Reply::count(call.args.iter().filter_map(|key| db.get(key)).count()))
}

/// `TYPE`
pub(super) fn kind(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    Ok(Reply::Status(type_of(db.get(key))))
}

fn type_of(value: Option<&Value>) -> &'static str {
    match value {
        None => "none",
        Some(Value::String(_)) => "string",
        Some(Value::Hash(_)) => "hash",
    }
}

pub(super) fn rename(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [from, to] = call.exactly();
    if db.rename(from, to) { Ok(Reply::OK) } else { Err(CommandError::NoSuchKey) }
}

pub(super) fn renamenx(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [from, to] = call.exactly();
    if db.get(from).is_some() && db.get(to).is_some() {
        return Ok(Reply::Integer(0));
    }
    rename(db, call).map(|_| Reply::Integer(1))
}

pub(super) fn dbsize(db: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::count(db.len()))
}

/// `FLUSHDB [SYNC | ASYNC]`
pub(super) fn flushdb(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    check_how(call)?;
    db.clear();
    Ok(Reply::OK)
}

/// `FLUSHALL [SYNC | ASYNC]`
pub(super) fn flushall(databases: &mut Databases, call: &Call<'_>) -> Outcome {
    check_how(call)?;
    databases.clear();
    Ok(Reply::OK)
}

fn check_how(call: &Call<'_>) -> Result<(), CommandError> {
    match call.args {
        [] => Ok(()),
        [how] if how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async") => Ok(()),
        _ => Err(CommandError::Syntax),
    }
}

pub(super) fn keys(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [pattern] = call.exactly();
    let keys = db.keys().filter(|key| glob::selects(pattern, key));
    Ok(Reply::Array(keys.map(Reply::copy_of).collect()))
}

pub(super) fn scan(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([cursor], options) = call.at_least();
    scan::check_cursor(cursor)?;
    let wanted = ScanOptions::parse(options, true)?;
    let found = db.keys().filter(|key| wanted.has(key) && wanted.has_type(type_of(db.get(key))));
    Ok(scan::answer(found.map(Reply::copy_of).collect()))
}
