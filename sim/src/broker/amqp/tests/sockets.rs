//! The tasks of a connection, on an in-memory socket and a paused clock.

use super::*;
use crate::broker::amqp::Broker;
use backbone::env::Env;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    time::{Instant, sleep},
};

/// A raw client whose handshake is done, with that heartbeat.
async fn connect(broker: &Broker, heartbeat: u16) -> DuplexStream {
    use connection::AMQPMethod as C;
    let (mut client, server) = duplex(64 * 1024);
    broker.attach(&Env::tokio(), Box::new(server));
    let mut hello = b"AMQP\0\0\x09\x01".to_vec();
    let start_ok = connection::StartOk {
        client_properties: FieldTable::default(),
        mechanism: "PLAIN".into(),
        response: "\0u\0p".into(),
        locale: "en_US".into(),
    };
    let tune_ok = connection::TuneOk { channel_max: 10, frame_max: 8_192, heartbeat };
    for method in [C::StartOk(start_ok), C::TuneOk(tune_ok), C::Open(connection::Open { virtual_host: "/".into() })] {
        put_method(&mut hello, 0, AMQPClass::Connection(method));
    }
    client.write_all(&hello).await.unwrap();
    let mut greeting = Vec::new();
    while !greeting.ends_with(&[0, 10, 0, 41, 0, 206]) {
        assert_ne!(client.read_buf(&mut greeting).await.unwrap(), 0);
    }
    client
}

const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 206];

#[tokio::test(start_paused = true)]
async fn heartbeats_come_at_half_time_and_a_silent_peer_is_dropped() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 60).await;
    let start = Instant::now();
    let mut heartbeats = Vec::new();
    let mut frame = [0; 8];
    while client.read_exact(&mut frame).await.is_ok() {
        assert_eq!(frame, HEARTBEAT);
        heartbeats.push(start.elapsed().as_secs());
    }
    assert_eq!(heartbeats[..3], [30, 60, 90]);
    assert_eq!(start.elapsed().as_secs(), 120);
    assert_eq!(broker.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_heartbeats_stays() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 60).await;
    for _ in 0..10 {
        sleep(Duration::from_secs(100)).await;
        client.write_all(&HEARTBEAT).await.unwrap();
    }
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_heartbeat_of_zero_turns_them_off() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 0).await;
    let silent = tokio::time::timeout(Duration::from_secs(86_400), client.read_u8()).await;
    assert!(silent.is_err());
    assert_eq!(broker.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_takes_too_long_ends() {
    let broker = Broker::new(Config::default());
    let (mut client, server) = duplex(1_024);
    broker.attach(&Env::tokio(), Box::new(server));
    let start = Instant::now();
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!((start.elapsed().as_secs(), broker.connection_count()), (10, 0));
}

#[tokio::test(start_paused = true)]
async fn last_words_get_out_before_the_socket_closes() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 60).await;
    let close = connection::Close { reply_code: 200, reply_text: "".into(), class_id: 0, method_id: 0 };
    let mut bye = Vec::new();
    put_method(&mut bye, 0, AMQPClass::Connection(connection::AMQPMethod::Close(close)));
    client.write_all(&bye).await.unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [1, 0, 0, 0, 0, 0, 4, 0, 10, 0, 51, 206]);
    tokio::task::yield_now().await;
    assert_eq!(broker.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_the_broker_closes_ends_at_once_with_the_answer() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 60).await;
    let mut input = Vec::new();
    put_method(&mut input, 1, AMQPClass::Basic(Basic::Recover(basic::Recover { requeue: true })));
    put_method(&mut input, 0, AMQPClass::Connection(connection::AMQPMethod::CloseOk(connection::CloseOk {})));
    client.write_all(&input).await.unwrap();
    let start = Instant::now();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    let (rest, frame) = parse_frame(&answer[..]).unwrap();
    assert_eq!((rest.len(), refusal(&[frame]), start.elapsed().as_secs()), (0, ("connection", 504), 0));
}

#[tokio::test(start_paused = true)]
async fn a_restart_closes_all_sockets() {
    let broker = Broker::new(Config::default());
    let mut client = connect(&broker, 60).await;
    broker.restart();
    assert_eq!(client.read_to_end(&mut Vec::new()).await.unwrap(), 0);
    assert_eq!(broker.connection_count(), 0);
}
