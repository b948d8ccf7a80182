//! One client's connection: packets in to the server, packets out of the write buffer, and the keep alive.

use super::{
    broker::Broker,
    control_packets::End,
    keys::ConnectionKey,
    v3::{self, Version},
    write_buffer::{Burst, WriteBuffer},
};
use backbone::env::{Env, Stream};
use bytes::BytesMut;
use rumqttc::mqttbytes::{
    Error,
    v5::{ConnAck, Connect, ConnectReturnCode, DisconnectReasonCode, LastWill, Packet},
};
use std::{io, pin::pin, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout, timeout_at},
};

/// First byte of a CONNECT.
const CONNECT: u8 = 0x10;
/// First byte of a DISCONNECT.
const DISCONNECT: u8 = 0xe0;
/// First capacity of the read buffer: some dozens of packets.
const READ_BYTES: usize = 4 << 10;
/// How long a new connection may take to send its CONNECT; Mosquitto gives it the default keep alive, times 1.5.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(90);
/// How long the last packets may take to leave when the broker ends a connection.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(5);
/// CONNACK of MQTT 3.1.1: unacceptable protocol version. Clients of other versions may not know version 5's form.
const CONNACK_VERSION_REFUSED: [u8; 4] = [0x20, 2, 0, 1];
/// CONNACK of MQTT 3.1.1: identifier rejected.
const CONNACK_ID_REFUSED: [u8; 4] = [0x20, 2, 0, 2];

/// Why reading stopped.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    #[error("reading from the client failed: {0}")]
    Io(#[from] io::Error),
    #[error("the client closed the connection without a DISCONNECT")]
    Closed,
    #[error("nothing came from the client for too long")]
    Silent,
    #[error("the connection does not begin with a CONNECT")]
    NoConnect,
    #[error("a packet of {0} bytes is larger than the limit of {1} bytes (`packet_bytes_max`)")]
    TooLarge(usize, u32),
    #[error("the client sent what is no packet of its MQTT version: {0}")]
    Malformed(Error),
}

impl ReadError {
    /// What the client is told, if it may still listen.
    fn reason(&self) -> Option<DisconnectReasonCode> {
        match self {
            Self::Io(_) | Self::Closed | Self::NoConnect => None,
            Self::Silent => Some(DisconnectReasonCode::KeepAliveTimeout),
            Self::TooLarge(..) => Some(DisconnectReasonCode::PacketTooLarge),
            Self::Malformed(Error::ProtocolViolation(reason)) => Some(*reason),
            Self::Malformed(Error::ProtocolError | Error::PacketIdZero) => Some(DisconnectReasonCode::ProtocolError),
            Self::Malformed(_) => Some(DisconnectReasonCode::MalformedPacket),
        }
    }
}

/// Serves one client until either side closes.
pub(super) async fn run(env: Env, broker: Broker, stream: Stream) {
    let assigned_id = || {
        let mut random = [0; 16];
        env.random(&mut random);
        format!("auto-{:032x}", u128::from_be_bytes(random))
    };
    if let Err(error) = serve(assigned_id, &broker, stream).await {
        tracing::debug!(%error, "mqtt: connection lost");
    }
}

