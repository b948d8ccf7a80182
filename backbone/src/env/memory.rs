//! For tests: a network of pipes. A host is whatever it is called; what counts is the port.

use super::{Accept, Env, Listener, Platform, Stream, Task, TokioPlatform};
use futures_util::future::BoxFuture;
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::Mutex,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{io::DuplexStream, sync::mpsc};

/// What fits into a pipe, in bytes.
const PIPE_BYTES: usize = 64 * 1024;
/// Connections that are not accepted yet.
const BACKLOG: usize = 64;

/// A world of its own, in which only what listens in it can be reached.
pub(crate) fn memory_env() -> Env {
    Env::new(MemoryPlatform::default())
}

#[derive(Default)]
struct MemoryPlatform(Mutex<BTreeMap<u16, mpsc::Sender<DuplexStream>>>);

impl Platform for MemoryPlatform {
    fn connect<'a>(&'a self, _: &'a str, port: u16) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move {
            let listener = self.0.lock().unwrap().get(&port).cloned();
            let (near, far) = tokio::io::duplex(PIPE_BYTES);
            let sent = match listener {
                Some(listener) => listener.send(far).await.is_ok(),
                None => false,
            };
            if sent { Ok(Box::new(near) as Stream) } else { Err(io::ErrorKind::ConnectionRefused.into()) }
        })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Listener>> {
        let mut listeners = self.0.lock().unwrap();
        if listeners.get(&addr.port()).is_some_and(|listener| !listener.is_closed()) {
            return Box::pin(async { Err(io::ErrorKind::AddrInUse.into()) });
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        listeners.insert(addr.port(), sender);
        Box::pin(async move { Ok(Listener::new(receiver, addr)) })
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        TokioPlatform::default().spawn(name, task)
    }

    fn open_amqp(
        &self,
        _: Stream,
        _: AMQPUri,
        _: ConnectionProperties,
    ) -> BoxFuture<'_, Result<Connection, lapin::Error>> {
        Box::pin(async { Err(io::Error::from(io::ErrorKind::ConnectionRefused).into()) })
    }

    fn unix_time(&self) -> Duration {
        // Runs with tokio's clock, which tests pause.
        thread_local! { static START: tokio::time::Instant = tokio::time::Instant::now(); }
        Duration::from_secs(1_000_000) + START.with(tokio::time::Instant::elapsed)
    }

    fn random(&self, buf: &mut [u8]) {
        TokioPlatform::default().random(buf);
    }
}

impl Accept for mpsc::Receiver<DuplexStream> {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        self.poll_recv(cx).map(|stream| match stream {
            Some(stream) => Ok(Box::new(stream) as Stream),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        })
    }
}
