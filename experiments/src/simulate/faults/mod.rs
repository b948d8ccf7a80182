//! What breaks while an experiment runs, and that it did. How a fault of each kind is done is in the submodules, by
//! what it hits.
//!
//! Each fault runs by itself, from its begin to its end, whatever others do meanwhile, and counts what it hits.

mod brokers;
mod gateways;
mod network;
mod processes;

use super::world::{LastWord, World};
use crate::spec::{Fault, FaultKind, Spec};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// A fault without an end is looked at after this long: time for it to hit something.
const FIRST_LOOK: Duration = Duration::from_secs(1);

/// Lets all faults of `spec` happen at their times, counted from now. Returns, when the last one is over, how often
/// each did something.
pub(super) async fn inject(world: &World, spec: &Spec) -> Vec<u64> {
    let start = Instant::now();
    let hits = join_all(spec.faults.iter().map(|fault| async move {
        sleep_until(start + Duration::from_millis(fault.at_ms)).await;
        happen(world, fault).await
    }))
    .await;
    world.recorder().note_hits(spec, &hits);
    hits
}

/// One fault. Returns how often it did something.
async fn happen(world: &World, fault: &Fault) -> u64 {
    let pods = world.pods_of(fault.target);
    match fault.kind {
        FaultKind::Crash => {
            sum(pods.iter().map(|pod| processes::kill(world, fault.for_ms, *pod, LastWord::Said))).await
        }
        FaultKind::PowerOff => {
            sum(pods.iter().map(|pod| processes::kill(world, fault.for_ms, *pod, LastWord::Unsaid))).await
        }
        FaultKind::Restart => sum(pods.iter().map(|pod| processes::restart(world, fault.for_ms, *pod))).await,
        FaultKind::RollingRestart => processes::roll(world, fault, &pods).await,
        FaultKind::Rollout => processes::roll_out(world, fault, &pods).await,
        FaultKind::ScaleToOne => sum(pods[1..].iter().map(|pod| processes::restart(world, fault.for_ms, *pod))).await,
        FaultKind::Freeze => sum(pods.iter().map(|pod| processes::freeze(world, fault, *pod))).await,
        FaultKind::Slow => sum(pods.iter().map(|pod| processes::slow(world, fault, *pod))).await,
        FaultKind::ClockStep | FaultKind::ClockDrift => {
            sum(pods.iter().map(|pod| processes::set_clock(world, fault, *pod))).await
        }
        FaultKind::Cut | FaultKind::Deafen | FaultKind::Hold | FaultKind::Loss | FaultKind::Delay => {
            sum(pods.iter().map(|pod| network::disturb(world, fault, *pod))).await
        }
        FaultKind::MemoryAlarm
        | FaultKind::HoldConfirms
        | FaultKind::CancelConsumers
        | FaultKind::TakeBack
        | FaultKind::CloseConnections
        | FaultKind::DeleteRequests => brokers::amqp(world, fault).await,
        FaultKind::OutOfMemory | FaultKind::ReadOnly | FaultKind::Failover | FaultKind::Evict => {
            sum(pods.iter().map(|pod| brokers::redis(world, fault, *pod))).await
        }
        FaultKind::Kick | FaultKind::TakeOver | FaultKind::RepeatMessages | FaultKind::RetainCommands => {
            brokers::mqtt(world, fault).await
        }
        FaultKind::ReplyTwice
        | FaultKind::ReplyLate
        | FaultKind::ReplyToNobody
        | FaultKind::ReplyForOther
        | FaultKind::ReplyMalformed
        | FaultKind::ReplyOversized
        | FaultKind::NoReports
        | FaultKind::LabelsFail => {
            sum(world.gateways_of(fault.target).map(|index| gateways::misbehave(world, fault, index))).await
        }
    }
}

async fn sum(hits: impl Iterator<Item = impl Future<Output = u64>>) -> u64 {
    join_all(hits).await.into_iter().sum()
}

/// The time of a fault, from its begin on. Returns whether it has an end, which is then now.
async fn last(fault: &Fault) -> bool {
    sleep(fault.for_ms.map_or(FIRST_LOOK, Duration::from_millis)).await;
    fault.for_ms.is_some()
}

/// The strength of a fault whose kind has one.
fn strength(fault: &Fault) -> i64 {
    fault.strength.expect("a valid spec says how strong it is")
}
