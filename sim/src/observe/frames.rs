//! Finds the messages in what is written to a connection: AMQP, MQTT, Redis' protocol and HTTP.

use super::names::{HEAD_BYTES, Names};

/// A frame's type, channel and size, before its payload; the end octet comes after it.
const AMQP_HEAD_BYTES: usize = 7;
const AMQP_HEADER: &[u8] = b"AMQP";
const AMQP_HEADER_BYTES: usize = 8;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
/// First byte of MQTT's CONNECT.
const CONNECT: u8 = 0x10;
/// MQTT's remaining length has at most four bytes.
const MQTT_LENGTH_BYTES_MAX: usize = 4;

/// What a message is to those who exchange it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// AMQP: a client publishes with this routing key.
    Publish(&'a str),
    /// AMQP: a consumer gets a message.
    Deliver,
    /// AMQP: a method on this channel that is answered.
    Ask(u16),
    /// AMQP: a consumer begins. It is answered, too.
    Consume(u16),
    /// AMQP: the answer to the method on this channel that waits for one.
    Answer(u16),
    /// AMQP or MQTT: a receiver has taken a message over: deliveries, publishes.
    Acknowledge,
    /// MQTT: a publish.
    Mqtt,
    /// Redis: commands; so many have been sent with them.
    Commands(u64),
    /// Redis: answers; so many have been given with them.
    Answers(u64),
    /// HTTP: a request or its response.
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Amqp,
    Mqtt,
    Redis,
    Http,
}

impl Protocol {
    /// Of a client that begins so.
    pub(super) fn of_first(bytes: &[u8]) -> Self {
        match bytes.first() {
            _ if bytes.starts_with(AMQP_HEADER) => Self::Amqp,
            Some(&CONNECT) => Self::Mqtt,
            Some(b'*') => Self::Redis,
            _ => Self::Http,
        }
    }
}

/// AMQP content whose frames are not all there.
#[derive(Debug, Default)]
struct Content {
    channel: u16,
    /// Published; else delivered.
    is_publish: bool,
    /// Its routing key, if it is published.
    route: String,
    header: Vec<u8>,
    /// As much of the body as names are looked for in.
    body: Vec<u8>,
    /// How much of the body is missing.
    left_bytes: u64,
}

/// Takes apart what one side writes.
#[derive(Debug)]
pub(super) struct Framer {
    protocol: Protocol,
    /// Of the side that opened the connection.
    is_client: bool,
    /// The beginning of a frame whose end is not there.
    partial: Vec<u8>,
    contents: Vec<Content>,
    /// One that is done with, kept for its capacity.
    spare: Option<Content>,
    /// Commands of Redis, or answers.
    counted: u64,
}

