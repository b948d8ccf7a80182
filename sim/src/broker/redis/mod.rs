//! An emulated Redis 7.0: strings and hashes that expire, over RESP2 and RESP3, with the real server's replies and errors
//! word for word.
//!
//! What is not here: persistence, replication, transactions, scripts, publish/subscribe, access control, inline commands.
//! Asking for them gets the error that a server without them would give.

mod command;
mod connection;
mod hashes;
mod keyspace;
mod resp;
#[cfg(test)]
mod tests;

pub use keyspace::Keyspace;

use backbone::env::{Env, Listener};
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// Pause after a failed accept, so that a lasting failure doesn't spin.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// One Redis server. All clones are the same server.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    keyspace: Arc<Mutex<Keyspace>>,
    restarts: watch::Sender<u64>,
}

impl Broker {
    /// A server without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts connections on `addr` until the task that runs this is dropped. Connections are tasks of their own; whoever
    /// aborts them all, as a crash does, calls [`Broker::restart`] before serving again.
    ///
    /// # Errors
    /// Those of [`Env::listen`].
    pub async fn serve<E: Env>(&self, env: E, addr: SocketAddr) -> io::Result<()> {
        let mut listener = env.listen(addr).await?;
        loop {
            let stream = match listener.accept().await {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "redis: accepting a connection failed");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            env.spawn("redis connection", connection::run(env.clone(), self.clone(), stream));
        }
    }

    /// What a restart of a server without persistence does: forgets all keys and closes all connections.
    pub fn restart(&self) {
        self.keyspace().clear();
        self.restarts.send_modify(|count| *count += 1);
    }

    /// The data. Keys that are due stay in it until the next command or [`Keyspace::expire_due`]. Do not hold the guard
    /// across an await.
    ///
    /// # Panics
    /// If another thread panicked while it held the guard.
    pub fn keyspace(&self) -> MutexGuard<'_, Keyspace> {
        self.keyspace.lock().expect("no command panics")
    }
}
