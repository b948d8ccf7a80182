//! What producers learn of their tasks.

use crate::services::{World, label, line, run, task};
use backbone::{
    config::Config,
    message::{
        CommandOutcome, Message as _, PUBLISHED_HEADER, RESULTS_EXCHANGE, TASK_QUEUE, Task, TaskOutcome, TaskResult,
        dead_letter_queue,
    },
    service::{Calls, Dispatcher, Failure, Handler},
};
use lapin::{
    BasicProperties,
    options::{ExchangeDeleteOptions, QueueBindOptions},
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// The shipped worker's logic.
struct SendCommands;

impl Handler for SendCommands {
    type Task = Task;

    async fn handle(&self, task: &Task, calls: &Calls<'_>) -> Result<(), Failure> {
        Failure::unless_all_succeeded(&calls.send(&task.commands).await?)
    }
}

/// Two tries, a second apart.
fn config() -> Config {
    let mut config = Config::default();
    (config.task_worker.attempts_max, config.task_worker.retry_delay_ms) = (2, 1_000);
    config.task_worker.reply_timeout_ms = 2_000;
    config
}

fn asks_back() -> BasicProperties {
    BasicProperties::default().with_reply_to("answers".into()).with_correlation_id("order 17".into())
}

fn with_world<F>(main: impl FnOnce(World) -> F + Send + 'static)
where
    F: Future<Output = ()> + Send + 'static,
{
    run(config(), SendCommands, 20, main);
}

async fn bind(world: &World, queue: &str, key: &str) {
    world.own_queue(queue).await;
    let none = FieldTable::default();
    let options = QueueBindOptions::default();
    world.channel.queue_bind(queue.into(), RESULTS_EXCHANGE.into(), key.into(), options, none).await.unwrap();
}

#[test]
fn a_producer_finds_the_result_in_the_queue_that_it_named_with_its_own_correlation_id() {
    with_world(async |world| {
        world.own_queue("answers").await;
        let mut headers = FieldTable::default();
        headers.insert(PUBLISHED_HEADER.into(), AMQPValue::LongLongInt(1_234));
        world.publish(TASK_QUEUE, &task("a", &[1, 2], 7), asks_back().with_headers(headers)).await;
        sleep(Duration::from_secs(1)).await;
        let (body, properties) = world.next("answers").await.unwrap();
        assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "order 17");
        let result = TaskResult::parse(&body).unwrap();
        assert_eq!((result.v, result.outcome, result.attempts), (1, TaskOutcome::Done, 1));
        assert_eq!((result.task_id.unwrap().as_str(), result.published_unix_ms), ("a", Some(1_234)));
        assert!(result.started_unix_ms.unwrap() <= result.ended_unix_ms);
        let done = |number| line(label(number), 7, CommandOutcome::Done);
        assert_eq!(result.commands, [done(1), done(2)]);
        assert!(world.next("answers").await.is_none(), "once");
    });
}

#[test]
fn a_result_that_nobody_asked_for_goes_to_the_exchange_by_its_outcome() {
    with_world(async |world| {
        bind(&world, "done", "done").await;
        bind(&world, "failed", "failed").await;
        world.publish(TASK_QUEUE, &task("good", &[1], 1), BasicProperties::default()).await;
        world.publish(TASK_QUEUE, &task("bad", &[9], 1), BasicProperties::default()).await;
        world.publish(TASK_QUEUE, "nonsense", BasicProperties::default()).await;
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.result("done").await.task_id.unwrap().as_str(), "good");
        let malformed = world.result("failed").await;
        assert_eq!((malformed.task_id, malformed.attempts, malformed.commands), (None, 0, vec![]));
        assert_eq!(malformed.reason.as_deref(), Some("malformed"));
        let bad = world.result("failed").await;
        assert_eq!((bad.task_id.unwrap().as_str(), bad.attempts), ("bad", 2));
        assert_eq!(bad.reason.as_deref(), Some("no_route"));
        assert_eq!(bad.commands[0].outcome, CommandOutcome::NoRoute);
        assert!(world.next("done").await.is_none() && world.next("failed").await.is_none());
    });
}

#[test]
fn the_exchange_for_results_is_declared_again_when_somebody_has_deleted_it() {
    with_world(async |world| {
        bind(&world, "before", "#").await;
        world.channel.exchange_delete(RESULTS_EXCHANGE.into(), ExchangeDeleteOptions::default()).await.unwrap();
        world.publish(TASK_QUEUE, &task("a", &[1], 1), BasicProperties::default()).await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(world.said.count("TaskDone"), 1);
        assert_eq!(world.said.sent_to(label(1)), 1, "what was done is not done again for the sake of its result");
        bind(&world, "after", "#").await;
        world.publish(TASK_QUEUE, &task("b", &[1], 2), BasicProperties::default()).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.result("after").await.task_id.unwrap().as_str(), "b");
    });
}

