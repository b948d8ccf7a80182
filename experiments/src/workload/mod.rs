//! What there is to do: which task commands which labels, and when it comes.

mod arrivals;

use crate::spec::{Arrivals, CommandedEsls, Spec};
use arrivals::Arrival;
use backbone::message::{Command, Mac, Task};
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use serde_json::value::RawValue;
use sim::Seed;
use std::{collections::BTreeSet, sync::Arc};

/// Labels that nobody hears: their prefix is that of no label of the fleet, and of no gateway.
const UNKNOWN_LABELS: u64 = 0x0E00_0000_0000;

/// So many whole numbers from 0 a f64 holds exactly.
const EXACT: u64 = 1 << f64::MANTISSA_DIGITS;

/// All tasks of a run, drawn from its seed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// Where the labels of task 0, of task 1, and so on begin in `commanded`, and at last where they end.
    begins: Arc<[u32]>,
    /// The labels of task 0, of task 1, and so on.
    commanded: Arc<[Mac]>,
    /// When each comes; empty if all come at once.
    arrivals: Arc<[Arrival]>,
    /// How large the bodies of each are, in bytes; empty if no larger than their price.
    body_bytes: Arc<[u32]>,
    /// The first so many tasks are not measured.
    warm_up_tasks: usize,
}

/// The labels of the fleet: 0, 1, 2 and so on, under a prefix for locally administered addresses.
pub(crate) fn fleet_label(index: usize) -> Mac {
    Mac::new(0x0200_0000_0000 + index as u64)
}

/// The name of task `index`.
pub(crate) fn task_id(index: u32) -> String {
    format!("task-{index}")
}

/// The address of gateway `index`.
pub(crate) fn gateway_mac(index: usize) -> Mac {
    Mac::new(0x0600_0000_0000 + index as u64)
}

