//! The router's HTTP side, in a world without brokers. What needs brokers is tested in the simulator.

use super::*;
use crate::{env::memory::memory_env, telemetry::LogTelemetry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 8_080;

fn start(env: &Env, in_flight_max: usize) -> CancellationToken {
    let mut config = Config::default();
    config.http_router.in_flight_max = in_flight_max;
    config.task_worker.reply_timeout_ms = 10_000;
    let shutdown = CancellationToken::new();
    let router = HttpRouter::run(env.clone(), Arc::new(config), Arc::new(LogTelemetry::default()), shutdown.clone());
    env.spawn("router", async move { router.await.unwrap() });
    shutdown
}

fn request(env: &Env, left: Duration) -> String {
    let deadline = Deadline::after(env, left).unix_ms();
    let id = RequestId::draw(env);
    format!(
        r#"{{"request_id":"{id}","esl_mac":"00:00:00:00:00:01","version":1,"deadline_unix_ms":{deadline},"body":1}}"#
    )
}

fn post(body: &str) -> String {
    format!("POST /route HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

/// Sends `text` over a connection of its own and returns all that comes back.
async fn say(env: &Env, text: &str) -> String {
    tokio::task::yield_now().await; // until it listens
    let mut stream = env.connect("router", PORT).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[track_caller]
fn assert_status(answer: &str, status: u16, reason: &str) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    assert!(answer.contains(reason), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_request_is_refused_with_its_reason() {
    let env = memory_env();
    let _router = start(&env, 1);
    assert_status(&say(&env, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await, 404, "/route");
    assert_status(&say(&env, "GET /route HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await, 405, "posted");
    assert_status(&say(&env, &post("{}")).await, 400, "request does not parse: missing field");
    assert_status(&say(&env, &post(&"x".repeat(REQUEST_BYTES_MAX + 1))).await, 413, "65536 bytes");
    assert_status(&say(&env, "nonsense\r\n\r\n").await, 400, "");
    let head = format!("GET /route HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    assert_status(&say(&env, &head).await, 431, "");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_too_late_has_timed_out() {
    let env = memory_env();
    let _router = start(&env, 1);
    let late = request(&env, Duration::ZERO);
    assert_status(&say(&env, &post(&late)).await, 504, "no reply before the deadline");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_ends_at_its_deadline() {
    let env = memory_env();
    let _router = start(&env, 1);
    let start = Instant::now();
    // Shorter than the wait for Redis.
    assert_status(&say(&env, &post(&request(&env, Duration::from_secs(1)))).await, 504, "no reply");
    assert_eq!(start.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_brokers_a_request_fails_with_what_is_missing() {
    let env = memory_env();
    let _router = start(&env, 1);
    let answer = say(&env, &post(&request(&env, Duration::from_secs(9)))).await;
    assert_status(&answer, 500, "read a route: no connection to redis in time");
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_it_takes_are_refused_and_the_place_is_free_again_afterwards() {
    let env = memory_env();
    let _router = start(&env, 1);
    let text = post(&request(&env, Duration::from_secs(9)));
    let (one, other) = tokio::join!(say(&env, &text), say(&env, &text));
    let (refused, taken) = if one.contains(" 503 ") { (one, other) } else { (other, one) };
    assert_status(&refused, 503, "too many requests");
    assert_status(&taken, 500, "redis");
    assert_status(&say(&env, &text).await, 500, "redis");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_frees_its_place() {
    let env = memory_env();
    let _router = start(&env, 1);
    let text = post(&request(&env, Duration::from_secs(9)));
    assert!(timeout(Duration::from_millis(500), say(&env, &text)).await.is_err());
    assert_status(&say(&env, &text).await, 500, "redis");
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_too_slow_is_cut_off() {
    let env = memory_env();
    let _router = start(&env, 1);
    let start = Instant::now();
    let answer = say(&env, "POST /route HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{").await;
    assert_status(&answer, 408, "did not arrive");
    assert_eq!(start.elapsed(), BODY_LIMIT);
    let start = Instant::now();
    assert_eq!(say(&env, "POST /rou").await, "");
    assert_eq!(start.elapsed(), HEAD_LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_is_stopped_answers_what_it_has_and_takes_no_more() {
    let env = memory_env();
    let shutdown = start(&env, 2);
    let text = post(&request(&env, Duration::from_secs(9)));
    let stop = async {
        sleep(Duration::from_secs(1)).await;
        shutdown.cancel();
    };
    let (answer, ()) = tokio::join!(say(&env, &text), stop);
    assert_status(&answer, 500, "redis");
    sleep(Duration::from_secs(2)).await;
    assert!(env.connect("router", PORT).await.is_err(), "the listener is closed");
}

#[tokio::test(start_paused = true)]
async fn a_port_that_is_taken_is_an_error_at_once() {
    let env = memory_env();
    let _taken = env.listen(Config::default().http_router.listen).await.unwrap();
    let run = HttpRouter::run(env, Arc::default(), Arc::new(LogTelemetry::default()), CancellationToken::new());
    let error = run.await.unwrap_err().to_string();
    assert_eq!(error, "cannot listen on 0.0.0.0:8080 (http_router.listen): address in use");
}
