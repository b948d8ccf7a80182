//! What breaks while an experiment runs, and that it did: how a fault of each kind is done.

use super::world::World;
use crate::spec::{Fault, FaultKind, Pod};
use futures_util::future::join_all;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a service may take to stop when it is asked to; longer than its own limits allow.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Lets all `faults` happen at their times, counted from now, and returns when the last one is over.
pub(super) async fn inject(world: &World, faults: &[Fault]) {
    let start = Instant::now();
    join_all(faults.iter().map(|fault| async move {
        sleep_until(start + Duration::from_millis(fault.at_ms)).await;
        let had_effect = match fault.kind {
            FaultKind::Crash => crash(world, fault).await,
            FaultKind::Cut => cut(world, fault).await,
            FaultKind::Restart => restart(world, fault).await,
            FaultKind::Freeze => freeze(world, fault).await,
        };
        if !had_effect {
            world.recorder().violate(format!("the fault `{:?} {}` hit nothing", fault.kind, fault.target));
        }
    }))
    .await;
}

/// Kills a process where it stands. Had an effect if there was something to kill.
async fn crash(world: &World, fault: &Fault) -> bool {
    let pod = world.pod_of(fault.target);
    let outage = world.cluster().crash(&pod.to_string());
    world.forget_process(pod);
    if let Some(ms) = fault.for_ms {
        sleep(Duration::from_millis(ms)).await;
        world.restart(pod);
    }
    outage.tasks > 0 && outage.sockets > 0
}

/// Takes a pod off the network, or only what lies between it and another. Had an effect if something was lost by it.
async fn cut(world: &World, fault: &Fault) -> bool {
    let cluster = world.cluster();
    let pod = world.pod_of(fault.target).to_string();
    let from = fault.from.map(|from| world.pod_of(from).to_string());
    let lost_before = cluster.network().lost;
    match &from {
        Some(from) => cluster.cut(&pod, from),
        None => cluster.cut_off(&pod),
    }
    match fault.for_ms {
        Some(ms) => {
            sleep(Duration::from_millis(ms)).await;
            match &from {
                Some(from) => cluster.mend(&pod, from),
                None => cluster.reconnect(&pod),
            }
        }
        None => sleep(Duration::from_secs(1)).await, // time to lose something
    }
    cluster.network().lost > lost_before
}

/// Lets a pod's processes stand still. Had an effect if one of them would have done something.
async fn freeze(world: &World, fault: &Fault) -> bool {
    let cluster = world.cluster();
    let pod = world.pod_of(fault.target).to_string();
    cluster.freeze(&pod);
    match fault.for_ms {
        Some(ms) => {
            sleep(Duration::from_millis(ms)).await;
            cluster.thaw(&pod) > 0
        }
        None => true,
    }
}

/// Stops a service as SIGTERM does, and starts it again. A broker has no such manners: it crashes. Had an effect if it
/// stopped.
async fn restart(world: &World, fault: &Fault) -> bool {
    if matches!(fault.target, Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_) | Pod::Gateway(_) | Pod::Store(_))
    {
        return crash(world, fault).await;
    }
    let pod = world.pod_of(fault.target);
    let stopped = timeout(STOP_LIMIT, world.stop(pod)).await.is_ok();
    if let Some(ms) = fault.for_ms {
        sleep(Duration::from_millis(ms)).await;
        world.start(pod);
    }
    stopped
}
