//! The names of what runs, by spec: `KIND-INDEX`, counted from 0.

use crate::spec::{Hosts, Spec};

/// The name of the pod that a gateway runs on.
pub(crate) fn gateway_pod(spec: &Spec, index: u32) -> String {
    match spec.fleet.hosts {
        Hosts::PerGateway => format!("gateway-{index}"),
        Hosts::PerStore => format!("store-{}", index / gateways_per_store(spec)),
    }
}

/// How many gateways each store has.
pub(crate) fn gateways_per_store(spec: &Spec) -> u32 {
    spec.fleet.gateways / spec.fleet.stores
}

/// All pods with gateways.
pub(crate) fn gateway_pods(spec: &Spec) -> impl Iterator<Item = String> {
    let (name, count) = match spec.fleet.hosts {
        Hosts::PerGateway => ("gateway", spec.fleet.gateways),
        Hosts::PerStore => ("store", spec.fleet.stores),
    };
    (0..count).map(move |i| format!("{name}-{i}"))
}

/// All routers.
pub(crate) fn router_pods(spec: &Spec) -> impl Iterator<Item = String> {
    let services: &[&str] = if spec.is_over_http() { &["http_router"] } else { &["fwd_router", "bck_router"] };
    let replicas = spec.replicas.routers;
    services.iter().flat_map(move |service| (0..replicas).map(move |i| format!("{service}-{i}")))
}

/// All task workers.
pub(crate) fn worker_pods(spec: &Spec) -> impl Iterator<Item = String> {
    (0..spec.replicas.task_workers).map(|i| format!("task_worker-{i}"))
}
