//! What there is to do: which task commands which labels.

use crate::spec::{CommandedEsls, Spec};
use backbone::message::{Command, Mac, Task};
use futures_util::{Stream, stream};
use rand_chacha::rand_core::Rng as _;
use serde_json::value::RawValue;
use sim::Seed;
use std::{collections::BTreeSet, sync::Arc};

/// All tasks of a run, drawn from its seed. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    commands_per_task: usize,
    /// The labels of task 0, of task 1, and so on.
    commanded: Arc<[Mac]>,
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
        let mut rng = Seed::new(spec.seed).stream("workload");
        let commands_per_task = spec.workload.commands_per_task as usize;
        let labels = spec.fleet.esls;
        let mut commanded = Vec::with_capacity(spec.workload.tasks as usize * commands_per_task);
        for _ in 0..spec.workload.tasks {
            let mut of_this_task = BTreeSet::new();
            while of_this_task.len() < commands_per_task {
                let mac = match spec.workload.esls {
                    CommandedEsls::Fresh => Mac::new(rng.next_u64() >> 16),
                    CommandedEsls::Fleet => fleet_label((rng.next_u64() % u64::from(labels)) as usize),
                };
                if of_this_task.insert(mac) {
                    commanded.push(mac);
                }
            }
        }
        Self { commands_per_task, commanded: commanded.into() }
    }

    pub(crate) fn len(&self) -> usize {
        self.commanded.len() / self.commands_per_task
    }

    /// The labels that a task commands.
    pub(crate) fn labels_of(&self, index: usize) -> &[Mac] {
        &self.commanded[index * self.commands_per_task..][..self.commands_per_task]
    }

    /// The version that a task gives its labels: later tasks have newer content.
    pub(crate) fn version_of(index: usize) -> u64 {
        index as u64 + 1
    }

    /// The task that [`task_id`] names `id`.
    pub(crate) fn index_of(id: &str) -> Option<usize> {
        id.strip_prefix("task-")?.parse().ok()
    }

    fn task(&self, index: usize) -> Task {
        let price = format!(r#"{{"price":"{}.{:02}"}}"#, 1 + index % 97, index % 100);
        let command = |esl_mac: &Mac| Command {
            esl_mac: *esl_mac,
            version: Self::version_of(index),
            body: RawValue::from_string(price.clone()).expect("a price is JSON"),
        };
        Task {
            task_id: task_id(index as u32).parse().expect("made of the right characters"),
            expires_unix_ms: None,
            priority: None,
            commands: self.labels_of(index).iter().map(command).collect(),
        }
    }

    /// All tasks in order; each is made when the dispatcher asks for it.
    pub(crate) fn tasks(self) -> impl Stream<Item = Task> + Send + 'static {
        stream::iter((0..self.len()).map(move |index| self.task(index)))
    }
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
}
