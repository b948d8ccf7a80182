//! What a replay needs of a task beyond its critical path: all requests of its last try, also those that nobody waited
//! for, and how long each kept its gateway.

use super::{
    cause::Cause,
    span::{Part, Span, parts, sum_us},
};

const NS_PER_US: u64 = 1_000;

/// A request of the try that ended a task.
#[derive(Clone, Debug)]
pub struct LastCall {
    /// When it was sent, in microseconds from the start of the world.
    pub sent_us: u64,
    /// When it ended.
    pub ended_us: u64,
    /// What came before it: from the begin of the try, or from the end of an earlier request, to its being sent.
    pub lead: Box<[Part]>,
    /// From there to its end.
    pub parts: Box<[Part]>,
    /// Its time with a gateway that takes one command at a time. `None` also of each gateway's last request.
    pub visit: Option<Visit>,
}

/// How a request kept its gateway from taking up the next one.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Host and port of the gateway.
    pub gateway: (u16, u16),
    /// When the gateway took it up, in microseconds from the start of the world.
    pub begun_us: u64,
    /// For how long it did nothing else, by what it did, in microseconds.
    pub us: Box<[(Cause, u64)]>,
}

impl LastCall {
    /// One that went on between two moments, with its spans, the last ones first.
    pub(super) fn of((sent_ns, ended_ns): (u64, u64), lead: &[Span], spans: &[Span]) -> Self {
        Self {
            sent_us: sent_ns / NS_PER_US,
            ended_us: ended_ns / NS_PER_US,
            lead: parts(lead).into(),
            parts: parts(spans).into(),
            visit: None,
        }
    }

    /// When what came before it began.
    #[must_use]
    pub fn ready_us(&self) -> u64 {
        self.sent_us - sum_us(&self.lead)
    }
}

impl Visit {
    /// Of a gateway that took a request up at this moment, and has spent time so since.
    pub(super) fn of(gateway: (u16, u16), begun_ns: u64, spent: impl Iterator<Item = (Cause, u64)>) -> Self {
        let us = spent.map(|(cause, ns)| (cause, ns / NS_PER_US)).collect();
        Self { gateway, begun_us: begun_ns / NS_PER_US, us }
    }
}
