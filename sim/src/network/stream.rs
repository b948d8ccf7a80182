//! The bytes of established connections, from a write into the inbox of the peer's socket.
//!
//! turmoil-net makes connections and ends them; between the two it knows of no data. What a socket writes becomes
//! segments at once, which the network delays, loses and brings back like any other packet, and what arrives lies in
//! the receiver's inbox until the application reads it. So work costs, and a socket without work costs nothing.
//! Control packets (SYN, FIN, RST, their ACKs) travel the same way in order with the data, and only they reach
//! turmoil-net's kernels.

use super::{Event, Moment, Network, segment::segment, state::FlowState};
use crate::{
    flow::Flow,
    observe::{self, Stage},
};
use bytes::{Bytes, BytesMut};
use std::{
    io,
    task::{Poll, Waker},
};
use turmoil_net::{Packet, TcpFlags, TcpSegment, Transport};

/// What a sender may have under way and unread at its peer: the largest window without scaling. A write beyond it
/// waits.
const WINDOW_BYTES: usize = 65_535;

/// The end of a connection at a flow's source.
#[derive(Debug, Default)]
pub(super) struct End {
    /// A socket is there.
    pub(super) open: bool,
    /// The socket was closed before everything was read: as Linux does, the connection is reset instead of ended.
    pub(super) aborts: bool,
    /// The peer has ended the connection or reset it: after what is in the inbox turmoil-net knows more.
    ended: bool,
    /// The peer has reset it: nothing can be written any more, but what came before can be read, as on Linux.
    was_reset: bool,
    /// What has arrived and was not read yet.
    inbox: BytesMut,
    /// Bytes written here that are not in the peer's inbox yet.
    under_way_bytes: usize,
    reader: Option<Waker>,
    /// Waits for room.
    writer: Option<Waker>,
}

impl End {
    /// The socket is gone.
    fn close(&mut self, unread: bool) {
        self.aborts = unread || !self.inbox.is_empty();
        (self.open, self.inbox) = (false, BytesMut::new());
        (self.reader, self.writer) = (None, None);
    }

