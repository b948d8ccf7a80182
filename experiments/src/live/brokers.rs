//! The brokers of a live run: private ones, started for it and ended with it, or those that the user names.

use super::Options;
use crate::spec::Spec;
use anyhow::{Context, bail, ensure};
use sim::broker::real::{Kind, Real};
use tokio::sync::oneshot;

/// Where the three are. Dropping this ends those that were started.
pub(super) struct Brokers {
    /// With login.
    pub(super) amqp_url: String,
    /// Host and port.
    pub(super) mqtt: (String, u16),
    /// With login.
    pub(super) redis_url: String,
    /// Those that are ours.
    pub(super) private: Vec<(&'static str, Real)>,
}

impl Brokers {
    /// Starts what `options` do not name, all at the same time.
    ///
    /// # Errors
    /// When one is not installed or does not start, or an address is none.
    pub(super) async fn start(spec: &Spec, options: &Options) -> anyhow::Result<Self> {
        let mut mqtt = options.mqtt.as_deref().map(mqtt_address).transpose()?;
        let (mut amqp_url, mut redis_url) = (options.amqp.clone(), options.redis.clone());
        plain("--amqp", "amqp", amqp_url.as_deref())?;
        plain("--redis", "redis", redis_url.as_deref())?;
        let wanted = [
            (amqp_url.is_none(), "amqp", Kind::RabbitMq, String::new()),
            (mqtt.is_none(), "mqtt", Kind::Mosquitto, mosquitto_conf(spec)),
            (redis_url.is_none(), "redis", Kind::Redis, String::new()),
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
                "amqp" => amqp_url = Some(real.url().to_owned()),
                "mqtt" => mqtt = Some(("127.0.0.1".to_owned(), real.port())),
                _ => redis_url = Some(real.url().to_owned()),
            }
        }
        let (Some(amqp_url), Some(mqtt), Some(redis_url)) = (amqp_url, mqtt, redis_url) else {
            bail!("a broker has neither been named nor started");
        };
        Ok(Self { amqp_url, mqtt, redis_url, private })
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

/// `mqtt://HOST:PORT`. The fleet's gateways know no logins.
fn mqtt_address(url: &str) -> anyhow::Result<(String, u16)> {
    let place = url.strip_prefix("mqtt://").map(|place| place.trim_end_matches('/'));
    let parts =
        place.and_then(|place| place.rsplit_once(':')).filter(|(host, _)| !host.is_empty() && !host.contains('@'));
    let address = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    // Not repeated in the message: it may hold a password.
    address.context("--mqtt: expected mqtt://HOST:PORT, without login and without TLS")
}

fn plain(option: &str, scheme: &str, url: Option<&str>) -> anyhow::Result<()> {
    let is_plain = url.is_none_or(|url| url.starts_with(&format!("{scheme}://")));
    ensure!(is_plain, "{option}: expected {scheme}://..., since live runs know no TLS");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_an_mqtt_broker_has_a_host_and_a_port() {
        assert_eq!(mqtt_address("mqtt://broker:1883").unwrap(), ("broker".into(), 1883));
        for wrong in ["broker:1883", "mqtt://broker", "mqtt://:1883", "mqtt://me:secret@broker:1883", "mqtts://b:1"] {
            let error = mqtt_address(wrong).unwrap_err().to_string();
            assert!(error.contains("mqtt://HOST:PORT") && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn mosquitto_is_told_what_the_spec_says() {
        let mut spec = Spec::default();
        spec.machines.mqtt.nodelay = false;
        assert_eq!(mosquitto_conf(&spec), "set_tcp_nodelay false\nmax_inflight_messages 20\n");
    }
}
