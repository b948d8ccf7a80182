//! Frames on the wire (AMQP 0-9-1 section 4.2): cutting them out of a byte stream within the negotiated limits, and
//! writing them. Methods and properties are amq-protocol's business; what a broker sends most, content, is written here
//! without detours.

use super::{
    constants::{BASIC_ACK, BASIC_CLASS, BASIC_DELIVER, BASIC_PUBLISH, BASIC_QOS},
    message::Message,
    refusal::Refusal,
    table_depth,
};
use amq_protocol::{
    frame::{AMQPFrame, WriteContext, gen_frame},
    protocol::{
        AMQPClass,
        basic::{AMQPMethod, Ack, Publish},
        constants::{FRAME_BODY, FRAME_END, FRAME_HEADER, FRAME_METHOD},
        parse_class,
    },
};

/// Type, channel, size and end octet: what a frame adds to its payload.
pub(super) const FRAME_OVERHEAD_BYTES: usize = 8;
/// Type, channel and size.
const FRAME_HEADER_BYTES: usize = 7;

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

    /// Class and method of a method frame.
    pub(super) fn method_ids(&self) -> Option<(u16, u16)> {
        if self.kind == FRAME_METHOD { method_ids(self.payload) } else { None }
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
        let most = frame_bytes_max - FRAME_OVERHEAD_BYTES as u32;
        return Err(bad_frame(header[0], &[], &format!(": {{frame_too_large,{size},{most}}}")));
    }
    let Some((payload, rest)) = rest.split_at_checked(size as usize) else { return Ok(None) };
    match rest.first() {
        None => Ok(None),
        Some(&FRAME_END) => Ok(Some(Frame { kind: header[0], channel, payload })),
        Some(other) => Err(bad_frame(header[0], payload, &format!(": {{invalid_frame_end_marker,{other}}}"))),
    }
}

/// What RabbitMQ says of a frame that is none (its `rabbit_misc:frame_error`).
pub(super) fn bad_frame(kind: u8, payload: &[u8], why: &str) -> Refusal {
    Refusal::frame_error(format!("type {kind}, all octets = {}{why}", octets(payload)))
}

/// As Erlang writes a binary; a long one is cut, since a refusal's text ends at 255 bytes.
pub(super) fn octets(bytes: &[u8]) -> String {
    let numbers: Vec<String> = bytes.iter().take(u8::MAX.into()).map(u8::to_string).collect();
    format!("<<{}>>", numbers.join(","))
}

/// The method in a method frame's payload.
///
/// # Errors
/// 501 if it is no method of AMQP 0-9-1, or doesn't fill the payload; 540 for a prefetch in bytes.
pub(super) fn parse_method(payload: &[u8]) -> Result<AMQPClass, Refusal> {
    if let Some(method) = parse_frequent(payload) {
        return Ok(AMQPClass::Basic(method));
    }
    table_depth::check_method(payload)?;
    check_prefetch_size(payload)?;
    match parse_class(payload) {
        Ok(([], class)) => Ok(class),
        _ => {
            let fields = &payload[payload.len().min(4)..];
            Err(Refusal {
                about: method_ids(payload),
                ..Refusal::frame_error(format!("cannot decode {}", octets(fields)))
            })
        }
    }
}

/// `basic.qos` may not limit bytes, in RabbitMQ neither. amq-protocol doesn't say whether it would.
fn check_prefetch_size(payload: &[u8]) -> Result<(), Refusal> {
    let ids = method_ids(payload);
    let size = payload.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    if ids != Some((BASIC_CLASS, BASIC_QOS)) || size == 0 {
        return Ok(());
    }
    Err(Refusal { about: ids, ..Refusal::not_implemented(format!("prefetch_size!=0 ({size})")) })
}

fn method_ids(payload: &[u8]) -> Option<(u16, u16)> {
    let [class_high, class_low, method_high, method_low] = *payload.first_chunk()?;
    Some((u16::from_be_bytes([class_high, class_low]), u16::from_be_bytes([method_high, method_low])))
}

