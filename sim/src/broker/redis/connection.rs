//! One client's connection: bytes in, commands to the keyspace, replies out; and the commands that concern the connection
//! itself.

use super::{
    Broker,
    command::{self, Call, Outcome},
    error::CommandError,
    resp::{self, Reply, read_command, read_integer},
    server::{self, text},
    table,
};
use backbone::env::{Env, Stream};
use bytes::{Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// First capacity of the read buffer; Redis reads up to this much at once.
const READ_BYTES: usize = 16 << 10;
/// A buffer that grew beyond this for one large command is given back afterwards.
const IDLE_BUFFER_BYTES_MAX: usize = 64 << 10;
/// With this much to say, a client has to read before its next command is run.
const EARLY_WRITE_BYTES: usize = 1 << 20;
/// Most that may wait for EXEC. Redis has no limit of its own for it.
const TRANSACTION_BYTES_MAX: usize = 64 << 20;

/// Commands that don't wait for EXEC.
const AT_ONCE: [&str; 5] = ["discard", "exec", "multi", "quit", "reset"];
/// What an HTTP client would send; Redis closes such connections without a word, since web pages have been made to talk to
/// it behind their users' backs.
const HTTP: [&[u8]; 2] = [b"post", b"host:"];

/// Serves one client until either side closes.
pub(super) async fn run(env: Env, broker: Broker, id: u64, stream: Stream) {
    let mut restarted = broker.restarts.subscribe();
    let result = tokio::select! {
        biased;
        _ = restarted.changed() => Ok(()),
        result = serve(|| env.unix_time(), &broker, id, stream) => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "redis: connection lost");
    }
}

/// Answers every command that one read brought with one write, as Redis does before it sleeps, if the replies are not too
/// large.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    now: impl Fn() -> Duration,
    broker: &Broker,
    id: u64,
    mut stream: S,
) -> io::Result<()> {
    let mut client = Client { id, ..Client::default() };
    let mut input = BytesMut::with_capacity(READ_BYTES);
    let mut out = BytesMut::new();
    while !client.closing {
        if input.capacity() == input.len() {
            input.reserve(READ_BYTES);
        }
        if stream.read_buf(&mut input).await? == 0 {
            return Ok(());
        }
        let now_ms = u64::try_from(now().as_millis()).expect("the year is before 500,000,000");
        while !client.closing {
            let reply = match read_command(&mut input) {
                Ok(None) => break,
                Ok(Some(arguments)) if arguments.is_empty() => continue,
                Ok(Some(arguments)) if HTTP.iter().any(|word| arguments[0].eq_ignore_ascii_case(word)) => {
                    tracing::warn!("redis: a client speaks HTTP; closing its connection");
                    return stream.shutdown().await;
                }
                Ok(Some(arguments)) => client.execute(broker, arguments, now_ms),
                Err(error) => {
                    tracing::warn!(%error, "redis: client sent what is no command; closing its connection");
                    client.closing = true;
                    Reply::Error(error.to_string())
                }
            };
            reply.write(&mut out, client.resp3);
            if out.len() > EARLY_WRITE_BYTES {
                stream.write_all(&out).await?;
                out.clear();
            }
        }
        stream.write_all(&out).await?;
        stream.flush().await?;
        out.clear();
        if out.capacity() > IDLE_BUFFER_BYTES_MAX {
            out = BytesMut::new();
        }
        if input.is_empty() && input.capacity() > IDLE_BUFFER_BYTES_MAX {
            input = BytesMut::with_capacity(READ_BYTES);
        }
    }
    stream.shutdown().await
}

/// What the server knows about one connection.
#[derive(Debug, Default)]
struct Client {
    id: u64,
    resp3: bool,
    name: Bytes,
    closing: bool,
    /// Since MULTI.
    transaction: Option<Transaction>,
}

/// Commands that wait for EXEC.
#[derive(Debug, Default)]
struct Transaction {
    commands: Vec<(&'static str, Vec<Bytes>)>,
    bytes: usize,
    /// One of them was refused, so none will be run.
    failed: bool,
}

impl Client {
    fn execute(&mut self, broker: &Broker, arguments: Vec<Bytes>, now_ms: u64) -> Reply {
        let outcome = table::look_up(&arguments).and_then(|name| match &mut self.transaction {
            Some(waiting) if !AT_ONCE.contains(&name) => {
                waiting.push(name, arguments).map(|()| Reply::Status("QUEUED"))
            }
            _ => self.run(broker, name, &arguments, now_ms),
        });
        outcome.unwrap_or_else(|mut error| {
            if error == CommandError::Arity("exec".into()) {
                self.transaction = None;
                error = CommandError::ExecArity;
            }
            if let Some(waiting) = &mut self.transaction {
                waiting.failed |= error != CommandError::NestedMulti;
            }
            if matches!(error, CommandError::Unknown { .. }) {
                tracing::warn!(%error, "redis: a command is not supported; refused");
            }
            Reply::Error(error.to_string())
        })
    }

