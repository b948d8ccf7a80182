//! When keys go: the commands that set and tell it, and the ways to name a time.

use super::{
    call::{Call, Outcome, integer},
    error::CommandError,
    keyspace::Keyspace,
    resp::Reply,
};

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
#[derive(Clone, Copy, PartialEq, Eq)]
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
pub(super) fn expire(db: &mut Keyspace, call: &Call<'_>, unit: Unit) -> Outcome {
    let ([key, amount], options) = call.at_least();
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

pub(super) fn persist(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let [key] = call.exactly();
    let had = db.expiry(key).flatten().is_some();
    db.set_expiry(key, None);
    Ok(Reply::Integer(had.into()))
}

pub(super) fn ttl(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    answer(db, call, |at| rounded_s(at.saturating_sub(call.now_ms)))
}

pub(super) fn pttl(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    answer(db, call, |at| at.saturating_sub(call.now_ms))
}

pub(super) fn expiretime(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    answer(db, call, rounded_s)
}

pub(super) fn pexpiretime(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    answer(db, call, |at| at)
}

/// What `told` makes of the key's expiry; -2 without key, -1 without expiry.
fn answer(db: &Keyspace, call: &Call<'_>, told: impl Fn(u64) -> u64) -> Outcome {
    let [key] = call.exactly();
    Ok(Reply::Integer(match db.expiry(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => i64::try_from(told(at)).unwrap_or(i64::MAX),
    }))
}

fn rounded_s(ms: u64) -> u64 {
    ms.saturating_add(500) / 1000
}
