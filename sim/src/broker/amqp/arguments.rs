//! The optional arguments of `queue.declare` that this broker knows (RabbitMQ's guides "Time-To-Live and Expiration",
//! "Dead Letter Exchanges", "Queue Length Limit" and "Priority Queue Support").

use super::{refusal::Refusal, ttl::in_range};
use amq_protocol::types::{AMQPValue, FieldTable};

/// Arguments that a further declaration must have in the same way, in the order in which RabbitMQ looks at them.
const COMPARED: [&str; 13] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-queue-mode",
    "x-queue-version",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-master-locator",
];
/// Arguments of queues of other types, which RabbitMQ refuses for a classic one. Those that it doesn't know it ignores.
const OF_OTHER_TYPES: [&str; 9] = [
    "x-dead-letter-strategy",
    "x-delivery-limit",
    "x-initial-cluster-size",
    "x-max-age",
    "x-max-in-memory-bytes",
    "x-max-in-memory-length",
    "x-queue-leader-locator",
    "x-quorum-initial-group-size",
    "x-stream-max-segment-size-bytes",
];

/// What a queue does on its own account.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Arguments {
    /// `x-message-ttl`: longest time a message waits.
    pub(super) message_ttl_us: Option<u64>,
    /// `x-expires`: the queue goes when it was unused for that long.
    pub(super) expires_us: Option<u64>,
    /// `x-max-length`: most messages that wait; the oldest give way.
    pub(super) length_max: Option<usize>,
    /// `x-max-priority`: messages go by priority, of which this is the highest that counts.
    pub(super) priority_max: Option<u8>,
    /// `x-dead-letter-exchange`; it need not exist.
    pub(super) dead_letter_exchange: Option<Box<str>>,
    /// `x-dead-letter-routing-key`; without it a dead letter keeps its own key.
    pub(super) dead_letter_routing_key: Option<Box<str>>,
    /// Those of [`COMPARED`] that were there, as they were.
    declared: Box<[(&'static str, AMQPValue)]>,
}

impl Arguments {
    /// # Errors
    /// 406 for a value of the wrong type or out of range, or of another type of queue; 540 for what is not supported.
    pub(super) fn parse(queue: &str, table: &FieldTable) -> Result<Self, Refusal> {
        let reader = Reader { queue, table };
        let expires_ms = reader.time_ms("x-expires", 1)?;
        let message_ttl_ms = reader.time_ms("x-message-ttl", 0)?;
        let exchange = reader.exchange("x-dead-letter-exchange")?;
        let routing_key = reader.text("x-dead-letter-routing-key")?;
        if routing_key.is_some() && exchange.is_none() {
            return Err(reader.invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined"));
        }
        let length_max = reader.count("x-max-length")?;
        if reader.count("x-max-length-bytes")?.is_some() {
            return Err(reader.not_done("x-max-length-bytes"));
        }
        let priority_max = reader.priority_max()?;
        reader.check_word("x-overflow", &["drop-head"], &["reject-publish", "reject-publish-dlx"], |_| {
            "invalid_overflow".into()
        })?;
        // Where a message is kept makes no difference here.
        reader.check_word("x-queue-mode", &["default", "lazy"], &[], |other| {
            format!("\"unsupported queue mode '{other}'\"")
        })?;
        if let Some(version) = reader.count("x-queue-version")?.filter(|version| !(1..=2).contains(version)) {
            return Err(reader.invalid("x-queue-version", &format!("\"unsupported queue version '{version}'\"")));
        }
        if reader.flag("x-single-active-consumer")? {
            return Err(reader.not_done("x-single-active-consumer"));
        }
        reader.check_word("x-queue-type", &["classic"], &["quorum", "stream"], |other| {
            format!("\"unsupported queue type '{other}'\"")
        })?;
        if let Some(name) = OF_OTHER_TYPES.iter().find(|name| table.contains_key(name)) {
            return Err(Refusal::precondition_failed(format!(
                "invalid arg '{name}' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue"
            )));
        }
        let declared = COMPARED.iter().filter_map(|name| Some((*name, table.inner().get(*name)?.clone())));
        Ok(Self {
            message_ttl_us: message_ttl_ms.map(|ms| ms * 1_000),
            expires_us: expires_ms.map(|ms| ms * 1_000),
            length_max,
            priority_max,
            dead_letter_exchange: exchange.map(Into::into),
            dead_letter_routing_key: routing_key.map(Into::into),
            declared: declared.collect(),
        })
    }

    /// The first argument in which a later declaration differs, and how, in RabbitMQ's words. Numbers are equal across
    /// their types. Whether its arguments would be valid is not asked.
    pub(super) fn difference(&self, later: &FieldTable) -> Option<(&'static str, String)> {
        COMPARED.into_iter().find_map(|name| {
            let current = self.declared.iter().find(|(n, _)| *n == name).map(|(_, value)| value);
            let difference = match (later.inner().get(name), current) {
                (None, None) => return None,
                (Some(received), Some(current)) if same(received, current) => return None,
                (Some(received), Some(current)) => {
                    format!("received '{}' but current is '{}'", shown(received), shown(current))
                }
                (received, current) => {
                    format!("received {} but current is {}", described(received), described(current))
                }
            };
            Some((name, difference))
        })
    }
}

/// Reads the arguments of one declaration.
#[derive(Clone, Copy)]
struct Reader<'a> {
    queue: &'a str,
    table: &'a FieldTable,
}

impl<'a> Reader<'a> {
    fn invalid(self, name: &str, why: &str) -> Refusal {
        let queue = self.queue;
        Refusal::precondition_failed(format!("invalid arg '{name}' for queue '{queue}' in vhost '/': {why}"))
    }

    /// Something that RabbitMQ has and this broker doesn't.
    fn not_done(self, name: &str) -> Refusal {
        Refusal::not_implemented(format!("queue '{}': argument '{name}'", self.queue))
    }

    fn priority_max(self) -> Result<Option<u8>, Refusal> {
        let name = "x-max-priority";
        let Some(most) = self.count(name)? else { return Ok(None) };
        let exceeded = |_| self.invalid(name, &format!("{{max_value_exceeded,{most}}}"));
        u8::try_from(most).map(Some).map_err(exceeded)
    }

    fn flag(self, name: &str) -> Result<bool, Refusal> {
        match self.table.inner().get(name) {
            None => Ok(false),
            Some(AMQPValue::Boolean(flag)) => Ok(*flag),
            Some(value) => Err(self.invalid(name, &format!("{{unacceptable_type,{}}}", kind(value)))),
        }
    }

    fn integer(self, name: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.table.inner().get(name) else { return Ok(None) };
        match integer(value) {
            Some(number) => Ok(Some(number)),
            None => Err(self.invalid(name, &format!("\"expected integer, got {}\"", kind(value)))),
        }
    }

    fn time_ms(self, name: &str, min: i64) -> Result<Option<u64>, Refusal> {
        let Some(ms) = self.integer(name)? else { return Ok(None) };
        in_range(ms, min).map(Some).map_err(|why| self.invalid(name, &format!("{{{why},{ms}}}")))
    }

    fn count(self, name: &str) -> Result<Option<usize>, Refusal> {
        match self.integer(name)? {
            None => Ok(None),
            Some(n) if n < 0 => Err(self.invalid(name, &format!("{{value_negative,{n}}}"))),
            Some(n) => Ok(Some(usize::try_from(n).unwrap_or(usize::MAX))),
        }
    }

    fn text(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.table.inner().get(name) {
            None => Ok(None),
            Some(AMQPValue::LongString(text)) => match std::str::from_utf8(text.as_bytes()) {
                // RabbitMQ takes longer ones and can't deliver what they lead to.
                Ok(text) if text.len() <= u8::MAX.into() => Ok(Some(text)),
                _ => Err(self.invalid(name, "no UTF-8 of at most 255 bytes")),
            },
            Some(value) => Err(self.invalid(name, &format!("{{unacceptable_type,{}}}", kind(value)))),
        }
    }

    fn exchange(self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.table.inner().get(name) {
            None | Some(AMQPValue::LongString(_)) => self.text(name),
            Some(value) => Err(Refusal::precondition_failed(format!(
                "invalid type '{}' for arg '{name}' in queue '{}' in vhost '/'",
                kind(value),
                self.queue
            ))),
        }
    }

    /// Checks an argument that is one of some words, of which this broker does only what `done` asks for.
    fn check_word(
        self,
        name: &str,
        done: &[&str],
        known: &[&str],
        wrong: impl Fn(&str) -> String,
    ) -> Result<(), Refusal> {
        match self.text(name)? {
            Some(word) if known.contains(&word) => {
                Err(Refusal::not_implemented(format!("queue '{}': argument '{name}' with '{word}'", self.queue)))
            }
            Some(word) if !done.contains(&word) => Err(self.invalid(name, &wrong(word))),
            _ => Ok(()),
        }
    }
}

/// The `x-priority` argument of `basic.consume`.
///
/// # Errors
/// 406 if it is no number.
pub(super) fn consumer_priority(queue: &str, arguments: &FieldTable) -> Result<i64, Refusal> {
    Ok(Reader { queue, table: arguments }.integer("x-priority")?.unwrap_or_default())
}

/// Whether two values are the same, numbers across their types.
pub(super) fn same(a: &AMQPValue, b: &AMQPValue) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ => match (real(a), real(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
    }
}

fn real(value: &AMQPValue) -> Option<f64> {
    match *value {
        AMQPValue::Float(number) => Some(number.into()),
        AMQPValue::Double(number) => Some(number),
        _ => integer(value).map(|number| number as f64),
    }
}

/// A value as RabbitMQ writes it.
pub(super) fn shown(value: &AMQPValue) -> String {
    match (integer(value), value) {
        (Some(number), _) => number.to_string(),
        (None, AMQPValue::LongString(text)) => text.to_string(),
        (None, AMQPValue::Boolean(flag)) => flag.to_string(),
        (None, other) => format!("{other:?}"),
    }
}

fn described(value: Option<&AMQPValue>) -> String {
    value.map_or("none".into(), |value| format!("the value '{}' of type '{}'", shown(value), kind(value)))
}

/// RabbitMQ takes any integer type.
fn integer(value: &AMQPValue) -> Option<i64> {
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

/// RabbitMQ's name for a value's type (`rabbit_binary_parser`).
pub(super) fn kind(value: &AMQPValue) -> &'static str {
    match value {
        AMQPValue::Boolean(_) => "bool",
        AMQPValue::ShortShortInt(_) => "byte",
        AMQPValue::ShortShortUInt(_) => "unsignedbyte",
        AMQPValue::ShortInt(_) => "short",
        AMQPValue::ShortUInt(_) => "unsignedshort",
        AMQPValue::LongInt(_) => "signedint",
        AMQPValue::LongUInt(_) => "unsignedint",
        AMQPValue::LongLongInt(_) => "long",
        AMQPValue::Float(_) => "float",
        AMQPValue::Double(_) => "double",
        AMQPValue::DecimalValue(_) => "decimal",
        AMQPValue::ShortString(_) | AMQPValue::LongString(_) => "longstr",
        AMQPValue::FieldArray(_) => "array",
        AMQPValue::Timestamp(_) => "timestamp",
        AMQPValue::FieldTable(_) => "table",
        AMQPValue::ByteArray(_) => "binary",
        AMQPValue::Void => "void",
    }
}
