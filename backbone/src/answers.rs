//! Whether a broker still answers over a connection over which nothing comes.
//!
//! A machine that goes without a last word leaves connections behind that look well until something is sent over them.
//! Heartbeats find that out within a minute; until then a service without work would say that it is ready, and its
//! first message would pay for it. So whoever asks for readiness has a broker asked that has been silent for a while.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// An answer that is no older than this will do, as a rule. Who asks for readiness may do so every second, and a
/// service that starts with little CPU has other things to do than to ask brokers as often.
pub(crate) const QUIET: Duration = Duration::from_secs(5);
/// A healthy broker answers a question within this.
const OVERDUE: Duration = Duration::from_secs(1);

/// When a broker answered last over one connection, and whether it is being asked.
#[derive(Debug)]
pub(crate) struct Answers {
    quiet: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    heard: Instant,
    asked: Option<Instant>,
}

/// Has to be put to the broker now.
#[derive(Debug)]
#[must_use]
pub(crate) struct Question(Instant);

impl Answers {
    /// Of a connection that has just been made. An answer that is no older than `quiet` will do.
    pub(crate) fn new(quiet: Duration) -> Self {
        Self { quiet, state: Mutex::new(State { heard: Instant::now(), asked: None }) }
    }

    /// The broker has answered something.
    pub(crate) fn heard(&self) {
        self.state().heard = Instant::now();
    }

    /// There is a new connection; what was asked over an earlier one is of no interest any more.
    pub(crate) fn connected(&self) {
        *self.state() = State { heard: Instant::now(), asked: None };
    }

    /// A question, if nothing has come lately, or `is_wanted` anyway, and nobody asks. The caller has to ask it, with
    /// [`Answers::wait`].
    pub(crate) fn question(&self, is_wanted: bool) -> Option<Question> {
        let mut state = self.state();
        let now = Instant::now();
        let is_due = state.asked.is_none() && (is_wanted || now - state.heard >= self.quiet);
        is_due.then(|| Question(*state.asked.insert(now)))
    }

    /// Waits for `question`'s `answer` until `limit`. False if the broker has said nothing at all in that time.
    pub(crate) async fn wait<T>(&self, question: Question, limit: Duration, answer: impl Future<Output = T>) -> bool {
        let is_answered = timeout(limit, answer).await.is_ok();
        let mut state = self.state();
        if state.asked == Some(question.0) {
            state.asked = None;
            if is_answered {
                state.heard = Instant::now();
            }
        }
        is_answered || state.heard > question.0
    }

    /// What there is to say if `broker` has owed the answer to a question, and said nothing else, for longer than a
    /// healthy one does.
    pub(crate) fn overdue(&self, broker: &str) -> Option<String> {
        let state = self.state();
        let silent = state.asked?.max(state.heard).elapsed();
        (silent >= OVERDUE).then(|| format!("{broker} has not answered for {} s", silent.as_secs()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
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
        let answers = Answers::new(QUIET);
        assert!(answers.question(false).is_none());
        sleep(QUIET).await;
        answers.heard();
        assert!(answers.question(false).is_none());
        sleep(QUIET).await;
        let question = answers.question(false).unwrap();
        assert!(answers.question(true).is_none(), "one at a time");
        assert!(answers.wait(question, LIMIT, ready(())).await);
        assert!(answers.question(false).is_none());
        assert!(answers.question(true).is_some());
        assert_eq!(answers.overdue("RabbitMQ"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_at_all_is_overdue_after_a_second_and_dead_at_the_limit() {
        let answers = Answers::new(QUIET);
        let question = answers.question(true).unwrap();
        let asking = async { assert!(!answers.wait(question, LIMIT, pending::<()>()).await) };
        let watching = async {
            assert_eq!(answers.overdue("RabbitMQ"), None);
            sleep(3 * OVERDUE).await;
            assert_eq!(answers.overdue("RabbitMQ").as_deref(), Some("RabbitMQ has not answered for 3 s"));
        };
        tokio::join!(asking, watching);
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_something_else_meanwhile_lives() {
        let answers = Answers::new(QUIET);
        let question = answers.question(true).unwrap();
        let asking = async { assert!(answers.wait(question, LIMIT, pending::<()>()).await) };
        let working = async {
            sleep(5 * OVERDUE).await;
            answers.heard();
            assert_eq!(answers.overdue("RabbitMQ"), None);
        };
        tokio::join!(asking, working);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_asked_over_an_earlier_connection_is_forgotten() {
        let answers = Answers::new(QUIET);
        let earlier = answers.question(true).unwrap();
        sleep(QUIET).await;
        answers.connected();
        sleep(QUIET).await;
        assert_eq!(answers.overdue("RabbitMQ"), None);
        let question = answers.question(false).unwrap();
        assert!(answers.wait(earlier, LIMIT, pending::<()>()).await, "the next connection is none of its business");
        assert!(answers.overdue("RabbitMQ").is_some(), "the other question is open still");
        assert!(!answers.wait(question, LIMIT, pending::<()>()).await);
    }
}
