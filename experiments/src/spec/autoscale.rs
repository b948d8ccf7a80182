//! Who adds and removes replicas: KEDA's ScaledObjects, with the HorizontalPodAutoscalers that KEDA makes of them.
//!
//! The fields are those of a ScaledObject (keda.sh/v1alpha1) and of an HPA's `behavior` (autoscaling/v2), in the
//! bench's spelling. What they do is said where the rules are, in the module of the same name one floor up; how a
//! ScaledObject is read, in `scaled_object`.

use super::{Pod, Quantity, is_router};
use backbone::config::RouterKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// What is scaled, and by which rules. What is left out has the replicas of `replicas` from beginning to end.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoscale {
    /// Routers. A replica is a forward and a backward router, which come and go together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routers: Option<Autoscaler>,
    /// Task workers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_workers: Option<Autoscaler>,
}

impl Autoscale {
    /// Whether nothing is scaled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all().next().is_none()
    }

    /// The rules for `target`; `None`: it is not scaled.
    #[must_use]
    pub fn of(&self, target: Target) -> Option<&Autoscaler> {
        match target {
            Target::Routers => self.routers.as_ref(),
            Target::TaskWorkers => self.task_workers.as_ref(),
        }
    }

    /// All that is scaled.
    pub fn all(&self) -> impl Iterator<Item = (Target, &Autoscaler)> {
        Target::ALL.into_iter().filter_map(|target| Some((target, self.of(target)?)))
    }

    /// Whether anybody asks RabbitMQ's management plugin.
    #[must_use]
    pub fn uses_http(&self) -> bool {
        self.all().flat_map(|(_, rules)| &rules.triggers).any(|trigger| trigger.protocol == Protocol::Http)
    }
}

/// What can be scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// `replicas.routers`.
    Routers,
    /// `replicas.task_workers`.
    TaskWorkers,
}

