//! For tests: a network of pipes. A host is whatever it is called; what counts is the port.

use super::{Env, Listener, Task, TokioEnv};
use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};
use std::{
    collections::BTreeMap,
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{io::DuplexStream, sync::mpsc};

/// What fits into a pipe, in bytes.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that are not accepted yet.
const BACKLOG: usize = 64;

/// A world in which only what listens in it can be reached.
#[derive(Clone, Default)]
pub(crate) struct MemoryEnv(Arc<Mutex<BTreeMap<u16, mpsc::Sender<DuplexStream>>>>);

impl Env for MemoryEnv {
    type Stream = DuplexStream;
    type Listener = mpsc::Receiver<DuplexStream>;

    async fn connect(&self, _: &str, port: u16) -> io::Result<DuplexStream> {
        let listener = self.0.lock().unwrap().get(&port).cloned();
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let sent = match listener {
            Some(listener) => listener.send(far).await.is_ok(),
            None => false,
        };
        sent.then_some(near).ok_or_else(|| io::ErrorKind::ConnectionRefused.into())
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        let mut listeners = self.0.lock().unwrap();
        if listeners.get(&addr.port()).is_some_and(|listener| !listener.is_closed()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        listeners.insert(addr.port(), sender);
        Ok(receiver)
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        TokioEnv.spawn(name, task)
    }

    async fn open_amqp(
        &self,
        _: AMQPUri,
        _: OwnedTLSConfig,
        _: ConnectionProperties,
    ) -> Result<Connection, lapin::Error> {
        Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    fn unix_time(&self) -> Duration {
        // Runs with tokio's clock, which tests pause.
        thread_local! { static START: tokio::time::Instant = tokio::time::Instant::now(); }
        Duration::from_secs(1_000_000) + START.with(tokio::time::Instant::elapsed)
    }

    fn random(&self, buf: &mut [u8]) {
        TokioEnv.random(buf);
    }
}

impl Listener for mpsc::Receiver<DuplexStream> {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        self.recv().await.ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}
