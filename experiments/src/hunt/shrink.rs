//! The smallest world that still shows a finding: fewer faults and tasks, then less of everything else, weaker and
//! shorter faults, and every choice back to its default. A smaller world counts if it shows the same fingerprint.
//!
//! Faults go by delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002):
//! halves first, then quarters, and so on, so that a dozen runs take away most of a schedule.
//!
//! A run costs what its virtual time costs, so what makes runs short comes first: patience, then the number of tasks.
//! What a large world shows since it tries something often, a small one may show under another seed only, so some are
//! tried.

mod choices;
#[cfg(test)]
mod tests;

use super::{
    dice::Dice,
    verdict::{Fingerprint, judge},
    world::with_limits,
};
use crate::{
    measure::{Oracle, Severity},
    simulate::Simulate,
    spec::{Arrivals, CommandedEsls, Fault, FaultKind, Part, Spec},
};
use std::collections::BTreeSet;

/// How long a run may take to be well again, in seconds: the first that is enough to show what is looked for. A world
/// has its own limit for the worst that it can do, hours if it has many tasks, and each run that shows that something
/// is not well waits for it.
const PATIENCE_S: [u32; 5] = [2, 10, 30, 90, 300];
/// Less is no patience with what should come, but does not: a healthy world would be taken for a sick one.
const PATIENCE_S_MIN: u32 = 30;
/// Sizes of worlds that are tried at once, and how often under other seeds.
const FEW_TASKS: [u32; 3] = [5, 3, 1];
const LEAPS_MAX: u64 = 16;
/// Longest until the first fault of a world with few tasks, in milliseconds: they are soon done.
const SOON_MS: u32 = 50;

/// Makes a world smaller, run by run.
struct Shrinker<'a> {
    simulate: Simulate,
    fingerprint: Fingerprint,
    /// The smallest world so far that shows it, if no longer than `patience_s` is waited.
    smallest: Spec,
    /// The last one that was seen to show it with its own limit.
    proven: Spec,
    /// `None`: each world is waited for as long as it may take.
    patience_s: Option<u32>,
    /// So much patience was not enough.
    too_short_s: u32,
    /// Worlds that do not show it: no need to run them again.
    failed: BTreeSet<String>,
    runs: usize,
    runs_max: usize,
    tell: &'a mut dyn FnMut(&str),
}

/// What shrinking came to.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest world.
    pub spec: Spec,
    /// How many runs it took.
    pub runs: usize,
}

/// Shrinks `spec`, which shows `fingerprint`, in at most `runs_max` runs and those that prove what came of them. `tell`
/// hears of each step that helped.
pub fn shrink(
    spec: &Spec,
    fingerprint: &Fingerprint,
    simulate: Simulate,
    runs_max: usize,
    tell: &mut dyn FnMut(&str),
) -> Shrunk {
    let mut shrinker = Shrinker {
        simulate,
        fingerprint: fingerprint.clone(),
        smallest: spec.clone(),
        proven: spec.clone(),
        patience_s: None,
        too_short_s: 0,
        failed: BTreeSet::new(),
        runs: 0,
        runs_max,
        tell,
    };
    // What goes later may let more faults go.
    loop {
        let before = (shrinker.proven.clone(), shrinker.too_short_s);
        for pass in PASSES {
            pass(&mut shrinker);
            shrinker.prove_if(shrinker.depends_on_patience());
        }
        shrinker.prove_if(true);
        if (&shrinker.proven, shrinker.too_short_s) == (&before.0, before.1) || shrinker.is_spent() {
            break;
        }
    }
    Shrunk { spec: shrinker.proven, runs: shrinker.runs }
}

