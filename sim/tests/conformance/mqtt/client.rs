//! A client that notes every packet that comes, since what a client library makes of packets hides the half of it. The
//! packets are rumqttc's.

use crate::harness::At;
use backbone::env::{Env, TokioEnv};
use bytes::BytesMut;
use rumqttc::mqttbytes::v5::{Connect, ConnectAuth, Packet};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub struct Client {
    at: At,
    /// Short, for the notes.
    name: &'static str,
    stream: <TokioEnv as Env>::Stream,
    input: BytesMut,
}

impl Client {
    pub async fn open(at: &At, name: &'static str) -> Self {
        let stream = TokioEnv.connect("127.0.0.1", at.port).await.unwrap();
        Self { at: at.clone(), name, stream, input: BytesMut::new() }
    }

    /// Connects as `name` with what `change` makes of a plain CONNECT: clean start, no keep alive, no session expiry.
    pub async fn connect(at: &At, name: &'static str, change: impl FnOnce(&mut Connect)) -> Self {
        let mut client = Self::open(at, name).await;
        let mut connect = Connect { keep_alive: 0, client_id: at.name(name), clean_start: true, properties: None };
        change(&mut connect);
        client.send(Packet::Connect(connect, None, ConnectAuth::None)).await;
        client.note_next().await;
        client
    }

    pub async fn send(&mut self, packet: Packet) {
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
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    /// Notes the next packet.
    pub async fn note_next(&mut self) {
        match self.receive().await {
            Some(packet) => self.at.note(format_args!("{} <- {packet:?}", self.name)),
            None => self.at.note(format_args!("{} <- closed", self.name)),
        }
    }
}
