//! The collector of a live run: takes in the spans of its services, as one that speaks OpenTelemetry does, and says
//! what they come to. Routers are processes of their own, so only spans say how long a request was between two of them.
//! All are on this machine and have one clock.

use crate::{
    measure::CallHops,
    spec::{Spec, Workload},
};
use anyhow::Context as _;
use backbone::env::{Env, TaskGuard};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustc_hash::FxHashMap;
use serde::Deserialize;
use sim::real::port::Port;
use std::{
    convert::Infallible,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{sync::Semaphore, time::timeout};

/// Calls that are traced in a run, about: enough for a 99th percentile, and few enough not to count.
const TRACED_CALLS: u64 = 2_000;
const PER_MILLION: u64 = 1_000_000;
/// Traces kept: above all that the share of requests comes to.
const TRACES_MAX: usize = 1 << 20;
/// Largest batch of spans.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Connections at a time: more than there are services, of which each has one at a time. Others wait in the kernel.
const CONNECTIONS_MAX: usize = 256;
/// How long a batch may take.
const CONNECTION_LIMIT: Duration = Duration::from_secs(5);
const NS_PER_US: u64 = 1_000;

/// When a span began and ended, in nanoseconds since 1970.
type Times = (u64, u64);

/// The spans of one call.
#[derive(Clone, Copy, Debug, Default)]
struct Trace {
    call: Option<Times>,
    forward: Option<Times>,
    returned: Option<Times>,
}

/// By their ids.
type Traces = Arc<Mutex<FxHashMap<u128, Trace>>>;

/// A collector at work. Dropping it ends it.
pub(super) struct Collector {
    port: Port,
    traces: Traces,
    _task: TaskGuard,
}

/// What traces come to.
#[derive(Debug, Default)]
pub(super) struct Collected {
    /// From a forward router's taking a request to a backward router's having returned its reply, in microseconds.
    pub(super) router_to_router_us: Vec<u32>,
    pub(super) hops: CallHops,
}

/// What is looked at of an `ExportTraceServiceRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans {
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Deserialize)]
struct ScopeSpans {
    spans: Vec<Span>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Span {
    trace_id: String,
    name: String,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
}

/// So many of a million requests are traced in a run of `spec`.
pub(super) fn sample_ppm(spec: &Spec) -> u32 {
    let Workload { tasks, commands_per_task: least, .. } = spec.workload;
    // Drawn evenly between the least and the most.
    let twice_a_task = u64::from(least + spec.workload.most_commands());
    let calls = (u64::from(tasks) * twice_a_task).div_ceil(2).max(1);
    let ppm = (TRACED_CALLS * PER_MILLION).div_ceil(calls).min(PER_MILLION);
    u32::try_from(ppm).expect("a million fits")
}

impl Collector {
    /// # Errors
    /// If it can't listen.
    pub(super) async fn start(env: &Env) -> anyhow::Result<Self> {
        let port = Port::claim().context("finding a port for the collector of spans")?;
        let listening = || format!("listening for spans on port {}", port.number());
        let mut listener = env.listen((Ipv4Addr::LOCALHOST, port.number()).into()).await.with_context(listening)?;
        let traces = Traces::default();
        let (inside, kept) = (env.clone(), traces.clone());
        let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let task = env.spawn("collector", async move {
            loop {
                let permit = free.clone().acquire_owned().await.expect("nobody closes it");
                let (stream, traces) = (listener.connection().await, kept.clone());
                inside.spawn("collector connection", async move {
                    let answer = service_fn(move |request| {
                        let traces = traces.clone();
                        async move { Ok::<_, Infallible>(answer(&traces, request).await) }
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new());
                    // One that fails has dropped its spans, and says so itself.
                    drop(timeout(CONNECTION_LIMIT, http.serve_connection(TokioIo::new(stream), answer)).await);
                    drop(permit);
                });
            }
        });
        Ok(Self { port, traces, _task: task.into() })
    }

    /// Where services post their spans to.
    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/v1/traces", self.port.number())
    }

    /// What has come, once all services have stopped.
    pub(super) fn collected(&self) -> Collected {
        let mut collected = Collected::default();
        let traces = self.traces.lock().expect("no holder of this lock panics");
        for trace in traces.values() {
            let (Some(call), Some(forward), Some(returned)) = (trace.call, trace.forward, trace.returned) else {
                continue; // no reply came, or a span was lost
            };
            let us = |ns: u64| ns / NS_PER_US;
            let between_us = us(returned.1.saturating_sub(forward.0));
            collected.router_to_router_us.push(u32::try_from(between_us).unwrap_or(u32::MAX));
            collected.hops.add((us(call.0), us(forward.0)), (us(returned.1), us(call.1)));
        }
        // The map's order is nobody's business.
        collected.router_to_router_us.sort_unstable();
        collected
    }
}

async fn answer(traces: &Traces, request: Request<hyper::body::Incoming>) -> Response<Full<Bytes>> {
    let status = match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
        Ok(body) => take(traces, &body.to_bytes()),
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE,
    };
    let mut answer = Response::new(Full::new(Bytes::from_static(b"{}")));
    *answer.status_mut() = status;
    answer
}

