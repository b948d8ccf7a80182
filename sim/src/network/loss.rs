//! What is lost, and how it comes back: retransmission in virtual time.

use super::{
    Event, Moment, Network,
    segment::{at_or_after, reset_segment, segment},
    state::{Lost, LostAck},
};
use crate::{
    flow::Flow,
    host::{Hosts, Reach},
    observe::{self, Fate},
};
use turmoil_net::Packet;

const NS_PER_MS: u64 = 1_000_000;
/// Linux's `TCP_RTO_MIN`: what the timeout is on a fast network.
pub(super) const RTO_NS: u64 = 200 * NS_PER_MS;
/// The timeout of a SYN (RFC 6298, section 2).
const SYN_RTO_NS: u64 = 1_000 * NS_PER_MS;
/// Linux's `TCP_RTO_MAX`.
const RTO_NS_MAX: u64 = 120_000 * NS_PER_MS;
/// Linux's `tcp_retries2`: about 15 minutes.
const TRIES_MAX: u32 = 15;
/// Linux's `tcp_syn_retries`: about 2 minutes.
const SYN_TRIES_MAX: u32 = 6;

impl Network {
    /// Whether a flow's destination can't hear its source.
    pub(super) fn is_silent(&mut self, hosts: &Hosts, flow: Flow) -> bool {
        if hosts[flow.destination.0].reach == Reach::PoweredOff {
            return true;
        }
        if self.disturbances.is_empty() {
            return false;
        }
        let (from, to) = hosts.pods_of(flow);
        self.disturbances.silence(from, to)
    }

    /// Whether a segment comes before an earlier one of its flow does, which was lost on its way: with a delay that is
    /// longer than a silence. TCP keeps the order of bytes.
    pub(super) fn is_behind_a_loss(&self, flow: Flow, seq: u32) -> bool {
        let lost = self.flows.get(flow).and_then(|state| state.lost.as_ref());
        lost.is_some_and(|lost| lost.packets.first().is_some_and(|first| at_or_after(seq, segment(first).seq)))
    }

    /// Keeps a lost packet, or one behind a lost packet, for retransmission.
    pub(super) fn hold(&mut self, now: &mut Moment<'_>, flow: Flow, packet: Packet) {
        let (seq, syn) = (segment(&packet).seq, segment(&packet).flags.syn);
        let state = self.flows.get_or_default(flow);
        let lost = state.lost.get_or_insert_default();
        let place =
            lost.packets.iter().position(|other| !at_or_after(seq, segment(other).seq)).unwrap_or(lost.packets.len());
        lost.packets.insert(place, packet);
        if lost.packets.len() == 1 {
            lost.rto_ns = if syn { SYN_RTO_NS } else { RTO_NS };
            // Timers of earlier losses of this flow may still be on the agenda; a number that was never used tells them
            // off.
            self.loss_episodes += 1;
            lost.timer = self.loss_episodes;
            now.put(now.ns + lost.rto_ns, Event::Retransmission { flow, timer: lost.timer });
        }
    }

    /// A pure ACK is lost. If nothing of its sender follows, the peer retransmits after a timeout and is answered: then
    /// the ACK comes after all. turmoil-net never acknowledges twice, so it can't be left to it.
    pub(super) fn lose_ack(&mut self, now: &mut Moment<'_>, flow: Flow, packet: Packet, rto_ns: u64) {
        self.loss_episodes += 1;
        let timer = self.loss_episodes;
        self.flows.get_or_default(flow).lost_ack = Some(Box::new(LostAck { packet, timer, rto_ns }));
        now.put(now.ns + rto_ns, Event::LateAck { flow, timer });
    }

    /// The lost ACK of that timer is due, if nothing has made it needless. In a silence it is lost again, until its
    /// peer would have given up.
    pub(super) fn late_ack(&mut self, now: &mut Moment<'_>, flow: Flow, timer: u64) {
        let silent = self.is_silent(now.hosts, flow);
        let Some(state) = self.flows.get_mut(flow) else { return };
        let Some(lost) = state.lost_ack.take_if(|lost| lost.timer == timer) else { return };
        let LostAck { packet, rto_ns, .. } = *lost;
        self.counters.retransmissions += 1;
        if !silent {
            self.send(now, flow, packet);
        } else if rto_ns < RTO_NS_MAX {
            self.counters.lost += 1;
            self.lose_ack(now, flow, packet, (rto_ns * 2).min(RTO_NS_MAX));
        }
    }

