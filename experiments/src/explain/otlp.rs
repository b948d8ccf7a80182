//! A run as OpenTelemetry spans, in OTLP's JSON (opentelemetry-proto, `trace/v1`): what collectors and viewers of
//! traces take in. A trace for each task: under its root the worker's calls, under each call the hops of its messages,
//! each a span of the pod that passed it on, linked to the one before it. What was waited for is in attributes.
//!
//! Ids are made from the seed and the names of things, so that the same run gives the same file.

use super::{NS_PER_US, hop_name, stretch_ns, tasks_in_time};
use crate::{
    attribution::{Attribution, Call, Cause, Hop, Span},
    spec::{Pod, Spec},
    workload::task_id,
};
use backbone::message::RequestId;
use rustc_hash::FxHashMap;
use serde::{Serialize, Serializer};
use sim::UNIX_START_S;
use std::collections::BTreeMap;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

const NS_PER_S: u64 = 1_000_000_000;
/// `SpanKind`.
const INTERNAL: u8 = 1;
const CLIENT: u8 = 3;
const PRODUCER: u8 = 4;
/// `StatusCode`.
const ERROR: u8 = 2;

/// An id, in hexadecimal digits: OTLP's JSON says so, other than that of protocol buffers.
#[derive(Clone, Copy)]
struct TraceId(u128);

#[derive(Clone, Copy)]
struct SpanId(u64);

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:016x}", self.0))
    }
}

/// Virtual time as nanoseconds since 1970, in a text: JSON's numbers would not hold it.
struct UnixNano(u64);

impl Serialize for UnixNano {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&(UNIX_START_S * NS_PER_S + self.0))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Value {
    StringValue(String),
    /// In a text, as all 64-bit numbers.
    IntValue(String),
}

#[derive(Serialize)]
struct Attribute {
    key: String,
    value: Value,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Link {
    trace_id: TraceId,
    span_id: SpanId,
}

#[derive(Serialize)]
struct Status {
    code: u8,
    message: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OtlpSpan {
    trace_id: TraceId,
    span_id: SpanId,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_span_id: Option<SpanId>,
    name: String,
    kind: u8,
    start_time_unix_nano: UnixNano,
    end_time_unix_nano: UnixNano,
    attributes: Vec<Attribute>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    links: Vec<Link>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
}

fn text(key: &str, value: impl ToString) -> Attribute {
    Attribute { key: key.into(), value: Value::StringValue(value.to_string()) }
}

fn number(key: &str, value: u64) -> Attribute {
    Attribute { key: key.into(), value: Value::IntValue(value.to_string()) }
}

/// `wait.CAUSE_us` for each cause; what lies behind a queue is `wait.CAUSE.CAUSE_us`.
fn waits(parts: impl Iterator<Item = (Cause, Option<Cause>, u64)>) -> impl Iterator<Item = Attribute> {
    let mut sums_ns: BTreeMap<(Cause, Option<Cause>), u64> = BTreeMap::new();
    parts.for_each(|(cause, because, ns)| *sums_ns.entry((cause, because)).or_default() += ns);
    sums_ns.into_iter().map(|((cause, because), ns)| {
        let behind = because.map(|why| format!(".{}", why.key())).unwrap_or_default();
        number(&format!("shelfwire.wait.{}{behind}_us", cause.key()), ns / NS_PER_US)
    })
}

/// What makes spans of a run.
struct Spans<'a> {
    spec: &'a Spec,
    attribution: &'a Attribution,
    calls: FxHashMap<RequestId, &'a Call>,
    /// Whose root there is.
    has_root: Vec<bool>,
}

impl Spans<'_> {
    fn trace_id(&self, task: u32) -> TraceId {
        TraceId(xxh3_128_with_seed(task_id(task).as_bytes(), self.spec.seed).max(1)) // 0 is no id
    }

    fn span_id(&self, name: &str) -> SpanId {
        SpanId(xxh3_64_with_seed(name.as_bytes(), self.spec.seed).max(1))
    }

    fn id_of_root(&self, task: u32) -> SpanId {
        self.span_id(&task_id(task))
    }

    fn id_of_call(&self, request: RequestId) -> SpanId {
        self.span_id(&format!("call {request}"))
    }

    fn id_of_hop(&self, number: u64) -> SpanId {
        self.span_id(&format!("hop {number}"))
    }

    fn roots(&self) -> impl Iterator<Item = OtlpSpan> {
        tasks_in_time(self.attribution).map(|task| {
            let record = &task.record;
            let (from_ns, to_ns) = stretch_ns(task);
            let parts = task.parts.iter().map(|part| (part.cause, part.because, u64::from(part.us) * NS_PER_US));
            let about = [
                text("shelfwire.task", record.id()),
                text("shelfwire.end", record.end.word()),
                number("shelfwire.tries", record.attempts.into()),
            ];
            let failed = record.end != crate::measure::TaskEnd::Done;
            OtlpSpan {
                trace_id: self.trace_id(record.index),
                span_id: self.id_of_root(record.index),
                parent_span_id: None,
                name: "task".into(),
                kind: INTERNAL,
                start_time_unix_nano: UnixNano(from_ns),
                end_time_unix_nano: UnixNano(to_ns),
                attributes: about.into_iter().chain(waits(parts)).collect(),
                links: Vec::new(),
                status: failed.then(|| Status { code: ERROR, message: record.end.word().into() }),
            }
        })
    }

