//! Whether a live world works again after what was broken: the backlog drains, every service is ready, and new tasks
//! get through. The rules are those of the simulator; what only an emulated broker shows is not looked at.

use super::world::World;
use crate::deployment::{self, Healing};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often it is looked whether all is as before.
const SETTLE_LOOK_PERIOD: Duration = Duration::from_millis(200);

/// Mosquitto looks for sessions whose time is over now and then.
const SESSION_MARGIN: Duration = Duration::from_secs(5);

impl World {
    /// Whether tasks are still not done when they should be; says so, too.
    pub(super) async fn is_overdue(&mut self, healing: Healing) -> bool {
        if self.spec.faults.is_empty() || !healing.is_due() {
            return false;
        }
        self.say_stuck("tasks are not done").await;
        true
    }

    async fn say_stuck(&mut self, what: &str) {
        let (open_ends, unready) = (self.queues.open_ends().await, self.unready().await);
        self.recorder.violate(deployment::not_drained(&self.spec, what, &open_ends, &unready));
    }

    /// Waits until all is as it was before there was work, or should be, and lets the tasks come that show it.
    ///
    /// # Errors
    /// When it can't be told how a process fares.
    pub(super) async fn recover(&mut self, healing: Healing) -> anyhow::Result<()> {
        let due = healing.due(SETTLE_LOOK_PERIOD);
        loop {
            let unready = self.unready().await;
            let is_drained = self.queues.is_drained().await;
            if unready.is_empty() && is_drained {
                break;
            }
            if Instant::now() >= due {
                if !is_drained {
                    self.say_stuck("tasks are done but still queued").await;
                } else {
                    self.recorder.violate(deployment::not_ready(&self.spec, &unready));
                }
                return Ok(());
            }
            sleep(SETTLE_LOOK_PERIOD).await;
        }
        if self.spec.expect.probe_tasks > 0 {
            sleep_until(healing.at + deployment::silence(&self.spec).max(self.sessions_last())).await;
            sleep(deployment::at_rest(&self.spec)).await;
            self.recorder.probe(Duration::from_secs(self.spec.limits.recover_s.into())).await;
        }
        Ok(())
    }

    /// How long sessions of who was killed stay at the MQTT broker, which gives them their share of the replies: for as
    /// long a new task may wait for one in vain. The simulator sees when they are gone.
    fn sessions_last(&self) -> Duration {
        match self.spec.backbone.mqtt.session_expiry_s {
            0 => Duration::ZERO,
            expiry_s => Duration::from_secs(expiry_s.into()) + SESSION_MARGIN,
        }
    }

    /// Who is not ready, and why.
    async fn unready(&self) -> Vec<String> {
        let workers = self.readiness.iter().map(|(pod, ready)| (*pod, ready.check().err()));
        let workers = workers.filter_map(|(pod, unready)| Some(format!("{pod} is {}", unready?)));
        let mut all: Vec<String> = workers.collect();
        for router in self.processes.routers().await.iter().filter_map(|router| router.as_ref()) {
            all.extend(router.unready().await.map(|said| format!("{} is {said}", router.pod())));
        }
        let (online, gateways) = (self.gateways.online(), self.spec.fleet.gateways as usize);
        if online < gateways {
            all.push(format!("{online} of {gateways} gateways are online"));
        }
        all
    }
}
