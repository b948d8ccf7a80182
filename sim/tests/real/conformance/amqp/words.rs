//! What comes over the wire in words, without what differs from run to run.

use amq_protocol::{
    protocol::{
        AMQPClass, BasicProperties,
        basic::{self, AMQPMethod as Basic},
        channel::{self, AMQPMethod as Channels},
        connection::{self, AMQPMethod as Connections},
        queue::AMQPMethod as Queues,
    },
    types::AMQPValue,
};

/// A method with the fields that matter.
pub(super) fn method(class: &AMQPClass) -> String {
    match class {
        AMQPClass::Channel(Channels::Close(close)) => {
            let channel::Close { reply_code, reply_text, class_id, method_id } = close;
            let reply_text = without_generated_names(reply_text.as_str());
            format!("close {reply_code} {reply_text} ({class_id}.{method_id})")
        }
        AMQPClass::Connection(Connections::Close(close)) => {
            let connection::Close { reply_code, reply_text, class_id, method_id } = close;
            format!("close {reply_code} {reply_text} ({class_id}.{method_id})")
        }
        AMQPClass::Queue(Queues::DeclareOk(ok)) => {
            format!(
                "declare-ok {} messages={} consumers={}",
                known(ok.queue.as_str()),
                ok.message_count,
                ok.consumer_count
            )
        }
        AMQPClass::Queue(Queues::DeleteOk(ok)) => format!("delete-ok messages={}", ok.message_count),
        AMQPClass::Queue(Queues::PurgeOk(ok)) => format!("purge-ok messages={}", ok.message_count),
        AMQPClass::Basic(Basic::ConsumeOk(ok)) => format!("consume-ok {}", known(ok.consumer_tag.as_str())),
        AMQPClass::Basic(Basic::CancelOk(ok)) => format!("cancel-ok {}", known(ok.consumer_tag.as_str())),
        AMQPClass::Basic(Basic::Cancel(cancel)) => {
            format!("cancel {} nowait={}", known(cancel.consumer_tag.as_str()), cancel.nowait)
        }
        AMQPClass::Basic(Basic::Ack(ack)) => format!("ack {} multiple={}", ack.delivery_tag, ack.multiple),
        AMQPClass::Basic(Basic::Nack(nack)) => format!("nack {} multiple={}", nack.delivery_tag, nack.multiple),
        AMQPClass::Basic(Basic::Deliver(deliver)) => {
            let basic::Deliver { consumer_tag, delivery_tag, redelivered, exchange, routing_key } = deliver;
            let again = if *redelivered { " again" } else { "" };
            let (tag, key) = (known(consumer_tag.as_str()), known(routing_key.as_str()));
            format!("deliver {delivery_tag}{again} to {tag} from '{exchange}' key '{key}'")
        }
        AMQPClass::Basic(Basic::GetOk(ok)) => {
            let again = if ok.redelivered { " again" } else { "" };
            let (exchange, key) = (&ok.exchange, known(ok.routing_key.as_str()));
            format!("get-ok {}{again} from '{exchange}' key '{key}' left={}", ok.delivery_tag, ok.message_count)
        }
        AMQPClass::Basic(Basic::Return(back)) => {
            let basic::Return { reply_code, reply_text, exchange, routing_key } = back;
            let key = known(routing_key.as_str());
            format!("return {reply_code} {reply_text} from '{exchange}' key '{key}'")
        }
        // What has no fields worth noting: its name.
        other => {
            let debug = format!("{other:?}");
            let name = debug.split('(').nth(1).unwrap_or(&debug).trim_end_matches(')');
            name.split_whitespace().next().unwrap_or(name).to_owned()
        }
    }
}

fn without_generated_names(text: &str) -> String {
    let shortened: Vec<&str> = text.split('\'').map(known).collect();
    shortened.join("'")
}

/// Names that the broker has made up, without what differs from run to run.
fn known(name: &str) -> &str {
    let generated = ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."];
    generated.into_iter().find(|prefix| name.starts_with(prefix)).unwrap_or(name)
}

/// The properties that are there, each with a space before it.
pub(super) fn properties(properties: &BasicProperties) -> String {
    let mut out = String::new();
    let texts = [
        ("content-type", properties.content_type()),
        ("correlation-id", properties.correlation_id()),
        ("expiration", properties.expiration()),
        ("message-id", properties.message_id()),
        ("user-id", properties.user_id()),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            out += &format!(" {name}={value}");
        }
    }
    if let Some(reply_to) = properties.reply_to() {
        out += &format!(" reply-to={}", known(reply_to.as_str()));
    }
    if let Some(mode) = properties.delivery_mode() {
        out += &format!(" delivery-mode={mode}");
    }
    if let Some(priority) = properties.priority() {
        out += &format!(" priority={priority}");
    }
    if let Some(headers) = properties.headers() {
        out += &format!(" headers={}", value(&AMQPValue::FieldTable(headers.clone())));
    }
    out
}

/// A field's value; of a time only that it is one.
fn value(field: &AMQPValue) -> String {
    match field {
        AMQPValue::LongString(text) => format!("'{text}'"),
        AMQPValue::Timestamp(_) => "(a time)".to_owned(),
        AMQPValue::FieldArray(array) => {
            format!("[{}]", array.as_slice().iter().map(value).collect::<Vec<_>>().join(", "))
        }
        AMQPValue::FieldTable(table) => {
            let fields: Vec<String> =
                table.inner().iter().map(|(name, field)| format!("{name}={}", value(field))).collect();
            format!("{{{}}}", fields.join(" "))
        }
        other => format!("{other:?}"),
    }
}
