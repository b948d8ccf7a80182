//! What can be chosen about a broker.

use super::outbound::SendQuota;
use rumqttc::mqttbytes::QoS;
use std::num::NonZeroU16;

/// How a broker behaves. The default is Mosquitto's.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most messages of QoS 1 and 2 in flight to a client that names no Receive Maximum (`max_inflight_messages`). One
    /// that it names goes before this, be it less or more. Also the Receive Maximum that clients are told.
    pub max_inflight: NonZeroU16,
    /// How the broker keeps to that window.
    pub quota: SendQuota,
    /// Highest QoS (`max_qos`). Subscriptions get no more, and a client that publishes with more is disconnected.
    pub max_qos: QoS,
    /// Most messages that wait for one client beside those in flight (`max_queued_messages`); further ones are dropped.
    /// At least 1.
    pub queued_messages_max: usize,
    /// Sessions and retained messages survive [`Broker::restart`](super::Broker::restart) (`persistence`).
    pub persistent_sessions: bool,
    /// Longest keep alive that a client may choose (`max_keepalive`); others are told this one.
    pub keep_alive_max_s: u16,
    /// Largest packet that is accepted (`max_packet_size`). Mosquitto takes any size; nothing of ours comes near this.
    pub packet_bytes_max: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_inflight: NonZeroU16::new(20).expect("20 is not 0"),
            quota: SendQuota::Strict,
            max_qos: QoS::ExactlyOnce,
            queued_messages_max: 1000,
            persistent_sessions: false,
            keep_alive_max_s: u16::MAX,
            packet_bytes_max: 1 << 20,
        }
    }
}

impl Config {
    /// The keep alive that replaces a client's choice of `wanted_s`, if one does. 0 asks for none at all.
    pub(super) fn server_keep_alive_s(&self, wanted_s: u16) -> Option<u16> {
        let too_long = wanted_s > self.keep_alive_max_s || (wanted_s == 0 && self.keep_alive_max_s != u16::MAX);
        too_long.then_some(self.keep_alive_max_s)
    }
}
