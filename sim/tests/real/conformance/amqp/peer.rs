//! A client that knows frames only: it says what it is told to and notes what it gets, in words.

use super::{
    methods::{basic_publish, consume, queue},
    words::{method, properties},
};
use crate::conformance::harness::At;
use amq_protocol::{
    frame::{AMQPFrame, GenError, WriteContext, gen_frame, parse_frame},
    protocol::{
        AMQPClass, BasicProperties,
        basic::{self, AMQPMethod as Basic},
        channel::{self, AMQPMethod as Channels},
        confirm,
        connection::{self, AMQPMethod as Connections},
        exchange::AMQPMethod as Exchanges,
        queue::{self, AMQPMethod as Queues},
    },
    types::{AMQPValue, FieldTable},
};
use backbone::env::{Env, Stream};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// How long an answer that must come may take, on a machine that is busy with other things.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long nothing must come for silence.
const SILENCE: Duration = Duration::from_millis(400);
/// What the client proposes, small enough for many frames.
const FRAME_BYTES_MAX: u32 = 8_192;

/// A connection, most often with channel 1 open.
pub(super) struct Peer {
    at: At,
    /// How its notes begin.
    who: &'static str,
    stream: Stream,
    input: Vec<u8>,
}

/// What a connection may be opened with.
pub(super) struct Hello {
    pub(super) heartbeat_s: u16,
    pub(super) cancel_notify: bool,
    pub(super) mechanism: &'static str,
    pub(super) response: &'static str,
    pub(super) vhost: &'static str,
    pub(super) channel_max: u16,
    pub(super) frame_bytes_max: u32,
}

impl Default for Hello {
    fn default() -> Self {
        let (mechanism, vhost) = ("PLAIN", "/");
        Self {
            heartbeat_s: 0,
            cancel_notify: true,
            mechanism,
            response: "\0guest\0guest",
            vhost,
            channel_max: 100,
            frame_bytes_max: FRAME_BYTES_MAX,
        }
    }
}

impl Peer {
    /// A TCP connection on which nothing was said yet.
    pub(super) async fn dial(at: &At, who: &'static str) -> Self {
        let stream = Env::tokio().connect("127.0.0.1", at.port).await.unwrap();
        Self { at: at.clone(), who, stream, input: Vec::new() }
    }

    /// An open connection with channel 1 open.
    pub(super) async fn connect(at: &At, who: &'static str) -> Self {
        Self::connect_with(at, who, Hello::default()).await
    }

    pub(super) async fn connect_with(at: &At, who: &'static str, hello: Hello) -> Self {
        let mut peer = Self::dial(at, who).await;
        peer.greet(hello).await;
        let opened = peer.next().await;
        assert!(matches!(opened, Some(AMQPFrame::Method(0, AMQPClass::Connection(Connections::OpenOk(_))))));
        peer.open_channel(1).await;
        peer
    }

    /// Says all that opens a connection, but for the last answer.
    pub(super) async fn greet(&mut self, hello: Hello) {
        self.send_bytes(b"AMQP\0\0\x09\x01").await;
        self.expect_method().await;
        let mut capabilities = FieldTable::default();
        capabilities.insert("consumer_cancel_notify".into(), AMQPValue::Boolean(hello.cancel_notify));
        capabilities.insert("authentication_failure_close".into(), AMQPValue::Boolean(true));
        let mut client_properties = FieldTable::default();
        client_properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
        let start_ok = connection::StartOk {
            client_properties,
            mechanism: hello.mechanism.into(),
            response: hello.response.into(),
            locale: "en_US".into(),
        };
        self.send(0, AMQPClass::Connection(Connections::StartOk(start_ok))).await;
        if hello.mechanism == "STRANGE" || hello.response.len() < 10 {
            return;
        }
        self.expect_method().await;
        let (frame_max, channel_max, heartbeat) = (hello.frame_bytes_max, hello.channel_max, hello.heartbeat_s);
        let tune_ok = connection::TuneOk { channel_max, frame_max, heartbeat };
        self.send(0, AMQPClass::Connection(Connections::TuneOk(tune_ok))).await;
        let open = connection::Open { virtual_host: hello.vhost.into() };
        self.send(0, AMQPClass::Connection(Connections::Open(open))).await;
    }

    async fn expect_method(&mut self) {
        let next = self.next().await;
        assert!(matches!(next, Some(AMQPFrame::Method(..))), "{next:?}");
    }

    pub(super) async fn open_channel(&mut self, channel: u16) {
        self.send(channel, AMQPClass::Channel(Channels::Open(channel::Open {}))).await;
        let opened = self.next().await;
        assert!(matches!(opened, Some(AMQPFrame::Method(_, AMQPClass::Channel(Channels::OpenOk(_))))), "{opened:?}");
    }

    /// Answers the close that was noted before, and opens channel 1 again.
    pub(super) async fn reopen(&mut self) {
        self.send(1, AMQPClass::Channel(Channels::CloseOk(channel::CloseOk {}))).await;
        self.open_channel(1).await;
    }