/// `basic.publish` and `basic.ack`, most of what a broker receives; amq-protocol's general decoder takes several
/// microseconds for each. `None`: let it have a look.
fn parse_frequent(payload: &[u8]) -> Option<AMQPMethod> {
    let ids = method_ids(payload)?;
    let fields = &payload[4..];
    match ids {
        (BASIC_CLASS, BASIC_PUBLISH) => {
            let (_reserved, fields) = fields.split_at_checked(2)?;
            let (exchange, fields) = split_short_string(fields)?;
            let (routing_key, fields) = split_short_string(fields)?;
            let &[bits] = fields else { return None };
            let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
            let (exchange, routing_key) = (exchange.into(), routing_key.into());
            Some(AMQPMethod::Publish(Publish { exchange, routing_key, mandatory, immediate }))
        }
        (BASIC_CLASS, BASIC_ACK) => {
            let (tag, fields) = fields.split_first_chunk::<8>()?;
            let &[bits] = fields else { return None };
            Some(AMQPMethod::Ack(Ack { delivery_tag: u64::from_be_bytes(*tag), multiple: bits & 1 != 0 }))
        }
        _ => None,
    }
}

fn split_short_string(input: &[u8]) -> Option<(&str, &[u8])> {
    let (&length, rest) = input.split_first()?;
    let (string, rest) = rest.split_at_checked(length.into())?;
    Some((std::str::from_utf8(string).ok()?, rest))
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
    put_enclosed(out, FRAME_METHOD, channel, |out| {
        out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
        out.extend_from_slice(&BASIC_DELIVER.to_be_bytes());
        put_short_string(out, consumer_tag);
        out.extend_from_slice(&delivery_tag.to_be_bytes());
        out.push(u8::from(redelivered));
        put_short_string(out, message.exchange());
        put_short_string(out, message.routing_key());
    });
    put_content(out, channel, message, frame_bytes_max);
}

/// Appends `basic.ack`, a publisher's confirm.
pub(super) fn put_ack(out: &mut Vec<u8>, channel: u16, delivery_tag: u64, multiple: bool) {
    put_enclosed(out, FRAME_METHOD, channel, |out| {
        out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
        out.extend_from_slice(&BASIC_ACK.to_be_bytes());
        out.extend_from_slice(&delivery_tag.to_be_bytes());
        out.push(u8::from(multiple));
    });
}

/// Appends the content header and the body, in as many frames as the negotiated size asks for.
pub(super) fn put_content(out: &mut Vec<u8>, channel: u16, message: &Message, frame_bytes_max: u32) {
    put_enclosed(out, FRAME_HEADER, channel, |out| {
        out.extend_from_slice(&BASIC_CLASS.to_be_bytes());
        out.extend_from_slice(&0_u16.to_be_bytes()); // weight
        out.extend_from_slice(&(message.body().len() as u64).to_be_bytes());
        out.extend_from_slice(message.encoded_properties());
    });
    for chunk in message.body().chunks(frame_bytes_max as usize - FRAME_OVERHEAD_BYTES) {
        put_enclosed(out, FRAME_BODY, channel, |out| out.extend_from_slice(chunk));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frequent_methods_read_as_amq_protocol_writes_them(
            (exchange, key) in ("[a-zé.]{0,20}", "[a-zé.]{0,100}"),
            (mandatory, immediate, delivery_tag) in any::<(bool, bool, u64)>(),
        ) {
            let (exchange, routing_key) = (exchange.as_str().into(), key.as_str().into());
            let publish = AMQPMethod::Publish(Publish { exchange, routing_key, mandatory, immediate });
            let ack = AMQPMethod::Ack(Ack { delivery_tag, multiple: mandatory });
            for method in [publish, ack] {
                let mut out = Vec::new();
                put_method(&mut out, 7, AMQPClass::Basic(method.clone()));
                let frame = cut(&out, 8_192).unwrap().unwrap();
                prop_assert_eq!((frame.kind, frame.channel, frame.bytes()), (FRAME_METHOD, 7, out.len()));
                prop_assert_eq!(parse_frequent(frame.payload), Some(method));
                prop_assert_eq!(parse_frequent(&frame.payload[..frame.payload.len() - 1]), None);
            }
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            put_ack(&mut ours, 7, delivery_tag, mandatory);
            put_method(&mut theirs, 7, AMQPClass::Basic(AMQPMethod::Ack(Ack { delivery_tag, multiple: mandatory })));
            prop_assert_eq!(ours, theirs);
        }

        #[test]
        fn no_input_makes_the_decoder_panic(input in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(Some(frame)) = cut(&input, 8_192) {
                prop_assert!(frame.bytes() <= input.len());
            }
            let _ = parse_method(&input);
            let _ = Message::check_properties(&input);
        }
    }
}
