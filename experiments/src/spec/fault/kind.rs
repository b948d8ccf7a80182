//! Kinds of faults: to whom they happen, how strong they are, and whether they have an end.

use super::Part;
use crate::spec::Pod;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a fault's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It dies and its peers see resets; afterwards a new incarnation starts.
    Crash,
    /// It dies without a last word: its peers see silence, for as long as they wait. Afterwards as after a crash.
    PowerOff,
    /// It is asked to stop, as by SIGTERM, and started again afterwards. A broker or a gateway crashes instead.
    Restart,
    /// Of all of a kind: one after the other is asked to stop, is away for the fault's time, and has as long before the
    /// next one.
    RollingRestart,
    /// Of all of a kind: all but the first are asked to stop, and started again afterwards.
    ScaleToOne,
    /// Its processes stand still, as by SIGSTOP, while its kernel goes on to take what comes.
    Freeze,
    /// Its processes stand still for so many percent of each 100 ms, as under a CPU quota.
    Slow,
    /// Its packets go nowhere and its peers see silence; the process lives on.
    Cut,
    /// It hears nothing any more, and is heard.
    Deafen,
    /// What is sent to it and by it arrives at the fault's end, all at once.
    Hold,
    /// So many percent of its segments are lost.
    Loss,
    /// Its segments take so many ms longer.
    Delay,
    /// Its wall clock is ahead by so many ms, or behind.
    ClockStep,
    /// Its wall clock runs faster by so many millionths, or slower.
    ClockDrift,
    /// RabbitMQ lacks memory: it reads nothing more from connections that publish.
    MemoryAlarm,
    /// RabbitMQ confirms nothing until the fault's end, while it takes what is published.
    HoldConfirms,
    /// RabbitMQ ends all consumers of shared queues, as when these move to another node.
    CancelConsumers,
    /// RabbitMQ has waited too long for acknowledgements: it closes the channels that owe any, and takes back what was
    /// delivered on them.
    TakeBack,
    /// RabbitMQ's connections are closed by an operator.
    CloseConnections,
    /// RabbitMQ's queue of requests is deleted, with what is in it.
    DeleteRequests,
    /// Redis has no memory left: it refuses what would take more.
    OutOfMemory,
    /// Redis is a replica for a while: it refuses writes.
    ReadOnly,
    /// A replica that has heard nothing since the fault's begin takes the place of Redis at its end: what was written
    /// meanwhile is lost.
    Failover,
    /// Redis loses so many percent of its keys, of those that expire.
    Evict,
    /// The MQTT broker sends a gateway away, or, as its own fault, all clients.
    Kick,
    /// Somebody else connects to the MQTT broker with a gateway's id, or, as the broker's fault, with everybody's, one
    /// after the other, and goes: their sessions are lost.
    TakeOver,
    /// The MQTT broker sends each message twice.
    RepeatMessages,
    /// The MQTT broker retains commands, so that gateways get them again whenever they subscribe.
    RetainCommands,
    /// Each reply of a gateway comes twice.
    ReplyTwice,
    /// Each reply of a gateway comes so many ms later.
    ReplyLate,
    /// Before each reply of a gateway comes one to a request that nobody sent.
    ReplyToNobody,
    /// Before each reply of a gateway comes one that says that another label has done it.
    ReplyForOther,
    /// Before each reply of a gateway comes one that can't be read.
    ReplyMalformed,
    /// Before each reply of a gateway comes one that is larger than replies may be.
    ReplyOversized,
    /// A gateway reports nothing of what it hears.
    NoReports,
    /// No label answers a gateway, which says so.
    LabelsFail,
    /// Of all of a kind: one after the other is asked to stop, and a new version of it takes its place at once; the
    /// next one's turn comes after the fault's time. A new version is configured differently: workers have the other
    /// kind of reply queue, forward routers acknowledge at the other moment, backward and HTTP routers are in another
    /// group. What is rolled out twice is as it was.
    Rollout,
}

/// To whom faults of a kind can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To everybody.
    Any,
    /// To all task workers, or all routers of a kind.
    Replicas,
    /// To RabbitMQ.
    Amqp,
    /// To a Redis.
    Redis,
    /// To the MQTT broker.
    Mqtt,
    /// To the MQTT broker, which does it to all its clients, or to gateways.
    MqttClients,
    /// To gateways.
    Gateways,
}

impl Scope {
    /// Whether this part is in it.
    #[must_use]
    pub fn has(self, part: Part) -> bool {
        match (self, part) {
            (Self::Any, _)
            | (Self::Replicas, Part::All(Pod::TaskWorker(_) | Pod::Router(..)))
            | (Self::Amqp, Part::One(Pod::Amqp))
            | (Self::Mqtt | Self::MqttClients, Part::One(Pod::Mqtt)) => true,
            (Self::Redis, _) => matches!(part.example(), Pod::Redis | Pod::RedisShard(_)),
            (Self::MqttClients | Self::Gateways, _) => matches!(part.example(), Pod::Gateway(_)),
            _ => false,
        }
    }
}

/// Its targets as a spec names them.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Any => "any part",
            Self::Replicas => "`task_worker-*`, `fwd_router-*` and the like",
            Self::Amqp => "`amqp`",
            Self::Redis => "`redis`, `redis_shard-N`",
            Self::Mqtt => "`mqtt`",
            Self::MqttClients => "`mqtt`, `gateway-N`",
            Self::Gateways => "`gateway-N`",
        })
    }
}

/// What a fault's strength means, and the least and the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strength {
    /// Its unit.
    pub unit: &'static str,
    /// The least.
    pub min: i64,
    /// The largest.
    pub max: i64,
}

