//! A message as the broker keeps it, and what dead-lettering does to it.

use super::{direct_reply::PSEUDO_QUEUE, queue::Reason, refusal::Refusal};
use amq_protocol::{
    frame::WriteContext,
    protocol::basic::{AMQPProperties, gen_properties, parse_properties},
    types::{AMQPValue, FieldTable, ShortString},
};
use std::collections::BTreeMap;

/// Longest time to live that RabbitMQ takes, of messages and queues: ten years of 365 days.
pub(super) const TTL_MS_MAX: i64 = 315_360_000_000;

/// What a publisher sent: shared by the queue it waits in and whoever looks on, never changed.
///
/// Properties stay in their wire form, as in RabbitMQ: they are a fifth of their parsed size, and most deliveries only
/// copy them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Encoded properties, then the body.
    content: Box<[u8]>,
    /// Where in `content` the body starts.
    properties_bytes: usize,
    /// Where it was published; a dead letter has its queue's dead-letter exchange.
    exchange: Box<str>,
    routing_key: Box<str>,
    checked: Checked,
}

/// What a broker itself has to know of a message's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) persistent: bool,
    pub(super) ttl_ms: Option<u64>,
    /// Its `reply_to` is the pseudo-queue.
    pub(super) wants_direct_reply: bool,
    /// It names the user that it is from.
    pub(super) has_user_id: bool,
}

impl Message {
    /// Checks encoded properties on their arrival.
    ///
    /// # Errors
    /// 501 if they can't be decoded; 406 if the expiration is no number of milliseconds.
    pub(super) fn check_properties(encoded: &[u8]) -> Result<Checked, Refusal> {
        super::nesting::check_properties(encoded)?;
        let Ok(([], properties)) = parse_properties(encoded) else {
            return Err(Refusal::frame_error("a content header without valid properties".into()));
        };
        let ttl_ms = match properties.expiration() {
            None => None,
            Some(text) => {
                let invalid = |why| Refusal::precondition_failed(format!("invalid expiration '{text}': {why}"));
                Some(expiration_ms(text.as_str()).map_err(invalid)?)
            }
        };
        Ok(Checked {
            persistent: *properties.delivery_mode() == Some(2),
            ttl_ms,
            wants_direct_reply: properties.reply_to().as_ref().is_some_and(|name| name.as_str() == PSEUDO_QUEUE),
            has_user_id: properties.user_id().is_some(),
        })
    }

    /// Puts together what arrived: `content` is `properties_bytes` of checked properties, then the body.
    pub(super) fn new(
        content: Vec<u8>,
        properties_bytes: usize,
        (exchange, routing_key): (&str, &str),
        checked: Checked,
    ) -> Self {
        assert!(properties_bytes <= content.len(), "the properties are a part of the content");
        Self {
            content: content.into_boxed_slice(),
            properties_bytes,
            exchange: exchange.into(),
            routing_key: routing_key.into(),
            checked,
        }
    }

    /// The routing key it was published with last: a dead letter has its new one.
    #[must_use]
    pub fn routing_key(&self) -> &str {
        &self.routing_key
    }

    /// The exchange it was published to last; empty for the default one.
    #[must_use]
    pub fn exchange(&self) -> &str {
        &self.exchange
    }

    /// What the publisher sent as body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.content[self.properties_bytes..]
    }

    /// Content type, correlation id and so on, decoded anew at each call.
    #[must_use]
    pub fn properties(&self) -> AMQPProperties {
        parse_properties(self.encoded_properties()).expect("properties are checked on arrival").1
    }

    /// The headers property; empty if there is none.
    #[must_use]
    pub fn headers(&self) -> FieldTable {
        self.properties().headers().clone().unwrap_or_default()
    }

    /// A header that is a text, if there is one.
    #[must_use]
    pub fn text_header(&self, name: &str) -> Option<String> {
        match self.headers().inner().get(name) {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            _ => None,
        }
    }

    /// Whether it survives a restart in a durable queue (delivery mode 2).
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.checked.persistent
    }

    /// Time to live of its own (the expiration property).
    #[must_use]
    pub fn ttl_ms(&self) -> Option<u64> {
        self.checked.ttl_ms
    }

    pub(super) fn encoded_properties(&self) -> &[u8] {
        &self.content[..self.properties_bytes]
    }

    pub(super) fn checked(&self) -> Checked {
        self.checked
    }

    /// The message with another `reply_to`.
    pub(super) fn with_reply_to(&self, name: &str) -> Self {
        self.with_properties(
            &self.properties().with_reply_to(name.into()),
            (&self.exchange, &self.routing_key),
            self.checked,
        )
    }

    fn with_properties(&self, properties: &AMQPProperties, route: (&str, &str), checked: Checked) -> Self {
        let mut content = encode(properties);
        let properties_bytes = content.len();
        content.extend_from_slice(self.body());
        Self::new(content, properties_bytes, route, checked)
    }

    /// The message as it goes on after it died in `queue`, to `exchange`: with the event in its `x-death` header, without its
    /// expiration (RabbitMQ's guide "Dead Letter Exchanges", "Effects of dead-lettering"). `routing_key` replaces its own,
    /// if given.
    pub(super) fn dead_lettered(
        &self,
        queue: &str,
        reason: Reason,
        unix_s: u64,
        (exchange, routing_key): (&str, Option<&str>),
    ) -> Self {
        let properties = self.properties();
        let mut event = BTreeMap::from([
            ("reason".into(), long_string(reason.as_str())),
            ("queue".into(), long_string(queue)),
            ("time".into(), AMQPValue::Timestamp(unix_s)),
            ("exchange".into(), long_string(&self.exchange)),
            ("routing-keys".into(), AMQPValue::FieldArray(vec![long_string(&self.routing_key)].into())),
        ]);
        if let Some(expiration) = properties.expiration() {
            event.insert("original-expiration".into(), long_string(expiration.as_str()));
        }
        let headers = properties.headers().clone().unwrap_or_default();
        let headers = record_death(headers.inner().clone(), queue, reason, &self.exchange, event);
        let properties = without_expiration(&properties).with_headers(headers.into());
        let route = (exchange, routing_key.unwrap_or(&self.routing_key));
        self.with_properties(&properties, route, Checked { ttl_ms: None, ..self.checked })
    }

    /// Whether a dead letter has been in `queue` before and came back without any client's doing. RabbitMQ drops such
    /// messages, as they would circle for ever (`rabbit_dead_letter:is_cycle`).
    pub(super) fn circles_through(&self, queue: &str) -> bool {
        let headers = self.headers();
        let Some(AMQPValue::FieldArray(deaths)) = headers.inner().get("x-death") else { return false };
        let is = |death: &AMQPValue, key: &str, text: &str| entry(death, key) == Some(&long_string(text));
        let Some(last) = deaths.as_slice().iter().position(|death| is(death, "queue", queue)) else { return false };
        deaths.as_slice()[..=last].iter().all(|death| !is(death, "reason", Reason::Rejected.as_str()))
    }
}

