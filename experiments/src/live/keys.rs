//! The keys of Redis before and after a run.

use anyhow::{Context, anyhow, bail};
use backbone::{
    config,
    env::{DIAL_LIMIT, Env, TaskGuard},
    message::DEFAULT_ROUTE_KEY,
    tls,
};
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, aio::MultiplexedConnection, cmd};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;

/// All keys of a backbone, those of this module included.
const PATTERN: &str = "shelfwire:*";
/// Where the default route that was there before waits for the end of the run: in Redis, so that it outlives a bench
/// that is killed.
pub(super) const SAVED_ROUTE_KEY: &str = "shelfwire:bench:route:default";
/// How much longer than it may work a run can have its default route: for what comes before and after.
const ROUTE_MARGIN: Duration = Duration::from_secs(10 * 60);
/// Keys that Redis looks at before it lets others have their turn.
const KEYS_PER_SCAN: usize = 1_000;
/// Limit of an answer. One to SCAN takes Redis less than a millisecond.
const RESPONSE_LIMIT: Duration = Duration::from_secs(5);

/// A connection to Redis that looks after a run's keys.
pub(super) struct Keys {
    connection: MultiplexedConnection,
    _driver: TaskGuard,
}

impl Keys {
    /// # Errors
    /// When Redis can't be reached or refuses the login.
    pub(super) async fn open(redis: &config::Redis) -> anyhow::Result<Self> {
        let open = async {
            let (host, port, login) = redis.address().map_err(anyhow::Error::msg)?;
            let stream = tls::connect(&Env::tokio(), &host, port, redis.tls().as_ref()).await?;
            let settings = AsyncConnectionConfig::new().set_response_timeout(Some(RESPONSE_LIMIT));
            let (connection, driver) = MultiplexedConnection::new_with_config(&login, stream, settings).await?;
            anyhow::Ok(Self { connection, _driver: Env::tokio().spawn("redis driver", driver).into() })
        };
        let opened = timeout(DIAL_LIMIT, open).await.unwrap_or_else(|_| Err(anyhow!("not within {DIAL_LIMIT:?}")));
        opened.context("connecting to Redis")
    }

    /// Makes sure that nobody else works with this database.
    ///
    /// # Errors
    /// When there are keys of a backbone, or Redis does not answer.
    pub(super) async fn check_unused(&mut self) -> anyhow::Result<()> {
        let found = self.find(1).await?;
        let Some(key) = found.first() else { return Ok(()) };
        bail!(
            "Redis has `{}`, so another backbone works with this database, or a run with it was killed less than a \
             minute ago. A run deletes such keys at the end: name another database, as in --redis redis://HOST:PORT/1",
            String::from_utf8_lossy(key)
        );
    }

    /// Does what an operator of fixed routing does once: names the one gateway. A default route that is there already
    /// is put aside. That of a bench that gets killed expires, some time after `run_limit`.
    ///
    /// # Errors
    /// When Redis does not answer or refuses.
    pub(super) async fn set_default_route(&mut self, gateway: &str, run_limit: Duration) -> anyhow::Result<()> {
        // One that is aside already is the user's; what stands in its place is of a run that was killed.
        if !self.exists(SAVED_ROUTE_KEY).await? && self.exists(DEFAULT_ROUTE_KEY).await? {
            self.ask::<()>(cmd("RENAME").arg(DEFAULT_ROUTE_KEY).arg(SAVED_ROUTE_KEY)).await?;
        }
        let limit_ms =
            u64::try_from((run_limit + ROUTE_MARGIN).as_millis()).expect("a run's limit is far below 2^64 ms");
        self.ask(cmd("SET").arg(DEFAULT_ROUTE_KEY).arg(gateway).arg("PX").arg(limit_ms)).await
    }

    /// Deletes a run's keys and puts the default route back that was there before it; `has_default_route`: the run had
    /// one.
    ///
    /// # Errors
    /// When Redis does not answer or refuses.
    pub(super) async fn give_back(&mut self, has_default_route: bool) -> anyhow::Result<()> {
        for key in self.find(usize::MAX).await? {
            self.ask::<()>(cmd("DEL").arg(key)).await?;
        }
        if self.exists(SAVED_ROUTE_KEY).await? {
            self.ask::<()>(cmd("RENAME").arg(SAVED_ROUTE_KEY).arg(DEFAULT_ROUTE_KEY)).await?;
        } else if has_default_route {
            self.ask::<()>(cmd("DEL").arg(DEFAULT_ROUTE_KEY)).await?;
        }
        Ok(())
    }

    /// The keys of a backbone but for the default routes: all that expire by themselves. Stops soon after `count`.
    async fn find(&mut self, count: usize) -> anyhow::Result<BTreeSet<Vec<u8>>> {
        let lasting = [DEFAULT_ROUTE_KEY.as_bytes(), SAVED_ROUTE_KEY.as_bytes()];
        let (mut cursor, mut found) = (0_u64, BTreeSet::new());
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(PATTERN).arg("COUNT").arg(KEYS_PER_SCAN);
            let (next, keys): (u64, Vec<Vec<u8>>) = self.ask(&scan).await?;
            found.extend(keys.into_iter().filter(|key| !lasting.contains(&key.as_slice())));
            if next == 0 || found.len() >= count {
                return Ok(found);
            }
            cursor = next;
        }
    }

    async fn exists(&mut self, key: &str) -> anyhow::Result<bool> {
        self.ask(cmd("EXISTS").arg(key)).await
    }

    async fn ask<T: FromRedisValue>(&mut self, command: &Cmd) -> anyhow::Result<T> {
        let answer = command.query_async(&mut self.connection).await;
        answer.with_context(|| {
            let word = command.args_iter().next();
            let word = word.and_then(|word| if let redis::Arg::Simple(word) = word { Some(word) } else { None });
            format!("{} in Redis", String::from_utf8_lossy(word.unwrap_or_default()))
        })
    }
}
