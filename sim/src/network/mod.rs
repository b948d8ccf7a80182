//! What happens to packets between hosts: latency, order, loss, retransmission, cuts and stalls, dead hosts.
//!
//! turmoil-net makes connections and ends them; this module has the wire, and the data of established connections
//! ([`stream`]). A lost segment comes back after a retransmission timeout and all behind it on its flow waits: that is
//! what loss looks like to an application. turmoil-net's own retransmission, which counts egress passes instead of
//! time, stays off.

pub(crate) mod disturbance;
mod link;
mod loss;
mod segment;
mod state;
mod stream;
mod tcp;

pub use disturbance::Disturbance;
pub use link::{Distances, Link};

use crate::{
    cpu::Cpu,
    flow::Flow,
    flows::Flows,
    host::{self, Hosts, Reach},
    observe::{self, Fate},
    os::split_mix,
    trace::Trace,
};
use disturbance::Disturbances;
use segment::{is_pure_ack, reset_segment, segment};
use state::FlowState;
use std::{collections::VecDeque, task::Waker};
use turmoil_net::{Packet, TcpSegment, Transport};

/// Both ends may close while packets are still on their way; after this long none is.
const CLOSED_FLOW_MEMORY_NS: u64 = 1_000_000_000;

/// What the network has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounters {
    /// Segments that reached their host.
    pub segments: u64,
    /// Those of them with data.
    pub data_segments: u64,
    /// Segments that were lost: by chance, by a cut, by a dead host.
    pub lost: u64,
    /// Retransmission timers that fired.
    pub retransmissions: u64,
    /// Resets sent in the name of dead hosts and of sockets that were closed.
    pub resets: u64,
    /// Writes that Nagle's algorithm held back.
    pub held_back: u64,
    /// Acknowledgements without data, on connections whose segments are modelled.
    pub pure_acks: u64,
    /// Those of them that waited for the delayed-ACK timer.
    pub delayed_acks: u64,
}

/// What the network wants to come back to at a later time.
pub(crate) enum Event {
    /// A packet reaches its destination's kernel.
    Arrival(Packet),
    /// The application behind the kernel learns of it.
    Delivery(Packet),
    /// A write reaches its kernel.
    Write { flow: Flow, segment: TcpSegment },
    /// A delayed acknowledgement is due.
    AckTimer { flow: Flow, timer: u64 },
    /// A retransmission timer fires.
    Retransmission { flow: Flow, timer: u64 },
    /// The peer of a lost acknowledgement has retransmitted, and is answered.
    LateAck { flow: Flow, timer: u64 },
    /// A writer that waits hears that its peer has read.
    Room(Waker),
}

/// What the network sees of the world while it does something.
pub(crate) struct Moment<'a> {
    /// Virtual time, in nanoseconds.
    pub(crate) ns: u64,
    pub(crate) hosts: &'a mut Hosts,
    pub(crate) trace: &'a mut Trace,
    /// Takes what is to come back, and when.
    pub(crate) later: &'a mut dyn FnMut(u64, Event),
}

impl Moment<'_> {
    fn put(&mut self, at_ns: u64, event: Event) {
        (self.later)(at_ns, event);
    }
}

pub(crate) struct Network {
    flows: Flows<FlowState>,
    closed: VecDeque<(u64, Flow)>,
    distances: Distances,
    /// Arrivals happen at multiples of this.
    quantum_ns: u64,
    loss_ppm: u64,
    pub(crate) disturbances: Disturbances,
    rng: u64,
    /// How often a flow began to lose packets; numbers the retransmission timers.
    loss_episodes: u64,
    pub(crate) counters: NetworkCounters,
}

impl Network {
    pub(crate) fn new(distances: Distances, quantum_us: u64, loss_ppm: u64, rng: u64) -> Self {
        Self {
            flows: Flows::default(),
            closed: VecDeque::new(),
            distances,
            quantum_ns: quantum_us.max(1) * 1_000,
            loss_ppm,
            disturbances: Disturbances::default(),
            rng,
            loss_episodes: 0,
            counters: NetworkCounters::default(),
        }
    }

    fn flow_of(packet: &Packet) -> Flow {
        let segment = segment(packet);
        Flow {
            source: (host::index_of(packet.src), segment.src_port),
            destination: (host::index_of(packet.dst), segment.dst_port),
        }
    }

    fn packet(flow: Flow, segment: TcpSegment) -> Packet {
        let [src, dst] = [flow.source.0, flow.destination.0].map(host::address);
        Packet { src, dst, ttl: 64, payload: Transport::Tcp(segment) }
    }

    fn link(&self, hosts: &Hosts, flow: Flow) -> Link {
        let [from, to] = [flow.source, flow.destination].map(|(host, _port)| hosts[host].plan.class);
        self.distances.between(from, to)
    }

