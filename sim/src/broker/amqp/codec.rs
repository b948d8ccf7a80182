//! Frames on the wire (AMQP 0-9-1 section 4.2): cutting them out of a byte stream within the negotiated limits, and
//! writing them. Methods and properties are amq-protocol's business; what a broker sends most, content, is written here
//! without detours.

use super::{message::Message, refusal::Refusal};
use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame},
    protocol::{AMQPClass, constants::FRAME_END, parse_class},
};

/// Type, channel, size and end octet: what a frame adds to its payload.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 8;
/// Type, channel and size.
const FRAME_HEADER_BYTES: usize = 7;
/// The class of all content.
pub(super) const BASIC_CLASS: u16 = 60;
/// Method deliver of class basic.
const BASIC_DELIVER: u16 = 60;

/// The frame at the start of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// One of amq-protocol's `FRAME_…` constants, if the peer keeps to the protocol.
    pub(super) kind: u8,
    /// 0 for the connection itself.
    pub(super) channel: u16,
    /// What stands between header and end octet.
    pub(super) payload: &'a [u8],
}

impl Frame<'_> {
    /// Bytes of the whole frame.
    pub(super) fn bytes(&self) -> usize {
        FRAME_OVERHEAD_BYTES + self.payload.len()
    }
}

/// Cuts the first frame off `input`; `None` if it has not all arrived.
///
/// # Errors
/// 501 if the frame is larger than `frame_bytes_max` or doesn't end where it should.
pub(super) fn cut(input: &[u8], frame_bytes_max: u32) -> Result<Option<Frame<'_>>, Refusal> {
    let Some((header, rest)) = input.split_at_checked(FRAME_HEADER_BYTES) else { return Ok(None) };
    let channel = u16::from_be_bytes([header[1], header[2]]);
    let size = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    if size > frame_bytes_max - FRAME_OVERHEAD_BYTES as u32 {
        return Err(Refusal::frame_error(format!("frame of {size} bytes, frame_max is {frame_bytes_max}")));
    }
    let Some((payload, rest)) = rest.split_at_checked(size as usize) else { return Ok(None) };
    match rest.first() {
        None => Ok(None),
        Some(&FRAME_END) => Ok(Some(Frame { kind: header[0], channel, payload })),
        Some(other) => Err(Refusal::frame_error(format!("frame ends with octet {other} instead of {FRAME_END}"))),
    }
}

/// The method in a method frame's payload.
///
/// # Errors
/// 501 if it is no method of AMQP 0-9-1, or doesn't fill the payload.
pub(super) fn parse_method(payload: &[u8]) -> Result<AMQPClass, Refusal> {
    super::nesting::check_method(payload)?;
    match parse_class(payload) {
        Ok(([], class)) => Ok(class),
        _ => Err(Refusal::frame_error("a method frame that is no method".into())),
    }
}

/// Appends a method frame.
pub(super) fn put_method(out: &mut Vec<u8>, channel: u16, class: AMQPClass) {
    put_frame(out, &AMQPFrame::Method(channel, class));
}

/// Appends a heartbeat frame.
pub(super) fn put_heartbeat(out: &mut Vec<u8>) {
    put_frame(out, &AMQPFrame::Heartbeat);
}

fn put_frame(out: &mut Vec<u8>, frame: &AMQPFrame) {
    let context = WriteContext::from(std::mem::take(out));
    *out = gen_frame(frame)(context).expect("a Vec takes every frame").into_inner().0;
}

/// Appends `basic.deliver` and its content. A delivery is most of what a broker sends, hence no detour by amq-protocol.
pub(super) fn put_delivery(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &str,
    delivery_tag: u64,
    redelivered: bool,
    message: &Message,
    frame_bytes_max: u32,
) {
    put_enclosed(out, 1, channel, |out| {
        out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
        out.extend_from_slice(&BASIC_DELIVER.to_be_bytes());
        put_short_string(out, consumer_tag);
        out.extend_from_slice(&delivery_tag.to_be_bytes());
        out.push(u8::from(redelivered));
        put_short_string(out, ""); // the default exchange
        put_short_string(out, message.routing_key());
    });
    put_content(out, channel, message, frame_bytes_max);
}

/// Appends the content header and the body, in as many frames as the negotiated size asks for.
pub(super) fn put_content(out: &mut Vec<u8>, channel: u16, message: &Message, frame_bytes_max: u32) {
    put_enclosed(out, 2, channel, |out| {
        out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
        out.extend_from_slice(&0_u16.to_be_bytes()); // weight
        out.extend_from_slice(&(message.body().len() as u64).to_be_bytes());
        out.extend_from_slice(message.encoded_properties());
    });
    for chunk in message.body().chunks(frame_bytes_max as usize - FRAME_OVERHEAD_BYTES) {
        put_enclosed(out, 3, channel, |out| out.extend_from_slice(chunk));
    }
}

fn put_enclosed(out: &mut Vec<u8>, kind: u8, channel: u16, payload: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    out.extend_from_slice(&channel.to_be_bytes());
    let size_at = out.len();
    out.extend_from_slice(&[0; 4]);
    payload(out);
    let size = (out.len() - size_at - 4) as u32;
    out[size_at..size_at + 4].copy_from_slice(&size.to_be_bytes());
    out.push(FRAME_END);
}

fn put_short_string(out: &mut Vec<u8>, string: &str) {
    out.push(u8::try_from(string.len()).expect("names came as short strings or are shorter still"));
    out.extend_from_slice(string.as_bytes());
}