impl Framer {
    pub(super) fn new(protocol: Protocol, is_client: bool) -> Self {
        Self { protocol, is_client, partial: Vec::new(), contents: Vec::new(), spare: None, counted: 0 }
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Takes what is written next, and gives each message with the place in `bytes` at which it ends.
    pub(super) fn feed(&mut self, bytes: &[u8], found: &mut dyn FnMut(usize, What<'_>, Names<'_>)) {
        if self.protocol == Protocol::Http {
            let body = bytes.windows(2).position(|pair| pair == b"{\"").map_or(&[][..], |at| &bytes[at..]);
            let names = Names::of_body(body);
            if !names.is_empty() {
                found(bytes.len(), What::Http, names);
            }
            return;
        }
        let mut partial = std::mem::take(&mut self.partial);
        let before = partial.len();
        let all = if before == 0 {
            bytes
        } else {
            partial.extend_from_slice(bytes);
            &partial
        };
        let mut at = 0;
        while let Some(len) = self.frame_bytes(&all[at..]) {
            let frame = &all[at..at + len];
            at += len;
            // A frame that ended in an earlier write was found then.
            let end = at - before;
            match self.protocol {
                Protocol::Amqp => self.amqp(frame, &mut |what, names| found(end, what, names)),
                Protocol::Mqtt => mqtt(frame, &mut |what, names| found(end, what, names)),
                Protocol::Redis => self.redis(frame, end == bytes.len(), &mut |what, names| found(end, what, names)),
                Protocol::Http => unreachable!("HTTP is not taken apart"),
            }
        }
        if before == 0 {
            partial.extend_from_slice(&bytes[at..]);
        } else {
            partial.drain(..at);
        }
        self.partial = partial;
    }

    /// The length of the frame that `bytes` begin with, if all of it is there.
    fn frame_bytes(&self, bytes: &[u8]) -> Option<usize> {
        let len = match self.protocol {
            Protocol::Amqp if bytes.starts_with(AMQP_HEADER) => AMQP_HEADER_BYTES,
            Protocol::Amqp => {
                let size = u32::from_be_bytes(bytes.get(3..AMQP_HEAD_BYTES)?.try_into().expect("four bytes"));
                AMQP_HEAD_BYTES + size as usize + 1
            }
            Protocol::Mqtt => {
                let (value, length_bytes) = variable_length(bytes.get(1..)?)?;
                1 + length_bytes + value
            }
            Protocol::Redis => return resp_bytes(bytes),
            Protocol::Http => return None,
        };
        (bytes.len() >= len && len > 0).then_some(len)
    }

    fn amqp(&mut self, frame: &[u8], found: &mut dyn FnMut(What<'_>, Names<'_>)) {
        if frame.starts_with(AMQP_HEADER) {
            return found(What::Ask(0), Names::default());
        }
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let payload = &frame[AMQP_HEAD_BYTES..frame.len() - 1];
        match frame[0] {
            METHOD => self.method(channel, payload, found),
            HEADER => {
                let Some(content) = self.contents.iter_mut().find(|content| content.channel == channel) else { return };
                let size = payload.get(4..12).and_then(|size| size.try_into().ok()).map_or(0, u64::from_be_bytes);
                content.left_bytes = size;
                content.header.extend_from_slice(&payload[12.min(payload.len())..]);
                if size == 0 {
                    self.end(channel, found);
                }
            }
            BODY => {
                let Some(content) = self.contents.iter_mut().find(|content| content.channel == channel) else { return };
                if content.body.is_empty() {
                    content.body.extend_from_slice(&payload[..payload.len().min(HEAD_BYTES)]);
                }
                content.left_bytes = content.left_bytes.saturating_sub(payload.len() as u64);
                if content.left_bytes == 0 {
                    self.end(channel, found);
                }
            }
            _ => {}
        }
    }

    /// All of a message is there.
    fn end(&mut self, channel: u16, found: &mut dyn FnMut(What<'_>, Names<'_>)) {
        let Some(at) = self.contents.iter().position(|content| content.channel == channel) else { return };
        let content = self.contents.swap_remove(at);
        let mut names = Names::of_body(&content.body);
        if names.request.is_none() && names.task.is_none() {
            let header = Names::among(&content.header);
            names = Names { request: header.request, label: names.label.or(header.label), task: None };
        }
        found(if content.is_publish { What::Publish(&content.route) } else { What::Deliver }, names);
        self.spare = Some(content);
    }

    /// A message begins, with this routing key if it is published.
    fn begin(&mut self, channel: u16, route: Option<&str>) {
        let mut content = self.spare.take().unwrap_or_default();
        (content.channel, content.is_publish, content.left_bytes) = (channel, route.is_some(), 0);
        content.route.clear();
        content.header.clear();
        content.body.clear();
        content.route.push_str(route.unwrap_or_default());
        self.contents.push(content);
    }

    fn method(&mut self, channel: u16, payload: &[u8], found: &mut dyn FnMut(What<'_>, Names<'_>)) {
        let [a, b, c, d, arguments @ ..] = payload else { return };
        let method = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
        let what = match method {
            (60, 40) => {
                let key = arguments.get(2..).and_then(|rest| short_string(short_string(rest)?.1));
                let route = key.and_then(|(key, _)| std::str::from_utf8(key).ok());
                return self.begin(channel, route.or(Some("")));
            }
            (60, 60) => return self.begin(channel, None),
            (60, 20) => What::Consume(channel),
            (60, 80 | 90 | 120) => What::Acknowledge,
            // Of the handshake's, `start` and `tune` are what a broker says unasked; the client's answers ask on.
            (10, 10 | 30) => What::Answer(channel),
            (10, 11 | 40 | 50) | (20, 10 | 40) | (40, 10) | (50, 10 | 20 | 30 | 40) | (60, 10 | 30) | (85, 10) => {
                What::Ask(channel)
            }
            (10, 41 | 51) | (20, 11 | 41) | (40, 11) | (50, 11 | 21 | 31 | 41) | (60, 11 | 21 | 31) | (85, 11) => {
                What::Answer(channel)
            }
            _ => return,
        };
        found(what, Names::default());
    }

    /// `last`: nothing follows in this write. Commands that name nobody belong to those that follow.
    fn redis(&mut self, value: &[u8], last: bool, found: &mut dyn FnMut(What<'_>, Names<'_>)) {
        self.counted += 1;
        if !self.is_client {
            return found(What::Answers(self.counted), Names::default());
        }
        let names = Names::among(value);
        if last || names.request.is_some() {
            found(What::Commands(self.counted), names);
        }
    }
}

fn mqtt(packet: &[u8], found: &mut dyn FnMut(What<'_>, Names<'_>)) {
    match packet[0] >> 4 {
        3 => found(What::Mqtt, mqtt_payload(packet).map(Names::of_body).unwrap_or_default()),
        4 => found(What::Acknowledge, Names::default()),
        _ => {}
    }
}

/// What a PUBLISH carries.
fn mqtt_payload(packet: &[u8]) -> Option<&[u8]> {
    let (_, length_bytes) = variable_length(packet.get(1..)?)?;
    let body = packet.get(1 + length_bytes..)?;
    let topic_bytes = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    let id_bytes = if packet[0] >> 1 & 3 > 0 { 2 } else { 0 };
    let rest = body.get(2 + topic_bytes + id_bytes..)?;
    let (properties_bytes, length_bytes) = variable_length(rest)?;
    rest.get(length_bytes + properties_bytes..)
}

/// A variable byte integer: its value and its length.
fn variable_length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(MQTT_LENGTH_BYTES_MAX).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// A text with its length before it, and what follows.
fn short_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*len))
}

