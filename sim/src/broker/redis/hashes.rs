//! The commands on hashes.

use super::{
    call::{Call, Outcome, integer},
    error::CommandError,
    keyspace::{Hash, Keyspace},
    resp::{Reply, read_integer},
    scan::{self, ScanOptions},
};
use bytes::Bytes;

fn read(db: &Keyspace, key: &Bytes, answer: impl FnOnce(&Hash) -> Reply, without: Reply) -> Outcome {
    Ok(db.hash(key)?.map_or(without, answer))
}

fn value(hash: &Hash, field: &[u8]) -> Reply {
    Reply::bulk(hash.get(field).map(|value| &**value))
}

/// Sets a field; whether it is a new one. A field that is there keeps its name's memory.
fn put(hash: &mut Hash, field: &[u8], value: &[u8]) -> bool {
    let old = hash.get_mut(field);
    let new = old.is_none();
    match old {
        Some(old) => *old = value.into(),
        None => drop(hash.insert(field.into(), value.into())),
    }
    new
}

pub(super) fn hset(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    set(db, call).map(Reply::count)
}

pub(super) fn hmset(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    set(db, call).map(|_| Reply::OK)
}

/// Returns how many fields are new.
fn set(db: &mut Keyspace, call: &Call<'_>) -> Result<usize, CommandError> {
    let ([key], fields) = call.at_least();
    let (pairs, []) = fields.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    let insert = |hash: &mut Hash| pairs.iter().filter(|[field, value]| put(hash, field, value)).count();
    let new = db.change_hash(key, insert)?;
    db.changed(key);
    Ok(new)
}

pub(super) fn hsetnx(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, field, value] = call.exactly();
    let insert = |hash: &mut Hash| !hash.contains_key(&field[..]) && put(hash, field, value);
    let inserted = db.change_hash(key, insert)?;
    if inserted {
        db.changed(key);
    }
    Ok(Reply::Integer(inserted.into()))
}

pub(super) fn hget(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, field] = call.exactly();
    read(db, key, |hash| value(hash, field), Reply::Null)
}

pub(super) fn hmget(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([key], fields) = call.at_least();
    let hash = db.hash(key)?;
    Reply::array_of(fields.iter().map(|field| hash.map_or(Reply::Null, |hash| value(hash, field))))
}

pub(super) fn hgetall(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    let pairs = |hash: &Hash| hash.iter().map(|(f, v)| (Reply::copy_of(f), Reply::copy_of(v))).collect();
    read(db, key, |hash| Reply::Map(pairs(hash)), Reply::Map(vec![]))
}

pub(super) fn hkeys(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    let all = |hash: &Hash| Reply::Array(hash.keys().map(|field| Reply::copy_of(field)).collect());
    read(db, key, all, Reply::Array(vec![]))
}

pub(super) fn hvals(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    let all = |hash: &Hash| Reply::Array(hash.values().map(|value| Reply::copy_of(value)).collect());
    read(db, key, all, Reply::Array(vec![]))
}

pub(super) fn hlen(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    read(db, key, |hash| Reply::count(hash.len()), Reply::Integer(0))
}

pub(super) fn hstrlen(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, field] = call.exactly();
    let len = |hash: &Hash| Reply::count(hash.get(&field[..]).map_or(0, |value| value.len()));
    read(db, key, len, Reply::Integer(0))
}

pub(super) fn hexists(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, field] = call.exactly();
    read(db, key, |hash| Reply::Integer(hash.contains_key(&field[..]).into()), Reply::Integer(0))
}

pub(super) fn hdel(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([key], fields) = call.at_least();
    let remove = |hash: &mut Hash| fields.iter().filter_map(|field| hash.remove(&field[..])).count();
    let removed = db.change_hash(key, remove)?;
    if removed > 0 {
        db.changed(key);
    }
    Ok(Reply::count(removed))
}

pub(super) fn hincrby(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, field, by] = call.exactly();
    let by = integer(by)?;
    let add = |hash: &mut Hash| {
        let old =
            hash.get(&field[..]).map_or(Some(0), |value| read_integer(value)).ok_or(CommandError::HashNotAnInteger)?;
        let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
        put(hash, field, new.to_string().as_bytes());
        Ok(Reply::Integer(new))
    };
    db.change_hash(key, add)?.inspect(|_| db.changed(key))
}

pub(super) fn hscan(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([key, cursor], options) = call.at_least();
    scan::check_cursor(cursor)?;
    if db.hash(key)?.is_none() {
        return Ok(scan::answer(vec![])); // whatever the options
    }
    let wanted = ScanOptions::parse(options, false)?;
    let found = |hash: &Hash| {
        let fields = hash.iter().filter(|(field, _)| wanted.has(field));
        scan::answer(fields.flat_map(|(field, value)| [Reply::copy_of(field), Reply::copy_of(value)]).collect())
    };
    read(db, key, found, scan::answer(vec![]))
}
