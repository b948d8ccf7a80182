//! The server as programs use it: its keys behind a lock, what tells connections of a restart, and the clients'
//! numbers.

use super::{
    condition::{Condition, Conditions},
    databases::Databases,
    keyspace::Keyspace,
};
use std::{
    ops::{Deref, DerefMut},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// One Redis server. All clones are the same server.
#[derive(Clone, Debug, Default)]
pub struct Broker {
    databases: Arc<Mutex<Databases>>,
    restarts: watch::Sender<u64>,
    clients: Arc<AtomicU64>,
    conditions: Arc<Mutex<Conditions>>,
}

impl Broker {
    /// A server without keys.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a restart of a server without persistence does: forgets all keys and closes all connections.
    pub fn restart(&self) {
        self.databases().clear();
        self.close_connections();
    }

    pub(super) fn close_connections(&self) {
        self.restarts.send_modify(|count| *count += 1);
    }

    /// From now on it is in `condition`, for all its clients.
    ///
    /// # Panics
    /// Never: nobody panics with the lock.
    pub fn fall_into(&self, condition: Condition) {
        self.conditions().lasting = condition;
    }

    pub(super) fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.conditions.lock().expect("nobody panics with it")
    }

    /// The data of database 0. Keys that are due stay in it until the next command or [`Keyspace::expire_due`]. Do not
    /// hold the guard across an await.
    ///
    /// # Panics
    /// If another thread panicked while it held the guard.
    pub fn keyspace(&self) -> KeyspaceGuard<'_> {
        KeyspaceGuard(self.databases())
    }

    pub(super) fn databases(&self) -> MutexGuard<'_, Databases> {
        self.databases.lock().expect("no command panics")
    }

    /// Changes when the server restarts.
    pub(super) fn restarted(&self) -> watch::Receiver<u64> {
        self.restarts.subscribe()
    }

    /// Clients are counted from 1, in the order in which they connect.
    pub(super) fn next_client_id(&self) -> u64 {
        self.clients.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// Database 0 of a server, as long as this is held.
#[derive(Debug)]
pub struct KeyspaceGuard<'a>(MutexGuard<'a, Databases>);

impl Deref for KeyspaceGuard<'_> {
    type Target = Keyspace;

    fn deref(&self) -> &Keyspace {
        &self.0[0]
    }
}

impl DerefMut for KeyspaceGuard<'_> {
    fn deref_mut(&mut self) -> &mut Keyspace {
        &mut self.0[0]
    }
}
