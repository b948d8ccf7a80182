//! One queue against a model of it: a plain list.

use super::super::{
    arguments::Arguments,
    dead_letter::{Death, Reason},
    message::{Checked, Message},
    queue::{Position, Queue},
};
use proptest::{prelude::*, test_runner::TestCaseResult};
use std::{cmp::Reverse, sync::Arc};

#[derive(Clone, Debug)]
enum Step {
    Publish {
        ttl_ms: Option<u64>,
        persistent: bool,
        priority: u8,
    },
    Take {
        awaits_ack: bool,
    },
    /// The nth of the unacknowledged.
    Ack(usize),
    Requeue(usize),
    Reject(usize),
    Pass {
        ms: u64,
    },
    Purge,
    Recover,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (prop::option::of(0..30_u64), any::<bool>(), 0..5_u8)
            .prop_map(|(ttl_ms, persistent, priority)| Step::Publish { ttl_ms, persistent, priority }),
        4 => any::<bool>().prop_map(|awaits_ack| Step::Take { awaits_ack }),
        2 => (0..8_usize).prop_map(Step::Ack),
        2 => (0..8_usize).prop_map(Step::Requeue),
        1 => (0..8_usize).prop_map(Step::Reject),
        2 => (0..20_u64).prop_map(|ms| Step::Pass { ms }),
        1 => Just(Step::Purge),
        1 => Just(Step::Recover),
    ];
    prop::collection::vec(step, 0..200)
}

/// A message in the model: its number is its place, its body and its name.
#[derive(Clone, Debug)]
struct Known {
    number: u64,
    expires_at_us: Option<u64>,
    persistent: bool,
    /// As far as it counts in this queue.
    priority: u8,
    redelivered: bool,
    unacked: Option<Position>,
}

#[derive(Default)]
struct Model {
    known: Vec<Known>,
    published: u64,
    now_us: u64,
    length_max: Option<usize>,
    priority_max: Option<u8>,
    died: Vec<(u64, Reason)>,
}

impl Model {
    fn ready_count(&self) -> usize {
        self.known.iter().filter(|known| known.unacked.is_none()).count()
    }

    fn head(&self) -> Option<usize> {
        let ready = (0..self.known.len()).filter(|at| self.known[*at].unacked.is_none());
        ready.min_by_key(|at| (Reverse(self.known[*at].priority), *at))
    }

    /// All, in the order in which they would go.
    fn numbers(&self) -> Vec<u64> {
        let mut all: Vec<&Known> = self.known.iter().collect();
        all.sort_by_key(|known| (Reverse(known.priority), known.number));
        all.into_iter().map(|known| known.number).collect()
    }

    fn drop_head_while(&mut self, reason: Reason, is_due: impl Fn(&Self, &Known) -> bool) {
        while let Some(head) = self.head().filter(|at| is_due(self, &self.known[*at])) {
            let dead = self.known.remove(head);
            self.died.push((dead.number, reason));
        }
    }

    fn trim(&mut self) {
        self.drop_head_while(Reason::Expired, |model, head| head.expires_at_us.is_some_and(|at| at <= model.now_us));
        self.drop_head_while(Reason::MaxLen, |model, _| model.length_max.is_some_and(|max| model.ready_count() > max));
    }

    fn nth_unacked(&self, n: usize) -> Option<(usize, Position)> {
        let mut unacked = (0..self.known.len()).filter_map(|at| Some((at, self.known[at].unacked?)));
        unacked.nth(n)
    }
}

fn message(number: u64, ttl_ms: Option<u64>, persistent: bool, priority: u8) -> Arc<Message> {
    Arc::new(Message::new(
        number.to_be_bytes().to_vec(),
        0,
        ("", "q"),
        Checked { persistent, ttl_ms, priority, ..Checked::default() },
    ))
}

fn number(message: &Message) -> u64 {
    u64::from_be_bytes(message.body().try_into().unwrap())
}

/// The queue and what is known about it, step by step.
#[derive(Default)]
struct Pair {
    queue: Queue,
    model: Model,
    deaths: Vec<Death>,
}

