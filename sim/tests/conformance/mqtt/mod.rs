//! MQTT 5, packet by packet.

mod client;

use crate::{
    compare::Difference,
    harness::{At, Protocol, scenario},
};
use client::Client;

pub(crate) const PROTOCOL: Protocol =
    Protocol { real: "Mosquitto 2.0", scenarios: &[scenario!(connack, "what a CONNACK announces", ANNOUNCED)] };

const ANNOUNCED: Difference = Difference {
    real: &["client <- ConnAck(ConnAck { session_present: false, code: Success, properties: Some(ConnAckProperties { \
         session_expiry_interval: None, receive_max: Some(20), max_qos: None, retain_available: None, max_packet_size: \
         None, assigned_client_identifier: None, topic_alias_max: Some(10), reason_string: None, user_properties: [], \
         wildcard_subscription_available: None, subscription_identifiers_available: None, \
         shared_subscription_available: None, server_keep_alive: Some(65535), response_information: None, \
         server_reference: None, authentication_method: None, authentication_data: None }) })"],
    emulated: &[
        "client <- ConnAck(ConnAck { session_present: false, code: Success, properties: Some(ConnAckProperties { \
         session_expiry_interval: None, receive_max: Some(20), max_qos: Some(1), retain_available: Some(1), \
         max_packet_size: Some(1048576), assigned_client_identifier: None, topic_alias_max: Some(0), reason_string: \
         None, user_properties: [], wildcard_subscription_available: Some(1), subscription_identifiers_available: \
         Some(1), shared_subscription_available: Some(1), server_keep_alive: None, response_information: None, \
         server_reference: None, authentication_method: None, authentication_data: None }) })",
    ],
    why: "not alike yet: the emulated broker has neither QoS 2 nor topic aliases, limits packets to 1 MB, says even what \
          is the protocol's default, and lets a client do without a keep alive",
};

async fn connack(at: At) {
    let _client = Client::connect(&at, "client", |_| {}).await;
}
