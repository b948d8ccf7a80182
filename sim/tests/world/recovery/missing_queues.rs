//! Queues that vanish while services hold connections.

use super::{World, becomes_ready, becomes_unready, counts, run, until};
use crate::malformed_input::{dead_letter, publish};
use backbone::{
    config::Config,
    message::{Message as _, ROUTING_QUEUE, TASK_QUEUE, Task, dead_letter_queue, retry_queue},
    service::Dispatcher,
    telemetry::FanOut,
};
use lapin::{
    BasicProperties,
    options::{QueueDeclareOptions, QueuePurgeOptions},
    types::FieldTable,
};
use sim::broker::redis::Condition;
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const SECONDS: Duration = Duration::from_secs(3);

fn as_it_is(_: &mut Config) {}

#[test]
fn a_dead_letter_queue_that_was_deleted_is_declared_again_and_nothing_waits_behind_what_needs_it() {
    run(as_it_is, async |world: World| {
        world.delete(&dead_letter_queue()).await;
        publish(&world.channel, TASK_QUEUE, b"nonsense", BasicProperties::default()).await;
        let good = world.dispatch_five(1).await;
        world.all_done(&good, SECONDS).await;
        let (body, header) = dead_letter(&world.channel).await;
        assert_eq!((body.as_slice(), header("x-reason").as_str()), (&b"nonsense"[..], "malformed"));
        counts(&world.worker, "backbone_queues_missing_total", 1);
        assert_eq!(*world.notes.handed_back.lock().unwrap(), []);
        becomes_ready(&world.worker).await;
    });
}

#[test]
fn a_retry_queue_that_was_deleted_is_declared_again_and_nothing_waits_behind_what_needs_it() {
    run(as_it_is, async |world: World| {
        let queue = retry_queue(Duration::from_millis(world.config.task_worker.retry_delay_ms));
        world.delete(&queue).await;
        world.dispatch("no-route", 99).await;
        let good = world.dispatch_five(1).await;
        world.all_done(&good, SECONDS).await;
        assert_eq!(world.amqp.queue_depth(&queue), Some(1), "it waits for its next try");
        sleep(Duration::from_secs(60)).await;
        let (_, header) = dead_letter(&world.channel).await;
        assert_eq!((header("x-reason").as_str(), header("x-task-id").as_str()), ("no_route", "no-route"));
    });
}

#[test]
fn services_whose_queues_were_deleted_consume_them_again() {
    for queue in [TASK_QUEUE, ROUTING_QUEUE] {
        run(as_it_is, async move |world: World| {
            world.delete(queue).await;
            until(SECONDS, || world.amqp.queue_depth(queue).map(drop).ok_or_else(|| format!("no {queue}"))).await;
            let good = world.dispatch_five(1).await;
            world.all_done(&good, SECONDS).await;
            becomes_ready(&world.worker).await;
            becomes_ready(&world.fwd_router).await;
        });
    }
}

#[test]
fn a_worker_whose_reply_queue_was_deleted_has_another_one() {
    run(as_it_is, async |world: World| {
        let reply_queue =
            |world: &World| world.amqp.queue_names().into_iter().find(|name| name.starts_with("amq.gen-"));
        let first = reply_queue(&world).unwrap();
        // A stranger may not delete an exclusive queue; its end has the same effect.
        world.amqp.delete_queue(&first);
        let other = || reply_queue(&world).filter(|name| *name != first).ok_or_else(|| "no other".into());
        until(SECONDS, other).await;
        let good = world.dispatch_five(1).await;
        world.all_done(&good, SECONDS).await;
    });
}

#[test]
fn a_task_in_work_whose_queue_was_deleted_is_tried_again_all_the_same() {
    // One more than the tasks: new ones are taken while the first one is in work.
    let tune = |config: &mut Config| (config.task_worker.reply_timeout_ms, config.task_worker.prefetch) = (3_000, 7);
    run(tune, async |world: World| {
        world.redis.fall_into(Condition::OutOfMemory);
        world.dispatch("in-work", 1).await;
        sleep(Duration::from_secs(1)).await;
        world.delete(TASK_QUEUE).await;
        until(SECONDS, || world.amqp.queue_depth(TASK_QUEUE).map(drop).ok_or_else(|| "no queue".into())).await;
        let good = world.dispatch_five(2).await;
        sleep(Duration::from_secs(1)).await;
        world.redis.fall_into(Condition::NoRights);
        sleep(Duration::from_secs(2)).await;
        world.redis.fall_into(Condition::Well);
        world.all_done(&good, Duration::from_secs(30)).await;
        world.all_done(&["in-work".into()], Duration::from_secs(30)).await;
    });
}