impl Pair {
    fn take(&mut self, awaits_ack: bool) -> TestCaseResult {
        let Self { queue, model, deaths } = self;
        let taken = queue.take(model.now_us, awaits_ack, deaths);
        model.drop_head_while(Reason::Expired, |model, head| head.expires_at_us.is_some_and(|at| at < model.now_us));
        let expected = model.head();
        prop_assert_eq!(taken.is_some(), expected.is_some());
        if let (Some(entry), Some(at)) = (taken, expected) {
            let known = &mut model.known[at];
            prop_assert_eq!((number(&entry.message), entry.redelivered), (known.number, known.redelivered));
            known.redelivered = true;
            known.unacked = Some(entry.position);
            if !awaits_ack {
                model.known.remove(at);
            }
        }
        Ok(())
    }

    fn do_step(&mut self, step: Step) -> TestCaseResult {
        let Self { queue, model, deaths } = self;
        match step {
            Step::Publish { ttl_ms, persistent, priority } => {
                queue.push(message(model.published, ttl_ms, persistent, priority), model.now_us);
                let expires_at_us = ttl_ms.map(|ms| model.now_us + ms * 1_000);
                let number = model.published;
                let priority = model.priority_max.map_or(0, |max| priority.min(max));
                let (redelivered, unacked) = (false, None);
                model.known.push(Known { number, expires_at_us, persistent, priority, redelivered, unacked });
                model.published += 1;
            }
            Step::Take { awaits_ack } => self.take(awaits_ack)?,
            Step::Ack(n) => {
                if let Some((at, position)) = model.nth_unacked(n) {
                    prop_assert!(queue.ack(position));
                    prop_assert!(!queue.ack(position));
                    model.known.remove(at);
                }
            }
            Step::Requeue(n) => {
                if let Some((at, position)) = model.nth_unacked(n) {
                    queue.requeue(position);
                    model.known[at].unacked = None;
                }
            }
            Step::Reject(n) => {
                if let Some((at, position)) = model.nth_unacked(n) {
                    queue.reject(position, deaths);
                    let dead = model.known.remove(at);
                    model.died.push((dead.number, Reason::Rejected));
                }
            }
            Step::Pass { ms } => model.now_us += ms * 1_000,
            Step::Purge => {
                let before = model.known.len();
                model.known.retain(|known| known.unacked.is_some());
                prop_assert_eq!(queue.purge(), before - model.known.len());
            }
            Step::Recover => {
                queue.recover();
                model.known.retain(|known| known.persistent);
                model.known.iter_mut().for_each(|known| known.unacked = None);
            }
        }
        Ok(())
    }

    fn trim_and_compare(&mut self) -> TestCaseResult {
        let Self { queue, model, deaths } = self;
        queue.trim(model.now_us, deaths);
        model.trim();
        let left: Vec<u64> = queue.messages().iter().map(|m| number(m)).collect();
        prop_assert_eq!(&left, &model.numbers());
        prop_assert_eq!((queue.depth(), queue.ready_count()), (left.len(), model.ready_count()));
        let head = model.head().and_then(|at| model.known[at].expires_at_us);
        prop_assert_eq!(queue.head_expires_at_us(), head);
        let died: Vec<_> = deaths.iter().map(|(m, reason)| (number(m), *reason)).collect();
        prop_assert_eq!(&died, &model.died);
        Ok(())
    }
}

proptest! {
    #[test]
    fn nothing_is_lost_or_doubled_and_order_is_kept(
        steps in steps(),
        length_max in prop::option::of(1..6_usize),
        priority_max in prop::option::of(0..4_u8),
    ) {
        let mut arguments = Arguments::default();
        (arguments.length_max, arguments.priority_max) = (length_max, priority_max);
        let queue = Queue::new(arguments);
        let model = Model { length_max, priority_max, ..Model::default() };
        let mut pair = Pair { queue, model, deaths: Vec::new() };
        for step in steps {
            let time_passed = matches!(step, Step::Pass { .. });
            pair.do_step(step)?;
            if !time_passed { // else the next step shall meet expired messages
                pair.trim_and_compare()?;
            }
        }
    }
}
