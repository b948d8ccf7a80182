//! The same over HTTP: who refused a request is in the router's answer, and from there in the dead letter.

use super::{becomes_ready, becomes_unready, run_over_http};
use crate::malformed_input::dead_letter;
use backbone::config::Config;
use sim::broker::{mqtt::Rights, redis::Condition};
use std::time::Duration;
use tokio::time::sleep;

fn one_try(config: &mut Config) {
    (config.task_worker.attempts_max, config.task_worker.reply_timeout_ms) = (1, 5_000);
}

#[test]
fn a_dead_letter_of_a_worker_over_http_names_the_broker_that_refused_and_what_it_said() {
    run_over_http(one_try, async |world| {
        let router = &world.http_router;
        becomes_ready(router).await;
        for (condition, words) in [(Condition::NoRights, "NOPERM"), (Condition::InCluster, "MOVED")] {
            world.redis.fall_into(condition);
            world.dispatch("bad", 1).await;
            sleep(Duration::from_secs(10)).await;
            let (_, header) = dead_letter(&world.channel).await;
            assert_eq!(header("x-reason"), "broker_refused", "{}", header("x-detail"));
            assert!(header("x-detail").contains(words), "{}", header("x-detail"));
            becomes_unready(router, words).await;
            world.redis.fall_into(Condition::Well);
            becomes_ready(router).await;
        }
        world.mqtt.restrict(Rights { no_publish: vec!["/gw/+/action".into()], ..Rights::default() });
        sleep(Duration::from_secs(5)).await; // for fresh routes
        world.dispatch("bad", 1).await;
        sleep(Duration::from_secs(1)).await;
        let (_, header) = dead_letter(&world.channel).await;
        assert_eq!(header("x-reason"), "broker_refused", "{}", header("x-detail"));
        assert!(header("x-detail").contains("NotAuthorized"), "{}", header("x-detail"));
    });
}
