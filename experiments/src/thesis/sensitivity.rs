//! How near the cliff the slow experiment stands: its latency over the two times whose race decides each stall.
//!
//! A gateway acknowledges a command, handles the next and replies. The broker answers the acknowledgement with one more
//! command. If that comes before the reply has left, the reply acknowledges it; if it comes after, the broker's next
//! word waits for a delayed acknowledgement. (Measured so on a real bridge: `experiments/measured/`.)

use super::{Evaluation, Measured};
use crate::{
    measure::{ms, percentile},
    plot::{Curve, Lines, Point},
    spec::Spec,
};
use std::collections::BTreeMap;

/// What a command takes of a gateway at the median, in us: from a tenth of what a Go gateway takes to ten times that.
const HANDLING_US: [u32; 9] = [5, 25, 50, 75, 100, 150, 200, 300, 500];
/// How soon the broker's process runs after a packet has come, in us. Measured on a quiet machine: 55.
const ANSWER_US: [u32; 4] = [55, 100, 200, 400];
/// Sigma of the handling time's logarithm, in percent, as measured with messages waiting.
const SPREAD_PERCENT: u32 = 80;
/// Enough for all workers to be served several times.
const TASKS_MAX: u32 = 1_500;

/// `slow` with each of these times, in a run that is short and has all its workers from the start.
pub(super) fn specs(slow: &Spec) -> Vec<Spec> {
    let one = |answer_us: u32, handling_us: u32| {
        let mut spec = slow.clone();
        spec.name = format!("sensitivity_{answer_us}_{handling_us}");
        (spec.gate, spec.replicas.worker_stagger_ms) = (false, 0);
        spec.workload.tasks = spec.workload.tasks.min(TASKS_MAX);
        spec.network.quantum_us = 0; // to the nanosecond: it is a race of microseconds
        (spec.machines.mqtt.wake_us, spec.machines.gateway.wake_us) = (answer_us, 50);
        (spec.fleet.handling.median_us, spec.fleet.handling.spread_percent) = (handling_us, SPREAD_PERCENT);
        spec
    };
    ANSWER_US.into_iter().flat_map(|answer_us| HANDLING_US.map(|handling_us| one(answer_us, handling_us))).collect()
}

/// A line for each time of the broker's, over the time of the gateways; whiskers from P10 to P90.
pub(super) fn lines(evaluation: &Evaluation) -> Lines {
    let mut curves: BTreeMap<u32, Vec<Point>> = BTreeMap::new();
    let varied = evaluation.runs.iter().filter(|(name, _)| name.starts_with("sensitivity_"));
    for measured in varied.map(|(_, measured)| measured) {
        curves.entry(measured.spec.machines.mqtt.wake_us).or_default().push(point(measured));
    }
    let curves = curves.into_iter().enumerate().map(|(colour, (answer_us, mut points))| {
        points.sort_by_key(|point| point.x);
        Curve { name: format!("the broker wakes after {answer_us} us"), points, foreign: false, colour }
    });
    Lines {
        title: vec![
            "How near the cliff".to_owned(),
            "custom_10k_2 with other times; whiskers from P10 to P90".to_owned(),
        ],
        x: "what a gateway takes to handle a command, median in us".into(),
        y: "median latency of a task, in ms".into(),
        log_y: true,
        curves: curves.collect(),
    }
}

fn point(measured: &Measured) -> Point {
    let sorted_us = &measured.runs[0].latencies_us;
    let at = |percent| ms(percentile(sorted_us, percent));
    Point { x: measured.spec.fleet.handling.median_us, value: at(50), min: at(10), max: at(90), setting: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_times_is_an_experiment_that_differs_from_the_slow_one_in_nothing_else() {
        let slow = Spec { name: "slow".into(), gate: true, ..Spec::default() };
        let specs = specs(&slow);
        let names: std::collections::BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names.len(), ANSWER_US.len() * HANDLING_US.len());
        for mut spec in specs {
            assert!(!spec.gate);
            (spec.name, spec.gate) = (slow.name.clone(), slow.gate);
            (spec.workload.tasks, spec.replicas.worker_stagger_ms) = (slow.workload.tasks, 0);
            (spec.network.quantum_us, spec.fleet.handling) = (slow.network.quantum_us, slow.fleet.handling);
            (spec.machines.mqtt.wake_us, spec.machines.gateway.wake_us) = (0, 0);
            assert_eq!(spec, slow, "nothing else may differ");
        }
    }
}
