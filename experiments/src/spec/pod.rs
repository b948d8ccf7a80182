//! The parts of a world that run by themselves, and their names. No name is built or taken apart anywhere else.

use backbone::config::RouterKind;
use std::{fmt, str::FromStr};

/// What runs by itself, as one process does; replicas, gateways and the like are counted from 0.
///
/// Its name is its kind and, where there may be several, its index: `amqp`, `task_worker-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pod {
    /// RabbitMQ.
    Amqp,
    /// The MQTT broker.
    Mqtt,
    /// Redis; of several, the first.
    Redis,
    /// Another Redis, of several (`brokers.redis_shards`).
    RedisShard(u32),
    /// A gateway.
    Gateway(u32),
    /// All gateways of a store, where they share a host. A spec names the gateways instead.
    Store(u32),
    /// A router.
    Router(RouterKind, u32),
    /// A task worker.
    TaskWorker(u32),
    /// The dispatcher.
    Dispatcher,
    /// KEDA and the HPA's controller, where replicas are scaled.
    Autoscaler,
}

impl Pod {
    /// The three brokers.
    pub const BROKERS: [Self; 3] = [Self::Amqp, Self::Mqtt, Self::Redis];

    /// Its name without the index.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Mqtt => "mqtt",
            Self::Redis => "redis",
            Self::RedisShard(_) => "redis_shard",
            Self::Gateway(_) => "gateway",
            Self::Store(_) => "store",
            Self::Router(kind, _) => kind.name(),
            Self::TaskWorker(_) => "task_worker",
            Self::Dispatcher => "dispatcher",
            Self::Autoscaler => "autoscaler",
        }
    }

    /// What the program `backbone` calls its service.
    #[must_use]
    pub fn command(self) -> String {
        self.kind().replace('_', "-")
    }

    fn index(self) -> Option<u32> {
        match self {
            Self::Gateway(index)
            | Self::Store(index)
            | Self::RedisShard(index)
            | Self::Router(_, index)
            | Self::TaskWorker(index) => Some(index),
            Self::Amqp | Self::Mqtt | Self::Redis | Self::Dispatcher | Self::Autoscaler => None,
        }
    }

    /// Says that `name` names nothing, and what would.
    pub(super) fn names(name: &str) -> String {
        let routers = RouterKind::ALL.map(|kind| format!("{}-N", kind.name())).join(", ");
        format!(
            "{name:?} names nothing that can break; accepted are task_worker-N, {routers}, gateway-N, redis_shard-N (N \
             counts from 0, or is * for all), dispatcher, autoscaler, amqp, mqtt and redis"
        )
    }

    /// One of each kind, with the same index.
    fn one_of_each(index: u32) -> impl Iterator<Item = Self> {
        let routers = RouterKind::ALL.into_iter().map(move |kind| Self::Router(kind, index));
        let others = [
            Self::Dispatcher,
            Self::Autoscaler,
            Self::Gateway(index),
            Self::Store(index),
            Self::RedisShard(index),
            Self::TaskWorker(index),
        ];
        Self::BROKERS.into_iter().chain(routers).chain(others)
    }
}

/// Whether pods of this [`Pod::kind`] are routers.
#[must_use]
pub fn is_router(kind: &str) -> bool {
    RouterKind::ALL.iter().any(|router| router.name() == kind)
}

impl fmt::Display for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.index() {
            Some(index) => write!(f, "{}-{index}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

/// A text that names no pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no pod has this name")]
pub struct UnknownPod;

impl FromStr for Pod {
    type Err = UnknownPod;

    fn from_str(name: &str) -> Result<Self, UnknownPod> {
        let (kind, index) = match name.split_once('-') {
            None => (name, None),
            Some((kind, index)) => (kind, Some(index.parse().map_err(|_| UnknownPod)?)),
        };
        let is_meant = |pod: &Self| pod.kind() == kind && pod.index() == index;
        Self::one_of_each(index.unwrap_or_default()).find(is_meant).ok_or(UnknownPod)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_is_found_by_its_name() {
        let names: Vec<String> = Pod::one_of_each(12).map(|pod| pod.to_string()).collect();
        assert!(names.contains(&"fwd_router-12".to_owned()) && names.contains(&"dispatcher".to_owned()), "{names:?}");
        for pod in Pod::one_of_each(12) {
            assert_eq!(pod.to_string().parse(), Ok(pod));
        }
    }

    #[test]
    fn what_is_no_name_is_no_pod() {
        for text in ["", "rabbit", "gateway", "gateway-", "gateway-x", "gateway--1", "amqp-0"] {
            assert_eq!(text.parse::<Pod>(), Err(UnknownPod), "{text}");
        }
    }
}
