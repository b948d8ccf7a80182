//! Which commands there are and how many arguments they take.

use super::error::CommandError;
use bytes::Bytes;

/// Longest name, and longest list of arguments, that the error for an unknown command repeats, as in Redis.
const REPEATED_BYTES_MAX: usize = 128;

/// Names and arities as `COMMAND INFO` gives them: the name counts, and a negative arity means "at least". Subcommands
/// stand behind their command. In order of the names.
#[rustfmt::skip]
pub(super) const COMMANDS: [(&str, i8); 78] = [
    ("append", 3),
    ("auth", -2),
    ("client", -2),
    ("client|getname", 2),
    ("client|id", 2),
    ("client|setname", 3),
    ("command", -1),
    ("command|count", 2),
    ("command|docs", -2),
    ("command|list", -2),
    ("config", -2),
    ("config|get", -3),
    ("config|resetstat", 2),
    ("config|set", -4),
    ("dbsize", 1),
    ("decr", 2),
    ("decrby", 3),
    ("del", -2),
    ("discard", 1),
    ("echo", 2),
    ("exec", 1),
    ("exists", -2),
    ("expire", -3),
    ("expireat", -3),
    ("expiretime", 2),
    ("flushall", -1),
    ("flushdb", -1),
    ("get", 2),
    ("getdel", 2),
    ("getex", -2),
    ("getrange", 4),
    ("getset", 3),
    ("hdel", -3),
    ("hello", -1),
    ("hexists", 3),
    ("hget", 3),
    ("hgetall", 2),
    ("hincrby", 4),
    ("hkeys", 2),
    ("hlen", 2),
    ("hmget", -3),
    ("hmset", -4),
    ("hscan", -3),
    ("hset", -4),
    ("hsetnx", 4),
    ("hstrlen", 3),
    ("hvals", 2),
    ("incr", 2),
    ("incrby", 3),
    ("info", -1),
    ("keys", 2),
    ("mget", -2),
    ("mset", -3),
    ("msetnx", -3),
    ("multi", 1),
    ("persist", 2),
    ("pexpire", -3),
    ("pexpireat", -3),
    ("pexpiretime", 2),
    ("ping", -1),
    ("psetex", 4),
    ("pttl", 2),
    ("quit", -1),
    ("rename", 3),
    ("renamenx", 3),
    ("reset", 1),
    ("scan", -2),
    ("select", 2),
    ("set", -3),
    ("setex", 4),
    ("setnx", 3),
    ("setrange", 4),
    ("strlen", 2),
    ("time", 1),
    ("touch", -2),
    ("ttl", 2),
    ("type", 2),
    ("unlink", -2),
];

/// Commands that are nothing without a subcommand, or another one with it.
const CONTAINERS: [&str; 3] = ["client", "command", "config"];

/// The table's name for the command that `arguments` call, if there is one that takes so many.
///
/// # Errors
/// There is none.
pub(super) fn look_up(arguments: &[Bytes]) -> Result<&'static str, CommandError> {
    let wanted = lower(&arguments[0]);
    let (mut name, mut arity) = entry(&wanted).filter(|_| !wanted.contains('|')).ok_or_else(|| unknown(arguments))?;
    if CONTAINERS.contains(&name)
        && let Some(subcommand) = arguments.get(1)
    {
        let found = entry(&format!("{name}|{}", lower(subcommand)));
        (name, arity) = found.ok_or_else(|| CommandError::UnknownSubcommand {
            name: repeated(subcommand, REPEATED_BYTES_MAX),
            command: name.to_ascii_uppercase(),
        })?;
    }
    let wanted = usize::from(arity.unsigned_abs());
    let fits = if arity < 0 { arguments.len() >= wanted } else { arguments.len() == wanted };
    if fits { Ok(name) } else { Err(CommandError::Arity(name.into())) }
}

fn entry(name: &str) -> Option<(&'static str, i8)> {
    COMMANDS.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| COMMANDS[at])
}

fn unknown(arguments: &[Bytes]) -> CommandError {
    let mut shown = String::new();
    for argument in &arguments[1..] {
        if shown.len() >= REPEATED_BYTES_MAX {
            break;
        }
        shown += &format!("'{}' ", repeated(argument, REPEATED_BYTES_MAX - shown.len()));
    }
    CommandError::Unknown { name: repeated(&arguments[0], REPEATED_BYTES_MAX), arguments: shown }
}

fn lower(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_lowercase()
}

/// The beginning of `text`, but nothing from a zero byte on: to Redis' formatting that is the end.
fn repeated(text: &[u8], bytes_max: usize) -> String {
    let len = text.iter().take(bytes_max).position(|byte| *byte == 0).unwrap_or(text.len().min(bytes_max));
    String::from_utf8_lossy(&text[..len]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::COMMANDS;

    #[test]
    fn the_table_is_in_order_so_that_it_can_be_searched() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.0 < b.0));
    }
}
