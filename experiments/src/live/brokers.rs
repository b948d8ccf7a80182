//! The brokers of a live run: private ones, started for it and ended with it, or those that the user names.

use super::{Options, address};
use crate::spec::Spec;
use anyhow::Context;
use backbone::config;
use sim::broker::real::{Kind, Real};
use tokio::sync::oneshot;

/// Where the three are and how to get in. Dropping this ends those that were started.
pub(super) struct Brokers {
    pub(super) amqp: config::Amqp,
    pub(super) mqtt: config::Mqtt,
    pub(super) redis: config::Redis,
    /// Those that are ours.
    pub(super) private: Vec<(&'static str, Real)>,
}

impl Brokers {
    /// Starts what `options` do not name, all at the same time.
    ///
    /// # Errors
    /// When one is not installed or does not start, or an address is none.
    pub(super) async fn start(spec: &Spec, options: &Options) -> anyhow::Result<Self> {
        let config::Config { mut amqp, mut mqtt, mut redis, .. } = spec.backbone.clone();
        address::take(options, &mut amqp, &mut mqtt, &mut redis)?;
        let wanted = [
            (options.amqp.is_none(), "amqp", Kind::RabbitMq, String::new()),
            (options.mqtt.is_none(), "mqtt", Kind::Mosquitto, mosquitto_conf(spec)),
            (options.redis.is_none(), "redis", Kind::Redis, String::new()),
        ];
        let mut starting = Vec::new();
        for (_, name, kind, config) in wanted.into_iter().filter(|(missing, ..)| *missing) {
            starting.push((name, start(kind, config)?));
        }
        let mut private = Vec::new();
        for (name, started) in starting {
            let real = started.await.with_context(|| format!("the thread that starts {name} ended early"))?;
            private.push((name, real?));
        }
        for (name, real) in &private {
            match *name {
                "amqp" => real.url().clone_into(&mut amqp.url),
                "mqtt" => (mqtt.host, mqtt.port) = ("127.0.0.1".to_owned(), real.port()),
                _ => real.url().clone_into(&mut redis.url),
            }
        }
        Ok(Self { amqp, mqtt, redis, private })
    }

    /// Whether the broker called `name` was started for this run.
    pub(super) fn is_private(&self, name: &str) -> bool {
        self.private.iter().any(|(private, _)| *private == name)
    }
}

/// Starts a broker on a thread: that takes seconds, during which a signal must be heard. A broker that nobody waits for
/// any more is ended.
fn start(kind: Kind, config: String) -> anyhow::Result<oneshot::Receiver<anyhow::Result<Real>>> {
    let (sender, receiver) = oneshot::channel();
    let start = move || {
        let started = Real::start_with(kind, &config).with_context(|| format!("starting {kind:?}"));
        let _ = sender.send(started);
    };
    std::thread::Builder::new().name("broker".into()).spawn(start).context("starting a thread")?;
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
