//! The emulated brokers against the real ones: every scenario runs against both over real TCP, and what it notes down
//! must be the same, but for the differences that are listed with their reasons. `sim/CONFORMANCE.md` is made from
//! these lists.
//!
//! Without the real brokers on this machine the comparison is skipped, and a line on stderr says so, unless
//! `SHELFWIRE_REQUIRE_BROKERS` is set. `SHELFWIRE_WRITE_CONFORMANCE=1` writes the document anew, and
//! `SHELFWIRE_SCENARIO=part_of_a_name` runs only some scenarios and prints what they noted.

mod amqp;
mod compare;
mod document;
mod harness;
mod mqtt;
mod redis;

use backbone::env::{Env, TokioPlatform};
use harness::{Protocol, compare_with_real};
use sim::{
    broker::{self, mqtt::QoS},
    real::broker::Kind,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_rabbitmq_behaves_like_the_real_one() {
    let listener = Env::tokio().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    let broker = broker::amqp::Broker::new(broker::amqp::Config::default());
    Env::tokio().spawn("emulated RabbitMQ", async move { match broker.serve(Env::tokio(), listener).await {} });
    compare_with_real(Kind::RabbitMq, port, &amqp::PROTOCOL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_mosquitto_behaves_like_the_real_one() {
    compare_with_mosquitto(|_| {}, &mqtt::PROTOCOL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_mosquitto_without_qos_2_behaves_like_the_real_one() {
    compare_with_mosquitto(|config| config.max_qos = QoS::AtLeastOnce, &mqtt::WITH_MAX_QOS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_mosquitto_with_small_packets_behaves_like_the_real_one() {
    compare_with_mosquitto(|config| config.packet_bytes_max = 2_000, &mqtt::WITH_MAX_PACKET_SIZE).await;
}

async fn compare_with_mosquitto(change: impl FnOnce(&mut broker::mqtt::Config), protocol: &Protocol) {
    // Mosquitto leaves Nagle's algorithm on.
    let env = Env::new(TokioPlatform { accepted_nodelay: false, ..TokioPlatform::default() });
    let listener = env.listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    // The version of Mosquitto that is compared with has the leak.
    let quota = broker::mqtt::SendQuota::MosquittoLeaky;
    let mut config = broker::mqtt::Config { quota, ..broker::mqtt::Config::default() };
    change(&mut config);
    let broker = broker::mqtt::Broker::new(config);
    Env::tokio().spawn("emulated Mosquitto", async move { match broker.serve(Env::tokio(), listener).await {} });
    compare_with_real(Kind::Mosquitto, port, protocol).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_emulated_redis_behaves_like_the_real_one() {
    let listener = Env::tokio().listen(([127, 0, 0, 1], 0).into()).await.unwrap();
    let port = listener.addr().port();
    let broker = broker::redis::Broker::new();
    Env::tokio().spawn("emulated Redis", async move { match broker.serve(Env::tokio(), listener).await {} });
    compare_with_real(Kind::Redis, port, &redis::PROTOCOL).await;
}

#[test]
fn the_document_says_what_the_suite_checks() {
    const PROTOCOLS: [&Protocol; 5] =
        [&amqp::PROTOCOL, &mqtt::PROTOCOL, &mqtt::WITH_MAX_QOS, &mqtt::WITH_MAX_PACKET_SIZE, &redis::PROTOCOL];
    document::check(&PROTOCOLS);
}
