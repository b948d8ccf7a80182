//! Rules for values that types can't express.

mod autoscale;
mod workload;

use super::{CommandedEsls, Fault, Pod, Spec, Strength, Target, ranges::out_of_range};
use backbone::config::{Correlation, RoutingMode};

/// Most commands of all tasks together: the label of each is kept.
const COMMANDS_MAX: u64 = 50_000_000;
/// Most hosts of all kinds together: they share 192.168.0.0/16 with the brokers and the dispatcher.
const ALL_HOSTS_MAX: u64 = 65_000;

/// A value that breaks a rule.
#[derive(Debug, thiserror::Error)]
#[error("`{path}` {rule}")]
pub(super) struct Wrong {
    /// The key.
    path: String,
    /// Other keys that have a part in it.
    others: &'static [&'static str],
    /// The rule, and what was found.
    rule: String,
}

impl Wrong {
    /// The keys that have a part in it, the first one first.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str()).chain(self.others.iter().copied())
    }
}

fn wrong<T>(path: impl Into<String>, rule: impl Into<String>) -> Result<T, Wrong> {
    wrong_together(path, &[], rule)
}

/// Of a rule for several keys: which one was changed last is not known here.
pub(super) fn wrong_together<T>(
    path: impl Into<String>,
    others: &'static [&'static str],
    rule: impl Into<String>,
) -> Result<T, Wrong> {
    Err(Wrong { path: path.into(), others, rule: rule.into() })
}

/// Checks all rules and names the first that is broken.
pub(super) fn validate(spec: &Spec) -> Result<(), Wrong> {
    if let Some((path, value, (min, max))) = out_of_range(spec) {
        return wrong(path, format!("is {value}; accepted are {min} to {max}"));
    }
    together(spec)?;
    workload::validate(spec)?;
    fleet(spec)?;
    services(spec)?;
    routes(spec)?;
    workers(spec)?;
    reports(spec)?;
    radio(spec)?;
    expectation(spec)?;
    machines(spec)?;
    autoscale::autoscale(spec)?;
    faults(spec)
}

/// What is fine one by one may be too much together.
fn together(spec: &Spec) -> Result<(), Wrong> {
    let commands = u64::from(spec.workload.tasks) * u64::from(spec.workload.most_commands());
    if commands > COMMANDS_MAX {
        let rule = format!("makes {commands} commands with `workload.tasks`; accepted are {COMMANDS_MAX}");
        return wrong_together("workload.commands_per_task", &["workload.tasks"], rule);
    }
    let [routers, workers] = Target::ALL.map(|target| u64::from(spec.replicas_max(target)));
    let pods_per_router = spec.routers().len() as u64;
    let others =
        u64::from(spec.fleet.gateways) + u64::from(spec.brokers.redis_shards) + u64::from(spec.restarts_by_faults());
    let hosts = workers + pods_per_router * routers + others;
    if hosts > ALL_HOSTS_MAX {
        let rule = format!("makes {hosts} hosts with all other pods and faults; accepted are {ALL_HOSTS_MAX}");
        let others = &["fleet.gateways", "replicas.task_workers", "backbone.rpc.kind", "autoscale"];
        return wrong_together("replicas.routers", others, rule);
    }
    Ok(())
}

