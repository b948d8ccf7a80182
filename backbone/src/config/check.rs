//! Checking: which values make no sense, and what would do.

use super::{Config, ConfigError, Mqtt, Routing, RoutingMode, secret::mask_url};
use crate::message::PRIORITY_MAX;
use std::path::PathBuf;

/// Longest delay or timeout, in milliseconds: an hour. RabbitMQ's TTLs, and patience, end somewhere.
const DELAY_MS_MAX: u64 = 60 * 60 * 1000;
/// Longest reply timeout, in milliseconds: 25 minutes. RabbitMQ takes a delivery back that is not acknowledged within
/// 30 minutes (`consumer_timeout`), and closes the channel.
const REPLY_TIMEOUT_MS_MAX: u64 = 25 * 60 * 1000;
/// Largest hysteresis: no gateway hears a label by more than that.
const HYSTERESIS_DB_MAX: u64 = 100;
/// Largest window, number of messages in work, or retries.
const COUNT_MAX: u64 = 10_000;
/// All of a million.
const PPM_MAX: u64 = 1_000_000;
/// Most addresses of routers.
const ROUTERS_MAX: usize = 1_000;

impl Config {
    /// Checks a configuration that was built in code.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names each key, its value and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check(|_| "configuration".into())
    }

    pub(super) fn check(&self, place: impl Fn(&str) -> String) -> Result<(), ConfigError> {
        let problems = self.problems();
        let lines: Vec<_> =
            problems.iter().map(|(key, problem)| format!("{}: `{key}` {problem}", place(key))).collect();
        if lines.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(lines.join("\n"))) }
    }

    /// Keys whose values make no sense, each with the value and what would do.
    fn problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = self.text_problems();
        let mut number = |key, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push((key, format!("is {value}; expected {min} to {max}")));
            }
        };
        number("tracing.sample_ppm", self.tracing.sample_ppm.into(), 0, PPM_MAX);
        number("mqtt.port", self.mqtt.port.into(), 1, u16::MAX.into());
        number("mqtt.receive_maximum", self.mqtt.receive_maximum.into(), 1, COUNT_MAX);
        number("mqtt.in_flight_max", self.mqtt.in_flight_max.into(), 1, COUNT_MAX);
        number("routing.route_fresh_ms", self.routing.route_fresh_ms, 1, DELAY_MS_MAX);
        number("routing.smoothing_ms", self.routing.smoothing_ms, 0, self.routing.route_fresh_ms);
        number("routing.hysteresis_db", self.routing.hysteresis_db.into(), 0, HYSTERESIS_DB_MAX);
        number("routing.hysteresis_ms", self.routing.hysteresis_ms, 0, DELAY_MS_MAX);
        number("dispatcher.window", self.dispatcher.window as u64, 1, COUNT_MAX);
        number("task_queue.priority_max", self.task_queue.priority_max.into(), 0, PRIORITY_MAX.into());
        number("task_worker.prefetch", self.task_worker.prefetch.into(), 1, COUNT_MAX);
        number("task_worker.reply_timeout_ms", self.task_worker.reply_timeout_ms, 1, REPLY_TIMEOUT_MS_MAX);
        number("task_worker.attempts_max", self.task_worker.attempts_max.into(), 1, COUNT_MAX);
        number("task_worker.retry_delay_ms", self.task_worker.retry_delay_ms, 1, DELAY_MS_MAX);
        number("fwd_router.prefetch", self.fwd_router.prefetch.into(), 1, COUNT_MAX);
        number("bck_router.in_flight_max", self.bck_router.in_flight_max as u64, 1, COUNT_MAX);
        number("http_router.in_flight_max", self.http_router.in_flight_max as u64, 1, COUNT_MAX);
        number("http_router.reply_timeout_ms", self.http_router.reply_timeout_ms, 0, DELAY_MS_MAX);
        number("http_router.listen", self.http_router.listen.port().into(), 1, u16::MAX.into());
        self.routing_problems(&mut problems);
        problems
    }

    fn routing_problems(&self, problems: &mut Vec<(&'static str, String)>) {
        let Routing { mode, hysteresis_db, hysteresis_ms, .. } = self.routing;
        if hysteresis_db > 0 && mode != RoutingMode::Rssi {
            let problem = "is set with another `routing.mode` than \"rssi\", the only one that compares strengths; \
                           expected 0";
            problems.push(("routing.hysteresis_db", problem.into()));
        }
        if hysteresis_ms > 0 && hysteresis_db == 0 {
            problems.push(("routing.hysteresis_ms", "is set without `routing.hysteresis_db`; expected both".into()));
        }
    }

    fn tls_problems(&self, problems: &mut Vec<(&'static str, String)>) {
        let is_set = |file: &PathBuf| !file.as_os_str().is_empty();
        let Mqtt { ca_file, cert_file, key_file, .. } = &self.mqtt;
        if is_set(cert_file) != is_set(key_file) {
            problems
                .push(("mqtt.cert_file", "is set without `mqtt.key_file`, or that without it; expected both".into()));
        } else if is_set(cert_file) && !is_set(ca_file) {
            problems.push(("mqtt.cert_file", "is set without `mqtt.ca_file`, which turns TLS on".into()));
        }
        let brokers = [
            ("amqp.ca_file", &self.amqp.ca_file, self.amqp.tls(), "amqps://"),
            ("mqtt.ca_file", &self.mqtt.ca_file, self.mqtt.tls(), ""),
            ("redis.ca_file", &self.redis.ca_file, self.redis.tls(), "rediss://"),
        ];
        for (key, ca_file, tls, scheme) in brokers {
            match tls {
                None if is_set(ca_file) => problems.push((key, format!("is set, but the URL is not {scheme}"))),
                Some(_) if !is_set(ca_file) => {
                    problems
                        .push((key, format!("is empty; expected a file with certificates, since the URL is {scheme}")));
                }
                Some(tls) => {
                    if let Err(error) = tls.connector() {
                        problems.push((key, format!("can't be used for TLS: {error}")));
                    }
                }
                None => {}
            }
        }
    }

    fn text_problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(error) = self.amqp.uri() {
            let url = mask_url(&self.amqp.url);
            let expected = "expected amqp://USER:PASSWORD@HOST:PORT/VHOST";
            problems.push(("amqp.url", format!("is \"{url}\": {error}; {expected}")));
        }
        if let Err(error) = self.redis.address() {
            let url = mask_url(&self.redis.url);
            problems.push(("redis.url", format!("is \"{url}\": {error}; expected redis://USER:PASSWORD@HOST:PORT/DB")));
        }
        for server in self.redis.servers().iter().skip(1) {
            let url = mask_url(&server.url);
            match server.address() {
                Err(error) => {
                    let expected = "expected redis://USER:PASSWORD@HOST:PORT/DB";
                    problems.push(("redis.shards", format!("has \"{url}\": {error}; {expected}")));
                }
                Ok(_) if server.tls().is_some() != self.redis.tls().is_some() => {
                    let what = "`redis.url` has TLS and this has not, or the other way round; expected all or none";
                    problems.push(("redis.shards", format!("has \"{url}\": {what}")));
                }
                Ok(_) => {}
            }
        }
        if !self.redis.shards.is_empty() && self.routing.mode == RoutingMode::Fixed {
            let what = "is \"fixed\", one route for all labels, which needs no `redis.shards`";
            problems.push(("routing.mode", what.into()));
        }
        self.tls_problems(&mut problems);
        if self.mqtt.username.is_empty() && !self.mqtt.password.is_empty() {
            problems.push(("mqtt.username", "is empty; expected a name, since there is a password".into()));
        }
        let host = &self.mqtt.host;
        let has_port = host.contains(':') && host.parse::<std::net::Ipv6Addr>().is_err();
        if host.is_empty() || host.contains(['/', ' ']) || has_port {
            let expected = "expected a host name or address, without mqtt:// before and port behind it";
            problems.push(("mqtt.host", format!("is \"{host}\"; {expected}")));
        }
        for (key, group) in
            [("bck_router.group", &self.bck_router.group), ("http_router.group", &self.http_router.group)]
        {
            if group.is_empty() || group.contains(['/', '+', '#']) {
                problems.push((key, format!("is \"{group}\"; expected a name without / + # (MQTT 5, 4.8.2)")));
            }
        }
        if let Err(expected) = self.admin.address() {
            problems.push(("admin.listen", format!("is \"{}\"; {expected}", self.admin.listen)));
        }
        if let Err(expected) = self.tracing.endpoint() {
            problems.push(("tracing.collector", format!("is \"{}\"; {expected}", self.tracing.collector)));
        }
        match self.rpc.addresses() {
            Ok(routers) if (1..=ROUTERS_MAX).contains(&routers.len()) => {}
            Ok(routers) => {
                problems.push(("rpc.routers", format!("has {} addresses; expected 1 to {ROUTERS_MAX}", routers.len())));
            }
            Err(error) => problems.push(("rpc.routers", format!("is {:?}: {error}", self.rpc.routers))),
        }
        problems
    }
}
