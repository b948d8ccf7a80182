//! Latencies in full: a row a task, and the percentile distribution.

use crate::measure::{TaskEnd, TaskRecord};
use anyhow::Context;
use hdrhistogram::Histogram;
use std::fmt::Write as _;

/// Significant digits of the percentile file, as is usual for it.
const HGRM_DIGITS: u8 = 3;
/// Steps between each two halvings of the distance to 100 %, as is usual.
const HGRM_TICKS: u32 = 5;

/// A row a task: moments in us from the start of the world, then durations in us; empty where there is none. All tasks
/// are in it, with their `outcome`.
pub(super) fn csv(tasks: &[TaskRecord]) -> anyhow::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = [
        "index",
        "task_id",
        "published_us",
        "offered_us",
        "dispatched_us",
        "started_us",
        "last_try_us",
        "finished_us",
        "end_to_end_us",
        "waiting_us",
        "retries_us",
        "try_us",
        "calls_us",
        "outcome",
        "reason",
        "attempts",
        "timeouts",
    ];
    writer.write_record(header)?;
    let optional = |value: Option<u64>| value.map_or(String::new(), |value| value.to_string());
    for task in tasks {
        let reason = match task.end {
            TaskEnd::DeadLettered(reason) => reason.to_string(),
            TaskEnd::Done | TaskEnd::Queued => String::new(),
        };
        writer.write_record([
            task.index.to_string(),
            task.id(),
            task.published_us.to_string(),
            task.offered_us.to_string(),
            task.dispatched_us.to_string(),
            optional(task.started_us),
            optional(task.last_try_us),
            optional(task.finished_us),
            optional(task.end_to_end_us()),
            optional(task.waiting_us()),
            optional(task.retries_us()),
            optional(task.try_us),
            optional(task.calls_us),
            task.end.word().to_owned(),
            reason,
            task.attempts.to_string(),
            task.timeouts.to_string(),
        ])?;
    }
    writer.into_inner().context("writing rows into memory")
}

/// The percentile distribution in ms, in the format of HdrHistogram's own tools and plotters. As there, a value is the
/// upper edge of its bucket: exact to [`HGRM_DIGITS`].
pub(super) fn hgrm(latencies_us: &[u64]) -> anyhow::Result<Vec<u8>> {
    let mut histogram = Histogram::<u64>::new(HGRM_DIGITS).context("making a histogram")?;
    for latency in latencies_us {
        histogram.record(*latency).with_context(|| format!("recording a latency of {latency} us"))?;
    }
    let ms = |us: f64| us / 1_000.0;
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in histogram.iter_quantiles(HGRM_TICKS) {
        total += step.count_since_last_iteration();
        let (value, quantile) = (ms(step.value_iterated_to() as f64), step.quantile_iterated_to());
        let _ = if quantile < 1.0 {
            writeln!(out, "{value:12.3} {quantile:2.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(out, "{value:12.3} {quantile:2.12} {total:10}")
        };
    }
    let _ = writeln!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]",
        ms(histogram.mean()),
        ms(histogram.stdev()),
        ms(histogram.max() as f64),
        histogram.len(),
        histogram.buckets(),
        2_048
    );
    Ok(out.into_bytes())
}
