//! A client that notes every packet that comes, since what a client library makes of packets hides the half of it. The
//! packets are rumqttc's.

use crate::conformance::harness::At;
use backbone::env::{Env, Stream};
use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::{
    Error, QoS,
    v5::{
        Connect, ConnectAuth, ConnectProperties, Disconnect, DisconnectReasonCode, LastWill, Packet, PubAck, Publish,
        PublishProperties, Subscribe, SubscribeFilter, Unsubscribe,
    },
};
use std::{fmt::Debug, ops::Range, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

/// Long enough for a broker to notice the end of a connection. Nothing tells a client when it has.
pub(crate) const NOTICED_AFTER: Duration = Duration::from_millis(300);

pub(crate) struct Client {
    at: At,
    /// Short, for the notes.
    name: &'static str,
    stream: Stream,
    pub(crate) input: BytesMut,
}

/// The session outlives its connection by `expiry_s`, and is resumed if it is there.
pub(crate) fn resuming(expiry_s: u32) -> impl FnOnce(&mut Connect) {
    move |connect| {
        connect.clean_start = false;
        connect.properties.get_or_insert_default().session_expiry_interval = Some(expiry_s);
    }
}

pub(crate) fn with(change: impl FnOnce(&mut ConnectProperties)) -> impl FnOnce(&mut Connect) {
    move |connect| change(connect.properties.get_or_insert_default())
}

pub(crate) fn message(topic: &str, payload: &str) -> Publish {
    Publish { pkid: 1, ..Publish::new(topic.to_owned(), QoS::AtLeastOnce, payload.to_owned(), None) }
}

pub(crate) fn of_qos_0(publish: Publish) -> Publish {
    Publish { qos: QoS::AtMostOnce, pkid: 0, ..publish }
}

pub(crate) fn expiring(publish: Publish, expiry_s: u32) -> Publish {
    let properties = PublishProperties { message_expiry_interval: Some(expiry_s), ..PublishProperties::default() };
    Publish { properties: Some(properties), ..publish }
}

/// A PUBLISH with QoS 1 for a `topic` that rumqttc would not send.
pub(crate) fn bad_publish(topic: &str) -> Vec<u8> {
    let (len, topic_len) = (topic.len() + 5, u8::try_from(topic.len()).unwrap());
    let mut packet = vec![0x32, 0x80 | (len % 128) as u8, (len / 128) as u8, 0, topic_len];
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(&[0, 1, 0]);
    packet
}

impl Client {
    /// A socket that has sent nothing yet.
    pub(crate) async fn open(at: &At, name: &'static str) -> Self {
        let stream = Env::tokio().connect("127.0.0.1", at.port).await.unwrap();
        Self { at: at.clone(), name, stream, input: BytesMut::new() }
    }

    /// Connects as `name` with what `change` makes of a plain CONNECT: clean start, no keep alive, no session expiry.
    /// Notes the answer, but not its properties.
    pub(crate) async fn connect(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Self {
        Self::connect_with_will(at, name, None, change).await
    }

    pub(crate) async fn connect_with_will(
        at: &At,
        name: &'static str,
        will: Option<LastWill>,
        change: impl FnOnce(&mut Connect),
    ) -> Self {
        let mut client = Self::open(at, name).await;
        client.send_connect(will, change).await;
        match client.receive().await {
            Some(Packet::ConnAck(ack)) => {
                client.note(&format!("CONNACK {:?}, session present: {}", ack.code, ack.session_present));
            }
            other => client.note(&shown(other)),
        }
        client
    }

    /// Connects without a note.
    pub(crate) async fn silently(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Self {
        let mut client = Self::open(at, name).await;
        client.send_connect(None, change).await;
        client.skip().await;
        client
    }

    /// Connects and subscribes without a note.
    pub(crate) async fn subscriber(at: &At, name: &'static str, filter: &str) -> Self {
        Self::subscriber_with(at, name, filter, |_| {}).await
    }

    pub(crate) async fn subscriber_with(
        at: &At,
        name: &'static str,
        filter: &str,
        change: impl FnOnce(&mut Connect),
    ) -> Self {
        let mut client = Self::silently(at, name, change).await;
        client.send_subscribe(SubscribeFilter::new(at.name(filter), QoS::AtLeastOnce)).await;
        client.skip().await;
        client
    }

    async fn send_connect(&mut self, will: Option<LastWill>, change: impl FnOnce(&mut Connect)) {
        let client_id = self.at.name(self.name);
        let mut connect = Connect { keep_alive: 0, client_id, clean_start: true, properties: None };
        change(&mut connect);
        self.send(Packet::Connect(connect, will, ConnectAuth::None)).await;
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.send_raw(&bytes).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        // The broker may have closed the connection already; the next note will tell.
        let _ = self.stream.write_all(bytes).await;
    }

    pub(crate) async fn send_subscribe(&mut self, filter: SubscribeFilter) {
        self.send(Packet::Subscribe(Subscribe { pkid: 7, ..Subscribe::new(filter, None) })).await;
    }

    /// Subscribes with QoS 1 and notes what comes.
    pub(crate) async fn subscribe(&mut self, filter: &str) {
        self.send_subscribe(SubscribeFilter::new(self.at.name(filter), QoS::AtLeastOnce)).await;
        self.sync().await;
    }

    pub(crate) async fn unsubscribe(&mut self, filters: Vec<String>) {
        self.send(Packet::Unsubscribe(Unsubscribe { pkid: 8, filters, properties: None })).await;
        self.sync().await;
    }

    /// Publishes with QoS 1 and notes the answer if it is not plain success.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) {
        self.publish_packet(message(&self.at.name(topic), payload)).await;
    }

    pub(crate) async fn publish_packet(&mut self, publish: Publish) {
        self.send(Packet::Publish(publish)).await;
        self.sync().await;
    }

    /// Publishes numbers, all on one topic.
    pub(crate) async fn publish_numbers(&mut self, topic: &str, numbers: Range<u32>) {
        for n in numbers {
            let mut publish = message(&self.at.name(topic), &n.to_string());
            publish.pkid = u16::try_from(n % 1000 + 1).unwrap();
            self.send(Packet::Publish(publish)).await;
            self.skip().await;
        }
    }

    pub(crate) async fn acknowledge(&mut self, id: u16) {
        self.send(Packet::PubAck(PubAck::new(id, None))).await;
    }

    /// Notes all that the broker has sent up to now.
    pub(crate) async fn sync(&mut self) {
        for packet in self.all().await {
            match packet {
                Some(Packet::PubAck(ack)) if ack == PubAck::new(ack.pkid, None) => {}
                other => self.note(&shown(other)),
            }
        }
    }

    /// Notes in one line how the broker answers `what` was sent.
    pub(crate) async fn note_answers(&mut self, what: &str) {
        let answers: Vec<String> = self.all().await.into_iter().map(shown).collect();
        self.at
            .note(format_args!("{what}: {}", if answers.is_empty() { "nothing".into() } else { answers.join(", ") }));
    }

    /// All messages that the broker has sent up to now, without a note.
    pub(crate) async fn messages(&mut self) -> Vec<Publish> {
        let publish = |packet| match packet {
            Some(Packet::Publish(publish)) => Some(publish),
            _ => None,
        };
        self.all().await.into_iter().filter_map(publish).collect()
    }

    /// Notes how many messages have come and which are the first and the last.
    pub(crate) async fn sum_up(&mut self, what: &str) -> Vec<Publish> {
        let messages = self.messages().await;
        let text = |publish: Option<&Publish>| publish.map_or("-".into(), payload);
        let ends = format!("{} to {}", text(messages.first()), text(messages.last()));
        self.note(&format!("{what}: {} messages, {ends}", messages.len()));
        messages
    }

    /// Notes the payloads of all messages that have come.
    pub(crate) async fn note_payloads(&mut self) {
        let payloads: Vec<String> = self.messages().await.iter().map(payload).collect();
        self.note(&format!("{payloads:?}"));
    }

    /// Notes the payloads of all messages that have come, and appends these to `messages`.
    pub(crate) async fn note_more(&mut self, when: &str, messages: &mut Vec<Publish>) {
        let more = self.messages().await;
        self.note(&format!("{when}: {:?}", more.iter().map(payload).collect::<Vec<_>>()));
        messages.extend(more);
    }

    /// Everything up to the answer to a ping, or the end, which is `None`.
    pub(crate) async fn all(&mut self) -> Vec<Option<Packet>> {
        self.send(Packet::PingReq).await;
        let mut all = vec![];
        loop {
            match self.receive().await {
                Some(Packet::PingResp) => return all,
                None => {
                    all.push(None);
                    return all;
                }
                some => all.push(some),
            }
        }
    }

    /// Notes the next packet.
    pub(crate) async fn note_next(&mut self) {
        let packet = self.receive().await;
        self.note(&shown(packet));
    }

    /// Notes everything up to the end of the connection.
    pub(crate) async fn note_to_end(&mut self) {
        while let Some(packet) = self.receive().await {
            self.note(&shown(Some(packet)));
        }
        self.note("closed");
    }

    /// Notes the answer to a CONNECT that may be of any version, up to its reason code.
    pub(crate) async fn note_answer(&mut self, what: &str) {
        let mut head = [0; 4];
        let mut got = 0;
        while got < head.len() {
            match self.stream.read(&mut head[got..]).await {
                Ok(0) | Err(_) => break,
                Ok(n) => got += n,
            }
        }
        match head {
            _ if got == 0 => self.at.note(format_args!("{what}: closed")),
            [0x20, _, _, code] => self.at.note(format_args!("{what}: CONNACK {code:#04x}")),
            other => self.at.note(format_args!("{what}: {other:02x?}")),
        }
    }

    pub(crate) async fn skip(&mut self) {
        self.receive().await;
    }

    pub(crate) fn note(&self, text: &str) {
        self.at.note(format_args!("{}: {text}", self.name));
    }

    /// Says goodbye, and waits until the broker has taken note.
    pub(crate) async fn disconnect(self) {
        self.disconnect_with(Disconnect::new(DisconnectReasonCode::NormalDisconnection)).await;
    }

    pub(crate) async fn disconnect_with(mut self, disconnect: Disconnect) {
        self.send(Packet::Disconnect(disconnect)).await;
        while let Some(packet) = self.receive().await {
            self.note(&shown(Some(packet)));
        }
    }

    /// Drops the connection, and waits until the broker should have noticed.
    pub(crate) async fn vanish(self) {
        drop(self);
        sleep(NOTICED_AFTER).await;
    }

    /// The next packet, `None` if the broker has closed the connection.
    pub(crate) async fn receive(&mut self) -> Option<Packet> {
        loop {
            // The shortest DISCONNECT, which ends with its reason, is more than rumqttc's codec understands.
            if let [0xe0, 1, reason, ..] = self.input[..] {
                let mut whole = BytesMut::from(&[0xe0, 2, reason, 0][..]);
                self.input.advance(3);
                return Some(Packet::read(&mut whole, None).unwrap());
            }
            let before = self.input.len();
            match Packet::read(&mut self.input, None) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) if self.input.len() == before => {}
                Err(error) => panic!("{}: the broker sent no valid packet: {error}", self.name),
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    /// Waits for more bytes. Returns whether there are any.
    pub(crate) async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.input).await.unwrap_or(0) > 0
    }
}

/// Notes that `task` took from `min` to `max`, or how long if not.
pub(crate) async fn timed(at: &At, what: &str, min: Duration, max: Duration, task: impl Future<Output = ()>) {
    let start = Instant::now();
    task.await;
    let took = start.elapsed();
    let verdict = if (min..=max).contains(&took) { "in time".into() } else { format!("after {took:?}") };
    at.note(format_args!("{what}: {verdict}"));
}

pub(crate) fn payload(publish: &Publish) -> String {
    String::from_utf8_lossy(&publish.payload).into_owned()
}

/// A packet in a line.
pub(crate) fn shown(packet: Option<Packet>) -> String {
    match packet {
        None => "closed".into(),
        Some(Packet::Publish(publish)) => {
            let mut text = format!("PUBLISH {} '{}'", String::from_utf8_lossy(&publish.topic), payload(&publish));
            text += match publish.qos {
                QoS::AtMostOnce => " QoS 0",
                QoS::AtLeastOnce => "",
                QoS::ExactlyOnce => " QoS 2",
            };
            text += if publish.dup { " DUP" } else { "" };
            text += if publish.retain { " RETAIN" } else { "" };
            text + &publish.properties.map_or(String::new(), |properties| format!(" {}", given(&properties)))
        }
        Some(Packet::PubAck(ack)) => format!("PUBACK {} {:?}", ack.pkid, ack.reason),
        Some(Packet::PubRec(ack)) => format!("PUBREC {} {:?}", ack.pkid, ack.reason),
        Some(Packet::PubRel(ack)) => format!("PUBREL {} {:?}", ack.pkid, ack.reason),
        Some(Packet::PubComp(ack)) => format!("PUBCOMP {} {:?}", ack.pkid, ack.reason),
        Some(Packet::SubAck(ack)) => format!("SUBACK {:?}", ack.return_codes),
        Some(Packet::UnsubAck(ack)) => format!("UNSUBACK {:?}", ack.reasons),
        Some(Packet::Disconnect(disconnect)) => format!("DISCONNECT {:?}", disconnect.reason_code),
        Some(Packet::ConnAck(ack)) => {
            let properties = ack.properties.map_or(String::new(), |properties| format!(" {}", given(&properties)));
            format!("CONNACK {:?}, session present: {}{properties}", ack.code, ack.session_present)
        }
        Some(other) => format!("{other:?}"),
    }
}

/// The fields of a struct that hold something.
fn given(properties: &impl Debug) -> String {
    let text = format!("{properties:?}");
    let fields = text.split_once("{ ").map_or("", |(_, fields)| fields.trim_end_matches(" }"));
    let holds_something = |field: &&str| !field.ends_with(": None") && !field.ends_with(": []");
    fields.split(", ").filter(holds_something).collect::<Vec<_>>().join(", ")
}
