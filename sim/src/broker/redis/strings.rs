//! The commands on strings.

use super::{
    call::{Call, Outcome, integer},
    error::CommandError,
    expiry::Unit,
    keyspace::Keyspace,
    resp::{BULK_BYTES_MAX, Reply},
};
use bytes::Bytes;

pub(super) fn get(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    value(db, key)
}

fn value(db: &Keyspace, key: &Bytes) -> Outcome {
    Ok(Reply::bulk(db.string(key)?))
}

pub(super) fn getset(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, new] = call.exactly();
    value(db, key).inspect(|_| db.set(key, new, None))
}

pub(super) fn getdel(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    value(db, key).inspect(|_| drop(db.remove(key)))
}

pub(super) fn mget(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let value = |key: &Bytes| db.string(key).map_or(Reply::Null, Reply::bulk);
    Reply::array_of(call.args.iter().map(value))
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
pub(super) fn set(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([key, value], mut options) = call.at_least();
    let (mut only_if_exists, mut get, mut keep_ttl, mut expiry) = (None, false, false, None);
    while let [option, rest @ ..] = options {
        options = rest;
        match option.to_ascii_lowercase().as_slice() {
            b"nx" if only_if_exists != Some(true) => only_if_exists = Some(false),
            b"xx" if only_if_exists != Some(false) => only_if_exists = Some(true),
            b"get" => get = true,
            b"keepttl" if expiry.is_none() => keep_ttl = true,
            other => match (Unit::of_option(other), rest) {
                // The last of several counts, if their unit is the same.
                (Some(unit), [amount, rest @ ..]) if !keep_ttl && expiry.is_none_or(|(other, _)| other == unit) => {
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

/// `SETEX` and `PSETEX`.
pub(super) fn set_for(db: &mut Keyspace, call: &Call<'_>, unit: Unit) -> Outcome {
    let [key, amount, value] = call.exactly();
    let at = call.positive_expiry_ms(unit, amount)?;
    db.set(key, value, Some(at));
    Ok(Reply::OK)
}

pub(super) fn setnx(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, value] = call.exactly();
    let new = db.get(key).is_none();
    if new {
        db.set(key, value, None);
    }
    Ok(Reply::Integer(new.into()))
}

pub(super) fn mset(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let (pairs, []) = call.args.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    for [key, value] in pairs {
        db.set(key, value, None);
    }
    Ok(Reply::OK)
}

pub(super) fn msetnx(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let (pairs, []) = call.args.as_chunks::<2>() else { return Err(call.wrong_arity()) };
    if pairs.iter().any(|[key, _]| db.get(key).is_some()) {
        return Ok(Reply::Integer(0));
    }
    mset(db, call).map(|_| Reply::Integer(1))
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
pub(super) fn getex(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let ([key], mut options) = call.at_least();
    let mut expiry: Option<Option<(Unit, &Bytes)>> = None;
    while let [option, rest @ ..] = options {
        options = rest;
        if option.eq_ignore_ascii_case(b"persist") && matches!(expiry, None | Some(None)) {
            expiry = Some(None);
            continue;
        }
        match (Unit::of_option(option), rest) {
            (Some(unit), [amount, rest @ ..])
                if expiry.is_none_or(|expiry| expiry.is_some_and(|(other, _)| other == unit)) =>
            {
                expiry = Some(Some((unit, amount)));
                options = rest;
            }
            _ => return Err(CommandError::Syntax),
        }
    }
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

/// `INCR` and `DECR`: `by` is 1 or -1.
pub(super) fn count(db: &mut Keyspace, call: &Call<'_>, by: i64) -> Outcome {
    let [key] = call.exactly();
    add(db, key, by)
}

pub(super) fn incrby(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, by] = call.exactly();
    add(db, key, integer(by)?)
}

pub(super) fn decrby(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, by] = call.exactly();
    add(db, key, integer(by)?.checked_neg().ok_or(CommandError::DecrementOverflow)?)
}

fn add(db: &mut Keyspace, key: &Bytes, by: i64) -> Outcome {
    let old = db.string(key)?.map_or(Ok(0), integer)?;
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    let expires_ms = db.expiry(key).flatten();
    db.set(key, new.to_string(), expires_ms);
    Ok(Reply::Integer(new))
}

pub(super) fn strlen(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    length(db, key).map(Reply::count)
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

pub(super) fn append(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, value] = call.exactly();
    if length(db, key)? + value.len() > BULK_BYTES_MAX {
        return Err(CommandError::StringTooLong);
    }
    change(db, key, |text| text.extend_from_slice(value))
}

/// What lies between the string's end and the offset becomes zero bytes.
pub(super) fn setrange(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, offset, value] = call.exactly();
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

/// Bounds count from the end if they are negative, and are both inclusive.
pub(super) fn getrange(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key, first, last] = call.exactly();
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
