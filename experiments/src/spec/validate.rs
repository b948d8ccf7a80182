//! Rules for values that types can't express.

use super::{AmqpMetadata, CommandedEsls, Fault, Machine, Pod, Spec};
use backbone::{
    config::{Correlation, RoutingMode},
    message::{RSSI_LABELS_MAX, TASK_COMMANDS_MAX},
};

/// Most tasks: their records have to fit into memory.
const TASKS_MAX: u32 = 10_000_000;
/// Most replicas of one service, and most gateways: each costs a host in the simulated network.
const HOSTS_MAX: u32 = 20_000;
/// Most commands of all tasks together: the label of each is kept.
const COMMANDS_MAX: u64 = 50_000_000;
/// Most hosts of all kinds together: they share 192.168.0.0/16 with the brokers and the dispatcher.
const ALL_HOSTS_MAX: u64 = 65_000;
/// How many times the average some gateway of a store may hear.
const CROWDING: u64 = 3;
/// Most labels.
const ESLS_MAX: u32 = 5_000_000;
/// Coarsest quantum: coarser than a timer's tick, packets would be late for timers.
const QUANTUM_US_MAX: u32 = 1_000;
/// Longest cost of a step, and longest period of a quota, in us: ten seconds.
const COST_US_MAX: u32 = 10_000_000;
/// Widest spread of costs: with sigma 3, one in a thousand takes ten thousand times the median.
const SPREAD_PERCENT_MAX: u32 = 300;
/// Most threads of a pod.
const THREADS_MAX: u32 = 1_024;
/// Longest pause between the starts of two workers, in ms.
const STAGGER_MS_MAX: u32 = 60_000;
/// All segments.
const MILLION: u32 = 1_000_000;

/// A value that breaks a rule.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {rule}")]
pub(super) struct Wrong {
    /// The key.
    pub(super) path: String,
    /// The rule, and what was found.
    rule: String,
}

fn wrong<T>(path: impl Into<String>, rule: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), rule: rule.into() })
}

fn within(path: &str, value: u32, min: u32, max: u32) -> Result<(), Wrong> {
    if (min..=max).contains(&value) { Ok(()) } else { wrong(path, format!("is {value}; accepted are {min} to {max}")) }
}

/// Checks all rules and names the first that is broken.
pub(super) fn validate(spec: &Spec) -> Result<(), Wrong> {
    within("workload.tasks", spec.workload.tasks, 1, TASKS_MAX)?;
    within("workload.commands_per_task", spec.workload.commands_per_task, 1, TASK_COMMANDS_MAX as u32)?;
    within("replicas.task_workers", spec.replicas.task_workers, 1, HOSTS_MAX)?;
    within("replicas.routers", spec.replicas.routers, 1, HOSTS_MAX)?;
    within("brokers.mqtt_inflight_max", u32::from(spec.brokers.mqtt_inflight_max), 1, u32::from(u16::MAX))?;
    within("limits.virtual_s_max", spec.limits.virtual_s_max, 1, u32::MAX)?;
    together(spec)?;
    fleet(spec)?;
    services(spec)?;
    routes(spec)?;
    network(spec)?;
    amqp_metadata(&spec.brokers.amqp_metadata)?;
    machines(spec)?;
    faults(spec)
}

/// What is fine one by one may be too much together.
fn together(spec: &Spec) -> Result<(), Wrong> {
    let commands = u64::from(spec.workload.tasks) * u64::from(spec.workload.commands_per_task);
    if commands > COMMANDS_MAX {
        let rule = format!("makes {commands} commands with `workload.tasks`; accepted are {COMMANDS_MAX}");
        return wrong("workload.commands_per_task", rule);
    }
    let (workers, routers) = (u64::from(spec.replicas.task_workers), u64::from(spec.replicas.routers));
    let pods_per_router = spec.routers().len() as u64;
    let hosts = workers + pods_per_router * routers + u64::from(spec.fleet.gateways) + spec.faults.len() as u64;
    if hosts > ALL_HOSTS_MAX {
        let rule = format!("makes {hosts} hosts with all other pods and faults; accepted are {ALL_HOSTS_MAX}");
        return wrong("replicas.routers", rule);
    }
    let fleet = &spec.fleet;
    let heard = u64::from(fleet.esls) * u64::from(fleet.gateways_in_range) / u64::from(fleet.gateways.max(1));
    if heard * CROWDING > RSSI_LABELS_MAX as u64 {
        let rule = format!(
            "lets a gateway hear {heard} labels; with a margin for crowded corners {RSSI_LABELS_MAX} fit into a report"
        );
        return wrong("fleet.esls", rule);
    }
    Ok(())
}

