//! How a service gives a delivery back, and how long it waits before it tries anything again.

use crate::{
    amqp::Settlement,
    telemetry::{DropReason, Event, Telemetry},
};
use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Mutex,
    time::Duration,
};
use tokio::time::sleep;

/// How long a service waits the first time before it hands a message back that it could not pass on: time for the next
/// hop to come back, and a brake on a message that goes round in circles.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause of what has a deadline, requests, replies and reports: a hop that is back is found again within this
/// time.
const IN_TIME_MAX: Duration = Duration::from_secs(2);
/// Longest pause of a task.
const TASK_MAX: Duration = Duration::from_secs(8);
/// Most messages whose rounds are counted: far above what a replica has in work. One that was forgotten begins anew.
const COUNTED_MAX: usize = 4_096;

/// Pauses between tries, each twice the one before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause {
    due: Duration,
    longest: Duration,
}

impl Pause {
    /// For a task, which waits as long as it takes.
    pub(super) fn of_task() -> Self {
        Self { due: PAUSE_MIN, longest: TASK_MAX }
    }

    /// For what has a deadline.
    pub(super) fn in_time() -> Self {
        Self { due: PAUSE_MIN, longest: IN_TIME_MAX }
    }

    /// The next pause.
    pub(super) fn next(&mut self) -> Duration {
        let due = self.due;
        self.due = self.longest.min(due * 2);
        due
    }

    /// Waits for the next pause.
    pub(super) async fn wait(&mut self) {
        sleep(self.next()).await;
    }
}

/// How often messages have been handed back here: RabbitMQ does not count. Each replica has a count of its own, so that
/// a message which several share pauses less than it might, but ever longer all the same.
#[derive(Debug)]
pub(super) struct Rounds {
    first: Pause,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    pauses: BTreeMap<u64, Pause>,
    /// The keys of `pauses`, in the order in which they came.
    order: VecDeque<u64>,
}

impl Rounds {
    /// Nothing was handed back yet; what will be begins with `first`.
    pub(super) fn new(first: Pause) -> Self {
        Self { first, counted: Mutex::default() }
    }

    /// How long to wait before the message that `key` stands for is handed back this time.
    pub(super) fn pause(&self, key: &(impl Hash + ?Sized)) -> Duration {
        let mut hasher = DefaultHasher::new(); // its keys are fixed
        key.hash(&mut hasher);
        let key = hasher.finish();
        let mut counted = self.counted.lock().expect("no holder of this lock panics");
        if let Some(pause) = counted.pauses.get_mut(&key) {
            return pause.next();
        }
        if counted.order.len() == COUNTED_MAX
            && let Some(oldest) = counted.order.pop_front()
        {
            counted.pauses.remove(&oldest);
        }
        counted.order.push_back(key);
        counted.pauses.entry(key).or_insert(self.first).next()
    }
}

/// The verdict on a delivery that returns to its queue because of `detail`, for this replica or another, after `pause`.
pub(super) async fn hand_back(detail: &str, pause: Duration, telemetry: &dyn Telemetry) -> Settlement {
    sleep(pause).await;
    let detail = &format!("{detail} (after a pause of {pause:?})");
    telemetry.record(&Event::Dropped { reason: DropReason::HandedBack, detail });
    Settlement::HandBack
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_goes_round_waits_ever_longer_and_others_do_not_wait_for_it() {
        let rounds = Rounds::new(Pause::of_task());
        let pauses: Vec<_> = (0..7).map(|_| rounds.pause("a").as_millis()).collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        assert_eq!(rounds.pause("b"), PAUSE_MIN);
    }

    #[test]
    fn rounds_are_counted_for_a_bounded_number_of_messages() {
        let rounds = Rounds::new(Pause::in_time());
        for message in 0..COUNTED_MAX + 10 {
            rounds.pause(&message);
        }
        let counted = rounds.counted.lock().unwrap();
        assert_eq!((counted.pauses.len(), counted.order.len()), (COUNTED_MAX, COUNTED_MAX));
    }
}
