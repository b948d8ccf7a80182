//! A worker with logic of its own, the very same in production and here: the example of the backbone.

#[path = "../../../backbone/examples/price_worker.rs"]
#[expect(dead_code, reason = "the example's own `main` is for production")]
mod price_worker;

use crate::services::{World, label, run};
use backbone::{
    config::Config,
    env::Env,
    message::{CommandOutcome, TASK_QUEUE, TaskOutcome},
};
use lapin::BasicProperties;
use price_worker::{Prices, Product, Products};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::sleep;

/// A database that is away at first, and then knows one product, whose price has changed each time that it is asked.
#[derive(Clone, Default)]
struct Database(Arc<AtomicU64>);

impl Products for Database {
    async fn find(&self, _env: &Env, product: u32) -> Result<Option<Product>, String> {
        sleep(Duration::from_millis(5)).await;
        match self.0.fetch_add(1, Relaxed) {
            0 => Err("the database is away".into()),
            asked => {
                let found = Product { version: asked, price: "12.90".into(), labels: vec![label(1), label(2)] };
                Ok((product == 17).then_some(found))
            }
        }
    }
}

#[test]
fn a_handler_of_ones_own_runs_unchanged_in_the_simulator_and_its_producer_learns_what_it_said() {
    let mut config = Config::default();
    config.task_worker.retry_delay_ms = 1_000;
    run(config, Prices(Database::default()), 20, async |world: World| {
        world.own_queue("answers").await;
        let asks_back = || BasicProperties::default().with_reply_to("answers".into());
        world.publish(TASK_QUEUE, r#"{"task_id":"known","product":17}"#, asks_back()).await;
        sleep(Duration::from_secs(5)).await;
        let known = world.result("answers").await;
        assert_eq!((known.outcome, known.attempts), (TaskOutcome::Done, 2), "the database came back");
        assert!(world.said.ages_us()[0] > 1_000_000, "the pause before the second try counts");
        let lines: Vec<_> = known.commands.iter().map(|line| (line.esl_mac, line.outcome)).collect();
        assert_eq!(lines, [(label(1), CommandOutcome::Done), (label(2), CommandOutcome::Done)]);
        assert_eq!(world.labels.version(label(2)), Some(1));
        world.publish(TASK_QUEUE, r#"{"task_id":"unknown","product":4}"#, asks_back()).await;
        sleep(Duration::from_secs(1)).await;
        let unknown = world.result("answers").await;
        assert_eq!((unknown.outcome, unknown.attempts), (TaskOutcome::Failed, 1), "no try would mend it");
        assert_eq!(
            (unknown.reason.as_deref(), unknown.detail.as_deref()),
            (Some("handler"), Some("there is no product 4"))
        );
        world.publish(TASK_QUEUE, r#"{"task_id":"odd","shelf":4}"#, asks_back()).await;
        sleep(Duration::from_secs(1)).await;
        let odd = world.result("answers").await;
        assert_eq!((odd.task_id, odd.reason.as_deref()), (None, Some("malformed")));
    });
}
