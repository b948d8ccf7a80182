//! One client's connection: bytes in, commands to the keyspace, replies out; and the commands that concern the connection
//! itself.

use super::{
    Broker,
    command::{self, CommandError},
    resp::{self, Reply, read_command, read_integer},
};
use backbone::env::Env;
use bytes::{Bytes, BytesMut};
use std::{io, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// First capacity of the read buffer; Redis reads up to this much at once.
const READ_BYTES: usize = 16 << 10;
/// A buffer that grew beyond this for one large command is given back afterwards.
const IDLE_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Replies that gather before they are written although more commands are there. A read full of them may ask for a large
/// value thousands of times.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// Serves one client until either side closes.
pub(super) async fn run<E: Env>(env: E, broker: Broker, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut restarted = broker.restarts.subscribe();
    let result = tokio::select! {
        biased;
        _ = restarted.changed() => Ok(()),
        result = serve(|| env.unix_time(), &broker, stream) => result,
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
    mut stream: S,
) -> io::Result<()> {
    let mut client = Client::default();
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
                Ok(Some(arguments)) => client.execute(broker, &arguments, now_ms),
                Err(error) => {
                    tracing::warn!(%error, "redis: client sent what is no command; closing its connection");
                    client.closing = true;
                    Reply::Error(error.to_string())
                }
            };
            reply.write(&mut out, client.resp3);
            if out.len() > REPLY_BYTES_MAX {
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
    resp3: bool,
    name: Bytes,
    closing: bool,
}

impl Client {
    fn execute(&mut self, broker: &Broker, arguments: &[Bytes], now_ms: u64) -> Reply {
        let name = String::from_utf8_lossy(&arguments[0]).to_ascii_lowercase();
        let result = match (name.as_str(), &arguments[1..]) {
            ("hello", options) => self.hello(options),
            ("client", options) => self.client(options),
            ("auth", credentials) => auth(credentials),
            ("select", [index]) => select(index),
            ("ping", []) => Ok(Reply::Status("PONG")),
            ("ping", [text]) | ("echo", [text]) => Ok(Reply::Bulk(text.clone())),
            ("quit", _) => {
                self.closing = true;
                Ok(Reply::OK)
            }
            ("select" | "ping" | "echo", _) => Err(CommandError::Arity(name)),
            _ => command::execute(&mut broker.keyspace(), &name, arguments, now_ms),
        };
        result.unwrap_or_else(|error| {
            if matches!(error, CommandError::Unknown { .. }) {
                tracing::warn!(%error, "redis: a command is not supported; refused");
            }
            Reply::Error(error.to_string())
        })
    }

    /// `HELLO [version [AUTH user password] [SETNAME name]]`
    fn hello(&mut self, options: &[Bytes]) -> Result<Reply, CommandError> {
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
        let text = |text: &'static str| Reply::Bulk(Bytes::from_static(text.as_bytes()));
        Ok(Reply::Map(vec![
            (text("server"), text("redis")),
            (text("version"), text("7.0.15")),
            (text("proto"), Reply::Integer(if resp3 { 3 } else { 2 })),
            (text("mode"), text("standalone")),
            (text("role"), text("master")),
            (text("modules"), Reply::Array(vec![])),
        ]))
    }

    /// `CLIENT SETNAME | GETNAME | SETINFO`; the last is Redis 7.2's, and accepted since client libraries send it.
    fn client(&mut self, options: &[Bytes]) -> Result<Reply, CommandError> {
        let Some((subcommand, rest)) = options.split_first() else {
            return Err(CommandError::Arity("client".into()));
        };
        let name = String::from_utf8_lossy(subcommand).to_ascii_lowercase();
        match (name.as_str(), rest) {
            ("setname", [name]) => {
                if name.iter().any(|b| !(b'!'..=b'~').contains(b)) {
                    return Err(CommandError::ClientName);
                }
                self.name = name.clone();
                Ok(Reply::OK)
            }
            ("getname", []) => Ok(if self.name.is_empty() { Reply::Null } else { Reply::Bulk(self.name.clone()) }),
            ("setinfo", [_attribute, _value]) => Ok(Reply::OK),
            ("setname" | "getname" | "setinfo", _) => Err(CommandError::Arity(format!("client|{name}"))),
            _ => Err(CommandError::UnknownSubcommand {
                name: String::from_utf8_lossy(subcommand).into_owned(),
                command: "CLIENT",
            }),
        }
    }
}

/// There is one user, `default`, and it has no password: what Redis answers then.
fn auth(credentials: &[Bytes]) -> Result<Reply, CommandError> {
    match credentials {
        [_password] => Err(CommandError::NoPasswordSet),
        [user, _password] if user[..] == *b"default" => Ok(Reply::OK),
        [_user, _password] => Err(CommandError::WrongPassword),
        [] => Err(CommandError::Arity("auth".into())),
        _ => Err(CommandError::Syntax),
    }
}

fn select(index: &Bytes) -> Result<Reply, CommandError> {
    match resp::read_integer(index) {
        Some(0) => Ok(Reply::OK),
        Some(_) => Err(CommandError::DatabaseIndex),
        None => Err(CommandError::NotAnInteger),
    }
}
