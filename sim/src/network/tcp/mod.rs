//! Linux's TCP between applications and the wire, where it decides how fast they are: Nagle's algorithm at the sender and
//! delayed acknowledgements at the receiver.
//!
//! Only connections with a host that leaves Nagle on (`Kernel::nodelay = false`) are modelled so: elsewhere nobody waits
//! for an acknowledgement, and turmoil-net's own, one a segment, will do. On a modelled connection the segments that
//! turmoil-net hands over are cut where the application's writes ended, each takes its CPU time, and all pure ACKs are
//! ours. This file is the glue; the rules are in [`delayed_ack`] and [`nagle`].

mod delayed_ack;
mod nagle;
#[cfg(test)]
mod replay;

use super::{
    Flow, Network, Step,
    flow::{is_pure_ack, segment},
};
use crate::engine::agenda::Agenda;
use delayed_ack::{DelayedAck, Receiver, Verdict};
use nagle::Sender;
use turmoil_net::{Packet, TcpFlags, TcpSegment};

/// How a host's kernel does TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `TCP_NODELAY` on the sockets of this host's processes; off, Nagle's algorithm holds small segments back.
    pub nodelay: bool,
    /// `net.ipv4.tcp_pingpong_thresh`: answers after which a connection counts as interactive. 3 in Linux 5.1 to 5.19, 1
    /// before and since.
    pub pingpong_thresh: u8,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { nodelay: true, pingpong_thresh: 1 }
    }
}

/// One side of a modelled connection: as a receiver and as a sender. Kept with the flow that leaves this side.
#[derive(Debug)]
pub(super) struct Side {
    ack: DelayedAck,
    sender: Sender,
    /// Where the receive window ends, as turmoil-net last said. What arrives later uses the window up, so a segment that
    /// acknowledges it must advertise less.
    window_end: u32,
    /// Where it ends for all that the peer has been told.
    window_end_told: u32,
    /// Tells the delayed-ACK timer that is set now from older ones.
    timer: u64,
    /// No write may leave before the one before it.
    written_at_ns: u64,
}

impl Side {
    /// What a segment advertises that acknowledges up to `ack`.
    fn tell_window(&mut self, ack: u32) -> u16 {
        self.window_end_told = self.window_end;
        u16::try_from(self.window_end.wrapping_sub(ack)).unwrap_or(0) // all of it is used up
    }

    /// Whether the application has read so much that the peer should know at once (`tcp_cleanup_rbuf`): the window is twice
    /// as large as it believes.
    fn must_tell_window(&self) -> bool {
        let Some(ack) = self.ack.acknowledges() else { return false };
        let [now, told] = [self.window_end, self.window_end_told].map(|end| end.wrapping_sub(ack));
        self.window_end != self.window_end_told && now / 2 >= told
    }
}

impl Network {
    /// Whether the connection of this flow is modelled.
    pub(crate) fn models_tcp(&self, flow: Flow) -> bool {
        !(self.host(flow.source).plan.kernel.nodelay && self.host(flow.destination).plan.kernel.nodelay)
    }

    fn side(&mut self, flow: Flow) -> &mut Side {
        let kernel = self.host(flow.source).plan.kernel;
        let link = self.link(flow);
        let receiver = Receiver {
            pingpong_thresh: kernel.pingpong_thresh,
            window_bytes: link.window_bytes,
            mss_bytes: link.mss_bytes,
        };
        self.flows.entry(flow.packed()).or_default().side.get_or_insert_with(|| {
            Box::new(Side {
                ack: DelayedAck::new(receiver),
                sender: Sender::default(),
                window_end: 0,
                window_end_told: 0,
                timer: 0,
                written_at_ns: 0,
            })
        })
    }

    fn mss_bytes(&self, flow: Flow) -> usize {
        self.link(flow).mss_bytes as usize
    }

    /// The application on `flow`'s source wrote so much in one call.
    pub(crate) fn wrote(&mut self, flow: Flow, len_bytes: usize) {
        if self.models_tcp(flow) {
            let len_bytes = u32::try_from(len_bytes).expect("a write fits into a socket's buffer");
            self.side(flow).sender.wrote(len_bytes);
        }
    }

    /// The application on `flow`'s source has read; `drained`: all there was.
    pub(crate) fn application_read(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, drained: bool) {
        if self.models_tcp(flow) && self.flows.contains_key(&flow.packed()) {
            let verdict = self.side(flow).ack.application_read(drained);
            self.obey(now_ns, agenda, flow, verdict);
        }
    }

