//! Faults of the network between pods.

use super::{World, processes::end, strength};
use crate::spec::{Fault, FaultKind, Pod};
use futures_util::future::join_all;
use sim::{Disturbance, Line};

/// Segments a percent stands for, of a million.
const PPM_PER_PERCENT: u32 = 10_000;

/// Lets something go wrong around a pod, or between it and the pods that the fault names: how many segments it hit.
pub(super) async fn disturb(world: &World, fault: &Fault, pod: Pod) -> u64 {
    let name = pod.to_string();
    let others: Vec<Option<String>> = match fault.from {
        Some(from) => {
            world.pods_of(from).into_iter().filter(|other| *other != pod).map(|p| Some(p.to_string())).collect()
        }
        None => vec![None],
    };
    let lines = others.iter().map(|other| match (fault.kind, other.as_deref()) {
        (FaultKind::Deafen, Some(from)) => Line::OneWay { from, to: &name },
        (FaultKind::Deafen, None) => Line::To(&name),
        (_, Some(other)) => Line::Between(&name, other),
        (_, None) => Line::Of(&name),
    });
    let hits = lines.map(|line| {
        let disturbance = world.cluster().disturb(line, what(world, fault));
        end(world, fault, disturbance)
    });
    join_all(hits.collect::<Vec<_>>()).await.into_iter().sum()
}

fn what(world: &World, fault: &Fault) -> Disturbance {
    match fault.kind {
        FaultKind::Loss => {
            Disturbance::Loss { ppm: u32::try_from(strength(fault)).expect("a share") * PPM_PER_PERCENT }
        }
        FaultKind::Delay => Disturbance::Delay { us: strength(fault).unsigned_abs() * 1_000 },
        FaultKind::Hold => {
            let for_us = fault.for_ms.expect("a valid spec gives it an end") * 1_000;
            Disturbance::Hold { until_us: world.cluster().now_us() + for_us }
        }
        _ => Disturbance::Silence,
    }
}
