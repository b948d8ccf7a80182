//! What the services report about their work, as it happens.
//!
//! A service calls [`Telemetry::record`] with a typed [`Event`]; what becomes of it is the receiver's business: in
//! production log lines ([`LogTelemetry`]), numbers ([`Metrics`]) and whether the replica is ready ([`Readiness`]),
//! measurements in a bench. Events carry no time of their own: the receiver adds it.

mod log;
mod metrics;
mod readiness;
mod sparse;

pub use log::LogTelemetry;
pub use metrics::Metrics;
pub use readiness::{Readiness, Unready};
pub use sparse::Sparse;

use crate::message::{Mac, RequestId, Status, TaskId};
use std::{fmt, sync::Arc};

/// How a connection is. Asking makes one that is down dial, if it doesn't already.
pub type Ask = Arc<dyn Fn() -> Standing + Send + Sync>;

/// How a connection to a broker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Up,
    /// It is there, but the service can't do its work over it for now; why.
    Stalled(String),
    /// There is none.
    Down,
}

/// Receives the events of one replica.
pub trait Telemetry: Send + Sync + 'static {
    /// Takes note of `event`. Called on the hot path: must not block.
    fn record(&self, event: &Event<'_>);

    /// A service keeps a connection to `broker` from now on.
    fn keeps(&self, _broker: &'static str, _ask: &Ask) {}
}

/// Gives every event to several receivers, one after the other.
pub struct FanOut(pub Vec<Arc<dyn Telemetry>>);

impl Telemetry for FanOut {
    fn record(&self, event: &Event<'_>) {
        self.0.iter().for_each(|receiver| receiver.record(event));
    }

    fn keeps(&self, broker: &'static str, ask: &Ask) {
        self.0.iter().for_each(|receiver| receiver.keeps(broker, ask));
    }
}

/// Something that happened in a service.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// Dispatcher: the broker has confirmed the task.
    TaskDispatched {
        /// The task.
        task: &'a TaskId,
    },
    /// Worker: the task was taken from the queue for its `attempt`th try, counted from 1.
    TaskStarted {
        /// The task.
        task: &'a TaskId,
        /// Which try.
        attempt: u32,
    },
    /// Worker: all labels have confirmed.
    TaskDone {
        /// The task.
        task: &'a TaskId,
        /// Which try succeeded.
        attempt: u32,
        /// How long the calls of this try took: from its first request sent to its last reply received, and with a
        /// reply queue for each call also the time to declare and delete that.
        latency_us: u64,
        /// How long ago the task was published, or as far as that is not known, first tried: retries and waiting
        /// included.
        age_us: u64,
    },
    /// Worker: the try failed; the task waits for the next one.
    TaskRetried {
        /// The task.
        task: &'a TaskId,
        /// Which try failed.
        attempt: u32,
        /// Why.
        reason: FailReason,
        /// As in [`Event::TaskDone`], up to the failure.
        latency_us: u64,
        /// For people: which label, and what was said of it; what is wrong with a malformed task.
        detail: &'a str,
    },
    /// Worker: the task was given up and put into the dead-letter queue.
    TaskDeadLettered {
        /// The task; `None` if it was too malformed to have a name.
        task: Option<&'a TaskId>,
        /// Which try was the last.
        attempt: u32,
        /// Why.
        reason: FailReason,
        /// As in [`Event::TaskDone`], up to the failure.
        latency_us: u64,
        /// As in [`Event::TaskRetried`].
        detail: &'a str,
    },
    /// Worker: a request is on its way to the routers.
    RequestSent {
        /// The request.
        request: RequestId,
        /// Its label.
        esl: Mac,
        /// Its task.
        task: &'a TaskId,
    },
    /// Worker: the answer to a request of its own came in time.
    ReplyReceived {
        /// The request.
        request: RequestId,
        /// What the answer said.
        status: Status,
    },
    /// Worker: nobody answered in time.
    RequestTimedOut {
        /// The request.
        request: RequestId,
    },
    /// Worker: the request could not be sent, or its reply can't come any more.
    RequestFailed {
        /// The request.
        request: RequestId,
        /// Why.
        reason: FailReason,
    },
    /// Forward or HTTP router: a request came in.
    RequestTaken {
        /// The request.
        request: RequestId,
    },
    /// Forward or HTTP router: the broker has taken over the request for `gateway`.
    RequestForwarded {
        /// The request.
        request: RequestId,
        /// Where it went.
        gateway: Mac,
    },
    /// Backward router: the reply is in its caller's queue. HTTP router: it is on its way to its caller.
    ReplyReturned {
        /// The request.
        request: RequestId,
    },
    /// Backward or HTTP router: the routes of a report are in the table.
    RoutesStored {
        /// Whose report.
        gateway: Mac,
        /// How many labels.
        labels: usize,
    },
    /// Any router: a gateway's message has parts that we don't know, or that make no sense. The rest of it counts.
    LeftOut {
        /// Whose message; `None` if its topic doesn't say.
        gateway: Option<Mac>,
        /// How many parts: fields and readings.
        parts: usize,
        /// The first of them, for people.
        example: &'a str,
    },
    /// Backward or HTTP router: a report's time shows that its gateway's clock is wrong, or, after that, right again.
    /// The report counts, by the router's own clock.
    ClockOff {
        /// Whose clock.
        gateway: Mac,
        /// How far it is ahead of the router's, in milliseconds; negative: behind.
        ahead_ms: i64,
    },
    /// Any service: a message was dropped for good, or handed back to its broker.
    Dropped {
        /// What and why.
        reason: DropReason,
        /// For people: what was wrong with it; may be empty.
        detail: &'a str,
    },
    /// Any router: the store holds something that this crate has not written. It is treated as missing.
    CorruptValue {
        /// Where.
        key: &'a str,
        /// The first characters of it.
        value: &'a str,
    },
    /// Any adapter: a broker answered, but refused what was asked for.
    Refused {
        /// `amqp`, `mqtt` or `redis`.
        broker: &'static str,
        /// What its answer is called, from a set that is fixed for each broker: `moved`, `not_authorized`.
        reason: &'static str,
        /// For people: what was tried, and the broker's words.
        detail: &'a str,
    },
    /// Any service: a queue that it needs was gone when a message was published to it. All that it needs was declared
    /// again.
    QueueMissing {
        /// Which.
        queue: &'a str,
    },
    /// Any service: spans of requests that the collector of traces will not see.
    SpansDropped {
        /// How many.
        spans: u64,
        /// For people: why.
        detail: &'a str,
    },
    /// Any adapter: a connection was lost or could not be made; the adapter tries again.
    Disconnected {
        /// `amqp`, `mqtt`, `redis`, or `router` for an HTTP router.
        broker: &'static str,
        /// For people.
        reason: &'a str,
    },
    /// Any adapter but the one to HTTP routers, which may make a connection for each request: a connection is up.
    Connected {
        /// `amqp`, `mqtt` or `redis`.
        broker: &'static str,
    },
}

