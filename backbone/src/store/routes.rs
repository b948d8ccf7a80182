//! Routes: which gateways hear a label, and how well. In which order they are asked is in `ranking`.
//!
//! One hash a label, with a field for each gateway that hears it. A gateway's report sets only its own fields, so that
//! concurrent writers can't lose each other's reports. A hash expires as a whole once no gateway has reported its label
//! for as long as a route is fresh. Fields of gateways that stopped hearing a label are passed over, and removed by
//! whoever looks a route up long afterwards; those of labels that nobody asks for stay while another gateway keeps
//! their hash alive, at most one for each gateway that ever heard the label, or four with smoothing.

use super::{
    Caller, CorrelationKey, STEP_LIMIT, Store, StoreError,
    newest::{self, Versions},
    ranking::{self, HELD_FIELD, Lookup, look_up},
};
use crate::{
    config::{Routing, RoutingMode},
    deadline::Deadline,
    env::Env,
    message::{DEFAULT_ROUTE_KEY, Mac, Request, RssiReport},
};
use redis::{Pipeline, Value};
use std::time::Duration;
use tokio::time::Instant;

/// Labels of one report that travel in one pipeline: bounds what a router holds in memory, and for how long Redis,
/// which does one thing at a time, makes others wait.
const LABELS_PER_BATCH: usize = 256;

fn key(esl: Mac) -> String {
    format!("shelfwire:route:{esl}")
}

/// Where a request has to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// One of these ways, the best first. Empty: nobody knows any.
    Ways(Vec<Way>),
    /// Nowhere: a newer command was accepted for its label.
    Outranked {
        /// That one's version.
        newest: u64,
    },
}

/// A way to a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) gateway: Mac,
    /// When the gateway heard the label, in milliseconds since 1970, if that is how the way is known.
    pub(crate) heard_unix_ms: Option<u64>,
}

/// Until when a report of `heard_unix_ms` may be written; `None` if that is over, or if it comes from the future.
///
/// Half the time that a route is fresh: while a router could not reach the store, another may have written a later
/// report of this gateway. What an older one overwrites is then still fresh for the other half, until the gateway's
/// next report.
pub(crate) fn report_limit(env: &Env, config: &Routing, heard_unix_ms: u64) -> Option<Instant> {
    let (now_unix_ms, limit_ms) = (env.unix_ms(), config.route_fresh_ms / 2);
    let left_ms = heard_unix_ms.saturating_add(limit_ms).checked_sub(now_unix_ms)?;
    (left_ms <= 2 * limit_ms).then(|| Instant::now() + Duration::from_millis(left_ms.min(limit_ms)))
}

impl Store {
    /// Remembers up to its deadline who waits for the reply to `request`, and looks up where it may go, the best way
    /// first: one round trip, for a connection to which it waits until `give_up` at most.
    ///
    /// # Errors
    /// [`StoreError`]; the caller may be remembered all the same.
    pub(crate) async fn remember_and_route(
        &self,
        env: &Env,
        config: &Routing,
        request: &Request,
        (key, caller): (CorrelationKey, &Caller),
        (deadline, give_up): (Deadline, Instant),
    ) -> Result<Destination, StoreError> {
        let mut pipeline = Pipeline::with_capacity(5);
        caller.remember(&mut pipeline, key, deadline.left_ms());
        self.run_and_route("store a correlation and read a route", env, config, request, (pipeline, give_up)).await
    }

