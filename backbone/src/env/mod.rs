//! The seam: all that the services may ask of the world outside their process.
//!
//! Everything in this crate reaches the network, other tasks, the wall clock and randomness through [`Env`], and time
//! through [`tokio::time`]. [`TokioEnv`] is the production implementation; a simulator is another. Nothing else is
//! exchanged between the two: the services, lapin, rumqttc and redis-rs are the same code in both.
//!
//! What does not live here: addresses, credentials, retries. Those belong to the adapters that use the seam.

#[cfg(test)]
pub(crate) mod memory;
mod production;

pub use production::TokioEnv;

use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};
use std::{future::Future, io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::AbortHandle,
};

/// The outside world as one replica of a service sees it. Cheap to clone; all clones are the same replica.
pub trait Env: Clone + Send + Sync + 'static {
    /// A connected TCP stream, without Nagle's delay.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync + 'static;
    /// A bound TCP socket.
    type Listener: Listener<Stream = Self::Stream>;

    /// Opens a TCP connection to `host`, a name or a literal address. Names are looked up at each call, so that a peer
    /// that came back elsewhere is found.
    ///
    /// # Errors
    /// Those of name lookup and of `connect(2)`. This call has no limit of its own: callers put a timeout around it.
    fn connect(&self, host: &str, port: u16) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Binds `addr` and listens.
    ///
    /// # Errors
    /// Those of `bind(2)` and `listen(2)`.
    fn listen(&self, addr: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;

    /// Runs `task` beside the caller. `name` says what it does: in production in its log lines, in the simulator in the
    /// report of its panic.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task;

    /// Opens an AMQP connection with lapin, on the socket and the runtime of this environment. `tls` says whom to trust if
    /// the scheme of `uri` is `amqps`.
    ///
    /// # Errors
    /// lapin's: the socket's errors, a refused login, a failed negotiation.
    fn open_amqp(
        &self,
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> impl Future<Output = Result<Connection, lapin::Error>> + Send;

    /// Wall-clock time since 1970-01-01T00:00Z. It is compared between replicas (deadlines, freshness of routes), so
    /// their clocks must agree to well below a second.
    fn unix_time(&self) -> Duration;

    /// The same in milliseconds, as it travels in messages.
    fn unix_ms(&self) -> u64 {
        u64::try_from(self.unix_time().as_millis()).expect("milliseconds of any sane time fit 64 bits")
    }

    /// Fills `buf` with random bytes, good enough for identifiers that nobody can guess.
    fn random(&self, buf: &mut [u8]);
}

/// Pause after a failed accept: the usual reason, too many open files, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections on a bound socket.
pub trait Listener: Send + 'static {
    /// What an accepted connection is.
    type Stream;

    /// Waits for the next connection. Dropping the future loses none.
    ///
    /// # Errors
    /// Those of `accept(2)`; the listener stays usable.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// The next connection that could be accepted. Dropping the future loses none.
    fn connection(&mut self) -> impl Future<Output = Self::Stream> + Send {
        async {
            loop {
                match self.accept().await {
                    Ok(stream) => return stream,
                    Err(error) => tracing::warn!(%error, "a connection was not accepted"),
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A spawned task. Dropping the handle lets the task run on.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Wraps the handle of a task that an [`Env`] has spawned.
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
