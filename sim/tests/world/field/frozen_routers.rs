//! Routers that stand still (SIGSTOP, a paused container, a host that swaps) while their connections stay open.

use super::{Field, LABELS, label, run, task};
use backbone::config::Config;
use sim::broker::mqtt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The broker takes a member of a shared subscription for dead after one and a half keep-alives; the real one looks
/// every 5 s.
fn bound(config: &Config) -> Duration {
    Duration::from_millis(u64::from(config.mqtt.keep_alive_s) * 1_500)
}

#[test]
fn a_backward_router_that_stands_still_costs_tasks_two_tries_at_most_and_nothing_after_its_keep_alive() {
    run(mqtt::Config::default(), Config { ..Config::default() }, async |field: Field| {
        field.start_gateway(0, |_| {});
        field.start_services().await;
        let bound = bound(&field.config);
        let freeze = field.cluster.freeze("bck-0");
        let start = Instant::now();
        let mut dispatched = 0;
        while start.elapsed() < bound + Duration::from_secs(10) {
            let label = label(dispatched % LABELS);
            field.dispatch(vec![task(&format!("task-{dispatched}"), label, 1)]);
            dispatched += 1;
            sleep(Duration::from_secs(1)).await;
        }
        field.until_said("TaskDone", dispatched as usize).await;
        assert_eq!(field.said("TaskDeadLettered").len(), 0);
        let retried = field.said("TaskRetried");
        assert!(!retried.is_empty(), "it had a share of the replies");
        let worst = retried.iter().filter(|said| said.text.contains("attempt: 3")).count();
        assert_eq!(worst, 0, "{retried:#?}");
        let timeout = Duration::from_millis(field.config.task_worker.reply_timeout_ms);
        let last = retried.iter().map(|said| said.at - start).max().unwrap();
        assert!(last <= bound + timeout + Duration::from_secs(1), "{last:?}");
        // It goes on. What it still holds is old, and it takes its share again.
        assert!(field.cluster.end(freeze) > 0);
        sleep(Duration::from_secs(5)).await;
        let (before, done) = (retried.len(), field.said("TaskDone").len());
        field.dispatch((0..50).map(|i| task(&format!("again-{i}"), label(i % LABELS), 1)).collect());
        field.until_said("TaskDone", done + 50).await;
        assert_eq!(field.said("TaskRetried").len(), before);
        let returned = field.said("ReplyReturned");
        assert!(returned.iter().any(|said| said.pod == "bck-0" && said.at > start + bound), "it takes its share again");
    });
}

#[test]
fn a_forward_router_that_stands_still_loses_no_task_and_sends_nothing_old_when_it_goes_on() {
    run(mqtt::Config::default(), Config::default(), async |field: Field| {
        field.start_gateway(0, |_| {});
        field.start_services().await;
        let freeze = field.cluster.freeze("fwd-0");
        let start = Instant::now();
        field.dispatch((0..10).map(|i| task(&format!("task-{i}"), label(i), 1)).collect());
        field.until_said("TaskDone", 10).await;
        assert_eq!(field.said("TaskDeadLettered").len(), 0);
        sleep(Duration::from_secs(120).saturating_sub(start.elapsed())).await;
        let forwarded = field.said("RequestForwarded").len();
        assert!(field.cluster.end(freeze) > 0);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(field.said("RequestForwarded").len(), forwarded, "what it holds has expired");
        field.dispatch((0..10).map(|i| task(&format!("again-{i}"), label(20 + i), 1)).collect());
        field.until_said("TaskDone", 20).await;
    });
}
