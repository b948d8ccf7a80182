//! The seam: all that the services may ask of the world outside their process.
//!
//! Everything in this crate reaches the network, other tasks, the wall clock and randomness through [`Env`], and time
//! through [`tokio::time`]. An [`Env`] is a handle on a [`Platform`]: [`TokioPlatform`] in production, a simulator or a
//! test's own elsewhere. Nothing else is exchanged between them: the services, lapin, rumqttc and redis-rs are the same
//! code over each, and compiled once, since no service has a type parameter for where it runs.
//!
//! What does not live here: addresses, credentials, retries. Those belong to the adapters that use the seam.

mod lapin_runtime;
#[cfg(test)]
pub(crate) mod memory;
mod production;

pub use production::TokioPlatform;

use futures_util::future::BoxFuture;
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{
    fmt,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};

/// Limit of one dial with its handshakes: a lost SYN comes back after 1 s and again after 3 s.
pub const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// What an [`Env`] stands on. Object-safe, so that a service need not know which it is.
pub trait Platform: Send + Sync + 'static {
    /// See [`Env::connect`].
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Stream>>;

    /// See [`Env::listen`].
    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Listener>>;

    /// See [`Env::spawn`].
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task;

    /// See [`Env::open_amqp`].
    fn open_amqp(
        &self,
        stream: Stream,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> BoxFuture<'_, Result<Connection, lapin::Error>>;

    /// See [`Env::unix_time`].
    fn unix_time(&self) -> Duration;

    /// See [`Env::random`].
    fn random(&self, buf: &mut [u8]);
}

/// The outside world as one replica of a service sees it. Cheap to clone; all clones are the same replica.
#[derive(Clone)]
pub struct Env(Arc<dyn Platform>);

impl Env {
    /// A handle on `platform`.
    #[must_use]
    pub fn new(platform: impl Platform) -> Self {
        Self(Arc::new(platform))
    }

    /// The operating system, seen from within a tokio runtime: production.
    #[must_use]
    pub fn tokio() -> Self {
        Self::new(TokioPlatform::default())
    }

    /// Opens a TCP connection to `host`, a name or a literal address, without Nagle's delay. Names are looked up at
    /// each call, so that a peer that came back elsewhere is found.
    ///
    /// # Errors
    /// Those of name lookup and of `connect(2)`. This call has no limit of its own: callers put one around it,
    /// [`DIAL_LIMIT`].
    pub async fn connect(&self, host: &str, port: u16) -> io::Result<Stream> {
        self.0.connect(host, port).await
    }

    /// Binds `addr` and listens.
    ///
    /// # Errors
    /// Those of `bind(2)` and `listen(2)`.
    pub async fn listen(&self, addr: SocketAddr) -> io::Result<Listener> {
        self.0.listen(addr).await
    }

    /// Runs `task` beside the caller. `name` says what it does: in production in its log lines, in the simulator in the
    /// report of its panic.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        self.0.spawn(name, Box::pin(task))
    }

    /// Opens an AMQP connection over `stream`, with lapin on the runtime of this environment. It is part of the seam
    /// because lapin works on a thread of its own. Login and virtual host are those of `uri`.
    ///
    /// # Errors
    /// lapin's: the stream's errors, a refused login, a failed negotiation.
    pub async fn open_amqp(
        &self,
        stream: Stream,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> Result<Connection, lapin::Error> {
        self.0.open_amqp(stream, uri, properties).await
    }

    /// Wall-clock time since 1970-01-01T00:00Z. It is compared between replicas (deadlines, freshness of routes), so
    /// their clocks must agree to well below a second.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }

    /// The same in milliseconds, as it travels in messages.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix_time().as_millis()).expect("milliseconds of any sane time fit 64 bits")
    }

    /// Fills `buf` with random bytes, good enough for identifiers that nobody can guess.
    pub fn random(&self, buf: &mut [u8]) {
        self.0.random(buf);
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Env")
    }
}

/// What a connected [`Stream`] can do.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + Sync> Socket for S {}

/// A connected TCP stream, with TLS or without.
pub type Stream = Box<dyn Socket>;

/// A bound TCP socket, as a [`Platform`] provides it.
pub trait Accept: Send + 'static {
    /// The next connection. Whoever gets [`Poll::Pending`] is woken when it is worth asking again.
    ///
    /// # Errors
    /// Those of `accept(2)`; the socket stays usable.
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>>;
}

/// Pause after a failed accept: the usual reason, too many open files, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound TCP socket.
pub struct Listener {
    socket: Box<dyn Accept>,
    addr: SocketAddr,
}

impl Listener {
    /// A listener on `socket`, which is bound to `addr`.
    #[must_use]
    pub fn new(socket: impl Accept, addr: SocketAddr) -> Self {
        Self { socket: Box::new(socket), addr }
    }

    /// What it is bound to: if port 0 was asked for, the one that was free.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Waits for the next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// Those of `accept(2)`; the listener stays usable.
    pub async fn accept(&mut self) -> io::Result<Stream> {
        poll_fn(|cx| self.socket.poll_accept(cx)).await
    }

    /// The next connection that could be accepted. Dropping the future loses none.
    pub async fn connection(&mut self) -> Stream {
        loop {
            match self.accept().await {
                Ok(stream) => return stream,
                Err(error) => tracing::warn!(%error, "a connection was not accepted"),
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }
}

/// A spawned task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Wraps the handle of a task that a [`Platform`] has spawned.
    #[must_use]
    pub fn new(handle: AbortHandle) -> Self {
        Self(handle)
    }

    /// Drops the task where it stands, at its next suspension point.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether the task has ended, by itself or aborted.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// A [`Task`] that ends when this guard is dropped.
#[derive(Debug)]
pub struct TaskGuard(Task);

impl From<Task> for TaskGuard {
    fn from(task: Task) -> Self {
        Self(task)
    }
}

impl Drop for TaskGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
