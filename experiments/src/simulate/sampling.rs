//! Looks at brokers and pods once a second of virtual time.

use super::world::World;
use crate::{
    deployment,
    measure::{CpuUsed, SECOND_US, Sample},
    spec::{Pod, Spec},
};
use std::{
    cell::{Ref, RefCell},
    time::Duration,
};
use tokio::time::sleep;

/// What was seen so far.
pub(super) struct Samples<'a> {
    world: &'a World,
    /// Each pod by its name, with the CPU time that its present incarnation had taken on when it was last looked at.
    pods: RefCell<Vec<(Pod, String, u64)>>,
    seen: RefCell<Vec<Sample>>,
}

impl<'a> Samples<'a> {
    pub(super) fn of(world: &'a World, spec: &Spec) -> Self {
        let used_us = |name: &str| world.cluster().cpu_used_us(name);
        let named = deployment::pods(spec).map(|pod| (pod, pod.to_string()));
        let pods = named.map(|(pod, name)| (pod, name.clone(), used_us(&name))).collect();
        Self { world, pods: RefCell::new(pods), seen: RefCell::default() }
    }

    /// Looks at every full second.
    pub(super) async fn take(&self) -> std::convert::Infallible {
        loop {
            let now_us = self.world.cluster().now_us();
            sleep(Duration::from_micros(SECOND_US - now_us % SECOND_US)).await;
            self.look();
        }
    }

    /// Looks now.
    pub(super) fn look(&self) {
        let sample = Sample { cpu: Some(self.cpu_used()), ..self.world.sample() };
        self.seen.borrow_mut().push(sample);
    }

    pub(super) fn seen(&self) -> Ref<'_, Vec<Sample>> {
        self.seen.borrow()
    }

    /// CPU time since the last look.
    fn cpu_used(&self) -> CpuUsed {
        let mut used = CpuUsed::default();
        for (pod, name, before_us) in self.pods.borrow_mut().iter_mut() {
            let now_us = self.world.cluster().cpu_used_us(name);
            // An incarnation that is new began with nothing.
            let since_us = now_us.checked_sub(*before_us).unwrap_or(now_us);
            *before_us = now_us;
            *match pod {
                Pod::Amqp => &mut used.amqp_us,
                Pod::Mqtt => &mut used.mqtt_us,
                Pod::Redis | Pod::RedisShard(_) => &mut used.redis_us,
                Pod::Gateway(_) | Pod::Store(_) => &mut used.gateways_us,
                Pod::Router(..) => &mut used.routers_us,
                Pod::TaskWorker(_) => &mut used.task_workers_us,
                Pod::Dispatcher | Pod::Autoscaler => continue,
            } += since_us;
        }
        used
    }
}
