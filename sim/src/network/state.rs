//! What the network knows of one flow.

use super::{stream::End, tcp::Side};
use turmoil_net::Packet;

/// Order and retransmission of one flow.
#[derive(Default)]
pub(super) struct FlowState {
    /// When the latest packet arrives: none behind it may be earlier.
    pub(crate) last_arrival_ns: u64,
    /// When the application hears of the latest packet.
    pub(crate) last_delivery_ns: u64,
    /// Its sender has sent a FIN or a RST.
    pub(crate) closing: bool,
    /// It has carried more than a SYN.
    pub(crate) established: bool,
    /// A pure ACK that was lost. Whatever its sender sends next makes it needless.
    pub(crate) lost_ack: Option<Box<LostAck>>,
    /// Lost segments and those held up behind them, by sequence number; `None` while nothing is lost.
    pub(crate) lost: Option<Box<Lost>>,
    /// Sequence number of the first byte after the SYN.
    pub(super) first_seq: u32,
    /// That of the next byte that is written; a FIN counts as one.
    pub(super) next_seq: u32,
    /// The source's end of the connection.
    pub(super) end: End,
    /// The source's side of a connection whose segments are modelled.
    pub(super) side: Option<Box<Side>>,
}

/// Segments that wait for their retransmission.
#[derive(Default)]
pub(crate) struct Lost {
    pub(crate) packets: Vec<Packet>,
    pub(crate) rto_ns: u64,
    pub(crate) tries: u32,
    /// Tells the timer that is set now from older ones.
    pub(crate) timer: u64,
}

/// A pure ACK that waits for its peer to ask again.
pub(crate) struct LostAck {
    pub(crate) packet: Packet,
    /// Tells its timer from older ones.
    pub(crate) timer: u64,
    pub(crate) rto_ns: u64,
}
