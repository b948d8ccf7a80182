//! Direct reply-to: answers go straight to the channel that asked, without a queue (RabbitMQ's guide "Direct
//! Reply-to").
//!
//! A channel consumes the pseudo-queue [`PSEUDO_QUEUE`]; its requests that name it as their `reply_to` get a name of
//! the channel's own there; whoever publishes to that name through the default exchange reaches the channel, as long as
//! it is open.

use super::{
    channel::ReplyConsumer, codec, constants::PSEUDO_QUEUE, ids::ChannelId, message::Message, refusal::Refusal,
    state::State,
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{AMQPMethod as Method, Consume, ConsumeOk},
};
use std::collections::BTreeSet;

impl State {
    /// `basic.consume` of the pseudo-queue.
    ///
    /// # Errors
    /// 406 with acknowledgements, or if the channel has such a consumer.
    pub(super) fn consume_replies(&mut self, at: ChannelId, consume: &Consume, tag: String) -> Result<(), Refusal> {
        if self.open_channel(at).reply_consumer.is_some() {
            return Err(Refusal::precondition_failed("reply consumer already set".into()));
        }
        if !consume.no_ack {
            return Err(Refusal::precondition_failed("reply consumer cannot acknowledge".into()));
        }
        if !consume.nowait {
            let consumer_tag = tag.as_str().into();
            self.send(at, AMQPClass::Basic(Method::ConsumeOk(ConsumeOk { consumer_tag })));
        }
        let name: Box<str> = format!("{PSEUDO_QUEUE}.{}.{}", self.next_name(), at.channel).into();
        self.reply_channels.insert(name.clone(), at);
        self.open_channel(at).reply_consumer = Some(ReplyConsumer { tag, name });
        Ok(())
    }

    /// A request with the channel's own name in its `reply_to`.
    ///
    /// # Errors
    /// 406 if the channel doesn't consume replies.
    pub(super) fn address_reply(&mut self, at: ChannelId, request: Message) -> Result<Message, Refusal> {
        match &self.open_channel(at).reply_consumer {
            Some(consumer) => Ok(request.with_reply_to(&consumer.name)),
            None => Err(Refusal::precondition_failed("fast reply consumer does not exist".into())),
        }
    }

    /// `basic.cancel`: replies end, if that is their consumer's tag.
    pub(super) fn cancel_replies(&mut self, at: ChannelId, tag: &str) {
        if let Some(consumer) = self.open_channel(at).reply_consumer.take_if(|consumer| consumer.tag == tag) {
            self.reply_channels.remove(&consumer.name);
        }
    }

    /// Hands a reply to the channels that its routing keys name, if they do. That is no queue: a mandatory reply
    /// returns all the same. Replies don't count among the channel's deliveries, their tag is the one that comes next.
    pub(super) fn reply_directly(&mut self, reply: &Message) {
        if self.reply_channels.is_empty() {
            return;
        }
        for key in reply.routing_keys().collect::<BTreeSet<_>>() {
            if let Some(&at) = self.reply_channels.get(key) {
                self.hand_over(at, reply);
            }
        }
    }

    fn hand_over(&mut self, ChannelId { connection, channel: number }: ChannelId, reply: &Message) {
        let to = self.connections.get_mut(&connection).expect("a channel that ends takes its name along");
        let frame_bytes_max = to.frame_bytes_max;
        let channel = to.channel(number).expect("as above");
        let delivery_tag = channel.next_delivery_tag();
        let tag = channel.reply_consumer.as_ref().expect("as above").tag.clone();
        self.append(connection, |out| {
            codec::put_delivery(out, number, &tag, delivery_tag, false, reply, frame_bytes_max);
        });
    }
}
