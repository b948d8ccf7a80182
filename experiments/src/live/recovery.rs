//! Whether a live world works again after what was broken: the backlog drains, every service is ready, and new tasks
//! get through. The rules are those of the simulator; what only an emulated broker shows is not looked at.

use super::world::World;
use crate::{deployment, measure::Oracle};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// How often it is looked whether all is as before.
const SETTLE_LOOK_PERIOD: Duration = Duration::from_millis(200);

/// Mosquitto looks for sessions whose time is over now and then.
const SESSION_MARGIN: Duration = Duration::from_secs(5);

/// When all faults were over, as far as that is known.
#[derive(Clone, Copy)]
pub(super) struct Healing {
    at: Instant,
    /// By when all has to be well.
    due: Instant,
}

impl World {
    /// All faults are over.
    pub(super) fn heal(&self) -> Healing {
        let workload = self.recorder.workload();
        // Counted from now, though it began before: what comes last has not come earlier.
        let last_ms = workload.len().checked_sub(1).and_then(|last| workload.at_ms(last)).unwrap_or(0);
        let (at, recover_s) = (Instant::now(), self.spec.limits.recover_s);
        Healing { at, due: at + Duration::from_millis(last_ms.into()) + Duration::from_secs(recover_s.into()) }
    }

    /// Whether tasks are still not done when they should be; says so, too.
    pub(super) async fn is_overdue(&mut self, healing: Healing) -> bool {
        if self.spec.faults.is_empty() || Instant::now() < healing.due {
            return false;
        }
        self.say_stuck("tasks are not done").await;
        true
    }

    async fn say_stuck(&mut self, what: &str) {
        let (recover_s, open_ends) = (self.spec.limits.recover_s, self.queues.open_ends().await);
        let unready = self.unready().await;
        let unready = if unready.is_empty() { String::new() } else { format!("; {}", unready.join("; ")) };
        let text = format!("{what} {recover_s} s after all could be well (`limits.recover_s`): {open_ends}{unready}");
        self.recorder.violate(Oracle::NotDrained.broken(text));
    }

    /// Waits until all is as it was before there was work, or should be, and lets the tasks come that show it.
    ///
    /// # Errors
    /// When it can't be told how a process fares.
    pub(super) async fn recover(&mut self, Healing { at, due }: Healing) -> anyhow::Result<()> {
        let due = due.max(Instant::now() + SETTLE_LOOK_PERIOD);
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
                    let recover_s = self.spec.limits.recover_s;
                    let unready = unready.join("; ");
                    let text =
                        format!("not ready {recover_s} s after all could be well (`limits.recover_s`); {unready}");
                    self.recorder.violate(Oracle::NotReady.broken(text));
                }
                return Ok(());
            }
            sleep(SETTLE_LOOK_PERIOD).await;
        }
        if self.spec.expect.probe_tasks > 0 {
            sleep_until(at + deployment::silence(&self.spec).max(self.sessions_last())).await;
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