/// The length of the value of Redis' protocol that `bytes` begin with, if all of it is there.
fn resp_bytes(bytes: &[u8]) -> Option<usize> {
    let (mut at, mut missing) = (0, 1_usize);
    while missing > 0 {
        let line = bytes[at..].windows(2).position(|pair| pair == b"\r\n")?;
        let (kind, number) = (bytes[at], bytes.get(at + 1..at + line)?);
        let number = std::str::from_utf8(number).ok().and_then(|text| text.parse::<i64>().ok());
        at += line + 2;
        missing -= 1;
        match (kind, number) {
            (b'$', Some(len @ 0..)) => at += len as usize + 2,
            (b'*', Some(values @ 0..)) => missing += values as usize,
            _ => {}
        }
        if at > bytes.len() {
            return None;
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"request_id":"000102030405060708090a0b0c0d0e0f","esl_mac":"02:00:00:00:00:07"}"#;

    /// What is found in writes: kind, where it ends in its write, whether it names a request.
    fn found(protocol: Protocol, is_client: bool, writes: &[&[u8]]) -> Vec<(String, usize, bool)> {
        let mut framer = Framer::new(protocol, is_client);
        let mut all = Vec::new();
        for write in writes {
            framer.feed(write, &mut |end, what, names| all.push((format!("{what:?}"), end, names.request.is_some())));
        }
        all
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let size = (payload.len() as u32).to_be_bytes();
        [&[kind, 0, 5][..], &size, payload, &[0xCE]].concat()
    }

    #[test]
    fn an_amqp_message_ends_with_the_last_frame_of_its_body_wherever_it_is_cut() {
        let publish = frame(METHOD, b"\x00\x3c\x00\x28\x00\x00\x00\x07routing\x00");
        let size = (REQUEST.len() as u64).to_be_bytes();
        let header = frame(HEADER, &[&b"\x00\x3c\x00\x00"[..], &size, &[0, 0]].concat());
        let all = [publish, header, frame(BODY, REQUEST.as_bytes())].concat();
        let expected = r#"Publish("routing")"#.to_owned();
        assert_eq!(found(Protocol::Amqp, true, &[&all]), [(expected.clone(), all.len(), true)]);
        for cut in 1..all.len() {
            let ends = found(Protocol::Amqp, true, &[&all[..cut], &all[cut..]]);
            assert_eq!(ends, [(expected.clone(), all.len() - cut, true)], "{cut}");
        }
    }

    #[test]
    fn methods_are_told_apart_from_their_answers() {
        let methods = [b"\x00\x32\x00\x0a", b"\x00\x32\x00\x0b", b"\x00\x3c\x00\x50", b"\x00\x3c\x00\x14"];
        let writes: Vec<Vec<u8>> = methods.iter().map(|method| frame(METHOD, *method)).collect();
        let writes: Vec<&[u8]> = writes.iter().map(Vec::as_slice).collect();
        let kinds: Vec<String> = found(Protocol::Amqp, true, &writes).into_iter().map(|(what, ..)| what).collect();
        assert_eq!(kinds, ["Ask(5)", "Answer(5)", "Acknowledge", "Consume(5)"]);
    }

    #[test]
    fn a_publish_that_is_written_field_by_field_ends_with_its_payload() {
        let body = [&b"\x00\x02ab\x00\x07\x00"[..], REQUEST.as_bytes()].concat();
        let head = [0x32, body.len() as u8];
        let ends = found(Protocol::Mqtt, true, &[&head, &body[..7], &body[7..], b"\x40\x02\x00\x07"]);
        assert_eq!(ends, [("Mqtt".to_owned(), REQUEST.len(), true), ("Acknowledge".to_owned(), 4, false)]);
    }

    #[test]
    fn commands_of_a_pipeline_are_counted_as_their_answers_are() {
        let set = "*3\r\n$3\r\nSET\r\n$32\r\n000102030405060708090a0b0c0d0e0f\r\n$1\r\n1\r\n";
        let get = "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
        let both = [set, get].concat();
        let ends = found(Protocol::Redis, true, &[both.as_bytes()]);
        let [first, second] =
            [("Commands(1)".to_owned(), set.len(), true), ("Commands(2)".to_owned(), both.len(), false)];
        assert_eq!(ends, [first, second]);
        let answers = found(Protocol::Redis, false, &[b"+OK\r\n$-1\r\n*1\r\n$2\r\n", b"ab\r\n"]);
        let ends: Vec<(&str, usize)> = answers.iter().map(|(what, end, _)| (what.as_str(), *end)).collect();
        assert_eq!(ends, [("Answers(1)", 5), ("Answers(2)", 10), ("Answers(3)", 4)]);
    }
}
