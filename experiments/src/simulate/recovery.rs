//! Whether the world works again after what was broken: the backlog drains, every service is ready, and nothing stays
//! at the brokers that was not there before.

use super::world::World;
use crate::{
    deployment::RESULTS_QUEUE,
    measure::{Oracle, Sometimes},
    spec::{Fault, Pod, Spec, Target},
};
use backbone::{
    config::{ReplyQueue, RouterKind, RpcKind},
    message::{DEFAULT_ROUTE_KEY, ROUTING_QUEUE, dead_letter_queue},
    telemetry::{FanOut, Readiness, Telemetry},
};
use sim::Incarnation;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// After the last task: time for acknowledgements that are on their way, and for a second delivery of a task to be seen
/// off, one reply timeout and one retry delay after another.
const QUIET_LIMIT: Duration = Duration::from_secs(300);
/// How often that is looked at, in virtual time.
const QUIET_LOOK_PERIOD: Duration = Duration::from_millis(10);
/// How often it is looked whether all is as before, in virtual time.
const SETTLE_LOOK_PERIOD: Duration = Duration::from_millis(100);
/// Most of the same kind that are told of.
const TOLD_MAX: usize = 5;
/// Longest that Redis remembers anything of a label, in milliseconds: a day (`backbone::store`), and the key's own
/// rounding.
const REMEMBERED_MS_MAX: u64 = 24 * 60 * 60 * 1_000 + 1_000;

/// What is expected of a world in which nothing is broken any more.
pub(super) struct Recovery<'a> {
    world: &'a World,
    spec: &'a Spec,
    /// By when all has to be well; `None` as long as something is broken, or if it stays so.
    due: Option<Instant>,
    settled: bool,
}

impl<'a> Recovery<'a> {
    pub(super) fn of(world: &'a World) -> Self {
        Self { world, spec: &world.spec, due: None, settled: false }
    }

    /// All faults are over.
    pub(super) fn begin(&mut self) {
        if !self.spec.heals() {
            return;
        }
        if !self.spec.faults.is_empty() && self.world.tasks_waiting() > 0 {
            self.world.recorder().entries().reach(Sometimes::BacklogAtHealing);
        }
        if overlap(&self.spec.faults) {
            self.world.recorder().entries().reach(Sometimes::BrokenAtOnce);
        }
        let workload = self.world.recorder().workload();
        // Counted from now, though it began before: what comes last has not come earlier.
        let last_ms = workload.len().checked_sub(1).and_then(|last| workload.at_ms(last)).unwrap_or(0);
        let begin = Instant::now() + Duration::from_millis(last_ms.into());
        self.due = Some(begin + Duration::from_secs(self.spec.limits.recover_s.into()));
    }

    /// Whether tasks are still not done when they should be; says so, too.
    pub(super) fn is_overdue(&mut self) -> bool {
        if self.due.is_none_or(|due| Instant::now() < due) {
            return false;
        }
        let (open_ends, recover_s) = (self.world.open_ends(), self.spec.limits.recover_s);
        let unready = self.unready();
        let text =
            format!("tasks are not done {recover_s} s after all could be well (`limits.recover_s`): {open_ends}");
        self.world.recorder().violate(Oracle::NotDrained.broken(with(text, &unready)));
        self.settled = true;
        true
    }

    /// Looks whether queues hold more than they may; to be called now and then.
    pub(super) fn look(&self) {
        let Spec { workload, replicas, backbone, faults, .. } = self.spec;
        let in_work = self.spec.replicas_max(Target::TaskWorkers).max(replicas.task_workers) as usize
            * usize::from(backbone.task_worker.prefetch);
        // Each fault may leave what is in work behind, and its copy comes again.
        let copies = 1 + faults.len();
        // What a router has does not expire, and one that is gone without a word has it until its heartbeats fail.
        let held = replicas.routers as usize * usize::from(backbone.fwd_router.prefetch);
        let requests_max = (in_work * workload.most_commands() as usize + held) * (1 + copies);
        let dispatchers = 1 + faults.iter().filter(|fault| fault.target.example() == Pod::Dispatcher).count();
        // What is not confirmed is published again, each 10 s, while a fault lasts.
        let republished: usize = faults.iter().map(|fault| 2 + fault.for_ms.unwrap_or(0) as usize / 10_000).sum();
        let in_doubt = in_work + backbone.dispatcher.window;
        let tasks_max = workload.tasks as usize * dispatchers + (1 + republished) * in_doubt;
        let found = [
            ("requests", self.world.depth(ROUTING_QUEUE), requests_max),
            ("tasks", self.world.tasks_waiting(), tasks_max),
        ];
        for (what, depth, max) in found.into_iter().filter(|(_, depth, max)| depth > max) {
            let text = format!("{depth} {what} are queued at a time, of at most {max}");
            self.world.recorder().violate(Oracle::Unbounded.broken(text));
        }
    }

