//! What goes wrong at a Redis that lives on, or at one that another takes the place of.

use super::{broker::Broker, condition::Condition, databases::Databases};

/// What a replica has: the keys of a server at the moment when it stopped to hear from it.
#[derive(Debug)]
pub struct Replica(Databases);

impl Broker {
    /// Begins to be in `condition`, until [`Broker::recover`]; of several at a time the last one to begin counts.
    pub fn fall_ill(&self, condition: Condition) {
        self.conditions().begin(condition);
    }

    /// Ends one [`Broker::fall_ill`]. Returns how many commands were refused since the first.
    pub fn recover(&self, condition: Condition) -> u64 {
        self.conditions().end(condition)
    }

    /// A replica stops to hear from the server.
    #[must_use]
    pub fn replica(&self) -> Replica {
        Replica(self.databases().clone())
    }

    /// The replica takes the server's place: what was written since it heard from it last is lost, and all connections
    /// are closed. Returns how many keys are others than before.
    pub fn fail_over(&self, replica: Replica) -> usize {
        let changed = self.databases().differences(&replica.0);
        *self.databases() = replica.0;
        self.close_connections();
        changed
    }

    /// Removes a share of all keys that expire, spread over them, as a server at its `maxmemory` with the policy
    /// `volatile-random` does. Returns how many.
    pub fn evict(&self, percent: u8) -> usize {
        self.databases().evict(percent.into())
    }
}
