//! Worlds for real brokers, and what breaks in them: as small as a run in real time has to be, with nothing that only
//! the simulator has, and with the faults that a live run can inject.
//!
//! A seed says what there is and what breaks, but not what comes of it: that depends on the machine's clocks. So each
//! verdict stands beside the simulator's on the same world, and what differs is a finding about one of them.

use super::{dice::Dice, world};
use crate::{
    live::FAULT_KINDS,
    measure::Outcome,
    progress::Progress,
    spec::{Arrivals, Brokers, CommandedEsls, Fault, FaultKind, Hosts, Machines, Network, Part, Pod, Spec},
};
use backbone::config::{Replies, RoutingMode};
use std::{io::Write, ops::RangeInclusive, sync::Arc};

/// Most faults of a schedule.
const FAULTS_MAX: u32 = 3;
/// Tasks: enough to be at work while something breaks.
const TASKS: RangeInclusive<u32> = 20..=60;
/// In what time they come, in seconds: a burst would be over before anything breaks.
const DURATION_S: RangeInclusive<u32> = 2..=5;
/// Longest and shortest fault, in milliseconds: from less than a retransmission to more than a heartbeat.
const FOR_MS: RangeInclusive<u32> = 20..=8_000;
/// Longest wait for a reply, and longest pause before the next try, in milliseconds.
const REPLY_TIMEOUT_MS_MAX: u64 = 3_000;
const RETRY_DELAY_MS_MAX: u64 = 1_500;
/// Longest heartbeat of AMQP, and keep-alive and session of MQTT, in seconds.
const HEARTBEAT_S_MAX: u16 = 4;
const KEEP_ALIVE_S_MAX: u16 = 8;
const SESSION_S_MAX: u32 = 8;
/// How often a fault hits all routers of a kind, in percent.
const ALL_PERCENT: u64 = 15;

/// How often nothing passes between a router and one broker rather than all, in percent.
const BETWEEN_PERCENT: u64 = 60;

/// The world of `seed`, with what breaks in it.
///
/// # Panics
/// If a rule of specs is broken, which is a fault of this function.
#[must_use]
pub fn draw(seed: u64) -> Spec {
    let mut spec = world::calm(seed);
    (spec.name, spec.title) = (format!("hunt-live-{seed}"), format!("The live hunt's world {seed}"));
    let mut dice = Dice::new(seed, "live world");
    make_small(&mut spec, &mut dice);
    make_real(&mut spec);
    world::probes(&mut spec);
    broken(spec, seed)
}

/// `spec` with the faults of `seed` instead of its own.
///
/// # Panics
/// The same.
#[must_use]
pub fn with_faults(spec: &Spec, seed: u64) -> Spec {
    let mut spec = Spec { seed, ..spec.clone() };
    spec.expect.every_fault_hits = false;
    broken(spec, seed)
}

fn broken(mut spec: Spec, seed: u64) -> Spec {
    spec.faults = schedule(&spec, seed);
    world::with_limits(&mut spec);
    spec.check().expect("only valid worlds are drawn");
    spec
}

/// Runs `spec` live, on brokers of its own and without quotas. A [`Simulate`](crate::simulate::Simulate) but for the
/// event log, which there is none of.
///
/// # Errors
/// Those of [`crate::live::live`].
pub fn run(spec: &Spec, progress: &Arc<Progress>, _log: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
    let options = crate::live::Options { no_quota: true, ..Default::default() };
    Ok(crate::live::live(spec, &options, progress)?.0)
}

