//! What breaks in an experiment, and when.

mod kind;

pub use kind::{FaultKind, Scope, Strength};

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
}
