//! What happens to packets between hosts: latency, order, loss, retransmission, cuts and stalls, dead hosts.
//!
//! turmoil-net has the sockets and TCP's state machine; this module has the wire. A lost segment comes back after a
//! retransmission timeout and all behind it on its flow waits: that is what loss looks like to an application.
//! turmoil-net's own retransmission, which counts egress passes instead of time, stays off.

mod flow;
mod link;
mod loss;
mod tcp;

pub use link::{Class, Distances, Link};
pub use tcp::Kernel;

pub(crate) use flow::{End, Flow};
use flow::{FlowState, is_pure_ack, reset_segment, segment};

use crate::{
    cpu::{Cores, Cpu, CpuPlan},
    engine::agenda::Agenda,
    os::split_mix,
    trace::Trace,
};
use rustc_hash::FxHashMap;
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    task::Waker,
};
use turmoil_net::{Packet, TcpSegment, Transport};

/// Both ends may close while packets are still on their way; after this long none is.
const CLOSED_FLOW_MEMORY_NS: u64 = 1_000_000_000;

/// The state of a host's link to the rest of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All is well.
    Up,
    /// Its process was killed; its kernel answers what still arrives with resets.
    Crashed,
    /// It neither sends nor receives, and will not again: its peers hear nothing.
    PoweredOff,
    /// It neither sends nor receives for a while.
    CutOff,
}

/// What kind of host a pod runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Decides how far it is from others.
    pub class: Class,
    /// How its kernel does TCP.
    pub kernel: Kernel,
    /// What its work costs.
    pub cpu: CpuPlan,
}

/// A host that costs nothing and has `TCP_NODELAY` on all its sockets.
impl From<Class> for HostPlan {
    fn from(class: Class) -> Self {
        Self { class, kernel: Kernel::default(), cpu: CpuPlan::default() }
    }
}

/// One host: one incarnation of a pod.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) plan: HostPlan,
    /// `None`: it costs nothing.
    pub(crate) cpu: Option<Cpu>,
    pub(crate) reach: Reach,
}

impl Host {
    /// A new host; `rng` decides how its costs vary, `cores` are those that all hosts share, if they do.
    pub(crate) fn new(plan: HostPlan, rng: u64, cores: Option<&Rc<RefCell<Cores>>>) -> Self {
        Self { plan, cpu: (!plan.cpu.is_free()).then(|| Cpu::new(plan.cpu, rng, cores)), reach: Reach::Up }
    }
}

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
    /// Resets sent in the name of dead hosts.
    pub resets: u64,
    /// Writes that Nagle's algorithm held back.
    pub held_back: u64,
    /// Acknowledgements without data, on connections whose segments are modelled.
    pub pure_acks: u64,
    /// Those of them that waited for the delayed-ACK timer.
    pub delayed_acks: u64,
}

/// A step of the network at its time.
pub(crate) enum Step {
    /// A packet reaches its destination's kernel.
    Arrival(Packet),
    /// The application behind the kernel learns of it.
    Delivery(Packet),
    /// A write reaches its kernel.
    Write { flow: Flow, segment: TcpSegment },
    /// A delayed acknowledgement is due.
    AckTimer { flow: Flow, timer: u64 },
    /// CPU time that a task waited for is over.
    Wake(Waker),
    /// RabbitMQ's metadata store may have done a change.
    Metadata { host: u16 },
    /// A retransmission timer fires.
    Retransmission { flow: Flow, timer: u64 },
    /// The peer of a lost acknowledgement has retransmitted, and is answered.
    LateAck { flow: Flow, timer: u64 },
}

pub(crate) struct Network {
    pub(crate) hosts: Vec<Host>,
    flows: FxHashMap<u64, FlowState>,
    closed: VecDeque<(u64, Flow)>,
    distances: Distances,
    /// Arrivals happen at multiples of this.
    quantum_ns: u64,
    loss_ppm: u64,
    /// Pairs of hosts (lower index first) that cannot reach each other.
    cuts: BTreeMap<(u16, u16), u64>,
    /// Pairs of hosts between which nothing arrives before a time.
    stalls: BTreeMap<(u16, u16), u64>,
    rng: u64,
    /// How often a flow began to lose packets; numbers the retransmission timers.
    loss_episodes: u64,
    pub(crate) counters: NetworkCounters,
}

