//! Real processes, beside the simulated world: what live runs start, and what the emulated brokers and the CPU model
//! are held against.

pub mod broker;
pub mod cgroup;
pub mod port;
pub mod relay;