/// Why a task's try failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailReason {
    /// No reply before the deadline.
    Timeout,
    /// A reply said no.
    Refused(Status),
    /// The request could not be handed to the broker or the router, or the connection was lost meanwhile.
    BrokerUnavailable,
    /// The router had too many requests in work.
    Overloaded,
    /// The task does not parse.
    Malformed,
    /// The worker was lost, or its connection was, before it could say how the try went.
    Interrupted,
    /// The task's time was over.
    Expired,
    /// The worker's handler said no.
    Handler,
}

impl FailReason {
    /// Whether another try would end in the same way.
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Malformed | Self::Expired | Self::Refused(Status::TooLarge))
    }

    /// Its name in metrics and in the headers of dead letters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Refused(Status::NoRoute) => "no_route",
            Self::Refused(Status::GatewayOffline) => "gateway_offline",
            Self::Refused(Status::TooLarge) => "too_large",
            Self::Refused(Status::BrokerRefused) => "broker_refused",
            Self::Refused(Status::Done | Status::Superseded | Status::Failed) => "refused_by_gateway",
            Self::BrokerUnavailable | Self::Refused(Status::BrokerUnavailable) => "broker_unavailable",
            Self::Overloaded => "overloaded",
            Self::Malformed => "malformed",
            Self::Interrupted => "interrupted",
            Self::Expired => "expired",
            Self::Handler => "handler",
        }
    }
}