/// As [`run`]; `assigned_id` makes up a client id for a client that brings none.
pub(super) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    assigned_id: impl FnOnce() -> String,
    broker: &Broker,
    stream: S,
) -> io::Result<()> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut reader = Reader::new(reader, broker.config().packet_bytes_max);
    let (mut connect, will) =
        match timeout(CONNECT_TIMEOUT, reader.first_packet()).await.unwrap_or(Err(ReadError::Silent)) {
            Ok(Packet::Connect(connect, will, _credentials)) => (connect, will),
            Err(ReadError::Malformed(error @ (Error::InvalidProtocol | Error::InvalidProtocolLevel(_)))) => {
                tracing::warn!(%error, "mqtt: client speaks no known version; refused");
                writer.write_all(&CONNACK_VERSION_REFUSED).await?;
                return writer.shutdown().await;
            }
            Err(error @ (ReadError::Malformed(_) | ReadError::TooLarge(..))) if reader.version == Version::V5 => {
                tracing::warn!(%error, "mqtt: malformed CONNECT; refused");
                let code = match error.reason() {
                    Some(DisconnectReasonCode::ProtocolError) => ConnectReturnCode::ProtocolError,
                    Some(DisconnectReasonCode::PacketTooLarge) => ConnectReturnCode::PacketTooLarge,
                    _ => ConnectReturnCode::MalformedPacket,
                };
                let mut refusal = BytesMut::new();
                let ack = ConnAck { session_present: false, code, properties: None };
                Packet::ConnAck(ack).write(&mut refusal, None).expect("a CONNACK without properties is valid");
                writer.write_all(&refusal).await?;
                return writer.shutdown().await;
            }
            other => {
                tracing::warn!(?other, "mqtt: a connection does not begin with a proper CONNECT; closed");
                return writer.shutdown().await;
            }
        };
    let assigned = connect.client_id.is_empty();
    if assigned {
        let lasting = reader.version == Version::V311 && !connect.clean_start;
        if lasting || reader.version == Version::V31 {
            tracing::warn!("mqtt: a client without an id would have a session; refused");
            writer.write_all(&CONNACK_ID_REFUSED).await?;
            return writer.shutdown().await;
        }
        connect.client_id = assigned_id();
    }
    serve_client(broker, reader, writer, connect, will, assigned).await
}

