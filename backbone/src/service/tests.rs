use super::*;
use crate::{
    config::Config,
    env::{Env, Task, TokioEnv},
    telemetry::{Event, Telemetry},
};
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// A world without brokers: every connection is refused.
#[derive(Clone)]
struct Nowhere;

impl Env for Nowhere {
    type Stream = <TokioEnv as Env>::Stream;
    type Listener = <TokioEnv as Env>::Listener;

    async fn connect(&self, _: &str, _: u16) -> io::Result<Self::Stream> {
        Err(io::ErrorKind::ConnectionRefused.into())
    }

    async fn listen(&self, _: SocketAddr) -> io::Result<Self::Listener> {
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        TokioEnv.spawn(name, task)
    }

    async fn open_amqp(&self, _: AMQPUri, _: ConnectionProperties) -> Result<Connection, lapin::Error> {
        Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())
    }

    fn unix_time(&self) -> Duration {
        TokioEnv.unix_time()
    }

    fn random(&self, buf: &mut [u8]) {
        buf.fill(1);
    }
}

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
    run: impl FnOnce(Nowhere, Arc<Config>, Arc<dyn Telemetry>, CancellationToken) -> F,
) -> ([usize; 2], Duration) {
    let (refusals, shutdown) = (Arc::new(Refusals::default()), CancellationToken::new());
    let service = run(Nowhere, Arc::default(), refusals.clone(), shutdown.clone());
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
    let run = Dispatcher::run(Nowhere, Arc::default(), Arc::new(Refusals::default()), shutdown.clone(), tasks);
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
    assert_eq!(Dispatcher::run(Nowhere, Arc::default(), telemetry, shutdown, tasks).await.unwrap(), 0);
}