    /// A retransmission timer fires. A flow that was given up is reset: returns what its source's kernel is to be told.
    pub(super) fn retransmit(&mut self, now: &mut Moment<'_>, flow: Flow, timer: u64) -> Option<Packet> {
        let silent = self.is_silent(now.hosts, flow);
        self.flows.get(flow)?.lost.as_ref().filter(|lost| lost.timer == timer)?;
        self.counters.retransmissions += 1;
        let lost_again = silent || self.is_lost_by_chance(now.hosts, flow);
        self.counters.lost += u64::from(lost_again);
        let state = self.flows.get_mut(flow).expect("found above");
        let lost = state.lost.as_mut().expect("found above");
        if !lost_again {
            let Lost { packets, .. } = *state.lost.take().expect("found above");
            for packet in packets {
                observe::sent_again(flow, segment(&packet));
                self.travel(now, flow, packet);
            }
            return None;
        }
        lost.tries += 1;
        observe::left(flow, segment(&lost.packets[0]), Fate::LostAgain);
        let syn = segment(&lost.packets[0]).flags.syn;
        if lost.tries > if syn { SYN_TRIES_MAX } else { TRIES_MAX } {
            self.forget(flow);
            // Linux says ETIMEDOUT; turmoil-net has no way to be told that from outside, so it sees a reset.
            return Some(Self::packet(flow.reversed(), reset_segment(flow.reversed())));
        }
        lost.rto_ns = (lost.rto_ns * 2).min(RTO_NS_MAX);
        now.put(now.ns + lost.rto_ns, Event::Retransmission { flow, timer });
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Distances, Link,
        disturbance::{Disturbance, Way},
    };
    use super::*;
    use crate::{
        agenda::Agenda,
        host::{Class, Host},
        trace::Trace,
    };
    use bytes::{Bytes, BytesMut};
    use std::task::Waker;
    use turmoil_net::{TcpFlags, TcpSegment, Transport};

    const FLOW: Flow = Flow { source: (0, 1_000), destination: (1, 80) };

    const FORWARDS: Way = Way { from: Some(0), to: Some(1) };
    const BACKWARDS: Way = Way { from: Some(1), to: Some(0) };

    /// Two hosts, what lies between them, and what is still to come.
    struct World {
        hosts: Hosts,
        network: Network,
        agenda: Agenda<Event>,
        trace: Trace,
    }

    impl World {
        fn new(loss_ppm: u64) -> Self {
            let hosts = [(0, Class::Service), (1, Class::Redis)]
                .map(|(pod, class)| Host::new(pod, class.into(), 1, None))
                .into_iter()
                .collect();
            let service_redis = Link::ethernet(100, 100);
            let distances = Distances { service_redis, ..Distances::default() };
            let mut network = Network::new(distances, 50, loss_ppm, 1);
            network.flows.get_or_default(FLOW.reversed()).end.open = true;
            Self { hosts, network, agenda: Agenda::new(), trace: Trace::new(None) }
        }

        /// Neither hears the other any more.
        fn silence(&mut self) -> u64 {
            self.network.disturbances.begin(vec![FORWARDS, BACKWARDS], Disturbance::Silence)
        }

        fn at<R>(&mut self, ns: u64, f: impl FnOnce(&mut Network, &mut Moment<'_>) -> R) -> R {
            let Self { hosts, network, agenda, trace } = self;
            f(network, &mut Moment { ns, hosts, trace, later: &mut |at_ns, event| agenda.put(at_ns, event) })
        }

        fn depart(&mut self, ns: u64, packet: Packet) {
            self.at(ns, |network, now| network.send(now, FLOW, packet));
        }

        /// Plays the agenda until it is empty: (time in us, sequence number) of all that reaches an inbox or a kernel,
        /// and whether the flow was reset by its own side.
        fn play(&mut self) -> (Vec<(u64, u32)>, bool) {
            let (mut arrivals, mut reset) = (vec![], false);
            while let Some(ns) = self.agenda.next_ns() {
                for event in self.agenda.take_due(ns).unwrap() {
                    let gives_up = matches!(event, Event::Retransmission { .. });
                    let packet = self.at(ns, |network, now| network.handle(now, event));
                    match packet {
                        Some(_) if gives_up => reset = true,
                        Some(packet) => arrivals.push((ns / 1_000, segment(&packet).seq)),
                        None => {}
                    }
                    let mut read = |inbox: &mut BytesMut| {
                        arrivals.extend(inbox.iter().map(|byte| (ns / 1_000, u32::from(*byte))));
                        inbox.clear();
                    };
                    let _ = self.at(ns, |network, now| network.read(now, FLOW.reversed(), Waker::noop(), &mut read));
                }
            }
            (arrivals, reset)
        }
    }

    fn data(seq: u32) -> Packet {
        let segment = TcpSegment {
            src_port: 1_000,
            dst_port: 80,
            seq,
            ack: 0,
            flags: TcpFlags { ack: true, ..TcpFlags::default() },
            window: 1_000,
            payload: vec![seq as u8].into(),
        };
        Network::packet(FLOW, segment)
    }

    #[test]
    fn a_lost_segment_comes_back_after_the_timeout_and_holds_up_those_behind_it() {
        let mut world = World::new(0);
        let silence = world.silence();
        world.depart(0, data(1));
        world.network.disturbances.end(silence);
        world.depart(1_000, data(2));
        let (arrivals, reset) = world.play();
        assert_eq!(arrivals, [(200_100, 1), (200_100, 2)]);
        assert!(!reset);
        assert_eq!((world.network.counters.lost, world.network.counters.retransmissions), (1, 1));
    }

