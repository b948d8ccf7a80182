//! CPU time for each protocol frame that a process reads, with all that follows from it: the CPU time that a live run
//! takes for each request, over the frames that a simulated run of the same spec reads for it.
//!
//! The simulator charges its costs in the same way, so that what it charges for a request comes to what was measured.

use crate::{
    live::BENCH,
    results::Summary,
    run,
    simulate::Simulate,
    spec::{AmqpMetadata, Machine, Machines, Pod, Spec},
};
use anyhow::{Context, ensure};
use std::collections::BTreeMap;

/// How often the spec is simulated. Frames for a request depend a little on the costs: under load, acknowledgements
/// travel together. The second run has the costs that follow from the first, and the third nearly its own.
const RUNS: usize = 3;
/// What a frame costs in the first run, in microseconds.
const FIRST_GUESS_US: u32 = 10;

/// A machine of a spec: the processes whose CPU time it stands for, and the kinds of pods that read their frames.
struct Part {
    machine: &'static str,
    of: fn(&mut Machines) -> &mut Machine,
    processes: Vec<&'static str>,
    pods: Vec<&'static str>,
}

/// All of them. Gateways, workers and the dispatcher are one process in a live run, so the first two share a cost. The
/// dispatcher's frames are left out: it reads one for each task.
fn parts(spec: &Spec) -> [Part; 6] {
    let own = |pod: Pod| vec![pod.kind()];
    let routers = || spec.routers().iter().map(|kind| kind.name()).collect::<Vec<_>>();
    let bench = || vec![BENCH];
    let fleet_and_workers = || vec![Pod::Gateway(0).kind(), Pod::TaskWorker(0).kind()];
    let part = |machine, of, processes, pods| Part { machine, of, processes, pods };
    [
        part("amqp", |all| &mut all.amqp, own(Pod::Amqp), own(Pod::Amqp)),
        part("redis", |all| &mut all.redis, own(Pod::Redis), own(Pod::Redis)),
        part("mqtt", |all| &mut all.mqtt, own(Pod::Mqtt), own(Pod::Mqtt)),
        part("router", |all| &mut all.router, routers(), routers()),
        part("gateway", |all| &mut all.gateway, bench(), fleet_and_workers()),
        part("task_worker", |all| &mut all.task_worker, bench(), fleet_and_workers()),
    ]
}

/// What frames cost one machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FrameCost {
    /// Its name in a spec, below `machines`.
    pub machine: &'static str,
    /// CPU time for each request, in microseconds; measured live.
    pub cpu_us_per_rpc: f64,
    /// Frames read for each request; counted in the simulator.
    pub frames_per_rpc: f64,
}

impl FrameCost {
    /// CPU time for each frame, in whole microseconds.
    #[must_use]
    pub fn frame_us(&self) -> u32 {
        (self.cpu_us_per_rpc / self.frames_per_rpc).round() as u32
    }
}

/// What frames cost, and how many requests a second the simulator answers with these costs.
///
/// # Errors
/// When a process is missing in `cpu_us_per_rpc`, or the simulation fails.
pub(super) fn frame_costs(
    spec: &Spec,
    cpu_us_per_rpc: &BTreeMap<String, f64>,
    wake_us: u32,
    cores: usize,
    simulate: Simulate,
    quiet: bool,
) -> anyhow::Result<(Vec<FrameCost>, f64)> {
    let mut spec = on_one_machine(spec, wake_us, u32::try_from(cores).context("a machine has fewer cores")?);
    let parts = parts(&spec);
    let mut found = (Vec::new(), 0.0);
    for _ in 0..RUNS {
        let run = run::run(&spec, simulate, None, quiet).with_context(|| format!("simulating {}", spec.name))?;
        let rpcs = run.outcome.counters.rpcs_replied as f64;
        let costs = parts.iter().map(|part| part.cost(cpu_us_per_rpc, &run.outcome.frames_read, rpcs));
        let costs = costs.collect::<anyhow::Result<Vec<_>>>()?;
        for (part, cost) in parts.iter().zip(&costs) {
            // What costs nothing is not counted.
            (part.of)(&mut spec.machines).frame_us = cost.frame_us().max(1);
        }
        found = (costs, Summary::of(&spec, &run).throughput.rpcs_per_s);
    }
    Ok(found)
}

/// `spec` where a live run of it is: all processes share the cores, RabbitMQ has a thread for each, and nothing but
/// frames costs anything.
fn on_one_machine(spec: &Spec, wake_us: u32, cores: u32) -> Spec {
    let mut spec = spec.clone();
    spec.brokers.amqp_metadata = AmqpMetadata::default();
    spec.machines = Machines { cores, late_percent: spec.machines.late_percent, ..Machines::default() };
    for part in &parts(&spec) {
        *(part.of)(&mut spec.machines) = Machine { frame_us: FIRST_GUESS_US, wake_us, ..Machine::default() };
    }
    spec.machines.amqp.threads = cores;
    spec
}

impl Part {
    fn cost(
        &self,
        cpu_us_per_rpc: &BTreeMap<String, f64>,
        frames_read: &BTreeMap<String, u64>,
        rpcs: f64,
    ) -> anyhow::Result<FrameCost> {
        let cpu_us = self.processes.iter().map(|process| {
            cpu_us_per_rpc.get(*process).with_context(|| format!("the CPU time of {process} was not measured"))
        });
        let cpu_us_per_rpc = cpu_us.sum::<anyhow::Result<f64>>()?;
        let frames: u64 = self.pods.iter().filter_map(|pod| frames_read.get(*pod)).sum();
        ensure!(frames > 0 && rpcs > 0.0, "{} reads nothing in the simulation", self.machine);
        Ok(FrameCost { machine: self.machine, cpu_us_per_rpc, frames_per_rpc: frames as f64 / rpcs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{simulate::simulate, spec::Library};

    #[test]
    fn the_simulator_charges_for_a_request_what_was_measured() {
        let mut spec = Library::repository().load("throughput").unwrap();
        spec.workload.tasks = 400;
        let measured = [("amqp", 200.0), ("redis", 30.0), ("mqtt", 60.0), ("fwd_router", 90.0), ("bck_router", 70.0)];
        let measured = measured.into_iter().chain([("bench", 150.0)]).map(|(name, us)| (name.to_owned(), us)).collect();
        let (costs, rpcs_per_s) = frame_costs(&spec, &measured, 0, 2, simulate, true).unwrap();
        for cost in &costs {
            let charged = f64::from(cost.frame_us()) * cost.frames_per_rpc;
            let rounding = cost.frames_per_rpc / 2.0;
            assert!((charged - cost.cpu_us_per_rpc).abs() <= rounding, "{cost:?}");
        }
        // Two cores are never more than busy: 600 us of each request are theirs.
        assert!((0.8..=1.05).contains(&(rpcs_per_s * 600e-6 / 2.0)), "{rpcs_per_s} with {costs:?}");
    }

    #[test]
    fn a_process_that_was_not_measured_is_named() {
        let frames = BTreeMap::from([("amqp".to_owned(), 10)]);
        let error = parts(&Spec::default())[0].cost(&BTreeMap::new(), &frames, 1.0).unwrap_err();
        assert_eq!(error.to_string(), "the CPU time of amqp was not measured");
    }
}
