//! Methods with the fields that most scenarios leave alone.

use amq_protocol::{
    protocol::{basic, exchange, queue},
    types::FieldTable,
};

/// A declaration of a transient, shared queue.
pub(super) fn queue(name: &str) -> queue::Declare {
    queue::Declare {
        queue: name.into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

pub(super) fn exchange(name: &str, kind: &str) -> exchange::Declare {
    exchange::Declare {
        exchange: name.into(),
        kind: kind.into(),
        passive: false,
        durable: false,
        auto_delete: false,
        internal: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

pub(super) fn consume(queue: &str, tag: &str) -> basic::Consume {
    basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

pub(super) fn basic_publish(exchange: &str, key: &str) -> basic::Publish {
    basic::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: false, immediate: false }
}
