//! One client's connection: bytes in, commands to the keyspace, replies out; and the commands that concern the
//! connection itself.

use super::{
    broker::Broker,
    client::Client,
    resp::{Reply, read_command},
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

/// What an HTTP client would send; Redis closes such connections without a word, since web pages have been made to talk
/// to it behind their users' backs.
const HTTP: [&[u8]; 2] = [b"post", b"host:"];

/// Serves one client until either side closes.
pub(super) async fn run(env: Env, broker: Broker, id: u64, stream: Stream) {
    let mut restarted = broker.restarted();
    let result = tokio::select! {
        biased;
        _ = restarted.changed() => Ok(()),
        result = serve(|| env.unix_time(), &broker, id, stream) => result,
    };
    if let Err(error) = result {
        tracing::debug!(%error, "redis: connection lost");
    }
}

/// Answers every command that one read brought with one write, as Redis does before it sleeps, if the replies are not
/// too large.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    now: impl Fn() -> Duration,
    broker: &Broker,
    id: u64,
    mut stream: S,
) -> io::Result<()> {
    let mut client = Connected { broker, client: Client::new(id) };
    let client = &mut client.client;
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
                Ok(Some(arguments)) => answer(broker, client, arguments, now_ms),
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

fn answer(broker: &Broker, client: &mut Client, arguments: Vec<Bytes>, now_ms: u64) -> Reply {
    let mut databases = broker.databases();
    let outcome = table::look_up(&arguments).and_then(|command| {
        broker.conditions().refuse(command, &arguments)?;
        client.execute(&mut databases, command, arguments, now_ms)
    });
    outcome.unwrap_or_else(|error| client.refuse(&mut databases, error, now_ms))
}

/// A client for as long as its connection lives, however that ends.
struct Connected<'a> {
    broker: &'a Broker,
    client: Client,
}

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        if self.client.is_watching() {
            self.client.end(&mut self.broker.databases());
        }
    }
}
