//! What a server is in that refuses commands: full, starting, a replica, a part of a cluster, asked by somebody without
//! the rights. Tests put it there; the words are Redis 7.0's.

use super::{
    client::{Command, Run},
    error::CommandError,
};
use bytes::Bytes;

/// Commands that change data, but take no memory that was not there before.
const WRITES: [&str; 14] = [
    "del",
    "expire",
    "expireat",
    "flushall",
    "flushdb",
    "getdel",
    "getex",
    "hdel",
    "persist",
    "pexpire",
    "pexpireat",
    "rename",
    "renamenx",
    "unlink",
];
/// Commands that may take more memory.
const GROWING_WRITES: [&str; 17] = [
    "append", "decr", "decrby", "getset", "hincrby", "hmset", "hset", "hsetnx", "incr", "incrby", "mset", "msetnx",
    "psetex", "set", "setex", "setnx", "setrange",
];
/// Commands on all keys or on none, which a cluster's server answers for itself.
const WITHOUT_KEY: [&str; 13] = [
    "client",
    "command",
    "command|count",
    "command|docs",
    "command|list",
    "config",
    "config|get",
    "config|resetstat",
    "config|set",
    "dbsize",
    "info",
    "scan",
    "time",
];

/// Why a server refuses commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// It refuses none.
    #[default]
    Well,
    /// `maxmemory` is reached and nothing may go.
    OutOfMemory,
    /// It is a replica.
    ReadOnly,
    /// It reads its data from disk.
    Loading,
    /// Saving to disk fails.
    CannotSave,
    /// It is part of a cluster, and the keys are elsewhere.
    InCluster,
    /// It is part of a cluster that lacks servers.
    ClusterDown,
    /// Clients have to log in, and these have not.
    LoginWanted,
    /// The client's user may call nothing that has a key.
    NoRights,
}

/// All that a server is in.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    /// Until it is told otherwise.
    pub(super) lasting: Condition,
    /// Each until it ends; the last one counts first.
    passing: Vec<Condition>,
    /// Commands that were refused for one of these.
    refused: u64,
}

impl Conditions {
    pub(super) fn begin(&mut self, condition: Condition) {
        self.passing.push(condition);
    }

    /// Ends one of those that have begun. Returns how many commands were refused since the first.
    pub(super) fn end(&mut self, condition: Condition) -> u64 {
        let place = self.passing.iter().position(|other| *other == condition);
        place.map(|place| self.passing.remove(place));
        if self.passing.is_empty() { std::mem::take(&mut self.refused) } else { self.refused }
    }

    /// What a call of `command` is refused with, if it is.
    pub(super) fn refuse(&mut self, command: &Command, arguments: &[Bytes]) -> Result<(), CommandError> {
        for condition in self.passing.iter().rev() {
            if let Err(refused) = condition.refuses(command, arguments) {
                self.refused += 1;
                return Err(refused);
            }
        }
        self.lasting.refuses(command, arguments)
    }
}

impl Condition {
    /// What a call of `command` is refused with, if it is.
    pub(super) fn refuses(self, command: &Command, arguments: &[Bytes]) -> Result<(), CommandError> {
        let name = command.name;
        let grows = GROWING_WRITES.contains(&name);
        let writes = grows || WRITES.contains(&name);
        let has_key = matches!(command.run, Run::Keys(_)) && !WITHOUT_KEY.contains(&name);
        let refused = match self {
            Self::Well => return Ok(()),
            Self::OutOfMemory if grows => "OOM command not allowed when used memory > 'maxmemory'.".to_owned(),
            Self::ReadOnly if writes => "READONLY You can't write against a read only replica.".to_owned(),
            Self::Loading if has_key => "LOADING Redis is loading the dataset in memory".to_owned(),
            Self::CannotSave if writes => "MISCONF Redis is configured to save RDB snapshots, but it's currently \
                 unable to persist to disk. Commands that may modify the data set are disabled, because this instance \
                 is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error \
                 option). Please check the Redis logs for details about the RDB error."
                .to_owned(),
            Self::InCluster if has_key => {
                let key = arguments.get(1).map_or(&b""[..], |key| key);
                format!("MOVED {} 127.0.0.1:7001", slot(key))
            }
            Self::ClusterDown if has_key => "CLUSTERDOWN The cluster is down".to_owned(),
            Self::LoginWanted if has_key => "NOAUTH Authentication required.".to_owned(),
            Self::NoRights if has_key => {
                format!("NOPERM this user has no permissions to run the '{name}' command")
            }
            _ => return Ok(()),
        };
        Err(CommandError::Condition(refused))
    }
}

/// The slot of a key without braces: CRC16 (XMODEM) modulo 16,384.
fn slot(key: &[u8]) -> u16 {
    let step = |crc: u16, byte: &u8| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    };
    key.iter().fold(0, step) % 16_384
}

#[cfg(test)]
mod tests {
    use super::{super::table, *};

    #[test]
    fn a_condition_refuses_what_a_real_server_in_it_refuses() {
        let said = |condition: Condition, words: &str| {
            let arguments: Vec<_> = words.split(' ').map(|word| Bytes::copy_from_slice(word.as_bytes())).collect();
            let refused = condition.refuses(table::look_up(&arguments).unwrap(), &arguments);
            refused.err().map(|error| error.to_string().split(' ').next().unwrap().to_owned())
        };
        for (condition, refused, granted, code) in [
            (Condition::OutOfMemory, "SET a b", "HDEL a b", "OOM"),
            (Condition::OutOfMemory, "HSET a b c", "PEXPIRE a 1", "OOM"),
            (Condition::ReadOnly, "HDEL a b", "GET a", "READONLY"),
            (Condition::CannotSave, "SET a b", "TOUCH a", "MISCONF"),
            (Condition::Loading, "GET a", "PING", "LOADING"),
            (Condition::InCluster, "GET a", "INFO", "MOVED"),
            (Condition::ClusterDown, "HGETALL a", "DBSIZE", "CLUSTERDOWN"),
            (Condition::LoginWanted, "GET a", "AUTH a", "NOAUTH"),
            (Condition::NoRights, "GET a", "PING", "NOPERM"),
        ] {
            assert_eq!(said(condition, refused).as_deref(), Some(code), "{condition:?}");
            assert_eq!(said(condition, granted), None, "{condition:?}");
        }
        assert_eq!(said(Condition::Well, "SET a b"), None);
    }

    #[test]
    fn slots_are_those_of_redis() {
        // As its CLUSTER KEYSLOT says.
        assert_eq!((slot(b"foo"), slot(b"123456789")), (12_182, 12_739));
    }
}
