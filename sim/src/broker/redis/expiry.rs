//! When keys go: the commands that set and tell it, and the ways to name a time.

use super::{
    command::{Call, Outcome, integer},
    error::CommandError,
    keyspace::Keyspace,
    resp::Reply,
};
use bytes::Bytes;

impl Call<'_> {
    fn bad_expire_time(&self) -> CommandError {
        CommandError::ExpireTime(self.name.into())
    }

    /// The absolute expiry that `amount` of `unit` means; negative if it lies before 1970.
    fn expiry_ms(&self, unit: Unit, amount: &[u8]) -> Result<i64, CommandError> {
        let amount = integer(amount)?;
        let now_ms = i64::try_from(self.now_ms).expect("the clock stands before the year 292,000,000");
        let (per_ms, base_ms) = match unit {
            Unit::Seconds => (1000, now_ms),
            Unit::Millis => (1, now_ms),
            Unit::AtSeconds => (1000, 0),
            Unit::AtMillis => (1, 0),
        };
        let at = amount.checked_mul(per_ms).and_then(|ms| ms.checked_add(base_ms));
        at.ok_or_else(|| self.bad_expire_time())
    }

    /// As [`Call::expiry_ms`], for commands that refuse amounts that are not positive.
    pub(super) fn positive_expiry_ms(&self, unit: Unit, amount: &[u8]) -> Result<u64, CommandError> {
        if integer(amount)? <= 0 {
            return Err(self.bad_expire_time());
        }
        Ok(u64::try_from(self.expiry_ms(unit, amount)?).expect("a positive amount after a positive time"))
    }
}

/// What an amount of time is counted in, from now or from 1970.
#[derive(Clone, Copy)]
pub(super) enum Unit {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

impl Unit {
    pub(super) fn of_option(option: &[u8]) -> Option<Self> {
        Some(match option.to_ascii_lowercase().as_slice() {
            b"ex" => Self::Seconds,
            b"px" => Self::Millis,
            b"exat" => Self::AtSeconds,
            b"pxat" => Self::AtMillis,
            _ => return None,
        })
    }
}

/// `EXPIRE key amount [NX | XX | GT | LT]` and its like. A time that is not in the future removes the key at once.
pub(super) fn expire(
    db: &mut Keyspace,
    call: &Call<'_>,
    unit: Unit,
    key: &Bytes,
    amount: &Bytes,
    options: &[Bytes],
) -> Outcome {
    let (mut nx, mut xx, mut gt, mut lt) = (false, false, false, false);
    for option in options {
        match option.to_ascii_lowercase().as_slice() {
            b"nx" => nx = true,
            b"xx" => xx = true,
            b"gt" => gt = true,
            b"lt" => lt = true,
            _ => return Err(CommandError::ExpireOption(String::from_utf8_lossy(option).into_owned())),
        }
    }
    if nx && (xx || gt || lt) {
        return Err(CommandError::ExpireNxWithOthers);
    }
    if gt && lt {
        return Err(CommandError::ExpireGtAndLt);
    }
    let at = call.expiry_ms(unit, amount)?;
    let Some(old) = db.expiry(key) else { return Ok(Reply::Integer(0)) };
    let old_or_never = old.map_or(i64::MAX, |old| i64::try_from(old).unwrap_or(i64::MAX));
    let refused = (nx && old.is_some())
        || (xx && old.is_none())
        || (gt && (old.is_none() || at <= old_or_never))
        || (lt && at >= old_or_never);
    if refused {
        return Ok(Reply::Integer(0));
    }
    match u64::try_from(at) {
        Ok(at) if at > call.now_ms => db.set_expiry(key, Some(at)),
        _ => drop(db.remove(key)),
    }
    Ok(Reply::Integer(1))
}

/// What `TTL` and `PTTL` answer: -2 without key, -1 without expiry.
pub(super) fn left(db: &Keyspace, call: &Call<'_>, key: &Bytes, unit: impl Fn(i64) -> i64) -> i64 {
    match db.expiry(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => unit(i64::try_from(at.saturating_sub(call.now_ms)).unwrap_or(i64::MAX)),
    }
}

/// What `EXPIRETIME` and `PEXPIRETIME` answer: as [`left`], but the time itself.
pub(super) fn expires_at(db: &Keyspace, key: &Bytes, unit: impl Fn(i64) -> i64) -> i64 {
    match db.expiry(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => unit(i64::try_from(at).unwrap_or(i64::MAX)),
    }
}
