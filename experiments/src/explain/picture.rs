//! The picture of causes over percentiles.

use super::{Stretch, sorted};
use crate::{
    attribution::{Attribution, Cause},
    plot::{Stack, StackPanel, Stacks},
};

/// Bars in a picture: each stands for as many tasks.
const BARS: usize = 25;
/// Causes with a colour of their own; the others are one.
const SHOWN_MAX: usize = 7;

/// A bar: the mean time for each cause, in ms.
type Bar = Vec<(Cause, f64)>;
/// A run: its name, where its time went, and how many tasks are not measured.
type Run<'a> = (&'a str, &'a Attribution, usize);

/// Causes over percentiles, a panel for each run: its name, what it says of itself, and where its time went. `None` if
/// in one of them no task was done.
#[must_use]
pub fn picture(runs: &[Run<'_>], stretch: Stretch) -> Option<Stacks> {
    let panels: Vec<Vec<Bar>> =
        runs.iter().map(|(_, attribution, warm_up)| bars(attribution, *warm_up, stretch)).collect::<Option<_>>()?;
    // Those that have the largest share of any panel.
    let mut shares: Vec<(Cause, f64)> = Cause::all().map(|cause| (cause, 0.0)).collect();
    for panel in &panels {
        let all: f64 = panel.iter().flatten().map(|(_, ms)| ms).sum();
        for (cause, share) in &mut shares {
            let own: f64 = panel.iter().flatten().filter(|(other, _)| other == cause).map(|(_, ms)| ms).sum();
            *share = share.max(own / all.max(f64::MIN_POSITIVE));
        }
    }
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    let shown: Vec<Cause> = shares.iter().filter(|(_, share)| *share > 0.0).take(SHOWN_MAX).map(|(c, _)| *c).collect();
    let stack = |bar: &Bar| {
        let of = |cause: Cause| bar.iter().filter(|(other, _)| *other == cause).map(|(_, ms)| ms).sum::<f64>();
        let others = bar.iter().filter(|(cause, _)| !shown.contains(cause)).map(|(_, ms)| ms).sum();
        Stack { heights: shown.iter().map(|cause| of(*cause)).chain([others]).collect() }
    };
    let panel = |((name, ..), bars): (&Run<'_>, &Vec<Bar>)| StackPanel {
        title: (*name).to_owned(),
        stacks: bars.iter().map(stack).collect(),
    };
    Some(Stacks {
        title: vec!["Why it took so long".into(), format!("mean of tasks around each percentile of {stretch}, in ms")],
        series: shown.iter().map(|cause| cause.name().to_owned()).chain(["all else".into()]).collect(),
        x: "percentile of tasks".into(),
        y: "ms".into(),
        panels: runs.iter().zip(&panels).map(panel).collect(),
    })
}

/// For each bar the mean time of its tasks for each cause, in ms. Who stood in a gateway's queue waited for what the
/// gateway did.
fn bars(attribution: &Attribution, warm_up_tasks: usize, stretch: Stretch) -> Option<Vec<Bar>> {
    let tasks = sorted(attribution, warm_up_tasks, stretch);
    if tasks.is_empty() {
        return None;
    }
    let bars = BARS.min(tasks.len());
    let bar = |place: usize| {
        let (first, end) = (tasks.len() * place / bars, tasks.len() * (place + 1) / bars);
        let mut sums = Bar::new();
        for part in tasks[first..end].iter().flat_map(|(.., parts)| parts) {
            let cause = part.because.unwrap_or(part.cause);
            let ms = f64::from(part.us) / 1e3 / (end - first) as f64;
            match sums.iter_mut().find(|(other, _)| *other == cause) {
                Some((_, sum)) => *sum += ms,
                None => sums.push((cause, ms)),
            }
        }
        sums
    };
    Some((0..bars).map(bar).collect())
}
