//! What the broker tells about itself, and what it says in its log.

use super::*;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::time::sleep;
use tracing::{
    Event, Level, Metadata, Subscriber,
    span::{Attributes, Id, Record},
};

fn by_topic(messages: &[Publish]) -> BTreeMap<String, String> {
    let topic = |publish: &Publish| String::from_utf8(publish.topic.to_vec()).unwrap();
    messages.iter().map(|publish| (topic(publish), text(publish))).collect()
}

#[tokio::test(start_paused = true)]
async fn the_brokers_own_topics_come_to_who_subscribes_and_are_kept_up_to_date() {
    let broker = broker(|_| {});
    let timer = broker.clone();
    Env::tokio().spawn("timer", async move { match timer.publish_in_time().await {} });
    sleep(Duration::from_secs(5)).await;
    let mut all = Client::subscribed(&broker, hello("all"), "#").await;
    let mut watcher = Client::subscribed(&broker, hello("watcher"), "$SYS/#").await;
    let messages = watcher.messages().await;
    assert!(messages.iter().all(|publish| publish.retain));
    let told = by_topic(&messages);
    assert!(told["$SYS/broker/version"].starts_with("mosquitto version 2.0.11"));
    assert_eq!((&*told["$SYS/broker/uptime"], &*told["$SYS/broker/clients/connected"]), ("5 seconds", "2"));
    for publish in &messages {
        watcher.acknowledge(publish.pkid).await;
    }
    let other = Client::new(&broker, resuming("other", 60)).await;
    other.disconnect().await;
    sleep(Duration::from_secs(11)).await;
    let changed = by_topic(&watcher.messages().await);
    assert_eq!(&*changed["$SYS/broker/clients/disconnected"], "1");
    assert!(!changed.contains_key("$SYS/broker/version"), "what is as it was is not told again: {changed:?}");
    assert_eq!(all.messages().await, [], "they begin with a dollar, so `#` doesn't stand for them");
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn one_slow_subscriber_makes_a_few_warnings_however_much_it_misses() {
    let warnings = Arc::new(AtomicUsize::new(0));
    let _said = tracing::subscriber::set_default(Warnings(warnings.clone()));
    let broker = broker(|config| config.queued_messages_max = 1);
    Client::subscribed(&broker, resuming("slow", 60), "t").await.disconnect().await;
    let mut publisher = Client::new(&broker, hello("publisher")).await;
    for _ in 0..1001 {
        publisher.publish(message("t", "x")).await;
    }
    assert_eq!(broker.stats().messages_dropped, 1000);
    // Of the first, the tenth, the hundredth and the thousandth.
    assert_eq!(warnings.load(Ordering::Relaxed), 4);
}