fn fleet(spec: &Spec) -> Result<(), Wrong> {
    let fleet = &spec.fleet;
    if fleet.stores > fleet.gateways {
        let rule = format!("is {}; each store needs a gateway, and there are {}", fleet.stores, fleet.gateways);
        return wrong_together("fleet.stores", &["fleet.gateways"], rule);
    }
    let ble = fleet.ble_service_ms;
    if ble.spread > ble.median {
        let rule = format!("is {}, more than the median of {}: some times would be negative", ble.spread, ble.median);
        return wrong_together("fleet.ble_service_ms.spread", &["fleet.ble_service_ms.median"], rule);
    }
    for (path, all) in [("fleet.gateways", fleet.gateways), ("fleet.esls", fleet.esls)] {
        if !all.is_multiple_of(fleet.stores) {
            let rule = format!("is {all}, which does not spread evenly over {} stores", fleet.stores);
            return wrong_together(path, &["fleet.stores"], rule);
        }
    }
    if fleet.shared_mac && fleet.rssi_period_ms > 0 {
        let rule = "must be 0 with `fleet.shared_mac`: a report names its gateway";
        return wrong_together("fleet.rssi_period_ms", &["fleet.shared_mac"], rule);
    }
    if !fleet.echoes_request_id && spec.backbone.correlation == Correlation::RequestId {
        let rule = "is false, which needs `backbone.correlation = \"esl_mac\"`";
        return wrong_together("fleet.echoes_request_id", &["backbone.correlation"], rule);
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
        let rule = "is \"fixed\", one gateway for all: set `fleet.shared_mac` or one gateway";
        return wrong_together("backbone.routing.mode", &["fleet.shared_mac", "fleet.gateways"], rule);
    }
    if !fixed && spec.fleet.rssi_period_ms == 0 {
        let rule = "is 0; routing by RSSI (`backbone.routing.mode`) needs reports";
        return wrong_together("fleet.rssi_period_ms", &["backbone.routing.mode"], rule);
    }
    if !fixed && spec.workload.esls == CommandedEsls::Fresh {
        let rule = "is \"fresh\", labels that nobody hears; they need `backbone.routing.mode = \"fixed\"`";
        return wrong_together("workload.esls", &["backbone.routing.mode"], rule);
    }
    Ok(())
}

/// A route must still be fresh when its next report comes.
fn reports(spec: &Spec) -> Result<(), Wrong> {
    let fleet = &spec.fleet;
    let fresh_ms = spec.backbone.routing.route_fresh_ms;
    match (fleet.rssi_change_db, fleet.rssi_heartbeat_ms) {
        (0, 0) => Ok(()),
        (0, _) => {
            let rule = "is set, but without `fleet.rssi_change_db` every reading is reported anyway";
            wrong_together("fleet.rssi_heartbeat_ms", &["fleet.rssi_change_db"], rule)
        }
        (_, 0) => {
            let rule = "needs `fleet.rssi_heartbeat_ms`: what is never reported again loses its route";
            wrong_together("fleet.rssi_change_db", &["fleet.rssi_heartbeat_ms"], rule)
        }
        (_, heartbeat_ms) if u64::from(heartbeat_ms) + u64::from(fleet.rssi_period_ms) >= fresh_ms => {
            let rule = format!(
                "is {heartbeat_ms}; with a period of {} ms for the report itself routes would be forgotten between two \
                 heartbeats, since `backbone.routing.route_fresh_ms` is {fresh_ms}",
                fleet.rssi_period_ms
            );
            let others = &["backbone.routing.route_fresh_ms", "fleet.rssi_period_ms"];
            wrong_together("fleet.rssi_heartbeat_ms", others, rule)
        }
        _ => Ok(()),
    }
}

fn radio(spec: &Spec) -> Result<(), Wrong> {
    let Some(radio) = &spec.fleet.radio else { return Ok(()) };
    if spec.workload.esls == CommandedEsls::Fresh {
        let rule = "is \"fresh\", labels that are in no store: no radio reaches them (`fleet.radio`)";
        return wrong_together("workload.esls", &["fleet.radio"], rule);
    }
    if radio.interference_db > 0 && radio.interference_for_s == 0 {
        let rule = "is set, but for no time: set `fleet.radio.interference_for_s`, too";
        return wrong_together("fleet.radio.interference_db", &["fleet.radio.interference_for_s"], rule);
    }
    Ok(())
}

fn expectation(spec: &Spec) -> Result<(), Wrong> {
    let (min, max) = spec.expect.done_percent(spec.should_do_all());
    if min > max {
        let rule = format!("is {min}, more than `expect.done_percent_max`, which is {max}: no run can be so");
        return wrong_together("expect.done_percent_min", &["expect.done_percent_max"], rule);
    }
    let held = spec.expect.probe_tasks;
    if held > 0 && !spec.heals() {
        let rule = format!("is {held}, but a fault without an end (`faults`) lets nothing be well again");
        return wrong_together("expect.probe_tasks", &["faults"], rule);
    }
    if held > spec.workload.tasks {
        let rule = format!("is {held}, more than there are tasks");
        return wrong_together("expect.probe_tasks", &["workload.tasks"], rule);
    }
    Ok(())
}

