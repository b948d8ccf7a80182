//! The services of a deployment: which one runs on which pod, and how it is stopped.

use crate::spec::Pod;
use backbone::{
    config::{Config, RouterKind},
    env::Env,
    message::Task,
    service::{BckRouter, DispatchError, Dispatcher, FwdRouter, HttpRouter, TaskWorker},
    telemetry::Telemetry,
};
use futures_util::Stream;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Runs the service that belongs on `pod` until `stop` is cancelled. `tasks` are for the dispatcher.
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
    tasks: impl Stream<Item = Task> + Send,
    stop: CancellationToken,
) -> Result<(), DispatchError> {
    match pod {
        Pod::Dispatcher => drop(Dispatcher::run(env, config, telemetry, stop, tasks).await?),
        Pod::TaskWorker(_) => TaskWorker::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Forward, _) => FwdRouter::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Backward, _) => BckRouter::run(env, config, telemetry, stop).await,
        Pod::Router(RouterKind::Http, _) => {
            let router = HttpRouter::run(env, config, telemetry, stop);
            router.await.expect("the port of a pod without a router is free");
        }
        Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::Gateway(_) | Pod::Store(_) => unreachable!("{pod} runs no service"),
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

    /// Waits until it has stopped.
    pub(crate) async fn stopped(mut self) {
        let _ = self.stopped.wait_for(|stopped| *stopped).await;
    }
}
