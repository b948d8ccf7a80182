//! The broker as its clients see it: frames in, frames out, on a clock of the test's own; and lapin over loopback TCP.

mod deliveries;
mod direct_reply;
mod exchanges;
mod lapin;
mod management;
mod metadata;
mod queue_model;
mod queues;
mod refusals;
mod sockets;

use super::{
    Config,
    codec::{self, put_method},
    frames::Received,
    ids::ConnectionId,
    message,
    state::State,
};
use amq_protocol::{
    frame::{AMQPContentHeader, AMQPFrame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic, channel, confirm, connection, queue},
    types::{AMQPValue, FieldTable},
};

type Basic = basic::AMQPMethod;

/// A broker without sockets.
#[derive(Default)]
struct Bench {
    state: State,
    now_us: u64,
}

/// A delivery as it arrived.
#[derive(Clone, Debug, PartialEq)]
struct Delivered {
    channel: u16,
    consumer: String,
    tag: u64,
    redelivered: bool,
    key: String,
    properties: BasicProperties,
    body: String,
}

impl Bench {
    fn new() -> Self {
        let config = Config::default();
        Self { state: State::new(config), now_us: 0 }
    }

    /// An open connection with channel 1 open.
    fn connect(&mut self) -> ConnectionId {
        let id = self.handshake();
        self.call(id, 1, AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {})));
        id
    }

    fn handshake(&mut self) -> ConnectionId {
        use connection::AMQPMethod as C;
        let (id, _) = self.state.connect();
        assert_eq!(self.state.receive(id, b"AMQP\0\0\x09\x01", usize::MAX).used_bytes, 8);
        let mut capabilities = FieldTable::default();
        capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(true));
        let mut client_properties = FieldTable::default();
        client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let start_ok = connection::StartOk {
            client_properties,
            mechanism: "PLAIN".into(),
            response: "\0user\0password".into(),
            locale: "en_US".into(),
        };
        self.call(id, 0, AMQPClass::Connection(C::StartOk(start_ok)));
        let tune_ok = connection::TuneOk { channel_max: 2_047, frame_max: 8_192, heartbeat: 60 };
        self.call(id, 0, AMQPClass::Connection(C::TuneOk(tune_ok)));
        let opened = self.call(id, 0, AMQPClass::Connection(C::Open(connection::Open { virtual_host: "/".into() })));
        assert!(matches!(&opened[..], [AMQPFrame::Method(0, AMQPClass::Connection(C::OpenOk(_)))]));
        id
    }

    fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
        self.state.set_now(self.now_us);
        self.state.expire();
    }

    /// Sends a method and gives all that the broker answers on this connection.
    fn call(&mut self, id: ConnectionId, channel: u16, class: AMQPClass) -> Vec<AMQPFrame> {
        let mut input = Vec::new();
        put_method(&mut input, channel, class);
        self.feed(id, &input);
        self.output(id)
    }

    fn basic(&mut self, id: ConnectionId, method: Basic) -> Vec<AMQPFrame> {
        self.call(id, 1, AMQPClass::Basic(method))
    }

    fn feed(&mut self, id: ConnectionId, input: &[u8]) {
        self.state.set_now(self.now_us);
        let Received { used_bytes, phase, .. } = self.state.receive(id, input, usize::MAX);
        assert!(used_bytes == input.len() || phase.is_over(), "{used_bytes} of {} bytes used", input.len());
    }

    fn output(&mut self, id: ConnectionId) -> Vec<AMQPFrame> {
        let (bytes, _) = self.state.take_output(id, Vec::new());
        self.state.written(id);
        let mut rest = &bytes[..];
        let mut frames = Vec::new();
        while !rest.is_empty() {
            let (after, frame) = parse_frame(rest).unwrap();
            frames.push(frame);
            rest = after;
        }
        frames
    }

    fn deliveries(&mut self, id: ConnectionId) -> Vec<Delivered> {
        deliveries(self.output(id))
    }

    fn declare(&mut self, id: ConnectionId, name: &str, arguments: &[(&str, AMQPValue)]) -> Vec<AMQPFrame> {
        self.declare_as(
            id,
            queue::Declare { queue: name.into(), durable: true, arguments: table(arguments), ..empty() },
        )
    }

    fn declare_as(&mut self, id: ConnectionId, declare: queue::Declare) -> Vec<AMQPFrame> {
        self.call(id, 1, AMQPClass::Queue(queue::AMQPMethod::Declare(declare)))
    }

    fn publish(&mut self, id: ConnectionId, key: &str, body: &str) -> Vec<AMQPFrame> {
        self.publish_with(id, key, body, &BasicProperties::default())
    }

    fn publish_with(
        &mut self,
        id: ConnectionId,
        key: &str,
        body: &str,
        properties: &BasicProperties,
    ) -> Vec<AMQPFrame> {
        let mut input = Vec::new();
        put_publish(&mut input, key, body, properties);
        self.feed(id, &input);
        self.output(id)
    }

    fn consume(&mut self, id: ConnectionId, queue: &str, tag: &str) -> Vec<AMQPFrame> {
        let consume = basic::Consume { queue: queue.into(), consumer_tag: tag.into(), ..no_consume() };
        self.basic(id, Basic::Consume(consume))
    }

    fn qos(&mut self, id: ConnectionId, prefetch_count: u16, global: bool) {
        self.basic(id, Basic::Qos(basic::Qos { prefetch_count, global }));
    }

    fn ack(&mut self, id: ConnectionId, delivery_tag: u64, multiple: bool) -> Vec<AMQPFrame> {
        self.basic(id, Basic::Ack(basic::Ack { delivery_tag, multiple }))
    }

    fn nack(&mut self, id: ConnectionId, delivery_tag: u64, multiple: bool, requeue: bool) -> Vec<AMQPFrame> {
        self.basic(id, Basic::Nack(basic::Nack { delivery_tag, multiple, requeue }))
    }

    fn confirms(&mut self, id: ConnectionId) {
        self.call(id, 1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false })));
    }

    fn depth(&self, name: &str) -> Option<usize> {
        self.state.names.get(name).map(|id| self.state.queues[id].messages.depth())
    }

    fn ready_count(&self, name: &str) -> usize {
        self.state.queues[&self.state.names[name]].messages.ready_count()
    }

    fn waiting(&self, name: &str) -> Vec<String> {
        let queue = &self.state.queues[&self.state.names[name]].messages;
        queue.messages().iter().map(|m| String::from_utf8(m.body().to_vec()).unwrap()).collect()
    }
}

