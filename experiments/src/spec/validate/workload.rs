//! The rules of `[workload]`.

use super::{Wrong, wrong, wrong_together};
use crate::spec::{Arrivals, CommandedEsls, Spec, Workload};
use backbone::message::TASK_BYTES_MAX;

/// Most steps, and most moments of a curve: one a minute of a day.
const MOMENTS_MAX: usize = 1_440;
/// Largest number in a list of rates: only proportions count.
const RATE_MAX: u32 = 1_000_000;
/// What a command takes in a task beside its body, and more, in bytes.
const COMMAND_BYTES: u64 = 128;
/// Most commands in a task with Zipf's law: with a steep one, each further label takes more draws than the one before.
const ZIPF_COMMANDS_MAX: u32 = 20;
/// A store's day is drawn by proposing moments: its peak may be so many times the mean.
const PEAKS_MAX: u64 = 1_000;
/// With Zipf's law the last of a task's labels would be drawn again and again if there were fewer for each command.
const LABELS_A_COMMAND_MIN: u32 = 4;

pub(super) fn validate(spec: &Spec) -> Result<(), Wrong> {
    arrivals(spec)?;
    rates(spec)?;
    commands(&spec.workload)?;
    labels(spec)
}

fn arrivals(spec: &Spec) -> Result<(), Wrong> {
    let Workload { arrivals, duration_s, warm_up_s, .. } = spec.workload;
    let lasts = !matches!(arrivals, Arrivals::Burst | Arrivals::Replay);
    if lasts && duration_s == 0 {
        let rule = "is 0; these `workload.arrivals` need a time in which all tasks come";
        return wrong_together("workload.duration_s", &["workload.arrivals"], rule);
    }
    if !lasts && duration_s > 0 {
        let rule = format!("is {duration_s}, but with these `workload.arrivals` it has no meaning; leave it 0");
        return wrong_together("workload.duration_s", &["workload.arrivals"], rule);
    }
    let last_ms = match arrivals {
        Arrivals::Replay => spec.workload.replayed.last().map_or(0, |task| u64::from(task.at_ms)),
        _ => u64::from(duration_s) * 1_000,
    };
    if last_ms >= u64::from(spec.limits.virtual_s_max) * 1_000 {
        let rule = format!("is {}, but tasks come until {} s", spec.limits.virtual_s_max, last_ms / 1_000);
        return wrong_together("limits.virtual_s_max", &["workload.duration_s", "workload.replay"], rule);
    }
    if warm_up_s > 0 && u64::from(warm_up_s) * 1_000 >= last_ms {
        let rule = format!("is {warm_up_s}, but tasks come for {} s: none would be measured", last_ms / 1_000);
        return wrong_together("workload.warm_up_s", &["workload.duration_s", "workload.arrivals"], rule);
    }
    Ok(())
}

fn rates(spec: &Spec) -> Result<(), Wrong> {
    let Workload { arrivals, steps, curves, .. } = &spec.workload;
    match (arrivals, steps.is_empty()) {
        (Arrivals::Steps, true) => {
            let rule = "is empty; `workload.arrivals = \"steps\"` needs the rates, as in [1, 2, 4]";
            return wrong_together("workload.steps", &["workload.arrivals"], rule);
        }
        (Arrivals::Steps, false) => list("workload.steps", steps, 1)?,
        (_, false) => return wrong("workload.steps", "is for `workload.arrivals = \"steps\"`"),
        (_, true) => {}
    }
    if *arrivals != Arrivals::Day && !curves.is_empty() {
        return wrong("workload.curves", "is for `workload.arrivals = \"day\"`");
    }
    if curves.len() > spec.fleet.stores as usize {
        let rule = format!("has {} curves for {} stores", curves.len(), spec.fleet.stores);
        return wrong_together("workload.curves", &["fleet.stores"], rule);
    }
    curves.iter().try_for_each(|curve| list("workload.curves", curve, 2))?;
    let peak = u64::from(curves.iter().flatten().copied().max().unwrap_or(0));
    let is_steep =
        |curve: &Vec<u32>| curve.iter().copied().map(u64::from).sum::<u64>() * PEAKS_MAX < peak * curve.len() as u64;
    if curves.iter().any(is_steep) {
        let rule = format!("has a curve whose mean is less than one in {PEAKS_MAX} of the highest rate of all");
        return wrong("workload.curves", rule);
    }
    Ok(())
}