    /// A host's kernel has something to say: that a connection begins or ends. Returns what that kernel itself must be
    /// told.
    pub(crate) fn depart(&mut self, now: &mut Moment<'_>, mut packet: Packet) -> Option<Packet> {
        let flow = Self::flow_of(&packet);
        if now.hosts[flow.source.0].reach == Reach::PoweredOff {
            self.counters.lost += 1;
            return None;
        }
        let Transport::Tcp(leaving) = &mut packet.payload else { return None };
        let flags = leaving.flags;
        let state = self.flows.get_or_default(flow);
        if flags.syn {
            *state = Default::default(); // of an earlier connection between the same ports
            (state.first_seq, state.next_seq) = (leaving.seq.wrapping_add(1), leaving.seq.wrapping_add(1));
            state.end.open = true;
            observe::opened(flow);
        }
        state.closing |= flags.fin || flags.rst;
        if flags.fin && state.end.aborts {
            self.reset(now, flow);
            return Some(Self::packet(flow.reversed(), reset_segment(flow.reversed())));
        }
        if flags.fin {
            // turmoil-net knows nothing of the data before it.
            leaving.seq = state.next_seq;
            state.next_seq = state.next_seq.wrapping_add(1);
        }
        if Self::models_tcp(now.hosts, flow) {
            self.leave(now, flow, packet);
        } else {
            self.send(now, flow, packet);
        }
        None
    }

    /// A kernel hands a packet to the wire.
    fn send(&mut self, now: &mut Moment<'_>, flow: Flow, packet: Packet) {
        let (pure_ack, flags) = (is_pure_ack(segment(&packet)), segment(&packet).flags);
        let silent = self.is_silent(now.hosts, flow);
        let lost = silent || self.is_lost_by_chance(now.hosts, flow);
        let state = self.flows.get_or_default(flow);
        state.lost_ack = None;
        let first_ack = pure_ack && !state.established;
        // Data may leave before the end of the handshake, which has to come through all the same.
        state.established |= pure_ack || flags.fin || flags.rst;
        let held_up = !pure_ack && state.lost.is_some();
        let fate = if lost {
            Fate::Lost
        } else if held_up {
            Fate::HeldUp
        } else {
            Fate::Sent
        };
        observe::left(flow, segment(&packet), fate);
        if lost {
            self.counters.lost += 1;
            if flags.rst || (pure_ack && now.hosts[flow.destination.0].reach == Reach::PoweredOff) {
                // Nobody sends it again, or nobody waits for it.
            } else if pure_ack && !first_ack {
                self.lose_ack(now, flow, packet, loss::RTO_NS);
            } else {
                self.hold(now, flow, packet);
            }
        } else if held_up {
            self.hold(now, flow, packet);
        } else {
            self.travel(now, flow, packet);
        }
    }

    fn is_lost_by_chance(&mut self, hosts: &Hosts, flow: Flow) -> bool {
        if self.disturbances.is_empty() {
            return self.loss_ppm > 0 && split_mix(&mut self.rng) % 1_000_000 < self.loss_ppm;
        }
        let (from, to) = hosts.pods_of(flow);
        let loss_ppm = self.loss_ppm + self.disturbances.loss_ppm(from, to);
        let lost = loss_ppm > 0 && split_mix(&mut self.rng) % 1_000_000 < loss_ppm;
        if lost {
            self.disturbances.lost(from, to);
        }
        lost
    }

    fn travel(&mut self, now: &mut Moment<'_>, flow: Flow, packet: Packet) {
        let mut arrival_ns = now.ns + self.link(now.hosts, flow).draw_ns(&mut self.rng);
        if !self.disturbances.is_empty() {
            let (from, to) = now.hosts.pods_of(flow);
            arrival_ns = self.disturbances.delayed_ns(from, to, arrival_ns);
        }
        let earliest_ns = arrival_ns.next_multiple_of(self.quantum_ns);
        let state = self.flows.get_or_default(flow);
        state.last_arrival_ns = state.last_arrival_ns.max(earliest_ns);
        now.put(state.last_arrival_ns, Event::Arrival(packet));
    }

    /// The time of `event` has come. Returns what a host's kernel gets to see of it.
    pub(crate) fn handle(&mut self, now: &mut Moment<'_>, event: Event) -> Option<Packet> {
        match event {
            Event::Arrival(packet) => return self.arrive(now, packet),
            Event::Delivery(packet) => return self.take_in(now, packet),
            Event::Room(writer) => writer.wake(),
            Event::Retransmission { flow, timer } => return self.retransmit(now, flow, timer),
            Event::Write { flow, segment } => self.written(now, flow, segment),
            Event::LateAck { flow, timer } => self.late_ack(now, flow, timer),
            Event::AckTimer { flow, timer } => self.ack_timer(now, flow, timer),
        }
        None
    }

