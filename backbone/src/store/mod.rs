//! Redis, through redis-rs: which caller waits for a reply, and which gateway hears a label. Labels may be divided
//! among several servers (`shards`).
//!
//! One multiplexed connection a replica, whose driver runs as a task of the environment. Commands of one step travel as
//! one pipeline, so that a request costs one round trip. Every key expires: nothing here outlives its use.

mod correlations;
mod newest;
mod ranking;
mod refusal;
mod routes;
mod shards;

pub(crate) use correlations::{Caller, CorrelationKey};
pub(crate) use routes::{Destination, Way, report_limit};
pub(crate) use shards::Shards;

use crate::{
    answers::Answers,
    config,
    env::{Env, Task},
    reconnect::{DialError, Dialer, Reconnect, Unavailable},
    telemetry::{Event, Telemetry},
    tls::{self, Tls},
};
use redis::{
    Arg, AsyncConnectionConfig, FromRedisValue, Pipeline, ProtocolVersion, RedisConnectionInfo, RedisError,
    ServerError, aio::MultiplexedConnection,
};
use refusal::{REHEARSAL_LIMIT, Refusal, Refusals, Remedy};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};

/// Limit of one round trip. A lost segment comes back after TCP's first retransmission, 200 ms on Linux, or after the
/// second, 600 ms; a Redis that is silent for longer is taken for dead.
const RESPONSE_LIMIT: Duration = Duration::from_millis(700);
/// Limit of one step, with the wait for a connection. A router that is cut off from Redis gives up soon, so that
/// another can try; its dial goes on meanwhile.
const STEP_LIMIT: Duration = Duration::from_secs(2);
/// Who asks for readiness wants to know whether Redis answers now. An answer that is no older than this will do: a
/// request that finds it dead has time for no second try, and a PING costs little.
const QUIET: Duration = Duration::from_secs(1);
/// How much of a value that does not parse is reported, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Why the store could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// There was no connection.
    #[error("{doing}: {source}")]
    Unavailable {
        /// What was tried.
        doing: &'static str,
        /// What the dials met.
        source: Unavailable,
        /// Whether that is what Redis said, rather than that it said nothing.
        is_refusal: bool,
    },
    /// Redis failed.
    #[error("{doing}: redis: {source}")]
    Redis {
        /// What was tried.
        doing: &'static str,
        /// redis-rs' reason.
        source: redis::RedisError,
    },
    /// Redis refused a command.
    #[error("{doing}: redis: {}", refusal.words)]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        refusal: Refusal,
    },
}

impl StoreError {
    /// Whether Redis answered, and said no.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unavailable { is_refusal: true, .. })
    }

    /// Whether it would say no again.
    pub(crate) fn is_for_good(&self) -> bool {
        matches!(self, Self::Refused { refusal, .. } if refusal.is_for_good())
    }
}

/// One replica's connection to Redis.
pub(crate) struct Store {
    reconnect: Reconnect<RedisDialer>,
    refusals: Arc<Refusals>,
    telemetry: Arc<dyn Telemetry>,
}

/// A connection, with the task that reads from it, which ends with it.
#[derive(Clone)]
struct OpenConnection {
    connection: MultiplexedConnection,
    driver: Arc<Task>,
    /// It leads to the wrong server, or nowhere.
    given_up: Arc<AtomicBool>,
    answers: Arc<Answers>,
}

struct RedisDialer {
    env: Env,
    host: String,
    port: u16,
    tls: Option<Tls>,
    login: RedisConnectionInfo,
    refusals: Arc<Refusals>,
}

impl Store {
    /// A store that connects at first use.
    pub(crate) fn new(env: &Env, config: &config::Redis, telemetry: Arc<dyn Telemetry>) -> Self {
        let (host, port, login) = config.address().expect("the configuration was validated");
        // RESP3 would cost a handshake, and what it adds, pushes from the server, is not used here.
        let login = login.set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let (refusals, tls) = (Arc::<Refusals>::default(), config.tls());
        let dialer = RedisDialer { env: env.clone(), host, port, tls, login, refusals: refusals.clone() };
        Self { reconnect: Reconnect::new(env.clone(), telemetry.clone(), dialer), refusals, telemetry }
    }

    /// What `parse` makes of the `value` of `key`. Nothing is reported, and is as good as no value: trying again would
    /// find the same.
    fn parsed<T>(&self, key: &str, value: Option<Vec<u8>>, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let value = value?;
        let parsed = std::str::from_utf8(&value).ok().and_then(parse);
        if parsed.is_none() {
            self.report_corrupt(key, &String::from_utf8_lossy(&value));
        }
        parsed
    }

