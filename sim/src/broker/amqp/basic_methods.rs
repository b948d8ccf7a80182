//! The methods of classes basic and confirm: consuming, publishing, acknowledging.

use super::{
    arguments::consumer_priority,
    channel::Unacked,
    constants::PSEUDO_QUEUE,
    ids::ChannelId,
    message::Message,
    refusal::Refusal,
    state::{Consumer, State},
};
use amq_protocol::protocol::{
    AMQPClass,
    basic::{self, AMQPMethod as Method},
    confirm,
};
use std::collections::BTreeSet;

/// What becomes of messages that a client hands back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Requeued,
    Rejected,
}

impl State {
    pub(super) fn basic_method(&mut self, at: ChannelId, method: Method) -> Result<(), Refusal> {
        match method {
            Method::Qos(qos) => self.qos(at, &qos),
            Method::Consume(consume) => return self.consume(at, consume),
            Method::Cancel(cancel) => self.cancel(at, cancel),
            Method::Publish(publish) => return self.start_publishing(at, publish),
            Method::Get(get) => return self.get(at, &get),
            Method::Ack(ack) => return self.settle(at, ack.delivery_tag, ack.multiple, Fate::Done),
            Method::Nack(nack) => {
                let fate = if nack.requeue { Fate::Requeued } else { Fate::Rejected };
                return self.settle(at, nack.delivery_tag, nack.multiple, fate);
            }
            Method::Reject(reject) => {
                let fate = if reject.requeue { Fate::Requeued } else { Fate::Rejected };
                return self.settle(at, reject.delivery_tag, false, fate);
            }
            Method::Recover(recover) if recover.requeue => {
                self.settle(at, 0, true, Fate::Requeued)?;
                self.send(at, AMQPClass::Basic(Method::RecoverOk(basic::RecoverOk {})));
            }
            Method::RecoverAsync(recover) if recover.requeue => return self.settle(at, 0, true, Fate::Requeued),
            Method::Recover(_) | Method::RecoverAsync(_) => {
                return Err(Refusal::not_implemented("requeue=false".into()));
            }
            _ => return Err(Refusal::unimplemented_method()),
        }
        Ok(())
    }