fn take(traces: &Traces, body: &[u8]) -> StatusCode {
    let Ok(document) = serde_json::from_slice::<Document>(body) else { return StatusCode::BAD_REQUEST };
    let mut traces = traces.lock().expect("no holder of this lock panics");
    let scopes = document.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    for Span { trace_id, name, start_time_unix_nano, end_time_unix_nano } in scopes.flat_map(|scope| scope.spans) {
        let [Ok(start), Ok(end)] = [start_time_unix_nano, end_time_unix_nano].map(|text| text.parse()) else {
            return StatusCode::BAD_REQUEST;
        };
        let Ok(trace_id) = u128::from_str_radix(&trace_id, 16) else { return StatusCode::BAD_REQUEST };
        if traces.len() >= TRACES_MAX && !traces.contains_key(&trace_id) {
            return StatusCode::INSUFFICIENT_STORAGE;
        }
        let trace = traces.entry(trace_id).or_default();
        // What came again came later: the first one counts.
        let place = match name.as_str() {
            "call" => &mut trace.call,
            "forward" => &mut trace.forward,
            "return" => &mut trace.returned,
            _ => continue,
        };
        *place = place.or(Some((start, end)));
    }
    StatusCode::OK
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn span(trace: &str, name: &str, start_us: u64, end_us: u64) -> String {
        format!(
            r#"{{"traceId":"{trace}","name":"{name}","startTimeUnixNano":"{}","endTimeUnixNano":"{}"}}"#,
            start_us * NS_PER_US,
            end_us * NS_PER_US
        )
    }

    #[tokio::test]
    async fn spans_of_three_services_make_the_hops_of_a_call() {
        let collector = Collector::start(&Env::tokio()).await.unwrap();
        let post = |spans: &[String]| {
            let spans = spans.join(",");
            take(
                &collector.traces,
                format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#).as_bytes(),
            )
        };
        assert_eq!(post(&[span("a", "forward", 130, 140), span("b", "forward", 1, 2)]), StatusCode::OK);
        assert_eq!(post(&[span("a", "return", 170, 190), span("a", "another", 0, 0)]), StatusCode::OK);
        assert_eq!(post(&[span("a", "call", 100, 205), span("a", "forward", 180, 185)]), StatusCode::OK);
        assert_eq!(take(&collector.traces, b"no JSON"), StatusCode::BAD_REQUEST);
        assert_eq!(post(&[span("no number", "call", 1, 2)]), StatusCode::BAD_REQUEST);
        let collected = collector.collected();
        assert_eq!(collected.router_to_router_us, [60], "of b there is not all");
        assert_eq!((&collected.hops.to_router_us[..], &collected.hops.to_worker_us[..]), (&[30][..], &[15][..]));
    }

    #[test]
    fn all_requests_of_a_short_run_are_traced_and_a_share_of_a_long_ones() {
        let share = |tasks: u32, least: u32, most: u32| {
            let mut spec = Spec::default();
            let workload = &mut spec.workload;
            (workload.tasks, workload.commands_per_task, workload.commands_per_task_max) = (tasks, least, most);
            sample_ppm(&spec)
        };
        assert_eq!([1, 1_000, 2_000, 500_000].map(|tasks| share(tasks, 2, 0)), [1_000_000, 1_000_000, 500_000, 2_000]);
        assert_eq!(share(2_000, 1, 3), 500_000, "two calls a task, in the mean");
    }

    #[tokio::test]
    async fn who_connects_when_all_connections_are_taken_waits_for_one() {
        let env = Env::tokio();
        let collector = Collector::start(&env).await.unwrap();
        let post = async |body: &str| {
            let mut stream = env.connect("127.0.0.1", collector.port.number()).await.unwrap();
            let head = "POST /v1/traces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length:";
            stream.write_all(format!("{head} {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(env.connect("127.0.0.1", collector.port.number()).await.unwrap());
        }
        let mut last = std::pin::pin!(post("no JSON"));
        tokio::select! {
            biased;
            answer = &mut last => panic!("nobody reads it yet: {answer}"),
            // The collector has had its turns, and all connections are taken.
            () = async { for _ in 0..10 * CONNECTIONS_MAX { tokio::task::yield_now().await } } => {}
        }
        drop(idle);
        assert!(last.await.starts_with("HTTP/1.1 400"));
    }
}
