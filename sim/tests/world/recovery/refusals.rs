//! Redis and Mosquitto refuse what they are told, over connections that live.

use super::{World, becomes_ready, becomes_unready, counts, run};
use crate::malformed_input::dead_letter;
use backbone::config::Config;
use sim::broker::{mqtt::Rights, redis::Condition};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// What Redis says in a condition, and what that is called in metrics.
const CONDITIONS: [(Condition, &str, &str); 8] = [
    (Condition::OutOfMemory, "OOM command not allowed", "oom"),
    (Condition::ReadOnly, "READONLY You can't write", "readonly"),
    (Condition::Loading, "LOADING Redis is loading", "loading"),
    (Condition::CannotSave, "MISCONF Redis is configured", "misconf"),
    (Condition::InCluster, "MOVED ", "moved"),
    (Condition::ClusterDown, "CLUSTERDOWN The cluster is down", "clusterdown"),
    (Condition::LoginWanted, "NOAUTH Authentication required", "noauth"),
    (Condition::NoRights, "NOPERM this user has no permissions", "noperm"),
];

/// One try, so that it ends soon.
fn one_try(config: &mut Config) {
    (config.task_worker.attempts_max, config.task_worker.reply_timeout_ms) = (1, 5_000);
}

/// The next dead letter: reason and detail, and after how long it is there.
async fn fails(world: &World) -> (String, String, Duration) {
    let since = Instant::now();
    world.dispatch("bad", 1).await;
    while world.amqp.queue_depth("task_queue.dead") == Some(0) {
        sleep(Duration::from_millis(50)).await;
        assert!(since.elapsed() < Duration::from_secs(20), "no dead letter");
    }
    let (_, header) = dead_letter(&world.channel).await;
    (header("x-reason"), header("x-detail"), since.elapsed())
}

#[test]
fn what_redis_refuses_is_named_in_readiness_metric_and_dead_letter_and_forgotten_when_it_is_over() {
    for (condition, words, name) in CONDITIONS {
        run(one_try, async move |world: World| {
            world.redis.fall_into(condition);
            let (reason, detail, _) = fails(&world).await;
            assert_eq!(reason, "broker_refused", "{detail}");
            assert!(detail.contains("redis") && detail.contains(words), "{detail}");
            becomes_unready(&world.fwd_router, words).await;
            counts(&world.fwd_router, &format!("backbone_refusals_total{{broker=\"redis\",reason=\"{name}\"}}"), 1);
            assert!(world.notes.refused.lock().unwrap().iter().any(|said| said.contains(words)));
            world.redis.fall_into(Condition::Well);
            // No work is needed for that.
            becomes_ready(&world.fwd_router).await;
            becomes_ready(&world.bck_router).await;
            let good = world.dispatch_five(2).await;
            world.all_done(&good, Duration::from_secs(10)).await;
        });
    }
}

#[test]
fn a_redis_of_a_cluster_is_dialled_at_growing_intervals_and_not_once_for_each_request() {
    run(one_try, async |world: World| {
        world.redis.fall_into(Condition::InCluster);
        for label in 1..=20 {
            world.dispatch(&format!("t{label}"), label).await;
            sleep(Duration::from_secs(3)).await;
        }
        let text = world.fwd_router.metrics.to_text();
        let dials = text.lines().find_map(|line| line.strip_prefix("backbone_disconnects_total{broker=\"redis\"} "));
        let dials: u32 = dials.unwrap().parse().unwrap();
        assert!((10..40).contains(&dials), "{dials} in a minute");
    });
}

#[test]
fn a_redis_without_memory_for_a_moment_delays_a_task_and_costs_it_no_try() {
    run(one_try, async |world: World| {
        world.redis.fall_into(Condition::OutOfMemory);
        world.dispatch("late", 1).await;
        sleep(Duration::from_millis(1_800)).await;
        world.redis.fall_into(Condition::Well);
        world.all_done(&["late".into()], Duration::from_secs(3)).await;
        let handed_back = world.notes.handed_back.lock().unwrap();
        let pauses: Vec<_> =
            handed_back.windows(2).map(|two| (two[1].0 - two[0].0).as_millis().next_multiple_of(100)).collect();
        assert!(handed_back.len() >= 2 && pauses.iter().all(|pause| *pause > 1_000), "they grow: {handed_back:?}");
        assert!(handed_back.iter().all(|(_, why)| why.contains("OOM")), "{handed_back:?}");
    });
}

#[test]
fn a_request_that_mosquitto_refuses_for_good_is_answered_at_once_with_its_reason() {
    run(one_try, async |world: World| {
        world.mqtt.restrict(Rights { no_publish: vec!["/gw/+/action".into()], ..Rights::default() });
        let (reason, detail, took) = fails(&world).await;
        assert_eq!(reason, "broker_refused", "{detail}");
        assert!(detail.contains("publish to `/gw/") && detail.contains("NotAuthorized"), "{detail}");
        assert!(took < Duration::from_secs(1), "{took:?}");
        counts(&world.fwd_router, "backbone_refusals_total{broker=\"mqtt\",reason=\"not_authorized\"}", 1);
        counts(&world.worker, "backbone_tasks_dead_lettered_total{reason=\"broker_refused\"}", 1);
        becomes_unready(&world.fwd_router, "NotAuthorized").await;
        world.mqtt.restrict(Rights::default());
        let good = world.dispatch_five(2).await;
        world.all_done(&good, Duration::from_secs(3)).await;
        becomes_ready(&world.fwd_router).await;
    });
}

#[test]
fn a_refused_publish_is_forgotten_when_nobody_has_tried_again() {
    run(one_try, async |world: World| {
        world.mqtt.restrict(Rights { no_publish: vec!["/gw/+/action".into()], ..Rights::default() });
        fails(&world).await;
        becomes_unready(&world.fwd_router, "NotAuthorized").await;
        sleep(Duration::from_secs(30)).await;
        becomes_ready(&world.fwd_router).await;
    });
}
