//! What the time of tasks is made of, kept for those who want to show it: each message's way, and each call.

use super::span::Span;
use backbone::message::{Mac, RequestId};
use sim::observe::{Sent, What};

/// Hops kept of a run: with what passed on them about 200 MB. A call over queues is seven of them. Later ones are
/// counted only.
pub const HOPS_MAX: usize = 1 << 18;
/// Calls kept of a run; each has at least a hop.
const CALLS_MAX: usize = HOPS_MAX;
/// Stalls kept of a run: about one a hop, at the worst.
const STALLS_MAX: usize = HOPS_MAX;

/// The way of a message about a task from one process to the next, with what kept it at the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Tells hops apart; in the order of their being written.
    pub number: u64,
    /// The one that brought it to where this one begins; `None`: it began there.
    pub before: Option<u64>,
    /// Index of its task.
    pub task: u32,
    /// The request that it is about; `None`: the task itself.
    pub request: Option<RequestId>,
    /// That request's label.
    pub label: Option<Mac>,
    /// Host and port.
    pub from: (u16, u16),
    /// Host and port.
    pub to: (u16, u16),
    /// Sequence number after its last byte.
    pub end: u32,
    /// When it was written, in virtual time.
    pub written_ns: u64,
    /// When its receiver had read it; `None`: it never has.
    pub taken_ns: Option<u64>,
    /// What passed at the first process before that, in the order of time.
    pub stay: Box<[Span]>,
    /// What passed on the way, in the order of time; empty if it never came.
    pub way: Box<[Span]>,
}

impl Hop {
    /// When it began to be at the first process, in virtual time.
    #[must_use]
    pub fn came_ns(&self) -> u64 {
        self.stay.first().map_or(self.written_ns, |span| span.from_ns)
    }
}

/// A worker's call: a request, and the wait for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub request: RequestId,
    /// Whom it is for.
    pub label: Mac,
    /// Index of its task.
    pub task: u32,
    /// The host of the worker.
    pub worker: u16,
    /// When it was sent, in virtual time.
    pub sent_ns: u64,
    /// When its reply came, or it was given up.
    pub ended_ns: u64,
    /// A reply came.
    pub is_answered: bool,
}

/// A message between a broker and its client that names no task, such as an acknowledgement, and was held back on its
/// way: by Nagle's algorithm or by a loss. What waits for it may be all tasks of a gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// For people.
    pub what: &'static str,
    /// Host and port.
    pub from: (u16, u16),
    /// Host and port.
    pub to: (u16, u16),
    /// Sequence number after its last byte.
    pub end: u32,
    /// When it was written, in virtual time.
    pub written_ns: u64,
    /// When its receiver had read it.
    pub taken_ns: u64,
    /// What passed on the way, in the order of time.
    pub way: Box<[Span]>,
}

/// What a message is called that names no task.
pub(super) fn name_of(what: What<'_>) -> &'static str {
    match what {
        What::Ask(_) | What::Consume(_) => "an AMQP method",
        What::Answer(_) => "an AMQP method's answer",
        What::Commands(_) => "commands of Redis",
        What::Answers(_) => "answers of Redis",
        What::Acknowledge => "an acknowledgement",
        What::Publish(_) | What::Deliver | What::Mqtt | What::Http => "a message",
    }
}

/// All hops and calls of a run, as far as there is room for them.
#[derive(Clone, Debug, Default)]
pub struct Journeys {
    /// In the order of their being written.
    pub hops: Vec<Hop>,
    /// In the order of their ends.
    pub calls: Vec<Call>,
    /// In the order of their ends; later ones than there is room for are left out.
    pub stalls: Vec<Stall>,
    /// Hops that there was no room for.
    pub hops_left_out: u64,
}

/// What a hop is about: its task, and of a request that and its label.
pub(super) type Subject = (usize, Option<(RequestId, Mac)>);

impl Journeys {
    pub(super) fn add(&mut self, sent: &Sent<'_>, (task, request): Subject, before: Option<u64>, stay: &[Span]) {
        if self.hops.len() >= HOPS_MAX {
            self.hops_left_out += 1;
            return;
        }
        self.hops.push(Hop {
            number: sent.number,
            before,
            task: u32::try_from(task).expect("a task's index is a u32"),
            request: request.map(|(id, _)| id),
            label: request.map(|(_, label)| label),
            from: sent.from,
            to: sent.to,
            end: sent.end,
            written_ns: sent.now_ns,
            taken_ns: None,
            stay: stay.iter().rev().copied().collect(),
            way: Box::default(),
        });
    }

    /// A message has come; `way` has what passed, the last first.
    pub(super) fn taken(&mut self, number: u64, taken_ns: u64, way: &[Span]) {
        if let Ok(place) = self.hops.binary_search_by_key(&number, |hop| hop.number) {
            let hop = &mut self.hops[place];
            (hop.taken_ns, hop.way) = (Some(taken_ns), way.iter().rev().copied().collect());
        }
    }

    pub(super) fn stalled(&mut self, stall: Stall) {
        if self.stalls.len() < STALLS_MAX {
            self.stalls.push(stall);
        }
    }

    pub(super) fn ended(&mut self, call: Call) {
        if self.calls.len() < CALLS_MAX {
            self.calls.push(call);
        }
    }
}
