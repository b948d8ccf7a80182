//! An emulated Redis 7.0: strings and hashes that expire, over RESP2 and RESP3, with the real server's replies and
//! errors word for word.
//!
//! There are 16 databases, and transactions that come to nothing if a watched key was changed: a compare-and-set.
//!
//! What is not here: other types, persistence, replication, scripts, publish/subscribe, access control. Asking for them
//! gets the error that a server without them would give.
//!
//! `table` has a row for each command, with the function that runs it; those are in `keys`, `expiry`, `strings`,
//! `hashes` and `server`, and in `client` if they concern the client. A new command is one row and its function.

mod broker;
mod call;
mod client;
mod condition;
mod connection;
mod databases;
mod error;
mod expiry;
mod faults;
mod glob;
mod hashes;
mod keys;
mod keyspace;
mod resp;
mod scan;
mod server;
mod strings;
mod table;
#[cfg(test)]
mod tests;

pub use broker::{Broker, KeyspaceGuard};
pub use condition::Condition;
pub use faults::Replica;
pub use keyspace::Keyspace;

use super::accept::{Place, accept};
use backbone::env::{Env, Listener, Stream};
use std::convert::Infallible;

impl Broker {
    /// Accepts connections until the task that runs this is dropped. Connections are tasks of their own; whoever aborts
    /// them all, as a crash does, calls [`Broker::restart`] before serving again.
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
}