    /// turmoil-net hands over what the application wrote, and what its own state machine has to say.
    pub(super) fn leave(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, packet: Packet) {
        let leaving = segment(&packet).clone();
        let peer_has_closed = self.is_closing(flow.reversed());
        let mss_bytes = self.mss_bytes(flow);
        let side = self.side(flow);
        side.window_end = leaving.ack.wrapping_add(leaving.window.into());
        if leaving.flags.syn {
            side.sender.start(leaving.seq);
        }
        // Beside resets: the handshake, and the ACK of a FIN.
        let is_first_ack = is_pure_ack(&leaving) && side.ack.acknowledges().is_none();
        let closes = is_pure_ack(&leaving) && peer_has_closed;
        if leaving.flags.syn || leaving.flags.rst || is_first_ack || closes {
            side.window_end_told = side.window_end;
            return self.send(now_ns, agenda, flow, packet);
        }
        if is_pure_ack(&leaving) {
            if side.must_tell_window() {
                self.obey(now_ns, agenda, flow, Verdict::Now);
            }
            return; // all other ACKs are ours
        }
        if leaving.payload.is_empty() {
            return self.write_later(now_ns, agenda, flow, leaving); // a FIN
        }
        for part in side.sender.cut(leaving, mss_bytes) {
            self.write_later(now_ns, agenda, flow, part);
        }
    }

    /// Each write takes CPU time of its pod, one after the other.
    fn write_later(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, part: TcpSegment) {
        let done_ns = match &mut self.hosts[usize::from(flow.source.0)].cpu {
            Some(cpu) if cpu.plan().write_us > 0 => {
                let job = cpu.work(now_ns, cpu.plan().write_us);
                // As far as is known: that others may take on work meanwhile is left out.
                cpu.done_ns(now_ns, job)
            }
            _ => now_ns,
        };
        let side = self.side(flow);
        side.written_at_ns = side.written_at_ns.max(done_ns);
        if side.written_at_ns > now_ns {
            agenda.put(side.written_at_ns, Step::Write { flow, segment: part });
        } else {
            self.write(now_ns, agenda, flow, part);
        }
    }

    /// A write has reached the kernel.
    pub(crate) fn write(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, part: TcpSegment) {
        if !self.flows.contains_key(&flow.packed()) {
            return; // the connection was reset meanwhile
        }
        let (nodelay, mss_bytes) = (self.host(flow.source).plan.kernel.nodelay, self.mss_bytes(flow));
        let side = self.side(flow);
        let ready = side.sender.push(part, mss_bytes, nodelay);
        let held_back = side.sender.holds_back();
        self.counters.held_back += u64::from(held_back);
        self.send_data(now_ns, agenda, flow, ready);
    }

    fn send_data(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, ready: Vec<TcpSegment>) {
        for mut leaving in ready {
            let side = self.side(flow);
            leaving.ack = side.ack.acknowledges().unwrap_or(leaving.ack);
            leaving.window = side.tell_window(leaving.ack);
            side.ack.ack_sent();
            side.ack.data_sent(now_ns);
            side.timer += 1;
            self.send(now_ns, agenda, flow, Self::packet(flow, leaving));
        }
    }

    /// What the kernel on `flow`'s destination does with a segment before any application sees it.
    pub(super) fn receive(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, arrived: &TcpSegment) {
        let back = flow.reversed();
        if arrived.flags.syn || arrived.flags.rst || !self.side(back).sender.has_started() {
            return;
        }
        let (nodelay, mss_bytes) = (self.host(back.source).plan.kernel.nodelay, self.mss_bytes(back));
        let len = arrived.payload.len();
        let side = self.side(back);
        if len > 0 {
            // A segment that is full carries no PSH unless it ends the write; the small ones all do.
            side.ack.data_received(now_ns, arrived.seq, len as u32, len < mss_bytes);
        }
        let ready = side.sender.acknowledged(arrived.ack, mss_bytes, nodelay);
        self.send_data(now_ns, agenda, back, ready);
        if len > 0 {
            let verdict = self.side(back).ack.check(now_ns);
            self.obey(now_ns, agenda, back, verdict);
        }
    }

    /// The delayed-ACK timer of `flow`'s source fires.
    pub(crate) fn ack_timer(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, timer: u64) {
        let side = self.flows.get_mut(&flow.packed()).and_then(|state| state.side.as_mut());
        let Some(side) = side.filter(|side| side.timer == timer) else { return };
        let verdict = side.ack.timer_fired();
        self.counters.delayed_acks += u64::from(verdict == Verdict::Now);
        self.obey(now_ns, agenda, flow, verdict);
    }

    fn obey(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, verdict: Verdict) {
        match verdict {
            Verdict::Nothing => {}
            Verdict::At(at_ns) => {
                let side = self.side(flow);
                side.timer += 1;
                agenda.put(at_ns, Step::AckTimer { flow, timer: side.timer });
            }
            Verdict::Now => {
                let side = self.side(flow);
                let Some(ack) = side.ack.acknowledges() else { return };
                side.ack.ack_sent();
                side.timer += 1;
                let window = side.tell_window(ack);
                let flags = TcpFlags { ack: true, ..TcpFlags::default() };
                let pure = TcpSegment {
                    src_port: flow.source.1,
                    dst_port: flow.destination.1,
                    seq: side.sender.next_seq(),
                    ack,
                    flags,
                    window,
                    payload: bytes::Bytes::new(),
                };
                self.counters.pure_acks += 1;
                self.send(now_ns, agenda, flow, Self::packet(flow, pure));
            }
        }
    }
}
