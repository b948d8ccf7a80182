//! The commands on strings.

use super::{
    command::{Call, Outcome, integer},
    error::CommandError,
    expiry::Unit,
    keyspace::Keyspace,
    resp::{BULK_BYTES_MAX, Reply},
};
use bytes::Bytes;

/// Runs `call` if it is one of these commands.
pub(super) fn execute(db: &mut Keyspace, call: &Call<'_>) -> Option<Outcome> {
    Some(match (call.name, call.args) {
        ("get", [key]) => get(db, key),
        ("set", [key, value, options @ ..]) => set(db, call, key, value, options),
        ("setex", [key, amount, value]) => set_for(db, call, Unit::Seconds, key, amount, value),
        ("psetex", [key, amount, value]) => set_for(db, call, Unit::Millis, key, amount, value),
        ("setnx", [key, value]) => {
            let new = db.get(key).is_none();
            if new {
                db.set(key, value, None);
            }
            Ok(Reply::Integer(new.into()))
        }
        ("getset", [key, value]) => get(db, key).inspect(|_| db.set(key, value, None)),
        ("getdel", [key]) => get(db, key).inspect(|_| drop(db.remove(key))),
        ("getex", [key, options @ ..]) => get_and_expire(db, call, key, options),
        ("mget", keys) => {
            let value = |key: &Bytes| db.string(key).map_or(Reply::Null, Reply::bulk);
            Reply::array_of(keys.iter().map(value))
        }
        ("mset", pairs) => set_many(db, call, pairs),
        ("msetnx", pairs) => {
            let taken = pairs.chunks(2).any(|pair| db.get(&pair[0]).is_some());
            if taken && pairs.len() % 2 == 0 {
                return Some(Ok(Reply::Integer(0)));
            }
            set_many(db, call, pairs).map(|_| Reply::Integer(1))
        }
        ("append", [key, value]) => append(db, key, value),
        ("strlen", [key]) => length(db, key).map(Reply::count),
        ("getrange", [key, first, last]) => range(db, key, first, last),
        ("setrange", [key, offset, value]) => overwrite(db, key, offset, value),
        ("incr", [key]) => add(db, key, 1),
        ("decr", [key]) => add(db, key, -1),
        ("incrby", [key, by]) => integer(by).and_then(|by| add(db, key, by)),
        ("decrby", [key, by]) => integer(by)
            .and_then(|by| by.checked_neg().ok_or(CommandError::DecrementOverflow))
            .and_then(|by| add(db, key, by)),
        _ => return None,
    })
}

