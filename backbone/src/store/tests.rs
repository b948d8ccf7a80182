use super::*;
use crate::{
    config::{Redis, Routing, RoutingMode},
    deadline::Deadline,
    env::{Env, Stream, memory::memory_env},
    message::{DEFAULT_ROUTE_KEY, Mac, Message, Request, RequestId},
};
use redis::Value;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Commands that a stand-in for Redis was sent, and the corrupt keys that were reported.
#[derive(Default)]
struct Seen {
    commands: Mutex<Vec<String>>,
    corrupt: Mutex<Vec<String>>,
}

impl Telemetry for Seen {
    fn record(&self, event: &Event<'_>) {
        if let Event::CorruptValue { key, .. } = event {
            self.corrupt.lock().unwrap().push((*key).to_owned());
        }
    }
}

impl Seen {
    fn corrupt(&self) -> Vec<String> {
        self.corrupt.lock().unwrap().clone()
    }

    fn commands_of(&self, name: &str) -> Vec<String> {
        let commands = self.commands.lock().unwrap();
        commands.iter().filter(|command| command.starts_with(name)).cloned().collect()
    }
}

/// Splits what a client sent into commands, each as one line.
fn commands(mut bytes: &[u8]) -> Vec<String> {
    let mut commands = Vec::new();
    while !bytes.is_empty() {
        // The parser takes one value and ignores the rest, whose length its own encoding tells.
        let Value::Array(words) = redis::parse_redis_value(bytes).unwrap() else { panic!("no array") };
        let words: Vec<String> = words.into_iter().map(|word| redis::from_redis_value(word).unwrap()).collect();
        let length = format!("*{}\r\n", words.len()).len()
            + words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()).len()).sum::<usize>();
        bytes = &bytes[length..];
        commands.push(words.join(" "));
    }
    commands
}

/// Plays Redis: answers reads with `read`, in RESP, and anything else with OK.
async fn play(mut stream: Stream, seen: Arc<Seen>, read: &'static str) {
    let mut buf = vec![0; 1 << 16];
    loop {
        let n = stream.read(&mut buf).await.unwrap();
        if n == 0 {
            return;
        }
        for command in commands(&buf[..n]) {
            let is_read = command.starts_with("GET") || command.starts_with("HGETALL");
            stream.write_all(if is_read { read } else { "+OK\r\n" }.as_bytes()).await.unwrap();
            seen.commands.lock().unwrap().push(command);
        }
    }
}

async fn store(read: &'static str) -> (Store, Env, Arc<Seen>) {
    let (env, seen) = (memory_env(), Arc::new(Seen::default()));
    let mut listener = env.listen(([0, 0, 0, 0], 6379).into()).await.unwrap();
    let (inner, played) = (env.clone(), seen.clone());
    env.spawn("redis", async move {
        while let Ok(stream) = listener.accept().await {
            inner.spawn("connection", play(stream, played.clone(), read));
        }
    });
    (Store::new(&env, &Redis::default(), seen.clone()), env, seen)
}

async fn route(store: &Store, env: &Env, mode: RoutingMode) -> Option<Mac> {
    let id = RequestId::draw(env);
    let text =
        format!(r#"{{"request_id":"{id}","esl_mac":"00:00:00:00:00:01","version":1,"deadline_unix_ms":0,"body":1}}"#);
    let request = Request::parse(text.as_bytes()).unwrap();
    let caller = Caller { request: id, reply_queue: "replies".into() };
    let config = Routing { mode, newest_wins: false, ..Routing::default() };
    let deadline = Deadline::after(env, Duration::from_secs(10));
    let key = CorrelationKey::RequestId(id);
    let limits = (deadline, deadline.at());
    match store.remember_and_route(env, &config, &request, (key, &caller), limits).await.unwrap() {
        Destination::Ways(ways) => ways.first().map(|way| way.gateway),
        outranked @ Destination::Outranked { .. } => panic!("{outranked:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_correlation_that_does_not_parse_is_reported_and_counts_as_missing() {
    for answer in ["$8\r\nnonsense\r\n", "$2\r\n\u{1}\u{2}\r\n", "-WRONGTYPE Operation against a key\r\n"] {
        let (store, env, seen) = store(answer).await;
        let key = CorrelationKey::RequestId(RequestId::draw(&env));
        assert_eq!(store.caller(key).await.unwrap(), None, "{answer}");
        assert_eq!(seen.corrupt(), [key.to_string()], "{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_that_does_not_parse_is_reported_and_counts_as_missing() {
    let (store, env, seen) = store("$7\r\nnowhere\r\n").await;
    assert_eq!(route(&store, &env, RoutingMode::Fixed).await, None);
    assert_eq!(seen.corrupt(), [DEFAULT_ROUTE_KEY]);
}

#[tokio::test(start_paused = true)]
async fn routes_of_another_type_are_reported_and_count_as_missing() {
    let (store, env, seen) = store("-WRONGTYPE Operation against a key\r\n").await;
    assert_eq!(route(&store, &env, RoutingMode::Rssi).await, None);
    assert_eq!(seen.corrupt(), ["shelfwire:route:00:00:00:00:00:01"]);
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_a_route_up_removes_the_old_ones() {
    // A was heard long ago, B at the start of the test.
    let (store, env, seen) = store(
        "*4\r\n$17\r\n00:00:00:00:00:0A\r\n$11\r\n-10 1000000\r\n\
         $17\r\n00:00:00:00:00:0B\r\n$14\r\n-70 1000000000\r\n",
    )
    .await;
    assert_eq!(route(&store, &env, RoutingMode::Rssi).await, Some(Mac::new(0xB)));
    assert_eq!(seen.commands_of("HDEL"), ["HDEL shelfwire:route:00:00:00:00:00:01 00:00:00:00:00:0A"]);
}
