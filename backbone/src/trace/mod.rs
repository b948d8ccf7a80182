//! Traces of requests, for a collector that speaks OpenTelemetry: which hop took how long, live. Off by default.
//!
//! **A call's trace has the id of its request.** So a backward router, to which a gateway echoes nothing but that id,
//! or not even that where Redis knows it, still knows the trace, and gateways need not be changed. Whose child a span
//! is travels as the W3C's `traceparent`, in HTTP's and AMQP's headers and MQTT's user properties. The worker decides
//! which requests are traced, by their ids; who is told nothing decides by the same rule. The trace of a task's
//! producer is not continued but linked to: one task has many calls.
//!
//! The spans go to the collector in the background (`export`), from a buffer with a limit; a service never waits for
//! them. We make them ourselves: what is needed is a struct and a POST, and OpenTelemetry's SDK sends its batches from
//! a thread and by a clock of its own, past the seam (`CONTRIBUTING.md`, "Measured and decided").

mod export;
mod parent;

pub(crate) use parent::{TRACEPARENT, TraceParent};

use crate::{config, env::Env, message::RequestId, telemetry::Telemetry};
use export::{Exporter, Finished};
use std::sync::Arc;

const PER_MILLION: u64 = 1_000_000;

/// What a span is to those at both of its ends; OTLP's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It takes in a call, and answers.
    Server = 2,
    /// It calls, and waits for the answer.
    Client = 3,
    /// It takes in what somebody has sent.
    Consumer = 5,
}

/// Makes the spans of one replica. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tracer(Option<Arc<On>>);

struct On {
    env: Env,
    sample_ppm: u64,
    exporter: Exporter,
}

/// A span that has begun, if its request is traced. Dropped before its end, it is forgotten.
pub(crate) struct Span(Option<Begun>);

struct Begun {
    on: Arc<On>,
    name: &'static str,
    kind: Kind,
    own: TraceParent,
    parent: Option<u64>,
    /// A span of another trace that led to it.
    link: Option<TraceParent>,
    request: RequestId,
    start_unix_ns: u64,
}

impl Tracer {
    /// That of a replica of `service`. It spawns nothing unless traces are wanted.
    ///
    /// # Panics
    /// If `config` is not valid.
    pub(crate) fn new(
        env: &Env,
        config: &config::Tracing,
        service: &'static str,
        telemetry: &Arc<dyn Telemetry>,
    ) -> Self {
        let endpoint = config.endpoint().expect("the configuration was validated");
        Self(endpoint.map(|endpoint| {
            let exporter = Exporter::start(env, endpoint, service, telemetry.clone());
            Arc::new(On { env: env.clone(), sample_ppm: config.sample_ppm.into(), exporter })
        }))
    }

    /// When a span that may be wanted begins, in nanoseconds since 1970.
    pub(crate) fn now_unix_ns(&self) -> u64 {
        self.0.as_ref().map_or(0, |on| on.now_unix_ns())
    }

    /// A span that begins now, if the request is traced: as `parent` says, or, without one, by its id.
    pub(crate) fn span(&self, name: &'static str, kind: Kind, request: RequestId, parent: Option<TraceParent>) -> Span {
        self.span_since(self.now_unix_ns(), name, kind, request, parent)
    }

    /// The same with a span that began before it was known of which request it is.
    pub(crate) fn span_since(
        &self,
        start_unix_ns: u64,
        name: &'static str,
        kind: Kind,
        request: RequestId,
        parent: Option<TraceParent>,
    ) -> Span {
        let Some(on) = &self.0 else { return Span(None) };
        let by_id = || request.low_bits() % PER_MILLION < on.sample_ppm;
        if !parent.map_or_else(by_id, |parent| parent.is_sampled) {
            return Span(None);
        }
        let mut span = [0; 8];
        on.env.random(&mut span);
        let own = TraceParent {
            trace: parent.map_or_else(|| request.value(), |parent| parent.trace),
            span: u64::from_be_bytes(span).max(1), // 0 is none
            is_sampled: true,
        };
        let parent = parent.map(|parent| parent.span);
        Span(Some(Begun { on: on.clone(), name, kind, own, parent, link: None, request, start_unix_ns }))
    }

    /// Hands out what is still to be handed out, as long as that does not take too long.
    pub(crate) async fn close(&self) {
        if let Some(on) = &self.0 {
            on.exporter.close().await;
        }
    }
}

impl On {
    fn now_unix_ns(&self) -> u64 {
        u64::try_from(self.env.unix_time().as_nanos()).expect("nanoseconds fit until 2554")
    }
}

impl Span {
    /// What tells the next hop whose child it is; `None`: there is nothing to tell.
    pub(crate) fn traceparent(&self) -> Option<TraceParent> {
        self.0.as_ref().map(|begun| begun.own)
    }

    /// Says which span of another trace led to it, if that is known: its own trace stays.
    pub(crate) fn linked(mut self, to: Option<TraceParent>) -> Self {
        if let Some(begun) = &mut self.0 {
            begun.link = to;
        }
        self
    }

    /// It ends now; with an error, if there was one.
    pub(crate) fn end(self, error: Option<String>) {
        let Some(Begun { on, name, kind, own, parent, link, request, start_unix_ns }) = self.0 else { return };
        let TraceParent { trace, span, .. } = own;
        let end_unix_ns = on.now_unix_ns().max(start_unix_ns);
        on.exporter.put(Finished { name, kind, trace, span, parent, link, request, start_unix_ns, end_unix_ns, error });
    }
}

#[cfg(test)]
mod tests;
