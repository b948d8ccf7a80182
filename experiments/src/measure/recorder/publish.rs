//! What a producer does: it has each task at its moment, and gives it to the dispatcher.

use super::Recorder;
use backbone::message::Task;
use futures_util::{Stream, stream};
use std::{num::NonZeroU64, time::Duration};
use tokio::time::sleep;

/// Moments are whole milliseconds of the world's clock, since that is how exact timers are.
const TICK_US: u64 = 1_000;

impl Recorder {
    /// The tasks for the dispatcher, in order. If all come at once, the producer has them when the dispatcher first
    /// asks for one; else each comes at its moment, counted from there. A task that the dispatcher takes later was
    /// there all the same, so what a dispatcher without room keeps waiting is not left out. `time_us` counts from the
    /// start of the world.
    pub(crate) fn publish<F>(&self, time_us: F) -> impl Stream<Item = Task> + Send + 'static + use<F>
    where
        F: Fn() -> u64 + Send + 'static,
    {
        stream::unfold((self.clone(), time_us, 0), |(recorder, time_us, index)| async move {
            if index == recorder.workload().len() {
                return None;
            }
            let was_held = recorder.wait_for_release(index).await;
            // A dispatcher that was started again begins anew; what was first counts.
            let began_us = *recorder.0.began_us.get_or_init(&time_us);
            let mut published_us = began_us;
            if was_held {
                published_us = time_us(); // that is when its producer has it
            } else if let Some(at_ms) = recorder.workload().at_ms(index) {
                published_us = began_us.next_multiple_of(TICK_US) + u64::from(at_ms) * TICK_US;
                if let Some(wait_us) = published_us.checked_sub(time_us()).filter(|us| *us > 0) {
                    sleep(Duration::from_micros(wait_us)).await;
                }
            }
            let offered_us = NonZeroU64::new(time_us());
            {
                let task = &mut recorder.entries().tasks[index];
                task.published_us = task.published_us.or(NonZeroU64::new(published_us));
                task.offered_us = task.offered_us.or(offered_us);
            }
            let task = recorder.workload().task(index);
            Some((task, (recorder, time_us, index + 1)))
        })
    }
}
