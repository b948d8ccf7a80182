//! What is remembered of a host: what its CPU did lately, and which answers it got. Enough to say what a process waited
//! for at the moment at which it goes on.
//!
//! A process that goes on does so because something has ended at that very nanosecond: work of its CPU, or an answer
//! that it waited for. So its time is told from the last to the first, each time by what ended there. Where two things
//! were waited for, the one that ended later decides, since without it nothing would have gone on.

use super::{
    cause::Cause,
    span::{Sums, Trail},
};
use crate::spec::Pod;
use backbone::message::{Mac, RequestId};
use sim::observe::{Way, Work, WorkKind};
use std::collections::VecDeque;

/// Works and answers kept for each host: those of the moment are looked for, and in a router those of all requests that
/// it works on at a time.
const MEMORY: usize = 256;
/// How many writes are looked through for one that ended at a moment.
const WRITES_MAX: usize = 64;

/// A question to a broker and its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trip {
    /// The broker.
    pub(super) server: u16,
    pub(super) ask: Way,
    pub(super) answer: Way,
    /// The first on its connection, whose opening began then.
    pub(super) opened_ns: Option<u64>,
    pub(super) request: Option<RequestId>,
    pub(super) label: Option<Mac>,
}

/// Whom something is about.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About {
    pub(super) request: Option<RequestId>,
    pub(super) label: Option<Mac>,
}

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) number: u16,
    pub(super) pod: Pod,
    /// In the order of their ends, writes apart.
    works: VecDeque<Work>,
    /// In the order of their begins.
    writes: VecDeque<Work>,
    /// In the order of their answers.
    trips: VecDeque<Trip>,
    /// When RabbitMQ's metadata store was last done with a change.
    changed_ns: u64,
}

fn remember<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() == MEMORY {
        list.pop_front();
    }
    list.push_back(item);
}

impl Host {
    pub(super) fn new(number: u16, pod: Pod) -> Self {
        Self { number, pod, works: VecDeque::new(), writes: VecDeque::new(), trips: VecDeque::new(), changed_ns: 0 }
    }

    pub(super) fn worked(&mut self, mut work: Work) {
        if work.kind == WorkKind::Metadata {
            // One change at a time: it began when the one before was made.
            work.cost_ns = work.done_ns - self.changed_ns.max(work.asked_ns);
            self.changed_ns = work.done_ns;
        }
        if work.done_ns > work.asked_ns {
            remember(if work.kind == WorkKind::Write { &mut self.writes } else { &mut self.works }, work);
        }
    }

    pub(super) fn answered(&mut self, trip: Trip) {
        remember(&mut self.trips, trip);
    }

