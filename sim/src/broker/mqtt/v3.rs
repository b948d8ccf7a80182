//! The packets of MQTT 3.1.1 and 3.1 as those of version 5 which mean the same, so that the rest of the broker knows
//! one kind only. Older packets have no properties and no reasons, and a server can't send a DISCONNECT.
//!
//! rumqttc has a codec for 3.1.1, too, in a crate of its own with types of its own. This here is less than the
//! translation between the two would be, and knows 3.1. Sections are those of the MQTT 3.1.1 standard.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use rumqttc::mqttbytes::{
    Error, QoS, qos,
    v5::{
        ConnAck, Connect, ConnectAuth, ConnectProperties, ConnectReturnCode, Disconnect, DisconnectReasonCode,
        LastWill, Packet, PubAck, PubComp, PubRec, PubRel, Publish, RetainForwardRule, Subscribe, SubscribeFilter,
        SubscribeReasonCode, Unsubscribe,
    },
};

/// What a connection speaks; its CONNECT says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// 3.1. Like 3.1.1, but every client needs an id, it is not told of its session, and flags are not looked at.
    V31,
    /// 3.1.1.
    V311,
    /// 5, and what can't be understood.
    #[default]
    V5,
}

impl Version {
    /// Of the CONNECT that `input` begins with, as far as it is there.
    pub(super) fn of_connect(input: &[u8]) -> Self {
        let length_end = input.iter().skip(1).take(4).position(|byte| byte & 0x80 == 0);
        let body = length_end.map_or(&[][..], |at| &input[at + 2..]);
        if body.starts_with(b"\0\x04MQTT\x04") {
            Self::V311
        } else if body.starts_with(b"\0\x06MQIsdp\x03") {
            Self::V31
        } else {
            Self::V5
        }
    }
}

/// Takes the next packet off `input`.
///
/// # Errors
/// `InsufficientBytes` if it is not all there, and nothing is taken then; others if it is no packet that a client may
/// send, or larger than `bytes_max`.
pub(super) fn read(input: &mut BytesMut, version: Version, bytes_max: u32) -> Result<Packet, Error> {
    let (first, mut body) = frame(input, bytes_max)?;
    let (kind, mut flags) = (first >> 4, first & 0x0f);
    if version == Version::V31 && matches!(kind, 6 | 8 | 10) {
        flags = 2; // There they may hold DUP and a QoS.
    }
    let body = &mut body;
    let packet = match (kind, flags) {
        (1, 0) => {
            let (connect, will) = connect(body, version)?;
            Packet::Connect(connect, will, ConnectAuth::None)
        }
        (3, _) => Packet::Publish(publish(body, flags)?),
        (4, 0) => Packet::PubAck(PubAck::new(packet_id(body)?, None)),
        (5, 0) => Packet::PubRec(PubRec::new(packet_id(body)?, None)),
        (6, 2) => Packet::PubRel(PubRel::new(packet_id(body)?, None)),
        (7, 0) => Packet::PubComp(PubComp::new(packet_id(body)?, None)),
        (8, 2) => Packet::Subscribe(subscribe(body)?),
        (10, 2) => Packet::Unsubscribe(unsubscribe(body)?),
        (12, 0) => Packet::PingReq,
        (14, 0) => Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)),
        _ => return Err(Error::InvalidPacketType(first)),
    };
    if body.has_remaining() { Err(Error::IncorrectPacketFormat) } else { Ok(packet) }
}

/// First byte and body of the next packet (2.2).
fn frame(input: &mut BytesMut, bytes_max: u32) -> Result<(u8, Bytes), Error> {
    let mut length = 0;
    for (at, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            if length > bytes_max as usize {
                return Err(Error::PayloadSizeLimitExceeded { pkt_size: length, max: bytes_max });
            }
            let header_length = at + 2;
            let missing = (header_length + length).saturating_sub(input.len());
            if missing > 0 {
                return Err(Error::InsufficientBytes(missing));
            }
            let first = input[0];
            let mut packet = input.split_to(header_length + length).freeze();
            packet.advance(header_length);
            return Ok((first, packet));
        }
    }
    if input.len() > 4 { Err(Error::MalformedRemainingLength) } else { Err(Error::InsufficientBytes(1)) }
}

/// Section 3.1. A session without the clean session flag lasts for ever.
fn connect(body: &mut Bytes, version: Version) -> Result<(Connect, Option<LastWill>), Error> {
    let _name = binary(body)?;
    let _level = byte(body)?;
    let flags = byte(body)?;
    let (clean, with_will) = (flags & 0x02 != 0, flags & 0x04 != 0);
    let (with_password, with_name) = (flags & 0x40 != 0, flags & 0x80 != 0);
    let will_flags_alone = !with_will && flags & 0x38 != 0;
    if version != Version::V31 && (flags & 0x01 != 0 || will_flags_alone) || with_password && !with_name {
        return Err(Error::IncorrectPacketFormat);
    }
    let keep_alive = number(body)?;
    let client_id = text(body)?;
    let will = if with_will {
        let topic = Bytes::from(text(body)?);
        let message = binary(body)?;
        let (qos, retain) = (qos(flags >> 3 & 3)?, flags & 0x20 != 0);
        Some(LastWill { topic, message, qos, retain, properties: None })
    } else {
        None
    };
    if with_name {
        text(body)?;
    }
    if with_password {
        binary(body)?;
    }
    let lasting = || ConnectProperties { session_expiry_interval: Some(u32::MAX), ..ConnectProperties::new() };
    let properties = (!clean).then(lasting);
    Ok((Connect { keep_alive, client_id, clean_start: clean, properties }, will))
}

