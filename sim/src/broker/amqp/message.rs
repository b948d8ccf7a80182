//! A message as the broker keeps it.

use super::{constants::PSEUDO_QUEUE, copies, refusal::Refusal, table_depth, ttl::expiration_ms};
use amq_protocol::{
    frame::WriteContext,
    protocol::basic::{AMQPProperties, gen_properties, parse_properties},
    types::{AMQPValue, FieldTable},
};

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
    /// Further routing keys, which its headers gave it.
    copies: Box<[Box<str>]>,
    checked: Checked,
}

/// What a broker itself has to know of a message's properties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Checked {
    pub(super) persistent: bool,
    pub(super) ttl_ms: Option<u64>,
    /// 0 if it names none.
    pub(super) priority: u8,
    /// Its headers have further routing keys.
    pub(super) has_copies: bool,
    /// Its `reply_to` is the pseudo-queue.
    pub(super) wants_direct_reply: bool,
    /// It names the user that it is from.
    pub(super) has_user_id: bool,
}

impl Message {
    /// Checks encoded properties on their arrival.
    ///
    /// # Errors
    /// 501 if they can't be decoded; 406 if the expiration is no number of milliseconds, or further routing keys are no
    /// list.
    pub(super) fn check_properties(encoded: &[u8]) -> Result<Checked, Refusal> {
        table_depth::check_properties(encoded)?;
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
            priority: properties.priority().unwrap_or_default(),
            has_copies: copies::check(properties.headers().as_ref())?,
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
            copies: Box::default(),
            checked,
        }
    }

    /// The message with further routing keys.
    pub(super) fn with_copies(self, copies: Box<[Box<str>]>) -> Self {
        Self { copies, ..self }
    }

    /// The routing key and those that the headers gave it.
    pub(super) fn routing_keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&*self.routing_key).chain(self.copies())
    }

    /// The routing keys that the headers gave it.
    pub(super) fn copies(&self) -> impl Iterator<Item = &str> {
        self.copies.iter().map(|key| &**key)
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

    /// How urgent it is (the priority property); 0 without.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.checked.priority
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
        .with_copies(self.copies.clone())
    }

    /// The message with these properties, as it goes on to `route`, an exchange and a routing key.
    pub(super) fn with_properties(&self, properties: &AMQPProperties, route: (&str, &str), checked: Checked) -> Self {
        let mut content = encode(properties);
        let properties_bytes = content.len();
        content.extend_from_slice(self.body());
        Self::new(content, properties_bytes, route, checked)
    }
}

/// Encodes properties as they stand in a content header.
pub(super) fn encode(properties: &AMQPProperties) -> Vec<u8> {
    gen_properties(properties)(WriteContext::from(Vec::new())).expect("a Vec takes all properties").into_inner().0
}