#[test]
fn a_result_whose_queue_is_gone_goes_to_the_exchange() {
    with_world(async |world| {
        bind(&world, "all", "#").await;
        world.publish(TASK_QUEUE, &task("a", &[1], 1), asks_back()).await;
        sleep(Duration::from_secs(1)).await;
        assert_eq!(world.result("all").await.outcome, TaskOutcome::Done);
    });
}

#[test]
fn a_retry_sends_only_what_is_not_confirmed_and_the_result_has_a_line_for_each_label() {
    with_world(async |world| {
        world.own_queue("answers").await;
        world.publish(TASK_QUEUE, &task("a", &[1, 9, 2], 7), asks_back()).await;
        sleep(Duration::from_secs(10)).await;
        let sent = [1, 9, 2].map(|number| world.said.sent_to(label(number)));
        assert_eq!(sent, [1, 2, 1], "the good ones are sent once");
        let result = world.result("answers").await;
        let outcomes: Vec<_> = result.commands.iter().map(|line| (line.esl_mac, line.outcome)).collect();
        let expected = [(1, CommandOutcome::Done), (9, CommandOutcome::NoRoute), (2, CommandOutcome::Done)];
        assert_eq!(outcomes, expected.map(|(number, outcome)| (label(number), outcome)));
        assert_eq!(result.attempts, 2);
    });
}

#[test]
fn a_done_task_is_as_old_as_its_producer_says_retries_included() {
    with_world(async |world| {
        let published = world.env.unix_ms() - 4_000;
        let mut headers = FieldTable::default();
        headers.insert(PUBLISHED_HEADER.into(), AMQPValue::LongLongInt(i64::try_from(published).unwrap()));
        world.publish(TASK_QUEUE, &task("a", &[1], 1), BasicProperties::default().with_headers(headers)).await;
        // To the second, where the producer knows no better.
        let to_the_second = BasicProperties::default().with_timestamp(published / 1_000);
        world.publish(TASK_QUEUE, &task("b", &[1], 2), to_the_second).await;
        world.publish(TASK_QUEUE, &task("c", &[1], 3), BasicProperties::default()).await;
        sleep(Duration::from_secs(1)).await;
        let ages_ms: Vec<u64> = world.said.ages_us().iter().map(|age| age / 1_000).collect();
        assert!((4_000..4_500).contains(&ages_ms[0]), "{ages_ms:?}");
        assert!((4_000..5_500).contains(&ages_ms[1]), "{ages_ms:?}");
        assert!(ages_ms[2] < 500, "{ages_ms:?}");
    });
}

#[test]
fn a_dead_letter_carries_its_result_and_what_its_producer_said() {
    with_world(async |world| {
        world.own_queue("answers").await;
        let mut headers = FieldTable::default();
        headers.insert("traceparent".into(), AMQPValue::LongString("00-ab-cd-01".into()));
        headers.insert("CC".into(), AMQPValue::FieldArray(vec![AMQPValue::LongString("answers".into())].into()));
        let body = task("a", &[1, 9], 7);
        world.publish(TASK_QUEUE, &body, asks_back().with_headers(headers)).await;
        sleep(Duration::from_secs(10)).await;
        let (dead, properties) = world.next(&dead_letter_queue()).await.unwrap();
        assert_eq!(dead, body.as_bytes());
        let headers = properties.headers().clone().unwrap();
        let text = |name: &str| match headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!((text("x-reason").as_str(), text("traceparent").as_str()), ("no_route", "00-ab-cd-01"));
        assert!(!headers.inner().contains_key("CC") && !headers.inner().contains_key("x-attempt"));
        assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), "order 17");
        // RabbitMQ gave the queue in `CC` a copy of the task, once: its tries and its dead letter have no `CC` any
        // more.
        assert_eq!(world.next("answers").await.unwrap().0, body.as_bytes());
        let in_header = TaskResult::parse(text("x-result").as_bytes()).unwrap();
        let mut told = world.result("answers").await;
        told.ended_unix_ms = in_header.ended_unix_ms;
        assert_eq!(told, in_header);
        assert!(world.next("answers").await.is_none());
    });
}

