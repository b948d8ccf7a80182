use super::{
    super::{
        Broker, Config,
        management::{Samples, describe, queue_of, sample},
    },
    *,
};
use backbone::env::Env;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What is known of `queue` once a sample was taken `s` seconds after the start.
fn sampled(bench: &mut Bench, samples: &mut Samples, s: u64, queue: &str) -> Value {
    bench.now_us = s * 1_000_000;
    bench.state.set_now(bench.now_us);
    sample(samples, &bench.state);
    describe(queue, samples.get(queue))
}

#[test]
fn numbers_are_those_of_the_last_sample_and_rates_those_between_the_last_two() {
    let (mut bench, mut samples) = (Bench::new(), Samples::new());
    let client = bench.connect();
    bench.declare(client, "q", &[]);
    assert_eq!(describe("q", samples.get("q")), json!({ "name": "q", "vhost": "/", "type": "classic" }));
    assert_eq!(sampled(&mut bench, &mut samples, 5, "q")["messages"], 0);
    assert_eq!(describe("q", samples.get("q"))["message_stats"], Value::Null);
    (0..15).for_each(|_| drop(bench.publish(client, "q", "body")));
    assert_eq!(describe("q", samples.get("q"))["messages"], 0, "as of the last sample");
    let first = sampled(&mut bench, &mut samples, 10, "q");
    assert_eq!((&first["messages"], &first["messages_ready"]), (&json!(15), &json!(15)));
    let stats = json!({ "publish": 15, "publish_details": { "rate": 0.0 } });
    assert_eq!(first["message_stats"], stats, "the first rate is 0, and nothing was delivered");
    (0..15).for_each(|_| drop(bench.publish(client, "q", "body")));
    bench.qos(client, 10, false);
    bench.consume(client, "q", "c");
    let second = sampled(&mut bench, &mut samples, 15, "q");
    let counts = ["messages", "messages_ready", "messages_unacknowledged", "consumers"].map(|key| &second[key]);
    assert_eq!(counts.map(|count| count.as_u64().unwrap()), [30, 20, 10, 1]);
    assert_eq!(second["message_stats"]["publish_details"]["rate"], 3.0);
    assert_eq!(second["message_stats"]["deliver_get_details"]["rate"], 0.0);
    bench.ack(client, 5, true);
    let third = sampled(&mut bench, &mut samples, 20, "q");
    assert_eq!(third["message_stats"]["publish_details"]["rate"], 0.0);
    assert_eq!((&third["message_stats"]["deliver_get"], &third["messages_ready"]), (&json!(15), &json!(15)));
    assert_eq!(third["message_stats"]["deliver_get_details"]["rate"], 1.0);
}

#[test]
fn a_queue_is_named_within_the_root_vhost() {
    assert_eq!(queue_of("/api/queues/%2F/task_queue"), Some("task_queue".into()));
    assert_eq!(queue_of("/api/queues/%2f/a%2Fb%20c"), Some("a/b c".into()));
    for path in ["/api/queues", "/api/queues/%2F", "/api/queues/other/q", "/api/queues/%2F/q/bindings", "/"] {
        assert_eq!(queue_of(path), None, "{path}");
    }
}

#[tokio::test]
async fn only_guest_learns_of_queues_that_are_there() {
    let env = Env::tokio();
    let listener = env.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    let broker = Broker::new(Config::default());
    {
        let mut state = broker.state();
        let mut bench = Bench { state: std::mem::take(&mut *state), now_us: 0 };
        let client = bench.connect();
        bench.declare(client, "q", &[]);
        *state = bench.state;
    }
    let serving = broker.clone();
    let inside = env.clone();
    let _task = env.spawn("management", async move { match serving.serve_management(inside, listener).await {} });
    let login = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";
    let cases = [
        ("GET", "/api/queues/%2F/q", login, "200 OK", "\"name\":\"q\""),
        ("GET", "/api/queues/%2F/other", login, "404 Not Found", "Object Not Found"),
        ("GET", "/api/queues/%2F/q", "", "401 Unauthorized", "not_authorized"),
        ("PUT", "/api/queues/%2F/q", login, "405 Method Not Allowed", ""),
    ];
    for (method, path, login, status, body) in cases {
        let mut stream = env.connect("127.0.0.1", port).await.unwrap();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{login}Connection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")) && answer.contains(body), "{answer}");
    }
}
