//! What travels over RabbitMQ, as this crate sees it: queue names, properties, headers, deliveries. lapin's own types
//! end here.

use lapin::{
    BasicProperties,
    message::Delivery as LapinDelivery,
    types::{AMQPValue, DeliveryTag, FieldTable, LongString, ShortString},
};
use std::fmt;

/// AMQP's delivery mode for messages that survive a restart of the broker (AMQP 0-9-1, `basic` class).
const PERSISTENT: u8 = 2;

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
            let value = match value {
                HeaderValue::Text(text) => AMQPValue::LongString(LongString::from(text.as_str())),
                HeaderValue::Number(number) => AMQPValue::LongUInt(*number),
            };
            table.insert((*name).into(), value);
        }
        Self(self.0.with_headers(table))
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

    /// A header that is a number, in whatever integer a broker makes of it. `None`: it is missing or senseless.
    pub(crate) fn number(&self, header: &str) -> Option<u32> {
        number_in(&self.0.properties, header)
    }
}

fn number_in(properties: &BasicProperties, header: &str) -> Option<u32> {
    match properties.headers().as_ref()?.inner().get(header)? {
        AMQPValue::LongUInt(number) => Some(*number),
        AMQPValue::LongInt(number) => u32::try_from(*number).ok(),
        AMQPValue::LongLongInt(number) => u32::try_from(*number).ok(),
        _ => None,
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
