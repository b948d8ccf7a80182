//! What an experiment is: a file `NAME.toml` of which every field has a default, and which may extend another one.
//!
//! The fields are here and in the submodules, [`load`] finds and merges files, the rules that join several fields are
//! in `validate`.

mod autoscale;
mod difference;
mod error;
mod fault;
mod library;
mod load;
mod pod;
mod published;
mod quantity;
mod radio;
mod ranges;
pub mod reference;
mod replay;
mod scaled_object;
mod validate;
mod workload;
mod world;

pub use autoscale::{
    Autoscale, Autoscaler, Behavior, Mode, Policy, PolicyKind, Protocol, ScalingRules, SelectPolicy, Target, Trigger,
};
pub use difference::{Change, changes, only_changes};
pub use error::SpecError;
pub use fault::{Fault, FaultKind, Part, Scope, Strength};
pub use library::{BuiltIn, Library, Listed, repository};
pub(crate) use load::parse;
pub use load::{Override, load};
pub use pod::{Pod, UnknownPod, is_router};
pub use published::has_figure_in_thesis;
pub use quantity::{NoQuantity, Quantity};
pub use radio::Radio;
pub use ranges::range;
pub use workload::{Arrivals, CommandedEsls, Replayed, Workload};
pub use world::{
    AmqpMetadata, BleService, Brokers, Fleet, GatewayMode, GatewayWrites, Handling, Hosts, LinkClass, Links, Machine,
    Machines, MqttQuota, Network, Order,
};

use backbone::config::{Config, RouterKind, RpcKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// An experiment, resolved: after `extends`, defaults and overrides.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spec {
    /// The file's name without `.toml`.
    #[serde(skip)]
    pub name: String,
    /// Where it is from, and what was changed about it.
    #[serde(skip)]
    pub origin: Origin,
    /// The spec whose values hold wherever this one says nothing. Not inherited.
    #[serde(skip_serializing)]
    pub extends: Option<String>,
    /// Only a base for others: neither listed nor run. Not inherited.
    #[serde(rename = "abstract", skip_serializing)]
    pub is_abstract: bool,
    /// Is run by `experiments check`, which compares it with its committed result. Not inherited. Default: false.
    #[serde(skip_serializing)]
    pub gate: bool,
    /// One line for people. Default: empty.
    pub title: String,
    /// Decides, with the rest of the spec, everything that happens. Default: 1.
    pub seed: u64,
    /// Proves at every quiet moment that the simulator overlooked no call into lapin. Slow. Default: false.
    pub audit: bool,
    /// What is to be done.
    pub workload: Workload,
    /// How many processes of each kind.
    pub replicas: Replicas,
    /// Gateways and labels.
    pub fleet: Fleet,
    /// What lies between the hosts.
    pub network: Network,
    /// What the parts of the world run on.
    pub machines: Machines,
    /// The emulated brokers' settings.
    pub brokers: Brokers,
    /// When a run is given up.
    pub limits: Limits,
    /// How a run must come out.
    pub expect: Expect,
    /// What users were promised.
    pub slo: Slo,
    /// The services' own configuration, as in production: the keys and defaults are those of `backbone --config`. Where
    /// the brokers are is the simulation's business.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub backbone: Config,
    /// What breaks, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// What is scaled while the run goes on, and by which rules. Default: nothing.
    #[serde(skip_serializing_if = "Autoscale::is_empty")]
    pub autoscale: Autoscale,
}

/// Where a spec is from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is a built-in one.
    pub built_in: bool,
    /// What the command line has changed about it.
    pub changes: Vec<Change>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            name: String::new(),
            origin: Origin::default(),
            extends: None,
            is_abstract: false,
            gate: false,
            title: String::new(),
            seed: 1,
            audit: false,
            workload: Workload::default(),
            replicas: Replicas::default(),
            fleet: Fleet::default(),
            network: Network::default(),
            machines: Machines::default(),
            brokers: Brokers::default(),
            limits: Limits::default(),
            expect: Expect::default(),
            slo: Slo::default(),
            backbone: Config::default(),
            faults: Vec::new(),
            autoscale: Autoscale::default(),
        }
    }
}

