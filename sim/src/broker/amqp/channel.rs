//! One channel: prefetch, delivery tags and what they stand for, publisher confirms, and the message that is being
//! published frame by frame.

use super::{
    constants::BASIC_CLASS,
    ids::{ConsumerId, QueueId},
    message::{Checked, Message},
    queue::Position,
    refusal::Refusal,
};
use amq_protocol::protocol::basic::Publish;
use std::collections::BTreeMap;

/// A delivery that awaits its acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unacked {
    pub(super) queue: QueueId,
    pub(super) position: Position,
    /// `None` for `basic.get`.
    pub(super) consumer: Option<ConsumerId>,
}

/// The consumer of a channel's direct replies.
#[derive(Clone, Debug)]
pub(super) struct ReplyConsumer {
    pub(super) tag: String,
    /// What `reply_to` becomes, unique to this consumer.
    pub(super) name: Box<str>,
}

/// The state of an open channel.
#[derive(Debug, Default)]
pub(super) struct Channel {
    /// `basic.qos` with global=false: the limit that consumers started from now on get. 0: none.
    pub(super) consumer_prefetch: u16,
    /// `basic.qos` with global=true: the limit that all consumers share. 0: none. RabbitMQ gives `global` these
    /// meanings, not the specification's (its guide "Consumer Prefetch").
    pub(super) channel_prefetch: u16,
    /// By their tags.
    pub(super) consumers: BTreeMap<String, ConsumerId>,
    /// Consumers that have no room for a further delivery, and so left the rotation of their queue; the first to be
    /// blocked is the first to go on.
    pub(super) blocked: Vec<ConsumerId>,
    /// Where direct replies go.
    pub(super) reply_consumer: Option<ReplyConsumer>,
    /// The queue that an empty name stands for.
    pub(super) last_queue: String,
    unacked: BTreeMap<u64, Unacked>,
    /// Those of `unacked` that count for the channel's prefetch: `basic.get` doesn't.
    unacked_by_consumers: usize,
    last_delivery_tag: u64,
    confirms: Option<Confirms>,
    publishing: Option<Publishing>,
}

/// Publisher confirms (RabbitMQ's guide "Consumer Acknowledgements and Publisher Confirms"). Every message is settled
/// as soon as it is in its queues, so those due are always the last ones in a row.
#[derive(Debug, Default)]
struct Confirms {
    published: u64,
    confirmed: u64,
}

/// A message whose frames are still coming.
#[derive(Debug)]
struct Publishing {
    method: Publish,
    header: Option<Header>,
}

#[derive(Debug)]
struct Header {
    /// Properties, then as much of the body as has arrived.
    content: Vec<u8>,
    properties_bytes: usize,
    content_bytes: usize,
    checked: Checked,
}

/// Most that is set aside for a body on the word of its header alone, which each of thousands of channels may give. A
/// command fits.
const BODY_BYTES_RESERVED: usize = 2 * 1024;
/// Class, weight and body size in a content header.
const CONTENT_HEADER_BYTES: usize = 12;

impl Channel {
    /// Whether the channel's own prefetch leaves room.
    pub(super) fn has_room(&self) -> bool {
        self.channel_prefetch == 0 || self.unacked_by_consumers < self.channel_prefetch.into()
    }

    /// The delivery tag that comes next.
    pub(super) fn next_delivery_tag(&self) -> u64 {
        self.last_delivery_tag + 1
    }

    /// Gives out the next delivery tag; `unacked` unless the delivery needs no acknowledgement.
    pub(super) fn deliver(&mut self, unacked: Option<Unacked>) -> u64 {
        self.last_delivery_tag += 1;
        if let Some(unacked) = unacked {
            self.unacked_by_consumers += usize::from(unacked.consumer.is_some());
            self.unacked.insert(self.last_delivery_tag, unacked);
        }
        self.last_delivery_tag
    }

    /// What a client's ack, nack or reject stands for, in the order of the deliveries. Tag 0 with `multiple` means all.
    ///
    /// # Errors
    /// 406 if the tag is unknown, which in RabbitMQ includes tags that were settled before, also with `multiple`.
    pub(super) fn settle(&mut self, tag: u64, multiple: bool) -> Result<Vec<Unacked>, Refusal> {
        if multiple && tag == 0 {
            return Ok(self.settle_all());
        }
        let Some(last) = self.unacked.remove(&tag) else {
            return Err(Refusal::precondition_failed(format!("unknown delivery tag {tag}")));
        };
        let mut settled = Vec::new();
        if multiple {
            let later = self.unacked.split_off(&tag);
            settled.extend(std::mem::replace(&mut self.unacked, later).into_values());
        }
        settled.push(last);
        self.unacked_by_consumers -= settled.iter().filter(|unacked| unacked.consumer.is_some()).count();
        Ok(settled)
    }