fn fleet(spec: &Spec) -> Result<(), Wrong> {
    let fleet = &spec.fleet;
    within("fleet.gateways", fleet.gateways, 1, HOSTS_MAX)?;
    within("fleet.stores", fleet.stores, 1, fleet.gateways)?;
    within("fleet.esls", fleet.esls, 0, ESLS_MAX)?;
    within("fleet.gateways_in_range", fleet.gateways_in_range, 1, HOSTS_MAX)?;
    within("fleet.ble_service_ms.spread", fleet.ble_service_ms.spread, 0, fleet.ble_service_ms.median)?;
    for (path, all) in [("fleet.gateways", fleet.gateways), ("fleet.esls", fleet.esls)] {
        if !all.is_multiple_of(fleet.stores) {
            return wrong(path, format!("is {all}, which does not spread evenly over {} stores", fleet.stores));
        }
    }
    if fleet.shared_mac && fleet.rssi_period_ms > 0 {
        return wrong("fleet.rssi_period_ms", "must be 0 with `fleet.shared_mac`: a report names its gateway");
    }
    if !fleet.echoes_request_id && spec.backbone.correlation == Correlation::RequestId {
        return wrong("fleet.echoes_request_id", "is false, which needs `backbone.correlation = \"esl_mac\"`");
    }
    let labels_needed = spec.workload.commands_per_task;
    if spec.workload.esls == CommandedEsls::Fleet && fleet.esls < labels_needed {
        let rule =
            format!("is {}; `workload.esls = \"fleet\"` needs at least {labels_needed}, one a command", fleet.esls);
        return wrong("fleet.esls", rule);
    }
    Ok(())
}

/// The services' own rules.
fn services(spec: &Spec) -> Result<(), Wrong> {
    let Err(problems) = spec.backbone.validate() else { return Ok(()) };
    // A line a problem: "configuration: `mqtt.port` is 0; expected …".
    let text = problems.to_string();
    let first = text.lines().next().unwrap_or_default().trim_start_matches("configuration: ");
    match first.trim_start_matches('`').split_once("` ") {
        Some((key, rule)) => wrong(format!("backbone.{key}"), rule),
        None => wrong("backbone", first),
    }
}

/// A request needs a way to its gateway.
fn routes(spec: &Spec) -> Result<(), Wrong> {
    let fixed = spec.backbone.routing.mode == RoutingMode::Fixed;
    let one_address = spec.fleet.shared_mac || spec.fleet.gateways == 1;
    if fixed && !one_address {
        return wrong(
            "backbone.routing.mode",
            "is \"fixed\", one gateway for all: set `fleet.shared_mac` or one gateway",
        );
    }
    if !fixed && spec.fleet.rssi_period_ms == 0 {
        return wrong("fleet.rssi_period_ms", "is 0; routing by RSSI (`backbone.routing.mode`) needs reports");
    }
    if !fixed && spec.workload.esls == CommandedEsls::Fresh {
        let rule = "is \"fresh\", labels that nobody hears; they need `backbone.routing.mode = \"fixed\"`";
        return wrong("workload.esls", rule);
    }
    Ok(())
}

fn network(spec: &Spec) -> Result<(), Wrong> {
    let network = &spec.network;
    within("network.quantum_us", network.quantum_us, 0, QUANTUM_US_MAX)?;
    within("network.loss_ppm", network.loss_ppm, 0, MILLION)?;
    let replicas = &spec.replicas;
    within("replicas.worker_stagger_ms", replicas.worker_stagger_ms, 0, STAGGER_MS_MAX)?;
    within("replicas.worker_rush_ms", replicas.worker_rush_ms, 0, STAGGER_MS_MAX)?;
    if replicas.all_at_once() && replicas.workers_before_rush > 0 {
        let rule = "is set, but all workers start at once; a rush needs `replicas.worker_stagger_ms`";
        return wrong("replicas.workers_before_rush", rule);
    }
    Ok(())
}

fn machines(spec: &Spec) -> Result<(), Wrong> {
    let all = &spec.machines;
    let named = [
        ("amqp", all.amqp),
        ("redis", all.redis),
        ("mqtt", all.mqtt),
        ("gateway", all.gateway),
        ("router", all.router),
        ("task_worker", all.task_worker),
    ];
    within("machines.cores", all.cores, 0, THREADS_MAX)?;
    within("machines.late_percent", all.late_percent, 0, 100)?;
    for (name, machine) in named {
        self::machine(name, &machine)?;
        if all.cores > 0 && machine.cpu_quota_us > 0 {
            let rule =
                format!("is {}; a quota on shared cores (`machines.cores`) is not modelled", machine.cpu_quota_us);
            return wrong(format!("machines.{name}.cpu_quota_us"), rule);
        }
    }
    Ok(())
}

