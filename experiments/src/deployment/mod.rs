//! What a deployment consists of and in which order it starts. Said once, for the simulated world and the live one:
//! both take the steps that stand here, each in its own way.
//!
//! Brokers are there before the first step, since everybody's configuration says where they listen. How a pod of a
//! service is run is in `service`, what a gateway is and does in `gateways`, how
//! long all takes to be well and at rest again in `rest`.

mod gateways;
mod producer;
mod rest;
mod service;

pub(crate) use gateways::Gateways;
pub(crate) use producer::RESULTS_QUEUE;
pub(crate) use rest::{Healing, at_rest, not_drained, not_ready, silence};
pub(crate) use service::{Process, Work, run_service};

use crate::spec::{Pod, Spec, Target};
use std::time::Duration;

/// Time for all clients to connect.
pub(crate) const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// How long all routes take to settle after the first reports: a report's way into the table.
pub(crate) const REPORT_MARGIN: Duration = Duration::from_millis(500);

/// A step of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Starts a pod, and waits for nothing.
    Start(Pod),
    /// Waits until all gateways and routers have their connections, at most for [`CONNECT_LIMIT`].
    Connect,
    /// Waits.
    Pause(Duration),
}

/// What starts before there is work: gateways and routers, until every label has a route.
pub(crate) fn set_up(spec: &Spec) -> Vec<Step> {
    let mut steps: Vec<Step> = spec.fleet.pods().chain(routers(spec)).map(Step::Start).collect();
    steps.push(Step::Connect);
    if spec.fleet.rssi_period_ms > 0 {
        steps.push(Step::Pause(Duration::from_millis(spec.fleet.rssi_period_ms.into()) + REPORT_MARGIN));
    }
    steps
}

/// What does the work: workers and dispatcher, and before them who scales.
pub(crate) fn work(spec: &Spec) -> Vec<Step> {
    let replicas = &spec.replicas;
    if replicas.all_at_once() {
        return autoscaler(spec).into_iter().chain(workers(spec)).chain([Pod::Dispatcher]).map(Step::Start).collect();
    }
    let paced = |(pod, started)| [Step::Start(pod), Step::Pause(replicas.pause_after(started))];
    let first = autoscaler(spec).into_iter().chain([Pod::Dispatcher]).map(Step::Start);
    first.chain(workers(spec).zip(1..).flat_map(paced)).collect()
}

/// All pods that there ever are, brokers included.
pub(crate) fn pods(spec: &Spec) -> impl Iterator<Item = Pod> + use<> {
    let [routers, workers] = Target::ALL.map(|target| spec.replicas_max(target));
    let services = routers_up_to(spec, routers).chain((0..workers).map(Pod::TaskWorker)).chain([Pod::Dispatcher]);
    brokers(spec).chain(spec.fleet.pods()).chain(services).chain(autoscaler(spec))
}

fn routers_up_to(spec: &Spec, replicas: u32) -> impl Iterator<Item = Pod> + use<> {
    spec.routers().iter().flat_map(move |kind| (0..replicas).map(|index| Pod::Router(*kind, index)))
}

/// The pod that scales others, if anything is scaled.
fn autoscaler(spec: &Spec) -> Option<Pod> {
    (!spec.autoscale.is_empty()).then_some(Pod::Autoscaler)
}

/// All brokers.
pub(crate) fn brokers(spec: &Spec) -> impl Iterator<Item = Pod> + use<> {
    [Pod::Amqp, Pod::Mqtt].into_iter().chain(spec.brokers.redis())
}

/// All routers that there are at the start.
pub(crate) fn routers(spec: &Spec) -> impl Iterator<Item = Pod> + use<> {
    routers_up_to(spec, spec.replicas.routers)
}

/// The routers that answer workers' calls themselves, so that workers have to know them (`backbone.rpc.routers`).
pub(crate) fn called_routers(spec: &Spec) -> impl Iterator<Item = Pod> + use<> {
    routers(spec).filter(|pod| matches!(pod, Pod::Router(kind, _) if kind.answers_calls()))
}

/// All task workers that there are at the start.
fn workers(spec: &Spec) -> impl Iterator<Item = Pod> + use<> {
    (0..spec.replicas.task_workers).map(Pod::TaskWorker)
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::{RouterKind, RpcKind};

    fn spec() -> Spec {
        let mut spec = Spec::default();
        (spec.fleet.gateways, spec.replicas.routers, spec.replicas.task_workers) = (1, 1, 2);
        spec
    }

    fn started(steps: &[Step]) -> Vec<String> {
        let pods =
            steps.iter().filter_map(|step| if let Step::Start(pod) = step { Some(pod.to_string()) } else { None });
        pods.collect()
    }

    #[test]
    fn routers_are_those_of_the_way_of_calling() {
        let mut spec = spec();
        assert_eq!(started(&set_up(&spec)), ["gateway-0", "fwd_router-0", "bck_router-0"]);
        assert_eq!(called_routers(&spec).count(), 0);
        spec.backbone.rpc.kind = RpcKind::Http;
        assert_eq!(started(&set_up(&spec)), ["gateway-0", "http_router-0"]);
        assert_eq!(called_routers(&spec).collect::<Vec<_>>(), [Pod::Router(RouterKind::Http, 0)]);
    }

    #[test]
    fn work_begins_when_everybody_is_connected_and_has_reported() {
        let mut spec = spec();
        spec.fleet.rssi_period_ms = 100;
        let steps = set_up(&spec);
        assert_eq!(steps[3..], [Step::Connect, Step::Pause(Duration::from_millis(600))]);
        spec.fleet.rssi_period_ms = 0;
        assert_eq!(set_up(&spec).last(), Some(&Step::Connect));
    }

    #[test]
    fn workers_are_there_before_the_work_or_come_at_their_pace() {
        let mut spec = spec();
        assert_eq!(started(&work(&spec)), ["task_worker-0", "task_worker-1", "dispatcher"]);
        spec.replicas.worker_stagger_ms = 30;
        assert_eq!(started(&work(&spec)), ["dispatcher", "task_worker-0", "task_worker-1"]);
        let pauses = work(&spec).into_iter().filter(|step| *step == Step::Pause(Duration::from_millis(30)));
        assert_eq!(pauses.count(), 2);
    }

    #[test]
    fn all_that_starts_is_a_pod_of_the_world() {
        let spec = spec();
        let started: Vec<String> =
            [set_up(&spec), work(&spec)].concat().iter().flat_map(|step| started(&[*step])).collect();
        let pods: Vec<String> = pods(&spec).map(|pod| pod.to_string()).collect();
        assert!(started.iter().all(|pod| pods.contains(pod)), "{started:?}");
        assert_eq!(started.len() + Pod::BROKERS.len(), pods.len());
    }
}