    /// Loses the connection without a word.
    pub(super) fn vanish(self) {
        drop(self);
    }

    /// Closes the connection properly.
    pub(super) async fn close(mut self) {
        let close = connection::Close { reply_code: 200, reply_text: "bye".into(), class_id: 0, method_id: 0 };
        self.send(0, AMQPClass::Connection(Connections::Close(close))).await;
        while let Some(frame) = self.next().await {
            if matches!(frame, AMQPFrame::Method(0, AMQPClass::Connection(Connections::CloseOk(_)))) {
                return;
            }
        }
        panic!("the connection ended without a close-ok");
    }

    pub(super) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(super) async fn send(&mut self, channel: u16, class: AMQPClass) {
        self.send_bytes(&encoded(&AMQPFrame::Method(channel, class)).unwrap()).await;
    }

    // ---- what it says, on channel 1 ----

    pub(super) async fn declare(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) {
        self.declare_as(queue::Declare { arguments: table(arguments), ..queue(&self.at.name(name)) }).await;
    }

    pub(super) async fn declare_as(&mut self, declare: queue::Declare) {
        self.send(1, AMQPClass::Queue(Queues::Declare(declare))).await;
    }

    /// Declares and takes the answer without noting it.
    pub(super) async fn has_queue(&mut self, name: &str, arguments: &[(&str, AMQPValue)]) {
        self.declare(name, arguments).await;
        let next = self.next().await;
        assert!(matches!(next, Some(AMQPFrame::Method(1, AMQPClass::Queue(Queues::DeclareOk(_))))), "{next:?}");
    }

    /// Notes what there is of a queue.
    pub(super) async fn see_queue(&mut self, name: &str) {
        self.declare_as(queue::Declare { passive: true, ..queue(&self.at.name(name)) }).await;
        self.see(1).await;
    }

    pub(super) async fn publish(&mut self, key: &str, body: &str) {
        self.publish_with(key, body, &BasicProperties::default()).await;
    }

    pub(super) async fn publish_with(&mut self, key: &str, body: &str, properties: &BasicProperties) {
        let key = self.at.name(key);
        self.publish_to(basic_publish("", &key), body.as_bytes(), properties).await;
    }

    pub(super) async fn publish_to(&mut self, publish: basic::Publish, body: &[u8], properties: &BasicProperties) {
        let mut bytes = encoded(&AMQPFrame::Method(1, AMQPClass::Basic(Basic::Publish(publish)))).unwrap();
        let header = amq_protocol::frame::AMQPContentHeader {
            class_id: 60,
            body_size: body.len() as u64,
            properties: properties.clone(),
        };
        bytes.extend(encoded(&AMQPFrame::Header(1, header)).unwrap());
        for chunk in body.chunks(FRAME_BYTES_MAX as usize - 8) {
            bytes.extend(encoded(&AMQPFrame::Body(1, chunk.to_vec())).unwrap());
        }
        self.send_bytes(&bytes).await;
    }

