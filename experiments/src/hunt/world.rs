//! A small world of a seed's own: what there is, what is to be done, and how the services are configured.
//!
//! Each choice keeps its default in part of the worlds, so that what is rare together is met together, too. Small
//! worlds are as good as large ones: what breaks with thousands of tasks breaks with a few dozen, and a run takes a
//! fraction of a second.

use super::{dice::Dice, schedule};
use crate::spec::{
    Arrivals, BleService, CommandedEsls, Fault, FaultKind, Fleet, GatewayMode, Hosts, LinkClass, MqttQuota, Order,
    Spec, Target,
};
use backbone::config::{
    Acknowledgement, Connections, Correlation, Presence, Replies, ReplyQueue, RoutingMode, RpcKind,
};

/// Longest that parts take to notice each other's absence, in seconds: one and a half of a gateway's keep-alives (60
/// s), and what a broker takes to look; an orphaned reply queue goes after 60 s, a refused right counts for 30 s.
const NOTICE_S: u64 = 180;
/// Tasks that show that all is well again: two for each worker and each router, and no more than this, a part of the
/// fewest that there are.
const PROBES_MAX: u32 = 10;
/// Most interruptions of a task (`backbone::service::worker`).
const INTERRUPTIONS_MAX: u64 = 10;

/// The world of `seed`, with what breaks in it.
///
/// # Panics
/// If a rule of specs is broken, which is a fault of this function.
#[must_use]
pub fn draw(seed: u64) -> Spec {
    let mut spec = calm(seed);
    spec.faults = schedule::draw(&spec, seed);
    with_limits(&mut spec);
    spec.check().expect("only valid worlds are drawn");
    spec
}

/// `spec` with the faults of `seed` instead of its own.
///
/// # Panics
/// The same.
#[must_use]
pub fn with_faults(spec: &Spec, seed: u64) -> Spec {
    let mut spec = Spec { seed, ..spec.clone() };
    spec.expect.every_fault_hits = false;
    spec.faults = schedule::draw(&spec, seed);
    with_limits(&mut spec);
    spec.check().expect("only valid faults are drawn");
    spec
}

/// `spec` with a new version of a service, too, beside what breaks in it.
///
/// # Panics
/// The same.
#[must_use]
pub fn with_rollout(spec: &Spec) -> Spec {
    let mut spec = spec.clone();
    spec.faults.push(schedule::rollout(&spec));
    spec.faults.sort_by_key(|fault| fault.at_ms);
    with_limits(&mut spec);
    spec.check().expect("only valid faults are drawn");
    spec
}

/// The world of `seed` before anything breaks.
pub(super) fn calm(seed: u64) -> Spec {
    let mut dice = Dice::new(seed, "hunted world");
    let mut spec =
        Spec { name: format!("hunt-{seed}"), title: format!("The hunt's world {seed}"), seed, ..Spec::default() };
    spec.expect.every_fault_hits = false;
    topology(&mut spec, &mut dice);
    services(&mut spec, &mut dice);
    routing(&mut spec, &mut dice);
    fleet(&mut spec.fleet, &mut dice);
    workload(&mut spec, &mut dice);
    surroundings(&mut spec, &mut dice);
    probes(&mut spec);
    spec
}

/// How long a run may take, and how long it may take after the last fault.
pub(super) fn with_limits(spec: &mut Spec) {
    let worker = &spec.backbone.task_worker;
    let slots = u64::from(spec.replicas_max(Target::TaskWorkers)) * u64::from(worker.prefetch);
    let copies = 1 + spec.faults.len() as u64;
    // Each try of each task may wait for a reply that does not come, one round of the workers after the other.
    let rounds = (u64::from(spec.workload.tasks) * copies).div_ceil(slots.max(1));
    let tries_ms = u64::from(worker.attempts_max) * (worker.reply_timeout_ms + worker.retry_delay_ms);
    let times = |fault: &Fault| match fault.kind {
        // It takes twice its time for each pod.
        FaultKind::RollingRestart => 2 * slots.max(3),
        FaultKind::Rollout => slots.max(3),
        _ => 1,
    };
    let end_ms = |fault: &Fault| fault.at_ms + fault.for_ms.unwrap_or(0) * times(fault);
    let last_fault_ms = spec.faults.iter().map(end_ms).max().unwrap_or(0);
    let recover_s = NOTICE_S + (rounds * tries_ms + INTERRUPTIONS_MAX * worker.retry_delay_ms).div_ceil(1_000);
    let virtual_s = recover_s + last_fault_ms / 1_000 + u64::from(spec.workload.duration_s);
    spec.limits.recover_s = u32::try_from(recover_s).unwrap_or(u32::MAX);
    spec.limits.virtual_s_max = u32::try_from(virtual_s + NOTICE_S).unwrap_or(u32::MAX);
}

