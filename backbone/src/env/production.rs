//! The production [`Env`]: the operating system's TCP, clock and entropy, and tasks on the current tokio runtime.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "this module is the one place where the services touch the operating system"
)]

use super::{Env, Listener, Task};
use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    time::{Duration, SystemTime},
};
use tokio::net::{TcpListener, TcpStream};
use tracing::Instrument as _;

/// The operating system, seen from within a tokio runtime.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioEnv;

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _peer) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Env for TokioEnv {
    type Stream = TcpStream;
    type Listener = TcpListener;

    async fn connect(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<TcpListener> {
        TcpListener::bind(addr).await
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        Task::new(tokio::spawn(task.instrument(tracing::info_span!("task", name))).abort_handle())
    }

    async fn open_amqp(
        &self,
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> Result<Connection, lapin::Error> {
        Connection::connect_uri_with_config(uri, properties, tls, async_rs::Runtime::tokio_current()).await
    }

    fn unix_time(&self) -> Duration {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the system clock stands after 1970")
    }

    fn random(&self, buf: &mut [u8]) {
        getrandom::fill(buf).expect("the operating system provides entropy to a running process");
    }
}
