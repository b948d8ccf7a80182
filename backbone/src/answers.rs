//! Whether a broker still answers over a connection over which nothing comes.
//!
//! A machine that goes without a last word leaves connections behind that look well until something is sent over them.
//! Heartbeats find that out within a minute; until then a service without work would say that it is ready, and its
//! first message would pay for it. So whoever asks for readiness has a broker asked that has been silent for a second.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// Who asks for readiness wants to know whether the broker answers now. An answer that is no older than this will do,
/// and a question is answered within it where all is well.
const QUIET: Duration = Duration::from_secs(1);

/// When a broker answered last over one connection, and whether it is being asked.
#[derive(Debug)]
pub(crate) struct Answers(Mutex<State>);

#[derive(Debug)]
struct State {
    heard: Instant,
    asked: Option<Instant>,
}

impl Answers {
    /// Of a connection that has just been made.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State { heard: Instant::now(), asked: None }))
    }

    /// The broker has answered something.
    pub(crate) fn heard(&self) {
        self.state().heard = Instant::now();
    }

    /// Whether to ask now, because nothing has come lately or `is_wanted` anyway, and nobody does. Then the caller has
    /// to, with [`Answers::wait`].
    pub(crate) fn begin(&self, is_wanted: bool) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let is_due = state.asked.is_none() && (is_wanted || now - state.heard >= QUIET);
        if is_due {
            state.asked = Some(now);
        }
        is_due
    }

    /// Waits for `question`'s answer until `limit`. False if the broker has said nothing at all in that time.
    pub(crate) async fn wait<T>(&self, limit: Duration, question: impl Future<Output = T>) -> bool {
        let answered = timeout(limit, question).await.is_ok();
        let mut state = self.state();
        let asked = state.asked.take();
        if answered {
            state.heard = Instant::now();
        }
        answered || asked.is_none_or(|asked| state.heard > asked)
    }

    /// What there is to say if `broker` has owed the answer to a question, and said nothing else, for longer than a
    /// healthy one does.
    pub(crate) fn overdue(&self, broker: &str) -> Option<String> {
        let state = self.state();
        let silent = state.asked?.max(state.heard).elapsed();
        (silent >= QUIET).then(|| format!("{broker} has not answered for {} s", silent.as_secs()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::{pending, ready};
    use tokio::time::sleep;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn who_has_answered_lately_is_not_asked() {
        let answers = Answers::new();
        assert!(!answers.begin(false));
        sleep(QUIET).await;
        answers.heard();
        assert!(!answers.begin(false));
        sleep(QUIET).await;
        assert!(answers.begin(false));
        assert!(!answers.begin(false), "one question at a time");
        assert!(answers.wait(LIMIT, ready(())).await);
        assert!(!answers.begin(false));
        assert!(answers.begin(true));
        assert_eq!(answers.overdue("RabbitMQ"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_at_all_is_overdue_after_a_second_and_dead_at_the_limit() {
        let answers = Answers::new();
        sleep(QUIET).await;
        assert!(answers.begin(false));
        let asking = async { assert!(!answers.wait(LIMIT, pending::<()>()).await) };
        let watching = async {
            assert_eq!(answers.overdue("RabbitMQ"), None);
            sleep(3 * QUIET).await;
            assert_eq!(answers.overdue("RabbitMQ").as_deref(), Some("RabbitMQ has not answered for 3 s"));
        };
        tokio::join!(asking, watching);
    }

    #[tokio::test(start_paused = true)]
    async fn who_answers_something_else_meanwhile_lives() {
        let answers = Answers::new();
        sleep(QUIET).await;
        assert!(answers.begin(false));
        let asking = async { assert!(answers.wait(LIMIT, pending::<()>()).await) };
        let working = async {
            sleep(5 * QUIET).await;
            answers.heard();
            assert_eq!(answers.overdue("RabbitMQ"), None);
        };
        tokio::join!(asking, working);
    }
}
