//! A message on its way through the broker.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::{
    QoS,
    v5::{LastWill, Publish, PublishProperties},
};
use std::time::Duration;
use tokio::time::Instant;

/// What a publisher sent, shared by all sessions that get it.
#[derive(Debug)]
pub(super) struct Message {
    topic: Bytes,
    payload: Bytes,
    /// Without what belongs to a single hop: expiry, topic alias, subscription identifiers.
    properties: Option<PublishProperties>,
    pub(super) qos: QoS,
    pub(super) retain: bool,
    expires_at: Option<Instant>,
}

impl Message {
    /// Copies a publish, since its parts are slices that would keep the connection's read buffer alive.
    pub(super) fn new(publish: &Publish, now: Instant) -> Self {
        let mut both = BytesMut::with_capacity(publish.topic.len() + publish.payload.len());
        both.extend_from_slice(&publish.topic);
        both.extend_from_slice(&publish.payload);
        let payload = both.split_off(publish.topic.len()).freeze();
        let expiry_s = publish.properties.as_ref().and_then(|p| p.message_expiry_interval);
        let properties = publish.properties.as_ref().map(|p| PublishProperties {
            message_expiry_interval: None,
            topic_alias: None,
            subscription_identifiers: vec![],
            correlation_data: p.correlation_data.as_ref().map(|data| Bytes::copy_from_slice(data)),
            ..p.clone()
        });
        Self {
            topic: both.freeze(),
            payload,
            properties: properties.filter(|p| *p != PublishProperties::default()),
            qos: publish.qos,
            retain: publish.retain,
            expires_at: expiry_s.map(|s| now + Duration::from_secs(s.into())),
        }
    }

    pub(super) fn topic(&self) -> &str {
        std::str::from_utf8(&self.topic).expect("the codec has checked it")
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether `other` has the same content, as when a client sends it again.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.topic, &self.payload) == (&other.topic, &other.payload)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }

    pub(super) fn is_expired(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The packet for one receiver, with what is left of the expiry interval, in whole seconds rounded up, so that a
    /// message that still lives never carries 0.
    pub(super) fn packet(&self, delivery: &Delivery, now: Instant) -> Publish {
        let mut properties = self.properties.clone();
        if let Some(at) = self.expires_at {
            let left_s = (at - now).as_millis().div_ceil(1000);
            let left_s = u32::try_from(left_s).expect("no more than was given");
            properties.get_or_insert_default().message_expiry_interval = Some(left_s);
        }
        if let Some(identifier) = delivery.identifier {
            properties.get_or_insert_default().subscription_identifiers.push(identifier);
        }
        Publish {
            dup: delivery.dup,
            qos: delivery.qos,
            retain: delivery.retain,
            topic: self.topic.clone(),
            pkid: delivery.packet_id,
            payload: self.payload.clone(),
            properties,
        }
    }
}

/// How a message goes out to one receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delivery {
    pub(super) qos: QoS,
    /// 0 for QoS 0, and before it is sent.
    pub(super) packet_id: u16,
    pub(super) dup: bool,
    pub(super) retain: bool,
    pub(super) identifier: Option<usize>,
}

/// A will as the publish that it becomes.
pub(super) fn publish_of_will(will: LastWill) -> Publish {
    let properties = will.properties.map(|p| PublishProperties {
        payload_format_indicator: p.payload_format_indicator,
        message_expiry_interval: p.message_expiry_interval,
        content_type: p.content_type,
        response_topic: p.response_topic,
        correlation_data: p.correlation_data,
        user_properties: p.user_properties,
        ..PublishProperties::default()
    });
    Publish {
        qos: will.qos,
        retain: will.retain,
        topic: will.topic,
        payload: will.message,
        properties,
        ..Publish::default()
    }
}
