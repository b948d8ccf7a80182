//! The data: keys, their values, and when they go. "Now" is an argument, in milliseconds since 1970.
//!
//! Expiry needs no timer and no scan: keys are also ordered by their expiry, and every command first takes out what is
//! due. So a due key is neither read nor counted by anybody, and its memory goes with the next command, whatever its key.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// Fields and values of a hash, in the order of the fields.
pub(super) type Hash = BTreeMap<Bytes, Bytes>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    String(Bytes),
    Hash(Hash),
}

/// The key holds a value of another type than the command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongType;

#[derive(Debug)]
struct Entry {
    value: Value,
    /// The last millisecond in which the key exists.
    expires_ms: Option<u64>,
}

/// All keys of the one database.
#[derive(Debug, Default)]
pub struct Keyspace {
    entries: BTreeMap<Bytes, Entry>,
    /// (expiry, key), one for each entry that has an expiry.
    expiries: BTreeSet<(u64, Bytes)>,
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
        self.entries.clear();
        self.expiries.clear();
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.keys()
    }

    pub(super) fn get(&self, key: &Bytes) -> Option<&Value> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn string(&self, key: &Bytes) -> Result<Option<&Bytes>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(value)) => Ok(Some(value)),
            Some(Value::Hash(_)) => Err(WrongType),
        }
    }

    pub(super) fn hash(&self, key: &Bytes) -> Result<Option<&Hash>, WrongType> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(Value::String(_)) => Err(WrongType),
        }
    }

    /// Sets `key` to a string, whatever it was before, for ever or until `expires_ms`.
    pub fn set(&mut self, key: Bytes, value: Bytes, expires_ms: Option<u64>) {
        self.remove(&key);
        if let Some(at) = expires_ms {
            self.expiries.insert((at, key.clone()));
        }
        self.entries.insert(key, Entry { value: Value::String(value), expires_ms });
    }

    /// Applies `change` to the hash at `key`: a new one if there is none; a hash left empty is removed.
    pub(super) fn change_hash<T>(&mut self, key: &Bytes, change: impl FnOnce(&mut Hash) -> T) -> Result<T, WrongType> {
        let entry = self
            .entries
            .entry(key.clone())
            .or_insert_with(|| Entry { value: Value::Hash(Hash::new()), expires_ms: None });
        let Value::Hash(hash) = &mut entry.value else { return Err(WrongType) };
        let result = change(hash);
        if hash.is_empty() {
            self.remove(key);
        }
        Ok(result)
    }

    pub(super) fn remove(&mut self, key: &Bytes) -> Option<Value> {
        let entry = self.entries.remove(key)?;
        if let Some(at) = entry.expires_ms {
            let removed = self.expiries.remove(&(at, key.clone()));
            assert!(removed, "a key with an expiry is in the index");
        }
        Some(entry.value)
    }

    /// When `key` expires: `None` if there is no such key, `Some(None)` if it stays.
    pub(super) fn expiry(&self, key: &Bytes) -> Option<Option<u64>> {
        self.entries.get(key).map(|entry| entry.expires_ms)
    }

    /// Lets `key` expire at `expires_ms`, or never. Does nothing if there is no such key.
    pub(super) fn set_expiry(&mut self, key: &Bytes, expires_ms: Option<u64>) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        if let Some(old) = std::mem::replace(&mut entry.expires_ms, expires_ms) {
            self.expiries.remove(&(old, key.clone()));
        }
        if let Some(new) = expires_ms {
            self.expiries.insert((new, key.clone()));
        }
    }
}
