use super::*;
use crate::{
    config::Config,
    env::{Env, memory::memory_env},
    telemetry::{Event, Telemetry},
};
use std::{
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Which brokers could not be reached, in order.
#[derive(Default)]
struct Refusals(Mutex<Vec<&'static str>>);

impl Telemetry for Refusals {
    fn record(&self, event: &Event<'_>) {
        if let Event::Disconnected { broker, .. } = event {
            self.0.lock().unwrap().push(broker);
        }
    }
}

/// How often a service that runs for a minute without brokers dials each of them, and how long it takes to stop.
async fn a_minute_of<F: Future<Output = ()> + Send>(
    run: impl FnOnce(Env, Arc<Config>, Arc<dyn Telemetry>, CancellationToken) -> F,
) -> ([usize; 2], Duration) {
    let (refusals, shutdown) = (Arc::new(Refusals::default()), CancellationToken::new());
    let service = run(memory_env(), Arc::default(), refusals.clone(), shutdown.clone());
    let stop = async {
        sleep(Duration::from_secs(60)).await;
        shutdown.cancel();
        Instant::now()
    };
    let ended = async {
        service.await;
        Instant::now()
    };
    let (stopped, ended) = tokio::join!(stop, ended);
    let refusals = refusals.0.lock().unwrap();
    let dials = |broker| refusals.iter().filter(|refusal| **refusal == broker).count();
    ([dials("amqp"), dials("mqtt")], ended - stopped)
}

#[tokio::test(start_paused = true)]
async fn services_without_brokers_keep_dialling_at_growing_intervals_and_stop_when_told() {
    // A minute holds about 6 dials up to the longest interval and at least 10 of those.
    let some = 15..=35;
    let ([amqp, _], stopping) = a_minute_of(TaskWorker::run).await;
    assert!(some.contains(&amqp) && stopping < Duration::from_secs(2), "{amqp} {stopping:?}");
    let ([amqp, mqtt], stopping) = a_minute_of(FwdRouter::run).await;
    assert!(some.contains(&amqp) && some.contains(&mqtt), "{amqp} {mqtt}");
    assert!(stopping < Duration::from_secs(2), "{stopping:?}");
    let ([_, mqtt], stopping) = a_minute_of(BckRouter::run).await;
    assert!(some.contains(&mqtt) && stopping < Duration::from_secs(2), "{mqtt} {stopping:?}");
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_is_stopped_says_what_it_could_not_put_into_the_queue() {
    let task = r#"{"task_id":"a","commands":[{"esl_mac":"00:00:00:00:00:01","version":1,"body":1}]}"#;
    let task: crate::message::Task = serde_json::from_str(task).unwrap();
    let tasks = futures_util::stream::iter(vec![task; 3]);
    let shutdown = CancellationToken::new();
    let run = Dispatcher::run(memory_env(), Arc::default(), Arc::new(Refusals::default()), shutdown.clone(), tasks);
    let stop = async {
        sleep(Duration::from_secs(1)).await;
        shutdown.cancel();
    };
    let (outcome, ()) = tokio::join!(run, stop);
    let DispatchError { confirmed, unconfirmed } = outcome.unwrap_err();
    assert_eq!((confirmed, unconfirmed), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_without_tasks_is_done_without_any_broker() {
    let tasks = futures_util::stream::iter([]);
    let (telemetry, shutdown) = (Arc::new(Refusals::default()), CancellationToken::new());
    assert_eq!(Dispatcher::run(memory_env(), Arc::default(), telemetry, shutdown, tasks).await.unwrap(), 0);
}