    pub(super) async fn confirms(&mut self) {
        self.send(1, AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select { nowait: false }))).await;
        self.expect_method().await;
    }

    /// Publishes and waits for the confirm: the message is in its queues then.
    pub(super) async fn put(&mut self, key: &str, body: &str, properties: &BasicProperties) {
        self.publish_with(key, body, properties).await;
        let next = self.next().await;
        assert!(matches!(next, Some(AMQPFrame::Method(1, AMQPClass::Basic(Basic::Ack(_))))), "{next:?}");
    }

    pub(super) async fn consume(&mut self, queue: &str, tag: &str) {
        let consume = consume(&self.at.name(queue), tag);
        self.basic(Basic::Consume(consume)).await;
    }

    pub(super) async fn qos(&mut self, prefetch_count: u16, global: bool) {
        self.basic(Basic::Qos(basic::Qos { prefetch_count, global })).await;
        self.expect_method().await;
    }

    pub(super) async fn ack(&mut self, delivery_tag: u64, multiple: bool) {
        self.basic(Basic::Ack(basic::Ack { delivery_tag, multiple })).await;
    }

    pub(super) async fn nack(&mut self, delivery_tag: u64, multiple: bool, requeue: bool) {
        self.basic(Basic::Nack(basic::Nack { delivery_tag, multiple, requeue })).await;
    }

    /// Gets messages, without acknowledgement, until there are none, and notes them.
    pub(super) async fn see_all(&mut self, queue: &str) {
        let name = self.at.name(queue);
        loop {
            self.basic(Basic::Get(basic::Get { queue: name.as_str().into(), no_ack: true })).await;
            let line = self.next_event().await;
            self.at.note(format_args!("{}: {queue}: {line}", self.who));
            if !line.starts_with("get-ok") {
                return;
            }
        }
    }

    /// Gets a message or none, without acknowledgement, and notes it.
    pub(super) async fn see_get(&mut self, queue: &str) {
        let queue = self.at.name(queue);
        self.basic(Basic::Get(basic::Get { queue: queue.as_str().into(), no_ack: true })).await;
        self.see(1).await;
    }

    pub(super) async fn cancel(&mut self, tag: &str) {
        self.basic(Basic::Cancel(basic::Cancel { consumer_tag: tag.into(), nowait: false })).await;
    }

    pub(super) async fn basic(&mut self, method: Basic) {
        self.send(1, AMQPClass::Basic(method)).await;
    }

    pub(super) async fn queue_method(&mut self, method: Queues) {
        self.send(1, AMQPClass::Queue(method)).await;
    }

    pub(super) async fn exchange_method(&mut self, method: Exchanges) {
        self.send(1, AMQPClass::Exchange(method)).await;
    }

    pub(super) async fn bind(&mut self, queue: &str, exchange: &str, key: &str) {
        let queue = self.at.name(queue);
        let (queue, exchange, routing_key) = (queue.as_str().into(), exchange.into(), key.into());
        let arguments = FieldTable::default();
        self.queue_method(Queues::Bind(queue::Bind { queue, exchange, routing_key, nowait: false, arguments })).await;
    }

    // ---- what it gets ----

    /// The next frame that is no heartbeat; `None` at the end of the connection.
    pub(super) async fn next(&mut self) -> Option<AMQPFrame> {
        timeout(ANSWER_WITHIN, self.next_frame()).await.expect("an answer in time")
    }

    async fn next_frame(&mut self) -> Option<AMQPFrame> {
        loop {
            if let Ok((rest, frame)) = parse_frame(&self.input[..]) {
                let used = self.input.len() - rest.len();
                self.input.drain(..used);
                if !matches!(frame, AMQPFrame::Heartbeat) {
                    return Some(frame);
                }
                continue;
            }
            match self.stream.read_buf(&mut self.input).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => return None,
            }
        }
    }

    /// Notes the next methods, each with its content.
    pub(super) async fn see(&mut self, count: usize) {
        for _ in 0..count {
            let line = self.next_event().await;
            self.at.note(format_args!("{}: {line}", self.who));
        }
    }

    /// Notes the next method. Whether it closes the channel.
    pub(super) async fn see_close(&mut self) -> bool {
        let line = self.next_event().await;
        self.at.note(format_args!("{}: {line}", self.who));
        line.starts_with("close ")
    }

    /// The next methods in alphabetical order: for what comes from several queues.
    pub(super) async fn see_in_any_order(&mut self, count: usize) {
        let mut lines = Vec::new();
        for _ in 0..count {
            lines.push(self.next_event().await);
        }
        lines.sort();
        lines.iter().for_each(|line| self.at.note(format_args!("{}: {line}", self.who)));
    }

    /// The next method with its content, in words.
    async fn next_event(&mut self) -> String {
        let mut line = match self.next().await {
            None => return "the connection ends".to_owned(),
            Some(AMQPFrame::Method(channel, class)) => {
                let words = method(&class);
                if channel == 1 { words } else { format!("channel {channel}: {words}") }
            }
            Some(AMQPFrame::ProtocolHeader(version)) => return format!("{version:?}"),
            Some(other) => panic!("{other:?} without a method"),
        };
        if ["deliver", "return", "get-ok"].iter().any(|carrier| line.starts_with(carrier)) {
            line += &self.content().await;
        }
        line
    }

    async fn content(&mut self) -> String {
        let Some(AMQPFrame::Header(_, header)) = self.next().await else { panic!("content has a header") };
        let (mut body, mut frames) = (Vec::new(), 0);
        while (body.len() as u64) < header.body_size {
            let Some(AMQPFrame::Body(_, part)) = self.next().await else { panic!("a body follows its header") };
            body.extend(part);
            frames += 1;
        }
        let body = match String::from_utf8(body) {
            Ok(text) if text.len() < 100 => format!("'{text}'"),
            other => format!("{} bytes", other.map_or_else(|e| e.into_bytes().len(), |text| text.len())),
        };
        let frames = if frames > 1 { format!(" in {frames} frames") } else { String::new() };
        format!(" {body}{frames}{}", properties(&header.properties))
    }

    pub(super) async fn see_silence(&mut self) {
        match timeout(SILENCE, self.next_event()).await {
            Err(_) => self.at.note(format_args!("{}: nothing", self.who)),
            Ok(event) => self.at.note(format_args!("{}: instead of nothing {event}", self.who)),
        }
    }

    /// Notes what comes until the connection ends.
    pub(super) async fn see_end(&mut self) {
        loop {
            let event = self.next_event().await;
            self.at.note(format_args!("{}: {event}", self.who));
            if event.starts_with("channel 0: close") {
                self.send(0, AMQPClass::Connection(Connections::CloseOk(connection::CloseOk {}))).await;
            }
            if event == "the connection ends" {
                return;
            }
        }
    }
}

fn encoded(frame: &AMQPFrame) -> Result<Vec<u8>, GenError> {
    Ok(gen_frame(frame)(WriteContext::from(Vec::new()))?.into_inner().0)
}

pub(super) fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        table.insert((*key).into(), value.clone());
    }
    table
}

pub(super) fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}
