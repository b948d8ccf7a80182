//! The smallest world that still shows a finding: fewer faults, then weaker and shorter ones, then less of everything
//! else, then every choice back to its default. A smaller world counts if it shows the same fingerprint.
//!
//! Faults go by delta debugging (Zeller and Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002):
//! halves first, then quarters, and so on, so that a dozen runs take away most of a schedule.

use super::{
    verdict::{Fingerprint, judge},
    world::with_limits,
};
use crate::{
    simulate::Simulate,
    spec::{CommandedEsls, Fault, FaultKind, Part, Spec, parse},
};
use toml::{Table, Value};

/// Tables and fields that are no choices: how much there is, and what shrinking has already dealt with.
const NO_CHOICES: [&str; 13] = [
    "title",
    "seed",
    "faults",
    "limits",
    "expect",
    "workload.tasks",
    "workload.commands_per_task",
    "replicas.task_workers",
    "replicas.routers",
    "fleet.gateways",
    "fleet.stores",
    "fleet.esls",
    "slo",
];

/// Makes a world smaller, run by run.
struct Shrinker<'a> {
    simulate: Simulate,
    fingerprint: Fingerprint,
    /// The smallest world so far that shows it.
    smallest: Spec,
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

/// Shrinks `spec`, which shows `fingerprint`, in at most `runs_max` runs. `tell` hears of each step that helped.
pub fn shrink(
    spec: &Spec,
    fingerprint: &Fingerprint,
    simulate: Simulate,
    runs_max: usize,
    tell: &mut dyn FnMut(&str),
) -> Shrunk {
    let (smallest, fingerprint) = (spec.clone(), fingerprint.clone());
    let mut shrinker = Shrinker { simulate, fingerprint, smallest, runs: 0, runs_max, tell };
    // What goes later may let more faults go.
    loop {
        let before = shrinker.smallest.clone();
        shrinker.fewer_faults();
        shrinker.fewer_probes();
        shrinker.smaller_and_sooner();
        shrinker.smaller_world();
        shrinker.weaker_faults();
        shrinker.fewer_choices();
        if shrinker.smallest == before || shrinker.is_spent() {
            break;
        }
    }
    Shrunk { spec: shrinker.smallest, runs: shrinker.runs }
}