    fn report_corrupt(&self, key: &str, value: &str) {
        let value: String = value.chars().take(SHOWN_CHARS_MAX).collect();
        self.telemetry.record(&Event::CorruptValue { key, value: &value });
    }

    /// Sends `pipeline` and reads its answer. `None` if a key holds another type than it should; that is reported.
    async fn run<T: FromRedisValue>(&self, doing: &'static str, pipeline: &Pipeline) -> Result<Option<T>, StoreError> {
        self.run_until(Instant::now() + STEP_LIMIT, doing, pipeline).await
    }

    /// As [`Store::run`], with a wait for a connection until `give_up` at most.
    async fn run_until<T: FromRedisValue>(
        &self,
        give_up: Instant,
        doing: &'static str,
        pipeline: &Pipeline,
    ) -> Result<Option<T>, StoreError> {
        let limit = Instant::now() + STEP_LIMIT;
        let mut line = self.reconnect.get(limit.min(give_up)).await.map_err(|source| {
            let is_refusal = self.refusals.reason().is_some();
            StoreError::Unavailable { doing, source, is_refusal }
        })?;
        let answer = match timeout_at(limit, pipeline.query_async(&mut line.connection.connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        };
        let source = match answer {
            Ok(answer) => {
                self.refusals.overcome(doing);
                line.connection.answers.heard();
                return Ok(Some(answer));
            }
            Err(error) => error,
        };
        if source.clone().into_server_errors().is_some() {
            line.connection.answers.heard(); // a no is an answer
        }
        let of_another_type = keys_of_another_type(pipeline, &source);
        if !of_another_type.is_empty() {
            of_another_type.iter().for_each(|key| self.report_corrupt(key, "a value of another type"));
            return Ok(None);
        }
        if let Some(refusal) = Refusal::of(&source) {
            self.refusals.remember(doing, pipeline, &refusal);
            let detail = &format!("{doing}: {}", refusal.words);
            self.telemetry.record(&Event::Refused { broker: RedisDialer::BROKER, reason: refusal.reason, detail });
            if refusal.remedy == Remedy::Dial {
                self.reconnect.broken(&line, &refusal.words);
            }
            return Err(StoreError::Refused { doing, refusal });
        }
        if source.is_io_error() || source.is_unrecoverable_error() {
            self.reconnect.broken(&line, &source.to_string());
        }
        Err(StoreError::Redis { doing, source })
    }
}

/// The keys because of which `pipeline` failed, if their type was all that was wrong.
fn keys_of_another_type(pipeline: &Pipeline, error: &RedisError) -> Vec<String> {
    let errors = error.clone().into_server_errors();
    let errors = errors.iter().flat_map(|errors| errors.iter());
    let key = |(index, error): &(usize, ServerError)| {
        let command = pipeline.cmd_iter().nth(*index).filter(|_| error.code() == "WRONGTYPE")?;
        match command.args_iter().nth(1) {
            Some(Arg::Simple(key)) => Some(String::from_utf8_lossy(key).into_owned()),
            _ => None,
        }
    };
    errors.map(key).collect::<Option<_>>().unwrap_or_default()
}

impl Dialer for RedisDialer {
    type Connection = OpenConnection;
    const BROKER: &'static str = "redis";

    async fn dial(&self) -> Result<OpenConnection, DialError> {
        let stream = tls::connect(&self.env, &self.host, self.port, self.tls.as_ref()).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_LIMIT));
        let (mut connection, driver) = MultiplexedConnection::new_with_config(&self.login, stream, config).await?;
        let driver = Arc::new(self.env.spawn("redis driver", driver));
        if self.refusals.reason().is_some()
            && let Err(error) = timeout(REHEARSAL_LIMIT, self.refusals.rehearse(&mut connection)).await?
        {
            match Refusal::of(&error) {
                Some(refusal) if refusal.remedy == Remedy::Dial => return Err(refusal.words.into()),
                // It is the right server, and says so itself what it lacks.
                Some(_) => {}
                None => return Err(error.into()),
            }
        }
        Ok(OpenConnection { connection, driver, given_up: Arc::default(), answers: Arc::new(Answers::new(QUIET)) })
    }

    fn is_up(link: &OpenConnection) -> bool {
        !link.driver.is_finished() && !link.given_up.load(Relaxed)
    }

    fn stall(&self, link: &OpenConnection) -> Option<String> {
        let refused = self.refusals.reason();
        if let Some(question) = link.answers.question(refused.is_some()) {
            self.rehearse_in_background(link, question);
        }
        refused.or_else(|| link.answers.overdue("Redis"))
    }
}

#[cfg(test)]
mod tests;
