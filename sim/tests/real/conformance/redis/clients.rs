//! What clients say and ask when they connect, and a client library.

use super::peer::{Peer, Reply};
use crate::conformance::harness::At;
use backbone::env::Env;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, RedisError, aio::MultiplexedConnection};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::sleep;

pub(crate) async fn hello(at: At) {
    let mut peer = Peer::connect(&at).await;
    for line in ["HELLO", "HELLO 2", "HELLO 3", "hello 3 SETNAME me", "HELLO 3 AUTH default x SETNAME you"] {
        let mut reply = peer.ask(line).await;
        if let Reply::Array(items) | Reply::Map(items) = &mut reply {
            let id = items.iter().position(|item| *item == Reply::Bulk(b"id".to_vec())).unwrap();
            items[id + 1] = Reply::Line(format!("a number above 0: {}", items[id + 1].number() > 0));
        }
        at.note(format_args!("{line}: {reply}"));
        peer.all(&["CLIENT GETNAME"]).await;
    }
    let errors = [
        "HELLO 4",
        "HELLO 1",
        "HELLO x",
        "HELLO 3 bogus",
        "HELLO 3 SETNAME",
        "HELLO 3 AUTH x",
        "HELLO 3 AUTH nobody x",
        "HELLO SETNAME x",
    ];
    peer.all(&errors).await;
    peer.all(&["RESET", "CLIENT GETNAME"]).await;
}

pub(crate) async fn client(at: At) {
    let mut first = Peer::connect(&at).await;
    let mut second = Peer::connect(&at).await;
    let (a, b) = (first.ask("CLIENT ID").await.number(), second.ask("CLIENT ID").await.number());
    at.note(format_args!("CLIENT ID grows: {}, stays: {}", a < b, a == first.ask("client id").await.number()));
    let commands = [
        "CLIENT GETNAME",
        "CLIENT SETNAME me",
        "CLIENT GETNAME",
        "CLIENT SETNAME ''",
        "CLIENT GETNAME",
        "CLIENT SETNAME a\nb",
        "CLIENT SETINFO LIB-NAME x",
        "AUTH x",
        "AUTH default x",
        "AUTH nobody x",
        "AUTH a b c",
        "SELECT 0",
        "SELECT 1",
        "SELECT 16",
        "SELECT -1",
        "SELECT x",
        "PING",
        "PING x",
        "PING x y",
        "ECHO x",
        "RESET",
        "QUIT x",
    ];
    first.all(&commands).await;
    first.note_to_end("after QUIT").await;
}

pub(crate) async fn about_itself(at: At) {
    let mut peer = Peer::connect(&at).await;
    let commands = [
        "CONFIG GET save",
        "CONFIG GET appendonly",
        "CONFIG GET maxmemory",
        "CONFIG GET maxmemory-p[a-z]licy",
        "CONFIG GET nosuch",
        "CONFIG GET APPENDONLY nosuch",
        "CONFIG GET databases",
        "CONFIG GET proto-max-bulk-len",
        "CONFIG RESETSTAT",
        "CONFIG SET nosuch 1",
        "CONFIG SET maxmemory 0",
        "INFO nosuch",
        "FLUSHALL bogus",
        "FLUSHDB SYNC x",
    ];
    peer.all(&commands).await;
    for line in ["INFO", "INFO server", "INFO replication keyspace", "INFO cluster", "INFO everything"] {
        let reply = peer.ask(line).await;
        let Reply::Bulk(text) = reply else { panic!("{reply}") };
        let text = String::from_utf8(text).unwrap();
        for what in [
            "# Server\r\n",
            "redis_version:7.0.15\r\n",
            "redis_mode:standalone\r\n",
            "role:master\r\n",
            "db0:keys=",
            "cluster_enabled:0\r\n",
        ] {
            at.note(format_args!("{line} has {what:?}: {}", text.contains(what)));
        }
    }
    let time = peer.ask("TIME").await;
    let [seconds, micros] = time.items() else { panic!("{time}") };
    let sane = seconds.number() > 1_700_000_000 && (0..1_000_000).contains(&micros.number());
    at.note(format_args!("TIME makes sense: {sane}"));
    at.note(format_args!("commands are counted: {}", peer.ask("COMMAND COUNT").await.number() > 50));
    at.note(format_args!("descriptions come: {}", !peer.ask("COMMAND DOCS").await.items().is_empty()));
    at.note(format_args!("commands come: {}", !peer.ask("COMMAND").await.items().is_empty()));
}

/// What the emulated Redis doesn't have.
pub(crate) async fn other_types(at: At) {
    let commands =
        ["LPUSH ~l x", "SADD ~s x", "ZADD ~z 1 x", "XLEN ~x", "SETBIT ~b 1 1", "INCRBYFLOAT ~f 1.5", "PUBLISH ~c x"];
    Peer::connect(&at).await.all(&commands).await;
}

async fn connect(at: &At, protocol: ProtocolVersion) -> MultiplexedConnection {
    let stream = Env::tokio().connect("127.0.0.1", at.port).await.unwrap();
    let info = RedisConnectionInfo::default().set_protocol(protocol);
    let config = AsyncConnectionConfig::new();
    let (client, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await.unwrap();
    Env::tokio().spawn("driver", driver);
    client
}

pub(crate) async fn library(at: At) {
    for protocol in [ProtocolVersion::RESP2, ProtocolVersion::RESP3] {
        let mut client = connect(&at, protocol).await;
        let (key, hash) = (at.name("k"), at.name("h"));
        let mut pipe = redis::pipe();
        pipe.cmd("SET").arg(&key).arg("v").arg("PX").arg(100).ignore();
        pipe.cmd("HSET").arg(&hash).arg(&[("a", 1), ("b", 2)]).ignore();
        pipe.cmd("GET").arg(&key).cmd("GET").arg(at.name("none"));
        let got: (Option<String>, Option<String>) = pipe.query_async(&mut client).await.unwrap();
        at.note(format_args!("{got:?}"));
        let all: BTreeMap<String, i64> = redis::cmd("HGETALL").arg(&hash).query_async(&mut client).await.unwrap();
        at.note(format_args!("{all:?}"));
        let wrong: Result<(), RedisError> = redis::cmd("GET").arg(&hash).query_async(&mut client).await;
        at.note(wrong.unwrap_err());
        let mut atomic = redis::pipe();
        atomic.atomic().cmd("DEL").arg(&hash).cmd("EXISTS").arg(&hash);
        let counts: (i64, i64) = atomic.query_async(&mut client).await.unwrap();
        at.note(format_args!("{counts:?}"));
        sleep(Duration::from_millis(200)).await;
        let gone: Option<String> = redis::cmd("GET").arg(&key).query_async(&mut client).await.unwrap();
        at.note(format_args!("{gone:?}"));
    }
}
