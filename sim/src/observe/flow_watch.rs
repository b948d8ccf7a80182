//! How the messages of one flow get on: which stage each has passed, and when.

use super::{
    Held, Way,
    frames::{Framer, Protocol},
};
use crate::flow::at_or_after;
use std::collections::VecDeque;

/// Messages of a flow that are under way; with more of them, as in a long cut, the eldest are no longer followed.
const UNDER_WAY_MAX: usize = 65_536;

/// A place that every byte of a modelled connection passes, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its write has had its CPU time.
    InKernel,
    /// It has left: nothing held it back any more.
    Left,
    /// It is in its receiver's kernel.
    Arrived,
    /// Its receiver's process could read it.
    Readable,
    /// The process has read it, and paid for that.
    Taken,
}

const STAGES: usize = 5;

/// A message under way.
#[derive(Debug)]
struct UnderWay {
    /// Sequence number after its last byte.
    end: u32,
    number: u64,
    written_ns: u64,
    passed_ns: [Option<u64>; STAGES],
    sent_again_ns: Option<u64>,
    held: Option<Held>,
}

impl UnderWay {
    fn way(&self) -> Way {
        let after = |stage: Stage, before_ns: u64| self.passed_ns[stage as usize].unwrap_or(before_ns).max(before_ns);
        let in_kernel_ns = after(Stage::InKernel, self.written_ns);
        let left_ns = after(Stage::Left, in_kernel_ns);
        let sent_ns = self.sent_again_ns.unwrap_or(left_ns).max(left_ns);
        let arrived_ns = after(Stage::Arrived, sent_ns);
        let readable_ns = after(Stage::Readable, arrived_ns);
        let taken_ns = after(Stage::Taken, readable_ns);
        let (written_ns, held) = (self.written_ns, self.held);
        Way { written_ns, in_kernel_ns, left_ns, sent_ns, arrived_ns, readable_ns, taken_ns, held }
    }
}

/// An acknowledgement under way.
#[derive(Clone, Copy, Debug)]
struct Ack {
    ack: u32,
    held: Held,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct FlowWatch {
    pub(super) framer: Framer,
    under_way: VecDeque<UnderWay>,
    /// How many of `under_way` have passed each stage.
    passed: [usize; STAGES],
    /// Sequence number of the next byte that the receiver takes.
    next: u32,
    /// Acknowledgements along this flow.
    acks: VecDeque<Ack>,
    /// What has released the data that leave now.
    released_by: Option<Held>,
}

impl FlowWatch {
    /// `seq`: of its first byte.
    pub(super) fn new(protocol: Protocol, is_client: bool, seq: u32) -> Self {
        Self {
            framer: Framer::new(protocol, is_client),
            under_way: VecDeque::new(),
            passed: [0; STAGES],
            next: seq,
            acks: VecDeque::new(),
            released_by: None,
        }
    }

    pub(super) fn write(&mut self, number: u64, end: u32, now_ns: u64) {
        if self.under_way.len() == UNDER_WAY_MAX {
            self.drop_first();
        }
        self.under_way.push_back(UnderWay {
            end,
            number,
            written_ns: now_ns,
            passed_ns: [None; STAGES],
            sent_again_ns: None,
            held: None,
        });
    }

    fn drop_first(&mut self) -> Option<UnderWay> {
        self.passed.iter_mut().for_each(|passed| *passed = passed.saturating_sub(1));
        self.under_way.pop_front()
    }

    /// All up to `end` passes `stage`.
    pub(super) fn pass(&mut self, stage: Stage, end: u32, now_ns: u64) {
        let held = self.released_by.filter(|_| stage == Stage::Left);
        let passed = &mut self.passed[stage as usize];
        while let Some(message) = self.under_way.get_mut(*passed).filter(|message| at_or_after(end, message.end)) {
            message.passed_ns[stage as usize] = Some(now_ns);
            message.held = message.held.or(held);
            *passed += 1;
        }
    }

    /// A lost segment is sent again.
    pub(super) fn send_again(&mut self, seq: u32, end: u32, now_ns: u64) {
        let is_in = |message: &&mut UnderWay| at_or_after(end, message.end) && !at_or_after(seq, message.end);
        self.under_way.iter_mut().filter(is_in).for_each(|message| message.sent_again_ns = Some(now_ns));
    }

    /// The receiver takes so many bytes. Tells of the messages that are complete with them.
    pub(super) fn take(&mut self, len_bytes: usize, now_ns: u64, mut tell: impl FnMut(u64, Way)) {
        self.next = self.next.wrapping_add(len_bytes as u32);
        self.pass(Stage::Taken, self.next, now_ns);
        while self.passed[Stage::Taken as usize] > 0 {
            let Some(message) = self.drop_first() else { break };
            tell(message.number, message.way());
        }
    }

    /// An acknowledgement leaves along this flow.
    pub(super) fn acknowledge(&mut self, ack: u32, held: Held) {
        if self.acks.back().is_some_and(|last| last.ack == ack) {
            return; // the first one counts
        }
        if self.acks.len() == UNDER_WAY_MAX {
            self.acks.pop_front();
        }
        self.acks.push_back(Ack { ack, held });
    }

    /// One has arrived.
    pub(super) fn acknowledged(&mut self, ack: u32) -> Option<Held> {
        let mut last = None;
        while let Some(first) = self.acks.pop_front_if(|first| at_or_after(ack, first.ack)) {
            last = Some(first.held);
        }
        last
    }

    /// From now on what leaves was waiting for this acknowledgement, or for none.
    pub(super) fn release(&mut self, by: Option<Held>) {
        self.released_by = by;
    }
}
