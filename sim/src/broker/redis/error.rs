//! What a client is told when a command is refused.

use super::keyspace::WrongType;

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
    UnknownSubcommand { name: String, command: String },
    /// The server is in no state to run it.
    #[error("{0}")]
    Condition(String),
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
    #[error("ERR no such key")]
    NoSuchKey,
    #[error("ERR offset is out of range")]
    Offset,
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringTooLong,
    #[error("ERR invalid cursor")]
    Cursor,
    #[error("ERR MULTI calls can not be nested")]
    NestedMulti,
    #[error("ERR WATCH inside MULTI is not allowed")]
    WatchInMulti,
    /// Ours: Redis has no such limit.
    #[error("ERR more than {0} watched keys")]
    WatchedKeys(usize),
    #[error("ERR {0} without MULTI")]
    WithoutMulti(&'static str),
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    Aborted,
    #[error("EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command")]
    ExecArity,
    /// Ours: Redis has no such limit.
    #[error("ERR transaction larger than {0} bytes")]
    TransactionBytes(usize),
    /// Ours, too: Redis' limits of output are off for plain clients.
    #[error("ERR reply larger than {0} bytes")]
    ReplyBytes(usize),
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    ConfigSet(String),
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