    /// Waits until all is as it was before there was work, or should be.
    pub(super) async fn end(&self) {
        if self.settled {
            return;
        }
        // A task that was delivered twice may be in work again; let that end, too.
        let quiet = async {
            while self.world.tasks_waiting() > 0 {
                sleep(QUIET_LOOK_PERIOD).await;
            }
        };
        if timeout(QUIET_LIMIT, quiet).await.is_err() {
            let open_ends = self.world.open_ends();
            let text = format!("tasks are done but still queued {QUIET_LIMIT:?} later: {open_ends}");
            return self.world.recorder().violate(Oracle::NotDrained.broken(text));
        }
        if self.spec.faults.is_empty() {
            return; // nothing was broken
        }
        let Some(due) = self.due else { return };
        self.settle(due.max(Instant::now() + SETTLE_LOOK_PERIOD)).await;
    }

    async fn settle(&self, due: Instant) {
        let recorder = self.world.recorder();
        if !self.unready().is_empty() {
            recorder.entries().reach(Sometimes::UnreadyAtEnd);
        }
        let mut busy = self.busy_sessions();
        let mut had_leftovers = false;
        loop {
            let now_busy = self.busy_sessions();
            busy.retain(|session| now_busy.contains(session));
            let (unready, left) = (self.unready(), [self.left_behind(), told(busy.iter().cloned())].concat());
            had_leftovers |= !left.is_empty();
            if unready.is_empty() && left.is_empty() {
                break;
            }
            if Instant::now() >= due {
                let recover_s = self.spec.limits.recover_s;
                if !unready.is_empty() {
                    let text = format!("not ready {recover_s} s after all could be well (`limits.recover_s`)");
                    recorder.violate(Oracle::NotReady.broken(with(text, &unready)));
                }
                left.into_iter().for_each(|what| recorder.violate(Oracle::LeftBehind.broken(what)));
                return;
            }
            sleep(SETTLE_LOOK_PERIOD).await;
        }
        if had_leftovers {
            recorder.entries().reach(Sometimes::LeftoverExpired);
        }
    }

    /// Who is not ready, and why.
    fn unready(&self) -> Vec<String> {
        let services: Vec<_> = self.world.readiness().iter().map(|(pod, ready)| (*pod, ready.clone())).collect();
        let unready =
            |(pod, ready): &(Pod, Arc<Readiness>)| ready.check().err().map(|unready| format!("{pod} is {unready}"));
        services.iter().filter_map(unready).collect()
    }

    /// Gateways and routers for which the MQTT broker has something.
    fn busy_sessions(&self) -> BTreeSet<String> {
        let sessions = self.world.mqtt.sessions().into_iter().filter(|session| session.queued + session.in_flight > 0);
        sessions.map(|session| format!("messages stay in the MQTT session of {}", session.client_id)).collect()
    }

    fn services(&self, is_meant: impl Fn(Pod) -> bool) -> usize {
        self.world.readiness().keys().filter(|pod| is_meant(**pod)).count()
    }

    /// What is at the brokers that should not be.
    fn left_behind(&self) -> Vec<String> {
        let mut left = self.queues();
        let mqtt_clients = self.spec.fleet.gateways as usize + self.services(|pod| matches!(pod, Pod::Router(..)));
        let sessions = self.world.mqtt.sessions().len();
        if sessions > mqtt_clients {
            left.push(format!("the MQTT broker has {sessions} sessions, for {mqtt_clients} clients"));
        }
        // The dispatcher and its producer may still have theirs.
        let amqp_clients = self.services(|pod| !matches!(pod, Pod::Router(RouterKind::Http, _))) + 2;
        let connections = self.world.amqp.connection_count();
        if connections > amqp_clients {
            left.push(format!("RabbitMQ has {connections} connections, for {amqp_clients} clients"));
        }
        left.extend(self.keys());
        left
    }

    fn queues(&self) -> Vec<String> {
        let world = self.world;
        let [tasks, retries] = world.task_queues();
        let dead = dead_letter_queue();
        let known = [&tasks, &retries, ROUTING_QUEUE, RESULTS_QUEUE, &dead];
        let filled = known.iter().filter(|name| **name != dead && world.depth(name) > 0);
        let mut left = told(filled.map(|name| format!("{} messages stay in queue {name}", world.depth(name))));
        let names = world.amqp.queue_names();
        let others: Vec<&String> = names.iter().filter(|name| !known.contains(&name.as_str())).collect();
        let config = &world.config;
        let replies_max = match (config.rpc.kind, config.task_worker.reply_queue) {
            (RpcKind::Queue, ReplyQueue::PerWorker) => self.services(|pod| matches!(pod, Pod::TaskWorker(_))),
            (RpcKind::Queue, ReplyQueue::PerCall) | (RpcKind::Http, _) => 0,
        };
        if others.len() > replies_max {
            left.push(format!("{} queues stay that nobody needs, of {replies_max}: {others:?}", others.len()));
        }
        left
    }

