//! The production [`Platform`]: the operating system's TCP, clock and entropy, and tasks on the current tokio runtime.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module is the one place where the services touch the operating system"
)]

use super::{Accept, Listener, Platform, Stream, Task, lapin_runtime::LapinRuntime};
use futures_util::future::BoxFuture;
use lapin::{Connection, ConnectionProperties, tcp::AsyncTcpStream, uri::AMQPUri};
use std::{
    io,
    net::SocketAddr,
    sync::Mutex,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use tracing::Instrument as _;

/// The operating system, seen from within a tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioPlatform {
    /// `TCP_NODELAY` on what is connected: on, unless somebody wants to see what Nagle's algorithm costs.
    pub nodelay: bool,
    /// `TCP_NODELAY` on what is accepted: on, unless somebody stands for a server that leaves it off.
    pub accepted_nodelay: bool,
}

impl Default for TokioPlatform {
    fn default() -> Self {
        Self { nodelay: true, accepted_nodelay: true }
    }
}

struct Listening {
    socket: TcpListener,
    nodelay: bool,
}

impl Accept for Listening {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let (stream, _peer) = ready!(self.socket.poll_accept(cx))?;
        stream.set_nodelay(self.nodelay)?;
        Poll::Ready(Ok(Box::new(stream)))
    }
}

impl Platform for TokioPlatform {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let stream = TcpStream::connect((host, port)).await?;
            stream.set_nodelay(self.nodelay)?;
            Ok(Box::new(stream) as Stream)
        })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Listener>> {
        Box::pin(async move {
            let socket = TcpListener::bind(addr).await?;
            let addr = socket.local_addr()?;
            Ok(Listener::new(Listening { socket, nodelay: self.accepted_nodelay }, addr))
        })
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        Task::new(tokio::spawn(task.instrument(tracing::info_span!("task", name))).abort_handle())
    }

    fn open_amqp(
        &self,
        stream: Stream,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> BoxFuture<'_, Result<Connection, lapin::Error>> {
        // lapin asks again only when it recovers by itself, which is off.
        let stream = Mutex::new(Some(stream));
        let take = async move |_, _| match stream.lock().expect("held for a take only").take() {
            Some(stream) => Ok(AsyncTcpStream::Plain(stream.compat())),
            None => Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()),
        };
        let runtime = async_rs::Runtime::new(LapinRuntime::current());
        Box::pin(Connection::connector(uri, runtime, take, properties))
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the system clock stands after 1970")
    }

    fn random(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system provides entropy to a running process");
    }
}
