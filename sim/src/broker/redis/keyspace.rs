//! The data: keys, their values, and when they go. "Now" is an argument, in milliseconds since 1970.
//!
//! Expiry needs no timer and no scan: keys are also ordered by their expiry, and every command first takes out what is
//! due. So a due key is neither read nor counted by anybody, and its memory goes with the next command, whatever its
//! key.
//!
//! A long run holds hundreds of thousands of keys, so what one costs counts: texts are boxed, not [`bytes::Bytes`], and
//! the two orders share one copy of the key.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::Included,
    sync::Arc,
};

/// Fields and values of a hash, in the order of the fields.
pub(super) type Hash = BTreeMap<Box<[u8]>, Box<[u8]>>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(Box<[u8]>),
    /// Boxed, so that it does not make room in every string's entry for a map.
    Hash(Box<Hash>),
}

/// The key holds a value of another type than the command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType;

/// The expiry of a key that stays.
const NEVER: u64 = u64::MAX;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    value: Value,
    /// The last millisecond in which the key exists, or [`NEVER`].
    expires_ms: u64,
}

/// Who watches a key, and how often it was changed.
#[derive(Clone, Debug, Default)]
struct Watch {
    watchers: usize,
    version: u64,
}

/// All keys of one database.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    entries: BTreeMap<Arc<[u8]>, Entry>,
    /// Keys that somebody watches, whether they are there or not.
    watches: BTreeMap<Box<[u8]>, Watch>,
    /// (expiry, key), one for each entry that does not stay.
    expiries: BTreeSet<(u64, Arc<[u8]>)>,
}