/// What is tried, in this order, again and again until nothing helps any more.
const PASSES: [fn(&mut Shrinker<'_>); 9] = [
    |it| it.find_patience(),
    |it| it.fewer_probes(),
    |it| it.smaller_and_sooner(),
    |it| it.find_patience(),
    |it| it.fewer_faults(),
    |it| it.few_tasks(),
    |it| it.smaller_world(),
    |it| it.weaker_faults(),
    |it| it.fewer_choices(),
];

impl Shrinker<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= self.runs_max
    }

    /// Whether a world that shows it to somebody without patience may show nothing to somebody who waits.
    fn depends_on_patience(&self) -> bool {
        let oracle = self.fingerprint.oracle;
        oracle.severity() == Severity::Liveness || oracle == Oracle::LeftBehind
    }

    /// Looks for the least patience that is enough.
    fn find_patience(&mut self) {
        let above_s = if self.depends_on_patience() { PATIENCE_S_MIN - 1 } else { 0 }.max(self.too_short_s);
        let own_s = self.patience_s.unwrap_or(self.smallest.limits.recover_s);
        for patience_s in PATIENCE_S.into_iter().filter(|s| (above_s + 1..own_s).contains(s)) {
            if !self.is_spent() && self.shows(&self.smallest.clone(), Some(patience_s)) {
                self.patience_s = Some(patience_s);
                return;
            }
        }
    }

    /// Runs `spec`, and sees whether it shows the same.
    fn shows(&mut self, spec: &Spec, patience_s: Option<u32>) -> bool {
        self.runs += 1;
        let mut spec = spec.clone();
        spec.limits.recover_s = spec.limits.recover_s.min(patience_s.unwrap_or(u32::MAX));
        let finding = judge(&spec, self.simulate, None).finding;
        finding.is_some_and(|finding| finding.shows(&self.fingerprint))
    }

    /// Keeps `candidate` if it shows the same.
    fn keep(&mut self, mut candidate: Spec, what: &str) -> bool {
        with_limits(&mut candidate);
        if self.is_spent() || candidate == self.smallest || candidate.check().is_err() {
            return false;
        }
        let text = candidate.to_toml();
        if self.failed.contains(&text) {
            return false;
        }
        let shows = self.shows(&candidate, self.patience_s);
        if shows {
            (self.tell)(what);
            self.smallest = candidate;
        } else {
            self.failed.insert(text);
        }
        shows
    }

    /// Lets the smallest world show that it is one with its own limit, too, if it `is_time`. If it does not, all since
    /// the last one that did was for nothing, and needs more patience.
    fn prove_if(&mut self, is_time: bool) {
        if !is_time || self.smallest == self.proven {
            return;
        }
        let Some(patience_s) = self.patience_s else {
            self.proven = self.smallest.clone();
            return;
        };
        if patience_s >= self.smallest.limits.recover_s || self.shows(&self.smallest.clone(), None) {
            self.proven = self.smallest.clone();
            return;
        }
        (self.tell)(&format!("back to {} tasks: {patience_s} s were too short", self.proven.workload.tasks));
        self.smallest = self.proven.clone();
        self.failed.clear();
        (self.too_short_s, self.patience_s) = (patience_s, None);
        self.find_patience();
    }

    fn with(&self, change: impl FnOnce(&mut Spec)) -> Spec {
        let mut spec = self.smallest.clone();
        change(&mut spec);
        spec
    }

    /// None, or ddmin: leaves out ever smaller parts of the schedule.
    fn fewer_faults(&mut self) {
        if self.keep(self.with(|spec| spec.faults.clear()), "no faults") {
            return;
        }
        let mut parts = 2;
        loop {
            let count = self.smallest.faults.len();
            if count < 2 {
                return;
            }
            let size = count.div_ceil(parts.min(count));
            let mut has_shrunk = false;
            for begin in (0..count).step_by(size) {
                let faults = without(&self.smallest.faults, begin, size);
                let left = faults.len();
                if self.keep(self.with(|spec| spec.faults = faults), &format!("{left} of {count} faults")) {
                    has_shrunk = true;
                    break;
                }
            }
            match has_shrunk {
                true => parts = 2.max(parts - 1),
                false if size == 1 => return,
                false => parts *= 2,
            }
        }
    }

    /// Less of `name`, as little as that helps.
    fn less(&mut self, (name, get, set): Size, sizes: fn(u32) -> Vec<u32>) {
        loop {
            let now = get(&self.smallest);
            let helped = sizes(now).into_iter().any(|size| {
                let candidate = self.with(|spec| set(spec, size));
                self.keep(candidate, &format!("{name}: {size} instead of {now}"))
            });
            if !helped {
                return;
            }
        }
    }

    /// Fewer tasks, commands, workers, routers, gateways, labels and stores.
    fn smaller_world(&mut self) {
        SIZES.into_iter().for_each(|size| self.less(size, smaller));
    }

    /// Fewer tasks that come when all is well, or none: there are never fewer tasks than that.
    fn fewer_probes(&mut self) {
        let probes: Size = ("probes", |spec| spec.expect.probe_tasks, |spec, size| spec.expect.probe_tasks = size);
        self.less(probes, |now| if now > 0 { [vec![0], smaller(now)].concat() } else { Vec::new() });
    }

    /// Half the tasks, with faults that come after half the time: alone, fewer tasks would be done before a fault.
    fn smaller_and_sooner(&mut self) {
        loop {
            let tasks = self.smallest.workload.tasks / 2;
            let candidate = self.with(|spec| {
                spec.workload.tasks = tasks;
                spec.workload.duration_s = spec.workload.duration_s.div_ceil(2);
                spec.faults.iter_mut().for_each(|fault| fault.at_ms /= 2);
            });
            if tasks == 0 || !self.keep(candidate, &format!("{tasks} tasks in half the time")) {
                return;
            }
        }
    }

    /// Few tasks at once, with faults that come soon, and under other seeds.
    fn few_tasks(&mut self) {
        for tasks in FEW_TASKS {
            let now = self.smallest.workload.tasks;
            for number in (0..LEAPS_MAX).take_while(|_| tasks < now) {
                if self.keep(self.leap(tasks, number), &format!("{tasks} tasks instead of {now}, seed {}", 1 + number))
                {
                    break;
                }
            }
        }
    }

    /// A small world that might show the same.
    fn leap(&self, tasks: u32, number: u64) -> Spec {
        let mut dice = Dice::new(number, "leap");
        self.with(|spec| {
            spec.seed = 1 + number;
            let before = std::mem::replace(&mut spec.workload.tasks, tasks);
            // Fewer of both, or two of them would hardly ever be for one label.
            if dice.percent(50) {
                let least = spec.workload.most_commands().next_multiple_of(spec.fleet.stores);
                spec.fleet.esls = spec.fleet.esls.min(least);
            }
            if dice.percent(50) {
                (spec.workload.arrivals, spec.workload.duration_s) = (Arrivals::Burst, 0);
            }
            let first_ms = spec.faults.iter().map(|fault| fault.at_ms).min().unwrap_or(0);
            let sooner_ms = match dice.percent(50) {
                true => first_ms.saturating_sub(dice.magnitude(1..=SOON_MS).into()),
                false => first_ms - first_ms * u64::from(tasks) / u64::from(before),
            };
            spec.faults.iter_mut().for_each(|fault| fault.at_ms -= sooner_ms);
        })
    }

    /// Shorter faults, at rounder times, and restarts and pauses that could be less.
    fn weaker_faults(&mut self) {
        for place in 0..self.smallest.faults.len() {
            while self.shorter(place) || self.milder(place) {}
            let at_ms = self.smallest.faults[place].at_ms;
            for rounded in [0, at_ms / 1_000 * 1_000, at_ms / 100 * 100, at_ms / 10 * 10] {
                let candidate = self.with(|spec| spec.faults[place].at_ms = rounded);
                if self.keep(candidate, &format!("fault {place} at {rounded} ms")) {
                    break;
                }
            }
        }
    }

    /// Nearer to nothing: half as strong, or one part instead of all, or less of what it could be.
    fn milder(&mut self, place: usize) -> bool {
        let Fault { kind, target, strength, .. } = self.smallest.faults[place].clone();
        let mut milder = Vec::new();
        if let Part::All(pod) = target {
            milder.push(self.with(|spec| spec.faults[place].target = Part::One(pod)));
        }
        if let Some(strength) = strength {
            milder.push(self.with(|spec| spec.faults[place].strength = Some(strength / 2)));
        }
        if kind == FaultKind::PowerOff {
            milder.push(self.with(|spec| spec.faults[place].kind = FaultKind::Crash));
        }
        milder.into_iter().any(|candidate| self.keep(candidate, &format!("fault {place} is milder")))
    }

    fn shorter(&mut self, place: usize) -> bool {
        let Some(for_ms) = self.smallest.faults[place].for_ms else { return false };
        let shorter = [for_ms / 4, for_ms / 2, for_ms * 3 / 4, for_ms / 100 * 100];
        shorter.into_iter().filter(|ms| (1..for_ms).contains(ms)).any(|ms| {
            let candidate = self.with(|spec| spec.faults[place].for_ms = Some(ms));
            self.keep(candidate, &format!("fault {place} for {ms} ms"))
        })
    }

    /// Each field that differs from its default back to it: whole tables first.
    fn fewer_choices(&mut self) {
        for depth in [1, 2, 3] {
            for path in choices::chosen(&self.smallest, depth) {
                if let Some(candidate) = choices::without(&self.smallest, &path) {
                    self.keep(candidate, &format!("{path} as it is by default"));
                }
            }
        }
        for esls in [CommandedEsls::EachOnce, CommandedEsls::Fleet] {
            if self.smallest.workload.esls == CommandedEsls::Fresh {
                self.keep(self.with(|spec| spec.workload.esls = esls), "labels of the fleet");
            }
        }
    }
}