    /// Looks up where `request` may go, the best way first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn route(
        &self,
        env: &Env,
        config: &Routing,
        request: &Request,
    ) -> Result<Destination, StoreError> {
        let no_limit = Instant::now() + STEP_LIMIT;
        self.run_and_route("read a route", env, config, request, (Pipeline::with_capacity(4), no_limit)).await
    }

    /// Sends `pipeline`, whose answers are of no interest, with the look-ups behind it.
    async fn run_and_route(
        &self,
        doing: &'static str,
        env: &Env,
        config: &Routing,
        request: &Request,
        (mut pipeline, give_up): (Pipeline, Instant),
    ) -> Result<Destination, StoreError> {
        let esl = request.esl_mac;
        if config.newest_wins {
            newest::accept(&mut pipeline, esl, request.version);
        }
        let (read, key_of_route) = match config.mode {
            RoutingMode::Rssi | RoutingMode::Random | RoutingMode::LastHeard => ("HGETALL", key(esl)),
            RoutingMode::Fixed => ("GET", DEFAULT_ROUTE_KEY.to_owned()),
        };
        pipeline.cmd(read).arg(key_of_route);
        let Some(mut answers) = self.run_until::<Vec<Value>>(give_up, doing, &pipeline).await? else {
            return Ok(Destination::Ways(Vec::new()));
        };
        let of_another_kind = |source| StoreError::Redis { doing, source };
        let route = answers.pop().unwrap_or(Value::Nil);
        let ways = match config.mode {
            RoutingMode::Rssi | RoutingMode::Random | RoutingMode::LastHeard => {
                let fields = redis::from_redis_value(route).map_err(|error| of_another_kind(error.into()))?;
                let Lookup { ways, forgotten, held } = look_up(fields, env.unix_ms(), config, request);
                self.remove("remove old routes", &key(esl), &forgotten).await;
                if let Some(held) = held {
                    self.hold(config, &key(esl), &held).await;
                }
                ways
            }
            RoutingMode::Fixed => {
                let value = redis::from_redis_value(route).map_err(|error| of_another_kind(error.into()))?;
                let gateway = self.parsed(DEFAULT_ROUTE_KEY, value, |text| text.parse().ok());
                gateway.map(|gateway| Way { gateway, heard_unix_ms: None }).into_iter().collect()
            }
        };
        if let (true, Some(versions)) = (config.newest_wins, answers.pop()) {
            let versions = redis::from_redis_value(versions).map_err(|error| of_another_kind(error.into()))?;
            let versions = Versions::read(versions);
            if let Some(newest) = versions.newest().filter(|newest| *newest > request.version) {
                return Ok(Destination::Outranked { newest });
            }
            let useless = if ways.is_empty() {
                // It will not be sent, so it is not accepted. Another try of it may be.
                self.take_back(request).await;
                versions.taken_back()
            } else {
                versions.outranked_by(request.version)
            };
            self.remove("remove old versions", &newest::key(esl), &useless).await;
        }
        Ok(Destination::Ways(ways))
    }

    /// Removes `fields`: a round trip more, but only for the first request after they have become of no use.
    async fn remove(&self, doing: &'static str, key: &str, fields: &[Vec<u8>]) {
        if !fields.is_empty() {
            let mut pipeline = Pipeline::with_capacity(1);
            pipeline.cmd("HDEL").arg(key).arg(fields).ignore();
            if let Err(error) = self.run::<()>(doing, &pipeline).await {
                tracing::debug!(%error, "the next look-up removes them");
            }
        }
    }

    /// Undoes that `request` was accepted: a round trip more, and only for one without a route.
    async fn take_back(&self, request: &Request) {
        let mut pipeline = Pipeline::with_capacity(2);
        newest::take_back(&mut pipeline, request.esl_mac, request.version);
        if let Err(error) = self.run::<()>("take back a version", &pipeline).await {
            tracing::debug!(%error, "it outranks older ones although it is not sent");
        }
    }

    /// Remembers by which gateway the label of `key` is reached: a round trip more, but only when that changes.
    async fn hold(&self, config: &Routing, key: &str, held: &str) {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("HSET").arg(key).arg(HELD_FIELD).arg(held).ignore();
        // The hash may have expired meanwhile.
        pipeline.cmd("PEXPIRE").arg(key).arg(config.route_fresh_ms).ignore();
        if let Err(error) = self.run::<()>("hold on to a gateway", &pipeline).await {
            tracing::debug!(%error, "the next look-up remembers it");
        }
    }

    /// Writes a report of `gateway` into the table.
    ///
    /// # Errors
    /// [`StoreError`]; a part of the report may be written. Writing it again does no harm.
    pub(crate) async fn store_report(
        &self,
        config: &Routing,
        gateway: Mac,
        report: &RssiReport,
    ) -> Result<(), StoreError> {
        let field = ranking::field(config, gateway, report.heard_unix_ms);
        for labels in report.labels.chunks(LABELS_PER_BATCH) {
            let mut pipeline = Pipeline::with_capacity(2 * labels.len());
            for (esl, rssi) in labels {
                let key = key(*esl);
                let value = format!("{rssi} {}", report.heard_unix_ms);
                pipeline.cmd("HSET").arg(&key).arg(&field).arg(value).ignore();
                pipeline.cmd("PEXPIRE").arg(&key).arg(config.route_fresh_ms).ignore();
            }
            self.run::<()>("store an RSSI report", &pipeline).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::memory::memory_env;

    #[tokio::test(start_paused = true)]
    async fn a_report_may_be_written_for_half_the_time_that_it_is_fresh() {
        let (env, config) = (memory_env(), Routing::default());
        let limit = |ago_ms: i64| {
            let heard_unix_ms = env.unix_ms().checked_add_signed(-ago_ms).unwrap();
            report_limit(&env, &config, heard_unix_ms).map(|limit| (limit - Instant::now()).as_millis())
        };
        assert_eq!((limit(0), limit(1_000), limit(3_000), limit(3_001)), (Some(3_000), Some(2_000), Some(0), None));
        assert_eq!((limit(-3_000), limit(-3_001)), (Some(3_000), None), "the gateway's clock is fast");
    }
}