impl Target {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Routers, Self::TaskWorkers];

    /// Its key in a spec.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Routers => "routers",
            Self::TaskWorkers => "task_workers",
        }
    }

    /// Whose replica `pod` is, or a part of it; `None`: it can't be scaled.
    #[must_use]
    pub fn of(pod: Pod) -> Option<Self> {
        match pod {
            Pod::TaskWorker(_) => Some(Self::TaskWorkers),
            _ if is_router(pod.kind()) => Some(Self::Routers),
            _ => None,
        }
    }

    /// The pods that are replica `index`. `routers`: the kinds of routers that there are.
    #[must_use]
    pub fn replica(self, routers: &[RouterKind], index: u32) -> Vec<Pod> {
        match self {
            Self::Routers => routers.iter().map(|kind| Pod::Router(*kind, index)).collect(),
            Self::TaskWorkers => vec![Pod::TaskWorker(index)],
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One ScaledObject. `replicas` says how many replicas there are at the start.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Autoscaler {
    /// A file with a ScaledObject, in YAML, beside this spec. What it says holds wherever this table says nothing; it
    /// is read once, and the resolved spec has its contents instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaled_object: Option<String>,
    /// KEDA's own look at the triggers, which alone scales from and to 0. Default: 30.
    pub polling_interval_s: u32,
    /// So long after a trigger was last active the last replicas go; no word on going from many to few. Default: 300.
    pub cooldown_period_s: u32,
    /// The same from the start, while no trigger has been active yet. Default: 0.
    pub initial_cooldown_period_s: u32,
    /// Replicas while no trigger is active, fewer than `min_replica_count`. Left out: `min_replica_count`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_replica_count: Option<u32>,
    /// Least replicas while a trigger is active, and at least 1 then. Default: 0.
    pub min_replica_count: u32,
    /// Most replicas. Default: 100.
    pub max_replica_count: u32,
    /// From a pod's being scheduled to the start of its process: pulling, mounting, starting. Log-normal, half of all
    /// take less. Default: 0.
    pub start_ms: u32,
    /// Sigma of the logarithm of that time, in percent. Default: 0, no spread.
    pub start_spread_percent: u32,
    /// `terminationGracePeriodSeconds`: a pod that has not ended so long after SIGTERM is killed. Default: 30.
    pub grace_s: u32,
    /// What is looked at, at least one. The one that wants most replicas decides, and one that is active is enough.
    pub triggers: Vec<Trigger>,
    /// `advanced.horizontalPodAutoscalerConfig.behavior`: how fast. Left out: the HPA's rules of old, which are not
    /// those of a behavior without words: at most to twice the replicas, or to 4, at each look.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Behavior>,
}

impl Default for Autoscaler {
    fn default() -> Self {
        Self {
            scaled_object: None,
            polling_interval_s: 30,
            cooldown_period_s: 300,
            initial_cooldown_period_s: 0,
            idle_replica_count: None,
            min_replica_count: 0,
            max_replica_count: 100,
            start_ms: 0,
            start_spread_percent: 0,
            grace_s: 30,
            triggers: Vec::new(),
            behavior: None,
        }
    }
}

impl Autoscaler {
    /// How long a pod has to end.
    #[must_use]
    pub fn grace(&self) -> Duration {
        Duration::from_secs(self.grace_s.into())
    }
}

/// A trigger of the type `rabbitmq`.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// The queue: `task_queue` is where tasks wait for workers, `routing` where requests wait for forward routers.
    pub queue: String,
    /// What of the queue is measured. Default: `queue_length`.
    #[serde(default)]
    pub mode: Mode,
    /// So much of it is one replica's share: three decimals at most. Default: 20.
    #[serde(default = "default_value")]
    #[schemars(with = "f64")]
    pub value: Quantity,
    /// The trigger is active while there is more than this. Default: 0.
    #[serde(default)]
    #[schemars(with = "f64")]
    pub activation_value: Quantity,
    /// How RabbitMQ is asked. Default: `amqp`.
    #[serde(default)]
    pub protocol: Protocol,
    /// Only messages that wait for a consumer count; by `http` alone there are others. Default: false.
    #[serde(default)]
    pub exclude_unacknowledged: bool,
}

/// KEDA's, for a trigger that says neither mode nor value.
const fn default_value() -> Quantity {
    Quantity::whole(20)
}

/// What of a queue is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Messages in it.
    #[default]
    QueueLength,
    /// Messages published to it, a second. Any message in it makes the trigger active, too, if there are more than
    /// `activation_value`. By `http`.
    MessageRate,
    /// Messages delivered from it, a second. By `http`.
    DeliverGetRate,
    /// The first rate by the second. By `http`.
    PublishedToDeliveredRatio,
    /// Seconds until it would be empty. By `http`.
    ExpectedQueueConsumptionTime,
}

/// How RabbitMQ is asked about a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// By a passive `queue.declare`: messages that wait for a consumer, as of now.
    #[default]
    Amqp,
    /// By the management plugin: unacknowledged messages, too, and rates, as of its last sample.
    Http,
}

/// How fast an HPA goes up and down.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behavior {
    /// Upwards. Left out: 4 pods or 100 % in 15 s, whichever is more, at once.
    pub scale_up: ScalingRules,
    /// Downwards. Left out: 100 % in 15 s, to the most that was wanted in the last 300 s.
    pub scale_down: ScalingRules,
}

/// The rules for one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScalingRules {
    /// The most careful number that was wanted in this time counts. Left out: 0 upwards, 300 downwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization_window_s: Option<u32>,
    /// Which policy counts. Default: `max`.
    pub select_policy: SelectPolicy,
    /// How far the metric may be from its target before anything is done, as a share of it. Left out: 0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<f64>")]
    pub tolerance: Option<Quantity>,
    /// What may change in a time. Left out: see the direction.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Policy>,
}

/// Which policy of several counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectPolicy {
    /// The one that allows the largest change.
    #[default]
    Max,
    /// The one that allows the smallest change.
    Min,
    /// None: nothing changes in this direction.
    Disabled,
}

/// What may change in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What `value` counts.
    pub kind: PolicyKind,
    /// How much may change.
    pub value: u32,
    /// In this time, at most 1,800.
    pub period_s: u32,
}

/// What the value of a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyKind {
    /// Replicas.
    Pods,
    /// Percent of the replicas at the start of the time.
    Percent,
}
