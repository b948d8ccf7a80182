//! Under what conditions a live run was measured, and what it cost.

use super::{brokers::Brokers, cpu};
use crate::{
    measure::HopMedians,
    spec::{Pod, is_router},
};
use backbone::env::Env;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, process::Command, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The conditions of a live run: what the numbers rest on, beside the spec.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// When it began, in UTC.
    pub started: String,
    /// The kernel's release.
    pub kernel: String,
    /// Each broker with its version, or that it was not ours.
    pub brokers: BTreeMap<String, String>,
    /// Whether processes were under CPU quotas.
    pub quota: String,
    /// CPU time for each answered request, in us: of each kind of router, of each broker that was ours, and of the
    /// bench, which is dispatcher, workers and gateways together.
    pub cpu_us_per_rpc: BTreeMap<String, f64>,
    /// How much of the machine's CPU time others took meanwhile, from 0 to 1.
    pub others_share: f64,
    /// The share of the machine's CPU time that nobody took.
    pub idle_share: f64,
    /// Hop by hop, of the requests that were traced; `None` over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hops: Option<HopMedians>,
}

/// What the bench's own process is called among those whose CPU time is told.
pub(crate) const BENCH: &str = "bench";

/// CPU times at one moment.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    ours_us: BTreeMap<String, u64>,
    busy_us: u64,
    all_us: u64,
}

impl Reading {
    /// `routers`: what each has used. What a fault has ended takes its CPU time with it.
    pub(super) fn take(brokers: &Brokers, routers: &[(Pod, u64)]) -> Self {
        let mut ours_us = BTreeMap::from([(BENCH.to_owned(), cpu::of_process(std::process::id()).unwrap_or(0))]);
        for (pod, broker) in &brokers.private {
            ours_us.insert(pod.kind().to_owned(), cpu::of_process(broker.pid()).unwrap_or(0));
        }
        for (pod, cpu_us) in routers {
            *ours_us.entry(pod.kind().to_owned()).or_default() += cpu_us;
        }
        let (busy_us, all_us) = cpu::of_machine().unwrap_or((0, 0));
        Self { ours_us, busy_us, all_us }
    }
}

impl Conditions {
    /// CPU time of all the routers that a request goes through, in us.
    #[must_use]
    pub fn router_cpu_us_per_rpc(&self) -> f64 {
        let routers = self.cpu_us_per_rpc.iter().filter(|(name, _)| is_router(name));
        routers.map(|(_, us)| us).sum()
    }

    /// Before a run.
    pub(super) fn before(brokers: &Brokers, quota: String) -> Self {
        let versions = Pod::BROKERS.map(|pod| (pod.kind().to_owned(), version(brokers, pod)));
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            started: utc(Env::tokio().unix_time().as_secs()),
            kernel: kernel.trim().to_owned(),
            brokers: versions.into(),
            quota,
            ..Self::default()
        }
    }

    /// Takes in what was used from `start` to `end`, in which `rpcs` requests were answered.
    pub(super) fn account(&mut self, start: &Reading, end: &Reading, rpcs: u64) {
        let used = end.ours_us.iter().map(|(name, us)| (name, us - start.ours_us.get(name).unwrap_or(&0).min(us)));
        let used: Vec<(&String, u64)> = used.collect();
        if rpcs > 0 {
            let each = |us: u64| (us as f64 / rpcs as f64 * 10.0).round() / 10.0;
            self.cpu_us_per_rpc = used.iter().map(|(name, us)| ((*name).clone(), each(*us))).collect();
        }
        let ours: u64 = used.iter().map(|(_, us)| us).sum();
        let (busy, all) = (end.busy_us - start.busy_us, end.all_us - start.all_us);
        let share = |us: u64| if all > 0 { (us as f64 / all as f64 * 1e3).round() / 1e3 } else { 0.0 };
        self.others_share = share(busy.saturating_sub(ours));
        self.idle_share = share(all.saturating_sub(busy));
    }
}

/// The version of a broker that is ours, asked of its program.
fn version(brokers: &Brokers, broker: Pod) -> String {
    if !brokers.is_private(broker) {
        return "not ours".into();
    }
    let said = match broker {
        Pod::Amqp => rabbitmq_version(),
        Pod::Mqtt => first_line("mosquitto", "-h"),
        // Redis server v=7.0.15 sha=00000000:0 malloc=...
        _ => first_line("redis-server", "--version")
            .map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" ").replace(" server v=", " ")),
    };
    said.unwrap_or_else(|| "of an unknown version".into())
}

/// RabbitMQ keeps its version in the names of its folders; asking `rabbitmqctl` takes seconds.
fn rabbitmq_version() -> Option<String> {
    let folder = std::fs::read_dir("/usr/lib/rabbitmq/lib").ok()?;
    let names = folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter_map(|name| Some(format!("RabbitMQ {}", name.strip_prefix("rabbitmq_server-")?))).max()
}

/// The first line of what a program says; Debian keeps daemons in /usr/sbin, which is not in everybody's PATH.
fn first_line(program: &str, argument: &str) -> Option<String> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/local/sbin:/usr/sbin:/sbin";
    let output = Command::new("sh").env("PATH", path).args(["-c", &format!("{program} {argument}")]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}

/// `2026-01-31T12:00:00Z`.
fn utc(unix_s: u64) -> String {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(unix_s);
    time.format(&Rfc3339).expect("the clock is before the year 10,000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_767_225_599), "2025-12-31T23:59:59Z");
    }

    #[test]
    fn what_was_used_is_split_into_ours_and_that_of_others() {
        let reading = |bench, busy_us, all_us| Reading {
            ours_us: BTreeMap::from([("bench".to_owned(), bench)]),
            busy_us,
            all_us,
        };
        let mut conditions = Conditions::default();
        conditions.account(&reading(100, 1_000, 10_000), &reading(600, 3_000, 14_000), 10);
        assert_eq!(conditions.cpu_us_per_rpc["bench"], 50.0);
        assert_eq!((conditions.others_share, conditions.idle_share), (0.375, 0.5));
    }
}