    fn cpu_cause(&self) -> Cause {
        match self.pod {
            Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_) => Cause::BrokerCpu,
            Pod::Gateway(_) | Pod::Store(_) => Cause::GatewayCpu,
            Pod::Router(..) | Pod::TaskWorker(_) | Pod::Dispatcher | Pod::Autoscaler => Cause::ServiceCpu,
        }
    }

    /// Goes back over the CPU's work that ended here, and what ended where that was asked for, and so on.
    pub(super) fn back_over_cpu(&self, trail: &mut Trail, floor_ns: u64) {
        while trail.now_ns() > floor_ns && self.back_over_work(trail, floor_ns) {}
    }

    /// Goes back over one work of the CPU, if one ended here.
    fn back_over_work(&self, trail: &mut Trail, floor_ns: u64) -> bool {
        let now_ns = trail.now_ns();
        let mut recent = self.works.iter().rev().take_while(|work| work.done_ns >= now_ns);
        let write = || self.writes.iter().rev().take(WRITES_MAX).find(|write| write.done_ns == now_ns);
        let Some(work) = recent.find(|work| work.done_ns == now_ns).or_else(write) else { return false };
        let place = (self.number, self.number);
        if work.kind == WorkKind::Metadata {
            trail.back_to((work.done_ns - work.cost_ns).max(floor_ns), Cause::Metadata, place);
            trail.back_to(work.asked_ns.max(floor_ns), Cause::MetadataQueue, place);
            return true;
        }
        // A thread that was free works, is stopped when the quota is used up, and works on. What comes last counts as
        // work, whichever it was: the sums are right.
        let cost_from_ns = work.done_ns - work.cost_ns.min(work.done_ns - work.asked_ns);
        let throttled_from_ns = cost_from_ns - work.throttled_ns.min(cost_from_ns - work.asked_ns);
        trail.back_to(cost_from_ns.max(floor_ns), self.cpu_cause(), place);
        trail.back_to(throttled_from_ns.max(floor_ns), Cause::Throttled, place);
        trail.back_to(work.asked_ns.max(floor_ns), Cause::CpuBusy, place);
        true
    }

    /// Goes back over what a process of this host did and waited for since `floor_ns`. The rest it waited by its own
    /// choice, which counts as `pause`. Where it worked on other requests first, that is a wait, with what it did.
    pub(super) fn back_over_process(
        &self,
        trail: &mut Trail,
        floor_ns: u64,
        about: About,
        pause: Cause,
        hosts: &[Host],
    ) {
        while trail.now_ns() > floor_ns {
            match self.trip_that_ends_at(trail.now_ns(), about, floor_ns) {
                // What was asked before this could begin is of others, too.
                Some(trip) if trip.ask.written_ns < floor_ns || trip.is_of_others(about) => {
                    return self.back_over_others(trail, floor_ns, hosts);
                }
                Some(trip) => trip.go_back(trail, self.number, hosts),
                None if self.back_over_work(trail, floor_ns) => {}
                None => trail.back_to(floor_ns, pause, (self.number, self.number)),
            }
        }
    }

    /// Goes back over the time in which a process worked on other requests first.
    fn back_over_others(&self, trail: &mut Trail, floor_ns: u64, hosts: &[Host]) {
        let mut others = Trail::back_from(trail.now_ns());
        while others.now_ns() > floor_ns {
            match self.trip_that_ends_at(others.now_ns(), About::default(), floor_ns) {
                Some(trip) => trip.go_back(&mut others, self.number, hosts),
                None if self.back_over_work(&mut others, floor_ns) => {}
                None => others.back_to(floor_ns, Cause::Pause, (self.number, self.number)),
            }
        }
        let mut sums = Sums::default();
        for span in others.into_spans().iter().filter(|span| span.to_ns > floor_ns) {
            sums.add(span.to_ns - span.from_ns.max(floor_ns), span.cause);
        }
        trail.back_over_sums(sums, Cause::RouterBusy, self.number);
    }

    /// The answer that came at this moment; of several, one that is about the same request or label, or else the one
    /// that was asked for last. Of those that took no time none has kept anybody.
    fn trip_that_ends_at(&self, now_ns: u64, about: About, floor_ns: u64) -> Option<&Trip> {
        let mut best: Option<(u8, u64, &Trip)> = None;
        for trip in self.trips.iter().rev().take_while(|trip| trip.answer.taken_ns >= now_ns) {
            let written_ns = trip.ask.written_ns;
            if trip.answer.taken_ns > now_ns || written_ns >= now_ns {
                continue;
            }
            let likeness = match trip {
                Trip { request: Some(_), .. } if written_ns >= floor_ns && trip.request == about.request => 2,
                Trip { label: Some(_), .. } if written_ns >= floor_ns && trip.label == about.label => 1,
                _ => 0,
            };
            if best.is_none_or(|(least, latest_ns, _)| (likeness, written_ns) > (least, latest_ns)) {
                best = Some((likeness, written_ns, trip));
            }
        }
        best.map(|(.., trip)| trip)
    }
}

impl Trip {
    /// Whether it says that it is about another request.
    fn is_of_others(&self, about: About) -> bool {
        let differ = |own: Option<u64>, other: Option<u64>| own.zip(other).is_some_and(|(own, other)| own != other);
        let is_same_request = self.request.is_some() && self.request == about.request;
        let mac = |label: Option<Mac>| label.map(Mac::value);
        !is_same_request && (self.request.zip(about.request).is_some() || differ(mac(self.label), mac(about.label)))
    }

    /// Over all of it, to the moment at which the question was written, or its connection's opening began.
    fn go_back(&self, trail: &mut Trail, client: u16, hosts: &[Host]) {
        let server = &hosts[usize::from(self.server)];
        back_over_way(trail, &self.answer, (server, &hosts[usize::from(client)]));
        let floor_ns = self.ask.taken_ns.min(self.answer.written_ns);
        server.back_over_cpu(trail, floor_ns);
        // RabbitMQ alone lets a question wait, while queues of others begin and end.
        let rest = if server.pod == Pod::Amqp { Cause::MetadataQueue } else { Cause::Unexplained };
        trail.back_to(floor_ns, rest, (self.server, self.server));
        back_over_way(trail, &self.ask, (&hosts[usize::from(client)], server));
        if let Some(opened_ns) = self.opened_ns {
            trail.back_to(opened_ns, Cause::Connecting, (client, self.server));
        }
    }
}

/// Goes back over a message's way, from where it was read to where it was written.
pub(super) fn back_over_way(trail: &mut Trail, way: &Way, (from, to): (&Host, &Host)) {
    let (sender, receiver, between) = ((from.number, from.number), (to.number, to.number), (from.number, to.number));
    to.back_over_cpu(trail, way.readable_ns);
    trail.back_to(way.readable_ns, Cause::Unread, receiver);
    trail.back_to(way.arrived_ns, Cause::WakeUp, receiver);
    trail.back_to(way.sent_ns, Cause::Link, between);
    trail.back_to(way.left_ns, Cause::Retransmission, between);
    if let Some(held) = way.held {
        let acknowledged_ns = held.acknowledged_ns.clamp(way.in_kernel_ns, way.left_ns);
        trail.back_to(acknowledged_ns, Cause::Nagle, between);
        trail.back_to(way.in_kernel_ns, if held.was_delayed { Cause::DelayedAck } else { Cause::Nagle }, between);
    }
    trail.back_to(way.in_kernel_ns, Cause::Nagle, between);
    from.back_over_cpu(trail, way.written_ns);
    trail.back_to(way.written_ns, Cause::CpuBusy, sender);
}
