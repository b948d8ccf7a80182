//! Linux's TCP between applications and the wire, where it decides how fast they are: Nagle's algorithm at the sender
//! and delayed acknowledgements at the receiver.
//!
//! Only connections with a host that leaves Nagle on (`Kernel::nodelay = false`) are modelled so: elsewhere nobody ever
//! waits for an acknowledgement, so none is sent. On a modelled connection each write takes its CPU time, and
//! acknowledgements travel. This file is the glue; the rules are in [`delayed_ack`] and [`nagle`].

mod delayed_ack;
mod nagle;
#[cfg(test)]
mod replay;

use super::{
    Event, Moment, Network,
    segment::{is_pure_ack, segment},
};
use crate::{
    flow::Flow,
    host::Hosts,
    observe::{self, Stage, WorkKind},
};
use delayed_ack::{AckAction, DelayedAck, Receiver};
use nagle::Sender;
use turmoil_net::{Packet, TcpFlags, TcpSegment};

/// One side of a modelled connection: as a receiver and as a sender. Kept with the flow that leaves this side.
#[derive(Debug)]
pub(super) struct Side {
    ack: DelayedAck,
    sender: Sender,
    /// Where the receive window ends: what the application has read, and the whole window behind it. What arrives uses
    /// it up, so a segment that acknowledges it must advertise less.
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

    /// Whether the application has read so much that the peer should know at once (`tcp_cleanup_rbuf`): the window is
    /// twice as large as it believes.
    fn must_tell_window(&self) -> bool {
        let Some(ack) = self.ack.acknowledges() else { return false };
        let [now, told] = [self.window_end, self.window_end_told].map(|end| end.wrapping_sub(ack));
        self.window_end != self.window_end_told && now / 2 >= told
    }
}

impl Network {
    /// Whether the connection of this flow is modelled.
    pub(crate) fn models_tcp(hosts: &Hosts, flow: Flow) -> bool {
        [flow.source, flow.destination].iter().any(|(host, _port)| !hosts[*host].plan.kernel.nodelay)
    }

