//! The services of a deployment: which one runs on which pod, and how it is stopped.

use super::producer::Results;
use crate::spec::Pod;
use backbone::{
    config::{Config, RouterKind},
    env::Env,
    message::{Task, TaskResult},
    service::{BckRouter, DispatchError, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::Telemetry,
};
use futures_util::Stream;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What the producer has to do, and what it does with what it learns.
pub(crate) struct Work<S, F> {
    pub(crate) tasks: S,
    pub(crate) take_result: F,
    /// RabbitMQ may go without a last word.
    pub(crate) may_fall_silent: bool,
}

/// Runs the service that belongs on `pod` until `stop` is cancelled. `work` is for the dispatcher, beside which its
/// producer takes in results, if the services publish them.
///
/// # Errors
/// When the dispatcher was stopped before the broker had all tasks.
///
/// # Panics
/// If no service belongs there, or if an HTTP router's port is taken.
pub(crate) async fn run_service(
    pod: Pod,
    env: Env,
    config: Arc<Config>,
    telemetry: Arc<dyn Telemetry>,
    work: Work<impl Stream<Item = Task> + Send, impl Fn(Result<TaskResult, String>) + Send>,
    stop: CancellationToken,
) -> Result<(), DispatchError> {
    match pod {
        Pod::Dispatcher if config.results.publish => {
            let mut results = Results::new(&env, &config.amqp, work.may_fall_silent);
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = results.open() => {}
            }
            let dispatching = Dispatcher::run(env, config, telemetry, stop.clone(), work.tasks);
            let (dispatched, ()) = tokio::join!(dispatching, results.run(stop, work.take_result));
            dispatched?;
        }
        Pod::Dispatcher => drop(Dispatcher::run(env, config, telemetry, stop, work.tasks).await?),
        Pod::TaskWorker(_) => TaskWorker::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Forward, _) => FwdRouter::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Backward, _) => BckRouter::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Http, _) => {
            let router = HttpRouter::run(env, config, telemetry, stop);
            router.await.expect("the port of a pod without a router is free");
        }
        Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_) | Pod::Gateway(_) | Pod::Store(_) | Pod::Autoscaler => {
            unreachable!("{pod} runs no service")
        }
    }
    Ok(())
}

/// A running service that can be asked to stop.
pub(crate) struct Process {
    stop: CancellationToken,
    stopped: watch::Receiver<bool>,
}

impl Process {
    /// Starts a service; it ends some time after the token that it gets is cancelled.
    pub(crate) fn start<F>(env: &Env, service: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let (ended, stopped) = watch::channel(false);
        let service = service(stop.clone());
        env.spawn("service", async move {
            service.await;
            let _ = ended.send(true);
        });
        Self { stop, stopped }
    }

    /// Asks it to stop, as SIGTERM does.
    pub(crate) fn ask_to_stop(&self) {
        self.stop.cancel();
    }

    /// Whether it has ended without coming to its end.
    pub(crate) fn has_panicked(&self) -> bool {
        self.stopped.has_changed().is_err() && !*self.stopped.borrow()
    }

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}