impl Spec {
    /// The kinds of routers that workers need for their way of calling; `replicas.routers` of each.
    #[must_use]
    pub fn routers(&self) -> &'static [RouterKind] {
        self.backbone.rpc.kind.routers()
    }

    /// The parts that `pod` connects to.
    #[must_use]
    pub fn peers(&self, pod: Pod) -> Vec<Pod> {
        let redis = || self.brokers.redis();
        match pod {
            Pod::Router(RouterKind::Http, _) => [Pod::Mqtt].into_iter().chain(redis()).collect(),
            Pod::Router(..) => [Pod::Amqp, Pod::Mqtt].into_iter().chain(redis()).collect(),
            Pod::TaskWorker(_) if self.backbone.rpc.kind == RpcKind::Http => {
                let routers = (0..self.replicas.routers).map(|index| Pod::Router(RouterKind::Http, index));
                [Pod::Amqp].into_iter().chain(routers).collect()
            }
            Pod::TaskWorker(_) | Pod::Dispatcher => vec![Pod::Amqp],
            Pod::Gateway(_) | Pod::Store(_) => vec![Pod::Mqtt],
            Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_) | Pod::Autoscaler => Vec::new(),
        }
    }

    /// The most replicas of `target` that there can be.
    #[must_use]
    pub fn replicas_max(&self, target: Target) -> u32 {
        self.autoscale.of(target).map_or(self.replicas.of(target), |rules| rules.max_replica_count)
    }

    /// Whether it keeps to the rules that are checked when a spec is loaded from a file.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self) -> Result<(), String> {
        validate::validate(self).map_err(|wrong| wrong.to_string())
    }

    /// Whether all that breaks works again some time.
    #[must_use]
    pub fn heals(&self) -> bool {
        self.faults.iter().all(|fault| fault.for_ms.is_some() || fault.kind.is_instant())
    }

    /// Whether nothing breaks and no segment is lost.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        self.faults.is_empty() && self.network.loss_ppm == 0
    }

    /// Whether all tasks are to be done, if nothing else is said.
    #[must_use]
    pub fn should_do_all(&self) -> bool {
        self.is_faultless() && self.workload.unknown_percent == 0
    }

    /// Whether any work costs CPU time; a world in which none does can't say how much hardware is needed.
    #[must_use]
    pub fn costs_cpu(&self) -> bool {
        let metadata = self.brokers.amqp_metadata;
        self.machines.all().iter().any(Machine::costs_cpu) || metadata.change_us > 0 || metadata.beside_us > 0
    }

    /// The pod on which a part runs: gateways may share one.
    #[must_use]
    pub fn pod_of(&self, part: Pod) -> Pod {
        match part {
            Pod::Gateway(index) => self.fleet.pod_of_gateway(index),
            pod => pod,
        }
    }

    /// How often pods may come back elsewhere, since a fault has ended them.
    #[must_use]
    pub fn restarts_by_faults(&self) -> u32 {
        let ended =
            self.faults.iter().filter(|fault| fault.kind.ends_processes()).map(|fault| fault.target.pods(self).len());
        u32::try_from(ended.sum::<usize>()).unwrap_or(u32::MAX)
    }

    /// The resolved spec as TOML, every field written out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string_pretty(self).expect("a spec came from TOML, so it fits into TOML")
    }
}

/// How many processes of each kind.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Replicas {
    /// Task workers. Default: 50, as in the thesis.
    pub task_workers: u32,
    /// Time from the start of one worker to that of the next, in ms. Default: 0, all at once.
    pub worker_stagger_ms: u32,
    /// So many workers start at that pace, the others at `worker_rush_ms`. Default: 0, all of them at the one pace.
    pub workers_before_rush: u32,
    /// Time from the start of one worker to that of the next after those, in ms. Default: 0.
    pub worker_rush_ms: u32,
    /// Forward routers, and as many backward routers: the thesis counts a pair as one replica. With
    /// `backbone.rpc.kind = "http"`: HTTP routers. Default: 1.
    pub routers: u32,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { task_workers: 50, worker_stagger_ms: 0, workers_before_rush: 0, worker_rush_ms: 0, routers: 1 }
    }
}

impl Replicas {
    /// Of `target`.
    #[must_use]
    pub fn of(&self, target: Target) -> u32 {
        match target {
            Target::Routers => self.routers,
            Target::TaskWorkers => self.task_workers,
        }
    }

    /// Whether all workers are there before there is work.
    #[must_use]
    pub fn all_at_once(&self) -> bool {
        self.worker_stagger_ms == 0
    }

    /// How long after the start of so many workers the next one starts.
    #[must_use]
    pub fn pause_after(&self, workers: u32) -> Duration {
        let rushes = self.workers_before_rush > 0 && workers >= self.workers_before_rush;
        Duration::from_millis(if rushes { self.worker_rush_ms } else { self.worker_stagger_ms }.into())
    }
}

/// When a run is given up.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// A run that is not over at this virtual time fails and says what was still open. Default: 3,600 s.
    pub virtual_s_max: u32,
    /// When all that was broken works again and all tasks have come: in what time the backlog has to drain and every
    /// service to be ready, with nothing left behind at the brokers. It has to be longer than the services' own
    /// timeouts, retries and pauses together. While a fault lasts, nothing of this is asked. Default: 3,600 s.
    pub recover_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { virtual_s_max: 3_600, recover_s: 3_600 }
    }
}

/// What users were promised: so a run says for how long it was not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slo {
    /// Of the tasks that are done in a second, all but one in a hundred took no longer than this, end to end; 0:
    /// nothing was promised, in ms. Default: 0.
    pub end_to_end_p99_ms: u32,
}

/// How a run must come out; one that comes out otherwise says so and ends with exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Expect {
    /// Least share of the tasks that is done, in percent. Left out: 100 where nothing breaks, 0 with faults,
    /// loss or unknown labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_percent_min: Option<u8>,
    /// Largest share of the tasks that is done, in percent, for an experiment that shows a failure. Left out: 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_percent_max: Option<u8>,
    /// A fault that hits nothing fails the run: a written one that does is a mistake. Drawn ones are counted only.
    /// Default: true.
    #[serde(skip_serializing_if = "std::clone::Clone::clone")]
    pub every_fault_hits: bool,
    /// The last so many tasks are held back until all is well: nothing is broken any more, the others have ended, every
    /// service is ready and nothing is left behind. Then they come one by one, and each has to be done at its first
    /// try. Default: 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub probe_tasks: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Default for Expect {
    fn default() -> Self {
        Self { done_percent_min: None, done_percent_max: None, every_fault_hits: true, probe_tasks: 0 }
    }
}

impl Expect {
    /// The least and the largest share, in percent. With a largest share alone none is too small.
    #[must_use]
    pub fn done_percent(self, is_faultless: bool) -> (u8, u8) {
        let min = if is_faultless && self.done_percent_max.is_none() { 100 } else { 0 };
        (self.done_percent_min.unwrap_or(min), self.done_percent_max.unwrap_or(100))
    }
}
