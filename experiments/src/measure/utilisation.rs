//! How much of its CPU time each kind of pod used: the one that is full binds.

use super::{CpuUsed, Outcome, SECOND_US};
use crate::spec::{Machine, Pod, Spec, Target};
use serde::{Deserialize, Serialize};

/// How much of their CPU time the pods of a kind used while tasks were under way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Utilisation {
    /// `amqp`, `mqtt`, `redis`, `gateways`, `routers`, `task_workers`; or `cores`, the machine that all share.
    pub of: String,
    /// Of what they had, in percent.
    pub percent: f64,
}

impl Utilisation {
    /// Of all that has a limit, the fullest first. Empty where nothing costs CPU time, or nothing came.
    #[must_use]
    pub fn of(spec: &Spec, outcome: &Outcome) -> Vec<Self> {
        let (Some(from_us), Some(to_us)) = (
            outcome.tasks.iter().map(|task| task.published_us).min(),
            outcome.tasks.iter().filter_map(|task| task.finished_us).max(),
        ) else {
            return Vec::new();
        };
        let within = outcome.samples.windows(2).filter(|pair| pair[0].at_us >= from_us && pair[1].at_us <= to_us);
        let (mut span_us, mut used) = (0, CpuUsed::default());
        for pair in within {
            span_us += pair[1].at_us - pair[0].at_us;
            used += pair[1].cpu.unwrap_or_default();
        }
        if span_us < SECOND_US {
            return Vec::new();
        }
        let percent = |used_us: u64, cores: f64| (used_us as f64 / (span_us as f64 * cores) * 10_000.0).round() / 100.0;
        let machines = &spec.machines;
        // Of what comes and goes, as many as there were at the mean.
        let pods = |target: Target, fixed: u32| match outcome.pods_us.get(&target) {
            Some(us) if spec.autoscale.of(target).is_some() => *us as f64 / outcome.virtual_us.max(1) as f64,
            _ => fixed.into(),
        };
        let routers = pods(Target::Routers, spec.routers().len() as u32 * spec.replicas.routers);
        let task_workers = pods(Target::TaskWorkers, spec.replicas.task_workers);
        let gateways = spec.fleet.pods().count() as f64;
        let kinds = [
            ("amqp", used.amqp_us, machines.amqp, 1.0),
            ("mqtt", used.mqtt_us, machines.mqtt, 1.0),
            ("redis", used.redis_us, machines.redis, spec.brokers.redis_shards.into()),
            ("gateways", used.gateways_us, machines.of(Pod::Gateway(0)), gateways),
            ("routers", used.routers_us, machines.router, routers),
            ("task_workers", used.task_workers_us, machines.task_worker, task_workers),
        ];
        let metadata_costs = spec.brokers.amqp_metadata.change_us + spec.brokers.amqp_metadata.beside_us > 0;
        let mut all: Vec<Self> = kinds
            .into_iter()
            .filter(|(of, _, machine, pods)| *pods > 0.0 && (machine.costs_cpu() || *of == "amqp" && metadata_costs))
            .map(|(of, used_us, machine, pods)| Self {
                of: of.to_owned(),
                percent: percent(used_us, cores(machine) * pods),
            })
            .collect();
        if machines.cores > 0 {
            let used_us = kinds.iter().map(|(_, used_us, ..)| used_us).sum();
            all.push(Self { of: "cores".into(), percent: percent(used_us, machines.cores.into()) });
        }
        all.sort_by(|a, b| b.percent.total_cmp(&a.percent));
        all
    }
}

/// So many cores' time a pod may use.
fn cores(machine: Machine) -> f64 {
    let threads = f64::from(machine.threads);
    match machine.quota() {
        Some(quota) => (quota.quota_us as f64 / quota.period_us as f64).min(threads),
        None => threads,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Sample, TaskRecord};

    #[test]
    fn what_is_full_comes_first_by_what_each_kind_has() {
        let mut spec = Spec::default();
        (spec.machines.amqp.frame_us, spec.machines.amqp.threads) = (10, 2);
        (spec.machines.router.frame_us, spec.machines.router.cpu_quota_us) = (10, 25_000);
        spec.replicas.routers = 2;
        let sample = |at_s: u64| Sample {
            at_us: at_s * SECOND_US,
            cpu: Some(CpuUsed { amqp_us: 1_000_000, routers_us: 900_000, ..CpuUsed::default() }),
            ..Sample::default()
        };
        let task = TaskRecord { published_us: 500_000, finished_us: Some(4_200_000), ..TaskRecord::default() };
        let outcome = Outcome { tasks: vec![task], samples: (0..6).map(sample).collect(), ..Outcome::default() };
        // Two forward and two backward routers with a quarter of a core each; RabbitMQ has two cores.
        let all = Utilisation::of(&spec, &outcome);
        let all: Vec<(&str, f64)> = all.iter().map(|one| (one.of.as_str(), one.percent)).collect();
        assert_eq!(all, [("routers", 90.0), ("amqp", 50.0)]);
    }

    #[test]
    fn where_nothing_costs_anything_nothing_is_full() {
        assert_eq!(Utilisation::of(&Spec::default(), &Outcome::default()), []);
    }
}
