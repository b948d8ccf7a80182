//! Spans on their way to the collector: OTLP over HTTP, in JSON, a batch at a time.

use super::{Kind, TraceParent};
use crate::{
    config::TraceEndpoint,
    env::{DIAL_LIMIT, Env, TaskGuard},
    message::RequestId,
    telemetry::{Event, Telemetry, bounded},
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// Spans that wait: some seconds of a busy replica of which every request is traced. What there is no room for is
/// dropped, and counted.
pub(super) const WAITING_MAX: usize = 8_192;
/// Spans in a request: about 300 kB.
const BATCH_MAX: usize = 1_024;
/// How long a span may wait for others to go with it.
const PERIOD: Duration = Duration::from_secs(1);
/// How long a collector may take for a batch.
const POST_LIMIT: Duration = Duration::from_secs(5);
/// How long a shutdown waits for the last ones.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A span with its end.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) trace: u128,
    pub(super) span: u64,
    pub(super) parent: Option<u64>,
    pub(super) link: Option<TraceParent>,
    pub(super) request: RequestId,
    pub(super) start_unix_ns: u64,
    pub(super) end_unix_ns: u64,
    pub(super) error: Option<String>,
}

/// What waits, and how much was dropped since that was last told.
#[derive(Debug, Default)]
struct Waiting {
    spans: Vec<Finished>,
    dropped: usize,
}

/// A batch that nobody has answered yet. Dropped with its shutdown, it counts as lost.
struct UnderWay<'a> {
    line: &'a Line,
    spans: usize,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.line.dropped(self.spans, "the replica ended before the collector's answer");
    }
}

/// Sends the spans of one replica.
pub(super) struct Exporter {
    line: Arc<Line>,
    _task: TaskGuard,
}

struct Line {
    env: Env,
    endpoint: TraceEndpoint,
    service: &'static str,
    /// Tells replicas apart.
    instance: String,
    telemetry: Arc<dyn Telemetry>,
    waiting: Mutex<Waiting>,
    enough: Notify,
    /// Held while a batch is under way, so that a shutdown waits for that, too.
    sending: tokio::sync::Mutex<()>,
}

impl Exporter {
    pub(super) fn start(
        env: &Env,
        endpoint: TraceEndpoint,
        service: &'static str,
        telemetry: Arc<dyn Telemetry>,
    ) -> Self {
        let mut life = [0; 8];
        env.random(&mut life);
        let instance = format!("{service}-{:016x}", u64::from_be_bytes(life));
        let line = Arc::new(Line {
            env: env.clone(),
            endpoint,
            service,
            instance,
            telemetry,
            waiting: Mutex::default(),
            enough: Notify::new(),
            sending: tokio::sync::Mutex::default(),
        });
        let sending = line.clone();
        let task = env.spawn("traces", async move {
            loop {
                let _ = timeout(PERIOD, sending.enough.notified()).await;
                if !sending.send().await {
                    sleep(PERIOD).await; // or a busy replica would dial without a pause
                }
            }
        });
        Self { line, _task: task.into() }
    }

    /// Never waits.
    pub(super) fn put(&self, span: Finished) {
        let mut waiting = self.line.waiting();
        if waiting.spans.len() >= WAITING_MAX {
            waiting.dropped += 1;
            return;
        }
        waiting.spans.push(span);
        if waiting.spans.len() == BATCH_MAX {
            self.line.enough.notify_one();
        }
    }

    /// Sends what waits, for a while. What is left is dropped, and told.
    pub(super) async fn close(&self) {
        let _ = timeout(CLOSE_LIMIT, self.line.send()).await;
        let left = self.line.waiting().spans.drain(..).count();
        self.line.dropped(left, "the replica ends");
    }
}

impl Line {
    /// Sends all that waits. A batch that the collector does not take is dropped, and the rest waits for the next time:
    /// false.
    async fn send(&self) -> bool {
        let _one_at_a_time = self.sending.lock().await;
        loop {
            let (batch, dropped) = {
                let mut waiting = self.waiting();
                let count = waiting.spans.len().min(BATCH_MAX);
                (waiting.spans.drain(..count).collect::<Vec<_>>(), std::mem::take(&mut waiting.dropped))
            };
            self.dropped(dropped, &format!("{WAITING_MAX} are waiting"));
            if batch.is_empty() {
                return true;
            }
            let mut under_way = UnderWay { line: self, spans: batch.len() };
            let posted = timeout(POST_LIMIT, self.post(&batch)).await;
            under_way.spans = 0;
            if let Err(detail) = posted.unwrap_or_else(|_| Err(format!("no answer within {POST_LIMIT:?}"))) {
                let TraceEndpoint { host, port, .. } = &self.endpoint;
                let detail = bounded(&format_args!("collector at {host}:{port}: {detail}"));
                self.dropped(batch.len(), &detail);
                return false;
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no holder of this lock panics")
    }

    fn dropped(&self, spans: usize, detail: &str) {
        if spans > 0 {
            self.telemetry.record(&Event::SpansDropped { spans: spans as u64, detail });
        }
    }

    async fn post(&self, batch: &[Finished]) -> Result<(), String> {
        let TraceEndpoint { host, port, path } = &self.endpoint;
        let stream = timeout(DIAL_LIMIT, self.env.connect(host, *port)).await;
        let stream = stream.map_err(|_| format!("no connection within {DIAL_LIMIT:?}"))?;
        let stream = stream.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let driver = async { drop(connection.await) }; // its error is that of the request, too
        let _driver: TaskGuard = self.env.spawn("traces connection", driver).into();
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let request = Request::post(path).header(HOST, authority).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::new(Bytes::from(self.document(batch).to_string())));
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status().is_success() { Ok(()) } else { Err(format!("HTTP status {}", response.status())) }
    }

    /// An `ExportTraceServiceRequest` (opentelemetry-proto).
    fn document(&self, batch: &[Finished]) -> Value {
        let resource = [attribute("service.name", self.service), attribute("service.instance.id", &self.instance)];
        let spans: Vec<Value> = batch.iter().map(span).collect();
        json!({ "resourceSpans": [{
            "resource": { "attributes": resource },
            "scopeSpans": [{ "scope": { "name": "shelfwire" }, "spans": spans }],
        }] })
    }
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Ids are hexadecimal digits, and numbers of 64 bits are texts, as OTLP's JSON has them.
fn span(span: &Finished) -> Value {
    let mut value = json!({
        "traceId": format!("{:032x}", span.trace),
        "spanId": format!("{:016x}", span.span),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.start_unix_ns.to_string(),
        "endTimeUnixNano": span.end_unix_ns.to_string(),
        "attributes": [attribute("shelfwire.request", &span.request.to_string())],
    });
    if let Some(parent) = span.parent {
        value["parentSpanId"] = format!("{parent:016x}").into();
    }
    if let Some(TraceParent { trace, span, .. }) = span.link {
        value["links"] = json!([{ "traceId": format!("{trace:032x}"), "spanId": format!("{span:016x}") }]);
    }
    if let Some(error) = &span.error {
        value["status"] = json!({ "code": 2, "message": error });
    }
    value
}
