//! What a connection has to write: packets in the form of its version, put in by the server, taken out by the
//! connection's writer.

use super::v3::{self, Version};
use bytes::BytesMut;
use rumqttc::mqttbytes::{
    Error,
    v5::{Disconnect, DisconnectReasonCode, Packet},
};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::Notify;

/// With this much unwritten the connection's reader pauses: a client that sends but does not read cannot make the
/// broker buffer acknowledgements without end. Many times what a fast client has under way.
const READER_PAUSE_BYTES: usize = 1 << 20;
/// A buffer that grew beyond this in a burst is given back after it.
const IDLE_BUFFER_BYTES_MAX: usize = 16 << 10;

#[derive(Debug, Default)]
pub(super) struct WriteBuffer {
    pending: Mutex<Pending>,
    version: Version,
    /// The client's Maximum Packet Size.
    packet_bytes_max: Option<u32>,
    written: Notify,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    bytes: BytesMut,
    /// Lengths of the packets in `bytes`.
    packets: VecDeque<usize>,
    closed: bool,
}

/// What the writer writes next.
#[derive(Debug, Default)]
pub(super) struct Burst {
    pub(super) bytes: BytesMut,
    pub(super) packets: VecDeque<usize>,
}

impl WriteBuffer {
    pub(super) fn new(version: Version, packet_bytes_max: Option<u32>) -> Self {
        Self { version, packet_bytes_max, ..Self::default() }
    }

    /// What the client speaks.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Appends a packet, if the client's version has it. Returns `false` if it is larger than the client takes (the
    /// packet is not sent then, MQTT-3.1.2-24) or the buffer is closed.
    pub(super) fn push(&self, packet: &Packet) -> bool {
        let mut pending = self.pending();
        if pending.closed {
            return false;
        }
        let before = pending.bytes.len();
        match self.version {
            Version::V31 | Version::V311 => v3::write(packet, self.version, &mut pending.bytes),
            Version::V5 => match packet.write(&mut pending.bytes, self.packet_bytes_max) {
                Ok(_) => {}
                Err(Error::OutgoingPacketTooLarge { .. }) => return false,
                Err(error) => unreachable!("the broker only builds valid packets: {error}: {packet:?}"),
            },
        }
        let len = pending.bytes.len() - before;
        if len > 0 {
            pending.packets.push_back(len);
            self.filled.notify_one();
        }
        true
    }

    /// How many packets wait to be written.
    pub(super) fn len(&self) -> usize {
        self.pending().packets.len()
    }

    /// Says goodbye with `reason`, to a client that speaks version 5; after that nothing more goes in.
    pub(super) fn disconnect(&self, reason: DisconnectReasonCode) {
        self.push(&Packet::Disconnect(Disconnect::new(reason)));
        self.close();
    }

    /// Nothing more goes in; what is there is still written.
    pub(super) fn close(&self) {
        self.pending().closed = true;
        self.filled.notify_one();
    }

    /// Forgets what is not yet written, and closes.
    pub(super) fn abort(&self) {
        let mut pending = self.pending();
        *pending = Pending { closed: true, ..Pending::default() };
        drop(pending);
        self.filled.notify_one();
    }

    /// Waits for packets and takes all of them. `None` once closed and empty. `spent` is the burst before: its buffer
    /// is used again.
    pub(super) async fn take(&self, mut spent: Burst) -> Option<Burst> {
        loop {
            {
                let mut pending = self.pending();
                if !pending.packets.is_empty() {
                    spent.bytes.clear();
                    if spent.bytes.capacity() > IDLE_BUFFER_BYTES_MAX {
                        spent.bytes = BytesMut::new();
                    }
                    spent.packets.clear();
                    std::mem::swap(&mut spent.bytes, &mut pending.bytes);
                    std::mem::swap(&mut spent.packets, &mut pending.packets);
                    self.written.notify_one();
                    return Some(spent);
                }
                if pending.closed {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Waits until little enough is unwritten to read on.
    pub(super) async fn drained(&self) {
        while self.pending().bytes.len() > READER_PAUSE_BYTES {
            self.written.notified().await;
        }
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().expect("nobody panics with it")
    }
}