fn topology(spec: &mut Spec, dice: &mut Dice) {
    spec.replicas.task_workers = dice.any(1..=6);
    spec.replicas.routers = dice.any(1..=3);
    spec.fleet.stores = if dice.percent(20) { 2 } else { 1 };
    spec.fleet.gateways = spec.fleet.stores * dice.any(1..=3);
    spec.fleet.gateways_in_range = dice.any(1..=3);
    spec.fleet.esls = spec.fleet.stores * dice.magnitude(4..=30);
    if dice.percent(30) {
        spec.fleet.hosts = Hosts::PerStore;
    }
    if dice.percent(25) {
        spec.brokers.redis_shards = dice.any(2..=3);
    }
}

fn services(spec: &mut Spec, dice: &mut Dice) {
    let backbone = &mut spec.backbone;
    if dice.percent(25) {
        backbone.rpc.kind = RpcKind::Http;
        backbone.rpc.connections = dice.one(&[Connections::KeepAlive, Connections::PerRequest, Connections::PerTask]);
        backbone.http_router.replies = dice.one(&[Replies::Broadcast, Replies::ResponseTopic]);
        if dice.percent(10) {
            backbone.http_router.replies = Replies::Shared;
        }
        if dice.percent(30) {
            backbone.http_router.in_flight_max = dice.any(1..=8) as usize;
        }
    }
    backbone.results.publish = dice.percent(75);
    let worker = &mut backbone.task_worker;
    worker.prefetch = if dice.percent(60) { 1 } else { dice.any(2..=8) as u16 };
    if dice.percent(20) {
        worker.reply_queue = ReplyQueue::PerCall;
    }
    worker.reply_timeout_ms = dice.magnitude(800..=8_000).into();
    worker.retry_delay_ms = dice.magnitude(200..=4_000).into();
    worker.attempts_max = dice.any(1..=5);
    if dice.percent(10) {
        backbone.fwd_router.acknowledgement = Acknowledgement::Auto;
    }
    if dice.percent(50) {
        backbone.fwd_router.prefetch = dice.magnitude(1..=32) as u16;
        backbone.bck_router.in_flight_max = dice.magnitude(1..=32) as usize;
        backbone.mqtt.receive_maximum = dice.magnitude(1..=64) as u16;
        backbone.mqtt.in_flight_max = dice.magnitude(1..=64) as u16;
    }
    backbone.amqp.heartbeat_s = dice.any(2..=20) as u16;
    backbone.mqtt.keep_alive_s = dice.any(5..=30) as u16;
    if dice.percent(10) {
        backbone.mqtt.session_expiry_s = dice.any(5..=30);
    }
    if dice.percent(40) {
        backbone.dispatcher.window = dice.magnitude(1..=256) as usize;
    }
    if dice.percent(30) {
        backbone.dispatcher.waiting_max = dice.any(1..=20);
    }
    if dice.percent(15) {
        backbone.task_queue.priority_max = 3;
    }
}

fn routing(spec: &mut Spec, dice: &mut Dice) {
    let period_ms = dice.magnitude(400..=2_000);
    spec.fleet.rssi_period_ms = period_ms;
    let routing = &mut spec.backbone.routing;
    routing.route_fresh_ms = u64::from(period_ms) * u64::from(dice.any(3..=5));
    routing.newest_wins = dice.percent(80);
    routing.retry_elsewhere = dice.percent(25);
    if dice.percent(25) {
        routing.mode = dice.one(&[RoutingMode::LastHeard, RoutingMode::Random]);
    } else if dice.percent(20) {
        routing.hysteresis_db = dice.any(1..=6) as u8;
        routing.hysteresis_ms = dice.any(0..=2_000).into();
    }
    if dice.percent(25) {
        routing.presence = Presence::Status;
        spec.fleet.tells_status = true;
    }
    if dice.percent(20) {
        routing.smoothing_ms = period_ms.into();
    }
    if dice.percent(15) {
        spec.fleet.rssi_change_db = dice.any(1..=6) as u8;
        spec.fleet.rssi_heartbeat_ms = period_ms;
    }
    if dice.percent(8) {
        spec.backbone.correlation = Correlation::EslMac;
    }
    if spec.brokers.redis_shards == 1 && dice.percent(8) {
        let routing = &mut spec.backbone.routing;
        (routing.mode, routing.hysteresis_db, routing.hysteresis_ms) = (RoutingMode::Fixed, 0, 0);
        (spec.fleet.shared_mac, spec.fleet.rssi_period_ms) = (true, 0);
        (spec.fleet.rssi_change_db, spec.fleet.rssi_heartbeat_ms) = (0, 0);
    }
}

fn fleet(fleet: &mut Fleet, dice: &mut Dice) {
    fleet.mode = dice.one(&[GatewayMode::Serial, GatewayMode::Concurrent]);
    fleet.order = dice.one(&[Order::AcknowledgeFirst, Order::ReplyFirst]);
    if dice.percent(70) {
        let median = dice.magnitude(1..=60);
        fleet.ble_service_ms = BleService { median, spread: dice.any(0..=median) };
    }
}