impl Keyspace {
    /// Removes every key whose expiry lies before `now_ms`; a key still exists in the millisecond of its expiry, as in
    /// Redis. Returns how many.
    pub fn expire_due(&mut self, now_ms: u64) -> usize {
        let mut removed = 0;
        while self.expiries.first().is_some_and(|(at, _)| *at < now_ms) {
            let (_, key) = self.expiries.pop_first().expect("was just seen");
            let entry = self.entries.remove(&key);
            assert!(entry.is_some(), "an expiry belongs to a key");
            self.changed(&key);
            removed += 1;
        }
        removed
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Removes all keys.
    pub fn clear(&mut self) {
        for (key, watch) in &mut self.watches {
            watch.version += u64::from(self.entries.contains_key(&**key));
        }
        self.entries.clear();
        self.expiries.clear();
    }

    /// How many keys only one of the two has, or both with other values.
    pub(super) fn differences(&self, other: &Self) -> usize {
        let changed = self.entries.iter().filter(|(key, entry)| other.entries.get(*key) != Some(entry)).count();
        changed + other.entries.keys().filter(|key| !self.entries.contains_key(*key)).count()
    }

    /// Removes so many percent of the keys that expire, spread over all of them. Returns how many.
    pub(super) fn evict(&mut self, percent: usize) -> usize {
        let due = |(place, _): &(usize, (&Arc<[u8]>, &Entry))| (place + 1) * percent / 100 > place * percent / 100;
        let expiring = self.entries.iter().filter(|(_, entry)| entry.expires_ms != NEVER);
        let keys: Vec<Arc<[u8]>> = expiring.enumerate().filter(due).map(|(_, (key, _))| key.clone()).collect();
        for key in &keys {
            self.remove(key);
        }
        keys.len()
    }

    /// A key was changed: its watchers will see it.
    pub(super) fn changed(&mut self, key: &[u8]) {
        if !self.watches.is_empty()
            && let Some(watch) = self.watches.get_mut(key)
        {
            watch.version += 1;
        }
    }

    /// One more watches `key`. How often it was changed so far.
    pub(super) fn watch(&mut self, key: &[u8]) -> u64 {
        let watch = self.watches.entry(key.into()).or_default();
        watch.watchers += 1;
        watch.version
    }

    /// One less watches `key`. How often it was changed so far, if anybody watched.
    pub(super) fn end_watch(&mut self, key: &[u8]) -> Option<u64> {
        let watch = self.watches.get_mut(key)?;
        watch.watchers -= 1;
        let version = watch.version;
        if watch.watchers == 0 {
            self.watches.remove(key);
        }
        Some(version)
    }

    /// How many keys somebody watches.
    #[must_use]
    pub fn watched_keys(&self) -> usize {
        self.watches.len()
    }

    /// Keys that will still be there after `unix_ms`.
    pub fn outliving(&self, unix_ms: u64) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().filter(move |(_, entry)| entry.expires_ms > unix_ms).map(|(key, _)| &**key)
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.keys().map(|key| &**key)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn string(&self, key: &[u8]) -> Result<Option<&[u8]>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(Value::Hash(_)) => Err(WrongType),
        }
    }

    pub(super) fn hash(&self, key: &[u8]) -> Result<Option<&Hash>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(Value::String(_)) => Err(WrongType),
        }
    }

    /// Sets `key` to a string, whatever it was before, for ever or until `expires_ms`.
    pub fn set(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expires_ms: Option<u64>) {
        let (key, value) = (key.as_ref(), Value::String(value.as_ref().into()));
        match self.entries.get_mut(key) {
            Some(entry) => entry.value = value,
            None => drop(self.entries.insert(key.into(), Entry { value, expires_ms: NEVER })),
        }
        self.set_expiry(key, expires_ms);
        self.changed(key);
    }

    /// Applies `change` to the hash at `key`: a new one if there is none; a hash left empty is removed. Who changes
    /// something says so ([`changed`](Self::changed)).
    pub(super) fn change_hash<T>(&mut self, key: &[u8], change: impl FnOnce(&mut Hash) -> T) -> Result<T, WrongType> {
        match self.entries.get_mut(key).map(|entry| &mut entry.value) {
            Some(Value::String(_)) => Err(WrongType),
            Some(Value::Hash(hash)) => {
                let result = change(hash);
                if hash.is_empty() {
                    self.remove(key);
                }
                Ok(result)
            }
            None => {
                let mut hash = Box::<Hash>::default();
                let result = change(&mut hash);
                if !hash.is_empty() {
                    self.entries.insert(key.into(), Entry { value: Value::Hash(hash), expires_ms: NEVER });
                }
                Ok(result)
            }
        }
    }

    pub(super) fn remove(&mut self, key: &[u8]) -> Option<Value> {
        let (owned, entry) = self.entries.remove_entry(key)?;
        if entry.expires_ms != NEVER {
            let removed = self.expiries.remove(&(entry.expires_ms, owned));
            assert!(removed, "a key with an expiry is in the index");
        }
        self.changed(key);
        Some(entry.value)
    }

    /// Lets `to` be what `from` is now, expiry included. Returns whether there is a `from`.
    pub(super) fn rename(&mut self, from: &[u8], to: &[u8]) -> bool {
        let Some(expiry) = self.expiry(from) else { return false };
        if from == to {
            return true;
        }
        let value = self.remove(from).expect("was just seen");
        self.remove(to);
        self.entries.insert(to.into(), Entry { value, expires_ms: NEVER });
        self.set_expiry(to, expiry);
        self.changed(to);
        true
    }

    /// How many keys expire some time.
    pub(super) fn expiring(&self) -> usize {
        self.expiries.len()
    }

    /// When `key` expires: `None` if there is no such key, `Some(None)` if it stays.
    pub(super) fn expiry(&self, key: &[u8]) -> Option<Option<u64>> {
        self.entries.get(key).map(|entry| Some(entry.expires_ms).filter(|at| *at != NEVER))
    }

    /// Lets `key` expire at `expires_ms`, or never. Does nothing if there is no such key.
    pub(super) fn set_expiry(&mut self, key: &[u8], expires_ms: Option<u64>) {
        // The only way to an entry that also leads to the shared copy of its key.
        let Some((key, entry)) = self.entries.range_mut::<[u8], _>((Included(key), Included(key))).next() else {
            return;
        };
        let new = expires_ms.unwrap_or(NEVER);
        let old = std::mem::replace(&mut entry.expires_ms, new);
        let mut indexed = (old, key.clone());
        if old != NEVER || new != NEVER {
            self.changed(&indexed.1);
        }
        if old == new {
            return;
        }
        if old != NEVER {
            self.expiries.remove(&indexed);
        }
        if new != NEVER {
            indexed.0 = new;
            self.expiries.insert(indexed);
        }
    }
}
