//! The service under test: it takes price changes from RabbitMQ, keeps the last price of each article in Redis, and
//! tells the shops over MQTT. It knows nothing of a simulation.
//!
//! It promises that no change is lost whatever dies: a change is acknowledged to RabbitMQ when Redis and the MQTT
//! broker have it, so one that was in work at a crash comes again. A shop may hear of a price twice.

use super::connections::{Failure, to_mosquitto, to_rabbitmq, to_redis};
use backbone::env::{Env, TaskGuard};
use futures_util::StreamExt as _;
use lapin::{
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions},
    types::FieldTable,
};
use redis::AsyncCommands as _;
use rumqttc::{EventLoop, PublishOptions};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Where changes wait: `article cents`, in text.
pub(crate) const QUEUE: &str = "price-changes";
/// Unacknowledged changes that RabbitMQ hands out at once; the service works on one after the other.
const PREFETCH: u16 = 8;
/// Before the next try after a failure.
const PAUSE: Duration = Duration::from_millis(500);
/// Limit of one change: of Redis' answer and the PUBACK.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);

/// Runs until its pod ends.
pub(crate) async fn run(env: Env) {
    loop {
        if let Err(failure) = feed(&env).await {
            tracing::warn!(failure, "begins anew");
        }
        sleep(PAUSE).await;
    }
}

/// A queue that survives its broker.
pub(crate) fn durable() -> QueueDeclareOptions {
    QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() }
}

async fn feed(env: &Env) -> Result<(), Failure> {
    let mut redis = to_redis(env).await?;
    let (mqtt, events) = to_mosquitto(env);
    // Not tokio::spawn: what is spawned by the environment dies with the pod. The guard ends it with this function.
    let _driver = TaskGuard::from(env.spawn("mqtt driver", drive(events)));
    let rabbitmq = to_rabbitmq(env).await?;
    let channel = rabbitmq.create_channel().await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    channel.queue_declare(QUEUE.into(), durable(), FieldTable::default()).await?;
    let (options, arguments) = (BasicConsumeOptions::default(), FieldTable::default());
    let mut changes = channel.basic_consume(QUEUE.into(), "".into(), options, arguments).await?;
    while let Some(change) = changes.next().await {
        let change = change?;
        let text = String::from_utf8_lossy(&change.data).into_owned();
        let (article, cents) = text.split_once(' ').ok_or("a change is an article and its price")?;
        let hand_over = async {
            let () = redis.set(format!("price:{article}"), cents).await?;
            let topic = format!("price/{article}");
            let notice = mqtt.publish_tracked(topic, cents.to_owned(), PublishOptions::at_least_once()).await?;
            notice.wait_completion_async().await?; // the PUBACK
            Ok::<_, Failure>(())
        };
        timeout(CHANGE_LIMIT, hand_over).await??;
        change.acker.ack(BasicAckOptions::default()).await?;
    }
    Err("RabbitMQ has ended the deliveries".into())
}

/// Turns rumqttc's event loop. It dials again by itself after an error.
async fn drive(mut events: EventLoop) {
    loop {
        if let Err(error) = events.poll().await {
            tracing::warn!(%error, "mqtt");
            sleep(PAUSE).await;
        }
    }
}