    /// All outstanding deliveries, in their order.
    pub(super) fn settle_all(&mut self) -> Vec<Unacked> {
        self.unacked_by_consumers = 0;
        std::mem::take(&mut self.unacked).into_values().collect()
    }

    /// Whether its client has to acknowledge something.
    pub(super) fn is_owed(&self) -> bool {
        !self.unacked.is_empty()
    }

    /// `confirm.select`.
    pub(super) fn select_confirms(&mut self) {
        self.confirms.get_or_insert_default();
    }

    /// The confirm that is due: the last tag, and whether it stands for several messages.
    pub(super) fn take_confirm(&mut self) -> Option<(u64, bool)> {
        let confirms = self.confirms.as_mut()?;
        let due = confirms.published - confirms.confirmed;
        confirms.confirmed = confirms.published;
        (due > 0).then_some((confirms.published, due > 1))
    }

    /// Counts a message that all its queues have taken.
    pub(super) fn published(&mut self) {
        if let Some(confirms) = &mut self.confirms {
            confirms.published += 1;
        }
    }

    /// The refusal of a frame that isn't what has to come now.
    fn unexpected(&self) -> Refusal {
        match &self.publishing {
            None => Refusal::unexpected_frame("expected method frame, got non method frame instead".into()),
            Some(Publishing { header, .. }) => {
                let expected = if header.is_none() { "content header" } else { "content body" };
                let class = if header.is_none() { " for class 60" } else { "" };
                let reason = format!("expected {expected}{class}, got non {expected} frame instead");
                Refusal::unexpected_frame(reason).of_publish()
            }
        }
    }

    /// # Errors
    /// 505 if content has to come now.
    pub(super) fn expect_method(&self) -> Result<(), Refusal> {
        if self.publishing.is_some() { Err(self.unexpected()) } else { Ok(()) }
    }

    /// `basic.publish`: a content header and the body follow.
    pub(super) fn start_publishing(&mut self, method: Publish) {
        self.publishing = Some(Publishing { method, header: None });
    }

    /// The content header (section 4.2.6.1). The message, if it has no body.
    ///
    /// # Errors
    /// 505 without a publish before it, 501 if it can't be decoded, 406 for a bad expiration or too large a body.
    pub(super) fn content_header(
        &mut self,
        payload: &[u8],
        body_bytes_max: u64,
    ) -> Result<Option<(Publish, Message)>, Refusal> {
        if !matches!(self.publishing, Some(Publishing { header: None, .. })) {
            return Err(self.unexpected());
        }
        let Some((fixed, properties)) = payload.split_first_chunk::<CONTENT_HEADER_BYTES>() else {
            return Err(Refusal::frame_error(format!("content header of {} bytes", payload.len())));
        };
        if fixed[..2] != BASIC_CLASS.to_be_bytes() {
            return Err(Refusal::unexpected_frame("content header of another class than its method".into()));
        }
        let body_bytes = u64::from_be_bytes(*fixed.last_chunk().expect("12 is more than 8"));
        if body_bytes > body_bytes_max {
            let reason = format!("message size {body_bytes} is larger than configured max size {body_bytes_max}");
            return Err(Refusal::precondition_failed(reason).of_publish());
        }
        let checked = Message::check_properties(properties).map_err(Refusal::of_publish)?;
        let content_bytes = properties.len() + body_bytes as usize;
        let mut content = Vec::with_capacity(content_bytes.min(properties.len() + BODY_BYTES_RESERVED));
        content.extend_from_slice(properties);
        let publishing = self.publishing.as_mut().expect("checked above");
        publishing.header = Some(Header { content, properties_bytes: properties.len(), content_bytes, checked });
        Ok(self.take_complete())
    }

    /// A part of the body. The message, if that was the last.
    ///
    /// # Errors
    /// 505 without a content header before it, 501 if the body gets longer than that header said.
    pub(super) fn content_body(&mut self, payload: &[u8]) -> Result<Option<(Publish, Message)>, Refusal> {
        let Some(header) = self.publishing.as_mut().and_then(|publishing| publishing.header.as_mut()) else {
            return Err(self.unexpected());
        };
        if header.content.len() + payload.len() > header.content_bytes {
            return Err(Refusal::frame_error("content body longer than its header says".into()));
        }
        header.content.extend_from_slice(payload);
        Ok(self.take_complete())
    }

    fn take_complete(&mut self) -> Option<(Publish, Message)> {
        let complete = |p: &mut Publishing| p.header.as_ref().is_some_and(|h| h.content.len() == h.content_bytes);
        let Publishing { method, header } = self.publishing.take_if(complete)?;
        let header = header.expect("a complete message has a header");
        let Header { content, properties_bytes, checked, .. } = header;
        let route = (method.exchange.as_str(), method.routing_key.as_str());
        let message = Message::new(content, properties_bytes, route, checked);
        Some((method, message))
    }
}
