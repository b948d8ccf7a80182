//! What breaks while an experiment runs, and that it did.

use super::deployment::Deployment;
use crate::spec::{Fault, FaultKind, Target};
use futures_util::future::join_all;
use sim::Cluster;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a service may take to stop when it is asked to; longer than its own limits allow.
const STOP_LIMIT: Duration = Duration::from_secs(120);

/// Lets all `faults` happen at their times, counted from now, and returns when the last one is over.
pub(super) async fn inject(deployment: &Deployment, cluster: &Cluster, faults: &[Fault]) {
    let start = Instant::now();
    join_all(faults.iter().map(|fault| async move {
        sleep_until(start + Duration::from_millis(fault.at_ms)).await;
        let had_effect = match fault.kind {
            FaultKind::Crash => crash(deployment, cluster, fault).await,
            FaultKind::Cut => cut(deployment, cluster, fault).await,
            FaultKind::Restart => restart(deployment, cluster, fault).await,
        };
        if !had_effect {
            deployment.book().violate(format!("the fault `{:?} {}` hit nothing", fault.kind, fault.target));
        }
    }))
    .await;
}

async fn crash(deployment: &Deployment, cluster: &Cluster, fault: &Fault) -> bool {
    let pod = deployment.pod_of(fault.target);
    let outage = cluster.crash(&pod);
    deployment.forget_process(fault.target);
    if let Some(ms) = fault.for_ms {
        sleep(Duration::from_millis(ms)).await;
        deployment.boot(cluster.restart(&pod), &pod);
    }
    outage.tasks > 0 && outage.sockets > 0
}

async fn cut(deployment: &Deployment, cluster: &Cluster, fault: &Fault) -> bool {
    let pod = deployment.pod_of(fault.target);
    let from = fault.from.map(|from| deployment.pod_of(from));
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

/// Stops a service as SIGTERM does, and starts it again. A broker has no such manners: it crashes.
async fn restart(deployment: &Deployment, cluster: &Cluster, fault: &Fault) -> bool {
    if matches!(fault.target, Target::Amqp | Target::Mqtt | Target::Redis | Target::Gateway(_)) {
        return crash(deployment, cluster, fault).await;
    }
    let pod = deployment.pod_of(fault.target);
    let stopped = timeout(STOP_LIMIT, deployment.stop(&pod)).await.is_ok();
    if let Some(ms) = fault.for_ms {
        sleep(Duration::from_millis(ms)).await;
        deployment.boot(cluster.incarnation(&pod), &pod);
    }
    stopped
}