const PERCENT: Strength = Strength { unit: "percent", min: 1, max: 100 };
const MOST_PERCENT: Strength = Strength { max: 99, ..PERCENT };
const LATER_MS: Strength = Strength { unit: "ms", min: 1, max: 60_000 };
/// A day either way.
const CLOCK_MS: Strength = Strength { unit: "ms", min: -86_400_000, max: 86_400_000 };
/// What clocks do at worst is some hundred; a tenth is a broken one.
const CLOCK_PPM: Strength = Strength { unit: "millionths", min: -100_000, max: 100_000 };

impl FaultKind {
    /// What its strength means; `None`: it has none.
    #[must_use]
    pub fn strength(self) -> Option<Strength> {
        match self {
            Self::Slow => Some(MOST_PERCENT),
            Self::Loss | Self::Evict => Some(PERCENT),
            Self::Delay | Self::ReplyLate => Some(LATER_MS),
            Self::ClockStep => Some(CLOCK_MS),
            Self::ClockDrift => Some(CLOCK_PPM),
            _ => None,
        }
    }

    /// Whether it may hit what lies between its target and one other part (`from`).
    #[must_use]
    pub fn may_be_between_two(self) -> bool {
        matches!(self, Self::Cut | Self::Deafen | Self::Hold | Self::Loss | Self::Delay)
    }

    /// Whether it is nothing without an end.
    #[must_use]
    pub fn needs_end(self) -> bool {
        match self {
            Self::RollingRestart | Self::Rollout | Self::Slow | Self::Hold => true,
            // What these hit is known at their end.
            _ => self.scope() != Scope::Any && !self.is_instant() && self != Self::ScaleToOne,
        }
    }

    /// Whether it is over as soon as it has happened, so that it has no length.
    #[must_use]
    pub fn is_instant(self) -> bool {
        matches!(
            self,
            Self::CancelConsumers
                | Self::TakeBack
                | Self::CloseConnections
                | Self::DeleteRequests
                | Self::Evict
                | Self::Kick
                | Self::TakeOver
        )
    }

    /// To whom it can happen.
    #[must_use]
    pub fn scope(self) -> Scope {
        match self {
            Self::Crash
            | Self::PowerOff
            | Self::Restart
            | Self::Freeze
            | Self::Slow
            | Self::Cut
            | Self::Deafen
            | Self::Hold
            | Self::Loss
            | Self::Delay
            | Self::ClockStep
            | Self::ClockDrift => Scope::Any,
            Self::RollingRestart | Self::Rollout | Self::ScaleToOne => Scope::Replicas,
            Self::MemoryAlarm
            | Self::HoldConfirms
            | Self::CancelConsumers
            | Self::TakeBack
            | Self::CloseConnections
            | Self::DeleteRequests => Scope::Amqp,
            Self::OutOfMemory | Self::ReadOnly | Self::Failover | Self::Evict => Scope::Redis,
            Self::RepeatMessages | Self::RetainCommands => Scope::Mqtt,
            Self::Kick | Self::TakeOver => Scope::MqttClients,
            Self::ReplyTwice
            | Self::ReplyLate
            | Self::ReplyToNobody
            | Self::ReplyForOther
            | Self::ReplyMalformed
            | Self::ReplyOversized
            | Self::NoReports
            | Self::LabelsFail => Scope::Gateways,
        }
    }

    /// Whether the processes that it hits end, and so come back on new hosts.
    pub(in crate::spec) fn ends_processes(self) -> bool {
        matches!(
            self,
            Self::Crash | Self::PowerOff | Self::Restart | Self::RollingRestart | Self::Rollout | Self::ScaleToOne
        )
    }
}

/// Gives each kind its word.
macro_rules! words {
    ($($kind:ident $word:literal)+) => {
        impl FaultKind {
            /// All kinds.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$kind),+];

            /// As a spec has it.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self { $(Self::$kind => $word,)+ }
            }

            /// The cause of who waits for its sake, as programs read it.
            #[must_use]
            pub fn cause(self) -> &'static str {
                match self { $(Self::$kind => concat!("fault_", $word),)+ }
            }

            /// The same, as people read it.
            #[must_use]
            pub fn cause_in_words(self) -> &'static str {
                match self { $(Self::$kind => concat!("fault: ", $word),)+ }
            }
        }
    };
}

words! {
    Crash "crash"
    PowerOff "power_off"
    Restart "restart"
    RollingRestart "rolling_restart"
    ScaleToOne "scale_to_one"
    Freeze "freeze"
    Slow "slow"
    Cut "cut"
    Deafen "deafen"
    Hold "hold"
    Loss "loss"
    Delay "delay"
    ClockStep "clock_step"
    ClockDrift "clock_drift"
    MemoryAlarm "memory_alarm"
    HoldConfirms "hold_confirms"
    CancelConsumers "cancel_consumers"
    TakeBack "take_back"
    CloseConnections "close_connections"
    DeleteRequests "delete_requests"
    OutOfMemory "out_of_memory"
    ReadOnly "read_only"
    Failover "failover"
    Evict "evict"
    Kick "kick"
    TakeOver "take_over"
    RepeatMessages "repeat_messages"
    RetainCommands "retain_commands"
    ReplyTwice "reply_twice"
    ReplyLate "reply_late"
    ReplyToNobody "reply_to_nobody"
    ReplyForOther "reply_for_other"
    ReplyMalformed "reply_malformed"
    ReplyOversized "reply_oversized"
    NoReports "no_reports"
    LabelsFail "labels_fail"
    Rollout "rollout"
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_words_that_specs_give_them() {
        for kind in FaultKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.word());
            assert_eq!(kind.cause_in_words(), format!("fault: {kind}"));
            assert_eq!(kind.cause(), format!("fault_{kind}"));
        }
    }
}