    fn keys(&self) -> Vec<String> {
        let now_ms = self.world.unix_ms();
        let reply_ms = self.world.config.task_worker.reply_timeout_ms;
        let mut left = Vec::new();
        for redis in &self.world.redis {
            let keyspace = redis.keyspace();
            let lasting =
                keyspace.outliving(now_ms + REMEMBERED_MS_MAX).filter(|key| *key != DEFAULT_ROUTE_KEY.as_bytes());
            let late = keyspace.outliving(now_ms + reply_ms + 1).filter(|key| is_correlation(key));
            let name = |key: &[u8]| format!("the key {} stays in Redis longer than it should", key.escape_ascii());
            left.extend(told(lasting.map(name)));
            left.extend(told(late.map(name)));
        }
        left
    }
}

/// Whether two of `faults` last at the same time.
fn overlap(faults: &[Fault]) -> bool {
    let end_ms = |fault: &Fault| fault.at_ms + fault.for_ms.unwrap_or(0);
    let mut by_begin: Vec<&Fault> = faults.iter().collect();
    by_begin.sort_by_key(|fault| fault.at_ms);
    by_begin.windows(2).any(|pair| pair[1].at_ms < end_ms(pair[0]))
}

fn is_correlation(key: &[u8]) -> bool {
    key.starts_with(b"shelfwire:correlation:")
}

/// The first of them, and how many more there are.
fn told(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(TOLD_MAX);
    all.truncate(TOLD_MAX);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}

/// `text`, with who waits for what.
fn with(text: String, unready: &[String]) -> String {
    if unready.is_empty() { text } else { format!("{text}; {}", unready.join("; ")) }
}

impl World {
    /// Takes note of the rare paths that only brokers know of.
    pub(super) fn note_paths_of_brokers(&self) {
        let stats = self.mqtt.stats();
        let seen = [
            (Sometimes::CommandExpired, stats.messages_expired),
            (Sometimes::SessionLostMessages, stats.messages_abandoned),
            (Sometimes::MessageDropped, stats.messages_dropped),
        ];
        let mut entries = self.recorder().entries();
        seen.iter().filter(|(_, times)| *times > 0).for_each(|(path, _)| entries.reach(*path));
    }

    /// The wall clock of the world, in milliseconds since 1970.
    fn unix_ms(&self) -> u64 {
        self.cluster().env(&Pod::Mqtt.to_string()).unix_ms()
    }

    /// Lets somebody ask whether a service is ready; one that is scaled is asked at once, and until it is.
    pub(super) fn with_readiness(
        &self,
        life: Incarnation,
        pod: Pod,
        telemetry: Arc<dyn Telemetry>,
    ) -> Arc<dyn Telemetry> {
        let readiness = Arc::new(Readiness::default());
        if self.scaling().scales(pod) {
            self.scaling().started(pod);
            let probe = self.scaling().clone().probe(pod, readiness.clone(), move || life.now_us());
            life.env().spawn("readiness probe", probe);
        }
        if pod != Pod::Dispatcher {
            self.readiness().insert(pod, readiness.clone()); // a dispatcher ends by itself
        }
        Arc::new(FanOut(vec![telemetry, readiness]))
    }

    pub(super) fn readiness(&self) -> MutexGuard<'_, BTreeMap<Pod, Arc<Readiness>>> {
        self.readiness.lock().expect("nothing panics with it")
    }

    /// For the message of a run that doesn't end.
    pub(super) fn open_ends(&self) -> String {
        let depths = self.amqp.queue_names().into_iter().filter_map(|name| {
            let depth = self.depth(&name);
            (depth > 0 && name != dead_letter_queue()).then(|| format!("{depth} messages in queue {name}"))
        });
        let depths: Vec<String> = depths.take(10).collect();
        let sessions = self.mqtt.sessions().into_iter().filter(|session| session.queued + session.in_flight > 0);
        let sessions: Vec<String> = sessions
            .take(10)
            .map(|s| format!("{} queued and {} in flight for MQTT client {}", s.queued, s.in_flight, s.client_id))
            .collect();
        let open = [depths, sessions].concat();
        if open.is_empty() { "nothing is queued anywhere".into() } else { open.join(", ") }
    }
}