    fn call(&self, call: &Call) -> OtlpSpan {
        OtlpSpan {
            trace_id: self.trace_id(call.task),
            span_id: self.id_of_call(call.request),
            parent_span_id: Some(self.id_of_root(call.task)),
            name: "call".into(),
            kind: CLIENT,
            start_time_unix_nano: UnixNano(call.sent_ns),
            end_time_unix_nano: UnixNano(call.ended_ns),
            attributes: vec![text("shelfwire.request", call.request), text("shelfwire.label", call.label)],
            links: Vec::new(),
            status: (!call.is_answered).then(|| Status { code: ERROR, message: "no reply".into() }),
        }
    }

    fn hop(&self, hop: &Hop) -> OtlpSpan {
        let trace_id = self.trace_id(hop.task);
        let call = hop.request.filter(|request| self.calls.contains_key(request));
        let parent = call.map_or_else(|| self.id_of_root(hop.task), |request| self.id_of_call(request));
        let parts = |spans: &[Span]| -> Vec<(Cause, Option<Cause>, u64)> {
            spans.iter().map(|span| (span.cause, span.because, span.to_ns - span.from_ns)).collect()
        };
        let names = [
            hop.request.map(|request| text("shelfwire.request", request)),
            hop.label.map(|label| text("shelfwire.label", label)),
            Some(text("shelfwire.to", self.attribution.pods[usize::from(hop.to.0)])),
            Some(number("shelfwire.here_us", (hop.written_ns - hop.came_ns()) / NS_PER_US)),
        ];
        let parts = parts(&hop.stay).into_iter().chain(parts(&hop.way));
        OtlpSpan {
            trace_id,
            span_id: self.id_of_hop(hop.number),
            parent_span_id: Some(parent),
            name: hop_name(self.attribution, hop),
            kind: PRODUCER,
            start_time_unix_nano: UnixNano(hop.came_ns()),
            end_time_unix_nano: UnixNano(hop.taken_ns.unwrap_or(hop.written_ns)),
            attributes: names.into_iter().flatten().chain(waits(parts)).collect(),
            links: hop.before.map(|before| Link { trace_id, span_id: self.id_of_hop(before) }).into_iter().collect(),
            status: hop.taken_ns.is_none().then(|| Status { code: ERROR, message: "never came".into() }),
        }
    }

    fn is_of_task_with_root(&self, task: u32) -> bool {
        self.has_root.get(task as usize).copied().unwrap_or(false)
    }
}

/// The spans of a run, as OTLP's JSON. Of tasks without an end there are none.
#[must_use]
pub fn otlp(spec: &Spec, attribution: &Attribution) -> Vec<u8> {
    let mut has_root = vec![false; spec.workload.tasks as usize];
    attribution.tasks.iter().for_each(|task| has_root[task.record.index as usize] = true);
    let calls = attribution.journeys.calls.iter().map(|call| (call.request, call)).collect();
    let spans = Spans { spec, attribution, calls, has_root };
    let mut of_host: Vec<(Vec<&Call>, Vec<&Hop>)> = vec![Default::default(); attribution.pods.len()];
    for call in attribution.journeys.calls.iter().filter(|call| spans.is_of_task_with_root(call.task)) {
        of_host[usize::from(call.worker)].0.push(call);
    }
    for hop in attribution.journeys.hops.iter().filter(|hop| spans.is_of_task_with_root(hop.task)) {
        of_host[usize::from(hop.from.0)].1.push(hop);
    }
    // A file may have hundreds of megabytes: one span at a time.
    let mut out = b"{\"resourceSpans\":[".to_vec();
    resource(&mut out, &[text("service.name", "producer")], spans.roots());
    for ((pod, name), (calls, hops)) in attribution.pods.iter().zip(attribution.host_names()).zip(&of_host) {
        if calls.is_empty() && hops.is_empty() {
            continue;
        }
        out.push(b',');
        let calls = calls.iter().map(|call| spans.call(call));
        resource(&mut out, &of_pod(*pod, name), calls.chain(hops.iter().map(|hop| spans.hop(hop))));
    }
    out.extend_from_slice(b"]}\n");
    out
}

fn of_pod(pod: Pod, name: String) -> [Attribute; 2] {
    [text("service.name", pod.kind()), text("service.instance.id", name)]
}

fn resource(out: &mut Vec<u8>, attributes: &[Attribute], spans: impl Iterator<Item = OtlpSpan>) {
    out.extend_from_slice(b"{\"resource\":{\"attributes\":");
    write(out, &attributes);
    out.extend_from_slice(b"},\"scopeSpans\":[{\"scope\":{\"name\":\"shelfwire\"},\"spans\":[");
    for (place, span) in spans.enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write(out, &span);
    }
    out.extend_from_slice(b"]}]}");
}

fn write(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("texts and numbers are JSON");
}