    fn run(&mut self, broker: &Broker, name: &'static str, arguments: &[Bytes], now_ms: u64) -> Outcome {
        let args = &arguments[if name.contains('|') { 2 } else { 1 }..];
        match (name, args) {
            ("hello", options) => self.hello(options),
            ("client|id", []) => Ok(Reply::Integer(i64::try_from(self.id).expect("connections are not so many"))),
            ("client|setname", [name]) => {
                if name.iter().any(|b| !(b'!'..=b'~').contains(b)) {
                    return Err(CommandError::ClientName);
                }
                self.name = name.clone();
                Ok(Reply::OK)
            }
            ("client|getname", []) if self.name.is_empty() => Ok(Reply::Null),
            ("client|getname", []) => Ok(Reply::Bulk(self.name.clone())),
            ("auth", credentials) => auth(credentials),
            ("select", [index]) => select(index),
            ("ping", []) => Ok(Reply::Status("PONG")),
            ("ping", [text]) | ("echo", [text]) => Ok(Reply::Bulk(text.clone())),
            ("ping", _) => Err(CommandError::Arity(name.into())),
            ("quit", _) => {
                self.closing = true;
                Ok(Reply::OK)
            }
            ("reset", []) => {
                *self = Self { id: self.id, ..Self::default() };
                Ok(Reply::Status("RESET"))
            }
            ("multi", []) if self.transaction.is_some() => Err(CommandError::NestedMulti),
            ("multi", []) => {
                self.transaction = Some(Transaction::default());
                Ok(Reply::OK)
            }
            ("discard", []) => self.transaction.take().map(|_| Reply::OK).ok_or(CommandError::WithoutMulti("DISCARD")),
            ("exec", []) => self.run_all(broker, now_ms),
            _ => command::execute(&mut broker.keyspace(), &Call { name, args, now_ms }),
        }
    }

    /// `EXEC`: a command that fails does not stop the others; too large a reply does.
    fn run_all(&mut self, broker: &Broker, now_ms: u64) -> Outcome {
        let transaction = self.transaction.take().ok_or(CommandError::WithoutMulti("EXEC"))?;
        if transaction.failed {
            return Err(CommandError::Aborted);
        }
        let run = |(name, arguments): (_, Vec<Bytes>)| {
            let outcome = self.run(broker, name, &arguments, now_ms);
            outcome.unwrap_or_else(|error| Reply::Error(error.to_string()))
        };
        Reply::array_of(transaction.commands.into_iter().map(run))
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`
    fn hello(&mut self, options: &[Bytes]) -> Outcome {
        let mut resp3 = self.resp3;
        let mut name = None;
        if let Some((version, mut rest)) = options.split_first() {
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
                        auth(&[user.clone(), password.clone()])?;
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
            (text("server"), text("redis")),
            (text("version"), text(server::VERSION)),
            (text("proto"), Reply::Integer(if resp3 { 3 } else { 2 })),
            (text("id"), Reply::Integer(i64::try_from(self.id).expect("connections are not so many"))),
            (text("mode"), text("standalone")),
            (text("role"), text("master")),
            (text("modules"), Reply::Array(vec![])),
        ]))
    }
}

impl Transaction {
    fn push(&mut self, name: &'static str, arguments: Vec<Bytes>) -> Result<(), CommandError> {
        self.bytes += arguments.iter().map(|argument| argument.len() + size_of::<Bytes>()).sum::<usize>();
        if self.bytes > TRANSACTION_BYTES_MAX {
            self.commands.clear();
            return Err(CommandError::TransactionBytes(TRANSACTION_BYTES_MAX));
        }
        self.commands.push((name, arguments));
        Ok(())
    }
}

/// There is one user, `default`, and it has no password: what Redis answers then.
fn auth(credentials: &[Bytes]) -> Outcome {
    match credentials {
        [_password] => Err(CommandError::NoPasswordSet),
        [user, _password] if user[..] == *b"default" => Ok(Reply::OK),
        [_user, _password] => Err(CommandError::WrongPassword),
        _ => Err(CommandError::Syntax),
    }
}

fn select(index: &Bytes) -> Outcome {
    match resp::read_integer(index) {
        Some(0) => Ok(Reply::OK),
        Some(_) => Err(CommandError::DatabaseIndex),
        None => Err(CommandError::NotAnInteger),
    }
}
