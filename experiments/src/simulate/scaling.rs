//! Pods that come and go while an experiment runs: what Kubernetes does once somebody wants more replicas, or fewer.
//!
//! Replicas are numbered, as those of a StatefulSet with `podManagementPolicy: Parallel`: the highest number goes
//! first, and one that is wanted again while its pod still ends waits for that. A pod is scheduled at once, since nodes
//! have room, and its process starts after its drawn time. One that is no longer wanted gets SIGTERM, and is killed
//! when its grace period is over. A killed one is a fault: its task may come to two ends.

use super::world::World;
use crate::{
    autoscale::Scales,
    deployment,
    measure::ScalingStep,
    spec::{Autoscaler, Pod, Spec, Target},
};
use anyhow::ensure;
use backbone::telemetry::Readiness;
use futures_util::future::{join_all, try_join_all};
use rand_chacha::rand_core::Rng as _;
use sim::{Seed, log_normal};
use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How many times scaled pods may come again: each time is a host of the simulated network, which has to be there from
/// the start. Enough for a day in which 40 pods come every quarter of an hour.
const RESTARTS_MAX: u16 = 4_000;
/// All hosts that the simulated network has.
const HOSTS_MAX: usize = 65_000;
/// A readiness probe with `periodSeconds: 1`, the least that Kubernetes takes.
const PROBE_PERIOD: Duration = Duration::from_secs(1);
/// How often it is looked whether the first pods are there, before there is work.
const LOOK_PERIOD: Duration = Duration::from_millis(10);

/// How many times pods may be started again because they are scaled.
pub(super) fn restarts_max(spec: &Spec) -> u16 {
    if spec.autoscale.is_empty() {
        return 0;
    }
    let room = HOSTS_MAX.saturating_sub(deployment::pods(spec).count() + spec.restarts_by_faults() as usize);
    RESTARTS_MAX.min(u16::try_from(room).unwrap_or(u16::MAX))
}

/// What is known of pods that are scaled, and how long pods are there. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(super) struct Scaling {
    spec: Arc<Spec>,
    pub(super) scales: Scales,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    steps: Vec<ScalingStep>,
    /// Their processes run and were not asked to stop.
    up: BTreeSet<Pod>,
    /// Those of them that have all they need.
    ready: BTreeSet<Pod>,
    scheduled_us: BTreeMap<Pod, u64>,
    /// Of pods that have ended.
    used_us: BTreeMap<Target, u64>,
    restarts: u16,
    killed: u32,
}