impl Network {
    pub(crate) fn new(hosts: Vec<Host>, distances: Distances, quantum_us: u64, loss_ppm: u64, rng: u64) -> Self {
        Self {
            hosts,
            flows: FxHashMap::default(),
            closed: VecDeque::new(),
            distances,
            quantum_ns: quantum_us.max(1) * 1_000,
            loss_ppm,
            cuts: BTreeMap::new(),
            stalls: BTreeMap::new(),
            rng,
            loss_episodes: 0,
            counters: NetworkCounters::default(),
        }
    }

    /// The address of host `index`. turmoil-net numbers its hosts from 192.168.0.1 in the order they are added.
    pub(crate) fn address(index: u16) -> IpAddr {
        let [high, low] = (index + 1).to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(192, 168, high, low))
    }

    /// The inverse of [`Network::address`].
    pub(crate) fn index_of(address: IpAddr) -> u16 {
        let IpAddr::V4(v4) = address else { panic!("simulated hosts have IPv4 addresses, not {address}") };
        let [.., high, low] = v4.octets();
        u16::from_be_bytes([high, low]) - 1
    }

    fn flow_of(packet: &Packet) -> Flow {
        let segment = segment(packet);
        Flow {
            source: (Self::index_of(packet.src), segment.src_port),
            destination: (Self::index_of(packet.dst), segment.dst_port),
        }
    }

    fn packet(flow: Flow, segment: turmoil_net::TcpSegment) -> Packet {
        let [src, dst] = [flow.source.0, flow.destination.0].map(Self::address);
        Packet { src, dst, ttl: 64, payload: Transport::Tcp(segment) }
    }

    fn host(&self, end: End) -> &Host {
        &self.hosts[usize::from(end.0)]
    }

    fn link(&self, flow: Flow) -> Link {
        self.distances.between(self.host(flow.source).plan.class, self.host(flow.destination).plan.class)
    }

    /// A host's socket has something to send.
    pub(crate) fn depart(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, packet: Packet) {
        let flow = Self::flow_of(&packet);
        if self.host(flow.source).reach == Reach::PoweredOff {
            self.counters.lost += 1;
            return;
        }
        let flags = segment(&packet).flags;
        if flags.fin || flags.rst {
            self.flows.entry(flow.packed()).or_default().closing = true;
        }
        if self.models_tcp(flow) {
            self.leave(now_ns, agenda, flow, packet);
        } else {
            self.send(now_ns, agenda, flow, packet);
        }
    }

    /// A kernel hands a packet to the wire.
    fn send(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, packet: Packet) {
        let (pure_ack, flags) = (is_pure_ack(segment(&packet)), segment(&packet).flags);
        let silent = self.is_silent(flow);
        let lost = silent || self.is_lost_by_chance();
        let state = self.flows.entry(flow.packed()).or_default();
        state.lost_ack = None;
        let first_ack = pure_ack && !state.established;
        state.established |= !flags.syn;
        if lost {
            self.counters.lost += 1;
            if flags.rst || (pure_ack && silent) {
                // Nobody retransmits a reset, and an ACK that is lost in a silence is covered by the next one.
            } else if pure_ack && !first_ack {
                self.lose_ack(now_ns, agenda, flow, packet);
            } else {
                self.hold(now_ns, agenda, flow, packet);
            }
        } else if !pure_ack && self.flows.get(&flow.packed()).is_some_and(|f| f.lost.is_some()) {
            self.hold(now_ns, agenda, flow, packet);
        } else {
            self.travel(now_ns, agenda, flow, packet);
        }
    }

    fn is_lost_by_chance(&mut self) -> bool {
        self.loss_ppm > 0 && split_mix(&mut self.rng) % 1_000_000 < self.loss_ppm
    }

    fn travel(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow, packet: Packet) {
        let latency_ns = self.link(flow).draw_ns(&mut self.rng);
        let stalled_until_ns = if self.stalls.is_empty() { 0 } else { self.stalled_until_ns(now_ns, flow) };
        let earliest_ns = (now_ns + latency_ns).max(stalled_until_ns).next_multiple_of(self.quantum_ns);
        let state = self.flows.entry(flow.packed()).or_default();
        state.last_arrival_ns = state.last_arrival_ns.max(earliest_ns);
        agenda.put(state.last_arrival_ns, Step::Arrival(packet));
    }

    /// A packet reaches its host: what the host's kernel gets to see of it.
    pub(crate) fn arrive(
        &mut self,
        now_ns: u64,
        agenda: &mut Agenda<Step>,
        trace: &mut Trace,
        packet: Packet,
    ) -> Option<Packet> {
        let flow = Self::flow_of(&packet);
        let arrived = segment(&packet);
        let (rst, pure_ack) = (arrived.flags.rst, is_pure_ack(arrived));
        if self.is_silent(flow) {
            self.counters.lost += 1;
            if !rst && !pure_ack && self.host(flow.source).reach != Reach::PoweredOff {
                self.hold(now_ns, agenda, flow, packet);
            }
            return None;
        }
        if self.host(flow.destination).reach == Reach::Crashed {
            if rst {
                self.forget(flow);
            } else if !pure_ack {
                self.reset(now_ns, agenda, flow.reversed());
            }
            return None;
        }
        self.counters.segments += 1;
        self.counters.data_segments += u64::from(!arrived.payload.is_empty());
        trace.packet(now_ns / 1_000, flow, arrived);
        if self.models_tcp(flow) {
            self.receive(now_ns, agenda, flow, segment(&packet));
        }
        if rst {
            self.forget(flow);
        } else if self.is_closing(flow) && self.is_closing(flow.reversed()) {
            self.closed.push_back((now_ns, flow));
        }
        match &self.host(flow.destination).cpu {
            // Always as long: segments of a flow must not overtake each other.
            Some(cpu) if cpu.plan().wake_us > 0 && !rst => {
                agenda.put(now_ns + cpu.plan().wake_us * 1_000, Step::Delivery(packet));
                None
            }
            _ => Some(packet),
        }
    }

    fn is_closing(&self, flow: Flow) -> bool {
        self.flows.get(&flow.packed()).is_some_and(|f| f.closing)
    }

    /// Sends a reset along `flow` in the name of its dead source.
    fn reset(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, flow: Flow) {
        self.counters.resets += 1;
        self.travel(now_ns, agenda, flow, Self::packet(flow, reset_segment(flow)));
    }

    /// Whether the process on `host` lives, heard or not.
    pub(crate) fn is_alive(&self, host: u16) -> bool {
        matches!(self.hosts[usize::from(host)].reach, Reach::Up | Reach::CutOff)
    }

    /// Ends all connections of a dead host: returns resets to be delivered to that host's own kernel, whose sockets would
    /// otherwise linger for ever, and sends resets to the peers of a crashed one whose FIN could not leave.
    pub(crate) fn bury(&mut self, now_ns: u64, agenda: &mut Agenda<Step>, host: u16) -> Vec<Packet> {
        let mut inbound: Vec<Flow> = self
            .flows
            .keys()
            .map(|packed| unpack(*packed))
            .filter_map(|flow| {
                if flow.destination.0 == host { Some(flow) } else { (flow.source.0 == host).then(|| flow.reversed()) }
            })
            .collect();
        inbound.sort_unstable(); // the map's order is not the seed's
        inbound.dedup();
        let resets = inbound.iter().map(|flow| Self::packet(*flow, reset_segment(*flow))).collect();
        for flow in inbound {
            if self.hosts[usize::from(host)].reach == Reach::PoweredOff {
                self.forget(flow);
            } else if !self.is_closing(flow.reversed()) {
                self.reset(now_ns, agenda, flow.reversed());
            }
        }
        resets
    }

    fn forget(&mut self, flow: Flow) {
        self.flows.remove(&flow.packed());
        self.flows.remove(&flow.reversed().packed());
    }

    /// Drops the memory of connections that have been closed for a while.
    pub(crate) fn forget_closed(&mut self, now_ns: u64) {
        while let Some((_, flow)) = self.closed.pop_front_if(|(at_ns, _)| *at_ns + CLOSED_FLOW_MEMORY_NS <= now_ns) {
            self.forget(flow);
        }
    }
}

fn unpack(packed: u64) -> Flow {
    let part = |shift: u32| (packed >> shift) as u16;
    Flow { source: (part(48), part(32)), destination: (part(16), part(0)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_survives_its_packing() {
        let flow = Flow { source: (1, 60_000), destination: (65_000, 4) };
        assert_eq!(unpack(flow.packed()), flow);
    }

    #[test]
    fn hosts_and_addresses_map_to_each_other() {
        for index in [0, 254, 255, 256, 5_000, 65_534] {
            assert_eq!(Network::index_of(Network::address(index)), index);
        }
    }
}