fn get(db: &Keyspace, key: &Bytes) -> Outcome {
    Ok(Reply::bulk(db.string(key)?))
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
fn set(db: &mut Keyspace, call: &Call<'_>, key: &Bytes, value: &Bytes, mut options: &[Bytes]) -> Outcome {
    let (mut only_if_exists, mut get, mut keep_ttl, mut expiry) = (None, false, false, None);
    while let [option, rest @ ..] = options {
        options = rest;
        match option.to_ascii_lowercase().as_slice() {
            b"nx" if only_if_exists != Some(true) => only_if_exists = Some(false),
            b"xx" if only_if_exists != Some(false) => only_if_exists = Some(true),
            b"get" => get = true,
            b"keepttl" if expiry.is_none() => keep_ttl = true,
            other => match (Unit::of_option(other), rest) {
                (Some(unit), [amount, rest @ ..]) if !keep_ttl && expiry.is_none() => {
                    expiry = Some((unit, amount));
                    options = rest;
                }
                _ => return Err(CommandError::Syntax),
            },
        }
    }
    let expires_ms = match expiry {
        Some((unit, amount)) => Some(call.positive_expiry_ms(unit, amount)?),
        None if keep_ttl => db.expiry(key).flatten(),
        None => None,
    };
    let old = if get { Some(Reply::bulk(db.string(key)?)) } else { None };
    let allowed = only_if_exists.is_none_or(|must_exist| db.get(key).is_some() == must_exist);
    if allowed {
        db.set(key, value, expires_ms);
    }
    Ok(old.unwrap_or(if allowed { Reply::OK } else { Reply::Null }))
}

fn set_for(db: &mut Keyspace, call: &Call<'_>, unit: Unit, key: &Bytes, amount: &Bytes, value: &Bytes) -> Outcome {
    let at = call.positive_expiry_ms(unit, amount)?;
    db.set(key, value, Some(at));
    Ok(Reply::OK)
}

fn set_many(db: &mut Keyspace, call: &Call<'_>, pairs: &[Bytes]) -> Outcome {
    let (pairs, []) = pairs.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    for [key, value] in pairs {
        db.set(key, value, None);
    }
    Ok(Reply::OK)
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
fn get_and_expire(db: &mut Keyspace, call: &Call<'_>, key: &Bytes, options: &[Bytes]) -> Outcome {
    let expiry = match options {
        [] => None,
        [option] if option.eq_ignore_ascii_case(b"persist") => Some(None),
        [option, amount] => Some(Some((Unit::of_option(option).ok_or(CommandError::Syntax)?, amount))),
        _ => return Err(CommandError::Syntax),
    };
    let value = Reply::bulk(db.string(key)?);
    if value != Reply::Null
        && let Some(expiry) = expiry
    {
        let at = expiry.map(|(unit, amount)| call.positive_expiry_ms(unit, amount)).transpose()?;
        db.set_expiry(key, at);
        db.expire_due(call.now_ms);
    }
    Ok(value)
}

fn add(db: &mut Keyspace, key: &Bytes, by: i64) -> Outcome {
    let old = db.string(key)?.map_or(Ok(0), integer)?;
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    let expires_ms = db.expiry(key).flatten();
    db.set(key, new.to_string(), expires_ms);
    Ok(Reply::Integer(new))
}

fn length(db: &Keyspace, key: &Bytes) -> Result<usize, CommandError> {
    Ok(db.string(key)?.map_or(0, <[u8]>::len))
}

/// Changes a string and keeps its expiry. Answers with its new length.
fn change(db: &mut Keyspace, key: &Bytes, change: impl FnOnce(&mut Vec<u8>)) -> Outcome {
    let mut text = db.string(key)?.unwrap_or_default().to_vec();
    change(&mut text);
    let expires_ms = db.expiry(key).flatten();
    db.set(key, &text, expires_ms);
    Ok(Reply::count(text.len()))
}

fn append(db: &mut Keyspace, key: &Bytes, value: &Bytes) -> Outcome {
    if length(db, key)? + value.len() > BULK_BYTES_MAX {
        return Err(CommandError::StringTooLong);
    }
    change(db, key, |text| text.extend_from_slice(value))
}

/// `SETRANGE`; what lies between the string's end and `offset` becomes zero bytes.
fn overwrite(db: &mut Keyspace, key: &Bytes, offset: &Bytes, value: &Bytes) -> Outcome {
    let offset = usize::try_from(integer(offset)?).map_err(|_| CommandError::Offset)?;
    let old = length(db, key)?;
    if value.is_empty() {
        return Ok(Reply::count(old));
    }
    let end =
        offset.checked_add(value.len()).filter(|end| *end <= BULK_BYTES_MAX).ok_or(CommandError::StringTooLong)?;
    change(db, key, |text| {
        text.resize(text.len().max(end), 0);
        text[offset..end].copy_from_slice(value);
    })
}

/// `GETRANGE`, whose bounds count from the end if they are negative and are both inclusive.
fn range(db: &Keyspace, key: &Bytes, first: &Bytes, last: &Bytes) -> Outcome {
    let (first, last) = (integer(first)?, integer(last)?);
    let text = db.string(key)?.unwrap_or_default();
    let len = i64::try_from(text.len()).expect("strings are in memory");
    let from_start = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, end) = (from_start(first).max(0), from_start(last).max(0).min(len - 1));
    if (first < 0 && last < 0 && first > last) || start > end {
        return Ok(Reply::copy_of(b""));
    }
    let at = |at: i64| usize::try_from(at).expect("is within the string");
    Ok(Reply::copy_of(&text[at(start)..=at(end)]))
}
