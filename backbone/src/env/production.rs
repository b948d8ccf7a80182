//! The production [`Platform`]: the operating system's TCP, clock and entropy, and tasks on the current tokio runtime.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module is the one place where the services touch the operating system"
)]

use super::{Accept, Listener, Platform, Stream, Task};
use futures_util::future::BoxFuture;
use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};
use std::{
    io,
    net::SocketAddr,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};
use tokio::net::{TcpListener, TcpStream};
use tracing::Instrument as _;

/// The operating system, seen from within a tokio runtime.
#[derive(Clone, Copy, Debug)]
pub struct TokioPlatform {
    /// `TCP_NODELAY` on what is connected: on, unless somebody wants to see what Nagle's algorithm costs. lapin sets up
    /// its sockets itself; accepted connections always have it.
    pub nodelay: bool,
}

impl Default for TokioPlatform {
    fn default() -> Self {
        Self { nodelay: true }
    }
}

impl Accept for TcpListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        let (stream, _peer) = ready!(TcpListener::poll_accept(self, cx))?;
        stream.set_nodelay(true)?;
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
            Ok(Listener::new(socket, addr))
        })
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        Task::new(tokio::spawn(task.instrument(tracing::info_span!("task", name))).abort_handle())
    }

    fn open_amqp(
        &self,
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> BoxFuture<'_, Result<Connection, lapin::Error>> {
        Box::pin(Connection::connect_uri_with_config(uri, properties, tls, async_rs::Runtime::tokio_current()))
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the system clock stands after 1970")
    }

    fn random(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system provides entropy to a running process");
    }
}