fn workers(spec: &Spec) -> Result<(), Wrong> {
    let replicas = &spec.replicas;
    for target in Target::ALL {
        if replicas.of(target) == 0 && spec.autoscale.of(target).is_none() {
            let rule = format!("is 0, and nothing lets any come: `autoscale.{target}` would");
            return wrong_together(format!("replicas.{target}"), &["autoscale"], rule);
        }
    }
    if replicas.all_at_once() && replicas.workers_before_rush > 0 {
        let rule = "is set, but all workers start at once; a rush needs `replicas.worker_stagger_ms`";
        return wrong_together("replicas.workers_before_rush", &["replicas.worker_stagger_ms"], rule);
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
    for (name, machine) in named {
        if all.cores > 0 && machine.cpu_quota_us > 0 {
            let rule =
                format!("is {}; a quota on shared cores (`machines.cores`) is not modelled", machine.cpu_quota_us);
            return wrong_together(format!("machines.{name}.cpu_quota_us"), &["machines.cores"], rule);
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
        Pod::Autoscaler if spec.autoscale.is_empty() => {
            return wrong_together(key, &["autoscale"], "is the autoscaler, but nothing is scaled");
        }
        Pod::RedisShard(index) => ("more Redis servers", index, spec.brokers.redis_shards - 1),
        Pod::Dispatcher | Pod::Autoscaler | Pod::Amqp | Pod::Mqtt | Pod::Redis => ("", 0, 1),
    };
    if count == 0 {
        let rule = format!("is {target}, but there are no {what} with this `backbone.rpc.kind`");
        return wrong_together(key, &["backbone.rpc.kind"], rule);
    }
    if index >= count {
        let others = &["replicas.task_workers", "replicas.routers", "fleet.gateways", "fleet.stores"];
        return wrong_together(key, others, format!("is {target}, but the {count} {what} count from 0"));
    }
    Ok(())
}

fn faults(spec: &Spec) -> Result<(), Wrong> {
    for (place, fault) in spec.faults.iter().enumerate() {
        let key = |field: &str| format!("faults.{place}.{field}");
        exists(spec, fault.target.example(), &key("target"))?;
        let scope = fault.kind.scope();
        if !scope.has(fault.target) {
            return wrong(key("target"), format!("is {}; this kind of fault happens to {scope}", fault.target));
        }
        if let Some(from) = fault.from {
            exists(spec, from.example(), &key("from"))?;
            if !fault.kind.may_be_between_two() || from == fault.target {
                return wrong(key("from"), "is for what lies between a part and another one");
            }
        }
        if fault.at_ms >= u64::from(spec.limits.virtual_s_max) * 1_000 {
            return wrong(key("at_ms"), "lies behind `limits.virtual_s_max`: it would never happen");
        }
        if fault.for_ms == Some(0) {
            return wrong(key("for_ms"), "is 0; leave it out for a fault that lasts");
        }
        if fault.for_ms.is_some() && fault.kind.is_instant() {
            return wrong(key("for_ms"), "is set; this kind of fault is over as soon as it has happened");
        }
        if fault.for_ms.is_none() && fault.kind.needs_end() {
            return wrong(key("for_ms"), "is missing; this kind of fault needs an end");
        }
        strength(fault, key("strength"))?;
    }
    Ok(())
}

fn strength(fault: &Fault, key: String) -> Result<(), Wrong> {
    match (fault.kind.strength(), fault.strength) {
        (None, None) => Ok(()),
        (None, Some(_)) => wrong(key, "is set; this kind of fault has none"),
        (Some(Strength { unit, min, max }), found) => match found {
            Some(strength) if (min..=max).contains(&strength) => Ok(()),
            Some(strength) => wrong(key, format!("is {strength}; accepted are {min} to {max} {unit}")),
            None => wrong(key, format!("is missing; this kind of fault needs one, {min} to {max} {unit}")),
        },
    }
}
