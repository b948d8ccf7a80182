//! The optional arguments of `queue.declare` that this broker knows (RabbitMQ's guides "Time-To-Live and Expiration",
//! "Dead Letter Exchanges" and "Queue Length Limit").

use super::refusal::Refusal;
use amq_protocol::types::{AMQPValue, FieldTable};

/// Arguments that ask for what this broker doesn't have. Others that it doesn't know are ignored, as RabbitMQ does.
const UNSUPPORTED: [&str; 6] = [
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-queue-type",
];

/// What a queue does on its own account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    /// `x-message-ttl`: longest time a message waits.
    pub(super) message_ttl_us: Option<u64>,
    /// `x-expires`: the queue goes when it was unused for that long.
    pub(super) expires_us: Option<u64>,
    /// `x-max-length`: most messages that wait; the oldest give way.
    pub(super) length_max: Option<usize>,
    /// `x-dead-letter-exchange`; it need not exist.
    pub(super) dead_letter_exchange: Option<Box<str>>,
    /// `x-dead-letter-routing-key`; without it a dead letter keeps its own key.
    pub(super) dead_letter_routing_key: Option<Box<str>>,
}

impl Arguments {
    /// # Errors
    /// 406 for a value of the wrong type or out of range; 540 for what is not supported.
    pub(super) fn parse(queue: &str, table: &FieldTable) -> Result<Self, Refusal> {
        let invalid = |name: &str, why: &str| {
            Refusal::precondition_failed(format!("invalid arg '{name}' for queue '{queue}' in vhost '/': {why}"))
        };
        let number = |name: &str, min: i64, max: u64| match table.inner().get(name) {
            None => Ok(None),
            Some(value) => match integer(value) {
                None => Err(invalid(name, "not an integer")),
                Some(n) if n < min || n.unsigned_abs() > max => Err(invalid(name, &format!("{n} is out of range"))),
                Some(n) => Ok(Some(n.unsigned_abs())),
            },
        };
        let text = |name: &str| match table.inner().get(name) {
            None => Ok(None),
            Some(AMQPValue::LongString(text)) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) if text.len() <= u8::MAX.into() => Ok(Some(text)),
                _ => Err(invalid(name, "no UTF-8 of at most 255 bytes")),
            },
            Some(_) => Err(invalid(name, "not a string")),
        };
        for name in UNSUPPORTED {
            let default = matches!(
                (name, text(name)),
                ("x-queue-type", Ok(Some("classic"))) | ("x-overflow", Ok(Some("drop-head")))
            );
            if table.contains_key(name) && !default {
                return Err(Refusal::not_implemented(format!("queue '{queue}': argument '{name}'")));
            }
        }
        let exchange = text("x-dead-letter-exchange")?;
        let routing_key = text("x-dead-letter-routing-key")?;
        if routing_key.is_some() && exchange.is_none() {
            return Err(invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        let ttl_ms_max = super::message::TTL_MS_MAX;
        Ok(Self {
            message_ttl_us: number("x-message-ttl", 0, ttl_ms_max)?.map(|ms| ms * 1_000),
            expires_us: number("x-expires", 1, ttl_ms_max)?.map(|ms| ms * 1_000),
            length_max: number("x-max-length", 0, u32::MAX.into())?.map(|n| n as usize),
            dead_letter_exchange: exchange.map(Into::into),
            dead_letter_routing_key: routing_key.map(Into::into),
        })
    }

    /// The first argument that differs, by its name.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("x-message-ttl", self.message_ttl_us != other.message_ttl_us),
            ("x-expires", self.expires_us != other.expires_us),
            ("x-max-length", self.length_max != other.length_max),
            ("x-dead-letter-exchange", self.dead_letter_exchange != other.dead_letter_exchange),
            ("x-dead-letter-routing-key", self.dead_letter_routing_key != other.dead_letter_routing_key),
        ]
        .into_iter()
        .find_map(|(name, differs)| differs.then_some(name))
    }
}

/// RabbitMQ takes any integer type.
pub(super) fn integer(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(n) => Some(n.into()),
        AMQPValue::ShortShortUInt(n) => Some(n.into()),
        AMQPValue::ShortInt(n) => Some(n.into()),
        AMQPValue::ShortUInt(n) => Some(n.into()),
        AMQPValue::LongInt(n) => Some(n.into()),
        AMQPValue::LongUInt(n) => Some(n.into()),
        AMQPValue::LongLongInt(n) => Some(n),
        _ => None,
    }
}
