//! How many replicas there shall be: KEDA and Kubernetes' HorizontalPodAutoscaler, by their own rules, as clients of
//! RabbitMQ.
//!
//! `keda` and `hpa` are the rules, without IO and without a clock. `rabbitmq` asks, as KEDA's scaler does. Here are the
//! loops: KEDA looks at its triggers at every `polling_interval_s`, from its start on, and alone scales from and to 0;
//! the HPA's controller syncs every 15 s, and asks KEDA, which asks RabbitMQ anew each time. Between the two there is
//! no network: what is modelled of Kubernetes is what it decides, and the way to RabbitMQ.
//!
//! Who starts and stops pods is not here: [`Scales`] says how many are wanted.

mod hpa;
mod keda;
mod rabbitmq;

use crate::spec::{Autoscaler, Spec, Target};
use backbone::{config, env::Env};
use futures_util::future::join_all;
use hpa::Hpa;
use keda::{Activation, Reading};
pub(crate) use rabbitmq::MANAGEMENT_PORT;
use rabbitmq::Rabbitmq;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// The HPA controller's `--horizontal-pod-autoscaler-sync-period`. It begins with a pause, too, since its queue gives
/// nothing sooner.
const SYNC_PERIOD: Duration = Duration::from_secs(15);

/// The number of replicas that is wanted of each target, Kubernetes' `scale` subresource.
#[derive(Clone, Debug)]
pub(crate) struct Scales(Arc<BTreeMap<Target, watch::Sender<u32>>>);

impl Scales {
    /// As many as the spec begins with.
    pub(crate) fn new(spec: &Spec) -> Self {
        let scale = |target| (target, watch::Sender::new(spec.replicas.of(target)));
        Self(Arc::new(Target::ALL.into_iter().map(scale).collect()))
    }

    fn of(&self, target: Target) -> &watch::Sender<u32> {
        &self.0[&target]
    }

    /// How many are wanted now.
    pub(crate) fn wanted(&self, target: Target) -> u32 {
        *self.of(target).borrow()
    }

    /// Tells of changes.
    pub(crate) fn watch(&self, target: Target) -> watch::Receiver<u32> {
        self.of(target).subscribe()
    }

    fn set(&self, target: Target, replicas: Option<u32>) {
        if let Some(replicas) = replicas {
            self.of(target).send_replace(replicas);
        }
    }
}

/// Looks after all that `spec` scales, until `stop`. `amqp` says where RabbitMQ is.
pub(crate) async fn run(env: Env, spec: Arc<Spec>, amqp: config::Amqp, scales: Scales, stop: CancellationToken) {
    let all = spec.autoscale.all().map(|(target, rules)| {
        let triggers = rules.triggers.iter().map(|trigger| Rabbitmq::new(&env, &amqp, trigger.clone())).collect();
        let object = ScaledObject { env: &env, target, rules, scales: &scales, triggers: Mutex::new(triggers) };
        async move { tokio::join!(object.look(), object.sync()) }
    });
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = join_all(all) => {}
    }
}

/// One ScaledObject and its HPA.
struct ScaledObject<'a> {
    env: &'a Env,
    target: Target,
    rules: &'a Autoscaler,
    scales: &'a Scales,
    /// KEDA's clients, one a trigger, used by one question at a time.
    triggers: Mutex<Vec<Rabbitmq>>,
}

impl ScaledObject<'_> {
    fn now_us(&self) -> u64 {
        u64::try_from(self.env.unix_time().as_micros()).expect("584,000 years are enough")
    }

    /// What the triggers say; `None` of one that could not be asked.
    async fn ask(&self) -> Vec<Option<Reading>> {
        let mut triggers = self.triggers.lock().await;
        join_all(triggers.iter_mut().map(Rabbitmq::reading)).await
    }

    /// KEDA's loop.
    async fn look(&self) {
        let period = Duration::from_secs(self.rules.polling_interval_s.into());
        let mut activation = Activation::new(self.now_us());
        loop {
            // The pause counts from the start of a look.
            let next = Instant::now() + period;
            let readings = self.ask().await;
            let current = self.scales.wanted(self.target);
            self.scales.set(self.target, activation.look(self.rules, self.now_us(), current, &readings));
            sleep_until(next).await;
        }
    }

    /// The HPA controller's.
    async fn sync(&self) {
        let mut hpa = Hpa::default();
        loop {
            // The pause counts from the end of a sync.
            sleep(SYNC_PERIOD).await;
            if self.scales.wanted(self.target) == 0 {
                continue;
            }
            let readings = self.ask().await;
            let metrics: Vec<_> = readings.iter().map(|reading| Some(reading.as_ref()?.metric_milli)).collect();
            let current = self.scales.wanted(self.target);
            self.scales.set(self.target, hpa.sync(self.rules, self.now_us(), current, &metrics));
        }
    }
}
