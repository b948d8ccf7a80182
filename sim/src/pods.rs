//! Which host a name stands for, and what runs there.

use crate::{host::HostPlan, seed::Seed};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use tokio::task::AbortHandle;
use turmoil_net::HostId;

/// All pods and all hosts of a simulation; a host is named by its index.
pub(crate) struct Pods {
    /// The current incarnation of each name.
    names: BTreeMap<Box<str>, u16>,
    hosts: Vec<PodHost>,
    /// Hosts that no pod has used yet.
    spare: std::ops::Range<u16>,
    /// Crashed since the last pass over the sockets.
    dying: Vec<u16>,
}

struct PodHost {
    id: HostId,
    name: Box<str>,
    /// The tasks of its processes; finished ones are swept out when the list would grow.
    tasks: Vec<AbortHandle>,
    rng: ChaCha8Rng,
}

impl Pods {
    /// The first hosts belong to `pods`, in order, the rest are spare.
    pub(crate) fn new(pods: &[(String, HostPlan)], ids: Vec<HostId>, seed: Seed) -> Self {
        let count = u16::try_from(pods.len()).expect("fewer than 65,536 pods");
        let spare = count..u16::try_from(ids.len()).expect("fewer than 65,536 hosts");
        let names: BTreeMap<Box<str>, u16> = pods.iter().map(|(name, _)| name.as_str().into()).zip(0..).collect();
        assert_eq!(names.len(), pods.len(), "every pod has a name of its own");
        let host = |(i, id): (usize, HostId)| {
            let name = pods.get(i).map_or("", |(name, _)| name.as_str()).into();
            PodHost { id, name, tasks: Vec::new(), rng: seed.stream(&format!("host {i}")) }
        };
        Self { names, hosts: ids.into_iter().enumerate().map(host).collect(), spare, dying: Vec::new() }
    }

    fn host(&mut self, host: u16) -> &mut PodHost {
        &mut self.hosts[usize::from(host)]
    }

    pub(crate) fn find(&self, name: &str) -> Option<u16> {
        self.names.get(name).copied()
    }

    /// The current incarnation of a pod.
    pub(crate) fn host_of(&self, name: &str) -> u16 {
        self.find(name).unwrap_or_else(|| panic!("no pod is called {name}"))
    }

    pub(crate) fn name_of(&self, host: u16) -> &str {
        &self.hosts[usize::from(host)].name
    }

    pub(crate) fn id_of(&self, host: u16) -> HostId {
        self.hosts[usize::from(host)].id
    }

    pub(crate) fn rng_of(&mut self, host: u16) -> &mut ChaCha8Rng {
        &mut self.host(host).rng
    }

    pub(crate) fn add_task(&mut self, host: u16, task: AbortHandle) {
        let tasks = &mut self.host(host).tasks;
        if tasks.len() == tasks.capacity() {
            tasks.retain(|task| !task.is_finished()); // a handle keeps the memory of its whole task
        }
        tasks.push(task);
    }

    pub(crate) fn take_tasks(&mut self, host: u16) -> Vec<AbortHandle> {
        std::mem::take(&mut self.host(host).tasks)
    }

    pub(crate) fn add_dying(&mut self, host: u16) {
        self.dying.push(host);
    }

    pub(crate) fn take_dying(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.dying)
    }

    /// Lets `name` stand for a spare host from now on.
    pub(crate) fn reincarnate(&mut self, name: &str) -> u16 {
        let host = self.spare.next().expect("no spare host is left: raise Settings::restarts_max");
        self.host(host).name = name.into();
        *self.names.get_mut(name).expect("only a pod is restarted") = host;
        host
    }
}
