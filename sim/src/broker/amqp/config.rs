//! What can be chosen about a broker.

/// What the broker proposes to clients, and its limits. The defaults are those of RabbitMQ 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Proposed heartbeat interval; the client decides. A peer that is silent for two of them is dropped. 0: none.
    pub heartbeat_s: u16,
    /// Largest frame, from 4,096 on.
    pub frame_bytes_max: u32,
    /// Highest channel number of a connection, from 1 on.
    pub channel_max: u16,
    /// Largest message body. A larger one closes the channel with 406.
    pub body_bytes_max: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { heartbeat_s: 60, frame_bytes_max: 131_072, channel_max: 2_047, body_bytes_max: 128 * 1024 * 1024 }
    }
}
