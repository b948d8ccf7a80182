//! The databases of one server, which clients choose among by number.

use super::keyspace::Keyspace;
use bytes::Bytes;
use std::ops::{Index, IndexMut};

/// How many there are, as with Redis' default configuration.
pub(super) const DATABASES: usize = 16;

/// All keys of a server.
#[derive(Clone, Debug, Default)]
pub(super) struct Databases([Keyspace; DATABASES]);

/// A key that a client watches, and how often it had been changed when that began.
#[derive(Debug)]
pub(super) struct Watched {
    database: usize,
    key: Bytes,
    version: u64,
}

impl Databases {
    /// All of them, in the order of their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Keyspace> {
        self.0.iter()
    }

    /// Removes every key that is due.
    pub(super) fn expire_due(&mut self, now_ms: u64) {
        for keyspace in &mut self.0 {
            keyspace.expire_due(now_ms);
        }
    }

    /// How many keys differ between the two.
    pub(super) fn differences(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).map(|(ours, theirs)| ours.differences(theirs)).sum()
    }

    /// Removes so many percent of all keys that expire.
    pub(super) fn evict(&mut self, percent: usize) -> usize {
        self.0.iter_mut().map(|keyspace| keyspace.evict(percent)).sum()
    }

    /// Removes all keys.
    pub(super) fn clear(&mut self) {
        self.0.iter_mut().for_each(Keyspace::clear);
    }

    /// Begins to watch a key, unless it is among `watched`.
    pub(super) fn watch(&mut self, watched: &mut Vec<Watched>, database: usize, key: &Bytes) {
        if watched.iter().all(|other| (other.database, &other.key) != (database, key)) {
            let version = self.0[database].watch(key);
            watched.push(Watched { database, key: key.clone(), version });
        }
    }

    /// Ends all of `watched`. Whether one was changed since it began; that a key was due is a change, too.
    pub(super) fn end_watch(&mut self, watched: &mut Vec<Watched>, now_ms: u64) -> bool {
        let mut changed = false;
        for Watched { database, key, version } in watched.drain(..) {
            let keyspace = &mut self.0[database];
            keyspace.expire_due(now_ms);
            changed |= keyspace.end_watch(&key) != Some(version);
        }
        changed
    }
}

impl Index<usize> for Databases {
    type Output = Keyspace;

    fn index(&self, number: usize) -> &Keyspace {
        &self.0[number]
    }
}

impl IndexMut<usize> for Databases {
    fn index_mut(&mut self, number: usize) -> &mut Keyspace {
        &mut self.0[number]
    }
}
