//! Measures on real brokers what the simulator needs to know: round trips, what a reply queue costs RabbitMQ, and CPU
//! time for each request. The result is an abstract spec that others extend.

mod frames;
mod queues;
mod round_trips;

pub use frames::FrameCost;
pub use queues::Pace;
pub use round_trips::RoundTrip;

use crate::{
    cost::Cost,
    live::{Brokers, Conditions, Options},
    results::Summary,
    run::{self, Run},
    simulate::Simulate,
    spec::{AmqpMetadata, Library, Spec},
};
use anyhow::Context;
use std::fmt::Write as _;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// With one caller.
    pub round_trips: Vec<RoundTrip>,
    /// Begins and ends of reply queues, with 50 callers.
    pub queues: Pace,
    /// Of the run that measured CPU times.
    pub conditions: Conditions,
    /// The processor.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// The spec of that run.
    pub spec: String,
    /// Requests answered in a second, in that run.
    pub rpcs_per_s: f64,
    /// What follows from its CPU times.
    pub frame_costs: Vec<FrameCost>,
    /// Requests answered in a second, in a simulation of that run with these costs.
    pub simulated_rpcs_per_s: f64,
}

/// The spec that CPU times are taken from: production's settings, and work without a pause.
const SPEC: &str = "throughput";

/// Measures round trips on private brokers, and CPU times in a live run of `throughput`, which is then simulated.
///
/// # Errors
/// When the spec is wrong, a run fails, or a broker does not do what it is asked for.
pub fn calibrate(library: &Library, simulate: Simulate, quiet: bool) -> anyhow::Result<Calibration> {
    let spec = library.load(SPEC)?;
    let run = run::run_live(&spec, &Options::default(), quiet)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let (round_trips, queues) = runtime.block_on(measure(&spec))?;
    let summary = Summary::of(&spec, &run);
    let Run { cost, live, .. } = run;
    let conditions = live.context("a live run says what it rests on")?;
    let rpcs_per_s = summary.throughput.rpcs_per_s;
    let Cost { cpu, cores, .. } = cost;
    let cpu_us_per_rpc = &conditions.cpu_us_per_rpc;
    let (frame_costs, simulated_rpcs_per_s) =
        frames::frame_costs(&spec, cpu_us_per_rpc, wake_us(&round_trips), cores, simulate, quiet)?;
    let spec = spec.name;
    Ok(Calibration { round_trips, queues, conditions, cpu, cores, spec, rpcs_per_s, frame_costs, simulated_rpcs_per_s })
}

/// How long a process takes to wake after its packet: half of a byte's way there and back, the median.
fn wake_us(round_trips: &[RoundTrip]) -> u32 {
    let tcp = round_trips.iter().find(|round_trip| round_trip.name == round_trips::TCP);
    tcp.map_or(0, |tcp| u32::try_from(tcp.p50_us / 2).unwrap_or(u32::MAX))
}

async fn measure(spec: &Spec) -> anyhow::Result<(Vec<RoundTrip>, Pace)> {
    let brokers = Brokers::start(spec, &Options::default()).await?;
    let mut measured = vec![round_trips::tcp().await?];
    measured.extend(round_trips::redis(&brokers.redis.url).await?);
    measured.extend(round_trips::mqtt(&brokers.mqtt.host, brokers.mqtt.port).await?);
    measured.extend(round_trips::amqp(&brokers.amqp.url).await?);
    Ok((measured, queues::under_load(&brokers.amqp.url).await?))
}

impl Calibration {
    /// What the begin or the end of a queue takes RabbitMQ's metadata store.
    #[must_use]
    pub fn metadata(&self) -> AmqpMetadata {
        let percent = |share: f64| (100.0 * share).round() as u32;
        AmqpMetadata {
            change_us: self.queues.median_us().round() as u32,
            spread_percent: percent(self.queues.sigma()),
            disorder_percent: percent(self.queues.disorder()),
            ..AmqpMetadata::default()
        }
    }

