//! The commands on keys and strings, the table of all commands, and the errors, worded as Redis 7.0 words them.

use super::{
    hashes,
    keyspace::{Keyspace, Value, WrongType},
    resp::{Reply, read_integer},
};
use bytes::Bytes;

/// Longest list of arguments that the error for an unknown command repeats, as in Redis.
const REPEATED_BYTES_MAX: usize = 128;

/// Why a command was refused. The texts are Redis 7.0's.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum CommandError {
    #[error("WRONGTYPE Operation against a key holding the wrong kind of value")]
    WrongType,
    #[error("ERR wrong number of arguments for '{0}' command")]
    Arity(String),
    #[error("ERR unknown command '{name}', with args beginning with: {arguments}")]
    Unknown { name: String, arguments: String },
    #[error("ERR unknown subcommand '{name}'. Try {command} HELP.")]
    UnknownSubcommand { name: String, command: &'static str },
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR hash value is not an integer")]
    HashNotAnInteger,
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR invalid expire time in '{0}' command")]
    ExpireTime(String),
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireNxWithOthers,
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireGtAndLt,
    #[error("ERR Unsupported option {0}")]
    ExpireOption(String),
    #[error("ERR DB index is out of range")]
    DatabaseIndex,
    #[error("NOPROTO unsupported protocol version")]
    UnsupportedProtocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolVersion,
    #[error("ERR Syntax error in HELLO option '{0}'")]
    HelloOption(String),
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your \
         configuration is correct?"
    )]
    NoPasswordSet,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPassword,
}

impl From<WrongType> for CommandError {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

pub(super) type Outcome = Result<Reply, CommandError>;

/// A command at work: its lower-case name, its arguments without the name, and the time.
pub(super) struct Call<'a> {
    pub(super) name: &'a str,
    pub(super) args: &'a [Bytes],
    pub(super) now_ms: u64,
}

impl Call<'_> {
    pub(super) fn wrong_arity(&self) -> CommandError {
        CommandError::Arity(self.name.into())
    }

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
    fn positive_expiry_ms(&self, unit: Unit, amount: &[u8]) -> Result<u64, CommandError> {
        if integer(amount)? <= 0 {
            return Err(self.bad_expire_time());
        }
        Ok(u64::try_from(self.expiry_ms(unit, amount)?).expect("a positive amount after a positive time"))
    }
}

#[derive(Clone, Copy)]
enum Unit {
    Seconds,
    Millis,
    AtSeconds,
    AtMillis,
}

impl Unit {
    fn of_option(option: &[u8]) -> Option<Self> {
        Some(match option.to_ascii_lowercase().as_slice() {
            b"ex" => Self::Seconds,
            b"px" => Self::Millis,
            b"exat" => Self::AtSeconds,
            b"pxat" => Self::AtMillis,
            _ => return None,
        })
    }
}

/// Runs one command. `arguments` begins with the name as the client wrote it, `name` is that in lower case. Keys that are
/// due at `now_ms` are gone before it looks.
pub(super) fn execute(db: &mut Keyspace, name: &str, arguments: &[Bytes], now_ms: u64) -> Outcome {
    db.expire_due(now_ms);
    let call = Call { name, args: &arguments[1..], now_ms };
    match (name, call.args) {
        ("get", [key]) => Ok(Reply::bulk(db.string(key)?)),
        ("set", [key, value, options @ ..]) => set(db, &call, key, value, options),
        ("setex", [key, amount, value]) => set_for(db, &call, Unit::Seconds, key, amount, value),
        ("psetex", [key, amount, value]) => set_for(db, &call, Unit::Millis, key, amount, value),
        ("getdel", [key]) => {
            let value = Reply::bulk(db.string(key)?);
            db.remove(key);
            Ok(value)
        }
        ("getex", [key, options @ ..]) => get_and_expire(db, &call, key, options),
        ("mget", [_, ..]) => {
            let value = |key: &Bytes| db.string(key).map_or(Reply::Null, Reply::bulk);
            Ok(Reply::Array(call.args.iter().map(value).collect()))
        }
        ("mset", [_, ..]) => set_many(db, &call),
        ("del" | "unlink", keys @ [_, ..]) => Ok(Reply::count(keys.iter().filter_map(|key| db.remove(key)).count())),
        ("exists", keys @ [_, ..]) => Ok(Reply::count(keys.iter().filter_map(|key| db.get(key)).count())),
        ("expire", [key, amount, options @ ..]) => expire(db, &call, Unit::Seconds, key, amount, options),
        ("pexpire", [key, amount, options @ ..]) => expire(db, &call, Unit::Millis, key, amount, options),
        ("expireat", [key, amount, options @ ..]) => expire(db, &call, Unit::AtSeconds, key, amount, options),
        ("pexpireat", [key, amount, options @ ..]) => expire(db, &call, Unit::AtMillis, key, amount, options),
        ("persist", [key]) => {
            let had = db.expiry(key).flatten().is_some();
            db.set_expiry(key, None);
            Ok(Reply::Integer(had.into()))
        }
        ("ttl", [key]) => Ok(Reply::Integer(left(db, &call, key, |ms| (ms + 500) / 1000))),
        ("pttl", [key]) => Ok(Reply::Integer(left(db, &call, key, |ms| ms))),
        ("incr", [key]) => add(db, key, 1),
        ("decr", [key]) => add(db, key, -1),
        ("incrby", [key, by]) => add(db, key, integer(by)?),
        ("decrby", [key, by]) => add(db, key, integer(by)?.checked_neg().ok_or(CommandError::DecrementOverflow)?),
        ("type", [key]) => Ok(Reply::Status(match db.get(key) {
            None => "none",
            Some(Value::String(_)) => "string",
            Some(Value::Hash(_)) => "hash",
        })),
        ("dbsize", []) => Ok(Reply::count(db.len())),
        ("flushdb" | "flushall", options) => flush(db, options),
        ("keys", [pattern]) => {
            let keys = db.keys().filter(|key| glob_matches(pattern, key));
            Ok(Reply::Array(keys.map(Reply::copy_of).collect()))
        }
        _ => hashes::execute(db, &call).unwrap_or_else(|| Err(no_such_call(&call, &arguments[0]))),
    }
}

