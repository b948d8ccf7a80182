//! The methods of class queue (AMQP 0-9-1 section 1.7 of the reference), with RabbitMQ's rules on names, equivalence
//! and exclusive access. Binding is in `exchange_methods`.

use super::{
    arguments::Arguments,
    ids::{ChannelId, QueueId},
    named_queue::NamedQueue,
    queue::Queue,
    refusal::Refusal,
    state::State,
};
use amq_protocol::protocol::{
    AMQPClass,
    queue::{self, AMQPMethod as Method},
};
use std::sync::Arc;

/// Most queues at a time: a client that leaks them is found out before memory is.
const QUEUES_MAX: usize = 1_000_000;

impl State {
    pub(super) fn queue_method(&mut self, at: ChannelId, method: Method) -> Result<(), Refusal> {
        match method {
            Method::Declare(declare) => self.declare(at, &declare),
            Method::Purge(purge) => {
                let id = self.find_queue(at, purge.queue.as_str())?;
                let queue = self.queues.get_mut(&id).expect("just found");
                let message_count = queue.messages.purge() as u32;
                self.reschedule(id);
                if !purge.nowait {
                    self.send(at, AMQPClass::Queue(Method::PurgeOk(queue::PurgeOk { message_count })));
                }
                Ok(())
            }
            Method::Delete(delete) => self.delete(at, &delete),
            Method::Bind(bind) => self.bind_queue(at, &bind),
            Method::Unbind(unbind) => self.unbind_queue(at, &unbind),
            _ => Err(Refusal::unimplemented_method()),
        }
    }

    fn declare(&mut self, at: ChannelId, declare: &queue::Declare) -> Result<(), Refusal> {
        let name = declare.queue.as_str();
        let id = if declare.passive {
            self.find_queue(at, name)?
        } else if name.starts_with("amq.") {
            return Err(Refusal::access_refused(format!("queue name '{name}' contains reserved prefix 'amq.*'")));
        } else if self.names.contains_key(name) {
            self.redeclare(at, declare)?
        } else {
            self.declare_new(at, declare)?
        };
        let now_us = self.now_us;
        let queue = self.queues.get_mut(&id).expect("just declared");
        queue.used_at_us = now_us;
        let ok = queue::DeclareOk {
            queue: queue.name.as_ref().into(),
            message_count: queue.messages.ready_count() as u32,
            consumer_count: queue.consumers.len() as u32,
        };
        let name = String::from(&*queue.name);
        self.reschedule(id);
        if let Some(channel) = self.connections.get_mut(&at.connection).and_then(|c| c.channel(at.channel)) {
            channel.last_queue = name;
        }
        if !declare.nowait {
            self.send(at, AMQPClass::Queue(Method::DeclareOk(ok)));
        }
        Ok(())
    }

    fn declare_new(&mut self, at: ChannelId, declare: &queue::Declare) -> Result<QueueId, Refusal> {
        if self.queues.len() >= QUEUES_MAX {
            return Err(Refusal::resource_error(format!("{QUEUES_MAX} queues are the limit")));
        }
        let arguments = Arguments::parse(declare.queue.as_str(), &declare.arguments)?;
        let name: Arc<str> = match declare.queue.as_str() {
            "" => format!("amq.gen-{}", self.next_name()).into(),
            name => name.into(),
        };
        let mut queue = NamedQueue::new(name, Queue::new(arguments), self.now_us);
        queue.durable = declare.durable;
        queue.auto_delete = declare.auto_delete;
        queue.owner = declare.exclusive.then_some(at.connection);
        Ok(self.create_queue(queue))
    }

    /// Declaring what is there already does nothing, if it is the same (RabbitMQ's guide "Queues", "Declaration and
    /// Property Equivalence").
    fn redeclare(&mut self, at: ChannelId, declare: &queue::Declare) -> Result<QueueId, Refusal> {
        let name = declare.queue.as_str();
        let id = self.find_queue(at, name)?;
        let queue = &self.queues[&id];
        if queue.owner.is_some() != declare.exclusive {
            return Err(Refusal::locked_queue(name));
        }
        let inequivalent = |argument: &str, difference: &str| {
            let reason = format!("inequivalent arg '{argument}' for queue '{name}' in vhost '/': {difference}");
            Err(Refusal::precondition_failed(reason))
        };
        let flags =
            [("durable", declare.durable, queue.durable), ("auto_delete", declare.auto_delete, queue.auto_delete)];
        for (argument, received, current) in flags {
            if received != current {
                return inequivalent(argument, &format!("received '{received}' but current is '{current}'"));
            }
        }
        match queue.messages.arguments.difference(&declare.arguments) {
            Some((argument, difference)) => inequivalent(argument, &difference),
            None => Ok(id),
        }
    }

    fn delete(&mut self, at: ChannelId, delete: &queue::Delete) -> Result<(), Refusal> {
        let name = delete.queue.as_str();
        let message_count = match self.find_queue(at, name) {
            Ok(id) => {
                let queue = &self.queues[&id];
                let kept =
                    |why: &str| Refusal::precondition_failed(format!("queue '{}' in vhost '/' {why}", queue.name));
                if delete.if_unused && !queue.consumers.is_empty() {
                    return Err(kept("in use"));
                }
                if delete.if_empty && queue.messages.ready_count() > 0 {
                    return Err(kept("not empty"));
                }
                self.delete_queue(id).map_or(0, |queue| queue.messages.ready_count() as u32)
            }
            // Deleting what isn't there succeeds since RabbitMQ 3.2.
            Err(refusal) if refusal.code == 404 && !name.is_empty() => 0,
            Err(refusal) => return Err(refusal),
        };
        if !delete.nowait {
            self.send(at, AMQPClass::Queue(Method::DeleteOk(queue::DeleteOk { message_count })));
        }
        Ok(())
    }
}
