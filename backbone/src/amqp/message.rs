//! What travels over RabbitMQ, as this crate sees it: queue names, properties, headers, deliveries. lapin's own types
//! end here.

use crate::message::PUBLISHED_HEADER;
use lapin::{
    BasicProperties,
    message::Delivery as LapinDelivery,
    types::{AMQPValue, DeliveryTag, FieldTable, LongString, ShortString},
};
use std::fmt;

/// AMQP's delivery mode for messages that survive a restart of the broker (AMQP 0-9-1, `basic` class).
const PERSISTENT: u8 = 2;
/// Most bytes of a sender's own headers that go with a message that is published anew. All properties of a message have
/// to fit into one frame, with our headers.
const KEPT_HEADERS_BYTES_MAX: usize = 2_048;
/// How headers begin that mean something to RabbitMQ: further receivers, and what it notes when it moves a message.
const THE_BROKERS_HEADERS: [&str; 6] = ["CC", "BCC", "x-death", "x-first-death", "x-last-death", "x-delivery-count"];
/// What a header costs that holds other values: too much.
const NESTED_BYTES: usize = KEPT_HEADERS_BYTES_MAX + 1;

/// The name of a queue, at most 255 bytes. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueueName(pub(super) ShortString);

impl From<&str> for QueueName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl QueueName {
    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderValue {
    Text(String),
    Number(u32),
    /// A time in milliseconds since 1970.
    UnixMs(u64),
}

impl HeaderValue {
    fn to_amqp(&self) -> AMQPValue {
        match self {
            Self::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
            Self::Number(number) => AMQPValue::LongUInt(*number),
            Self::UnixMs(time) => AMQPValue::LongLongInt(i64::try_from(*time).unwrap_or(i64::MAX)),
        }
    }
}

/// What goes with a message beside its body.
#[derive(Clone, Debug, Default)]
pub(crate) struct Properties(pub(super) BasicProperties);

impl Properties {
    /// Of a message that survives a restart of the broker in a durable queue.
    pub(crate) fn persistent() -> Self {
        Self(BasicProperties::default().with_delivery_mode(PERSISTENT))
    }

    /// Tells the receiver which request it is about.
    pub(crate) fn correlation_id(self, id: impl fmt::Display) -> Self {
        Self(self.0.with_correlation_id(id.to_string().into()))
    }

    /// Tells the receiver where to answer.
    pub(crate) fn reply_to(self, queue: &QueueName) -> Self {
        Self(self.0.with_reply_to(queue.0.clone()))
    }

    /// The broker drops the message when it has waited for so long.
    pub(crate) fn expires_in_ms(self, ms: u64) -> Self {
        Self(self.0.with_expiration(ms.to_string().into()))
    }

    /// In place of all headers.
    pub(crate) fn headers(self, headers: &[(&str, HeaderValue)]) -> Self {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), value.to_amqp());
        }
        Self(self.0.with_headers(table))
    }

    /// Of a message that is published anew, persistent, somewhere else: what its sender said with it, and `headers` in
    /// place of `ours`. What the broker put there is left out, and what would have an effect of its own: a time to
    /// live, further receivers, a user's name that has to be the publisher's. So are headers for which there is no
    /// room.
    pub(crate) fn anew(delivery: &Delivery, ours: &[&str], headers: &[(&str, HeaderValue)]) -> Self {
        let said = &delivery.0.properties;
        let mut table = FieldTable::default();
        let mut bytes = 0;
        for (name, value) in said.headers().iter().flat_map(|headers| headers.inner()) {
            let text = name.as_str();
            if ours.contains(&text) || THE_BROKERS_HEADERS.iter().any(|prefix| text.starts_with(prefix)) {
                continue;
            }
            bytes += text.len() + header_bytes(value);
            if bytes <= KEPT_HEADERS_BYTES_MAX {
                table.insert(name.clone(), value.clone());
            }
        }
        for (name, value) in headers {
            table.insert((*name).into(), value.to_amqp());
        }
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT).with_headers(table);
        if let Some(queue) = said.reply_to() {
            properties = properties.with_reply_to(queue.clone());
        }
        if let Some(id) = said.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        if let Some(priority) = said.priority() {
            properties = properties.with_priority(*priority);
        }
        if let Some(time) = said.timestamp() {
            properties = properties.with_timestamp(*time);
        }
        if let Some(content) = said.content_type() {
            properties = properties.with_content_type(content.clone());
        }
        Self(properties)
    }

    /// Of tasks that wait, those with a higher one are taken first, where their queue has priorities.
    pub(crate) fn priority(self, priority: u8) -> Self {
        Self(self.0.with_priority(priority))
    }

    /// What the body is.
    pub(crate) fn json(self) -> Self {
        Self(self.0.with_content_type("application/json".into()))
    }

    /// Tells the receiver which of its messages it is about, in its own words.
    pub(crate) fn correlation_of(self, delivery: &Delivery) -> Self {
        match delivery.0.properties.correlation_id() {
            Some(id) => Self(self.0.with_correlation_id(id.clone())),
            None => self,
        }
    }
}

