//! Whether RabbitMQ still answers over a connection that nobody uses at present.
//!
//! A machine that went without a last word answers nothing, and lapin notices that after two and a half times the
//! heartbeat. Until then a router without work would say it is ready, and whoever used it next would wait in vain. So
//! whoever asks for readiness has RabbitMQ asked, too.

use super::{AmqpDialer, OpenConnection};
use lapin::options::ConfirmSelectOptions;
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// An answer that is no older than this will do, and a question that is open for longer is told.
const QUIET: Duration = Duration::from_secs(1);
/// How long an answer is waited for, as for a confirm. Then the connection is given up.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);

/// What was asked last, and answered.
#[derive(Debug)]
pub(super) struct Answers(Mutex<Last>);

#[derive(Clone, Copy, Debug)]
enum Last {
    Answered(Instant),
    Asked(Instant),
}

impl Answers {
    /// RabbitMQ has answered just now.
    pub(super) fn begin() -> Self {
        Self(Mutex::new(Last::Answered(Instant::now())))
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl AmqpDialer {
    /// Asks RabbitMQ over `link`, if it has not answered lately. Returns what is to be told if an answer is overdue.
    pub(super) fn ask(&self, link: &OpenConnection) -> Option<String> {
        let mut last = link.answers.last();
        match *last {
            Last::Asked(since) if since.elapsed() >= QUIET => {
                return Some(format!("RabbitMQ has not answered for {} s", since.elapsed().as_secs()));
            }
            Last::Answered(since) if since.elapsed() >= QUIET => *last = Last::Asked(Instant::now()),
            Last::Asked(_) | Last::Answered(_) => return None,
        }
        drop(last);
        let link = link.clone();
        self.env.spawn("amqp question", async move {
            // Changes nothing, since it is so already, and needs no right.
            let answer = link.channel.confirm_select(ConfirmSelectOptions::default());
            match timeout(ANSWER_LIMIT, answer).await {
                Ok(Ok(())) => *link.answers.last() = Last::Answered(Instant::now()),
                // The channel or the connection has ended, which is known by that.
                Ok(Err(_)) => {}
                // RabbitMQ reads nothing from whom it blocks.
                Err(_) if link.connection.status().blocked() => *link.answers.last() = Last::Answered(Instant::now()),
                Err(_) => {
                    link.given_up.cancel();
                    link.close().await;
                }
            }
        });
        None
    }
}
