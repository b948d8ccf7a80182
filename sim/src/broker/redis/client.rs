//! One client as the server knows it: what it speaks, its name, its database and its transaction; and the commands that
//! concern it.

use super::{
    call::{Call, Outcome},
    databases::{DATABASES, Databases, Watched},
    error::CommandError,
    keyspace::Keyspace,
    resp::{Reply, read_integer},
    server::VERSION,
};
use crate::broker::sparse::Sparse;
use bytes::Bytes;

/// Most that may wait for EXEC. Redis has no limit of its own for it.
const TRANSACTION_BYTES_MAX: usize = 64 << 20;
/// Most keys that one client may watch. Redis has no limit of its own for it.
const WATCHED_KEYS_MAX: usize = 10_000;
/// Commands that don't wait for EXEC.
const AT_ONCE: [&str; 6] = ["discard", "exec", "multi", "quit", "reset", "watch"];

/// A command that there is.
#[derive(Debug)]
pub(super) struct Command {
    /// In lower case; that of a subcommand stands behind its command's, after a `|`.
    pub(super) name: &'static str,
    /// As `COMMAND INFO` gives it: the name counts, and a negative arity means "at least".
    pub(super) arity: i8,
    pub(super) run: Run,
}

/// What a command does, by what it works on.
#[derive(Debug)]
pub(super) enum Run {
    /// The keys of the client's database.
    Keys(fn(&mut Keyspace, &Call<'_>) -> Outcome),
    /// Those of all databases.
    All(fn(&mut Databases, &Call<'_>) -> Outcome),
    Client(fn(&mut Client, &Call<'_>) -> Outcome),
    Both(fn(&mut Client, &mut Databases, &Call<'_>) -> Outcome),
}

/// What the server knows about one connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    pub(super) id: u64,
    pub(super) resp3: bool,
    /// The connection ends with the reply at hand.
    pub(super) closing: bool,
    name: Bytes,
    /// The number of the one whose keys it has to do with.
    database: usize,
    /// Commands that there are none of.
    unsupported: Sparse,
    /// Since WATCH.
    watched: Vec<Watched>,
    /// Since MULTI.
    transaction: Option<Transaction>,
}

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
struct Transaction {
    commands: Vec<(&'static Command, Vec<Bytes>)>,
    bytes: usize,
    /// One of them was refused, so none will be run.
    failed: bool,
}

impl Transaction {
    fn push(&mut self, command: &'static Command, arguments: Vec<Bytes>) -> Result<(), CommandError> {
        self.bytes += arguments.iter().map(|argument| argument.len() + size_of::<Bytes>()).sum::<usize>();
        if self.bytes > TRANSACTION_BYTES_MAX {
            self.commands.clear();
            return Err(CommandError::TransactionBytes(TRANSACTION_BYTES_MAX));
        }
        self.commands.push((command, arguments));
        Ok(())
    }
}

impl Client {
    pub(super) fn new(id: u64) -> Self {
        Self { id, ..Self::default() }
    }

    /// Runs a command, or lets it wait for EXEC. `arguments` are all that came, the name included.
    pub(super) fn execute(
        &mut self,
        databases: &mut Databases,
        command: &'static Command,
        arguments: Vec<Bytes>,
        now_ms: u64,
    ) -> Outcome {
        match &mut self.transaction {
            Some(waiting) if !AT_ONCE.contains(&command.name) => {
                waiting.push(command, arguments).map(|()| Reply::Status("QUEUED"))
            }
            _ => self.run(databases, command, &arguments, now_ms),
        }
    }

    /// Runs a command. Keys that are due by then are gone before it looks.
    pub(super) fn run(
        &mut self,
        databases: &mut Databases,
        command: &Command,
        arguments: &[Bytes],
        now_ms: u64,
    ) -> Outcome {
        let name_words = command.name.split('|').count();
        let call = Call { name: command.name, args: &arguments[name_words..], now_ms };
        match command.run {
            Run::Keys(run) => {
                let db = &mut databases[self.database];
                db.expire_due(now_ms);
                run(db, &call)
            }
            Run::All(run) => {
                databases.expire_due(now_ms);
                run(databases, &call)
            }
            Run::Client(run) => run(self, &call),
            Run::Both(run) => run(self, databases, &call),
        }
    }

    /// A command was refused: what the client is told.
    pub(super) fn refuse(&mut self, databases: &mut Databases, mut error: CommandError, now_ms: u64) -> Reply {
        if error == CommandError::Arity("exec".into()) {
            self.transaction = None;
            databases.end_watch(&mut self.watched, now_ms);
            error = CommandError::ExecArity;
        }
        if let Some(waiting) = &mut self.transaction {
            waiting.failed |= !matches!(error, CommandError::NestedMulti | CommandError::WatchInMulti);
        }
        if matches!(error, CommandError::Unknown { .. })
            && let Some(count) = self.unsupported.again()
        {
            tracing::warn!(%error, count, "redis: a command is not supported; refused");
        }
        Reply::Error(error.to_string())
    }

    pub(super) fn multi(&mut self, _: &Call<'_>) -> Outcome {
        if self.transaction.is_some() {
            return Err(CommandError::NestedMulti);
        }
        self.transaction = Some(Transaction::default());
        Ok(Reply::OK)
    }

    pub(super) fn discard(&mut self, databases: &mut Databases, call: &Call<'_>) -> Outcome {
        self.transaction.take().ok_or(CommandError::WithoutMulti("DISCARD"))?;
        self.unwatch(databases, call)
    }

    /// `WATCH key [key ...]`: a transaction comes to nothing if one of them was changed meanwhile, by anybody.
    pub(super) fn watch(&mut self, databases: &mut Databases, call: &Call<'_>) -> Outcome {
        if self.transaction.is_some() {
            return Err(CommandError::WatchInMulti);
        }
        if self.watched.len() + call.args.len() > WATCHED_KEYS_MAX {
            return Err(CommandError::WatchedKeys(WATCHED_KEYS_MAX));
        }
        databases[self.database].expire_due(call.now_ms);
        for key in call.args {
            databases.watch(&mut self.watched, self.database, key);
        }
        Ok(Reply::OK)
    }

    pub(super) fn unwatch(&mut self, databases: &mut Databases, call: &Call<'_>) -> Outcome {
        databases.end_watch(&mut self.watched, call.now_ms);
        Ok(Reply::OK)
    }

    /// The connection is gone.
    pub(super) fn end(&mut self, databases: &mut Databases) {
        databases.end_watch(&mut self.watched, 0);
    }

    /// Whether there is something to be done at the [`end`](Self::end).
    pub(super) fn is_watching(&self) -> bool {
        !self.watched.is_empty()
    }

    /// A command that fails does not stop the others; too large a reply does.
    pub(super) fn exec(&mut self, databases: &mut Databases, call: &Call<'_>) -> Outcome {
        let transaction = self.transaction.take().ok_or(CommandError::WithoutMulti("EXEC"))?;
        let changed = databases.end_watch(&mut self.watched, call.now_ms);
        if transaction.failed {
            return Err(CommandError::Aborted);
        }
        if changed {
            return Ok(Reply::NullArray);
        }
        let run = |(command, arguments): (_, Vec<Bytes>)| {
            let outcome = self.run(databases, command, &arguments, call.now_ms);
            outcome.unwrap_or_else(|error| Reply::Error(error.to_string()))
        };
        Reply::array_of(transaction.commands.into_iter().map(run))
    }

    pub(super) fn quit(&mut self, _: &Call<'_>) -> Outcome {
        self.closing = true;
        Ok(Reply::OK)
    }

    pub(super) fn reset(&mut self, databases: &mut Databases, _: &Call<'_>) -> Outcome {
        self.end(databases);
        *self = Self::new(self.id);
        Ok(Reply::Status("RESET"))
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`
    pub(super) fn hello(&mut self, call: &Call<'_>) -> Outcome {
        let mut resp3 = self.resp3;
        let mut name = None;
        if let Some((version, mut rest)) = call.args.split_first() {
            resp3 = match read_integer(version) {
                Some(2) => false,
                Some(3) => true,
                Some(_) => return Err(CommandError::UnsupportedProtocol),
                None => return Err(CommandError::ProtocolVersion),
            };
            loop {
                rest = match rest {
                    [] => break,
                    [option, user, password, rest @ ..] if option.eq_ignore_ascii_case(b"auth") => {
                        log_in(&[user.clone(), password.clone()])?;
                        rest
                    }
                    [option, value, rest @ ..] if option.eq_ignore_ascii_case(b"setname") => {
                        name = Some(value.clone());
                        rest
                    }
                    [option, ..] => {
                        return Err(CommandError::HelloOption(String::from_utf8_lossy(option).into_owned()));
                    }
                };
            }
        }
        self.resp3 = resp3;
        self.name = name.unwrap_or_else(|| self.name.clone());
        Ok(Reply::Map(vec![
            (Reply::text("server"), Reply::text("redis")),
            (Reply::text("version"), Reply::text(VERSION)),
            (Reply::text("proto"), Reply::Integer(if resp3 { 3 } else { 2 })),
            (Reply::text("id"), self.id_reply()),
            (Reply::text("mode"), Reply::text("standalone")),
            (Reply::text("role"), Reply::text("master")),
            (Reply::text("modules"), Reply::Array(vec![])),
        ]))
    }

    /// `CLIENT ID`
    pub(super) fn id(&mut self, _: &Call<'_>) -> Outcome {
        Ok(self.id_reply())
    }

    fn id_reply(&self) -> Reply {
        Reply::Integer(i64::try_from(self.id).expect("connections are not so many"))
    }

    /// `CLIENT SETNAME`
    pub(super) fn set_name(&mut self, call: &Call<'_>) -> Outcome {
        let [name] = call.exactly();
        if name.iter().any(|b| !(b'!'..=b'~').contains(b)) {
            return Err(CommandError::ClientName);
        }
        self.name = name.clone();
        Ok(Reply::OK)
    }

    /// `CLIENT GETNAME`
    pub(super) fn get_name(&mut self, _: &Call<'_>) -> Outcome {
        Ok(if self.name.is_empty() { Reply::Null } else { Reply::Bulk(self.name.clone()) })
    }

    /// `AUTH [user] password`
    pub(super) fn auth(&mut self, call: &Call<'_>) -> Outcome {
        log_in(call.args)
    }

    pub(super) fn select(&mut self, call: &Call<'_>) -> Outcome {
        let [index] = call.exactly();
        let index = read_integer(index).ok_or(CommandError::NotAnInteger)?;
        let is_there = |index: &usize| *index < DATABASES;
        self.database = usize::try_from(index).ok().filter(is_there).ok_or(CommandError::DatabaseIndex)?;
        Ok(Reply::OK)
    }

    /// `PING [text]`
    pub(super) fn ping(&mut self, call: &Call<'_>) -> Outcome {
        match call.args {
            [] => Ok(Reply::Status("PONG")),
            [text] => Ok(Reply::Bulk(text.clone())),
            _ => Err(call.wrong_arity()),
        }
    }

    pub(super) fn echo(&mut self, call: &Call<'_>) -> Outcome {
        let [text] = call.exactly();
        Ok(Reply::Bulk(text.clone()))
    }
}

/// There is one user, `default`, and it has no password: what Redis answers then.
fn log_in(credentials: &[Bytes]) -> Outcome {
    match credentials {
        [_password] => Err(CommandError::NoPasswordSet),
        [user, _password] if user[..] == *b"default" => Ok(Reply::OK),
        [_user, _password] => Err(CommandError::WrongPassword),
        _ => Err(CommandError::Syntax),
    }
}