/// A message that came from a queue.
#[derive(Debug)]
pub(crate) struct Delivery(LapinDelivery);

impl Delivery {
    pub(super) fn new(delivery: LapinDelivery) -> Self {
        Self(delivery)
    }

    /// Its number on its channel.
    pub(super) fn tag(&self) -> DeliveryTag {
        self.0.delivery_tag
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.0.data
    }

    /// The body, which is empty afterwards.
    pub(crate) fn take_body(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0.data)
    }

    /// Whether it was delivered before, to somebody who did not settle it.
    pub(crate) fn is_redelivered(&self) -> bool {
        self.0.redelivered
    }

    /// Whether it can still be settled: not once its connection is gone. The broker then gives it to somebody again.
    pub(crate) fn can_be_settled(&self) -> bool {
        self.0.acker.usable()
    }

    /// Where its sender wants the answer, if it says so.
    pub(crate) fn reply_to(&self) -> Option<QueueName> {
        self.0.properties.reply_to().clone().filter(|queue| !queue.as_str().is_empty()).map(QueueName)
    }

    pub(crate) fn correlation_id(&self) -> Option<&str> {
        self.0.properties.correlation_id().as_ref().map(ShortString::as_str)
    }

    /// When its sender published it, in milliseconds since 1970: in our header, or to the second in AMQP's property.
    pub(crate) fn published_unix_ms(&self) -> Option<u64> {
        let header = self.unix_ms(PUBLISHED_HEADER);
        header.or_else(|| self.0.properties.timestamp().and_then(|time_s| time_s.checked_mul(1_000)))
    }

    /// A header that is a time.
    pub(crate) fn unix_ms(&self, header: &str) -> Option<u64> {
        integer_in(&self.0.properties, header).and_then(|time| u64::try_from(time).ok())
    }

    /// A header that is a text.
    pub(crate) fn text(&self, header: &str) -> Option<&str> {
        match self.0.properties.headers().as_ref()?.inner().get(header)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// A header that is a number, in whatever integer a broker makes of it. `None`: it is missing or senseless.
    pub(crate) fn number(&self, header: &str) -> Option<u32> {
        number_in(&self.0.properties, header)
    }
}

fn number_in(properties: &BasicProperties, header: &str) -> Option<u32> {
    integer_in(properties, header).and_then(|number| u32::try_from(number).ok())
}

fn integer_in(properties: &BasicProperties, header: &str) -> Option<i64> {
    match properties.headers().as_ref()?.inner().get(header)? {
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::LongLongInt(number) => Some(*number),
        _ => None,
    }
}

/// About how many bytes a header takes beside its name.
fn header_bytes(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::LongString(text) => text.as_bytes().len() + 5,
        AMQPValue::ShortString(text) => text.as_str().len() + 2,
        AMQPValue::FieldTable(_) | AMQPValue::FieldArray(_) | AMQPValue::ByteArray(_) => NESTED_BYTES,
        _ => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: AMQPValue) -> Option<u32> {
        let mut table = FieldTable::default();
        table.insert("x".into(), value);
        number_in(&BasicProperties::default().with_headers(table), "x")
    }

    #[test]
    fn a_header_is_a_number_in_whatever_integer_a_broker_makes_of_it() {
        for value in [AMQPValue::LongUInt(3), AMQPValue::LongInt(3), AMQPValue::LongLongInt(3)] {
            assert_eq!(number(value), Some(3));
        }
    }

    #[test]
    fn a_header_that_is_missing_or_senseless_is_no_number() {
        for value in [AMQPValue::LongInt(-7), AMQPValue::Boolean(true)] {
            assert_eq!(number(value), None);
        }
        assert_eq!(number_in(&BasicProperties::default(), "x"), None);
    }
}
