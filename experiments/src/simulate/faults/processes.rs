//! Faults of processes: they die, stop, stand still, or look at a wrong clock.

use super::{LastWord, World, last, strength};
use crate::spec::{Fault, FaultKind, Pod};
use sim::{ClockError, Ongoing};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a service may take to stop when it is asked to, before it is killed; longer than its own limits allow.
const STOP_LIMIT: Duration = Duration::from_secs(120);
/// A slow process stands still for a part of each: Linux' usual period of a CPU quota.
const SLOW_PERIOD: Duration = Duration::from_millis(100);

/// Kills what runs on a pod, and lets it come back after so long, if at all. 1, if there was something to kill.
pub(super) async fn kill(world: &World, for_ms: Option<u64>, pod: Pod, last_word: LastWord) -> u64 {
    world.keep_away(pod);
    let killed = world.kill(pod, last_word);
    if let Some(ms) = for_ms {
        sleep(Duration::from_millis(ms)).await;
        world.let_back(pod);
    }
    killed.into()
}

/// Stops a service as SIGTERM does, and starts it again. A broker has no such manners, nor has a gateway: they crash.
/// 1, if it ran.
pub(super) async fn restart(world: &World, for_ms: Option<u64>, pod: Pod) -> u64 {
    if !matches!(pod, Pod::TaskWorker(_) | Pod::Router(..) | Pod::Dispatcher | Pod::Autoscaler) {
        return kill(world, for_ms, pod, LastWord::Said).await;
    }
    world.keep_away(pod);
    let ran = match timeout(STOP_LIMIT, world.stop(pod)).await {
        Ok(ran) => ran,
        Err(_) => world.kill(pod, LastWord::Said),
    };
    if let Some(ms) = for_ms {
        sleep(Duration::from_millis(ms)).await;
        world.let_back(pod);
    }
    ran.into()
}

/// Restarts one pod after the other.
pub(super) async fn roll(world: &World, fault: &Fault, pods: &[Pod]) -> u64 {
    let mut hits = 0;
    for pod in pods {
        hits += restart(world, fault.for_ms, *pod).await;
        last(fault).await;
    }
    hits
}

/// Puts the other version in the place of one pod after the other: how many of them ran.
pub(super) async fn roll_out(world: &World, fault: &Fault, pods: &[Pod]) -> u64 {
    let mut hits = 0;
    for pod in pods {
        // It has the version of its start for as long as it runs.
        world.versions.change(*pod);
        hits += restart(world, Some(0), *pod).await;
        last(fault).await;
    }
    hits
}

/// Lets a pod's processes stand still: how often one of them would have done something.
pub(super) async fn freeze(world: &World, fault: &Fault, pod: Pod) -> u64 {
    let freeze = world.cluster().freeze(&pod.to_string());
    end(world, fault, freeze).await
}

/// Lets a pod's processes stand still for a part of each period, and counts as [`freeze`] does.
pub(super) async fn slow(world: &World, fault: &Fault, pod: Pod) -> u64 {
    let cluster = world.cluster();
    let still = SLOW_PERIOD * u32::try_from(strength(fault)).expect("a share") / 100;
    let over = Instant::now() + Duration::from_millis(fault.for_ms.expect("a valid spec gives it an end"));
    let mut hits = 0;
    while Instant::now() < over {
        let next = Instant::now() + SLOW_PERIOD;
        let freeze = cluster.freeze(&pod.to_string());
        sleep(still).await;
        hits += cluster.end(freeze);
        sleep_until(next).await;
    }
    hits
}

/// Lets a pod's wall clock be wrong: how often it was looked at.
pub(super) async fn set_clock(world: &World, fault: &Fault, pod: Pod) -> u64 {
    let error = match fault.kind {
        FaultKind::ClockDrift => ClockError { ahead_ms: 0, drift_ppm: strength(fault) },
        _ => ClockError { ahead_ms: strength(fault), drift_ppm: 0 },
    };
    let wrong = world.cluster().set_clock(&pod.to_string(), error);
    end(world, fault, wrong).await
}

/// Waits for a fault's end, if it has one: how often it did something until then.
pub(super) async fn end(world: &World, fault: &Fault, ongoing: Ongoing) -> u64 {
    if last(fault).await { world.cluster().end(ongoing) } else { world.cluster().hits(&ongoing) }
}
