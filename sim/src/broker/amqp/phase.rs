//! How far a connection has come.

/// The steps of a connection's life (section 2.2.4). Those of the handshake have the name of what the client sends
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing came yet but a TCP connection.
    Header,
    /// `connection.start` is sent.
    StartOk,
    /// `connection.tune` is sent.
    TuneOk,
    /// Only `connection.open` is missing.
    Open,
    /// In use.
    Running,
    /// `connection.close` is sent: all but the answer is ignored.
    Closing,
    /// Closed by the client, which ends the socket, too, when it has read what is in the write buffer.
    Left,
    /// Ended by us: what is in the write buffer is the last.
    Ended,
}

impl Phase {
    /// Nothing is read any more.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Left | Self::Ended)
    }
}