/// Rates over time.
fn list(path: &str, rates: &[u32], count_min: usize) -> Result<(), Wrong> {
    if !(count_min..=MOMENTS_MAX).contains(&rates.len()) {
        return wrong(path, format!("has {} rates; accepted are {count_min} to {MOMENTS_MAX}", rates.len()));
    }
    if let Some(rate) = rates.iter().find(|rate| **rate > RATE_MAX) {
        return wrong(path, format!("has a rate of {rate}; accepted are 0 to {RATE_MAX}, as only proportions count"));
    }
    if rates.iter().all(|rate| *rate == 0) {
        return wrong(path, "has no rate but 0: no task would ever come");
    }
    Ok(())
}

fn commands(workload: &Workload) -> Result<(), Wrong> {
    let &Workload { commands_per_task: least, commands_per_task_max: most, body_bytes_min, body_bytes_max, .. } =
        workload;
    if most > 0 && most < least {
        let rule = format!("is {most}, less than `workload.commands_per_task`, which is {least}");
        return wrong_together("workload.commands_per_task_max", &["workload.commands_per_task"], rule);
    }
    if body_bytes_max < body_bytes_min {
        let rule = format!("is {body_bytes_max}, less than `workload.body_bytes_min`, which is {body_bytes_min}");
        return wrong_together("workload.body_bytes_max", &["workload.body_bytes_min"], rule);
    }
    let task_bytes = u64::from(workload.most_commands()) * (u64::from(body_bytes_max) + COMMAND_BYTES);
    if body_bytes_max > 0 && task_bytes > TASK_BYTES_MAX as u64 {
        let rule = format!(
            "makes tasks of up to {task_bytes} bytes with {} commands each; accepted are {TASK_BYTES_MAX}",
            workload.most_commands()
        );
        return wrong_together("workload.body_bytes_max", &["workload.commands_per_task_max"], rule);
    }
    Ok(())
}

fn labels(spec: &Spec) -> Result<(), Wrong> {
    let Workload { esls, zipf_percent, unknown_percent, tasks, .. } = spec.workload;
    let most = spec.workload.most_commands();
    for (path, value) in [("workload.zipf_percent", zipf_percent), ("workload.unknown_percent", unknown_percent)] {
        if value > 0 && esls != CommandedEsls::Fleet {
            return wrong_together(path, &["workload.esls"], "is for labels drawn with `workload.esls = \"fleet\"`");
        }
    }
    // The labels that one task may have.
    let stores = if spec.workload.arrivals == Arrivals::Day { spec.fleet.stores } else { 1 };
    let labels = spec.fleet.esls / stores.max(1);
    let needed = if zipf_percent > 0 { most * LABELS_A_COMMAND_MIN } else { most };
    if esls != CommandedEsls::Fresh && labels < needed {
        let rule = format!(
            "is {}; `workload.esls` needs at least {needed}, one a command{}",
            spec.fleet.esls,
            match (stores > 1, zipf_percent > 0) {
                (true, _) => " in each store",
                (false, true) => " and some more with `workload.zipf_percent`",
                (false, false) => "",
            }
        );
        return wrong_together("fleet.esls", &["workload.commands_per_task", "workload.esls"], rule);
    }
    if zipf_percent > 0 && most > ZIPF_COMMANDS_MAX {
        let rule = format!("is set, with up to {most} commands a task; accepted are {ZIPF_COMMANDS_MAX} with it");
        return wrong_together("workload.zipf_percent", &["workload.commands_per_task"], rule);
    }
    let commands = u64::from(tasks) * u64::from(most);
    if esls == CommandedEsls::EachOnce && commands > u64::from(spec.fleet.esls) {
        let rule = format!("makes up to {commands} commands, and there are {} labels for one each", spec.fleet.esls);
        return wrong_together("workload.tasks", &["fleet.esls", "workload.commands_per_task", "workload.esls"], rule);
    }
    if esls == CommandedEsls::EachOnce && spec.workload.arrivals == Arrivals::Day && stores > 1 {
        let rule = "is \"each_once\", which is not possible with the days of several stores";
        return wrong_together("workload.esls", &["workload.arrivals", "fleet.stores"], rule);
    }
    Ok(())
}
