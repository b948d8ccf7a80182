//! What a task may have waited for: the one place where each cause has its name and its meaning.

use crate::spec::FaultKind;

/// Why time has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The producer had the task, and the dispatcher had no room or no connection for it.
    Dispatcher,
    /// It lay in the task queue while all workers had work.
    TaskQueue,
    /// It lay in a queue until a consumer came that had not been there before.
    ConsumerNotThere,
    /// It waited for its next try, as long as `retry_delay_ms` says.
    RetryDelay,
    /// It, or a request of it, was in hands that did not finish: it came back to its queue.
    HandedBack,
    /// A request of it was waited for until its time was over, or it failed.
    NoReply,
    /// A request lay in its queue while all forward routers had work.
    RequestQueue,
    /// A reply or a result lay in its queue while its receiver had work.
    ReplyQueue,
    /// RabbitMQ's metadata store began and ended queues of others first.
    MetadataQueue,
    /// RabbitMQ's metadata store began or ended a queue of its own.
    Metadata,
    /// A router had as much work as it takes on at a time.
    RouterBusy,
    /// The MQTT broker had as much under way to the receiver as its window allows.
    Window,
    /// The gateway worked on commands that had come before.
    GatewayQueue,
    /// The gateway's processor worked on the command.
    GatewayCpu,
    /// The radio: waiting for it, for the label to wake up, and the exchange with it.
    Radio,
    /// A broker's CPU worked.
    BrokerCpu,
    /// A service's CPU worked.
    ServiceCpu,
    /// A pod's threads, or the cores that it shares with others, worked on something else.
    CpuBusy,
    /// A pod had used up its CPU quota.
    Throttled,
    /// From a packet's arrival in the kernel to its process's waking.
    WakeUp,
    /// The way from host to host.
    Link,
    /// A connection was opened.
    Connecting,
    /// Nagle's algorithm held a segment back until an acknowledgement came that was on its way, or due with data.
    Nagle,
    /// Nagle's algorithm held a segment back, and the receiver's kernel delayed the acknowledgement that it waited for.
    DelayedAck,
    /// A segment was lost, and came back after a timeout; or one before it.
    Retransmission,
    /// It had arrived, and its receiver's process did not read it yet.
    Unread,
    /// A service waited by its own choice: a pause before another try, a timer.
    Pause,
    /// Something was broken.
    Fault(FaultKind),
    /// Nobody knows. Must not be.
    Unexplained,
}

impl Cause {
    /// All but faults, in the order in which a task meets them.
    pub const PLAIN: [Self; 28] = [
        Self::Dispatcher,
        Self::TaskQueue,
        Self::ConsumerNotThere,
        Self::RetryDelay,
        Self::HandedBack,
        Self::NoReply,
        Self::RequestQueue,
        Self::ReplyQueue,
        Self::MetadataQueue,
        Self::Metadata,
        Self::RouterBusy,
        Self::Window,
        Self::GatewayQueue,
        Self::GatewayCpu,
        Self::Radio,
        Self::BrokerCpu,
        Self::ServiceCpu,
        Self::CpuBusy,
        Self::Throttled,
        Self::WakeUp,
        Self::Link,
        Self::Connecting,
        Self::Nagle,
        Self::DelayedAck,
        Self::Retransmission,
        Self::Unread,
        Self::Pause,
        Self::Unexplained,
    ];

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        Self::PLAIN.into_iter().chain(FaultKind::ALL.map(Self::Fault))
    }

    /// Its place among all.
    #[must_use]
    pub fn place(self) -> usize {
        Self::all().position(|cause| cause == self).expect("all are all")
    }

    /// The one with this key.
    #[must_use]
    pub fn with_key(key: &str) -> Option<Self> {
        Self::all().find(|cause| cause.key() == key)
    }

    /// What people read.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher has no room",
            Self::TaskQueue => "task queue, workers busy",
            Self::ConsumerNotThere => "in a queue, consumer not there yet",
            Self::RetryDelay => "retry delay",
            Self::HandedBack => "handed back, or its holder died",
            Self::NoReply => "waiting for a reply that did not come",
            Self::RequestQueue => "request queue, routers busy",
            Self::ReplyQueue => "queue of replies and results",
            Self::MetadataQueue => "RabbitMQ begins and ends queues of others",
            Self::Metadata => "RabbitMQ begins and ends queues",
            Self::RouterBusy => "router's limit of work at a time",
            Self::Window => "MQTT window full",
            Self::GatewayQueue => "gateway's queue",
            Self::GatewayCpu => "gateway's CPU",
            Self::Radio => "radio",
            Self::BrokerCpu => "brokers' CPU",
            Self::ServiceCpu => "services' CPU",
            Self::CpuBusy => "waiting for a thread or a core",
            Self::Throttled => "CPU quota used up",
            Self::WakeUp => "wake-ups",
            Self::Link => "links",
            Self::Connecting => "opening connections",
            Self::Nagle => "Nagle's algorithm",
            Self::DelayedAck => "Nagle's algorithm and a delayed ACK",
            Self::Retransmission => "lost segments",
            Self::Unread => "unread in the receiver's socket",
            Self::Pause => "services' own pauses",
            Self::Fault(kind) => kind.cause_in_words(),
            Self::Unexplained => "unexplained",
        }
    }

    /// What programs read.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Dispatcher => "dispatcher",
            Self::TaskQueue => "task_queue",
            Self::ConsumerNotThere => "consumer_not_there",
            Self::RetryDelay => "retry_delay",
            Self::HandedBack => "handed_back",
            Self::NoReply => "no_reply",
            Self::RequestQueue => "request_queue",
            Self::ReplyQueue => "reply_queue",
            Self::MetadataQueue => "metadata_queue",
            Self::Metadata => "metadata",
            Self::RouterBusy => "router_busy",
            Self::Window => "mqtt_window",
            Self::GatewayQueue => "gateway_queue",
            Self::GatewayCpu => "gateway_cpu",
            Self::Radio => "radio",
            Self::BrokerCpu => "broker_cpu",
            Self::ServiceCpu => "service_cpu",
            Self::CpuBusy => "cpu_busy",
            Self::Throttled => "throttled",
            Self::WakeUp => "wake_up",
            Self::Link => "link",
            Self::Connecting => "connecting",
            Self::Nagle => "nagle",
            Self::DelayedAck => "delayed_ack",
            Self::Retransmission => "retransmission",
            Self::Unread => "unread",
            Self::Pause => "pause",
            Self::Fault(kind) => kind.cause(),
            Self::Unexplained => "unexplained",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_stands_once_and_has_names_of_its_own() {
        let names: BTreeSet<&str> = Cause::all().map(Cause::name).collect();
        let keys: BTreeSet<&str> = Cause::all().map(Cause::key).collect();
        let all = Cause::all().count();
        assert_eq!((names.len(), keys.len()), (all, all));
        assert!(Cause::all().all(|cause| Cause::with_key(cause.key()) == Some(cause)));
    }
}
