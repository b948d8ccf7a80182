//! An [`Env`] for tests: whoever is dialled is played by the test, over pipes, so that time can stand still.

use super::{Env, Listener, Task, TokioEnv};
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{future::Future, io, net::SocketAddr, time::Duration};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, sleep},
};

/// What a pipe holds before its writer waits, in bytes.
const PIPE_BYTES: usize = 1 << 16;
/// The wall clock's time at the start of a test.
const UNIX_START: Duration = Duration::from_secs(1_800_000_000);

/// The world of one test. Its wall clock goes with tokio's.
#[derive(Clone)]
pub(crate) struct Loopback {
    start: Instant,
    dialled: mpsc::UnboundedSender<DuplexStream>,
}

impl Loopback {
    /// A world whose every dialled connection comes out of the receiver. Once that is dropped, connections are refused.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<DuplexStream>) {
        let (dialled, dials) = mpsc::unbounded_channel();
        (Self { start: Instant::now(), dialled }, dials)
    }

    /// A world in which every connection is refused.
    pub(crate) fn without_peers() -> Self {
        Self::new().0
    }
}

/// Nobody dials into a test.
pub(crate) struct Deaf;

impl Listener for Deaf {
    type Stream = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        sleep(Duration::MAX).await;
        Err(io::ErrorKind::TimedOut.into())
    }
}

impl Env for Loopback {
    type Stream = DuplexStream;
    type Listener = Deaf;

    async fn connect(&self, _: &str, _: u16) -> io::Result<DuplexStream> {
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        self.dialled.send(far).map_err(|_| io::ErrorKind::ConnectionRefused)?;
        Ok(near)
    }

    async fn listen(&self, _: SocketAddr) -> io::Result<Deaf> {
        Ok(Deaf)
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        TokioEnv.spawn(name, task)
    }

    async fn open_amqp(&self, _: AMQPUri, _: ConnectionProperties) -> Result<Connection, lapin::Error> {
        Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    fn unix_time(&self) -> Duration {
        UNIX_START + self.start.elapsed()
    }

    fn random(&self, buf: &mut [u8]) {
        buf.fill(1);
    }
}