/// Section 3.3. Like Mosquitto it overlooks DUP with QoS 0.
fn publish(body: &mut Bytes, flags: u8) -> Result<Publish, Error> {
    let qos = qos(flags >> 1 & 3)?;
    let topic = binary(body)?;
    check_text(&topic)?;
    let pkid = if qos == QoS::AtMostOnce { 0 } else { packet_id(body)? };
    let payload = body.split_off(0);
    Ok(Publish { dup: flags & 0x08 != 0, qos, retain: flags & 0x01 != 0, topic, pkid, payload, properties: None })
}

/// Section 3.8.
fn subscribe(body: &mut Bytes) -> Result<Subscribe, Error> {
    let pkid = packet_id(body)?;
    let mut filters = Vec::new();
    while filters.is_empty() || body.has_remaining() {
        filters.push(SubscribeFilter {
            path: text(body)?,
            qos: qos(byte(body)?)?,
            nolocal: false,
            preserve_retain: false,
            retain_forward_rule: RetainForwardRule::OnEverySubscribe,
        });
    }
    Ok(Subscribe { pkid, filters, properties: None })
}

/// Section 3.10.
fn unsubscribe(body: &mut Bytes) -> Result<Unsubscribe, Error> {
    let pkid = packet_id(body)?;
    let mut filters = Vec::new();
    while filters.is_empty() || body.has_remaining() {
        filters.push(text(body)?);
    }
    Ok(Unsubscribe { pkid, filters, properties: None })
}

fn byte(body: &mut Bytes) -> Result<u8, Error> {
    body.try_get_u8().map_err(|_| Error::MalformedPacket)
}

fn number(body: &mut Bytes) -> Result<u16, Error> {
    body.try_get_u16().map_err(|_| Error::MalformedPacket)
}

fn packet_id(body: &mut Bytes) -> Result<u16, Error> {
    match number(body)? {
        0 => Err(Error::PacketIdZero),
        id => Ok(id),
    }
}

fn binary(body: &mut Bytes) -> Result<Bytes, Error> {
    let length = usize::from(number(body)?);
    if body.len() < length { Err(Error::BoundaryCrossed(length)) } else { Ok(body.split_to(length)) }
}

fn text(body: &mut Bytes) -> Result<String, Error> {
    let bytes = binary(body)?;
    check_text(&bytes).map(str::to_owned)
}

/// Section 1.5.3.
fn check_text(bytes: &[u8]) -> Result<&str, Error> {
    let text = std::str::from_utf8(bytes)?;
    if text.contains('\0') { Err(Error::MalformedPacket) } else { Ok(text) }
}

/// Appends `packet`. What these versions have no packet for is left out: a server's DISCONNECT, and a CONNACK with a
/// reason of version 5.
pub(super) fn write(packet: &Packet, version: Version, out: &mut BytesMut) {
    match packet {
        Packet::ConnAck(ConnAck { session_present, code: ConnectReturnCode::Success, .. }) => {
            let present = *session_present && version != Version::V31;
            out.put_slice(&[0x20, 2, u8::from(present), 0]);
        }
        Packet::Publish(publish) => write_publish(publish, out),
        Packet::PubAck(ack) => write_id(0x40, ack.pkid, out),
        Packet::PubRec(ack) => write_id(0x50, ack.pkid, out),
        Packet::PubRel(ack) => write_id(0x62, ack.pkid, out),
        Packet::PubComp(ack) => write_id(0x70, ack.pkid, out),
        Packet::UnsubAck(ack) => write_id(0xb0, ack.pkid, out),
        Packet::SubAck(ack) => {
            write_header(0x90, 2 + ack.return_codes.len(), out);
            out.put_u16(ack.pkid);
            out.extend(ack.return_codes.iter().map(|code| match code {
                SubscribeReasonCode::Success(qos) => *qos as u8,
                _ => 0x80,
            }));
        }
        Packet::PingResp => out.put_slice(&[0xd0, 0]),
        _ => {}
    }
}

fn write_publish(publish: &Publish, out: &mut BytesMut) {
    let first = 0x30 | u8::from(publish.dup) << 3 | (publish.qos as u8) << 1 | u8::from(publish.retain);
    let id_length = if publish.qos == QoS::AtMostOnce { 0 } else { 2 };
    write_header(first, 2 + publish.topic.len() + id_length + publish.payload.len(), out);
    out.put_u16(u16::try_from(publish.topic.len()).expect("came in a packet of this form"));
    out.put_slice(&publish.topic);
    if id_length > 0 {
        out.put_u16(publish.pkid);
    }
    out.put_slice(&publish.payload);
}

fn write_id(first: u8, id: u16, out: &mut BytesMut) {
    out.put_slice(&[first, 2]);
    out.put_u16(id);
}

fn write_header(first: u8, mut length: usize, out: &mut BytesMut) {
    out.put_u8(first);
    while length >= 0x80 {
        out.put_u8((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.put_u8(length as u8);
}
