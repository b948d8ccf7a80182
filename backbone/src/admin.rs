//! Health and metrics over HTTP, for whoever runs a replica:
//!
//! - `GET /health/live`: 200 as long as the process answers. A replica that doesn't should be started anew.
//! - `GET /health/ready`: 200 if all connections that the service keeps are up, else 503 with what it waits for.
//! - `GET /metrics`: counters and latencies, for Prometheus.

use crate::{
    env::{Env, Listener},
    telemetry::{Metrics, Readiness},
};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::sync::CancellationToken;

/// Most open connections: a few probes and scrapers. More wait in the listen backlog.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take for its one request.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
/// Largest head of a request.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Prometheus' name for the format of the metrics.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// What a replica tells about itself. Both receive its events.
#[derive(Clone, Debug, Default)]
pub struct Admin {
    /// What it has done.
    pub metrics: Arc<Metrics>,
    /// Whether it has the connections that it needs.
    pub readiness: Arc<Readiness>,
}

type Answer = Response<Full<Bytes>>;

impl Admin {
    /// Answers until the task that runs this is dropped. From `shutdown` on the replica is not ready.
    pub async fn serve(self, env: Env, mut listener: Listener, shutdown: CancellationToken) {
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let permit = free.clone().acquire_owned().await.expect("never closed");
            let stream = listener.connection().await;
            let (admin, shutdown) = (self.clone(), shutdown.clone());
            env.spawn("admin connection", async move {
                let answer = service_fn(|request| {
                    let answer = admin.answer(&request, shutdown.is_cancelled());
                    async { Ok::<_, Infallible>(answer) }
                });
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new()).keep_alive(false).max_buf_size(HEAD_BYTES_MAX);
                match timeout(CONNECTION_LIMIT, http.serve_connection(TokioIo::new(stream), answer)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => tracing::debug!(%error, "a connection for health or metrics ended"),
                    Err(_) => tracing::debug!("a connection for health or metrics took too long"),
                }
                drop(permit);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>, is_stopping: bool) -> Answer {
        if request.method() != Method::GET {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n".into());
        }
        match request.uri().path() {
            "/health/live" => text(StatusCode::OK, "live\n".into()),
            "/health/ready" if is_stopping => text(StatusCode::SERVICE_UNAVAILABLE, "stopping\n".into()),
            "/health/ready" => match self.readiness.check() {
                Ok(()) => text(StatusCode::OK, "ready\n".into()),
                Err(unready) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{unready}\n")),
            },
            "/metrics" => {
                let mut answer = text(StatusCode::OK, self.metrics.to_text());
                answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(METRICS_TYPE));
                answer
            }
            _ => text(StatusCode::NOT_FOUND, "here are /health/live, /health/ready and /metrics\n".into()),
        }
    }
}

fn text(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_TYPE));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        env::memory::memory_env,
        service::FwdRouter,
        telemetry::{Event, FanOut, Standing, Telemetry},
    };
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::sleep,
    };

    const PORT: u16 = 9100;

    async fn start(shutdown: &CancellationToken) -> (Env, Admin) {
        let (env, admin) = (memory_env(), Admin::default());
        let listener = env.listen(([127, 0, 0, 1], PORT).into()).await.unwrap();
        env.spawn("admin", admin.clone().serve(env.clone(), listener, shutdown.clone()));
        (env, admin)
    }

    /// The status line and the body of what is answered to a request for `path`.
    async fn ask(env: &Env, method: &str, path: &str) -> String {
        let mut stream = env.connect("localhost", PORT).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{} {body}", head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap())
    }

    async fn get(env: &Env, path: &str) -> String {
        ask(env, "GET", path).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_replica_is_ready_when_all_that_it_keeps_is_up() {
        let shutdown = CancellationToken::new();
        let (env, admin) = start(&shutdown).await;
        assert_eq!(get(&env, "/health/live").await, "200 OK live\n");
        assert_eq!(get(&env, "/health/ready").await, "503 Service Unavailable starting\n");
        let up = Arc::new(AtomicBool::new(true));
        let is_up = up.clone();
        admin.readiness.keeps("mqtt", &(Arc::new(|| Standing::Up) as _));
        let ask = move || if is_up.load(Relaxed) { Standing::Up } else { Standing::Down };
        admin.readiness.keeps("redis", &(Arc::new(ask) as _));
        assert_eq!(get(&env, "/health/ready").await, "200 OK ready\n");
        up.store(false, Relaxed);
        admin.readiness.record(&Event::Disconnected { broker: "redis", reason: "reset" });
        assert_eq!(get(&env, "/health/ready").await, "503 Service Unavailable waiting for redis (reset)\n");
        shutdown.cancel();
        assert_eq!(get(&env, "/health/ready").await, "503 Service Unavailable stopping\n");
        assert_eq!(get(&env, "/health/live").await, "200 OK live\n");
    }

    #[tokio::test(start_paused = true)]
    async fn a_service_without_brokers_says_which_it_waits_for_though_it_has_no_work() {
        let shutdown = CancellationToken::new();
        let (env, admin) = start(&shutdown).await;
        let telemetry = Arc::new(FanOut(vec![admin.metrics.clone(), admin.readiness.clone()]));
        env.spawn("router", FwdRouter::run(env.clone(), Arc::new(Config::default()), telemetry, shutdown.clone()));
        sleep(Duration::from_secs(1)).await;
        get(&env, "/health/ready").await;
        sleep(Duration::from_secs(1)).await;
        let answer = get(&env, "/health/ready").await;
        for broker in ["amqp (", "mqtt (", "redis (connection refused"] {
            assert!(answer.contains(broker), "{answer}");
        }
        let metrics = get(&env, "/metrics").await;
        assert!(metrics.contains("backbone_disconnects_total{broker=\"redis\"} "), "{metrics}");
        assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    }

    #[tokio::test(start_paused = true)]
    async fn other_paths_and_methods_are_refused() {
        let (env, _) = start(&CancellationToken::new()).await;
        assert!(get(&env, "/").await.starts_with("404 "));
        assert!(ask(&env, "POST", "/metrics").await.starts_with("405 "));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_say_nothing_do_not_keep_others_out_for_long() {
        let (env, _) = start(&CancellationToken::new()).await;
        let mut silent = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            silent.push(env.connect("localhost", PORT).await.unwrap());
        }
        assert_eq!(get(&env, "/health/live").await, "200 OK live\n");
    }
}
