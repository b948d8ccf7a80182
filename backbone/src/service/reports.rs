//! What routers do with what gateways publish: RSSI reports into the routing table, and the patience that goes with it.

use super::{
    clocks::{Clocks, Made},
    settle::Pause,
};
use crate::{
    config::Routing,
    env::Env,
    message::{LeftOut, RssiReport, gateway_of_topic},
    mqtt::Incoming,
    store::{Shards, report_limit},
    telemetry::{DropReason, Dropped, Event, Telemetry, bounded},
};
use futures_util::future::try_join_all;
use std::{future::Future, time::Duration};
use tokio::time::{Instant, timeout_at};

/// How long a router tries to write a report, if that is worth something for longer: a Redis that is gone for good must
/// not fill its hands. What is dropped then comes again with the gateway's next report of the label.
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes a report into the routing table.
///
/// # Errors
/// Why it was dropped instead.
pub(super) async fn store_report(
    env: &Env,
    store: &Shards,
    routing: &Routing,
    clocks: &Clocks,
    telemetry: &dyn Telemetry,
    message: &Incoming,
) -> Result<(), Dropped> {
    let topic = std::str::from_utf8(&message.topic).ok();
    let gateway = topic.and_then(gateway_of_topic).ok_or_else(|| malformed(message, &"no gateway in the topic"))?;
    let (mut report, left_out) =
        RssiReport::parse_foreign(&message.payload).map_err(|error| malformed(message, &error))?;
    tell_left_out(telemetry, message, &left_out);
    report.heard_unix_ms = match clocks.made(env, routing, gateway, report.heard_unix_ms) {
        Made::At { unix_ms, ahead_ms } => {
            if let Some(ahead_ms) = ahead_ms {
                telemetry.record(&Event::ClockOff { gateway, ahead_ms });
            }
            unix_ms
        }
        Made::TooLongAgo { lag_ms } => {
            let detail = format!("the report of gateway {gateway} is {lag_ms} ms old by its clock");
            return Err(Dropped { reason: DropReason::Expired, detail });
        }
    };
    let limit = report_limit(env, routing, report.heard_unix_ms).ok_or(DropReason::Expired)?;
    let (give_up, labels) = (limit.min(Instant::now() + PATIENCE), report.labels.len());
    // Each server gets its part at once, and one that is gone keeps nobody else's.
    let parts = store.parts(report);
    try_join_all(parts.iter().map(|(store, part)| retry(give_up, || store.store_report(routing, gateway, part))))
        .await?;
    telemetry.record(&Event::RoutesStored { gateway, labels });
    Ok(())
}

/// Says what of a gateway's message makes no sense to us, if there is anything.
pub(super) fn tell_left_out(telemetry: &dyn Telemetry, message: &Incoming, left_out: &LeftOut) {
    let &LeftOut { parts, ref example } = left_out;
    if parts > 0 {
        let gateway = std::str::from_utf8(&message.topic).ok().and_then(gateway_of_topic);
        telemetry.record(&Event::LeftOut { gateway, parts, example });
    }
}

/// Tries `step` again until `give_up`. The message stays unacknowledged meanwhile, and is worthless afterwards.
///
/// # Errors
/// [`DropReason::Expired`], with what the last try met.
pub(super) async fn retry<T, X, F>(give_up: Instant, step: impl Fn() -> F) -> Result<T, Dropped>
where
    X: std::fmt::Display,
    F: Future<Output = Result<T, X>>,
{
    let (mut pause, mut last_failure) = (Pause::in_time(), String::new());
    let tries = async {
        loop {
            match step().await {
                Ok(done) => return done,
                Err(error) => last_failure = bounded(&error),
            }
            tracing::info!(last_failure, "trying again");
            pause.wait().await;
        }
    };
    let outcome = timeout_at(give_up, tries).await;
    outcome.map_err(|_| Dropped { reason: DropReason::Expired, detail: last_failure })
}

/// Says what is wrong with a message.
pub(super) fn malformed(message: &Incoming, error: &dyn std::fmt::Display) -> Dropped {
    Dropped::malformed(format_args!("{}: {error}", String::from_utf8_lossy(&message.topic)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_fails_or_hangs_is_given_up_in_time() {
        let (start, limit) = (Instant::now(), Duration::from_millis(1_234));
        let expired = |detail: &str| Err(Dropped { reason: DropReason::Expired, detail: detail.into() });
        let refused = retry(start + limit, || async { Err::<(), _>("refused") }).await;
        assert_eq!((refused, start.elapsed()), (expired("refused"), limit));
        let hung = retry(Instant::now() + limit, std::future::pending::<Result<(), &str>>).await;
        assert_eq!((hung, start.elapsed()), (expired(""), 2 * limit));
    }
}
