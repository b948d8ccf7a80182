//! What a replica needs beside its connections and does not have now: a queue that it can't consume, a subscription
//! that is not granted, a broker that refuses its commands. Readiness asks for it; nothing else does.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};
use tokio::time::Instant;

/// What is lacking over one connection, each with the reason. Bounded by the few things that a service needs.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    lacking: Mutex<BTreeMap<String, Lack>>,
    /// Whether anything has ever been lacking: where all goes well, nothing is locked.
    ever: AtomicBool,
}

#[derive(Debug)]
struct Lack {
    reason: String,
    /// When it is out of date, if nobody finds out otherwise.
    until: Option<Instant>,
}

impl Needs {
    /// `what` is lacking for `reason` until it is [`met`](Self::met).
    pub(crate) fn lack(&self, what: &str, reason: String) {
        self.insert(what, Lack { reason, until: None });
    }

    /// `what` is lacking until it is met, or nobody has missed it up to `until`: for what only the work itself shows.
    pub(crate) fn lack_until(&self, what: &str, reason: String, until: Instant) {
        self.insert(what, Lack { reason, until: Some(until) });
    }

    fn insert(&self, what: &str, lack: Lack) {
        self.lacking().insert(what.to_owned(), lack);
        self.ever.store(true, Relaxed);
    }

    /// `what` is there.
    pub(crate) fn met(&self, what: &str) {
        if self.ever.load(Relaxed) {
            self.lacking().remove(what);
        }
    }

    /// Why the replica can't work now; `None` if nothing is lacking.
    pub(crate) fn reason(&self) -> Option<String> {
        let now = Instant::now();
        let mut lacking = self.lacking();
        lacking.retain(|_, lack| lack.until.is_none_or(|until| now < until));
        let reasons: Vec<_> = lacking.values().map(|lack| lack.reason.as_str()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    fn lacking(&self) -> MutexGuard<'_, BTreeMap<String, Lack>> {
        self.lacking.lock().expect("no holder of this lock panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn what_is_lacking_is_told_until_it_is_met_or_out_of_date() {
        let needs = Needs::default();
        assert_eq!(needs.reason(), None);
        needs.lack("queue", "no queue".into());
        needs.lack_until("right", "no right".into(), Instant::now() + Duration::from_secs(30));
        assert_eq!(needs.reason().as_deref(), Some("no queue; no right"));
        needs.met("queue");
        assert_eq!(needs.reason().as_deref(), Some("no right"));
        tokio::time::advance(Duration::from_secs(30)).await;
        assert_eq!(needs.reason(), None);
    }
}
