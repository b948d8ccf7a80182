//! Which commands there are, how many arguments they take, and which function runs them.

use super::{
    call::{Call, Outcome},
    client::{Client, Command, Run},
    databases::Databases,
    error::CommandError,
    expiry::{self, Unit},
    hashes, keys,
    keyspace::Keyspace,
    resp::Reply,
    server, strings,
};
use bytes::Bytes;

/// Longest name, and longest list of arguments, that the error for an unknown command repeats, as in Redis.
const REPEATED_BYTES_MAX: usize = 128;

/// All commands, in order of their names. Subcommands stand behind their command.
#[rustfmt::skip]
pub(super) static COMMANDS: &[Command] = &[
    on_keys("append", 3, strings::append),
    on_client("auth", -2, Client::auth),
    on_keys("client", -2, subcommand_missing),
    on_client("client|getname", 2, Client::get_name),
    on_client("client|id", 2, Client::id),
    on_client("client|setname", 3, Client::set_name),
    on_keys("command", -1, command_infos),
    on_keys("command|count", 2, command_count),
    on_keys("command|docs", -2, command_docs),
    on_keys("command|list", -2, command_list),
    on_keys("config", -2, subcommand_missing),
    on_keys("config|get", -3, server::config_get),
    on_keys("config|resetstat", 2, server::config_resetstat),
    on_keys("config|set", -4, server::config_set),
    on_keys("dbsize", 1, keys::dbsize),
    on_keys("decr", 2, |db, call| strings::count(db, call, -1)),
    on_keys("decrby", 3, strings::decrby),
    on_keys("del", -2, keys::del),
    on_both("discard", 1, Client::discard),
    on_client("echo", 2, Client::echo),
    on_both("exec", 1, Client::exec),
    on_keys("exists", -2, keys::exists),
    on_keys("expire", -3, |db, call| expiry::expire(db, call, Unit::Seconds)),
    on_keys("expireat", -3, |db, call| expiry::expire(db, call, Unit::AtSeconds)),
    on_keys("expiretime", 2, expiry::expiretime),
    on_all("flushall", -1, keys::flushall),
    on_keys("flushdb", -1, keys::flushdb),
    on_keys("get", 2, strings::get),
    on_keys("getdel", 2, strings::getdel),
    on_keys("getex", -2, strings::getex),
    on_keys("getrange", 4, strings::getrange),
    on_keys("getset", 3, strings::getset),
    on_keys("hdel", -3, hashes::hdel),
    on_client("hello", -1, Client::hello),
    on_keys("hexists", 3, hashes::hexists),
    on_keys("hget", 3, hashes::hget),
    on_keys("hgetall", 2, hashes::hgetall),
    on_keys("hincrby", 4, hashes::hincrby),
    on_keys("hkeys", 2, hashes::hkeys),
    on_keys("hlen", 2, hashes::hlen),
    on_keys("hmget", -3, hashes::hmget),
    on_keys("hmset", -4, hashes::hmset),
    on_keys("hscan", -3, hashes::hscan),
    on_keys("hset", -4, hashes::hset),
    on_keys("hsetnx", 4, hashes::hsetnx),
    on_keys("hstrlen", 3, hashes::hstrlen),
    on_keys("hvals", 2, hashes::hvals),
    on_keys("incr", 2, |db, call| strings::count(db, call, 1)),
    on_keys("incrby", 3, strings::incrby),
    on_all("info", -1, server::info),
    on_keys("keys", 2, keys::keys),
    on_keys("mget", -2, strings::mget),
    on_keys("mset", -3, strings::mset),
    on_keys("msetnx", -3, strings::msetnx),
    on_client("multi", 1, Client::multi),
    on_keys("persist", 2, expiry::persist),
    on_keys("pexpire", -3, |db, call| expiry::expire(db, call, Unit::Millis)),
    on_keys("pexpireat", -3, |db, call| expiry::expire(db, call, Unit::AtMillis)),
    on_keys("pexpiretime", 2, expiry::pexpiretime),
    on_client("ping", -1, Client::ping),
    on_keys("psetex", 4, |db, call| strings::set_for(db, call, Unit::Millis)),
    on_keys("pttl", 2, expiry::pttl),
    on_client("quit", -1, Client::quit),
    on_keys("rename", 3, keys::rename),
    on_keys("renamenx", 3, keys::renamenx),
    on_both("reset", 1, Client::reset),
    on_keys("scan", -2, keys::scan),
    on_client("select", 2, Client::select),
    on_keys("set", -3, strings::set),
    on_keys("setex", 4, |db, call| strings::set_for(db, call, Unit::Seconds)),
    on_keys("setnx", 3, strings::setnx),
    on_keys("setrange", 4, strings::setrange),
    on_keys("strlen", 2, strings::strlen),
    on_keys("time", 1, server::time),
    on_keys("touch", -2, keys::exists),
    on_keys("ttl", 2, expiry::ttl),
    on_keys("type", 2, keys::kind),
    on_keys("unlink", -2, keys::del),
    on_both("unwatch", 1, Client::unwatch),
    on_both("watch", -2, Client::watch),
];

