//! Redis, over RESP2 and RESP3.

mod clients;
mod differences;
mod expiry;
mod peer;
mod transactions;
mod values;
mod wire;

use crate::conformance::harness::{Protocol, scenario};

pub(crate) const PROTOCOL: Protocol = Protocol {
    real: "Redis 7.0",
    config: "",
    scenarios: &[
        scenario!(values::set, "SET with its options, and the older ways to say so"),
        scenario!(values::many, "MSET, MSETNX, MGET"),
        scenario!(values::numbers, "counting up to the bounds"),
        scenario!(values::parts, "APPEND, GETRANGE, SETRANGE"),
        scenario!(values::hashes, "hashes, in RESP2 and RESP3; an empty one is gone"),
        scenario!(values::wrong_types, "WRONGTYPE"),
        scenario!(values::keys_and_scans, "KEYS and SCAN with all that a pattern may have"),
        scenario!(values::rename, "renaming takes value and expiry along"),
        scenario!(values::big_values, "values of 5 MB, 20,000 keys in one command"),
        scenario!(expiry::to_the_millisecond, "a key goes in the millisecond after its time"),
        scenario!(expiry::kept_and_lost, "what keeps an expiry and what ends it"),
        scenario!(expiry::conditions, "NX, XX, GT and LT of the EXPIRE commands"),
        scenario!(expiry::past_and_impossible, "times that are past, zero, or no times"),
        scenario!(expiry::unseen, "expired keys that nobody asked for are gone, too"),
        scenario!(wire::pipelines, "pipelines: order, errors in the middle, commands in pieces"),
        scenario!(wire::lost_in_a_pipeline, "a connection lost in a pipeline, and QUIT in one"),
        scenario!(wire::transactions, "MULTI, EXEC, DISCARD"),
        scenario!(transactions::watch, "WATCH: everything that changes a key, and what doesn't"),
        scenario!(transactions::newest_wins, "WATCH for a compare-and-set: the newest version wins"),
        scenario!(transactions::databases, "SELECT: the databases are apart, in transactions too; keys of no length"),
        scenario!(wire::inline, "inline commands and their quotes"),
        scenario!(wire::http, "HTTP"),
        scenario!(wire::protocol_errors, "what is no RESP"),
        scenario!(wire::unknown_commands, "the errors for what is no command"),
        scenario!(wire::arities, "too few and too many arguments, of every command"),
        scenario!(clients::hello, "HELLO"),
        scenario!(clients::client, "CLIENT, AUTH, SELECT, PING, QUIT"),
        scenario!(
            clients::about_itself,
            "CONFIG, INFO, TIME, COMMAND",
            differences::LIMITS,
            differences::FIXED_SETTINGS,
            differences::NO_DESCRIPTIONS
        ),
        scenario!(clients::other_types, "what the emulated broker doesn't have", differences::OTHER_TYPES),
        scenario!(clients::library, "with redis-rs: pipelines, transactions, errors, expiry"),
    ],
};