    #[test]
    fn what_is_under_way_behind_a_segment_that_a_cut_has_taken_waits_for_it() {
        let mut world = World::new(0);
        world.network.disturbances.begin(vec![FORWARDS], Disturbance::Delay { us: 5_000 });
        world.depart(0, data(1));
        world.depart(1_000_000, data(2));
        let silence = world.silence();
        let due = world.agenda.next_ns().unwrap();
        for event in world.agenda.take_due(due).unwrap() {
            assert!(world.at(due, |network, now| network.handle(now, event)).is_none());
        }
        world.network.disturbances.end(silence);
        let order: Vec<u32> = world.play().0.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(order, [1, 2], "TCP keeps the order of bytes");
    }

    #[test]
    fn a_flow_that_never_gets_through_is_reset_after_linux_retries() {
        let mut world = World::new(0);
        world.silence();
        world.depart(0, data(1));
        let (arrivals, reset) = world.play();
        assert!(arrivals.is_empty() && reset);
        assert!(world.network.flows.names().is_empty());
    }

    #[test]
    fn a_stall_delays_and_loses_nothing() {
        let mut world = World::new(0);
        world.network.disturbances.begin(vec![FORWARDS], Disturbance::Hold { until_us: 5_000 });
        world.depart(0, data(1));
        world.depart(6_000_000, data(2));
        let (arrivals, _) = world.play();
        assert_eq!(arrivals, [(5_000, 1), (6_100, 2)]);
        assert_eq!(world.network.counters.lost, 0);
    }

    #[test]
    fn under_random_loss_everything_arrives_in_order() {
        let mut world = World::new(300_000);
        for seq in 0..200 {
            world.depart(u64::from(seq) * 10_000, data(seq));
        }
        let (arrivals, _) = world.play();
        assert_eq!(arrivals.iter().map(|(_, seq)| *seq).collect::<Vec<_>>(), (0..200).collect::<Vec<_>>());
        assert!(world.network.counters.lost > 0);
    }

    #[test]
    fn a_lost_ack_comes_late_unless_something_follows_it() {
        let mut world = World::new(0);
        let ack = |number| {
            let mut packet = data(1);
            let Transport::Tcp(segment) = &mut packet.payload else { panic!("a TCP segment") };
            (segment.payload, segment.ack) = (Bytes::new(), number);
            packet
        };
        // So that all of them are turmoil-net's business.
        world.network.flows.get_or_default(FLOW.reversed()).closing = true;
        world.depart(0, ack(1)); // the end of the handshake
        for number in [2, 3] {
            world.network.loss_ppm = 1_000_000;
            world.depart(1_000_000, ack(number));
        }
        world.network.loss_ppm = 0;
        let (arrivals, _) = world.play();
        assert_eq!(arrivals, [(100, 1), (201_100, 1)], "of two lost ACKs the later one comes");
        assert_eq!(world.network.counters.lost, 2);
    }

    #[test]
    fn an_ack_that_is_lost_in_a_silence_comes_after_it() {
        let mut world = World::new(0);
        let mut ack = data(1);
        let Transport::Tcp(segment) = &mut ack.payload else { panic!("a TCP segment") };
        (segment.payload, segment.ack) = (Bytes::new(), 2);
        world.network.flows.get_or_default(FLOW.reversed()).closing = true;
        world.network.flows.get_or_default(FLOW).established = true;
        let silence = world.network.disturbances.begin(vec![FORWARDS], Disturbance::Silence);
        world.depart(0, ack);
        let due = world.agenda.next_ns().unwrap();
        for event in world.agenda.take_due(due).unwrap() {
            assert!(world.at(due, |network, now| network.handle(now, event)).is_none(), "it is silent still");
        }
        world.network.disturbances.end(silence);
        assert_eq!(world.play().0, [(600_100, 1)], "200 ms and 400 ms later");
    }

    #[test]
    fn what_is_said_one_way_arrives_while_the_other_way_is_silent() {
        let mut world = World::new(0);
        world.network.disturbances.begin(vec![BACKWARDS], Disturbance::Silence);
        world.depart(0, data(1));
        assert_eq!(world.play().0, [(100, 1)]);
    }

    #[test]
    fn a_retransmission_can_be_lost_again() {
        let mut world = World::new(500_000);
        for seq in 0..100 {
            world.depart(u64::from(seq) * 10_000_000_000, data(seq));
        }
        let (arrivals, _) = world.play();
        assert_eq!(arrivals.len(), 100);
        let late = |us: u64, seq: u32| us > u64::from(seq) * 10_000_000 + 600_000;
        assert!(arrivals.iter().any(|(us, seq)| late(*us, *seq)), "the second timeout is twice as long");
    }

    #[test]
    fn a_crashed_host_answers_data_with_a_reset() {
        let mut world = World::new(0);
        world.hosts[1].reach = Reach::Crashed;
        world.depart(0, data(1));
        let (arrivals, _) = world.play();
        assert_eq!(arrivals, [(200, 0)], "the reset reaches the sender");
        assert_eq!(world.network.counters.resets, 1);
    }
}
