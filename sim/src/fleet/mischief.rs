//! What a gateway does wrong, for a while: replies that come twice, late, for somebody else or in no language, reports
//! that stop, labels that fail.

use backbone::message::{Mac, Message as _, REPLY_BYTES_MAX, Reply, RequestId, Status};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Another request's id: the same but for its first digit.
fn other(id: RequestId) -> RequestId {
    let text = id.to_string();
    let first = if text.starts_with('0') { '1' } else { '0' };
    format!("{first}{}", &text[1..]).parse().expect("32 hexadecimal digits")
}

/// A kind of misbehaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mischief {
    /// Each reply is sent twice.
    ReplyTwice,
    /// Each reply is sent so much later, in milliseconds; the gateway waits with it.
    ReplyLate {
        /// How much.
        by_ms: u64,
    },
    /// Before each reply comes one to a request that nobody sent, for the same label.
    ReplyToNobody,
    /// Before each reply comes one that says that another label has done it.
    ReplyForOther,
    /// Before each reply come bytes that are none.
    ReplyMalformed,
    /// Before each reply comes one that is larger than anybody takes.
    ReplyOversized,
    /// What it hears is reported no more.
    NoReports,
    /// Its labels answer nothing; the gateway says so.
    LabelsFail,
}

/// What a gateway does wrong at a moment. Cheap to clone; all clones are the same gateway's.
#[derive(Clone, Debug, Default)]
pub struct Mischiefs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is any: looked at before each reply.
    some: AtomicBool,
    active: Mutex<Active>,
}

#[derive(Debug, Default)]
struct Active {
    begun: u64,
    /// By number, with how often it was done.
    by_number: BTreeMap<u64, (Mischief, u64)>,
}

impl Mischiefs {
    fn active(&self) -> MutexGuard<'_, Active> {
        self.0.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on it does this, too. Returns the number by which it ends.
    #[must_use]
    pub fn begin(&self, mischief: Mischief) -> u64 {
        let mut active = self.active();
        active.begun += 1;
        let number = active.begun;
        active.by_number.insert(number, (mischief, 0));
        self.0.some.store(true, Ordering::Relaxed);
        number
    }

    /// It behaves again, as far as this number goes. Returns how often it did not.
    pub fn end(&self, number: u64) -> u64 {
        let mut active = self.active();
        let done = active.by_number.remove(&number).map_or(0, |(_, done)| done);
        self.0.some.store(!active.by_number.is_empty(), Ordering::Relaxed);
        done
    }

    /// All that is done now and that `is_meant`, each counted.
    fn take(&self, is_meant: impl Fn(Mischief) -> bool) -> Vec<Mischief> {
        if !self.0.some.load(Ordering::Relaxed) {
            return Vec::new();
        }
        let mut active = self.active();
        let meant = active.by_number.values_mut().filter(|(mischief, _)| is_meant(*mischief));
        meant
            .map(|(mischief, done)| {
                *done += 1;
                *mischief
            })
            .collect()
    }

    /// Whether labels fail, asked for each command.
    pub(super) fn label_fails(&self) -> bool {
        !self.take(|mischief| mischief == Mischief::LabelsFail).is_empty()
    }

    /// Whether a report is left out, asked for each.
    pub(super) fn leaves_report_out(&self) -> bool {
        !self.take(|mischief| mischief == Mischief::NoReports).is_empty()
    }

    /// What is published in place of `reply`, and after what time. A gateway that behaves publishes just that.
    pub(super) fn disturb(&self, reply: &Reply) -> (Duration, Vec<Vec<u8>>) {
        let mut late = Duration::ZERO;
        let mut copies = 1;
        let mut published = Vec::new();
        for mischief in self.take(|mischief| !matches!(mischief, Mischief::LabelsFail | Mischief::NoReports)) {
            match mischief {
                Mischief::ReplyTwice => copies += 1,
                Mischief::ReplyLate { by_ms } => late += Duration::from_millis(by_ms),
                Mischief::ReplyToNobody => {
                    let request_id = reply.request_id.map(other);
                    published.push(Reply { request_id, ..reply.clone() }.to_bytes());
                }
                Mischief::ReplyForOther => {
                    let esl_mac = Mac::new(reply.esl_mac.value() ^ 1);
                    published.push(Reply { esl_mac, status: Status::Done, detail: None, ..reply.clone() }.to_bytes());
                }
                Mischief::ReplyMalformed => published.push(b"{\"esl_mac\":12".to_vec()),
                Mischief::ReplyOversized => {
                    let detail = Some("x".repeat(REPLY_BYTES_MAX));
                    published.push(Reply { detail, ..reply.clone() }.to_bytes());
                }
                Mischief::LabelsFail | Mischief::NoReports => {}
            }
        }
        published.extend(std::iter::repeat_n(reply.to_bytes(), copies));
        (late, published)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_that_behaves_publishes_its_reply_alone() {
        let reply = Reply {
            request_id: Some("0f".repeat(16).parse().unwrap()),
            esl_mac: Mac::new(2),
            status: Status::Done,
            detail: None,
        };
        let mischiefs = Mischiefs::default();
        assert_eq!(mischiefs.disturb(&reply), (Duration::ZERO, vec![reply.to_bytes()]));
        let [twice, late] = [Mischief::ReplyTwice, Mischief::ReplyLate { by_ms: 5 }].map(|what| mischiefs.begin(what));
        let fails = mischiefs.begin(Mischief::LabelsFail);
        let (after, published) = mischiefs.disturb(&reply);
        assert_eq!((after, published), (Duration::from_millis(5), vec![reply.to_bytes(); 2]));
        assert!(mischiefs.label_fails() && !mischiefs.leaves_report_out());
        assert_eq!([twice, late, fails].map(|number| mischiefs.end(number)), [1, 1, 1]);
        assert_eq!(mischiefs.disturb(&reply).1.len(), 1);
    }

    #[test]
    fn what_comes_before_a_reply_is_not_that_reply() {
        let reply = Reply {
            request_id: Some("0f".repeat(16).parse().unwrap()),
            esl_mac: Mac::new(2),
            status: Status::Done,
            detail: None,
        };
        for mischief in
            [Mischief::ReplyToNobody, Mischief::ReplyForOther, Mischief::ReplyMalformed, Mischief::ReplyOversized]
        {
            let mischiefs = Mischiefs::default();
            let _ = mischiefs.begin(mischief);
            let (_, published) = mischiefs.disturb(&reply);
            assert_eq!(published.len(), 2, "{mischief:?}");
            let first = Reply::parse(&published[0]);
            assert!(first.is_err() || first.as_ref().is_ok_and(|first| *first != reply), "{mischief:?}: {first:?}");
            assert_eq!(published[1], reply.to_bytes());
        }
    }
}