impl Shrinker<'_> {
    fn is_spent(&self) -> bool {
        self.runs >= self.runs_max
    }

    /// Keeps `candidate` if it shows the same.
    fn keep(&mut self, mut candidate: Spec, what: &str) -> bool {
        with_limits(&mut candidate);
        if self.is_spent() || candidate == self.smallest || candidate.check().is_err() {
            return false;
        }
        self.runs += 1;
        let verdict = judge(&candidate, self.simulate, None);
        let shows = verdict.finding.is_some_and(|finding| finding.shows(&self.fingerprint));
        if shows {
            (self.tell)(what);
            self.smallest = candidate;
        }
        shows
    }

    fn with(&self, change: impl FnOnce(&mut Spec)) -> Spec {
        let mut spec = self.smallest.clone();
        change(&mut spec);
        spec
    }

    /// ddmin: leaves out ever smaller parts of the schedule.
    fn fewer_faults(&mut self) {
        let mut parts = 2;
        loop {
            let count = self.smallest.faults.len();
            if count == 0 {
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

    /// Fewer tasks, commands, workers, routers, gateways, labels and stores: each halved as often as that helps, then
    /// one less.
    fn smaller_world(&mut self) {
        for (name, get, set) in SIZES {
            loop {
                let now = get(&self.smallest);
                let smaller = [1, now / 4, now / 2, now * 3 / 4, now.saturating_sub(1)];
                let helped = smaller.into_iter().filter(|size| (1..now).contains(size)).any(|size| {
                    let candidate = self.with(|spec| set(spec, size));
                    self.keep(candidate, &format!("{name} {size} instead of {now}"))
                });
                if !helped {
                    break;
                }
            }
        }
    }

    /// Fewer tasks that come when all is well, or none: there are never fewer tasks than that.
    fn fewer_probes(&mut self) {
        loop {
            let now = self.smallest.expect.probe_tasks;
            let helped = [0, 1, now / 2].into_iter().filter(|probes| *probes < now).any(|probes| {
                let candidate = self.with(|spec| spec.expect.probe_tasks = probes);
                self.keep(candidate, &format!("{probes} of {now} tasks when all is well"))
            });
            if !helped {
                return;
            }
        }
    }

    /// Half the tasks, with faults that come after half the time: alone, fewer tasks would be done before a fault.
    fn smaller_and_sooner(&mut self) {
        loop {
            let tasks = self.smallest.workload.tasks / 2;
            let candidate = self.with(|spec| {
                spec.workload.tasks = tasks;
                spec.faults.iter_mut().for_each(|fault| fault.at_ms /= 2);
            });
            if tasks == 0 || !self.keep(candidate, &format!("{tasks} tasks in half the time")) {
                return;
            }
        }
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
        let defaults = table(&Spec::default());
        for depth in [1, 2, 3] {
            for path in differing(&table(&self.smallest), &defaults, depth) {
                if let Some(candidate) = self.without_choice(&path, &defaults) {
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

    fn without_choice(&self, path: &str, defaults: &Table) -> Option<Spec> {
        let mut changed = table(&self.smallest);
        put_default(&mut changed, defaults, path);
        let spec: Spec = parse(&changed.to_string()).ok()?;
        Some(Spec { name: self.smallest.name.clone(), ..spec })
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

fn without(faults: &[Fault], begin: usize, size: usize) -> Vec<Fault> {
    let end = (begin + size).min(faults.len());
    [&faults[..begin], &faults[end..]].concat()
}

fn table(spec: &Spec) -> Table {
    Table::try_from(spec).expect("a spec came from TOML, so it fits into TOML")
}

/// The paths of that depth at which `here` is not as `defaults` are, but for what is no choice.
fn differing(here: &Table, defaults: &Table, depth: usize) -> Vec<String> {
    let mut paths = Vec::new();
    collect("", here, defaults, depth, &mut paths);
    paths
}

fn collect(prefix: &str, here: &Table, defaults: &Table, depth: usize, paths: &mut Vec<String>) {
    let absent = Table::new();
    for (key, value) in here {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        let default = defaults.get(key);
        if default == Some(value) || NO_CHOICES.contains(&path.as_str()) {
            continue;
        }
        match value {
            Value::Table(inner) if depth > 1 => {
                let defaults = default.and_then(Value::as_table).unwrap_or(&absent);
                collect(&path, inner, defaults, depth - 1, paths);
            }
            _ if depth == 1 => paths.push(path),
            _ => {}
        }
    }
}

/// Lets `path` be as `defaults` have it, but for what in it is no choice.
fn put_default(here: &mut Table, defaults: &Table, path: &str) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    match (rest, here.get_mut(first), defaults.get(first)) {
        (Some(rest), Some(Value::Table(here)), Some(Value::Table(defaults))) => put_default(here, defaults, rest),
        (Some(_), ..) => {}
        (None, Some(Value::Table(inner)), Some(Value::Table(defaults))) => {
            let kept: Vec<(String, Value)> = NO_CHOICES
                .iter()
                .filter_map(|name| name.strip_prefix(first)?.strip_prefix('.'))
                .filter_map(|name| Some((name.to_owned(), inner.get(name)?.clone())))
                .collect();
            *inner = defaults.clone();
            inner.extend(kept);
        }
        (None, _, Some(default)) => drop(here.insert(first.to_owned(), default.clone())),
        (None, _, None) => drop(here.remove(first)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{Oracle, Outcome},
        progress::Progress,
        spec::Pod,
    };
    use std::{io::Write, sync::Arc};

    /// Broken by a crash of RabbitMQ of at least 100 ms, with three tasks and two workers.
    fn fragile(spec: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
        let is_hit = |fault: &Fault| fault.target == Part::One(Pod::Amqp) && fault.for_ms >= Some(100);
        let is_broken = spec.faults.iter().any(is_hit) && spec.workload.tasks >= 3 && spec.replicas.task_workers >= 2;
        let violations = if is_broken { vec![Oracle::TaskLost.broken("task-1 is nowhere")] } else { Vec::new() };
        Ok(Outcome { violations, ..Outcome::default() })
    }

    #[test]
    fn what_does_not_matter_goes_and_what_does_stays() {
        let mut spec = super::super::world::draw(4);
        let fault = |at_ms, target: Pod| Fault::new(at_ms, FaultKind::Crash, target, 5_000);
        spec.faults = vec![
            fault(10, Pod::Mqtt),
            fault(1_234, Pod::Amqp),
            fault(7_000, Pod::Redis),
            fault(20_000, Pod::Dispatcher),
        ];
        (spec.workload.tasks, spec.replicas.task_workers, spec.expect.probe_tasks) = (120, 5, 10);
        spec.check().unwrap();
        let fingerprint = Fingerprint { oracle: Oracle::TaskLost, kind: String::new() };
        let mut steps = 0;
        let shrunk = shrink(&spec, &fingerprint, fragile, 1_000, &mut |_| steps += 1);
        let Shrunk { spec: small, runs } = shrunk;
        assert_eq!((small.faults.len(), small.faults[0].target, small.faults[0].at_ms), (1, Part::One(Pod::Amqp), 0));
        assert!((100..200).contains(&small.faults[0].for_ms.unwrap()), "{:?}", small.faults);
        assert_eq!((small.workload.tasks, small.replicas.task_workers, small.replicas.routers), (3, 2, 1));
        assert_eq!(small.backbone, Spec::default().backbone, "every choice is back");
        assert!(runs < 200 && steps > 5, "{runs} runs, {steps} steps");
    }

    #[test]
    fn runs_are_bounded() {
        let spec = super::super::world::draw(4);
        let fingerprint = Fingerprint { oracle: Oracle::NotReady, kind: "never".into() };
        assert_eq!(shrink(&spec, &fingerprint, fragile, 7, &mut |_| ()).runs, 7);
    }
}
