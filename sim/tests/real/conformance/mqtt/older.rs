//! A client of MQTT 3.1.1 that notes every packet that comes. The packets are those of rumqttc for that version.

use super::client::{Client, NOTICED_AFTER};
use crate::conformance::harness::At;
use bytes::BytesMut;
use rumqttc_v4::mqttbytes::{
    Error, QoS,
    v4::{Connect, LastWill, Packet, Publish, Subscribe, Unsubscribe},
};
use std::ops::Range;
use tokio::time::sleep;

/// What it sends in a packet id's place where only one is under way.
const ID: u16 = 1;

pub(crate) struct Older {
    at: At,
    /// Bytes in and out, and the notes.
    wire: Client,
}

pub(crate) fn lasting(connect: &mut Connect) {
    connect.clean_session = false;
}

pub(crate) fn with_will(will: LastWill) -> impl FnOnce(&mut Connect) {
    move |connect| connect.last_will = Some(will)
}

impl Older {
    /// Connects as `name` with what `change` makes of a plain CONNECT: clean session, no keep alive. Notes the answer.
    pub(crate) async fn connect(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Self {
        let mut client = Self::silently(at, name, change).await;
        client.note_next().await;
        client
    }

    /// Sends a CONNECT and leaves the answer to the next note.
    async fn silently(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Self {
        let mut client = Self { at: at.clone(), wire: Client::open(at, name).await };
        let mut connect = Connect { keep_alive: 0, clean_session: true, ..Connect::new(at.name(name)) };
        change(&mut connect);
        client.send(Packet::Connect(connect)).await;
        client
    }

    /// Connects and subscribes without a note.
    pub(crate) async fn subscriber(at: &At, name: &'static str, filter: &str, qos: QoS) -> Self {
        Self::subscriber_with(at, name, filter, qos, |_| {}).await
    }

    pub(crate) async fn subscriber_with(
        at: &At,
        name: &'static str,
        filter: &str,
        qos: QoS,
        change: impl FnOnce(&mut Connect),
    ) -> Self {
        let mut client = Self::silently(at, name, change).await;
        client.receive().await;
        client.send_subscribe(&at.name(filter), qos).await;
        client.receive().await;
        client
    }

    pub(crate) async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, usize::MAX).unwrap();
        self.wire.send_raw(&bytes).await;
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) {
        self.wire.send_raw(bytes).await;
    }

    async fn send_subscribe(&mut self, filter: &str, qos: QoS) {
        self.send(Packet::Subscribe(Subscribe { pkid: 7, ..Subscribe::new(filter, qos) })).await;
    }

    /// Subscribes and notes what comes.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: QoS) {
        let filter = self.at.name(filter);
        self.subscribe_raw(&filter, qos).await;
    }

    /// As [`Self::subscribe`], to a filter that is not of this scenario alone.
    pub(crate) async fn subscribe_raw(&mut self, filter: &str, qos: QoS) {
        self.send_subscribe(filter, qos).await;
        self.sync().await;
    }

    pub(crate) async fn unsubscribe(&mut self, filter: &str) {
        let filter = self.at.name(filter);
        self.send(Packet::Unsubscribe(Unsubscribe { pkid: 8, ..Unsubscribe::new(filter) })).await;
        self.sync().await;
    }

    pub(crate) fn message(&self, topic: &str, qos: QoS, payload: &str) -> Publish {
        let pkid = if qos == QoS::AtMostOnce { 0 } else { ID };
        Publish { pkid, ..Publish::new(self.at.name(topic), qos, payload) }
    }

    /// Publishes and notes what comes.
    pub(crate) async fn publish(&mut self, topic: &str, qos: QoS, payload: &str) {
        let publish = self.message(topic, qos, payload);
        self.publish_packet(publish).await;
    }

    pub(crate) async fn publish_packet(&mut self, publish: Publish) {
        self.send(Packet::Publish(publish)).await;
        self.sync().await;
    }

    /// Publishes numbers with QoS 1.
    pub(crate) async fn publish_numbers(&mut self, topic: &str, numbers: Range<u32>) {
        for n in numbers {
            let publish = self.message(topic, QoS::AtLeastOnce, &n.to_string());
            self.send(Packet::Publish(publish)).await;
            self.receive().await;
        }
    }

    /// Notes all that the broker has sent up to now.
    pub(crate) async fn sync(&mut self) {
        for packet in self.all().await {
            self.wire.note(&shown(packet));
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
        self.wire.note(&format!("{what}: {} messages, {ends}", messages.len()));
        messages
    }

    async fn all(&mut self) -> Vec<Option<Packet>> {
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
        self.wire.note(&shown(packet));
    }

    /// Notes everything up to the end of the connection.
    pub(crate) async fn note_to_end(&mut self) {
        while let Some(packet) = self.receive().await {
            self.wire.note(&shown(Some(packet)));
        }
        self.wire.note("closed");
    }

    /// Says goodbye, and waits until the broker has taken note.
    pub(crate) async fn disconnect(mut self) {
        self.send(Packet::Disconnect).await;
        while let Some(packet) = self.receive().await {
            self.wire.note(&shown(Some(packet)));
        }
    }

    /// Drops the connection, and waits until the broker should have noticed.
    pub(crate) async fn vanish(self) {
        drop(self);
        sleep(NOTICED_AFTER).await;
    }

    async fn receive(&mut self) -> Option<Packet> {
        loop {
            let before = self.wire.input.len();
            match Packet::read(&mut self.wire.input, usize::MAX) {
                Ok(packet) => return Some(packet),
                Err(Error::InsufficientBytes(_)) if self.wire.input.len() == before => {}
                Err(error) => panic!("the broker sent no valid packet: {error}"),
            }
            if !self.wire.fill().await {
                return None;
            }
        }
    }
}

pub(crate) fn payload(publish: &Publish) -> String {
    String::from_utf8_lossy(&publish.payload).into_owned()
}

/// A packet in a line.
fn shown(packet: Option<Packet>) -> String {
    match packet {
        None => "closed".into(),
        Some(Packet::Publish(publish)) => {
            let (topic, qos) = (String::from_utf8_lossy(&publish.topic), publish.qos as u8);
            let mut text = format!("PUBLISH {topic} '{}' QoS {qos}", payload(&publish));
            text += if publish.dup { " DUP" } else { "" };
            text += if publish.retain { " RETAIN" } else { "" };
            text
        }
        Some(Packet::ConnAck(ack)) => format!("CONNACK {:?}, session present: {}", ack.code, ack.session_present),
        Some(Packet::PubAck(ack)) => format!("PUBACK {}", ack.pkid),
        Some(Packet::PubRec(ack)) => format!("PUBREC {}", ack.pkid),
        Some(Packet::PubRel(ack)) => format!("PUBREL {}", ack.pkid),
        Some(Packet::PubComp(ack)) => format!("PUBCOMP {}", ack.pkid),
        Some(Packet::SubAck(ack)) => format!("SUBACK {:?}", ack.return_codes),
        Some(Packet::UnsubAck(_)) => "UNSUBACK".into(),
        Some(other) => format!("{other:?}"),
    }
}
