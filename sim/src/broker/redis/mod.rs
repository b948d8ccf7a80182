//! An emulated Redis 7.0: strings and hashes that expire, over RESP2 and RESP3, with the real server's replies and errors
//! word for word.
//!
//! What is not here: other types, persistence, replication, WATCH, scripts, publish/subscribe, access control, a second
//! database. Asking for them gets the error that a server without them would give. A command is found by `table`, and run
//! by `connection` if it concerns the connection, else by `command` and what that leads to.

mod command;
mod connection;
mod error;
mod expiry;
mod glob;
mod hashes;
mod keyspace;
mod resp;
mod server;
mod strings;
mod table;
#[cfg(test)]
mod tests;

pub use keyspace::Keyspace;

use super::accept::{Place, accept};
use backbone::env::{Env, Listener, Stream};
use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// One Redis server. All clones are the same server.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    keyspace: Arc<Mutex<Keyspace>>,
    restarts: watch::Sender<u64>,
    clients: Arc<AtomicU64>,
}

impl Broker {
    /// A server without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts connections until the task that runs this is dropped. Connections are tasks of their own; whoever aborts them
    /// all, as a crash does, calls [`Broker::restart`] before serving again.
    pub async fn serve(&self, env: Env, listener: Listener) -> Infallible {
        accept("redis", listener, |stream, place| self.connected(&env, stream, Some(place))).await
    }

    /// Serves one connection that is there already.
    pub fn attach(&self, env: &Env, stream: Stream) {
        self.connected(env, stream, None);
    }

    /// `place` is kept until the connection ends.
    fn connected(&self, env: &Env, stream: Stream, place: Option<Place>) {
        let connection = connection::run(env.clone(), self.clone(), self.next_client_id(), stream);
        env.spawn("redis connection", async move {
            let _place = place;
            connection.await;
        });
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

    /// Clients are counted from 1, in the order in which they connect.
    fn next_client_id(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }
}