    fn side(&mut self, hosts: &Hosts, flow: Flow) -> &mut Side {
        let Self { flows, distances, .. } = self;
        flows.get_or_default(flow).side.get_or_insert_with(|| {
            let [from, to] = [flow.source, flow.destination].map(|(host, _port)| &hosts[host].plan);
            let link = distances.between(from.class, to.class);
            let receiver = Receiver {
                pingpong_thresh: from.kernel.pingpong_thresh,
                window_bytes: link.window_bytes,
                mss_bytes: link.mss_bytes,
            };
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

    pub(super) fn mss_bytes(&self, hosts: &Hosts, flow: Flow) -> usize {
        self.link(hosts, flow).mss_bytes as usize
    }

    /// The application on `flow`'s source has read so much; `drained`: all there was.
    pub(super) fn application_read(&mut self, now: &mut Moment<'_>, flow: Flow, len_bytes: usize, drained: bool) {
        if !Self::models_tcp(now.hosts, flow) {
            return;
        }
        let side = self.side(now.hosts, flow);
        side.window_end = side.window_end.wrapping_add(len_bytes as u32);
        let action = side.ack.application_read(drained);
        self.obey(now, flow, action);
        if self.side(now.hosts, flow).must_tell_window() {
            self.obey(now, flow, AckAction::Now);
        }
    }

    /// turmoil-net says that a connection begins or ends.
    pub(super) fn leave(&mut self, now: &mut Moment<'_>, flow: Flow, packet: Packet) {
        let leaving = segment(&packet).clone();
        let peer_has_closed = self.is_closing(flow.reversed());
        let side = self.side(now.hosts, flow);
        if leaving.flags.syn {
            side.sender.start(leaving.seq);
        }
        let is_first_ack = is_pure_ack(&leaving) && side.ack.acknowledges().is_none();
        if leaving.flags.syn || is_first_ack {
            side.window_end = leaving.ack.wrapping_add(leaving.window.into());
            side.window_end_told = side.window_end;
        }
        let closes = is_pure_ack(&leaving) && peer_has_closed;
        if leaving.flags.syn || leaving.flags.rst || is_first_ack || closes {
            self.send(now, flow, packet);
        } else if leaving.flags.fin {
            self.write_later(now, flow, leaving);
        }
    }

    /// Each write takes CPU time of its pod, one after the other.
    pub(super) fn write_later(&mut self, now: &mut Moment<'_>, flow: Flow, part: TcpSegment) {
        let done_ns = match &mut now.hosts[flow.source.0].cpu {
            Some(cpu) if cpu.plan().write_us > 0 => {
                let job = cpu.work(now.ns, cpu.plan().write_us);
                // As far as is known: that others may take on work meanwhile is left out.
                let done_ns = cpu.done_ns(now.ns, job);
                observe::worked(flow.source.0, &job.as_work(done_ns, WorkKind::Write));
                done_ns
            }
            _ => now.ns,
        };
        let side = self.side(now.hosts, flow);
        side.written_at_ns = side.written_at_ns.max(done_ns);
        if side.written_at_ns > now.ns {
            now.put(side.written_at_ns, Event::Write { flow, segment: part });
        } else {
            self.written(now, flow, part);
        }
    }

    /// A write has reached the kernel.
    pub(super) fn written(&mut self, now: &mut Moment<'_>, flow: Flow, part: TcpSegment) {
        if self.flows.get(flow).is_none() {
            return; // the connection was reset meanwhile
        }
        let (nodelay, mss_bytes) = (now.hosts[flow.source.0].plan.kernel.nodelay, self.mss_bytes(now.hosts, flow));
        observe::passed(flow, Stage::InKernel, part.seq.wrapping_add(part.payload.len() as u32));
        let side = self.side(now.hosts, flow);
        let ready = side.sender.push(part, mss_bytes, nodelay);
        let held_back = side.sender.holds_back();
        self.counters.held_back += u64::from(held_back);
        self.send_data(now, flow, ready);
    }

    fn send_data(&mut self, now: &mut Moment<'_>, flow: Flow, ready: Vec<TcpSegment>) {
        for mut leaving in ready {
            let side = self.side(now.hosts, flow);
            leaving.ack = side.ack.acknowledges().unwrap_or(leaving.ack);
            leaving.window = side.tell_window(leaving.ack);
            side.ack.ack_sent();
            side.ack.data_sent(now.ns);
            side.timer += 1;
            observe::passed(flow, Stage::Left, leaving.seq.wrapping_add(leaving.payload.len() as u32));
            observe::acknowledged(flow, leaving.ack, false);
            self.send(now, flow, Self::packet(flow, leaving));
        }
    }

    /// What the kernel on `flow`'s destination does with a segment before any application sees it.
    pub(super) fn receive(&mut self, now: &mut Moment<'_>, flow: Flow, arrived: &TcpSegment) {
        let back = flow.reversed();
        if arrived.flags.syn || arrived.flags.rst || !self.side(now.hosts, back).sender.has_started() {
            return;
        }
        let (nodelay, mss_bytes) = (now.hosts[back.source.0].plan.kernel.nodelay, self.mss_bytes(now.hosts, back));
        let len = arrived.payload.len();
        let side = self.side(now.hosts, back);
        if len > 0 {
            // A segment that is full carries no PSH unless it ends the write; the small ones all do.
            side.ack.data_received(now.ns, arrived.seq, len as u32, len < mss_bytes);
        }
        let ready = side.sender.acknowledged(arrived.ack, mss_bytes, nodelay);
        observe::releases(flow, arrived.ack);
        self.send_data(now, back, ready);
        observe::released(flow);
        if len > 0 {
            let action = self.side(now.hosts, back).ack.check(now.ns);
            self.obey(now, back, action);
        }
    }

    /// The delayed-ACK timer of `flow`'s source fires.
    pub(super) fn ack_timer(&mut self, now: &mut Moment<'_>, flow: Flow, timer: u64) {
        let side = self.flows.get_mut(flow).and_then(|state| state.side.as_mut());
        let Some(side) = side.filter(|side| side.timer == timer) else { return };
        let action = side.ack.timer_fired();
        self.counters.delayed_acks += u64::from(action == AckAction::Now);
        if action == AckAction::Now {
            side.ack.acknowledges().into_iter().for_each(|ack| observe::acknowledged(flow, ack, true));
        }
        self.obey(now, flow, action);
    }

    fn obey(&mut self, now: &mut Moment<'_>, flow: Flow, action: AckAction) {
        match action {
            AckAction::Nothing => {}
            AckAction::At(at_ns) => {
                let side = self.side(now.hosts, flow);
                side.timer += 1;
                now.put(at_ns, Event::AckTimer { flow, timer: side.timer });
            }
            AckAction::Now => {
                let side = self.side(now.hosts, flow);
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
                observe::acknowledged(flow, ack, false);
                self.send(now, flow, Self::packet(flow, pure));
            }
        }
    }
}
