//! Messages that died in a queue: why, and what they are as they go on (RabbitMQ's guide "Dead Letter Exchanges").

use super::{
    copies::{self, CC},
    message::{Checked, Message},
};
use amq_protocol::{
    protocol::basic::AMQPProperties,
    types::{AMQPValue, ShortString},
};
use std::{collections::BTreeMap, sync::Arc};

/// Why a message left a queue without having been acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its time to live was over when it stood at the head.
    Expired,
    /// A consumer rejected it without requeueing.
    Rejected,
    /// The queue was over its length limit when it stood at the head.
    MaxLen,
}

impl Reason {
    /// As in the `x-death` header.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxLen => "maxlen",
        }
    }
}

/// A message that died, for the dead-letter exchange if the queue has one.
pub(super) type Death = (Arc<Message>, Reason);

impl Message {
    /// The message as it goes on after it died in `queue`, to `exchange`: with the event in its `x-death` header,
    /// without its expiration (RabbitMQ's guide "Dead Letter Exchanges", "Effects of dead-lettering"). `routing_key`
    /// replaces its own and those of its headers, if given.
    pub(super) fn dead_lettered(
        &self,
        queue: &str,
        reason: Reason,
        unix_s: u64,
        (exchange, routing_key): (&str, Option<&str>),
    ) -> Self {
        let properties = self.properties();
        let headers = properties.headers().clone().unwrap_or_default();
        let keys = copies::keys(&headers, CC);
        let keys = std::iter::once(self.routing_key()).chain(keys.iter().map(|key| &**key)).map(long_string);
        let mut event = BTreeMap::from([
            ("reason".into(), long_string(reason.as_str())),
            ("queue".into(), long_string(queue)),
            ("time".into(), AMQPValue::Timestamp(unix_s)),
            ("exchange".into(), long_string(self.exchange())),
            ("routing-keys".into(), AMQPValue::FieldArray(keys.collect::<Vec<_>>().into())),
        ]);
        if let Some(expiration) = properties.expiration() {
            event.insert("original-expiration".into(), long_string(expiration.as_str()));
        }
        let mut headers = record_death(headers.inner().clone(), queue, reason, self.exchange(), event);
        if routing_key.is_some() {
            headers.remove(CC);
        }
        let properties = without_expiration(&properties).with_headers(headers.into());
        let route = (exchange, routing_key.unwrap_or(self.routing_key()));
        let letter = self.with_properties(&properties, route, Checked { ttl_ms: None, ..self.checked() });
        match routing_key {
            Some(_) => letter,
            None => letter.with_copies(self.copies().map(Into::into).collect()),
        }
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