/// Commands that are nothing without a subcommand, or another one with it.
const CONTAINERS: [&str; 3] = ["client", "command", "config"];

const fn on_keys(name: &'static str, arity: i8, run: fn(&mut Keyspace, &Call<'_>) -> Outcome) -> Command {
    Command { name, arity, run: Run::Keys(run) }
}

const fn on_client(name: &'static str, arity: i8, run: fn(&mut Client, &Call<'_>) -> Outcome) -> Command {
    Command { name, arity, run: Run::Client(run) }
}

const fn on_all(name: &'static str, arity: i8, run: fn(&mut Databases, &Call<'_>) -> Outcome) -> Command {
    Command { name, arity, run: Run::All(run) }
}

const fn on_both(name: &'static str, arity: i8, run: fn(&mut Client, &mut Databases, &Call<'_>) -> Outcome) -> Command {
    Command { name, arity, run: Run::Both(run) }
}

/// The command that `arguments` call, if there is one that takes so many.
///
/// # Errors
/// There is none.
pub(super) fn look_up(arguments: &[Bytes]) -> Result<&'static Command, CommandError> {
    let wanted = lower(&arguments[0]);
    let mut command = row(&wanted).filter(|_| !wanted.contains('|')).ok_or_else(|| unknown(arguments))?;
    if CONTAINERS.contains(&command.name)
        && let Some(subcommand) = arguments.get(1)
    {
        let found = row(&format!("{}|{}", command.name, lower(subcommand)));
        command = found.ok_or_else(|| CommandError::UnknownSubcommand {
            name: repeated(subcommand, REPEATED_BYTES_MAX),
            command: command.name.to_ascii_uppercase(),
        })?;
    }
    let wanted = usize::from(command.arity.unsigned_abs());
    let fits = if command.arity < 0 { arguments.len() >= wanted } else { arguments.len() == wanted };
    if fits { Ok(command) } else { Err(CommandError::Arity(command.name.into())) }
}

fn row(name: &str) -> Option<&'static Command> {
    COMMANDS.binary_search_by_key(&name, |command| command.name).ok().map(|at| &COMMANDS[at])
}

/// For commands that are nothing without a subcommand.
fn subcommand_missing(_: &mut Keyspace, call: &Call<'_>) -> Outcome {
    Err(call.wrong_arity())
}

fn names() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|command| command.name).filter(|name| !name.contains('|'))
}

fn command_count(_: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::count(names().count()))
}

fn command_list(_: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::Array(names().map(Reply::text).collect()))
}

/// `COMMAND`: arities and positions of keys. Who gets none does without.
fn command_infos(_: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::Array(vec![]))
}

/// `COMMAND DOCS`: help texts, likewise.
fn command_docs(_: &mut Keyspace, _: &Call<'_>) -> Outcome {
    Ok(Reply::Map(vec![]))
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
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
    }
}
