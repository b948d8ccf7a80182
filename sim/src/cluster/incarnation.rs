//! One life of a pod, as the simulator sees it.

use crate::{
    broker::amqp::MetadataCost,
    engine::{is_running, with},
    env,
    fleet::Processor,
    observe,
};
use backbone::env::Env;
use futures_util::future::BoxFuture;
use std::{fmt, future::poll_fn, sync::Arc};

/// One incarnation of a pod, from its start to its end. A restarted pod has another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incarnation {
    pub(super) host: u16,
}

impl Incarnation {
    /// The outside world as what runs in it sees it. Of no use after its end.
    #[must_use]
    pub fn env(self) -> Env {
        env::on_host(self.host)
    }

    /// Puts an event of this pod into the trace.
    pub fn trace(self, event: fmt::Arguments<'_>) {
        with(|engine| {
            let now_us = engine.now_us();
            engine.trace.event(now_us, engine.pods.name_of(self.host), event);
        });
    }

    /// Whether its process lives. A killed one has nothing to say any more, nor has any once the simulation is over,
    /// though what they held is dropped only then.
    #[must_use]
    pub fn is_alive(self) -> bool {
        is_running() && with(|engine| engine.hosts[self.host].is_alive())
    }

    /// Virtual time since the start, in microseconds.
    #[must_use]
    pub fn now_us(self) -> u64 {
        with(|engine| engine.now_us())
    }

    /// The number by which observers know it.
    #[must_use]
    pub fn host(self) -> u16 {
        self.host
    }

    /// Virtual time since the start, in nanoseconds, which observers count in.
    #[must_use]
    pub fn now_ns(self) -> u64 {
        with(|engine| engine.now_ns())
    }

    /// What an emulated RabbitMQ that runs in it pays for the begin or the end of a queue: a wait at the pod's metadata
    /// store ([`CpuPlan::metadata`](crate::cpu::CpuPlan::metadata)). A store that takes no time still waits for a
    /// thread, if frames take theirs. `None`: neither takes any.
    #[must_use]
    pub fn metadata_cost(self) -> Option<Arc<dyn MetadataCost>> {
        let plan = with(|engine| engine.hosts[self.host].plan.cpu);
        plan.receiving_costs().then(|| Arc::new(PodMetadata { host: self.host }) as Arc<dyn MetadataCost>)
    }

    /// What does the work of a gateway that runs in it: the pod's CPU, beside whatever else costs time there.
    #[must_use]
    pub fn processor(self) -> Arc<dyn Processor> {
        Arc::new(PodProcessor { host: self.host })
    }
}

/// The CPU of a pod.
#[derive(Debug)]
struct PodProcessor {
    host: u16,
}

impl Processor for PodProcessor {
    fn work(&self, cost_ns: u64) -> BoxFuture<'_, ()> {
        let job = with(|engine| engine.work(self.host, cost_ns));
        Box::pin(poll_fn(move |cx| with(|engine| engine.poll_job(self.host, job, cx))))
    }
}

/// The metadata store of a pod.
#[derive(Debug)]
struct PodMetadata {
    host: u16,
}

impl MetadataCost for PodMetadata {
    fn change(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            let asked_ns = observe::now_ns();
            // An error means that the pod is dead; so will this task be.
            let _ = with(|engine| engine.change_metadata(self.host)).await;
            observe::changed_metadata(self.host, asked_ns);
        })
    }
}
