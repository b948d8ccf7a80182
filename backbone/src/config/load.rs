//! Loading and checking: what is wrong, where, what was found, what would do.

use super::Config;
use figment::{
    Figment,
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
        let problems = config.problems();
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Invalid(list(&path, &problems))) }
    }

    /// Checks a configuration that was built in code.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] names each key, its value and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Invalid(list("configuration", &problems))) }
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut text = |key: &str, value: &str, outcome: Result<(), String>| {
            if let Err(expected) = outcome {
                problems.push(format!("`{key}` is \"{value}\"; {expected}"));
            }
        };
        text(
            "amqp.url",
            &hide_password(&self.amqp.url),
            self.amqp
                .uri()
                .map(drop)
                .map_err(|error| format!("{error}; expected amqp://USER:PASSWORD@HOST:PORT/VHOST")),
        );
        text(
            "redis.url",
            &hide_password(&self.redis.url),
            self.redis
                .address()
                .map(drop)
                .map_err(|error| format!("{error}; expected redis://USER:PASSWORD@HOST:PORT/DB")),
        );
        let host_fits = !self.mqtt.host.is_empty() && !self.mqtt.host.contains(['/', ' ']);
        let host = "expected a host name or address, without mqtt:// before and port behind it";
        text("mqtt.host", &self.mqtt.host, host_fits.then_some(()).ok_or_else(|| host.into()));
        let group = &self.bck_router.group;
        let group_fits = !group.is_empty() && !group.contains(['/', '+', '#']);
        let group_rule = "expected a name without / + # (MQTT 5, 4.8.2)";
        text("bck_router.group", group, group_fits.then_some(()).ok_or_else(|| group_rule.into()));

        let mut number = |key: &str, value: u64, min: u64, max: u64| {
            if !(min..=max).contains(&value) {
                problems.push(format!("`{key}` is {value}; expected {min} to {max}"));
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
        problems
    }
}

fn list(place: &str, problems: &[String]) -> String {
    problems.iter().map(|problem| format!("{place}: {problem}")).collect::<Vec<_>>().join("\n")
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
    let from_env = error.metadata.as_ref().is_some_and(|metadata| metadata.name.contains("environment"));
    let keys: Vec<_> = error.path.iter().map(String::as_str).collect();
    let key = keys.join(".");
    let place = if from_env {
        format!("environment variable {ENV_PREFIX}{}", keys.join(ENV_SEPARATOR).to_uppercase())
    } else {
        path.to_owned()
    };
    match &error.kind {
        Kind::UnknownField(found, known) => {
            let nearest = nearest(found, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            let section = keys.split_last().map_or(String::new(), |(_, section)| section.join("."));
            let section = if section.is_empty() { "at the top level".into() } else { format!("in [{section}]") };
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