/// Tells a wrong number of arguments from a command that does not exist.
fn no_such_call(call: &Call<'_>, name: &[u8]) -> CommandError {
    const NAMES: [&str; 25] = [
        "dbsize",
        "decr",
        "decrby",
        "del",
        "exists",
        "expire",
        "expireat",
        "get",
        "getdel",
        "getex",
        "incr",
        "incrby",
        "keys",
        "mget",
        "mset",
        "persist",
        "pexpire",
        "pexpireat",
        "psetex",
        "pttl",
        "set",
        "setex",
        "ttl",
        "type",
        "unlink",
    ];
    if NAMES.contains(&call.name) || hashes::NAMES.contains(&call.name) {
        return call.wrong_arity();
    }
    let mut arguments = String::new();
    for argument in call.args {
        if arguments.len() >= REPEATED_BYTES_MAX {
            break;
        }
        let shown = &argument[..argument.len().min(REPEATED_BYTES_MAX - arguments.len())];
        arguments.push_str(&format!("'{}' ", String::from_utf8_lossy(shown)));
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(REPEATED_BYTES_MAX)]).into_owned();
    CommandError::Unknown { name, arguments }
}

pub(super) fn integer(text: &[u8]) -> Result<i64, CommandError> {
    read_integer(text).ok_or(CommandError::NotAnInteger)
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

fn set_many(db: &mut Keyspace, call: &Call<'_>) -> Outcome {
    let (pairs, []) = call.args.as_chunks::<2>() else { return Err(call.wrong_arity()) };
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

/// `EXPIRE key amount [NX | XX | GT | LT]` and its like. A time that is not in the future removes the key at once.
fn expire(db: &mut Keyspace, call: &Call<'_>, unit: Unit, key: &Bytes, amount: &Bytes, options: &[Bytes]) -> Outcome {
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
fn left(db: &Keyspace, call: &Call<'_>, key: &Bytes, unit: impl Fn(i64) -> i64) -> i64 {
    match db.expiry(key) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => unit(i64::try_from(at.saturating_sub(call.now_ms)).unwrap_or(i64::MAX)),
    }
}

fn add(db: &mut Keyspace, key: &Bytes, by: i64) -> Outcome {
    let old = db.string(key)?.map_or(Ok(0), integer)?;
    let new = old.checked_add(by).ok_or(CommandError::Overflow)?;
    let expires_ms = db.expiry(key).flatten();
    db.set(key, new.to_string(), expires_ms);
    Ok(Reply::Integer(new))
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

/// `*` and `?`; every other byte is itself (Redis' `[a-z]` and `\x` are not emulated).
fn glob_matches(pattern: &[u8], text: &[u8]) -> bool {
    // The classic two-pointer walk: after a mismatch the last star takes one byte more. Linear memory, no recursion.
    let (mut p, mut t, mut retry) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star, from)) = retry else { return false };
                retry = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}
