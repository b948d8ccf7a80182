//! Hosts: what a pod runs on. One host is one incarnation of a pod.

use crate::{
    cpu::{Cores, Cpu, CpuPlan},
    flow::Flow,
};
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
    ops::{Index, IndexMut},
    rc::Rc,
};

/// What kind of place a host is; decides how far it is from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// RabbitMQ.
    Amqp,
    /// Redis.
    Redis,
    /// Mosquitto.
    Mqtt,
    /// A replica of one of the backbone's services.
    Service,
    /// A gateway, in a store.
    Gateway,
}

/// How a host's kernel does TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// `TCP_NODELAY` on the sockets of this host's processes; off, Nagle's algorithm holds small segments back.
    pub nodelay: bool,
    /// `net.ipv4.tcp_pingpong_thresh`: answers after which a connection counts as interactive. 3 in Linux 5.1 to 5.19,
    /// 1 before and since.
    pub pingpong_thresh: u8,
}

impl Default for Kernel {
    fn default() -> Self {
        Self { nodelay: true, pingpong_thresh: 1 }
    }
}

/// What kind of host a pod runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Decides how far it is from others.
    pub class: Class,
    /// How its kernel does TCP.
    pub kernel: Kernel,
    /// What its work costs.
    pub cpu: CpuPlan,
}

/// A host that costs nothing and has `TCP_NODELAY` on all its sockets.
impl From<Class> for HostPlan {
    fn from(class: Class) -> Self {
        Self { class, kernel: Kernel::default(), cpu: CpuPlan::default() }
    }
}

/// What a host's kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All is well.
    Up,
    /// Its process was killed; its kernel answers what still arrives with resets.
    Crashed,
    /// It neither sends nor receives, and will not again: its peers hear nothing.
    PoweredOff,
}

/// One host.
#[derive(Debug)]
pub(crate) struct Host {
    /// The number of the pod whose incarnation it is: that of the pod's first host.
    pub(crate) pod: u16,
    pub(crate) plan: HostPlan,
    /// `None`: nothing has cost anything yet.
    pub(crate) cpu: Option<Cpu>,
    pub(crate) reach: Reach,
}

impl Host {
    /// A new host; `rng` decides how its costs vary, `cores` are those that all hosts share, if they do.
    pub(crate) fn new(pod: u16, plan: HostPlan, rng: u64, cores: Option<&Rc<RefCell<Cores>>>) -> Self {
        Self { pod, plan, cpu: (!plan.cpu.is_free()).then(|| Cpu::new(plan.cpu, rng, cores)), reach: Reach::Up }
    }

    /// Whether its process lives, heard or not.
    pub(crate) fn is_alive(&self) -> bool {
        self.reach == Reach::Up
    }
}

/// All hosts of a simulation, by their index.
#[derive(Debug)]
pub(crate) struct Hosts(Vec<Host>);

impl Hosts {
    /// The pods at both ends of a flow, its source's first.
    pub(crate) fn pods_of(&self, flow: Flow) -> (u16, u16) {
        (self[flow.source.0].pod, self[flow.destination.0].pod)
    }
}

impl FromIterator<Host> for Hosts {
    fn from_iter<I: IntoIterator<Item = Host>>(hosts: I) -> Self {
        Self(hosts.into_iter().collect())
    }
}

impl Index<u16> for Hosts {
    type Output = Host;

    fn index(&self, host: u16) -> &Host {
        &self.0[usize::from(host)]
    }
}

impl IndexMut<u16> for Hosts {
    fn index_mut(&mut self, host: u16) -> &mut Host {
        &mut self.0[usize::from(host)]
    }
}

/// The address of a host. turmoil-net numbers its hosts from 192.168.0.1 in the order they are added.
pub(crate) fn address(host: u16) -> IpAddr {
    let [high, low] = (host + 1).to_be_bytes();
    IpAddr::V4(Ipv4Addr::new(192, 168, high, low))
}

/// The inverse of [`address`].
pub(crate) fn index_of(address: IpAddr) -> u16 {
    let IpAddr::V4(v4) = address else { panic!("simulated hosts have IPv4 addresses, not {address}") };
    let [.., high, low] = v4.octets();
    u16::from_be_bytes([high, low]) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_map_to_each_other() {
        for index in [0, 254, 255, 256, 5_000, 65_534] {
            assert_eq!(index_of(address(index)), index);
        }
    }
}
