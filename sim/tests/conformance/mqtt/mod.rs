//! MQTT 5, packet by packet.

mod client;

use crate::harness::{At, Protocol, scenario};
use client::Client;

pub const PROTOCOL: Protocol =
    Protocol { real: "Mosquitto 2.0", scenarios: &[scenario!(connack, "what a CONNACK announces")] };

async fn connack(at: At) {
    let _client = Client::connect(&at, "client", |_| {}).await;
}
