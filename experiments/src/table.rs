//! The result of a run, for people.

use crate::{
    digits::grouped,
    live::Conditions,
    measure::{Latency, Load, Statistics},
    results::Summary,
};
use std::fmt::Write as _;

/// Renders the table.
#[must_use]
pub fn render(summary: &Summary) -> String {
    let mut out = format!("{}: {}\n", summary.spec, summary.resolved_spec.title);
    notes(&mut out, summary);
    let cost = &summary.cost;
    let tasks = &summary.tasks;
    line(
        &mut out,
        "tasks",
        &[
            (count(tasks.dispatched), "dispatched"),
            (count(tasks.done), "done"),
            (count(tasks.timed_out), "timed out"),
            (count(tasks.retried), "retried"),
            (count(tasks.dead_lettered), "dead-lettered"),
            (count(tasks.queued), "still queued"),
        ],
    );
    let rpcs = &summary.rpcs;
    let mut fates = vec![
        (count(rpcs.sent), "sent"),
        (count(rpcs.replied), "replied"),
        (count(rpcs.timed_out), "timed out"),
        (count(rpcs.misrouted), "misrouted"),
    ];
    if rpcs.failed > 0 {
        fates.push((count(rpcs.failed), "failed"));
    }
    if summary.resolved_spec.routers().iter().any(|kind| kind.answers_calls()) {
        fates.push((count(rpcs.dropped_replies), "replies dropped"));
    }
    line(&mut out, "RPCs", &fates);
    out.push('\n');
    latencies(&mut out, summary);
    let rates = &summary.throughput;
    out.push('\n');
    line(
        &mut out,
        if summary.live.is_some() { "per second" } else { "per virtual second" },
        &[
            (decimal(rates.tasks_per_s), "tasks"),
            (decimal(rates.rpcs_per_s), "RPCs"),
            (decimal(rates.messages_per_s), "MQTT messages"),
        ],
    );
    over_time(&mut out, summary);
    radio(&mut out, summary);
    let drops: Vec<(String, &str)> =
        summary.drops.iter().map(|(reason, times)| (count(*times), reason.as_str())).collect();
    if !drops.is_empty() {
        line(&mut out, "dropped", &drops);
    }
    if let Some(conditions) = &summary.live {
        live(&mut out, summary, conditions);
        return out;
    }
    let speed = if cost.wall_s > 0.0 { summary.virtual_s / cost.wall_s } else { 0.0 };
    line(
        &mut out,
        "time",
        &[
            (format!("{:.3} s", summary.virtual_s), "virtual"),
            (format!("{:.3} s", cost.wall_s), if cost.event_log { "wall, writing the event log" } else { "wall" }),
            (format!("{speed:.2}"), "virtual/wall"),
        ],
    );
    if let Some(bytes) = cost.peak_memory_bytes {
        line(&mut out, "peak memory", &[(format!("{:.1} MB", bytes as f64 / 1e6), "")]);
    }
    line(&mut out, "seed", &[(summary.seed.to_string(), "")]);
    line(&mut out, "trace digest", &[(summary.trace_digest.clone(), "")]);
    out
}

/// Rows of words under each other: numbers to the right, the last column to the left. The first row is the head.
#[must_use]
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let cells =
            row.iter().zip(&widths).enumerate().map(|(place, (cell, width))| {
                if place + 1 == count { cell.clone() } else { format!("{cell:>width$}") }
            });
        let _ = writeln!(out, "  {}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
    out
}

/// How the work came, and for how long pods were there for it.
fn over_time(out: &mut String, summary: &Summary) {
    if let Some(load) = &summary.load {
        load_lines(out, load);
    }
    let hours: Vec<(String, String)> =
        summary.pod_hours.iter().map(|(target, hours)| (decimal(*hours), target.replace('_', " "))).collect();
    if !hours.is_empty() {
        let hours: Vec<(String, &str)> = hours.iter().map(|(hours, of)| (hours.clone(), of.as_str())).collect();
        line(out, "pod hours", &hours);
    }
}

