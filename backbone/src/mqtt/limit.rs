//! What the broker takes. One message that is too large costs the connection, and with it everything that is under way
//! over it, so none is sent that is known to be.
//!
//! A broker says its Maximum Packet Size in its CONNACK (MQTT 5, 3.2.2.3.6). One that does not, and refuses a message
//! for its size, is learnt from: the largest message that was under way then is larger than it takes, since it is at
//! least as large as the one that was refused.

use rumqttc::{
    ConnectionError, StateError,
    mqttbytes::{
        Error,
        v5::{ConnAckProperties, DisconnectReasonCode},
    },
};
use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

/// How long a learnt limit holds. The broker may get a larger one, and to try costs a connection.
const LEARNT_FOR: Duration = Duration::from_secs(600);
/// Packet too large, as a reason code (MQTT 5, 2.4). Mosquitto's `message_size_limit` puts it into a PUBACK, which has
/// no such reason (3.4.2.1), so rumqttc takes that for malformed.
const PACKET_TOO_LARGE: u8 = 0x95;

/// The largest packet that the broker takes, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct PacketLimit(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the CONNACK of the present connection, or of the last one.
    announced: Option<Limit>,
    learnt: Option<(Limit, Instant)>,
    /// Sizes of the packets that are under way, with how many there are of each: as many as a replica may have.
    under_way: BTreeMap<u32, usize>,
}

/// A limit, and how it came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The broker has said so.
    Announced { bytes_max: u32 },
    /// The broker refused a packet of a byte more, or one that was with it.
    Learnt { bytes_max: u32 },
}

impl Limit {
    fn bytes_max(self) -> u32 {
        match self {
            Self::Announced { bytes_max } | Self::Learnt { bytes_max } => bytes_max,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Announced { bytes_max } => write!(f, "{bytes_max} bytes, the broker's Maximum Packet Size"),
            Self::Learnt { bytes_max } => write!(f, "{bytes_max} bytes, which is learnt from what the broker refused"),
        }
    }
}

/// A packet that is under way, until it is dropped.
pub(super) struct UnderWay<'a> {
    limit: &'a PacketLimit,
    bytes: u32,
}

impl PacketLimit {
    /// Takes note of what a new connection's CONNACK says.
    pub(super) fn announced(&self, properties: Option<&ConnAckProperties>) {
        let bytes_max = properties.and_then(|properties| properties.max_packet_size);
        self.known().announced = bytes_max.map(|bytes_max| Limit::Announced { bytes_max });
    }

    /// A connection ends because of `error`, with what is still under way over it.
    pub(super) fn lost(&self, error: &ConnectionError) {
        let mut known = self.known();
        if speaks_of_size(error)
            && let Some((largest, _)) = known.under_way.last_key_value()
        {
            let limit = Limit::Learnt { bytes_max: largest.saturating_sub(1) };
            known.learnt = Some((limit, Instant::now() + LEARNT_FOR));
        }
    }

    /// Counts a packet as under way.
    ///
    /// # Errors
    /// Its size and the limit, if the broker does not take it.
    pub(super) fn admit(&self, bytes: usize) -> Result<UnderWay<'_>, (u32, Limit)> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut known = self.known();
        let learnt = known.learnt.filter(|(_, until)| *until > Instant::now()).map(|(limit, _)| limit);
        let limits = [known.announced, learnt].into_iter().flatten();
        match limits.min_by_key(|limit| limit.bytes_max()) {
            Some(limit) if bytes > limit.bytes_max() => Err((bytes, limit)),
            _ => {
                *known.under_way.entry(bytes).or_default() += 1;
                Ok(UnderWay { limit: self, bytes })
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut known = self.limit.known();
        if let Some(count) = known.under_way.get_mut(&self.bytes) {
            *count -= 1;
            if *count == 0 {
                known.under_way.remove(&self.bytes);
            }
        }
    }
}

/// Whether the broker gave a packet's size as its reason.
fn speaks_of_size(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::MqttState(
            StateError::ServerDisconnect { reason_code: DisconnectReasonCode::PacketTooLarge, .. }
                | StateError::Deserialization(
                    // rumqttc's name for any code that a packet has not.
                    Error::InvalidConnectReturnCode(PACKET_TOO_LARGE) | Error::InvalidReason(PACKET_TOO_LARGE)
                )
        )
    )
}
