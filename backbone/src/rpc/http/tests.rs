use super::*;
use crate::{
    config::{Connections, Rpc, RpcKind},
    env::memory::memory_env,
    message::{Command, Mac, Message as _, RequestId, Status},
    telemetry::{LogTelemetry, Readiness},
};
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{collections::BTreeMap, convert::Infallible, sync::Mutex, time::Duration};
use tokio::time::Instant;

/// What a router that stands in for the real one does with a request.
#[derive(Clone, Copy)]
enum Does {
    /// Answers with this status, and a reply from the label.
    Answer(u16),
    /// Answers 200 with this body.
    Say(&'static str),
    /// Never answers.
    Nothing,
    /// Answers the first request of a connection and closes it without a word.
    CloseAfterFirst,
}

/// Which requests came over which connection: one entry for each connection, with its port.
type Seen = Arc<Mutex<Vec<(u16, usize)>>>;

async fn router(env: &Env, port: u16, does: Does, seen: &Seen) {
    let mut listener = env.listen(([0, 0, 0, 0], port).into()).await.unwrap();
    let (env, seen) = (env.clone(), seen.clone());
    let accepting = env.clone();
    env.spawn("router", async move {
        loop {
            let stream = listener.accept().await.unwrap();
            let connection = {
                let mut seen = seen.lock().unwrap();
                seen.push((port, 0));
                seen.len() - 1
            };
            let seen = seen.clone();
            let service = service_fn(move |request| {
                seen.lock().unwrap()[connection].1 += 1;
                respond(request, does)
            });
            accepting.spawn("connection", async move {
                let _ = http1::Builder::new()
                    .keep_alive(!matches!(does, Does::CloseAfterFirst))
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
}

async fn respond(request: hyper::Request<Incoming>, does: Does) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", ROUTE_PATH));
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let request = Request::parse(&body).unwrap();
    let Request { request_id, esl_mac, .. } = request;
    let reply = Reply { request_id: Some(request_id), esl_mac, status: Status::Done, detail: None };
    let (status, body) = match does {
        Does::Answer(status) => (status, reply.to_bytes()),
        Does::CloseAfterFirst => (200, reply.to_bytes()),
        Does::Say(body) => (200, body.as_bytes().to_vec()),
        Does::Nothing => std::future::pending().await,
    };
    Ok(Response::builder().status(status).body(Full::new(body.into())).unwrap())
}

fn client(env: &Env, ports: &[u16], connections: Connections) -> HttpClient {
    let routers = ports.iter().map(|port| format!("router:{port}")).collect();
    client_with(env, Rpc { kind: RpcKind::Http, routers, connections }, Arc::new(LogTelemetry::default()))
}

fn client_with(env: &Env, rpc: Rpc, telemetry: Arc<dyn Telemetry>) -> HttpClient {
    let tracer = Tracer::new(env, &config::Tracing::default(), "task_worker", &telemetry);
    HttpClient::new(env, &rpc, telemetry, tracer)
}

fn requests(env: &Env, count: u64) -> Vec<Request> {
    let deadline = Deadline::after(env, Duration::from_secs(60));
    let command = |esl: u64| -> Command {
        let text = format!(r#"{{"esl_mac":"{}","version":1,"body":{{}}}}"#, Mac::new(esl));
        serde_json::from_str(&text).unwrap()
    };
    let request = |esl| Request {
        request_id: RequestId::draw(env),
        esl_mac: Mac::new(esl),
        version: 1,
        deadline_unix_ms: deadline.unix_ms(),
        attempt: None,
        body: command(esl).body,
    };
    (0..count).map(request).collect()
}

async fn call_all(client: &HttpClient, count: u64) -> Vec<Result<Reply, CallError>> {
    let origin = Origin { task: &"task".parse().unwrap(), traceparent: None };
    client.call_all(origin, requests(&client.env, count)).await
}

/// How many requests each port got.
fn by_port(seen: &Seen) -> BTreeMap<u16, usize> {
    let mut ports = BTreeMap::new();
    seen.lock().unwrap().iter().for_each(|(port, requests)| *ports.entry(*port).or_default() += requests);
    ports
}

#[tokio::test(start_paused = true)]
async fn a_connection_for_each_request_goes_round_the_routers() {
    let (env, seen) = (memory_env(), Seen::default());
    for port in 1..=3 {
        router(&env, port, Does::Answer(200), &seen).await;
    }
    let client = client(&env, &[1, 2, 3], Connections::PerRequest);
    for _ in 0..6 {
        assert!(call_all(&client, 2).await.iter().all(Result::is_ok));
    }
    assert_eq!(by_port(&seen), BTreeMap::from([(1, 4), (2, 4), (3, 4)]));
    assert!(seen.lock().unwrap().iter().all(|(_, requests)| *requests == 1));
}

#[tokio::test(start_paused = true)]
async fn requests_of_one_task_go_to_one_router_and_those_of_the_next_task_to_the_next() {
    let (env, seen) = (memory_env(), Seen::default());
    for port in 1..=3 {
        router(&env, port, Does::Answer(200), &seen).await;
    }
    let client = client(&env, &[1, 2, 3], Connections::PerTask);
    let mut routers = Vec::new();
    for _ in 0..3 {
        seen.lock().unwrap().clear();
        assert!(call_all(&client, 4).await.iter().all(Result::is_ok));
        let ports = by_port(&seen);
        assert_eq!(ports.len(), 1, "{ports:?}");
        routers.extend(ports.into_keys());
    }
    routers.sort_unstable();
    assert_eq!(routers, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn kept_connections_stick_to_their_routers() {
    let (env, seen) = (memory_env(), Seen::default());
    for port in 1..=3 {
        router(&env, port, Does::Answer(200), &seen).await;
    }
    let client = client(&env, &[1, 2, 3], Connections::KeepAlive);
    for _ in 0..5 {
        assert!(call_all(&client, 2).await.iter().all(Result::is_ok));
    }
    let requests: Vec<usize> = seen.lock().unwrap().iter().map(|(_, requests)| *requests).collect();
    assert_eq!(requests, [5, 5], "two connections for two concurrent requests, to two of the routers");
    tokio::time::sleep(Duration::from_secs(21)).await;
    assert!(call_all(&client, 1).await[0].is_ok());
    assert_eq!(seen.lock().unwrap().len(), 3, "a connection that was idle for long is not used again");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_its_router_has_closed_is_replaced() {
    let (env, seen) = (memory_env(), Seen::default());
    router(&env, 1, Does::CloseAfterFirst, &seen).await;
    let client = client(&env, &[1], Connections::KeepAlive);
    for _ in 0..3 {
        assert!(call_all(&client, 1).await[0].is_ok());
    }
    assert_eq!(seen.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_is_away_is_passed_over() {
    let (env, seen) = (memory_env(), Seen::default());
    router(&env, 2, Does::Answer(200), &seen).await;
    let client = client(&env, &[1, 2], Connections::PerRequest);
    assert!(call_all(&client, 4).await.iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn without_any_router_the_error_names_the_last_one() {
    let client = client(&memory_env(), &[1], Connections::PerRequest);
    let error = call_all(&client, 1).await.remove(0).unwrap_err();
    assert!(error.to_string().contains("router:1: connection refused"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_says_nothing_is_waited_for_until_the_deadline_and_no_longer() {
    let (env, seen) = (memory_env(), Seen::default());
    router(&env, 1, Does::Nothing, &seen).await;
    let start = Instant::now();
    let results = call_all(&client(&env, &[1], Connections::KeepAlive), 2).await;
    assert!(results.iter().all(|result| matches!(result, Err(CallError::Timeout))), "{results:?}");
    assert_eq!(start.elapsed().as_secs(), 60);
}

#[tokio::test(start_paused = true)]
async fn more_calls_than_a_worker_may_have_wait_their_turn() {
    let (env, seen) = (memory_env(), Seen::default());
    router(&env, 1, Does::Answer(200), &seen).await;
    let results = call_all(&client(&env, &[1], Connections::KeepAlive), 3 * CALLS_MAX as u64).await;
    assert!(results.iter().all(Result::is_ok));
    assert!(seen.lock().unwrap().len() <= CALLS_MAX, "{:?}", seen.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_status_says_what_happened() {
    let outcome = async |does| {
        let (env, seen) = (memory_env(), Seen::default());
        router(&env, 1, does, &seen).await;
        call_all(&client(&env, &[1], Connections::PerRequest), 1).await.remove(0)
    };
    assert!(outcome(Does::Answer(404)).await.is_ok(), "the reply that a router gives in a gateway's stead");
    assert!(matches!(outcome(Does::Answer(503)).await, Err(CallError::Overloaded)));
    assert!(matches!(outcome(Does::Answer(504)).await, Err(CallError::Timeout)));
    assert!(matches!(outcome(Does::Answer(500)).await, Err(CallError::Router { status: 500, .. })));
    assert!(matches!(outcome(Does::Say("nonsense")).await, Err(CallError::Router { status: 200, .. })));
    let foreign = r#"{"esl_mac":"00:00:00:00:00:77","status":"done"}"#;
    let error = outcome(Does::Say(foreign)).await.unwrap_err().to_string();
    assert!(error.contains("the reply is to another request"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_reaches_no_router_is_not_ready_until_one_is_there_again() {
    let (env, seen, readiness) = (memory_env(), Seen::default(), Arc::new(Readiness::default()));
    let rpc = Rpc { kind: RpcKind::Http, routers: vec!["router:1".into()], connections: Connections::KeepAlive };
    let client = client_with(&env, rpc, readiness.clone());
    assert_eq!(readiness.check(), Ok(()), "nobody has tried");
    assert!(matches!(call_all(&client, 1).await[..], [Err(CallError::NoRouter { .. })]));
    let said = readiness.check().unwrap_err().to_string();
    assert!(said.contains("waiting for router (router:1: "), "{said}");
    router(&env, 1, Does::Answer(200), &seen).await;
    readiness.check().unwrap_err(); // dials
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(readiness.check(), Ok(()));
}
