//! Whether the world works again after what was broken: the backlog drains, every service is ready, all is at the
//! brokers as it was (`leftovers`), and new tasks get through.

use super::world::World;
use crate::{
    deployment::{self, Healing},
    measure::{Oracle, Sometimes},
    spec::{Fault, Pod, Spec, Target},
};
use backbone::{
    message::{ROUTING_QUEUE, dead_letter_queue},
    telemetry::{FanOut, Readiness, Telemetry},
};
use sim::Incarnation;
use std::{
    collections::BTreeMap,
    sync::{Arc, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// After the last task: time for acknowledgements that are on their way, and for a second delivery of a task to be seen
/// off, one reply timeout and one retry delay after another.
const QUIET_LIMIT: Duration = Duration::from_secs(300);
/// Where all tasks have come, none is in a queue for so long, and yet some have no end, nothing will change any more:
/// longer than it takes who holds a task, or a result, to notice that its connection is dead. A try may last for its
/// reply timeout on top of that.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// How often that is looked at, in virtual time.
const QUIET_LOOK_PERIOD: Duration = Duration::from_millis(10);
/// How often it is looked whether all is as before, in virtual time.
const SETTLE_LOOK_PERIOD: Duration = Duration::from_millis(100);
/// How often somebody asks services whether they are ready, in virtual time; Kubernetes does so every 10 s if nothing
/// else is said.
const READINESS_PERIOD: Duration = Duration::from_secs(1);

/// What is expected of a world in which nothing is broken any more.
pub(super) struct Recovery<'a> {
    pub(super) world: &'a World,
    pub(super) spec: &'a Spec,
    /// What the MQTT broker had before there was work.
    pub(super) subscriptions: usize,
    /// `None` as long as something is broken, or if it stays so.
    healing: Option<Healing>,
    settled: bool,
    idle: Idle,
}

impl<'a> Recovery<'a> {
    /// Of a world in which all is set up.
    pub(super) fn of(world: &'a World) -> Self {
        let subscriptions = world.subscriptions();
        Self { world, spec: &world.spec, subscriptions, healing: None, settled: false, idle: Idle::default() }
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
        self.healing = Some(Healing::now(self.spec, self.world.recorder().workload()));
    }

    /// Whether tasks are still not done when they should be; says so, too.
    pub(super) fn is_overdue(&mut self) -> bool {
        let Some(healing) = self.healing else { return false };
        let now = Instant::now();
        let is_idle = now >= healing.all_came && self.world.tasks_waiting() == 0;
        let limit = IDLE_LIMIT + Duration::from_millis(self.spec.backbone.task_worker.reply_timeout_ms);
        let is_over = self.idle.look(is_idle, now, limit);
        let stuck = if healing.is_due() {
            let (open_ends, unready) = (self.world.open_ends(), self.unready());
            deployment::not_drained(self.spec, "tasks are not done", &open_ends, &unready)
        } else if is_over {
            Oracle::NotDrained.broken(format!("tasks are not done, and none is in a queue for {limit:?}"))
        } else {
            return false;
        };
        self.world.recorder().violate(stuck);
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

    /// Waits until all is as it was before there was work, or should be, and lets the tasks come that show it.
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
        let Some(healing) = self.healing else { return };
        let due = healing.due(SETTLE_LOOK_PERIOD);
        let has_settled = self.spec.faults.is_empty() || self.settle(due).await;
        if has_settled && self.spec.expect.probe_tasks > 0 {
            self.rest(healing.at + deployment::silence(self.spec)).await;
            // Somebody may have noticed only now that a connection is dead.
            if self.settle(due.max(Instant::now() + READINESS_PERIOD)).await {
                self.world.recorder().probe(Duration::from_secs(self.spec.limits.recover_s.into())).await;
            }
        }
    }

    /// Waits until all is at rest, from `begin` on. Meanwhile services are asked whether they are ready, as they are
    /// wherever they run.
    async fn rest(&self, begin: Instant) {
        let end = begin.max(Instant::now()) + deployment::at_rest(self.spec);
        while Instant::now() < end {
            sleep_until(end.min(Instant::now() + READINESS_PERIOD)).await;
            let _ = self.unready();
        }
    }

    /// Waits until all is as before, until `due` at most. Returns whether it is.
    async fn settle(&self, due: Instant) -> bool {
        let recorder = self.world.recorder();
        if !self.unready().is_empty() {
            recorder.entries().reach(Sometimes::UnreadyAtEnd);
        }
        let mut busy = self.busy_sessions();
        let mut had_leftovers = false;
        loop {
            let now_busy = self.busy_sessions();
            busy.retain(|session| now_busy.contains(session));
            let (unready, left) = (self.unready(), [self.left_behind(), self.messages_of(&busy)].concat());
            let missing = self.missing();
            had_leftovers |= !left.is_empty();
            if unready.is_empty() && left.is_empty() && missing.is_empty() {
                break;
            }
            if Instant::now() >= due {
                if !unready.is_empty() {
                    recorder.violate(deployment::not_ready(self.spec, &unready));
                }
                left.into_iter().for_each(|what| recorder.violate(Oracle::LeftBehind.broken(what)));
                missing.into_iter().for_each(|who| recorder.violate(Oracle::GoneForGood.broken(who)));
                return false;
            }
            sleep(SETTLE_LOOK_PERIOD).await;
        }
        if had_leftovers {
            recorder.entries().reach(Sometimes::LeftoverExpired);
        }
        true
    }

    /// Who is not ready, and why.
    fn unready(&self) -> Vec<String> {
        let services: Vec<_> = self.world.readiness().iter().map(|(pod, ready)| (*pod, ready.clone())).collect();
        let unready =
            |(pod, ready): &(Pod, Arc<Readiness>)| ready.check().err().map(|unready| format!("{pod} is {unready}"));
        services.iter().filter_map(unready).collect()
    }
}

/// For how long no task has been in a queue, as far as somebody looked.
#[derive(Default)]
struct Idle(Option<Instant>);

impl Idle {
    /// Takes in whether that is so `now`. Returns whether it has been so for too long.
    fn look(&mut self, is_idle: bool, now: Instant, limit: Duration) -> bool {
        self.0 = is_idle.then(|| self.0.unwrap_or(now));
        self.0.is_some_and(|since| now >= since + limit)
    }
}

/// Whether two of `faults` last at the same time.
fn overlap(faults: &[Fault]) -> bool {
    let end_ms = |fault: &Fault| fault.at_ms + fault.for_ms.unwrap_or(0);
    let mut by_begin: Vec<&Fault> = faults.iter().collect();
    by_begin.sort_by_key(|fault| fault.at_ms);
    by_begin.windows(2).any(|pair| pair[1].at_ms < end_ms(pair[0]))
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
    pub(super) fn unix_ms(&self) -> u64 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_task_that_comes_back_to_a_queue_makes_the_wait_begin_anew() {
        let (start, mut idle) = (Instant::now(), Idle::default());
        let mut look = |is_idle, after: Duration| idle.look(is_idle, start + after, IDLE_LIMIT);
        assert!(!look(true, Duration::ZERO) && !look(true, IDLE_LIMIT / 2));
        assert!(!look(false, IDLE_LIMIT), "a retry is in the queue");
        assert!(!look(true, IDLE_LIMIT) && !look(true, IDLE_LIMIT * 3 / 2));
        assert!(look(true, IDLE_LIMIT * 2));
    }
}
