//! What breaks in an experiment, and when.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Something that breaks at a moment and, usually, comes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Virtual time from the start of the workload.
    pub at_ms: u64,
    /// What happens.
    pub kind: FaultKind,
    /// To whom: `task_worker-3`, `fwd_router-0`, `bck_router-0`, `http_router-0`, `dispatcher`, `gateway-7`, `amqp`, `mqtt`
    /// or `redis`.
    pub target: Target,
    /// How long it stays away; left out, it does not come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
    /// Of a cut: from whom alone; left out, from everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Target>,
}

/// What happens to a fault's target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// It dies and its peers see resets; afterwards a new incarnation starts.
    Crash,
    /// Its packets go nowhere and its peers see silence; the process lives on.
    Cut,
    /// It is asked to stop, as by SIGTERM, and started again afterwards.
    Restart,
}

/// A named part of the world; replicas and gateways are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// The dispatcher.
    Dispatcher,
    /// A task worker.
    TaskWorker(u32),
    /// A forward router.
    FwdRouter(u32),
    /// A backward router.
    BckRouter(u32),
    /// An HTTP router.
    HttpRouter(u32),
    /// A gateway.
    Gateway(u32),
    /// RabbitMQ.
    Amqp,
    /// The MQTT broker.
    Mqtt,
    /// Redis.
    Redis,
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let (kind, index) = text.split_once('-').map_or((text, None), |(kind, index)| (kind, index.parse().ok()));
        Some(match (kind, index) {
            ("dispatcher", None) if text == kind => Self::Dispatcher,
            ("amqp", None) if text == kind => Self::Amqp,
            ("mqtt", None) if text == kind => Self::Mqtt,
            ("redis", None) if text == kind => Self::Redis,
            ("task_worker", Some(index)) => Self::TaskWorker(index),
            ("fwd_router", Some(index)) => Self::FwdRouter(index),
            ("bck_router", Some(index)) => Self::BckRouter(index),
            ("http_router", Some(index)) => Self::HttpRouter(index),
            ("gateway", Some(index)) => Self::Gateway(index),
            _ => return None,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dispatcher => f.write_str("dispatcher"),
            Self::TaskWorker(index) => write!(f, "task_worker-{index}"),
            Self::FwdRouter(index) => write!(f, "fwd_router-{index}"),
            Self::BckRouter(index) => write!(f, "bck_router-{index}"),
            Self::HttpRouter(index) => write!(f, "http_router-{index}"),
            Self::Gateway(index) => write!(f, "gateway-{index}"),
            Self::Amqp => f.write_str("amqp"),
            Self::Mqtt => f.write_str("mqtt"),
            Self::Redis => f.write_str("redis"),
        }
    }
}

impl Serialize for Target {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom(format!(
                "{text:?} names nothing that can break; accepted are task_worker-N, fwd_router-N, bck_router-N, \
                 http_router-N, gateway-N (N counts from 0), dispatcher, amqp, mqtt and redis"
            ))
        })
    }
}
