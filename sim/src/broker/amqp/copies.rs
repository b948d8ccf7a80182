//! The headers `CC` and `BCC`: further routing keys of a message (RabbitMQ's guide "Sender-selected Distribution").

use super::{arguments::kind, message::Message, refusal::Refusal};
use amq_protocol::types::{AMQPValue, FieldTable};

/// Keys that every receiver sees.
pub(super) const CC: &str = "CC";
/// Keys that nobody sees: the header is gone when the message is routed.
const BCC: &str = "BCC";

/// Whether headers have further routing keys.
///
/// # Errors
/// 406 if they are no list.
pub(super) fn check(headers: Option<&FieldTable>) -> Result<bool, Refusal> {
    let Some(headers) = headers else { return Ok(false) };
    let mut has_copies = false;
    for name in [CC, BCC] {
        match headers.inner().get(name) {
            None => {}
            Some(AMQPValue::FieldArray(_)) => has_copies = true,
            Some(other) => {
                let kind = kind(other);
                return Err(Refusal::precondition_failed(format!(
                    "invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}"
                )));
            }
        }
    }
    Ok(has_copies)
}

/// The texts in a header's list. What else is in it RabbitMQ passes over.
pub(super) fn keys(headers: &FieldTable, name: &str) -> Vec<Box<str>> {
    let Some(AMQPValue::FieldArray(list)) = headers.inner().get(name) else { return Vec::new() };
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok().map(Into::into),
        _ => None,
    };
    list.as_slice().iter().filter_map(text).collect()
}

impl Message {
    /// A message that has come, with the routing keys of its headers, and without what nobody is to see.
    pub(super) fn addressed(self) -> Self {
        if !self.checked().has_copies {
            return self;
        }
        let headers = self.headers();
        let mut copies = keys(&headers, CC);
        copies.extend(keys(&headers, BCC));
        let without_bcc = if headers.contains_key(BCC) {
            let mut seen = headers.inner().clone();
            seen.remove(BCC);
            let properties = self.properties().with_headers(seen.into());
            self.with_properties(&properties, (self.exchange(), self.routing_key()), self.checked())
        } else {
            self
        };
        without_bcc.with_copies(copies.into())
    }
}