/// Real time is dear: few of everything, and short timeouts.
fn make_small(spec: &mut Spec, dice: &mut Dice) {
    spec.replicas.task_workers = dice.any(1..=3);
    spec.replicas.routers = dice.any(1..=2);
    (spec.fleet.stores, spec.fleet.gateways, spec.fleet.hosts) = (1, dice.any(1..=2), Hosts::PerGateway);
    let workload = &mut spec.workload;
    (workload.tasks, workload.duration_s) = (dice.any(TASKS), dice.any(DURATION_S));
    workload.arrivals = dice.one(&[Arrivals::Constant, Arrivals::Poisson]);
    let worker = &mut spec.backbone.task_worker;
    worker.reply_timeout_ms = worker.reply_timeout_ms.min(REPLY_TIMEOUT_MS_MAX);
    worker.retry_delay_ms = worker.retry_delay_ms.min(RETRY_DELAY_MS_MAX);
    let (amqp, mqtt) = (&mut spec.backbone.amqp, &mut spec.backbone.mqtt);
    amqp.heartbeat_s = amqp.heartbeat_s.min(HEARTBEAT_S_MAX);
    mqtt.keep_alive_s = mqtt.keep_alive_s.min(KEEP_ALIVE_S_MAX);
    mqtt.session_expiry_s = mqtt.session_expiry_s.min(SESSION_S_MAX);
}

/// Nothing that only the simulator has, and nothing that makes most tasks wait for replies that never come.
fn make_real(spec: &mut Spec) {
    (spec.network, spec.machines) = (Network::default(), Machines::default());
    spec.brokers = Brokers { mqtt_inflight_max: spec.brokers.mqtt_inflight_max, ..Brokers::default() };
    spec.workload.unknown_percent = 0;
    if spec.backbone.http_router.replies == Replies::Shared {
        spec.backbone.http_router.replies = Replies::Broadcast;
    }
    match spec.workload.esls {
        CommandedEsls::EachOnce => spec.fleet.esls = spec.workload.tasks * spec.workload.most_commands(),
        _ if spec.backbone.routing.mode == RoutingMode::Fixed => {
            (spec.workload.esls, spec.workload.zipf_percent, spec.fleet.esls) = (CommandedEsls::Fresh, 0, 0);
        }
        _ => {}
    }
}

/// The faults of `seed` for `spec`, by the time at which they begin.
fn schedule(spec: &Spec, seed: u64) -> Vec<Fault> {
    let mut dice = Dice::new(seed, "live faults");
    let routers = spec.routers();
    let span_ms = spec.workload.duration_s.max(1) * 1_000;
    let mut faults: Vec<Fault> = (0..dice.any(1..=FAULTS_MAX))
        .map(|_| {
            let router = Pod::Router(dice.one(routers), dice.any(0..=spec.replicas.routers - 1));
            let pod = if dice.percent(50) { router } else { dice.one(&Pod::BROKERS) };
            let is_all = pod == router && dice.percent(ALL_PERCENT);
            let target = if is_all { Part::All(pod) } else { Part::One(pod) };
            // What is between it and a broker is a router's; a broker's other ways lie within this process.
            let can = |kind: &FaultKind| kind.scope().has(target) && (*kind != FaultKind::Hold || pod == router);
            let kinds: Vec<FaultKind> = FAULT_KINDS.into_iter().filter(can).collect();
            let (at_ms, kind) = (u64::from(dice.any(0..=span_ms)), dice.one(&kinds));
            let fault = Fault::new(at_ms, kind, target, u64::from(dice.magnitude(FOR_MS)));
            let is_between = kind == FaultKind::Hold && dice.percent(BETWEEN_PERCENT);
            if is_between { fault.from(dice.one(&spec.peers(router))) } else { fault }
        })
        .collect();
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_world_for_real_brokers_is_small_and_broken_by_what_a_live_run_can_do() {
        let (mut kinds, mut parts) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..1_000 {
            let spec = draw(seed);
            assert!(TASKS.contains(&spec.workload.tasks) && spec.replicas.task_workers <= 3, "{seed}");
            assert!(spec.heals() && (1..=3).contains(&spec.faults.len()), "{seed}");
            assert!(spec.faults.iter().all(|fault| fault.at_ms <= 5_000), "{seed}");
            assert_eq!((spec.network.loss_ppm, spec.brokers.redis_shards, spec.autoscale.is_empty()), (0, 1, true));
            kinds.extend(spec.faults.iter().map(|fault| fault.kind));
            parts.extend(spec.faults.iter().map(|fault| fault.target.example().kind()));
        }
        assert_eq!(kinds.len(), FAULT_KINDS.len(), "{kinds:?}");
        assert_eq!(parts.len(), 6, "{parts:?}");
        assert_eq!(draw(7), draw(7));
    }
}