impl Workload {
    pub(crate) fn draw(spec: &Spec) -> Self {
        let stream = |name| Seed::new(spec.seed).stream(name);
        let arrivals = arrivals::draw(spec, &mut stream("arrivals"));
        let counts = commands(spec, &mut stream("commands"));
        let mut labels = Labels::of(spec, stream("workload"));
        let (mut begins, mut commanded) = (vec![0], Vec::new());
        for (index, commands) in counts.into_iter().enumerate() {
            labels.draw(commands as usize, arrivals.get(index).and_then(|arrival| arrival.store), &mut commanded);
            begins.push(u32::try_from(commanded.len()).expect("a valid spec has fewer commands"));
        }
        let warm_up_ms = spec.workload.warm_up_s * 1_000;
        Self {
            warm_up_tasks: arrivals.partition_point(|arrival| arrival.at_ms < warm_up_ms),
            body_bytes: body_bytes(spec, &mut stream("bodies")).into(),
            begins: begins.into(),
            commanded: commanded.into(),
            arrivals: arrivals.into(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// The labels that a task commands.
    pub(crate) fn labels_of(&self, index: usize) -> &[Mac] {
        &self.commanded[self.begins[index] as usize..self.begins[index + 1] as usize]
    }

    /// When a task comes, in ms from the first moment; `None`: all come at once.
    pub(crate) fn at_ms(&self, index: usize) -> Option<u32> {
        self.arrivals.get(index).map(|arrival| arrival.at_ms)
    }

    /// The first so many tasks are not measured.
    pub(crate) fn warm_up_tasks(&self) -> usize {
        self.warm_up_tasks
    }

    /// The version that a task gives its labels: later tasks have newer content.
    pub(crate) fn version_of(index: usize) -> u64 {
        index as u64 + 1
    }

    /// The task that [`task_id`] names `id`.
    pub(crate) fn index_of(id: &str) -> Option<usize> {
        id.strip_prefix("task-")?.parse().ok()
    }

    /// Task `index`, as a producer has it.
    pub(crate) fn task(&self, index: usize) -> Task {
        let body = body(index, self.body_bytes.get(index).copied().unwrap_or(0) as usize);
        let command = |esl_mac: &Mac| Command {
            esl_mac: *esl_mac,
            version: Self::version_of(index),
            body: RawValue::from_string(body.clone()).expect("a price is JSON"),
        };
        Task {
            task_id: task_id(index as u32).parse().expect("made of the right characters"),
            expires_unix_ms: None,
            priority: None,
            commands: self.labels_of(index).iter().map(command).collect(),
        }
    }
}

/// How many commands each task has.
fn commands(spec: &Spec, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let workload = &spec.workload;
    if !workload.replayed.is_empty() {
        return workload.replayed.iter().map(|task| task.commands).collect();
    }
    let (least, most) = (workload.commands_per_task, workload.commands_per_task_max);
    if most <= least {
        return vec![least; workload.tasks as usize];
    }
    (0..workload.tasks).map(|_| between(least, most, rng)).collect()
}

/// How large the bodies of each task are; empty if no larger than their price.
fn body_bytes(spec: &Spec, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let (least, most) = (spec.workload.body_bytes_min, spec.workload.body_bytes_max);
    if most == 0 { Vec::new() } else { (0..spec.workload.tasks).map(|_| between(least, most, rng)).collect() }
}

fn between(least: u32, most: u32, rng: &mut ChaCha8Rng) -> u32 {
    least + (rng.next_u64() % u64::from(most - least + 1)) as u32
}

/// A price, padded to `bytes` if it is shorter.
fn body(index: usize, bytes: usize) -> String {
    let (euros, cents) = (1 + index % 97, index % 100);
    let price = format!(r#"{{"price":"{euros}.{cents:02}"}}"#);
    let padded = format!(r#"{{"price":"{euros}.{cents:02}","text":""}}"#);
    if bytes <= padded.len() {
        return price;
    }
    let text = "x".repeat(bytes - padded.len());
    padded.replace(r#""text":"""#, &format!(r#""text":"{text}""#))
}

/// Which labels are commanded.
struct Labels {
    esls: CommandedEsls,
    fleet: u64,
    per_store: u64,
    /// With Zipf's law: how often one of the first so many labels of a store is commanded, in all.
    cumulative: Vec<f64>,
    unknown_percent: u64,
    /// Of `each_once`: what is left, the next one last.
    left: Vec<u32>,
    rng: ChaCha8Rng,
}

impl Labels {
    fn of(spec: &Spec, mut rng: ChaCha8Rng) -> Self {
        let workload = &spec.workload;
        let (fleet, per_store) = (spec.fleet.esls, spec.fleet.esls / spec.fleet.stores);
        let by_store = workload.arrivals == Arrivals::Day;
        let left = match workload.esls {
            CommandedEsls::EachOnce => shuffled(fleet, &mut rng),
            CommandedEsls::Fresh | CommandedEsls::Fleet => Vec::new(),
        };
        Self {
            esls: workload.esls,
            fleet: fleet.into(),
            per_store: per_store.into(),
            cumulative: zipf(if by_store { per_store } else { fleet }, workload.zipf_percent),
            unknown_percent: workload.unknown_percent.into(),
            left,
            rng,
        }
    }

    /// Appends so many different labels, of `store` if it is one store's task.
    fn draw(&mut self, count: usize, store: Option<u32>, commanded: &mut Vec<Mac>) {
        let mut of_this_task = BTreeSet::new();
        while of_this_task.len() < count {
            let mac = self.one(store);
            if of_this_task.insert(mac) {
                commanded.push(mac);
            }
        }
    }

    fn one(&mut self, store: Option<u32>) -> Mac {
        match self.esls {
            CommandedEsls::Fresh => Mac::new(self.rng.next_u64() >> 16),
            CommandedEsls::EachOnce => fleet_label(self.left.pop().expect("a valid spec has labels enough") as usize),
            CommandedEsls::Fleet => {
                if self.unknown_percent > 0 && self.rng.next_u64() % 100 < self.unknown_percent {
                    return Mac::new(UNKNOWN_LABELS | self.rng.next_u64() >> 32);
                }
                let (first, count) =
                    store.map_or((0, self.fleet), |store| (u64::from(store) * self.per_store, self.per_store));
                fleet_label((first + self.rank(count)) as usize)
            }
        }
    }

    /// One of `count` labels.
    fn rank(&mut self, count: u64) -> u64 {
        let Some(all) = self.cumulative.last() else { return self.rng.next_u64() % count };
        let at = (self.rng.next_u64() >> (u64::BITS - f64::MANTISSA_DIGITS)) as f64 / EXACT as f64 * all;
        (self.cumulative.partition_point(|sum| *sum <= at) as u64).min(count - 1)
    }
}

/// For each of `count` ranks, how often one up to it is drawn. Labels stand anywhere in their store, so the first ones
/// may be the most popular.
fn zipf(count: u32, percent: u32) -> Vec<f64> {
    if percent == 0 {
        return Vec::new();
    }
    let exponent = f64::from(percent) / 100.0;
    let mut sum = 0.0;
    let weights = (1..=count).map(|rank| 1.0 / libm::pow(rank.into(), exponent));
    weights
        .map(|weight| {
            sum += weight;
            sum
        })
        .collect()
}

/// 0 to `count` - 1, in a random order (Fisher and Yates).
fn shuffled(count: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut all: Vec<u32> = (0..count).collect();
    for place in (1..all.len()).rev() {
        all.swap(place, (rng.next_u64() % (place as u64 + 1)) as usize);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::message::Message as _;

    fn spec(esls: CommandedEsls) -> Spec {
        let mut spec = Spec::default();
        (spec.workload.tasks, spec.workload.esls, spec.fleet.esls) = (500, esls, 10);
        spec
    }

    #[test]
    fn fresh_labels_are_never_used_twice() {
        let workload = Workload::draw(&spec(CommandedEsls::Fresh));
        let distinct: BTreeSet<Mac> = workload.commanded.iter().copied().collect();
        assert_eq!(distinct.len(), 1_000);
    }

    #[test]
    fn a_task_commands_each_of_its_labels_once() {
        let workload = Workload::draw(&spec(CommandedEsls::Fleet));
        assert!((0..workload.len()).all(|i| workload.labels_of(i)[0] != workload.labels_of(i)[1]));
    }

    #[test]
    fn a_drawn_task_is_a_valid_one() {
        let task = Workload::draw(&spec(CommandedEsls::Fresh)).task(123);
        assert_eq!(Workload::index_of(Task::parse(&task.to_bytes()).unwrap().task_id.as_str()), Some(123));
    }

    #[test]
    fn tasks_have_as_many_commands_and_as_large_bodies_as_the_mix_says() {
        let mut spec = spec(CommandedEsls::Fleet);
        (spec.workload.commands_per_task, spec.workload.commands_per_task_max) = (1, 4);
        (spec.workload.body_bytes_min, spec.workload.body_bytes_max) = (100, 2_000);
        let workload = Workload::draw(&spec);
        let tasks: Vec<Task> = (0..workload.len()).map(|index| workload.task(index)).collect();
        for count in 1..=4 {
            let times = tasks.iter().filter(|task| task.commands.len() == count).count();
            assert!(times.abs_diff(125) < 40, "{times} tasks with {count} commands");
        }
        let sizes: Vec<usize> = tasks.iter().map(|task| task.commands[0].body.get().len()).collect();
        assert!(sizes.iter().all(|bytes| (100..=2_000).contains(bytes)));
        assert!(sizes.iter().any(|bytes| *bytes < 200) && sizes.iter().any(|bytes| *bytes > 1_900));
    }

    #[test]
    fn by_zipfs_law_the_first_label_is_commanded_twice_as_often_as_the_second() {
        let mut spec = spec(CommandedEsls::Fleet);
        (spec.workload.tasks, spec.workload.commands_per_task, spec.workload.zipf_percent) = (30_000, 1, 100);
        let workload = Workload::draw(&spec);
        let times = |label| workload.commanded.iter().filter(|mac| **mac == fleet_label(label)).count() as f64;
        assert!((times(0) / times(1) - 2.0).abs() < 0.1, "{} {}", times(0), times(1));
        assert!((times(0) / times(9) - 10.0).abs() < 1.0, "{} {}", times(0), times(9));
    }

    #[test]
    fn as_many_commands_are_for_unknown_labels_as_it_says() {
        let mut spec = spec(CommandedEsls::Fleet);
        spec.workload.unknown_percent = 20;
        let workload = Workload::draw(&spec);
        let unknown = workload.commanded.iter().filter(|mac| mac.value() >= UNKNOWN_LABELS).count();
        assert!(unknown.abs_diff(200) < 50, "{unknown} of 1,000");
    }

    #[test]
    fn a_change_of_all_prices_commands_each_label_once() {
        let mut spec = spec(CommandedEsls::EachOnce);
        spec.fleet.esls = 1_000;
        let workload = Workload::draw(&spec);
        let distinct: BTreeSet<Mac> = workload.commanded.iter().copied().collect();
        assert_eq!((workload.commanded.len(), distinct.len()), (1_000, 1_000));
        assert!(workload.commanded.windows(2).any(|pair| pair[0] > pair[1]), "in no order");
    }

    #[test]
    fn tasks_of_a_stores_day_command_its_own_labels() {
        let mut spec = spec(CommandedEsls::Fleet);
        (spec.workload.arrivals, spec.workload.duration_s) = (Arrivals::Day, 100);
        spec.fleet.stores = 2;
        let workload = Workload::draw(&spec);
        for index in 0..workload.len() {
            let stores: BTreeSet<u64> =
                workload.labels_of(index).iter().map(|mac| (mac.value() - fleet_label(0).value()) / 5).collect();
            assert_eq!(stores.len(), 1, "task {index}");
        }
    }

    #[test]
    fn what_comes_in_the_warm_up_is_not_measured() {
        let mut spec = spec(CommandedEsls::Fleet);
        (spec.workload.arrivals, spec.workload.duration_s) = (Arrivals::Constant, 50);
        spec.workload.warm_up_s = 10;
        assert_eq!(Workload::draw(&spec).warm_up_tasks(), 100);
    }
}