    pub(super) fn confirm_method(&mut self, at: ChannelId, method: &confirm::AMQPMethod) -> Result<(), Refusal> {
        let confirm::AMQPMethod::Select(select) = method else {
            return Err(Refusal::unimplemented_method());
        };
        self.open_channel(at).select_confirms();
        if !select.nowait {
            self.send(at, AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(confirm::SelectOk {})));
        }
        Ok(())
    }

    fn qos(&mut self, at: ChannelId, qos: &basic::Qos) {
        let channel = self.open_channel(at);
        if qos.global {
            channel.channel_prefetch = qos.prefetch_count;
        } else {
            channel.consumer_prefetch = qos.prefetch_count;
        }
        self.send(at, AMQPClass::Basic(Method::QosOk(basic::QosOk {})));
        self.unblock_channel(at);
    }

    fn consume(&mut self, at: ChannelId, consume: basic::Consume) -> Result<(), Refusal> {
        let tag = match consume.consumer_tag.as_str() {
            "" => format!("amq.ctag-{}", self.next_name()),
            tag => tag.to_owned(),
        };
        if consume.queue.as_str() == PSEUDO_QUEUE {
            return self.consume_replies(at, &consume, tag);
        }
        let id = self.find_queue(at, consume.queue.as_str())?;
        let channel = self.open_channel(at);
        if channel.consumers.contains_key(&tag) {
            return Err(Refusal::not_allowed(format!("attempt to reuse consumer tag '{tag}'")));
        }
        let prefetch = channel.consumer_prefetch;
        let queue = &self.queues[&id];
        let priority = consumer_priority(&queue.name, &consume.arguments)?;
        if queue.exclusively_consumed || (consume.exclusive && !queue.consumers.is_empty()) {
            return Err(Refusal::access_refused(format!("queue '{}' in vhost '/' in exclusive use", queue.name)));
        }
        if !consume.nowait {
            let consumer_tag = tag.as_str().into();
            self.send(at, AMQPClass::Basic(Method::ConsumeOk(basic::ConsumeOk { consumer_tag })));
        }
        let consumer = Consumer { at, tag, queue: id, no_ack: consume.no_ack, priority, prefetch, unacked: 0 };
        self.add_consumer(consumer, consume.exclusive);
        self.reschedule(id);
        Ok(())
    }

    fn cancel(&mut self, at: ChannelId, cancel: basic::Cancel) {
        if let Some(id) = self.open_channel(at).consumers.get(cancel.consumer_tag.as_str()).copied() {
            self.forget_consumer(at, cancel.consumer_tag.as_str(), id);
            self.remove_consumer(id);
        }
        self.cancel_replies(at, cancel.consumer_tag.as_str());
        if !cancel.nowait {
            let consumer_tag = cancel.consumer_tag;
            self.send(at, AMQPClass::Basic(Method::CancelOk(basic::CancelOk { consumer_tag })));
        }
    }

    fn get(&mut self, at: ChannelId, get: &basic::Get) -> Result<(), Refusal> {
        let id = self.find_queue(at, get.queue.as_str())?;
        let now_us = self.now_us;
        let queue = self.queues.get_mut(&id).expect("just found");
        queue.used_at_us = now_us;
        let mut deaths = Vec::new();
        let entry = queue.messages.take(now_us, !get.no_ack, &mut deaths);
        queue.messages.trim(now_us, &mut deaths); // what then is expired doesn't count
        let message_count = queue.messages.ready_count() as u32;
        self.bury(id, deaths);
        self.reschedule(id);
        let Some(entry) = entry else {
            self.send(at, AMQPClass::Basic(Method::GetEmpty(basic::GetEmpty {})));
            return Ok(());
        };
        let unacked = Unacked { queue: id, position: entry.position, consumer: None };
        let delivery_tag = self.open_channel(at).deliver((!get.no_ack).then_some(unacked));
        let ok = basic::GetOk {
            delivery_tag,
            redelivered: entry.redelivered,
            exchange: entry.message.exchange().into(),
            routing_key: entry.message.routing_key().into(),
            message_count,
        };
        self.send_content(at, AMQPClass::Basic(Method::GetOk(ok)), &entry.message);
        Ok(())
    }

    fn start_publishing(&mut self, at: ChannelId, publish: basic::Publish) -> Result<(), Refusal> {
        let exchange = publish.exchange.as_str();
        if !exchange.is_empty() && self.find_exchange(exchange)?.internal {
            let reason = format!("cannot publish to internal exchange '{exchange}' in vhost '/'");
            return Err(Refusal::access_refused(reason));
        }
        if publish.immediate {
            return Err(Refusal::not_implemented("immediate=true".into()));
        }
        self.open_channel(at).start_publishing(publish);
        self.publishes(at.connection);
        Ok(())
    }

    /// Routes a complete message. The return of one that can't be routed goes out before its confirm.
    ///
    /// # Errors
    /// 406 if it is in another user's name, or wants direct replies that nobody consumes.
    pub(super) fn publish(&mut self, at: ChannelId, publish: basic::Publish, message: Message) -> Result<(), Refusal> {
        if message.checked().has_user_id {
            self.check_user(at, &message)?;
        }
        let message = if message.checked().wants_direct_reply { self.address_reply(at, message)? } else { message };
        let message = message.addressed();
        if let Err(message) = self.route(message)
            && publish.mandatory
        {
            let (exchange, routing_key) = (publish.exchange, publish.routing_key);
            let back = basic::Return { reply_code: 312, reply_text: "NO_ROUTE".into(), exchange, routing_key };
            self.send_content(at, AMQPClass::Basic(Method::Return(back)), &message);
        }
        let connection = self.connections.get_mut(&at.connection).expect("a message comes on a connection");
        connection.to_confirm.insert(at.channel);
        self.open_channel(at).published();
        Ok(())
    }

    fn check_user(&self, at: ChannelId, message: &Message) -> Result<(), Refusal> {
        let user = &self.connections[&at.connection].user;
        match message.properties().user_id() {
            Some(other) if other.as_str() != &**user => Err(Refusal::precondition_failed(format!(
                "user_id property set to '{other}' but authenticated user was '{user}'"
            ))),
            _ => Ok(()),
        }
    }

    fn settle(&mut self, at: ChannelId, tag: u64, multiple: bool, fate: Fate) -> Result<(), Refusal> {
        let mut settled = self.open_channel(at).settle(tag, multiple)?;
        if fate == Fate::Requeued {
            settled.reverse(); // see Queue::requeue
        }
        let mut touched = BTreeSet::new();
        for unacked in &settled {
            let Some(queue) = self.queues.get_mut(&unacked.queue) else { continue }; // deleted meanwhile
            match fate {
                Fate::Done => assert!(queue.messages.ack(unacked.position), "a queue knows what it has delivered"),
                Fate::Requeued => {
                    queue.messages.requeue(unacked.position);
                    touched.insert(unacked.queue);
                }
                Fate::Rejected => {
                    let mut deaths = Vec::new();
                    queue.messages.reject(unacked.position, &mut deaths);
                    self.bury(unacked.queue, deaths);
                }
            }
        }
        self.credit(at, &settled);
        for queue in touched {
            self.pump(queue);
        }
        Ok(())
    }
}
