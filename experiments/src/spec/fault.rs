//! What breaks in an experiment, and when.

use super::{Pod, Spec, Target, UnknownPod};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, str::FromStr};

/// Something that breaks at a moment and, usually, comes back. Faults may overlap as they like: a part is whole again
/// when all that has hit it is over.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Virtual time from the start of the workload.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
    /// To whom: `task_worker-3`, `fwd_router-0`, `bck_router-0`, `http_router-0`, `dispatcher`, `autoscaler`,
    /// `gateway-7`, `amqp`, `mqtt`, `redis` or `redis_shard-0`; with `*` for the number, to all of them.
    #[schemars(with = "String")]
    pub target: Part,
    /// How long it lasts; left out, it does not end. Some kinds need an end, and what happens at once has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Of what lies between two parts: the other one; left out, all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub from: Option<Part>,
    /// How strong it is, in the unit of its kind; the kinds that have one need it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strength: Option<i64>,
}

impl Fault {
    /// A fault of a kind without a strength, between its target and all others.
    #[must_use]
    pub fn new(at_ms: u64, kind: FaultKind, target: impl Into<Part>, for_ms: impl Into<Option<u64>>) -> Self {
        Self { at_ms, kind, target: target.into(), for_ms: for_ms.into(), from: None, strength: None }
    }

    /// The same, between its target and this part.
    #[must_use]
    pub fn from(self, from: impl Into<Part>) -> Self {
        Self { from: Some(from.into()), ..self }
    }

    /// The same, so strong.
    #[must_use]
    pub fn strength(self, strength: i64) -> Self {
        Self { strength: Some(strength), ..self }
    }
}

/// What a fault hits: one part, or all of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// This one.
    One(Pod),
    /// All that differ from this one in their number alone.
    All(Pod),
}

impl Part {
    /// The one, or any of all.
    #[must_use]
    pub fn example(self) -> Pod {
        let (Self::One(pod) | Self::All(pod)) = self;
        pod
    }

    /// The pods that it stands for in `spec`, each once; of replicas that are scaled, all that there may be.
    #[must_use]
    pub fn pods(self, spec: &Spec) -> Vec<Pod> {
        let [routers, workers] = Target::ALL.map(|target| 0..spec.replicas_max(target));
        match self {
            Self::All(Pod::TaskWorker(_)) => workers.map(Pod::TaskWorker).collect(),
            Self::All(Pod::Router(kind, _)) => routers.map(|index| Pod::Router(kind, index)).collect(),
            Self::All(Pod::Gateway(_)) => spec.fleet.pods().collect(),
            Self::All(Pod::RedisShard(_)) => spec.brokers.redis().skip(1).collect(),
            Self::All(pod) | Self::One(pod) => vec![spec.pod_of(pod)],
        }
    }

    /// The gateways that it stands for in `spec`, by their indexes; none if it is no gateway.
    #[must_use]
    pub fn gateways(self, spec: &Spec) -> std::ops::Range<u32> {
        match self {
            Self::One(Pod::Gateway(index)) => index..index + 1,
            Self::All(Pod::Gateway(_)) => 0..spec.fleet.gateways,
            _ => 0..0,
        }
    }
}

impl From<Pod> for Part {
    fn from(pod: Pod) -> Self {
        Self::One(pod)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(pod) => pod.fmt(f),
            Self::All(pod) => write!(f, "{}-*", pod.kind()),
        }
    }
}

impl FromStr for Part {
    type Err = UnknownPod;

    fn from_str(name: &str) -> Result<Self, UnknownPod> {
        match name.strip_suffix("-*") {
            Some(kind) => Ok(Self::All(format!("{kind}-0").parse()?)),
            None => Ok(Self::One(name.parse()?)),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Of what a spec may name.
impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let part = name.parse::<Self>().ok().filter(|part| !matches!(part.example(), Pod::Store(_)));
        part.ok_or_else(|| serde::de::Error::custom(Pod::names(&name)))
    }
}

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
    /// Redis loses so many percent of its keys.
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
    /// All kinds.
    pub const ALL: [Self; 36] = [
        Self::Crash,
        Self::PowerOff,
        Self::Restart,
        Self::RollingRestart,
        Self::ScaleToOne,
        Self::Freeze,
        Self::Slow,
        Self::Cut,
        Self::Deafen,
        Self::Hold,
        Self::Loss,
        Self::Delay,
        Self::ClockStep,
        Self::ClockDrift,
        Self::MemoryAlarm,
        Self::HoldConfirms,
        Self::CancelConsumers,
        Self::TakeBack,
        Self::CloseConnections,
        Self::DeleteRequests,
        Self::OutOfMemory,
        Self::ReadOnly,
        Self::Failover,
        Self::Evict,
        Self::Kick,
        Self::TakeOver,
        Self::RepeatMessages,
        Self::RetainCommands,
        Self::ReplyTwice,
        Self::ReplyLate,
        Self::ReplyToNobody,
        Self::ReplyForOther,
        Self::ReplyMalformed,
        Self::ReplyOversized,
        Self::NoReports,
        Self::LabelsFail,
    ];

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
            Self::RollingRestart | Self::Slow | Self::Hold => true,
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
            Self::RollingRestart | Self::ScaleToOne => Scope::Replicas,
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
    pub(super) fn ends_processes(self) -> bool {
        matches!(self, Self::Crash | Self::PowerOff | Self::Restart | Self::RollingRestart | Self::ScaleToOne)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::RouterKind;

    #[test]
    fn a_part_is_a_pod_or_all_of_its_kind() {
        for name in ["amqp", "gateway-3", "gateway-*", "redis_shard-*", "bck_router-0"] {
            assert_eq!(name.parse::<Part>().unwrap().to_string(), name);
        }
        for name in ["amqp-*", "gateway-", "-*", "gateway*"] {
            assert_eq!(name.parse::<Part>(), Err(UnknownPod), "{name}");
        }
    }

    #[test]
    fn all_of_a_kind_are_pods_of_the_world_each_once() {
        let mut spec = Spec::default();
        (spec.replicas.task_workers, spec.replicas.routers) = (3, 2);
        assert_eq!(Part::All(Pod::TaskWorker(0)).pods(&spec), [0, 1, 2].map(Pod::TaskWorker));
        let routers = Part::All(Pod::Router(RouterKind::Backward, 0)).pods(&spec);
        assert_eq!(routers, [0, 1].map(|index| Pod::Router(RouterKind::Backward, index)));
        (spec.fleet.gateways, spec.fleet.stores, spec.fleet.hosts) = (4, 2, super::super::Hosts::PerStore);
        assert_eq!(Part::All(Pod::Gateway(0)).pods(&spec), [0, 1].map(Pod::Store));
    }

    #[test]
    fn all_kinds_are_told_apart_by_name() {
        let names: std::collections::BTreeSet<String> =
            FaultKind::ALL.iter().map(|kind| serde_json::to_string(kind).unwrap()).collect();
        assert_eq!(names.len(), FaultKind::ALL.len());
    }
}
