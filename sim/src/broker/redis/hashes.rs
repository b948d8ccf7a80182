//! The commands on hashes.

use super::{
    command::{Call, CommandError, Outcome, integer},
    keyspace::{Hash, Keyspace},
    resp::{Reply, read_integer},
};
use bytes::Bytes;

/// Every command that [`execute`] knows with some number of arguments.
pub(super) const NAMES: [&str; 10] =
    ["hset", "hget", "hmget", "hgetall", "hdel", "hlen", "hexists", "hkeys", "hvals", "hincrby"];

/// Runs `call` if it is one of these commands with a number of arguments that it takes.
pub(super) fn execute(db: &mut Keyspace, call: &Call<'_>) -> Option<Outcome> {
    Some(match (call.name, call.args) {
        ("hset", [key, fields @ ..]) if !fields.is_empty() => set(db, call, key, fields),
        ("hget", [key, field]) => read(db, key, |hash| Reply::bulk(hash.get(field)), Reply::Null),
        ("hmget", [key, fields @ ..]) if !fields.is_empty() => {
            let none = Reply::Array(vec![Reply::Null; fields.len()]);
            read(db, key, |hash| Reply::Array(fields.iter().map(|f| Reply::bulk(hash.get(f))).collect()), none)
        }
        ("hgetall", [key]) => {
            let pair = |(field, value): (&Bytes, &Bytes)| (Reply::Bulk(field.clone()), Reply::Bulk(value.clone()));
            read(db, key, |hash| Reply::Map(hash.iter().map(pair).collect()), Reply::Map(vec![]))
        }
        ("hdel", [key, fields @ ..]) if !fields.is_empty() => {
            let remove = |hash: &mut Hash| fields.iter().filter_map(|field| hash.remove(field)).count();
            db.change_hash(key, remove).map(Reply::count).map_err(CommandError::from)
        }
        ("hlen", [key]) => read(db, key, |hash| Reply::count(hash.len()), Reply::Integer(0)),
        ("hexists", [key, field]) => {
            read(db, key, |hash| Reply::Integer(hash.contains_key(field).into()), Reply::Integer(0))
        }
        ("hkeys", [key]) => {
            let all = |hash: &Hash| Reply::Array(hash.keys().cloned().map(Reply::Bulk).collect());
            read(db, key, all, Reply::Array(vec![]))
        }
        ("hvals", [key]) => {
            let all = |hash: &Hash| Reply::Array(hash.values().cloned().map(Reply::Bulk).collect());
            read(db, key, all, Reply::Array(vec![]))
        }
        ("hincrby", [key, field, by]) => add(db, key, field, by),
        _ => return None,
    })
}

fn read(db: &Keyspace, key: &Bytes, answer: impl FnOnce(&Hash) -> Reply, without: Reply) -> Outcome {
    Ok(db.hash(key)?.map_or(without, answer))
}

fn set(db: &mut Keyspace, call: &Call<'_>, key: &Bytes, fields: &[Bytes]) -> Outcome {
    let (pairs, []) = fields.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    let insert = |hash: &mut Hash| {
        pairs.iter().filter(|[field, value]| hash.insert(field.clone(), value.clone()).is_none()).count()
    };
    Ok(Reply::count(db.change_hash(key, insert)?))
}

fn add(db: &mut Keyspace, key: &Bytes, field: &Bytes, by: &Bytes) -> Outcome {
    let by = integer(by)?;
    let add = |hash: &mut Hash| {
        let old = hash.get(field).map_or(Some(0), |value| read_integer(value)).ok_or(CommandError::HashNotAnInteger)?;
        let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
        hash.insert(field.clone(), new.to_string().into());
        Ok(Reply::Integer(new))
    };
    db.change_hash(key, add)?
}