    /// As an abstract spec.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let Conditions { started, kernel, brokers, others_share, .. } = &self.conditions;
        let mut out = format!(
            "# Measured by `experiments calibrate` at {started} on {} x {}, Linux {kernel}.\n# Brokers:",
            self.cores, self.cpu
        );
        for version in brokers.values() {
            let _ = write!(out, " {version};");
        }
        let _ = writeln!(
            out,
            " others used {:.0} % of the CPU meanwhile.\n#\n# Round trips with one caller:",
            others_share * 100.0
        );
        for RoundTrip { name, p50_us, p90_us } in &self.round_trips {
            let _ = writeln!(out, "#   {name:<22} p50 {p50_us:>6} us   p90 {p90_us:>6} us");
        }
        let Pace { mean_us, variation, overtaken } = self.queues;
        let _ = writeln!(
            out,
            "#\n# {} callers that begin and end reply queues: an answer every {mean_us:.0} us at the mean, standard \
             deviation\n\
             # {variation:.2} of that; {overtaken:.1} that were asked for later are answered before one.",
            queues::CALLERS
        );
        self.describe_costs(&mut out);
        let AmqpMetadata { change_us, spread_percent, disorder_percent, .. } = self.metadata();
        let _ = write!(
            out,
            "abstract = true\n\n# The begin or the end of a reply queue, one after the other: log-normal with that \
             mean and deviation,\n# and so often not the one that has waited longest.\n[brokers.amqp_metadata]\n\
             change_us = {change_us}\nspread_percent = {spread_percent}\ndisorder_percent = {disorder_percent}\n\n\
             # CPU time for each frame, and half of the round trip over TCP.\n[machines]\n",
        );
        let wake_us = wake_us(&self.round_trips);
        for cost in &self.frame_costs {
            let _ = writeln!(out, "{} = {{ frame_us = {}, wake_us = {wake_us} }}", cost.machine, cost.frame_us());
        }
        out
    }

    fn describe_costs(&self, out: &mut String) {
        let Self { spec, rpcs_per_s, simulated_rpcs_per_s, .. } = self;
        let _ = writeln!(
            out,
            "#\n# CPU time, `{spec}` live with {rpcs_per_s:.0} requests/s, and the frames that it reads in the \
             simulator, where it\n\
             # reaches {simulated_rpcs_per_s:.0} requests/s with these costs. Gateways and workers are one process of \
             a live run.\n\
             #   {:<12} {:>14} {:>16} {:>10}",
            "machine", "us/request", "frames/request", "us/frame"
        );
        for cost in &self.frame_costs {
            let FrameCost { machine, cpu_us_per_rpc, frames_per_rpc } = cost;
            let each = cpu_us_per_rpc / frames_per_rpc;
            let _ = writeln!(out, "#   {machine:<12} {cpu_us_per_rpc:>14.1} {frames_per_rpc:>16.2} {each:>10.1}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_spec_that_others_can_extend() {
        let calibration = Calibration {
            round_trips: vec![RoundTrip { name: "tcp", p50_us: 21, p90_us: 300 }],
            queues: Pace { mean_us: 1_000.0, variation: 1.0, overtaken: 9.8 },
            conditions: Conditions::default(),
            cpu: "a processor".into(),
            cores: 2,
            spec: "throughput".into(),
            rpcs_per_s: 1_000.0,
            frame_costs: vec![FrameCost { machine: "router", cpu_us_per_rpc: 160.0, frames_per_rpc: 8.0 }],
            simulated_rpcs_per_s: 1_100.0,
        };
        let specs = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(specs.path().join(name), text).unwrap();
        file("calibrated.toml", &calibration.to_toml());
        file("mine.toml", "extends = \"calibrated\"\n");
        let spec = Library::repository().with_folder(specs.path()).load("mine").unwrap();
        assert_eq!((spec.machines.router.frame_us, spec.machines.router.wake_us), (20, 10));
        let amqp = spec.brokers.amqp_metadata;
        assert_eq!((amqp.change_us, amqp.spread_percent, amqp.disorder_percent), (707, 83, 40));
    }
}
