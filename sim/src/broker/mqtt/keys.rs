//! What the broker tells sessions and connections apart by.

/// Names a session within its server; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SessionKey(pub(super) u64);

/// Names a connection towards the server. It becomes void when another connection takes the session over.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionKey {
    pub(super) session: SessionKey,
    pub(super) number: u64,
}