#[test]
fn a_task_whose_time_is_over_is_not_tried_and_its_producer_learns_it() {
    with_world(async |world| {
        world.own_queue("answers").await;
        let late = |id: &str, labels: &[u64], expires: u64| {
            task(id, labels, 7).replacen('{', &format!(r#"{{"expires_unix_ms":{expires},"#), 1)
        };
        let now = world.env.unix_ms();
        world.publish(TASK_QUEUE, &late("a", &[1, 2], now), asks_back()).await;
        sleep(Duration::from_secs(1)).await;
        let result = world.result("answers").await;
        assert_eq!((result.outcome, result.attempts), (TaskOutcome::Expired, 0));
        assert_eq!((result.reason.as_deref(), result.started_unix_ms), (Some("expired"), None));
        assert!(result.commands.iter().all(|line| line.outcome == CommandOutcome::Expired));
        assert_eq!(world.labels.version(label(1)), None);
        let (dead, _) = world.next(&dead_letter_queue()).await.unwrap();
        assert_eq!(Task::parse(&dead).unwrap().task_id.as_str(), "a");
        // Its time is over after its first try: there is no second.
        world.publish(TASK_QUEUE, &late("b", &[1, 9], world.env.unix_ms() + 900), asks_back()).await;
        sleep(Duration::from_secs(10)).await;
        let result = world.result("answers").await;
        assert_eq!((result.outcome, result.attempts), (TaskOutcome::Expired, 1));
        let outcomes: Vec<_> = result.commands.iter().map(|line| line.outcome).collect();
        assert_eq!(outcomes, [CommandOutcome::Done, CommandOutcome::Expired]);
    });
}

#[test]
fn of_tasks_that_wait_the_urgent_one_goes_first() {
    let mut config = config();
    config.task_queue.priority_max = 9;
    run(config, SendCommands, 500, async |world: World| {
        bind(&world, "all", "#").await;
        let urgent = task("urgent", &[3], 1).replacen('{', r#"{"priority":9,"#, 1);
        let tasks = [task("first", &[1], 1), task("second", &[2], 1), urgent];
        let tasks = futures_util::stream::iter(tasks.map(|task| Task::parse(task.as_bytes()).unwrap()));
        let dispatching = Dispatcher::run(
            world.env.clone(),
            world.config.clone(),
            world.said.clone(),
            CancellationToken::new(),
            tasks,
        );
        assert_eq!(dispatching.await.unwrap(), 3);
        sleep(Duration::from_secs(3)).await;
        let results = [world.result("all").await, world.result("all").await, world.result("all").await];
        let order = results.map(|result| result.task_id.unwrap().to_string());
        assert_eq!(order, ["first", "urgent", "second"]);
    });
}

#[test]
fn a_command_older_than_the_newest_accepted_one_is_superseded_without_being_sent() {
    with_world(async |world| {
        world.own_queue("answers").await;
        for (id, version) in [("new", 9), ("old", 8), ("again", 9)] {
            world.publish(TASK_QUEUE, &task(id, &[1], version), asks_back()).await;
            sleep(Duration::from_secs(1)).await;
        }
        let results = [world.result("answers").await, world.result("answers").await, world.result("answers").await];
        let outcomes = results.clone().map(|result| (result.outcome, result.commands[0].outcome));
        let (done, superseded) = (TaskOutcome::Done, TaskOutcome::Superseded);
        assert_eq!(outcomes[..2], [(done, CommandOutcome::Done), (superseded, CommandOutcome::Superseded)]);
        let words = results[1].commands[0].detail.as_deref().unwrap();
        assert!(words.contains("version 9"), "{words}");
        assert_eq!(world.labels.version(label(1)), Some(9));
        assert_eq!(world.said.count("RequestForwarded"), 2, "the old one never went to a gateway");
    });
}

#[test]
fn a_command_that_had_no_route_outranks_nothing() {
    with_world(async |world| {
        world.own_queue("answers").await;
        for (id, version) in [("new", 9), ("old", 8)] {
            world.publish(TASK_QUEUE, &task(id, &[9], version), asks_back()).await;
        }
        sleep(Duration::from_secs(10)).await;
        let reasons = [world.result("answers").await, world.result("answers").await].map(|result| result.reason);
        assert_eq!(reasons, [Some("no_route".into()), Some("no_route".into())]);
    });
}

#[test]
fn versions_that_mean_nothing_do_not_outrank_each_other() {
    let mut config = config();
    config.routing.newest_wins = false;
    run(config, SendCommands, 20, async |world: World| {
        for (id, version) in [("new", 9), ("old", 8)] {
            world.publish(TASK_QUEUE, &task(id, &[1], version), asks_back()).await;
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(world.said.count("RequestForwarded"), 2);
    });
}

#[test]
fn without_results_nothing_is_published_and_nothing_is_noted_in_a_task() {
    let mut config = config();
    config.results.publish = false;
    run(config, SendCommands, 20, async |world: World| {
        world.own_queue("answers").await;
        world.publish(TASK_QUEUE, &task("a", &[1, 9], 7), asks_back()).await;
        sleep(Duration::from_secs(10)).await;
        assert!(world.next("answers").await.is_none());
        let (_, properties) = world.next(&dead_letter_queue()).await.unwrap();
        assert!(!properties.headers().as_ref().unwrap().inner().contains_key("x-result"));
    });
}