fn load_lines(out: &mut String, load: &Load) {
    let mut parts = vec![
        (decimal(load.mean_per_s), "tasks/s came"),
        (count(load.peak_per_s), "at most in a second"),
        (decimal(load.in_flight_end), "in flight at the end"),
    ];
    if load.warm_up_tasks > 0 {
        parts.push((count(load.warm_up_tasks), "before the measured time"));
    }
    if let Some(seconds) = load.seconds_above_slo {
        parts.push((count(seconds), "s above the SLO"));
    }
    line(out, "load", &parts);
    let percent = |percent: f64| format!("{percent:.1} %");
    let used: Vec<(String, &str)> =
        load.utilisation.iter().map(|one| (percent(one.percent), one.of.as_str())).collect();
    if !used.is_empty() {
        line(out, "CPU used", &used);
    }
}

/// What the radio came to, if there is one.
fn radio(out: &mut String, summary: &Summary) {
    let Some(radio) = &summary.radio else { return };
    let fates = [
        (count(radio.commands), "commands"),
        (decimal(radio.at_first_try_percent), "% at the first try"),
        (decimal(radio.answered_percent), "% answered"),
        (decimal(radio.tries_per_command), "packets each"),
    ];
    line(out, "radio", &fates);
    let times = [
        (decimal(radio.gateway_us_per_answer), "us of a gateway for an answer"),
        (decimal(radio.busiest_gateway_percent), "% busiest gateway"),
        (decimal(radio.label_us_per_answer), "us of a label"),
        (decimal(radio.listening_ms_per_h), "ms listening an hour"),
    ];
    line(out, "air time", &times);
}

/// What a live run rests on.
fn live(out: &mut String, summary: &Summary, conditions: &Conditions) {
    let cpu: Vec<(String, &str)> =
        conditions.cpu_us_per_rpc.iter().map(|(name, us)| (decimal(*us), name.as_str())).collect();
    line(out, "CPU us per RPC", &cpu);
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let shares = [(percent(conditions.others_share), "used by others"), (percent(conditions.idle_share), "idle")];
    line(out, "machine's CPU", &shares);
    line(out, "CPU quotas", &[(conditions.quota.clone(), "")]);
    let brokers: Vec<(String, &str)> = conditions.brokers.values().map(|broker| (broker.clone(), "")).collect();
    line(out, "live", &brokers);
    line(out, "time", &[(format!("{:.3} s", summary.cost.wall_s), "wall, brokers' start included")]);
    line(out, "seed", &[(summary.seed.to_string(), "of the workload")]);
}

/// A line each; a warning is marked.
fn notes(out: &mut String, summary: &Summary) {
    for note in summary.notes() {
        let _ = writeln!(out, "  {} {note}", if note.is_warning() { '!' } else { '-' });
    }
}

fn latencies(out: &mut String, summary: &Summary) {
    let _ = writeln!(
        out,
        "  {:<22}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}",
        "latency in ms", "mean", "p50", "p90", "p95", "p99", "max"
    );
    for latency in Latency::ALL {
        let _ = write!(out, "  {:<22}", latency.name());
        match summary.latency_ms.get(latency) {
            Some(Statistics { mean, p50, p90, p95, p99, max, .. }) => {
                for value in [mean, p50, p90, p95, p99, max] {
                    let _ = write!(out, "{:>11}", decimal(value));
                }
            }
            None => out.push_str("     no samples"),
        }
        out.push('\n');
    }
}

fn line(out: &mut String, name: &str, values: &[(String, &str)]) {
    let values: Vec<String> =
        values.iter().map(|(value, unit)| format!("{value} {unit}").trim_end().to_owned()).collect();
    let _ = writeln!(out, "  {name:<22}{}", values.join("  ·  "));
}

fn count(value: u64) -> String {
    grouped(&value.to_string())
}

fn decimal(value: f64) -> String {
    grouped(&format!("{value:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(
            [count(0), count(999), count(20_000), count(1_234_567), decimal(2_046.5)],
            ["0", "999", "20,000", "1,234,567", "2,046.50"]
        );
    }
}