impl fmt::Display for FailReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a message was dropped or handed back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DropReason {
    /// Does not parse or breaks a size limit.
    Malformed,
    /// Its deadline has passed.
    Expired,
    /// A reply whose request nobody waits for any more: late, or a duplicate.
    ReplyNotAwaited,
    /// A reply that reached a caller which never sent its request.
    ReplyMisrouted,
    /// A reply that the broker gave to an HTTP router which does not wait for it; whoever does will not get it.
    ReplyMisdelivered,
    /// A reply that all HTTP routers get, at one that does not wait for it.
    ReplyOfOther,
    /// A reply for which the store knows no caller.
    CallerUnknown,
    /// A reply whose caller's queue is gone.
    CallerGone,
    /// Could not be handed on now; its broker will deliver it again.
    HandedBack,
    /// Could not be handed on, and its broker, told not to wait for an acknowledgement, has it no more.
    Lost,
}

impl DropReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::Expired,
        Self::ReplyNotAwaited,
        Self::ReplyMisrouted,
        Self::ReplyMisdelivered,
        Self::ReplyOfOther,
        Self::CallerUnknown,
        Self::CallerGone,
        Self::HandedBack,
        Self::Lost,
    ];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Expired => "expired",
            Self::ReplyNotAwaited => "reply_not_awaited",
            Self::ReplyMisrouted => "reply_misrouted",
            Self::ReplyMisdelivered => "reply_misdelivered",
            Self::ReplyOfOther => "reply_of_other",
            Self::CallerUnknown => "caller_unknown",
            Self::CallerGone => "caller_gone",
            Self::HandedBack => "handed_back",
            Self::Lost => "lost",
        }
    }

    /// Whether something went wrong that ought not to, rather than late.
    fn is_fault(self) -> bool {
        matches!(self, Self::Malformed | Self::ReplyMisrouted | Self::ReplyMisdelivered | Self::Lost)
    }
}

/// Why a message is dropped, with what was wrong with it: what becomes an [`Event::Dropped`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) reason: DropReason,
    pub(crate) detail: String,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.detail.as_str() {
            "" => f.write_str(self.reason.name()),
            detail => write!(f, "{}: {detail}", self.reason.name()),
        }
    }
}

/// Longest text that others have a say in, in characters, in a log line or a header.
const DETAIL_CHARS_MAX: usize = 300;

/// `detail`, cut where it gets too long for people. Names and values of others may be in it, as long as they like.
pub(crate) fn bounded(detail: &dyn fmt::Display) -> String {
    let mut text = detail.to_string();
    if let Some((end, _)) = text.char_indices().nth(DETAIL_CHARS_MAX) {
        let left_out_bytes = text.len() - end;
        text.truncate(end);
        text += &format!("... ({left_out_bytes} bytes more)");
    }
    text
}

impl Dropped {
    /// A message that does not parse.
    pub(crate) fn malformed(detail: impl fmt::Display) -> Self {
        Self { reason: DropReason::Malformed, detail: bounded(&detail) }
    }

    pub(crate) fn event(&self) -> Event<'_> {
        Event::Dropped { reason: self.reason, detail: &self.detail }
    }
}

impl From<DropReason> for Dropped {
    fn from(reason: DropReason) -> Self {
        Self { reason, detail: String::new() }
    }
}
