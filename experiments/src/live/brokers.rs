//! The brokers of a live run: private ones, started for it and ended with it, or those that the user names.

use super::{address, options::Options};
use crate::spec::{Pod, Spec};
use anyhow::Context;
use backbone::config;
use sim::real::{
    broker::{Kind, Real, RealError},
    cgroup::Group,
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// Where the three are and how to get in. Dropping this ends those that were started.
pub(crate) struct Brokers {
    pub(crate) amqp: config::Amqp,
    pub(crate) mqtt: config::Mqtt,
    pub(crate) redis: config::Redis,
    /// Those that are ours.
    pub(super) private: Vec<(Pod, Private)>,
}

/// A broker that is the run's own. All clones are the same one; it ends with the last of them.
#[derive(Clone)]
pub(super) struct Private(Arc<Mutex<Confined>>);

/// A broker, and the control group that it is in, if it has a quota. The group can go when the broker has ended.
struct Confined {
    real: Real,
    group: Option<Group>,
}

impl Private {
    fn new(real: Real) -> Self {
        Self(Arc::new(Mutex::new(Confined { real, group: None })))
    }

    /// Its process, for measurements.
    pub(super) fn pid(&self) -> u32 {
        self.lock().real.pid()
    }

    fn port(&self) -> u16 {
        self.lock().real.port()
    }

    /// It is in `group` from now on, and no more in that which it was in.
    pub(super) fn hold(&self, group: Option<Group>) {
        self.lock().group = group;
    }

    /// Gives it an order, and waits until that is done.
    ///
    /// # Errors
    /// When it can't be done.
    pub(super) async fn order(&self, order: fn(&mut Real) -> Result<(), RealError>) -> anyhow::Result<()> {
        let broker = self.clone();
        let done = on_a_thread(move || order(&mut broker.lock().real))?;
        Ok(done.await.context("the thread that talks to a broker ended early")??)
    }

    fn lock(&self) -> MutexGuard<'_, Confined> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Brokers {
    /// Starts what `options` do not name, all at the same time.
    ///
    /// # Errors
    /// When one is not installed or does not start, or an address is none.
    pub(crate) async fn start(spec: &Spec, options: &Options) -> anyhow::Result<Self> {
        let config::Config { mut amqp, mut mqtt, mut redis, .. } = spec.backbone.clone();
        address::take(options, &mut amqp, &mut mqtt, &mut redis)?;
        let wanted = [
            (options.amqp.is_none(), Pod::Amqp, Kind::RabbitMq, String::new()),
            (options.mqtt.is_none(), Pod::Mqtt, Kind::Mosquitto, mosquitto_conf(spec)),
            (options.redis.is_none(), Pod::Redis, Kind::Redis, String::new()),
        ];
        let mut starting = Vec::new();
        for (_, pod, kind, config) in wanted.into_iter().filter(|(missing, ..)| *missing) {
            starting.push((pod, start(kind, config)?));
        }
        let mut private = Vec::new();
        for (pod, started) in starting {
            let real = started.await.with_context(|| format!("the thread that starts {pod} ended early"))?;
            private.push((pod, real?));
        }
        for (pod, real) in &private {
            match pod {
                Pod::Amqp => real.url().clone_into(&mut amqp.url),
                Pod::Mqtt => (mqtt.host, mqtt.port) = ("127.0.0.1".to_owned(), real.port()),
                _ => real.url().clone_into(&mut redis.url),
            }
        }
        let private = private.into_iter().map(|(pod, real)| (pod, Private::new(real))).collect();
        Ok(Self { amqp, mqtt, redis, private })
    }

    /// Whether this broker was started for this run.
    pub(super) fn is_private(&self, broker: Pod) -> bool {
        self.private_port(broker).is_some()
    }

    /// Where this broker listens, on 127.0.0.1, if it was started for this run.
    pub(super) fn private_port(&self, broker: Pod) -> Option<u16> {
        self.private.iter().find(|(private, _)| *private == broker).map(|(_, private)| private.port())
    }
}

/// Starts a broker. One that nobody waits for any more is ended.
fn start(kind: Kind, config: String) -> anyhow::Result<oneshot::Receiver<anyhow::Result<Real>>> {
    on_a_thread(move || Real::start_with(kind, &config).with_context(|| format!("starting {kind:?}")))
}

/// Does what takes seconds on a thread: a signal must be heard meanwhile.
fn on_a_thread<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<oneshot::Receiver<T>> {
    let (sender, receiver) = oneshot::channel();
    let job = move || {
        let _ = sender.send(job());
    };
    std::thread::Builder::new().name("broker".into()).spawn(job).context("starting a thread")?;
    Ok(receiver)
}

/// What the spec says about the MQTT broker, in Mosquitto's words.
fn mosquitto_conf(spec: &Spec) -> String {
    let (nodelay, inflight) = (spec.machines.mqtt.nodelay, spec.brokers.mqtt_inflight_max);
    format!("set_tcp_nodelay {nodelay}\nmax_inflight_messages {inflight}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosquitto_is_told_what_the_spec_says() {
        let mut spec = Spec::default();
        spec.machines.mqtt.nodelay = false;
        assert_eq!(mosquitto_conf(&spec), "set_tcp_nodelay false\nmax_inflight_messages 20\n");
    }
}