impl Scaling {
    pub(super) fn new(spec: Arc<Spec>) -> Self {
        Self { scales: Scales::new(&spec), spec, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with it")
    }

    /// Whether `pod` comes and goes.
    pub(super) fn scales(&self, pod: Pod) -> bool {
        Target::of(pod).is_some_and(|target| self.spec.autoscale.of(target).is_some())
    }

    /// From now on there is `pod`. A new incarnation of one that is there already is the same pod.
    pub(super) fn schedule(&self, pod: Pod, now_us: u64) {
        self.state().scheduled_us.entry(pod).or_insert(now_us);
    }

    /// Its process has started.
    pub(super) fn started(&self, pod: Pod) {
        self.state().up.insert(pod);
    }

    /// Tells when `pod` has become ready, and ends. To be run on the pod.
    pub(super) async fn probe(self, pod: Pod, readiness: Arc<Readiness>, now_us: impl Fn() -> u64 + Send) {
        while readiness.check().is_err() {
            sleep(PROBE_PERIOD).await;
        }
        let mut state = self.state();
        if state.up.contains(&pod) {
            state.ready.insert(pod);
        }
        drop(state);
        self.record(Target::of(pod), now_us());
    }

    /// There is `pod` no more.
    fn end(&self, pod: Pod, now_us: u64) {
        let mut state = self.state();
        if let (Some(since_us), Some(target)) = (state.scheduled_us.remove(&pod), Target::of(pod)) {
            *state.used_us.entry(target).or_default() += now_us - since_us;
        }
    }

    /// Takes note of how many replicas there are, if that has changed.
    fn record(&self, target: Option<Target>, at_us: u64) {
        let Some(target) = target else { return };
        let wanted = self.scales.wanted(target);
        let mut state = self.state();
        let is_ready =
            |index: &u32| target.replica(self.spec.routers(), *index).iter().all(|p| state.ready.contains(p));
        let ready = (0..self.spec.replicas_max(target)).filter(is_ready).count();
        let step = ScalingStep { at_us, target, wanted, ready: ready as u32 };
        let last = state.steps.iter().rev().find(|step| step.target == target);
        if last.is_none_or(|last| (last.wanted, last.ready) != (step.wanted, step.ready)) {
            state.steps.push(step);
        }
    }

    /// Whether a pod had to be killed.
    pub(super) fn has_killed(&self) -> bool {
        self.state().killed > 0
    }

    /// All steps so far, and how long the pods of each target have been there.
    pub(super) fn report(&self, now_us: u64) -> (Vec<ScalingStep>, BTreeMap<Target, u64>) {
        let state = self.state();
        let mut pods_us = state.used_us.clone();
        for (pod, since_us) in &state.scheduled_us {
            if let Some(target) = Target::of(*pod) {
                *pods_us.entry(target).or_default() += now_us - since_us;
            }
        }
        (state.steps.clone(), pods_us)
    }

    fn count_restart(&self) -> anyhow::Result<()> {
        let max = restarts_max(&self.spec);
        let mut state = self.state();
        ensure!(
            state.restarts < max,
            "scaled pods have come again {max} times, more than the simulated network has hosts for; a longer \
             stabilization window or a shorter run needs fewer"
        );
        state.restarts += 1;
        Ok(())
    }
}

/// Lets pods of `spec` come and go as the autoscaler wants.
///
/// # Errors
/// When they have come more often than there is room for.
pub(super) async fn follow(world: &World, spec: &Spec) -> anyhow::Result<Infallible> {
    if spec.autoscale.is_empty() {
        return pending().await;
    }
    let lives = spec.autoscale.all().flat_map(|(target, rules)| {
        let replicas = (0..rules.max_replica_count).flat_map(move |index| {
            let pods = target.replica(spec.routers(), index);
            pods.into_iter().map(move |pod| (index, pod))
        });
        replicas.map(move |(index, pod)| Life { world, spec, target, rules, index, pod }.live())
    });
    let counts = join_all(spec.autoscale.all().map(|(target, _)| count(world, target)));
    let lives = try_join_all(lives);
    tokio::select! {
        biased;
        _ = counts => unreachable!("scales are there as long as the world"),
        lives = lives => lives.map(|_| unreachable!("no life ends but by an error")),
    }
}

/// Takes note of each number that is wanted of `target`.
async fn count(world: &World, target: Target) {
    let mut wanted = world.scaling().scales.watch(target);
    loop {
        let now_us = world.cluster().now_us();
        let replicas = *wanted.borrow_and_update();
        world.scaling().record(Some(target), now_us);
        world.note(Pod::Autoscaler, format_args!("{target}: {replicas} wanted"));
        if wanted.changed().await.is_err() {
            return;
        }
    }
}

/// The pod of one replica, or one of its two, through all its lives.
struct Life<'a> {
    world: &'a World,
    spec: &'a Spec,
    target: Target,
    rules: &'a Autoscaler,
    index: u32,
    pod: Pod,
}

impl Life<'_> {
    async fn live(self) -> anyhow::Result<Infallible> {
        let Self { world, pod, rules, .. } = self;
        let (scaling, index) = (world.scaling(), self.index);
        let mut wanted = scaling.scales.watch(self.target);
        let mut rng = Seed::new(self.spec.seed).stream(&format!("start of {pod}"));
        let mut has_lived = index < self.spec.replicas.of(self.target);
        if has_lived {
            while !scaling.state().up.contains(&pod) {
                sleep(LOOK_PERIOD).await;
            }
            self.end_when_unwanted(&mut wanted).await;
        }
        loop {
            until(&mut wanted, |replicas| replicas > index).await;
            scaling.schedule(pod, world.cluster().now_us());
            let start_us = log_normal(u64::from(rules.start_ms) * 1_000, rules.start_spread_percent, || rng.next_u64());
            let is_wanted = tokio::select! {
                biased;
                () = until(&mut wanted, |replicas| replicas <= index) => false,
                () = sleep(Duration::from_micros(start_us)) => true,
            };
            if !is_wanted {
                scaling.end(pod, world.cluster().now_us());
                continue;
            }
            if has_lived {
                scaling.count_restart()?;
            }
            world.start(pod);
            has_lived = true;
            self.end_when_unwanted(&mut wanted).await;
        }
    }

    /// SIGTERM when it is no longer wanted, and SIGKILL when its grace period is over.
    async fn end_when_unwanted(&self, wanted: &mut watch::Receiver<u32>) {
        let Self { world, pod, index, .. } = *self;
        until(wanted, |replicas| replicas <= index).await;
        let scaling = world.scaling();
        {
            let mut state = scaling.state();
            state.up.remove(&pod);
            state.ready.remove(&pod);
        }
        scaling.record(Some(self.target), world.cluster().now_us());
        if timeout(self.rules.grace(), world.stop(pod)).await.is_err() {
            scaling.state().killed += 1;
            world.note(pod, format_args!("killed, {} s after it was asked to stop", self.rules.grace_s));
        }
        world.retire(pod);
        scaling.end(pod, world.cluster().now_us());
    }
}

/// Waits until the number of replicas that are wanted is so.
async fn until(wanted: &mut watch::Receiver<u32>, is_so: impl Fn(u32) -> bool) {
    // An error would mean that nobody can want anything any more.
    if wanted.wait_for(|replicas| is_so(*replicas)).await.is_err() {
        pending::<()>().await;
    }
}