fn workload(spec: &mut Spec, dice: &mut Dice) {
    let workload = &mut spec.workload;
    workload.tasks = dice.magnitude(20..=300);
    if dice.percent(50) {
        workload.arrivals = dice.one(&[Arrivals::Constant, Arrivals::Poisson]);
        workload.duration_s = dice.any(1..=12);
    }
    workload.commands_per_task = dice.any(1..=3);
    if dice.percent(20) {
        workload.commands_per_task_max = workload.commands_per_task + 1;
    }
    let most = workload.most_commands();
    let is_fixed = spec.backbone.routing.mode == RoutingMode::Fixed;
    if is_fixed && dice.percent(50) {
        // Gateways that hear labels reach no others.
        (workload.esls, spec.fleet.esls) = (CommandedEsls::Fresh, 0);
    } else if dice.percent(15) {
        workload.esls = CommandedEsls::EachOnce;
        spec.fleet.esls = (workload.tasks * most).next_multiple_of(spec.fleet.stores);
    } else if spec.fleet.esls >= 4 * most && dice.percent(30) {
        workload.zipf_percent = 100;
    }
    if workload.esls == CommandedEsls::Fleet && dice.percent(10) {
        workload.unknown_percent = dice.any(1..=10);
    }
    if dice.percent(10) {
        (workload.body_bytes_min, workload.body_bytes_max) = (100, 3_000);
    }
    // Gateways that echo nothing make callers believe foreign replies, unless no two calls are for one label.
    let is_alone = matches!(workload.esls, CommandedEsls::EachOnce | CommandedEsls::Fresh);
    if spec.backbone.correlation == Correlation::EslMac && is_alone {
        spec.fleet.echoes_request_id = dice.percent(50);
    }
}

fn surroundings(spec: &mut Spec, dice: &mut Dice) {
    if dice.percent(20) {
        spec.network.loss_ppm = dice.magnitude(100..=10_000);
    }
    if dice.percent(30) {
        spec.network.links.gateway_mqtt = LinkClass::Wan;
    }
    if dice.percent(40) {
        spec.brokers.mqtt_inflight_max = dice.magnitude(1..=20) as u16;
    }
    if dice.percent(20) {
        spec.brokers.mqtt_quota = MqttQuota::Leaky;
    }
    if dice.percent(10) {
        spec.machines.gateway.nodelay = false;
    }
}

/// Where each task should be done at its first try, if nothing breaks, some show that it is so again.
pub(super) fn probes(spec: &mut Spec) {
    let shares_replies =
        spec.backbone.rpc.kind == RpcKind::Http && spec.backbone.http_router.replies == Replies::Shared;
    // Whichever gateway takes a command for all of them may not hear its label.
    let is_blind = spec.fleet.shared_mac && spec.workload.esls != CommandedEsls::Fresh;
    let has_room = spec.backbone.rpc.kind == RpcKind::Queue
        || spec.backbone.http_router.in_flight_max >= spec.workload.most_commands() as usize;
    let loses =
        spec.network.loss_ppm > 0 || spec.workload.unknown_percent > 0 || shares_replies || is_blind || !has_room;
    if !loses {
        let slots = spec.replicas.task_workers.max(spec.replicas.routers);
        spec.expect.probe_tasks = (2 * slots).min(PROBES_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drawn_world_is_valid_and_small_and_the_same_each_time() {
        for seed in 0..2_000 {
            let spec = draw(seed);
            assert!((20..=300).contains(&spec.workload.tasks) && spec.fleet.gateways <= 6, "{seed}");
            assert!(spec.heals(), "{seed}: all that breaks is mended");
        }
        let calm = (0..2_000).filter(|seed| draw(*seed).faults.is_empty()).count();
        assert!((40..140).contains(&calm), "{calm} worlds in which nothing breaks");
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7).to_toml(), draw(8).to_toml());
    }

    #[test]
    fn worlds_differ_in_every_choice() {
        let worlds: Vec<Spec> = (0..300).map(draw).collect();
        let some = |is_so: &dyn Fn(&Spec) -> bool| worlds.iter().any(is_so) && !worlds.iter().all(is_so);
        assert!(some(&|spec| spec.backbone.rpc.kind == RpcKind::Http));
        assert!(some(&|spec| spec.backbone.results.publish));
        assert!(some(&|spec| spec.brokers.redis_shards > 1));
        assert!(some(&|spec| spec.backbone.fwd_router.acknowledgement == Acknowledgement::Auto));
        assert!(some(&|spec| spec.backbone.routing.mode == RoutingMode::Fixed));
        assert!(some(&|spec| spec.faults.len() > 3));
        assert!(some(&|spec| spec.faults.iter().any(|fault| fault.kind == FaultKind::Freeze)));
    }

    #[test]
    fn a_drawn_world_survives_being_written() {
        let spec = draw(3);
        let read = Spec { name: spec.name.clone(), ..crate::spec::parse(&spec.to_toml()).unwrap() };
        assert_eq!(read, spec);
    }
}
