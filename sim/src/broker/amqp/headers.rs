//! What the bindings of a headers exchange ask for (AMQP 0-9-1 section 3.1.3.4, with RabbitMQ's additions).

use super::{
    arguments::{kind, same, shown},
    refusal::Refusal,
};
use amq_protocol::types::{AMQPValue, FieldTable};

/// A binding's argument that says how the others are meant.
const MATCH: &str = "x-match";

/// What a message's headers have to be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern {
    /// One of `wanted` is enough.
    any: bool,
    /// Names and values; [`AMQPValue::Void`] asks for the name alone.
    wanted: Box<[(Box<str>, AMQPValue)]>,
}

impl Pattern {
    /// Reads a binding's arguments. Those whose names start with `x-` count only if `x-match` says so.
    ///
    /// # Errors
    /// 406 if `x-match` is none of RabbitMQ's words.
    pub(super) fn parse(arguments: &FieldTable) -> Result<Self, Refusal> {
        let (any, with_x) = match arguments.inner().get(MATCH) {
            None => (false, false),
            Some(AMQPValue::LongString(word)) => match word.as_bytes() {
                b"all" => (false, false),
                b"any" => (true, false),
                b"all-with-x" => (false, true),
                b"any-with-x" => (true, true),
                _ => {
                    return Err(Refusal::precondition_failed(format!(
                        "Invalid x-match field value {}; expected all, any, all-with-x, or any-with-x",
                        if word.is_empty() { "<<>>".into() } else { format!("<<\"{word}\">>") }
                    )));
                }
            },
            Some(other) => {
                let (kind, value) = (kind(other), shown(other));
                return Err(Refusal::precondition_failed(format!(
                    "Invalid x-match field type {kind} (value {value}); expected longstr"
                )));
            }
        };
        let counts = |name: &str| name != MATCH && (with_x || !name.starts_with("x-"));
        let wanted = arguments.inner().iter().filter(|(name, _)| counts(name.as_str()));
        Ok(Self { any, wanted: wanted.map(|(name, value)| (name.as_str().into(), value.clone())).collect() })
    }

    /// Whether a message with these headers is what the binding asks for.
    pub(super) fn matches(&self, headers: &FieldTable) -> bool {
        let is_there = |(name, wanted): &(Box<str>, AMQPValue)| match (headers.inner().get(&**name), wanted) {
            (None, _) => false,
            (Some(_), AMQPValue::Void) => true,
            (Some(value), wanted) => same(value, wanted),
        };
        if self.any { self.wanted.iter().any(is_there) } else { self.wanted.iter().all(is_there) }
    }
}
