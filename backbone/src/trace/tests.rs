//! Spans as a collector gets them.

use super::{Kind, TraceParent, Tracer, export::WAITING_MAX};
use crate::{
    config::Tracing,
    env::{Env, Stream, memory::memory_env},
    message::RequestId,
    telemetry::{Event, Telemetry},
};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{sleep, timeout},
};

const PORT: u16 = 4318;

#[derive(Default)]
struct Dropped(AtomicU64);

impl Telemetry for Dropped {
    fn record(&self, event: &Event<'_>) {
        if let Event::SpansDropped { spans, .. } = event {
            self.0.fetch_add(*spans, Relaxed);
        }
    }
}

/// Head and body of a request.
async fn read(stream: &mut Stream) -> (String, Vec<u8>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (head, body)
}

/// A collector that takes so long and answers with `status`, and what it gets.
async fn collector(env: &Env, takes: Duration, status: &'static str) -> mpsc::UnboundedReceiver<(String, Value)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut listener = env.listen(([127, 0, 0, 1], PORT).into()).await.unwrap();
    env.spawn("collector", async move {
        loop {
            let mut stream = listener.connection().await;
            let (head, body) = read(&mut stream).await;
            sleep(takes).await;
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).await.unwrap();
            sender.send((head, serde_json::from_slice(&body).unwrap())).unwrap();
        }
    });
    receiver
}

fn tracer(env: &Env, sample_ppm: u32) -> (Tracer, Arc<Dropped>) {
    let dropped = Arc::<Dropped>::default();
    let config = Tracing { collector: format!("http://localhost:{PORT}/v1/traces"), sample_ppm };
    let telemetry: Arc<dyn Telemetry> = dropped.clone();
    (Tracer::new(env, &config, "fwd_router", &telemetry), dropped)
}

fn parent(is_sampled: bool) -> TraceParent {
    TraceParent { trace: 0x4bf9, span: 0xf067, is_sampled }
}

fn spans(document: &Value) -> &Vec<Value> {
    document["resourceSpans"][0]["scopeSpans"][0]["spans"].as_array().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_span_reaches_the_collector_with_the_requests_id_and_its_parent() {
    let env = memory_env();
    let mut collected = collector(&env, Duration::ZERO, "200 OK").await;
    let (tracer, dropped) = tracer(&env, 1_000_000);
    let request = RequestId::draw(&env);
    let call = tracer.span("call", Kind::Client, request, None).linked(Some(parent(true)));
    let parent = call.traceparent().unwrap();
    let forward = tracer.span("forward", Kind::Consumer, request, Some(parent));
    let next = forward.traceparent().unwrap();
    sleep(Duration::from_millis(5)).await;
    forward.end(None);
    call.end(Some("no reply".into()));
    let (head, document) = collected.recv().await.unwrap();
    assert!(
        head.starts_with("post /v1/traces http/1.1\r\n") && head.contains("content-type: application/json"),
        "{head}"
    );
    let service = &document["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"];
    assert_eq!(service, "fwd_router");
    let [forward, call] = &spans(&document)[..] else { panic!("{document}") };
    assert_eq!(forward["traceId"], request.to_string());
    assert_eq!(forward["spanId"], format!("{:016x}", next.span));
    assert_eq!((&forward["parentSpanId"], &forward["name"]), (&call["spanId"], &"forward".into()));
    let ns = |key: &str| forward[key].as_str().unwrap().parse::<u64>().unwrap();
    assert_eq!(ns("endTimeUnixNano") - ns("startTimeUnixNano"), 5_000_000);
    let producer = json!([{ "traceId": format!("{:032x}", 0x4bf9), "spanId": format!("{:016x}", 0xf067) }]);
    assert_eq!((&call["links"], forward.get("links")), (&producer, None));
    assert_eq!((&call["status"]["message"], call.get("parentSpanId")), (&"no reply".into(), None));
    assert_eq!(dropped.0.load(Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_collector_nothing_is_told_to_anybody() {
    let telemetry: Arc<dyn Telemetry> = Arc::<Dropped>::default();
    let tracer = Tracer::new(&memory_env(), &Tracing::default(), "bck_router", &telemetry);
    let span = tracer.span("return", Kind::Consumer, RequestId::draw(&memory_env()), Some(parent(true)));
    assert_eq!((span.traceparent(), tracer.now_unix_ns()), (None, 0));
}

#[tokio::test(start_paused = true)]
async fn a_parent_decides_and_without_one_the_share_of_requests() {
    let env = memory_env();
    let (tracer, _) = tracer(&env, 250_000);
    let is_traced = |parent: Option<TraceParent>| {
        tracer.span("call", Kind::Client, RequestId::draw(&env), parent).traceparent().is_some()
    };
    let traced = (0..4_000).filter(|_| is_traced(None)).count();
    assert!((850..1_150).contains(&traced), "{traced} of 4,000"); // five standard deviations
    assert!((0..50).all(|_| is_traced(Some(parent(true))) && !is_traced(Some(parent(false)))));
}

#[tokio::test(start_paused = true)]
async fn spans_that_a_collector_does_not_take_are_counted_and_keep_nobody() {
    for status in [None, Some("503 Busy")] {
        let env = memory_env();
        let _collected = match status {
            Some(status) => Some(collector(&env, Duration::ZERO, status).await),
            None => None,
        };
        let (tracer, dropped) = tracer(&env, 1_000_000);
        for _ in 0..WAITING_MAX + 10 {
            tracer.span("call", Kind::Client, RequestId::draw(&env), None).end(None);
        }
        let closed = timeout(Duration::from_millis(100), tracer.close()).await;
        assert!(closed.is_ok(), "a refusal delays no shutdown");
        drop(tracer);
        assert_eq!(dropped.0.load(Relaxed), WAITING_MAX as u64 + 10, "{status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_a_collector_has_not_answered_when_a_replica_ends_is_counted() {
    let env = memory_env();
    let mut collected = collector(&env, Duration::from_secs(60), "200 OK").await;
    let (tracer, dropped) = tracer(&env, 1_000_000);
    for _ in 0..3 {
        tracer.span("call", Kind::Client, RequestId::draw(&env), None).end(None);
    }
    let closed = timeout(Duration::from_secs(3), tracer.close()).await;
    assert!(closed.is_ok());
    drop(tracer);
    assert_eq!((dropped.0.load(Relaxed), collected.try_recv().is_err()), (3, true));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_ends_waits_for_the_batch_that_is_under_way() {
    let env = memory_env();
    let mut collected = collector(&env, Duration::from_secs(1), "200 OK").await;
    let (tracer, dropped) = tracer(&env, 1_000_000);
    tracer.span("call", Kind::Client, RequestId::draw(&env), None).end(None);
    sleep(Duration::from_millis(1_500)).await; // the batch has left, and is not answered
    tracer.close().await;
    drop(tracer);
    let (_, document) = collected.recv().await.unwrap();
    assert_eq!((spans(&document).len(), dropped.0.load(Relaxed)), (1, 0));
}
