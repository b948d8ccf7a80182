mod clients;
mod deliveries;
mod exactly_once;
mod older_versions;
mod outbound;
mod own_topics;
mod topics;
mod wire;

use super::{Broker, Config, connection};
use backbone::env::Env;
use bytes::BytesMut;
use rumqttc::mqttbytes::{
    QoS,
    v5::{
        ConnAck, ConnAckProperties, Connect, ConnectAuth, ConnectProperties, ConnectReturnCode, Disconnect,
        DisconnectReasonCode, LastWill, Packet, PubAck, Publish, PublishProperties, Subscribe, SubscribeFilter,
    },
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::timeout,
};

fn broker(change: impl FnOnce(&mut Config)) -> Broker {
    let mut config = Config::default();
    change(&mut config);
    Broker::new(config)
}

/// A connection to `broker` with `buffer_bytes` on the way.
fn open(broker: &Broker, buffer_bytes: usize) -> DuplexStream {
    let (client, server) = tokio::io::duplex(buffer_bytes);
    let broker = broker.clone();
    Env::tokio().spawn("server", async move {
        let _ = connection::serve(|| "auto-1".into(), &broker, server).await;
    });
    client
}

fn hello(id: &str) -> Connect {
    Connect { keep_alive: 0, client_id: id.into(), clean_start: true, properties: None }
}

/// Of a client that comes back: no clean start, session kept for `expiry_s`.
fn resuming(id: &str, expiry_s: u32) -> Connect {
    let properties = ConnectProperties { session_expiry_interval: Some(expiry_s), ..ConnectProperties::new() };
    Connect { clean_start: false, properties: Some(properties), ..hello(id) }
}

fn will(topic: &str) -> LastWill {
    LastWill::new(topic, "gone", QoS::AtLeastOnce, false, None)
}

fn message(topic: &str, payload: &str) -> Publish {
    Publish { pkid: 1, ..Publish::new(topic, QoS::AtLeastOnce, payload.to_owned(), None) }
}

fn expiring(topic: &str, payload: &str, expiry_s: u32) -> Publish {
    let properties = PublishProperties { message_expiry_interval: Some(expiry_s), ..PublishProperties::default() };
    Publish { properties: Some(properties), ..message(topic, payload) }
}

/// A client that speaks packet by packet.
struct Client {
    stream: DuplexStream,
    input: BytesMut,
}

impl Client {
    async fn open(broker: &Broker, connect: Connect, will: Option<LastWill>) -> (Self, ConnAck) {
        let mut client = Self { stream: open(broker, 1 << 20), input: BytesMut::new() };
        client.send(Packet::Connect(connect, will, ConnectAuth::None)).await;
        match client.receive().await {
            Some(Packet::ConnAck(ack)) => (client, ack),
            other => panic!("no CONNACK but {other:?}"),
        }
    }

    async fn new(broker: &Broker, connect: Connect) -> Self {
        Self::open(broker, connect, None).await.0
    }

    async fn subscribed(broker: &Broker, connect: Connect, filter: &str) -> Self {
        let mut client = Self::new(broker, connect).await;
        client.subscribe(filter).await;
        client
    }

    async fn send(&mut self, packet: Packet) {
        let mut bytes = BytesMut::new();
        packet.write(&mut bytes, None).unwrap();
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next packet, `None` if the broker has closed the connection.
    async fn receive(&mut self) -> Option<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.input, None) {
                return Some(packet);
            }
            if self.stream.read_buf(&mut self.input).await.unwrap() == 0 {
                return None;
            }
        }
    }

    async fn subscribe(&mut self, filter: &str) {
        let filter = SubscribeFilter::new(filter, QoS::AtLeastOnce);
        self.send(Packet::Subscribe(Subscribe { pkid: 7, ..Subscribe::new(filter, None) })).await;
        assert!(matches!(self.receive().await, Some(Packet::SubAck(_))));
    }

    async fn publish(&mut self, publish: Publish) -> PubAck {
        self.send(Packet::Publish(publish)).await;
        match self.receive().await {
            Some(Packet::PubAck(ack)) => ack,
            other => panic!("no PUBACK but {other:?}"),
        }
    }

    async fn message(&mut self) -> Publish {
        match self.receive().await {
            Some(Packet::Publish(publish)) => publish,
            other => panic!("no PUBLISH but {other:?}"),
        }
    }

    /// The payload of the next message, acknowledged.
    async fn taken(&mut self) -> String {
        let publish = self.message().await;
        self.acknowledge(publish.pkid).await;
        text(&publish)
    }

    async fn acknowledge(&mut self, id: u16) {
        self.send(Packet::PubAck(PubAck::new(id, None))).await;
    }

    /// Everything that the broker sends now.
    async fn messages(&mut self) -> Vec<Publish> {
        let mut all = Vec::new();
        while let Ok(Some(Packet::Publish(publish))) = timeout(Duration::from_millis(1), self.receive()).await {
            all.push(publish);
        }
        all
    }

    async fn disconnect(mut self) {
        self.send(Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection))).await;
        assert_eq!(self.receive().await, None);
    }

    async fn ends_with(mut self, reason: DisconnectReasonCode) {
        match self.receive().await {
            Some(Packet::Disconnect(disconnect)) => assert_eq!(disconnect.reason_code, reason),
            other => panic!("no DISCONNECT but {other:?}"),
        }
        assert_eq!(self.receive().await, None);
    }
}

fn text(publish: &Publish) -> String {
    String::from_utf8(publish.payload.to_vec()).unwrap()
}

fn texts(messages: &[Publish]) -> Vec<String> {
    messages.iter().map(text).collect()
}