#[test]
fn a_worker_with_its_hands_full_consumes_its_queue_again_at_once() {
    let tune = |config: &mut Config| (config.task_worker.reply_timeout_ms, config.task_worker.prefetch) = (60_000, 1);
    run(tune, async |world: World| {
        world.redis.fall_into(Condition::OutOfMemory);
        world.dispatch("in-work", 1).await;
        sleep(Duration::from_secs(1)).await;
        world.delete(TASK_QUEUE).await;
        until(SECONDS, || world.amqp.queue_depth(TASK_QUEUE).map(drop).ok_or_else(|| "no queue".into())).await;
        becomes_ready(&world.worker).await;
        let good = world.dispatch_five(2).await;
        world.redis.fall_into(Condition::Well);
        world.all_done(&good, SECONDS).await;
    });
}

#[test]
fn a_dispatcher_whose_queue_vanishes_again_and_again_puts_all_its_tasks_there() {
    run(as_it_is, async |world: World| {
        let task = |index: u64| -> Task {
            let text = format!(
                r#"{{"task_id":"t{index}","commands":[{{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}}]}}"#
            );
            Task::parse(text.as_bytes()).unwrap()
        };
        let tasks = futures_util::stream::unfold(0, move |index| async move {
            sleep(Duration::from_millis(5)).await;
            (index < 400).then(|| (task(index), index + 1))
        });
        let mut config = world.config.as_ref().clone();
        config.dispatcher.window = 8;
        let run = Dispatcher::run(
            world.env.clone(),
            Arc::new(config),
            Arc::new(FanOut(vec![world.worker.metrics.clone()])),
            CancellationToken::new(),
            tasks,
        );
        let vandal = async {
            for _ in 0..4 {
                sleep(Duration::from_millis(400)).await;
                let options = lapin::options::QueueDeleteOptions::default();
                world.channel.queue_delete(TASK_QUEUE.into(), options).await.unwrap();
            }
        };
        let (dispatched, ()) = tokio::join!(run, vandal);
        assert_eq!(dispatched.unwrap(), 400);
        let good = world.dispatch_five(5).await;
        world.all_done(&good, SECONDS).await;
    });
}

#[test]
fn a_queue_that_was_declared_with_other_arguments_is_told_of_and_taken_back_when_it_is_gone() {
    run(as_it_is, async |world: World| {
        let vandal = |arguments: FieldTable| {
            world.channel.queue_declare(TASK_QUEUE.into(), QueueDeclareOptions::durable(), arguments)
        };
        let mut other = FieldTable::default();
        other.insert("x-max-length".into(), 1_000_i32.into());
        world.delete(TASK_QUEUE).await;
        vandal(other).await.unwrap();
        becomes_unready(&world.worker, "inequivalent arg 'x-max-length' for queue 'task_queue'").await;
        sleep(Duration::from_secs(60)).await;
        let text = world.worker.metrics.to_text();
        let tries = text
            .lines()
            .find_map(|line| {
                line.strip_prefix("backbone_refusals_total{broker=\"amqp\",reason=\"precondition_failed\"} ")
            })
            .map_or(0, |tries| tries.parse::<u32>().unwrap());
        assert!((10..40).contains(&tries), "{tries} tries in a minute");
        world.delete(TASK_QUEUE).await;
        becomes_ready(&world.worker).await;
        let good = world.dispatch_five(1).await;
        world.all_done(&good, SECONDS).await;
    });
}

#[test]
fn a_queue_that_is_purged_loses_what_waited_and_nothing_else() {
    run(as_it_is, async |world: World| {
        for queue in [TASK_QUEUE, ROUTING_QUEUE, &dead_letter_queue()] {
            world.channel.queue_purge(queue.into(), QueuePurgeOptions::default()).await.unwrap();
        }
        let good = world.dispatch_five(1).await;
        world.all_done(&good, SECONDS).await;
        becomes_ready(&world.worker).await;
    });
}