/// The connection from its CONNECT to its end. If the task is dropped meanwhile, it is the broker that has died: the
/// server is not told, and no will is published.
async fn serve_client<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    broker: &Broker,
    mut reader: Reader<R>,
    mut writer: W,
    connect: Connect,
    will: Option<LastWill>,
    assigned: bool,
) -> io::Result<()> {
    let id = connect.client_id.clone();
    // Only clients of version 5 can be told another one.
    let told_s = broker.config().server_keep_alive_s(connect.keep_alive).filter(|_| reader.version == Version::V5);
    let keep_alive_s = told_s.unwrap_or(connect.keep_alive);
    let keep_alive = (keep_alive_s != 0).then(|| Duration::from_millis(u64::from(keep_alive_s) * 1500));
    let packet_bytes_max = connect.properties.as_ref().and_then(|p| p.max_packet_size.filter(|max| *max > 0));
    let write_buffer = Arc::new(WriteBuffer::new(reader.version, packet_bytes_max));
    let mut write = pin!(write(&write_buffer, &mut writer));

    let connected = broker.server().connect(connect, will, assigned, write_buffer.clone(), Instant::now());
    match connected {
        Err(code) => {
            tracing::warn!(client = id, ?code, "mqtt: connection refused");
            write_buffer.close();
        }
        Ok(connection) => {
            let (end, written) = tokio::select! {
                biased;
                end = packets(broker, &mut reader, connection, keep_alive, &write_buffer) => (end, None),
                written = &mut write => (written.map(|()| End::Void).map_err(ReadError::Io), Some(())),
            };
            let (publish_will, reason) = told(&id, end);
            if let Some(reason) = reason {
                write_buffer.disconnect(reason);
            }
            broker.server().disconnected(connection, publish_will, Instant::now());
            if written.is_some() {
                return Ok(());
            }
            write_buffer.close();
        }
    }
    timeout(FAREWELL_TIMEOUT, write).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// What follows from the end of a connection: whether the will is published, and what the client is told.
fn told(id: &str, end: Result<End, ReadError>) -> (bool, Option<DisconnectReasonCode>) {
    match end {
        Ok(End::Goodbye { publish_will }) => (publish_will, None),
        Ok(End::Void) => (false, None),
        Ok(End::Refused(reason)) => {
            tracing::warn!(client = id, ?reason, "mqtt: client broke the protocol; disconnected");
            (true, Some(reason))
        }
        Err(error) => {
            tracing::warn!(client = id, %error, "mqtt: connection ends");
            (true, error.reason())
        }
    }
}

async fn packets<R: AsyncRead + Unpin>(
    broker: &Broker,
    reader: &mut Reader<R>,
    connection: ConnectionKey,
    keep_alive: Option<Duration>,
    write_buffer: &WriteBuffer,
) -> Result<End, ReadError> {
    let mut heard = Instant::now();
    loop {
        match handle_all(broker, reader, connection)? {
            Handled::Nothing => {}
            Handled::Some(at) => heard = at,
            Handled::Last(end) => return Ok(end),
        }
        let more = async {
            write_buffer.drained().await;
            reader.fill().await
        };
        match keep_alive {
            None => more.await?,
            Some(keep_alive) => timeout_at(heard + keep_alive, more).await.map_err(|_| ReadError::Silent)??,
        }
    }
}

enum Handled {
    Nothing,
    /// Whole packets, at that time.
    Some(Instant),
    Last(End),
}

/// Gives all packets of one read to the server, under one lock and at one instant.
fn handle_all<R: AsyncRead + Unpin>(
    broker: &Broker,
    reader: &mut Reader<R>,
    connection: ConnectionKey,
) -> Result<Handled, ReadError> {
    let now = Instant::now();
    let mut handled = Handled::Nothing;
    let mut server = broker.server();
    while let Some(packet) = reader.next()? {
        if let Err(end) = server.handle(connection, packet, now) {
            return Ok(Handled::Last(end));
        }
        handled = Handled::Some(now);
    }
    Ok(handled)
}

struct Reader<R> {
    stream: R,
    input: BytesMut,
    bytes_max: u32,
    version: Version,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    fn new(stream: R, bytes_max: u32) -> Self {
        Self { stream, input: BytesMut::new(), bytes_max, version: Version::default() }
    }

    /// The next packet that is already here.
    fn next(&mut self) -> Result<Option<Packet>, ReadError> {
        let before = self.input.len();
        let read = match self.version {
            Version::V31 | Version::V311 => v3::read(&mut self.input, self.version, self.bytes_max),
            Version::V5 => self.next_of_version_5(),
        };
        match read {
            Ok(packet) => Ok(Some(packet)),
            // The codec says the same of a packet that is whole but too short for what it should contain: it has taken
            // that.
            Err(Error::InsufficientBytes(_)) if self.input.len() == before => Ok(None),
            Err(Error::PayloadSizeLimitExceeded { pkt_size, max }) => Err(ReadError::TooLarge(pkt_size, max)),
            Err(error) => Err(ReadError::Malformed(error)),
        }
    }

    fn next_of_version_5(&mut self) -> Result<Packet, Error> {
        if let [DISCONNECT, 1, reason, ..] = self.input[..] {
            // A reason without a length of properties has none (3.14.2.2.1). The codec takes it for cut short.
            self.input[1..3].copy_from_slice(&[2, reason]);
            let rest = self.input.split_off(3);
            self.input.extend_from_slice(&[0]);
            self.input.unsplit(rest);
        }
        Packet::read(&mut self.input, Some(self.bytes_max))
    }

    async fn fill(&mut self) -> Result<(), ReadError> {
        if self.input.capacity() - self.input.len() < READ_BYTES / 4 {
            self.input.reserve(READ_BYTES);
        }
        match self.stream.read_buf(&mut self.input).await? {
            0 => Err(ReadError::Closed),
            _ => Ok(()),
        }
    }

    /// The first packet of a connection. What can't become a CONNECT is not waited for.
    async fn first_packet(&mut self) -> Result<Packet, ReadError> {
        loop {
            if self.input.first().is_some_and(|byte| *byte != CONNECT) {
                return Err(ReadError::NoConnect);
            }
            self.version = Version::of_connect(&self.input);
            if let Some(packet) = self.next()? {
                return Ok(packet);
            }
            self.fill().await?;
        }
    }
}

/// Writes what comes into the write buffer until that is closed, then closes the stream: packet by packet, as Mosquitto
/// does, which decides what Nagle's algorithm makes of it.
async fn write<W: AsyncWrite + Unpin>(write_buffer: &WriteBuffer, stream: &mut W) -> io::Result<()> {
    let mut burst = Burst::default();
    while let Some(next) = write_buffer.take(burst).await {
        burst = next;
        let mut rest = &burst.bytes[..];
        for len in &burst.packets {
            let (packet, after) = rest.split_at(*len);
            stream.write_all(packet).await?;
            stream.flush().await?;
            rest = after;
        }
    }
    stream.shutdown().await
}
