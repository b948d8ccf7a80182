use super::*;
use crate::{env::Env, telemetry::LogTelemetry};
use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

/// Fails its first dials; a connection is its number.
struct Flaky {
    failures: usize,
    dials: Arc<AtomicUsize>,
}

impl Dialer for Flaky {
    type Connection = usize;
    const BROKER: &'static str = "flaky";

    async fn dial(&self) -> Result<usize, DialError> {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let dial = self.dials.fetch_add(1, Relaxed);
        if dial < self.failures { Err("refused".into()) } else { Ok(dial) }
    }

    fn is_up(_: &usize) -> bool {
        true
    }
}

fn flaky(failures: usize) -> (Reconnect<Flaky>, Arc<AtomicUsize>) {
    let dials = Arc::new(AtomicUsize::new(0));
    (Reconnect::new(Env::tokio(), Arc::new(LogTelemetry::default()), Flaky { failures, dials: dials.clone() }), dials)
}

fn in_s(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[tokio::test(start_paused = true)]
async fn many_callers_share_one_dial() {
    let (reconnect, dials) = flaky(0);
    let callers = (0..50).map(|_| reconnect.get(in_s(1)));
    let lines = futures_util::future::join_all(callers).await;
    assert!(lines.iter().all(Result::is_ok));
    assert_eq!(dials.load(Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_waits_no_longer_than_its_deadline_and_learns_the_reason() {
    let (reconnect, _) = flaky(usize::MAX);
    let start = Instant::now();
    let error = reconnect.get(in_s(3)).await.map(|line| line.generation).unwrap_err();
    assert_eq!(start.elapsed(), Duration::from_secs(3));
    assert_eq!(error.to_string(), "no connection to flaky in time; last failure: refused");
}

#[tokio::test(start_paused = true)]
async fn dialling_goes_on_after_failures() {
    let (reconnect, dials) = flaky(3);
    assert_eq!(reconnect.get(in_s(10)).await.unwrap().connection, 3);
    assert_eq!(dials.load(Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_late_report_of_a_broken_connection_does_not_hit_its_successor() {
    let (reconnect, dials) = flaky(0);
    let old = reconnect.get(in_s(1)).await.unwrap();
    assert!(reconnect.broken(&old, "reset"));
    let new = reconnect.get(in_s(1)).await.unwrap();
    assert!(!reconnect.broken(&old, "reset again"));
    assert_eq!(reconnect.get(in_s(1)).await.unwrap().connection, new.connection);
    assert_eq!(dials.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn dialling_ends_when_nobody_wants_the_connection_any_more() {
    let (reconnect, dials) = flaky(usize::MAX);
    let _ = reconnect.get(in_s(1)).await;
    drop(reconnect);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let dials_then = dials.load(Relaxed);
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(dials.load(Relaxed), dials_then);
}
