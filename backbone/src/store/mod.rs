//! Redis, through redis-rs: which caller waits for a reply, and which gateway hears a label.
//!
//! One multiplexed connection a replica, whose driver runs as a task of the environment. Commands of one step travel as
//! one pipeline, so that a request costs one round trip. Every key expires: nothing here outlives its use.

mod correlations;
mod routes;

pub(crate) use correlations::{Caller, CorrelationKey};

use crate::{
    config,
    env::Env,
    redial::{DialError, Dialer, Redial, Unavailable},
    telemetry::Telemetry,
};
use redis::{
    AsyncConnectionConfig, FromRedisValue, Pipeline, ProtocolVersion, RedisConnectionInfo, aio::MultiplexedConnection,
};
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout_at};

/// Limit of one round trip. A lost segment comes back after TCP's first retransmission, 200 ms on Linux, or after the
/// second, 600 ms; a Redis that is silent for longer is taken for dead.
const RESPONSE_LIMIT: Duration = Duration::from_millis(700);
/// Limit of one step, with the wait for a connection. A router that is cut off from Redis gives up soon, so that another
/// can try; its dial goes on meanwhile.
const STEP_LIMIT: Duration = Duration::from_secs(2);

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
    },
    /// Redis failed, or refused the command.
    #[error("{doing}: {source}")]
    Redis {
        /// What was tried.
        doing: &'static str,
        /// redis-rs' reason.
        source: redis::RedisError,
    },
    /// What was read is nothing that this crate has written.
    #[error("{doing}: `{key}` holds `{value}`, which is not what belongs there; delete the key")]
    Corrupt {
        /// What was tried.
        doing: &'static str,
        /// Where.
        key: String,
        /// The first characters of it.
        value: String,
    },
}

/// One replica's connection to Redis.
pub(crate) struct Store<E: Env> {
    redial: Redial<E, RedisDialer<E>>,
}

struct RedisDialer<E> {
    env: E,
    host: String,
    port: u16,
    login: RedisConnectionInfo,
}

impl<E: Env> Store<E> {
    /// A store that connects at first use.
    pub(crate) fn new(env: &E, config: &config::Redis, telemetry: Arc<dyn Telemetry>) -> Self {
        let (host, port, login) = config.address().expect("the configuration was validated");
        // RESP3 would cost a handshake, and what it adds, pushes from the server, is not used here.
        let login = login.set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
        let dialer = RedisDialer { env: env.clone(), host, port, login };
        Self { redial: Redial::new(env.clone(), telemetry, dialer) }
    }

    /// Sends `pipeline` and reads its answer.
    async fn run<T: FromRedisValue>(&self, doing: &'static str, pipeline: &Pipeline) -> Result<T, StoreError> {
        let limit = Instant::now() + STEP_LIMIT;
        let mut line = self.redial.get(limit).await.map_err(|source| StoreError::Unavailable { doing, source })?;
        let answer = match timeout_at(limit, pipeline.query_async(&mut line.connection)).await {
            Ok(answer) => answer,
            Err(_) => Err(redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))),
        };
        answer.map_err(|source| {
            if source.is_io_error() || source.is_unrecoverable_error() {
                self.redial.broken(&line, &source.to_string());
            }
            StoreError::Redis { doing, source }
        })
    }
}

impl<E: Env> Dialer for RedisDialer<E> {
    type Connection = MultiplexedConnection;
    const BROKER: &'static str = "redis";

    async fn dial(&self) -> Result<MultiplexedConnection, DialError> {
        let stream = self.env.connect(&self.host, self.port).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_LIMIT));
        let (connection, driver) = MultiplexedConnection::new_with_config(&self.login, stream, config).await?;
        self.env.spawn("redis driver", driver);
        Ok(connection)
    }

    fn is_up(_: &MultiplexedConnection) -> bool {
        true // It can't be asked; the next command finds out.
    }
}