fn put_publish(out: &mut Vec<u8>, key: &str, body: &str, properties: &BasicProperties) {
    put_publish_to(out, "", key, body, properties);
}

fn put_publish_to(out: &mut Vec<u8>, exchange: &str, key: &str, body: &str, properties: &BasicProperties) {
    let publish =
        basic::Publish { exchange: exchange.into(), routing_key: key.into(), mandatory: true, immediate: false };
    put_method(out, 1, AMQPClass::Basic(Basic::Publish(publish)));
    let mut content = message::encode(properties);
    let checked = message::Message::check_properties(&content).unwrap_or_default();
    let properties_bytes = content.len();
    content.extend_from_slice(body.as_bytes());
    codec::put_content(out, 1, &message::Message::new(content, properties_bytes, (exchange, key), checked), 8_192);
}

/// Puts deliveries (and returns) together; fails on anything else.
fn deliveries(frames: Vec<AMQPFrame>) -> Vec<Delivered> {
    let mut all: Vec<Delivered> = Vec::new();
    for frame in frames {
        match frame {
            AMQPFrame::Method(channel, AMQPClass::Basic(Basic::Deliver(deliver))) => all.push(Delivered {
                channel,
                consumer: deliver.consumer_tag.to_string(),
                tag: deliver.delivery_tag,
                redelivered: deliver.redelivered,
                key: deliver.routing_key.to_string(),
                properties: BasicProperties::default(),
                body: String::new(),
            }),
            AMQPFrame::Header(_, AMQPContentHeader { properties, .. }) => {
                all.last_mut().unwrap().properties = properties
            }
            AMQPFrame::Body(_, body) => all.last_mut().unwrap().body.push_str(std::str::from_utf8(&body).unwrap()),
            other => panic!("{other:?} is no part of a delivery"),
        }
    }
    all
}

/// The reply code and the scope of the one close in `frames`.
fn refusal(frames: &[AMQPFrame]) -> (&'static str, u16) {
    match frames {
        [.., AMQPFrame::Method(_, AMQPClass::Channel(channel::AMQPMethod::Close(c)))] => ("channel", c.reply_code),
        [.., AMQPFrame::Method(0, AMQPClass::Connection(connection::AMQPMethod::Close(c)))] => {
            ("connection", c.reply_code)
        }
        other => panic!("{other:?} is no refusal"),
    }
}

fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn empty() -> queue::Declare {
    queue::Declare {
        queue: "".into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

fn no_consume() -> basic::Consume {
    basic::Consume {
        queue: "".into(),
        consumer_tag: "".into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}