    /// A packet reaches its host: what the host's kernel gets to see of it.
    fn arrive(&mut self, now: &mut Moment<'_>, packet: Packet) -> Option<Packet> {
        let flow = Self::flow_of(&packet);
        let arrived = segment(&packet);
        let (rst, pure_ack) = (arrived.flags.rst, is_pure_ack(arrived));
        if self.is_silent(now.hosts, flow) {
            self.counters.lost += 1;
            let [from, to] = [flow.source, flow.destination].map(|(host, _)| now.hosts[host].reach);
            if rst || from == Reach::PoweredOff || (pure_ack && to == Reach::PoweredOff) {
                // Nobody sends it again, or nobody waits for it.
            } else if pure_ack {
                self.lose_ack(now, flow, packet, loss::RTO_NS);
            } else {
                self.hold(now, flow, packet);
            }
            return None;
        }
        if !rst && !pure_ack && self.is_behind_a_loss(flow, arrived.seq) {
            self.hold(now, flow, packet);
            return None;
        }
        if now.hosts[flow.destination.0].reach == Reach::Crashed {
            if rst {
                self.forget(flow);
            } else if !pure_ack {
                self.reset(now, flow.reversed());
            }
            return None;
        }
        self.counters.segments += 1;
        self.counters.data_segments += u64::from(!arrived.payload.is_empty());
        now.trace.packet(now.ns / 1_000, flow, arrived);
        observe::arrived(flow, arrived);
        if Self::models_tcp(now.hosts, flow) {
            self.receive(now, flow, segment(&packet));
        }
        if rst {
            self.take_in_reset(flow);
        } else if self.is_closing(flow) && self.is_closing(flow.reversed()) {
            self.closed.push_back((now.ns, flow));
        }
        let wake_ns = now.hosts[flow.destination.0].cpu.as_mut().map_or(0, Cpu::draw_wake_ns);
        if wake_ns > 0 && !rst {
            let state = self.flows.get_or_default(flow);
            state.last_delivery_ns = state.last_delivery_ns.max(now.ns + wake_ns); // none overtakes another
            now.put(state.last_delivery_ns, Event::Delivery(packet));
            return None;
        }
        self.take_in(now, packet)
    }

    fn is_closing(&self, flow: Flow) -> bool {
        self.flows.get(flow).is_some_and(|f| f.closing)
    }

    /// Sends a reset along `flow` in the name of its dead source.
    fn reset(&mut self, now: &mut Moment<'_>, flow: Flow) {
        self.counters.resets += 1;
        let reset = reset_segment(flow);
        observe::left(flow, &reset, Fate::Sent);
        self.travel(now, flow, Self::packet(flow, reset));
    }

    /// Ends all connections of a dead host: returns resets to be delivered to that host's own kernel, whose sockets
    /// would otherwise linger for ever, and sends resets to the peers of a crashed one whose FIN could not leave.
    pub(crate) fn bury(&mut self, now: &mut Moment<'_>, host: u16) -> Vec<Packet> {
        let mut inbound: Vec<Flow> = self
            .flows
            .names()
            .into_iter()
            .filter_map(|flow| {
                if flow.destination.0 == host { Some(flow) } else { (flow.source.0 == host).then(|| flow.reversed()) }
            })
            .collect();
        inbound.sort_unstable();
        inbound.dedup();
        let resets = inbound.iter().map(|flow| Self::packet(*flow, reset_segment(*flow))).collect();
        for flow in inbound {
            if now.hosts[host].reach == Reach::PoweredOff {
                // Its peers know nothing of it yet.
                self.flows.remove(flow.reversed());
            } else if !self.is_closing(flow.reversed()) {
                self.reset(now, flow.reversed());
            }
        }
        resets
    }

    fn forget(&mut self, flow: Flow) {
        for flow in [flow, flow.reversed()] {
            if let Some(mut state) = self.flows.remove(flow) {
                state.end.wake();
            }
        }
    }

    /// Drops the memory of connections that have been closed for a while, unless somebody still has to read.
    pub(crate) fn forget_closed(&mut self, now_ns: u64) {
        while let Some((_, flow)) = self.closed.pop_front_if(|(at_ns, _)| *at_ns + CLOSED_FLOW_MEMORY_NS <= now_ns) {
            let is_open = |flow: Flow| self.flows.get(flow).is_some_and(|state| state.end.open);
            if is_open(flow) || is_open(flow.reversed()) {
                self.closed.push_back((now_ns, flow));
            } else {
                self.forget(flow);
            }
        }
    }
}
