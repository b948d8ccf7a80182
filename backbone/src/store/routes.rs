//! Routes: which gateway hears a label best.
//!
//! One hash a label, with a field for each gateway that hears it. A gateway's report sets only its own fields, so that
//! concurrent writers can't lose each other's reports. A hash expires as a whole once no gateway has reported its label
//! for as long as a route is fresh; fields of gateways that stopped hearing a label are passed over meanwhile.

use super::{Caller, CorrelationKey, Store, StoreError};
use crate::{
    config::{Routing, RoutingMode},
    deadline::{Deadline, unix_ms},
    env::Env,
    message::{Mac, Request, RssiReport},
};
use redis::Pipeline;
use std::{cmp::Reverse, collections::BTreeMap};

/// The one route of fixed routing: a gateway's address.
const DEFAULT_ROUTE_KEY: &str = "shelfwire:route:default";
/// Labels of one report that travel in one pipeline: bounds what a router holds in memory, and for how long Redis, which
/// does one thing at a time, makes others wait.
const LABELS_PER_BATCH: usize = 256;

fn key(esl: Mac) -> String {
    format!("shelfwire:route:{esl}")
}

/// The strongest of the routes that are fresh at `now_unix_ms`; of equally strong ones the gateway with the lower address.
fn best(fields: &BTreeMap<String, String>, now_unix_ms: u64, fresh_ms: u64) -> Option<Mac> {
    let fresh = fields.iter().filter_map(|(gateway, value)| {
        let (rssi, heard_unix_ms) = value.split_once(' ')?;
        let (gateway, rssi) = (gateway.parse::<Mac>().ok()?, rssi.parse::<i8>().ok()?);
        // In either direction: a gateway whose clock is wrong must not win for ever.
        (heard_unix_ms.parse::<u64>().ok()?.abs_diff(now_unix_ms) <= fresh_ms).then_some((rssi, gateway))
    });
    fresh.max_by_key(|(rssi, gateway)| (*rssi, Reverse(*gateway))).map(|(_, gateway)| gateway)
}

impl<E: Env> Store<E> {
    /// Remembers who waits for the reply to `request`, and looks up where it has to go: one round trip.
    ///
    /// # Errors
    /// [`StoreError`]; the caller may be remembered all the same.
    pub(crate) async fn remember_and_route(
        &self,
        env: &E,
        config: &Routing,
        request: &Request,
        (key, caller): (CorrelationKey, &Caller),
        deadline: Deadline,
    ) -> Result<Option<Mac>, StoreError> {
        let mut pipeline = Pipeline::with_capacity(2);
        caller.remember(&mut pipeline, key, deadline.left_ms());
        self.run_and_route("store a correlation and read a route", env, config, request, pipeline).await
    }

    /// Looks up where `request` has to go.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn route(&self, env: &E, config: &Routing, request: &Request) -> Result<Option<Mac>, StoreError> {
        self.run_and_route("read a route", env, config, request, Pipeline::with_capacity(1)).await
    }

    /// Sends `pipeline`, whose answers are of no interest, with the look-up behind it.
    async fn run_and_route(
        &self,
        doing: &'static str,
        env: &E,
        config: &Routing,
        request: &Request,
        mut pipeline: Pipeline,
    ) -> Result<Option<Mac>, StoreError> {
        match config.mode {
            RoutingMode::Rssi => {
                pipeline.cmd("HGETALL").arg(self::key(request.esl_mac));
                let (fields,): (BTreeMap<String, String>,) = self.run(doing, &pipeline).await?;
                Ok(best(&fields, unix_ms(env), config.route_fresh_ms))
            }
            RoutingMode::Fixed => {
                pipeline.cmd("GET").arg(DEFAULT_ROUTE_KEY);
                let (value,): (Option<String>,) = self.run(doing, &pipeline).await?;
                let Some(value) = value else { return Ok(None) };
                value.parse().map(Some).map_err(|_| StoreError::Corrupt {
                    doing,
                    key: DEFAULT_ROUTE_KEY.into(),
                    value: value.chars().take(80).collect(),
                })
            }
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
        let gateway = gateway.to_string();
        for labels in report.labels.chunks(LABELS_PER_BATCH) {
            let mut pipeline = Pipeline::with_capacity(2 * labels.len());
            for (esl, rssi) in labels {
                let key = key(*esl);
                let value = format!("{rssi} {}", report.heard_unix_ms);
                pipeline.cmd("HSET").arg(&key).arg(&gateway).arg(value).ignore();
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

    const NOW: u64 = 1_000_000;
    const A: &str = "00:00:00:00:00:0A";
    const B: &str = "00:00:00:00:00:0B";

    fn choose(fields: &[(&str, String)]) -> Option<String> {
        let fields = fields.iter().map(|(gateway, value)| ((*gateway).to_owned(), value.clone())).collect();
        best(&fields, NOW, 6_000).map(|gateway| gateway.to_string())
    }

    fn heard(rssi: i8, ago_ms: i64) -> String {
        format!("{rssi} {}", NOW.checked_add_signed(-ago_ms).unwrap())
    }

    #[test]
    fn the_strongest_fresh_route_wins() {
        assert_eq!(choose(&[(A, heard(-70, 0)), (B, heard(-60, 5_999))]).as_deref(), Some(B));
    }

    #[test]
    fn a_stale_route_loses_however_strong() {
        assert_eq!(choose(&[(A, heard(-90, 6_000)), (B, heard(-20, 6_001))]).as_deref(), Some(A));
        assert_eq!(choose(&[(B, heard(-20, 6_001))]), None);
    }

    #[test]
    fn a_route_from_the_future_is_no_route() {
        assert_eq!(choose(&[(A, heard(-20, -6_001))]), None);
    }

    #[test]
    fn equally_strong_routes_are_decided_by_address() {
        assert_eq!(choose(&[(B, heard(-60, 0)), (A, heard(-60, 0))]).as_deref(), Some(A));
    }

    #[test]
    fn fields_that_do_not_parse_are_passed_over() {
        assert_eq!(choose(&[("gateway", heard(-10, 0)), (A, "-10".into()), (B, heard(-99, 0))]).as_deref(), Some(B));
        assert_eq!(choose(&[]), None);
    }
}
