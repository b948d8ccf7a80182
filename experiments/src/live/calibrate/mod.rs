//! Measures on real brokers what the simulator needs to know: round trips, what a reply queue costs RabbitMQ, and CPU time
//! for each request. The result is an abstract spec that others extend.

mod queues;
mod round_trips;

pub use queues::Pace;
pub use round_trips::RoundTrip;

use super::{Conditions, Options, brokers::Brokers};
use crate::{
    machine::Machine,
    run::Run,
    spec::{AmqpMetadata, Spec, load},
};
use anyhow::Context;
use std::{fmt::Write as _, path::Path};

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
}

/// Runs the spec `name` live for the CPU times, and measures round trips on fresh brokers.
///
/// # Errors
/// When the spec is wrong, the run fails, or a broker does not do what it is asked for.
pub fn calibrate(specs: &Path, name: &str, quiet: bool) -> anyhow::Result<Calibration> {
    let spec = load(specs, name, &[])?;
    let run = super::run(&spec, &Options::default(), quiet)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("starting the runtime")?;
    let (round_trips, queues) = runtime.block_on(measure(&spec))?;
    let summary = crate::results::Summary::of(&spec, &run);
    let Run { machine, live, .. } = run;
    let conditions = live.context("a live run says what it rests on")?;
    let rpcs_per_s = summary.throughput.rpcs_per_s;
    let Machine { cpu, cores, .. } = machine;
    Ok(Calibration { round_trips, queues, conditions, cpu, cores, spec: spec.name, rpcs_per_s })
}

async fn measure(spec: &Spec) -> anyhow::Result<(Vec<RoundTrip>, Pace)> {
    let brokers = Brokers::start(spec, &Options::default()).await?;
    let mut measured = vec![round_trips::tcp().await?];
    measured.extend(round_trips::redis(&brokers.redis.url).await?);
    measured.extend(round_trips::mqtt(&brokers.mqtt.host, brokers.mqtt.port).await?);
    measured.extend(round_trips::amqp(&brokers.amqp.url).await?);
    Ok((measured, queues::under_load(&brokers.amqp.url).await?))
}

/// Protocol frames that the two routers of a request read for it: method, header and body of an AMQP message, a Redis
/// reply and an MQTT acknowledgement the forward router; an MQTT message, a Redis reply and a publisher confirm the
/// backward router.
const ROUTER_FRAMES: f64 = 5.0 + 3.0;

impl Calibration {
    /// CPU time of a router for each frame that it reads, with all that follows from it, in us; `None` if the run had no
    /// routers of both kinds.
    #[must_use]
    pub fn router_frame_us(&self) -> Option<u32> {
        let cpu_us = &self.conditions.cpu_us_per_rpc;
        let both = cpu_us.get("fwd_router")? + cpu_us.get("bck_router")?;
        Some((both / ROUTER_FRAMES).round() as u32)
    }

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
        let Conditions { started, kernel, brokers, cpu_us_per_rpc, others_share, .. } = &self.conditions;
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
            "#\n# {} callers that begin and end reply queues: an answer every {mean_us:.0} us at the mean, standard deviation\n\
             # {variation:.2} of that; {overtaken:.1} that were asked for later are answered before one.",
            queues::CALLERS
        );
        let _ =
            writeln!(out, "#\n# CPU time for each request, `{}` live, {:.0} requests/s:", self.spec, self.rpcs_per_s);
        for (name, us) in cpu_us_per_rpc {
            let _ = writeln!(out, "#   {name:<22} {us:>6.1} us");
        }
        let AmqpMetadata { change_us, spread_percent, disorder_percent, .. } = self.metadata();
        let _ = write!(
            out,
            "abstract = true\n\n# The begin or the end of a reply queue, one after the other: log-normal with that mean and \
             deviation,\n# and so often not the one that has waited longest.\n[brokers.amqp_metadata]\n\
             change_us = {change_us}\nspread_percent = {spread_percent}\ndisorder_percent = {disorder_percent}\n",
        );
        if let Some(frame_us) = self.router_frame_us() {
            let _ = write!(
                out,
                "\n# A router's CPU time above, for each frame that it reads.\n[machines.router]\nframe_us = {frame_us}\n"
            );
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_spec_that_others_can_extend() {
        let calibration = Calibration {
            round_trips: vec![RoundTrip { name: "amqp_qos", p50_us: 200, p90_us: 300 }],
            queues: Pace { mean_us: 1_000.0, variation: 1.0, overtaken: 9.8 },
            conditions: Conditions {
                cpu_us_per_rpc: [("fwd_router".into(), 100.0), ("bck_router".into(), 60.0)].into(),
                ..Conditions::default()
            },
            cpu: "a processor".into(),
            cores: 2,
            spec: "throughput".into(),
            rpcs_per_s: 1_000.0,
        };
        let specs = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(specs.path().join(name), text).unwrap();
        file("calibrated.toml", &calibration.to_toml());
        file("mine.toml", "extends = \"calibrated\"\n");
        let spec = load(specs.path(), "mine", &[]).unwrap();
        assert_eq!(spec.machines.router.frame_us, 20);
        let amqp = spec.brokers.amqp_metadata;
        assert_eq!((amqp.change_us, amqp.spread_percent, amqp.disorder_percent), (707, 83, 40));
    }
}
