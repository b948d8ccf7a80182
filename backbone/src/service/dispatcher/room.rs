//! How many more tasks the queue may take, so that it stays short.

use super::{CONNECTION_LIMIT, Pause, Session};
use crate::amqp::DurableQueue;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a full queue is looked at: with half of the default limit gone by then, workers never wait unless they do
/// 20,000 tasks a second.
const LOOK_PERIOD: Duration = Duration::from_millis(50);

/// How many tasks may be published before the queue has to be looked at.
#[derive(Debug)]
pub(super) struct Room {
    /// Most tasks that may wait; `None`: any number.
    waiting_max: Option<u64>,
    left: u64,
}

impl Room {
    /// Room for one `window` at first: for less it is not worth looking. `waiting_max` of 0 is no limit.
    pub(super) fn new(waiting_max: u32, window: usize) -> Self {
        let waiting_max = (waiting_max > 0).then_some(u64::from(waiting_max));
        Self { waiting_max, left: waiting_max.map_or(u64::MAX, |max| max.min(window as u64)) }
    }

    /// Whether a task may be published.
    pub(super) fn is_left(&self) -> bool {
        self.left > 0
    }

    /// Takes note of a task that is published.
    pub(super) fn take(&mut self) {
        if self.waiting_max.is_some() {
            self.left -= 1;
        }
    }

    /// Takes note of how many tasks wait. Room is made only once half of the limit has gone: else a full queue would be
    /// looked at for every few tasks.
    fn saw(&mut self, waiting: u64) {
        let room = |max: u64| if waiting <= max / 2 { max - waiting } else { 0 };
        self.left = self.waiting_max.map_or(u64::MAX, room);
    }

    /// Looks at the queue until there is room. Dropping the future loses nothing.
    pub(super) async fn make(&mut self, session: &Session, queue: &DurableQueue) {
        let (mut said, mut pause) = (false, Pause::of_task());
        while !self.is_left() {
            match session.waiting(queue, Instant::now() + CONNECTION_LIMIT).await {
                Ok(waiting) => self.saw(waiting.into()),
                Err(error) => {
                    tracing::warn!(error, "cannot see how many tasks wait; trying again");
                    pause.wait().await;
                }
            }
            if !self.is_left() {
                if !said {
                    tracing::debug!(waiting_max = self.waiting_max, "the task queue is full");
                }
                said = true;
                sleep(LOOK_PERIOD).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gets_no_more_tasks_until_half_of_its_limit_has_gone() {
        let mut room = Room::new(10, 256);
        (0..10).for_each(|_| room.take());
        assert!(!room.is_left());
        room.saw(6);
        assert!(!room.is_left());
        room.saw(5);
        (0..5).for_each(|_| room.take());
        assert!(!room.is_left(), "10 wait again");
    }

    #[test]
    fn the_first_look_comes_after_a_window() {
        let mut room = Room::new(2_000, 256);
        (0..256).for_each(|_| room.take());
        assert!(!room.is_left());
    }

    #[test]
    fn a_limit_of_one_task_lets_one_wait() {
        let mut room = Room::new(1, 256);
        room.take();
        room.saw(1);
        assert!(!room.is_left());
        room.saw(0);
        assert!(room.is_left());
    }

    #[test]
    fn no_limit_is_never_reached() {
        let mut room = Room::new(0, 1);
        (0..1_000).for_each(|_| room.take());
        assert!(room.is_left());
    }
}
