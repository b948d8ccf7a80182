//! Rules for what is scaled.

use super::{Wrong, wrong, wrong_together};
use crate::spec::{Autoscaler, Mode, Policy, Protocol, Spec, Target};

/// Most triggers of a ScaledObject: each is asked for at every look.
const TRIGGERS_MAX: usize = 10;
/// Longest period of a policy, in s (autoscaling/v2, `HPAScalingPolicy.periodSeconds`).
const PERIOD_S_MAX: u32 = 1_800;
/// Longest name of a queue, in bytes (AMQP 0-9-1, section 3.1.2.3).
const QUEUE_BYTES_MAX: usize = 255;

pub(super) fn autoscale(spec: &Spec) -> Result<(), Wrong> {
    for (target, rules) in spec.autoscale.all() {
        let path = format!("autoscale.{target}");
        counts(spec, target, rules, &path)?;
        triggers(rules, &path)?;
        policies(rules, &path)?;
        if rules.scaled_object.is_some() {
            return wrong(format!("{path}.scaled_object"), "was not read: it is when a spec is loaded from a file");
        }
        for (place, fault) in spec.faults.iter().enumerate() {
            for (key, part) in [("target", Some(fault.target)), ("from", fault.from)] {
                if let Some(part) = part.filter(|part| Target::of(part.example()) == Some(target)) {
                    let rule = format!("is {part}, which comes and goes with `{path}`: it may not be there");
                    return wrong_together(format!("faults.{place}.{key}"), &["autoscale"], rule);
                }
            }
        }
    }
    if spec.autoscale.routers.is_some() && spec.routers().iter().any(|kind| kind.answers_calls()) {
        let rule = "is not modelled with this `backbone.rpc.kind`: workers know each HTTP router by its name, and no \
                    Kubernetes Service stands before them";
        return wrong_together("autoscale.routers", &["backbone.rpc.kind"], rule);
    }
    if spec.autoscale.task_workers.is_some() && !spec.replicas.all_at_once() {
        let rule = "must be 0 with `autoscale.task_workers`, which says when workers start";
        return wrong_together("replicas.worker_stagger_ms", &["autoscale.task_workers"], rule);
    }
    Ok(())
}

/// KEDA's own checks (`CheckReplicaCountBoundsAreValid`), and that the start is within them.
fn counts(spec: &Spec, target: Target, rules: &Autoscaler, path: &str) -> Result<(), Wrong> {
    let (min, max) = (rules.min_replica_count, rules.max_replica_count);
    if min > max {
        return wrong(format!("{path}.min_replica_count"), format!("is {min}, more than `max_replica_count`, {max}"));
    }
    if let Some(idle) = rules.idle_replica_count.filter(|idle| *idle >= min) {
        let rule = format!("is {idle}; it must be less than `min_replica_count`, {min}");
        return wrong(format!("{path}.idle_replica_count"), rule);
    }
    let initial = spec.replicas.of(target);
    if initial > max {
        let rule = format!("is {initial}, more than `{path}.max_replica_count`, {max}");
        return wrong_together(format!("replicas.{target}"), &["autoscale"], rule);
    }
    Ok(())
}

/// What KEDA's RabbitMQ scaler asks of its metadata.
fn triggers(rules: &Autoscaler, path: &str) -> Result<(), Wrong> {
    let path = format!("{path}.triggers");
    let count = rules.triggers.len();
    if count == 0 || count > TRIGGERS_MAX {
        return wrong(path, format!("are {count}; expected are 1 to {TRIGGERS_MAX}"));
    }
    for (place, trigger) in rules.triggers.iter().enumerate() {
        let path = format!("{path}.{place}");
        if trigger.queue.is_empty() || trigger.queue.len() > QUEUE_BYTES_MAX {
            return wrong(format!("{path}.queue"), format!("must have 1 to {QUEUE_BYTES_MAX} bytes"));
        }
        if trigger.value.milli() == 0 {
            return wrong(format!("{path}.value"), "is 0: no number of replicas would be enough");
        }
        if trigger.protocol == Protocol::Amqp && trigger.mode != Mode::QueueLength {
            return wrong(format!("{path}.mode"), "needs `protocol = \"http\"`: AMQP tells no rates");
        }
        if trigger.protocol == Protocol::Amqp && trigger.exclude_unacknowledged {
            let rule = "is for `protocol = \"http\"`: by AMQP there are only messages that wait";
            return wrong(format!("{path}.exclude_unacknowledged"), rule);
        }
    }
    Ok(())
}

/// What the API server asks of policies.
fn policies(rules: &Autoscaler, path: &str) -> Result<(), Wrong> {
    let Some(behavior) = &rules.behavior else { return Ok(()) };
    for (direction, rules) in [("scale_up", &behavior.scale_up), ("scale_down", &behavior.scale_down)] {
        for (place, Policy { value, period_s, .. }) in rules.policies.iter().enumerate() {
            let path = format!("{path}.behavior.{direction}.policies.{place}");
            if *value == 0 {
                return wrong(format!("{path}.value"), "is 0; `select_policy = \"disabled\"` stops a direction");
            }
            if !(1..=PERIOD_S_MAX).contains(period_s) {
                return wrong(format!("{path}.period_s"), format!("is {period_s}; accepted are 1 to {PERIOD_S_MAX}"));
            }
        }
    }
    Ok(())
}