/// The number in an expiration property, read as Erlang's `string:to_integer` does, with RabbitMQ's words for what is wrong.
fn expiration_ms(text: &str) -> Result<u64, String> {
    let digits_from = usize::from(text.starts_with(['+', '-']));
    let end = text[digits_from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| digits_from + at);
    if end == digits_from {
        return Err("no_integer".into());
    }
    if end < text.len() {
        return Err(format!("{{leftover_string,\"{}\"}}", &text[end..]));
    }
    let ms = text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
    in_range(ms, 0).map_err(|why| format!("{{{why},{text}}}"))
}

/// Checks a time in ms, with RabbitMQ's words for what is wrong.
pub(super) fn in_range(ms: i64, min: i64) -> Result<u64, &'static str> {
    match ms {
        ..0 => Err("value_negative"),
        0 if min > 0 => Err("value_zero"),
        _ if ms > TTL_MS_MAX => Err("value_too_large"),
        _ => Ok(ms.unsigned_abs()),
    }
}

/// Adds `event` to `x-death`: one entry for each queue and reason, the latest first, with a count.
fn record_death(
    mut headers: BTreeMap<ShortString, AMQPValue>,
    queue: &str,
    reason: Reason,
    exchange: &str,
    mut event: BTreeMap<ShortString, AMQPValue>,
) -> BTreeMap<ShortString, AMQPValue> {
    let mut deaths = match headers.remove("x-death") {
        Some(AMQPValue::FieldArray(deaths)) => deaths.as_slice().to_vec(),
        _ => {
            headers.insert("x-first-death-reason".into(), long_string(reason.as_str()));
            headers.insert("x-first-death-queue".into(), long_string(queue));
            headers.insert("x-first-death-exchange".into(), long_string(exchange));
            Vec::new()
        }
    };
    let same = |death: &AMQPValue| {
        entry(death, "queue") == Some(&long_string(queue))
            && entry(death, "reason") == Some(&long_string(reason.as_str()))
    };
    let mut count = 1;
    if let Some(at) = deaths.iter().position(same) {
        let earlier = deaths.remove(at);
        if let Some(AMQPValue::LongLongInt(n)) = entry(&earlier, "count") {
            count = n.saturating_add(1);
        }
        if let AMQPValue::FieldTable(table) = earlier {
            event = table.inner().clone(); // RabbitMQ keeps the first event's time and keys
        }
    }
    event.insert("count".into(), AMQPValue::LongLongInt(count));
    deaths.insert(0, AMQPValue::FieldTable(event.into()));
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
    headers
}

fn entry<'a>(table: &'a AMQPValue, key: &str) -> Option<&'a AMQPValue> {
    match table {
        AMQPValue::FieldTable(table) => table.inner().get(key),
        _ => None,
    }
}

fn long_string(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

/// Encodes properties as they stand in a content header.
pub(super) fn encode(properties: &AMQPProperties) -> Vec<u8> {
    gen_properties(properties)(WriteContext::from(Vec::new())).expect("a Vec takes all properties").into_inner().0
}

/// amq-protocol's properties can only be added to.
fn without_expiration(from: &AMQPProperties) -> AMQPProperties {
    macro_rules! copy {
        ($($get:ident $with:ident),*) => {{
            let mut to = AMQPProperties::default();
            $(if let Some(value) = from.$get() { to = to.$with(value.clone()); })*
            to
        }};
    }
    copy!(
        content_type with_content_type, content_encoding with_content_encoding, delivery_mode with_delivery_mode,
        priority with_priority, correlation_id with_correlation_id, reply_to with_reply_to,
        message_id with_message_id, timestamp with_timestamp, kind with_type, user_id with_user_id,
        app_id with_app_id, cluster_id with_cluster_id
    )
}
