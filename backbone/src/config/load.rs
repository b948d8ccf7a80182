//! Loading and checking: what is wrong, where, what was found, what would do.

use super::Config;
use figment::{
    Figment, Metadata,
    error::Kind,
    providers::{Env, Format, Toml},
};
use std::path::Path;

/// What the variables of the environment begin with.
const ENV_PREFIX: &str = "BACKBONE_";
/// What stands between section and field in them.
const ENV_SEPARATOR: &str = "__";
/// Longest delay or timeout, in milliseconds: an hour. RabbitMQ's TTLs, and patience, end somewhere.
const DELAY_MS_MAX: u64 = 60 * 60 * 1000;
/// Most addresses of routers.
const ROUTERS_MAX: usize = 1_000;
/// Largest window, number of messages in work, or retries.
const COUNT_MAX: u64 = 10_000;

/// Why a configuration can't be used. Its text has a line for each problem.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no such file, or it can't be read.
    #[error("cannot read the configuration file {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Values that are wrong in themselves: of another type, under an unknown key, no TOML.
    #[error("{0}")]
    Malformed(String),
    /// Values that are well-formed but make no sense.
    #[error("{0}")]
    Invalid(String),
}

impl Config {
    /// Reads `file`, then the environment, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or variable, the key, what was found and what is accepted.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let path = file.display().to_string();
        let text =
            std::fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
        let figment = Figment::from(Toml::string(&text)).merge(Env::prefixed(ENV_PREFIX).split(ENV_SEPARATOR));
        let config: Self = figment.extract().map_err(|errors| {
            ConfigError::Malformed(errors.into_iter().map(|error| explain(&path, &error)).collect())
        })?;
        config.check(|key| place(&path, figment.find_metadata(key), key))?;
        Ok(config)
    }

    /// Checks a configuration that was built in code.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names each key, its value and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.check(|_| "configuration".into())
    }

    fn check(&self, place: impl Fn(&str) -> String) -> Result<(), ConfigError> {
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
        number("mqtt.port", self.mqtt.port.into(), 1, u16::MAX.into());
        number("mqtt.receive_maximum", self.mqtt.receive_maximum.into(), 1, COUNT_MAX);
        number("mqtt.in_flight_max", self.mqtt.in_flight_max.into(), 1, COUNT_MAX);
        number("routing.route_fresh_ms", self.routing.route_fresh_ms, 1, DELAY_MS_MAX);
        number("dispatcher.window", self.dispatcher.window as u64, 1, COUNT_MAX);
        number("task_worker.prefetch", self.task_worker.prefetch.into(), 1, COUNT_MAX);
        number("task_worker.reply_timeout_ms", self.task_worker.reply_timeout_ms, 1, DELAY_MS_MAX);
        number("task_worker.attempts_max", self.task_worker.attempts_max.into(), 1, COUNT_MAX);
        number("task_worker.retry_delay_ms", self.task_worker.retry_delay_ms, 1, DELAY_MS_MAX);
        number("fwd_router.prefetch", self.fwd_router.prefetch.into(), 1, COUNT_MAX);
        number("bck_router.in_flight_max", self.bck_router.in_flight_max as u64, 1, COUNT_MAX);
        number("http_router.in_flight_max", self.http_router.in_flight_max as u64, 1, COUNT_MAX);
        number("http_router.listen", self.http_router.listen.port().into(), 1, u16::MAX.into());
        problems
    }

    fn text_problems(&self) -> Vec<(&'static str, String)> {
        let mut problems = Vec::new();
        if let Err(error) = self.amqp.uri() {
            let url = hide_password(&self.amqp.url);
            problems
                .push(("amqp.url", format!("is \"{url}\": {error}; expected amqp://USER:PASSWORD@HOST:PORT/VHOST")));
        }
        if let Err(error) = self.redis.address() {
            let url = hide_password(&self.redis.url);
            problems.push(("redis.url", format!("is \"{url}\": {error}; expected redis://USER:PASSWORD@HOST:PORT/DB")));
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

/// Where the value of `key` was set.
fn place(path: &str, metadata: Option<&Metadata>, key: &str) -> String {
    if metadata.is_some_and(|metadata| metadata.name.contains("environment")) {
        let variable = key.replace('.', ENV_SEPARATOR).to_uppercase();
        format!("environment variable {ENV_PREFIX}{variable}")
    } else {
        path.into()
    }
}

/// A URL fit for a log: what stands between `user:` and `@` is gone.
fn hide_password(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 < at => match url[scheme + 3..at].split_once(':') {
            Some((user, _password)) => format!("{}{user}:***{}", &url[..scheme + 3], &url[at..]),
            None => url.into(),
        },
        _ => url.into(),
    }
}

/// One line: the source, the key, what was found, what would do.
fn explain(path: &str, error: &figment::Error) -> String {
    let key = error.path.join(".");
    let place = place(path, error.metadata.as_ref(), &key);
    match &error.kind {
        Kind::UnknownField(found, known) => {
            let nearest = nearest(found, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let section =
                key.rsplit_once('.').map_or("at the top level".into(), |(section, _)| format!("in [{section}]"));
            format!("{place}: unknown key `{found}` {section}{nearest} (known: {})\n", known.join(", "))
        }
        Kind::UnknownVariant(found, known) => {
            format!("{place}: `{key}` is \"{found}\"; expected one of {}\n", known.join(", "))
        }
        Kind::InvalidType(found, expected) | Kind::InvalidValue(found, expected) => {
            format!("{place}: `{key}` is {found}; expected {expected}\n")
        }
        other if key.is_empty() => format!("{place}: {other}\n"),
        other => format!("{place}: `{key}`: {other}\n"),
    }
}

/// The known key that `found` is most probably a slip of.
fn nearest<'a>(found: &str, known: &'a [&'static str]) -> Option<&'a str> {
    let slips = |name: &str| slips_between(found, name);
    known.iter().copied().min_by_key(|name| slips(name)).filter(|name| slips(name) <= found.len().max(3) / 3 + 1)
}

/// Levenshtein's distance.
fn slips_between(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}
