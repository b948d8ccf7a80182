//! The legs of a message's journey: each from the process that writes it to the one that reads it.

use super::span::{Span, Trail};
use sim::observe::Sent;
use std::ops::Range;

/// One leg.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    /// The message's number.
    pub(super) number: u64,
    /// Host and port.
    pub(super) from: (u16, u16),
    /// Host and port.
    pub(super) to: (u16, u16),
    pub(super) written_ns: u64,
    /// `None`: under way.
    pub(super) taken_ns: Option<u64>,
    /// The leg that brought it to where this one begins; `None`: it began there.
    pub(super) before: Option<usize>,
    /// It leads into the queue for the next try.
    pub(super) is_retry: bool,
    /// What passed between the two.
    inside: Stretch,
    /// What passed on this one.
    way: Stretch,
}

/// Spans of a journey, the last first, by their places among all of it.
type Stretch = Range<u32>;

/// All legs of a message and of what came of it: a task, or a request and its reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Journey {
    pub(super) legs: Vec<Leg>,
    /// Of all legs: one list, since there are two for each leg.
    spans: Vec<Span>,
}

/// Legs kept of one journey. Retries, duplicates and the like add some; what goes on for ever is cut.
const LEGS_MAX: usize = 4_096;

/// Legs of a request over queues on the shortest way.
const LEGS: usize = 8;
/// Spans of such a leg.
const SPANS: usize = 8;

impl Leg {
    /// One on which a message is written that another leg brought, if any did.
    pub(super) fn of(sent: &Sent<'_>, before: Option<usize>, is_retry: bool) -> Self {
        let Sent { number, from, to, now_ns: written_ns, .. } = *sent;
        Self { number, from, to, written_ns, taken_ns: None, before, is_retry, inside: 0..0, way: 0..0 }
    }
}

impl Journey {
    /// With room for what nearly all requests need.
    pub(super) fn of_request() -> Self {
        Self { legs: Vec::with_capacity(LEGS), spans: Vec::with_capacity(LEGS * SPANS) }
    }

    /// The last leg that brought it to `host` until `now_ns`.
    pub(super) fn last_to(&self, host: u16, now_ns: u64) -> Option<usize> {
        let mut last: Option<(u64, usize)> = None;
        for (place, leg) in self.legs.iter().enumerate().filter(|(_, leg)| leg.to.0 == host) {
            let arrived = leg.taken_ns.filter(|taken_ns| *taken_ns <= now_ns).map(|taken_ns| (taken_ns, place));
            last = last.max(arrived);
        }
        last.map(|(_, place)| place)
    }

    /// The first leg that led on from `host` to somewhere between two moments: it came back.
    pub(super) fn first_from(&self, host: u16, after_ns: u64, before_ns: u64) -> Option<&Leg> {
        let is_between = |leg: &&Leg| leg.from.0 == host && leg.written_ns >= after_ns && leg.written_ns < before_ns;
        self.legs.iter().find(is_between)
    }

    /// Adds a leg, with what passed before it, the last first.
    pub(super) fn add(&mut self, mut leg: Leg, inside: &[Span]) {
        if self.legs.len() < LEGS_MAX {
            leg.inside = self.keep(inside);
            self.legs.push(leg);
        }
    }

    /// The message with this number has been read, and this had passed on its way, the last first.
    pub(super) fn taken(&mut self, number: u64, taken_ns: u64, way: &[Span]) {
        if let Some(place) = self.legs.iter().rposition(|leg| leg.number == number) {
            let way = self.keep(way);
            let leg = &mut self.legs[place];
            (leg.taken_ns, leg.way) = (Some(taken_ns), way);
        }
    }

    fn keep(&mut self, spans: &[Span]) -> Stretch {
        let place = |list: &Vec<Span>| u32::try_from(list.len()).expect("a journey has some thousand legs at most");
        let from = place(&self.spans);
        self.spans.extend_from_slice(spans);
        from..place(&self.spans)
    }

    fn spans(&self, stretch: &Stretch) -> &[Span] {
        &self.spans[stretch.start as usize..stretch.end as usize]
    }

    /// Goes back over this leg and all that led to it.
    pub(super) fn go_back(&self, trail: &mut Trail, leg: usize, floor_ns: u64) {
        let mut next = Some(leg);
        while let Some(leg) = next.map(|leg| &self.legs[leg]) {
            trail.back_over(self.spans(&leg.way), floor_ns);
            trail.back_over(self.spans(&leg.inside), floor_ns);
            next = leg.before;
        }
    }
}