type Size = (&'static str, fn(&Spec) -> u32, fn(&mut Spec, u32));

/// How much there is of everything.
const SIZES: [Size; 7] = [
    ("tasks", |spec| spec.workload.tasks, |spec, size| spec.workload.tasks = size),
    ("commands", |spec| spec.workload.commands_per_task, |spec, size| spec.workload.commands_per_task = size),
    ("workers", |spec| spec.replicas.task_workers, |spec, size| spec.replicas.task_workers = size),
    ("routers", |spec| spec.replicas.routers, |spec, size| spec.replicas.routers = size),
    ("stores", |spec| spec.fleet.stores, |spec, size| spec.fleet.stores = size),
    ("gateways", |spec| spec.fleet.gateways, |spec, size| spec.fleet.gateways = size),
    ("labels", |spec| spec.fleet.esls, |spec, size| spec.fleet.esls = size),
];

/// Some sizes that are less than `now`, the least first, each once; none is 0.
fn smaller(now: u32) -> Vec<u32> {
    let sizes = BTreeSet::from([1, now / 4, now / 2, now - now.div_ceil(4), now.saturating_sub(1)]);
    sizes.into_iter().filter(|size| (1..now).contains(size)).collect()
}

fn without(faults: &[Fault], begin: usize, size: usize) -> Vec<Fault> {
    let end = (begin + size).min(faults.len());
    [&faults[..begin], &faults[end..]].concat()
}