fn amqp_metadata(metadata: &AmqpMetadata) -> Result<(), Wrong> {
    within("brokers.amqp_metadata.change_us", metadata.change_us, 0, COST_US_MAX)?;
    within("brokers.amqp_metadata.beside_us", metadata.beside_us, 0, COST_US_MAX)?;
    within("brokers.amqp_metadata.spread_percent", metadata.spread_percent, 0, SPREAD_PERCENT_MAX)?;
    within("brokers.amqp_metadata.disorder_percent", metadata.disorder_percent, 0, 100)
}

fn machine(name: &str, machine: &Machine) -> Result<(), Wrong> {
    let path = |key: &str| format!("machines.{name}.{key}");
    let Machine { frame_us, write_us, wake_us, poll_us, cpu_quota_us, cpu_period_us, .. } = *machine;
    let costs = [
        ("frame_us", frame_us),
        ("write_us", write_us),
        ("wake_us", wake_us),
        ("poll_us", poll_us),
        ("cpu_quota_us", cpu_quota_us),
    ];
    for (key, value) in costs {
        within(&path(key), value, 0, COST_US_MAX)?;
    }
    within(&path("cpu_period_us"), cpu_period_us, 1_000, COST_US_MAX)?;
    within(&path("spread_percent"), machine.spread_percent, 0, SPREAD_PERCENT_MAX)?;
    within(&path("threads"), machine.threads, 1, THREADS_MAX)?;
    within(&path("tcp_pingpong_thresh"), machine.tcp_pingpong_thresh.into(), 1, u8::MAX.into())?;
    Ok(())
}

/// No part may break again before it is back.
fn overlaps(spec: &Spec, place: usize, fault: &Fault) -> Result<(), Wrong> {
    let pod = spec.pod_of(fault.target);
    for (other_place, other) in spec.faults.iter().enumerate() {
        let earlier = (other.at_ms, other_place) < (fault.at_ms, place);
        let still_broken = other.for_ms.is_none_or(|for_ms| other.at_ms + for_ms >= fault.at_ms);
        if earlier && still_broken && spec.pod_of(other.target) == pod {
            let rule = format!("is {}: what the fault at {} ms hits is not back by then", fault.at_ms, other.at_ms);
            return wrong(format!("faults.{place}.at_ms"), rule);
        }
    }
    Ok(())
}

/// Whether there is such a part.
fn exists(spec: &Spec, target: Pod, key: &str) -> Result<(), Wrong> {
    let (what, index, count) = match target {
        Pod::TaskWorker(index) => ("task workers", index, spec.replicas.task_workers),
        Pod::Router(kind, index) if spec.routers().contains(&kind) => (kind.plural(), index, spec.replicas.routers),
        Pod::Router(kind, index) => (kind.plural(), index, 0),
        Pod::Gateway(index) => ("gateways", index, spec.fleet.gateways),
        Pod::Store(index) => ("stores", index, spec.fleet.stores),
        Pod::Dispatcher | Pod::Amqp | Pod::Mqtt | Pod::Redis => ("", 0, 1),
    };
    if count == 0 {
        return wrong(key, format!("is {target}, but there are no {what} with this `backbone.rpc.kind`"));
    }
    if index >= count {
        return wrong(key, format!("is {target}, but the {count} {what} count from 0"));
    }
    Ok(())
}

fn faults(spec: &Spec) -> Result<(), Wrong> {
    for (place, fault) in spec.faults.iter().enumerate() {
        exists(spec, fault.target, &format!("faults.{place}.target"))?;
        if let Some(from) = fault.from {
            let key = format!("faults.{place}.from");
            exists(spec, from, &key)?;
            if !fault.kind.may_be_between_two() || from == fault.target {
                return wrong(key, "is for a part that is cut from another one");
            }
        }
        if fault.at_ms >= u64::from(spec.limits.virtual_s_max) * 1_000 {
            return wrong(format!("faults.{place}.at_ms"), "lies behind `limits.virtual_s_max`: it would never happen");
        }
        overlaps(spec, place, fault)?;
        if fault.for_ms == Some(0) {
            return wrong(format!("faults.{place}.for_ms"), "is 0; leave it out for a fault that lasts");
        }
    }
    Ok(())
}