    /// Whoever waits here for something shall look again.
    pub(super) fn wake(&mut self) {
        [self.reader.take(), self.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }
}

impl Network {
    /// The application at `flow`'s source writes. Returns how much of it was taken.
    pub(crate) fn write(
        &mut self,
        now: &mut Moment<'_>,
        flow: Flow,
        bytes: &[u8],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let peer = self.flows.get(flow.reversed());
        let (unread_bytes, ack) = peer.map_or((0, 0), |peer| (peer.end.inbox.len(), peer.first_seq));
        let Some(state) = self.flows.get_mut(flow).filter(|state| state.end.open) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if state.end.was_reset || state.closing {
            let kind = if state.end.was_reset { io::ErrorKind::ConnectionReset } else { io::ErrorKind::BrokenPipe };
            return Poll::Ready(Err(kind.into()));
        }
        let room_bytes = WINDOW_BYTES.saturating_sub(state.end.under_way_bytes + unread_bytes);
        if room_bytes == 0 && !bytes.is_empty() {
            state.end.writer = Some(waker.clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..room_bytes.min(bytes.len())];
        state.end.under_way_bytes += bytes.len();
        let mut seq = state.next_seq;
        state.next_seq = seq.wrapping_add(bytes.len() as u32);
        observe::wrote(flow, seq, bytes);
        let (is_modelled, mss_bytes) = (Self::models_tcp(now.hosts, flow), self.mss_bytes(now.hosts, flow));
        for part in bytes.chunks(mss_bytes) {
            let segment = TcpSegment {
                src_port: flow.source.1,
                dst_port: flow.destination.1,
                seq,
                ack,
                flags: TcpFlags { ack: true, ..TcpFlags::default() },
                window: u16::MAX,
                payload: Bytes::copy_from_slice(part),
            };
            seq = seq.wrapping_add(part.len() as u32);
            if is_modelled {
                self.write_later(now, flow, segment);
            } else {
                self.send(now, flow, Self::packet(flow, segment));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Lets `take` take from what has arrived at `flow`'s source, and returns how much that was. 0: there is nothing
    /// and will be nothing, and turmoil-net knows why.
    pub(crate) fn read(
        &mut self,
        now: &mut Moment<'_>,
        flow: Flow,
        waker: &Waker,
        take: &mut dyn FnMut(&mut BytesMut),
    ) -> Poll<usize> {
        let Some(FlowState { end, .. }) = self.flows.get_mut(flow) else { return Poll::Ready(0) };
        let arrived_bytes = end.inbox.len();
        if arrived_bytes == 0 {
            if end.ended {
                return Poll::Ready(0);
            }
            end.reader = Some(waker.clone());
            return Poll::Pending;
        }
        let inbox = &mut end.inbox;
        take(inbox);
        let taken_bytes = arrived_bytes - inbox.len();
        let drained = inbox.is_empty();
        if drained {
            *inbox = BytesMut::new(); // thousands of streams: keep no memory that a burst once needed
        }
        self.application_read(now, flow, taken_bytes, drained);
        let back = flow.reversed();
        if let Some(writer) = self.flows.get_mut(back).and_then(|peer| peer.end.writer.take()) {
            // The window update takes its time.
            let latency_ns = self.link(now.hosts, flow).draw_ns(&mut self.rng);
            now.put((now.ns + latency_ns).next_multiple_of(self.quantum_ns), Event::Room(writer));
        }
        Poll::Ready(taken_bytes)
    }

    /// The socket at `flow`'s source is gone. `unread`: it had taken more from here than the application has read.
    pub(crate) fn close(&mut self, flow: Flow, unread: bool) {
        let Some(FlowState { end, .. }) = self.flows.get_mut(flow) else { return };
        end.close(unread);
        if end.was_reset {
            self.flows.remove(flow);
        }
    }

    /// A reset has reached the end of `flow`.
    pub(super) fn take_in_reset(&mut self, flow: Flow) {
        if let Some(mut sender) = self.flows.remove(flow) {
            sender.end.wake();
        }
        let back = flow.reversed();
        let Some(FlowState { end, .. }) = self.flows.get_mut(back) else { return };
        (end.ended, end.was_reset) = (true, true);
        end.wake();
        if !end.open {
            self.flows.remove(back);
        }
    }

    /// A packet has come through its destination's kernel: data go into the inbox. Returns what is turmoil-net's
    /// business, in its numbers: for it no byte was ever sent.
    pub(super) fn take_in(&mut self, now: &mut Moment<'_>, mut packet: Packet) -> Option<Packet> {
        let flow = Self::flow_of(&packet);
        let Transport::Tcp(arrived) = &mut packet.payload else { return None };
        let payload = std::mem::take(&mut arrived.payload);
        observe::passed(flow, Stage::Readable, arrived.seq.wrapping_add(payload.len() as u32));
        if !payload.is_empty() && !self.take_in_data(flow, &payload) {
            self.reset(now, flow.reversed()); // there is no socket any more
        }
        if arrived.flags.fin {
            arrived.seq = self.flows.get(flow).map_or(arrived.seq, |state| state.first_seq);
        }
        arrived.window = u16::MAX;
        if arrived.flags.fin
            && let Some(receiver) = self.flows.get_mut(flow.reversed())
        {
            receiver.end.ended = true;
            receiver.end.wake();
        }
        let control = arrived.flags.syn || arrived.flags.fin || arrived.flags.rst;
        (control || payload.is_empty() && self.acknowledges_control(flow, segment(&packet))).then_some(packet)
    }

    /// Whether somebody is there to read, or nobody to be told.
    fn take_in_data(&mut self, flow: Flow, payload: &[u8]) -> bool {
        let Some(sender) = self.flows.get_mut(flow) else { return true };
        sender.end.under_way_bytes = sender.end.under_way_bytes.saturating_sub(payload.len());
        let receiver = self.flows.get_mut(flow.reversed()).filter(|receiver| receiver.end.open);
        let Some(receiver) = receiver else { return false };
        receiver.end.inbox.extend_from_slice(payload);
        receiver.end.reader.take().into_iter().for_each(Waker::wake);
        true
    }

    /// Whether a pure ACK may be that of a SYN or of a FIN. All others are of data.
    fn acknowledges_control(&self, flow: Flow, ack: &TcpSegment) -> bool {
        let peer = self.flows.get(flow.reversed());
        peer.is_none_or(|peer| peer.closing || ack.ack == peer.first_seq)
    }
}
