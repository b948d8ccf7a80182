//! The commands on hashes.

use super::{
    command::{Call, Outcome, Wanted, integer},
    error::CommandError,
    keyspace::{Hash, Keyspace},
    resp::{Reply, read_integer},
};
use bytes::Bytes;

/// Runs `call` if it is one of these commands.
pub(super) fn execute(db: &mut Keyspace, call: &Call<'_>) -> Option<Outcome> {
    Some(match (call.name, call.args) {
        ("hset", [key, fields @ ..]) => set(db, call, key, fields).map(Reply::count),
        ("hmset", [key, fields @ ..]) => set(db, call, key, fields).map(|_| Reply::OK),
        ("hsetnx", [key, field, value]) => {
            let insert = |hash: &mut Hash| !hash.contains_key(&field[..]) && put(hash, field, value);
            db.change_hash(key, insert).map(|new| Reply::Integer(new.into())).map_err(CommandError::from)
        }
        ("hget", [key, field]) => read(db, key, |hash| value(hash, field), Reply::Null),
        ("hmget", [key, fields @ ..]) => db.hash(key).map_err(CommandError::from).and_then(|hash| {
            Reply::array_of(fields.iter().map(|field| hash.map_or(Reply::Null, |hash| value(hash, field))))
        }),
        ("hgetall", [key]) => {
            let pairs = |hash: &Hash| hash.iter().map(|(f, v)| (Reply::copy_of(f), Reply::copy_of(v))).collect();
            read(db, key, |hash| Reply::Map(pairs(hash)), Reply::Map(vec![]))
        }
        ("hdel", [key, fields @ ..]) => {
            let remove = |hash: &mut Hash| fields.iter().filter_map(|field| hash.remove(&field[..])).count();
            db.change_hash(key, remove).map(Reply::count).map_err(CommandError::from)
        }
        ("hlen", [key]) => read(db, key, |hash| Reply::count(hash.len()), Reply::Integer(0)),
        ("hstrlen", [key, field]) => {
            let len = |hash: &Hash| Reply::count(hash.get(&field[..]).map_or(0, |value| value.len()));
            read(db, key, len, Reply::Integer(0))
        }
        ("hscan", [key, cursor, options @ ..]) => scan(db, key, cursor, options),
        ("hexists", [key, field]) => {
            read(db, key, |hash| Reply::Integer(hash.contains_key(&field[..]).into()), Reply::Integer(0))
        }
        ("hkeys", [key]) => {
            let all = |hash: &Hash| Reply::Array(hash.keys().map(|field| Reply::copy_of(field)).collect());
            read(db, key, all, Reply::Array(vec![]))
        }
        ("hvals", [key]) => {
            let all = |hash: &Hash| Reply::Array(hash.values().map(|value| Reply::copy_of(value)).collect());
            read(db, key, all, Reply::Array(vec![]))
        }
        ("hincrby", [key, field, by]) => add(db, key, field, by),
        _ => return None,
    })
}

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

fn set(db: &mut Keyspace, call: &Call<'_>, key: &Bytes, fields: &[Bytes]) -> Result<usize, CommandError> {
    let (pairs, []) = fields.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    let insert = |hash: &mut Hash| pairs.iter().filter(|[field, value]| put(hash, field, value)).count();
    Ok(db.change_hash(key, insert)?)
}

fn add(db: &mut Keyspace, key: &Bytes, field: &Bytes, by: &Bytes) -> Outcome {
    let by = integer(by)?;
    let add = |hash: &mut Hash| {
        let old =
            hash.get(&field[..]).map_or(Some(0), |value| read_integer(value)).ok_or(CommandError::HashNotAnInteger)?;
        let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
        put(hash, field, new.to_string().as_bytes());
        Ok(Reply::Integer(new))
    };
    db.change_hash(key, add)?
}

fn scan(db: &Keyspace, key: &Bytes, cursor: &Bytes, options: &[Bytes]) -> Outcome {
    let wanted = Wanted::parse(cursor, options, false)?;
    let found = |hash: &Hash| {
        let fields = hash.iter().filter(|(field, _)| wanted.has(field));
        Wanted::answer(fields.flat_map(|(field, value)| [Reply::copy_of(field), Reply::copy_of(value)]).collect())
    };
    read(db, key, found, Wanted::answer(vec![]))
}
