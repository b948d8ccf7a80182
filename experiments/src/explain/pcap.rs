//! A run as a capture, for Wireshark and its like: every segment as it left its host, one interface for each host, and
//! beside each segment that completes a message about a task a comment that says whose it is and what it waited for. So
//! have those with messages that name no task, such as acknowledgements, if they were held back.
//!
//! Segments that are lost are here, since a capture at their sender would show them, and so are those that are sent
//! again. What the simulator leaves out stays left out: where no host has Nagle's algorithm on, nobody waits for
//! acknowledgements, and there are none without data.

use super::{
    pcapng::{File, Interface},
    wait_name,
};
use crate::{
    attribution::{Attribution, Hop, Span, Stall},
    capture::{CAPTURE_BYTES_MAX, Capture, HEADER_BYTES},
    spec::Spec,
    workload::task_id,
};
use rustc_hash::FxHashMap;
use sim::{
    UNIX_START_S,
    observe::{Fate, Header},
};
use std::{borrow::Cow, fmt::Write as _};

const NS_PER_S: u64 = 1_000_000_000;
const TTL: u8 = 64;
const TCP: u8 = 6;
/// Of TCP's flags: the first segment of a connection.
const SYN: u8 = 0x02;
/// Comments of one segment, each about a message. Some acknowledge hundreds at a time.
const COMMENTS_MAX: usize = 32;
/// Causes told of one stretch of time; the rest is added up.
const CAUSES_MAX: usize = 6;

/// The addresses of a host: as the simulator's network has them, and one of an Ethernet that nobody else uses.
fn interface(host: u16, name: String) -> Interface {
    let [high, low] = (host + 1).to_be_bytes();
    Interface { name, ipv4: [192, 168, high, low], mac: [0x02, 0, 192, 168, high, low] }
}

/// The capture of a run, as a file in the format pcapng.
#[must_use]
pub fn pcap(spec: &Spec, attribution: &Attribution) -> Vec<u8> {
    let capture = &attribution.capture;
    let mut about =
        vec![format!("{}, seed {}: a simulated run, each segment as it left its host", spec.name, spec.seed)];
    about.extend(cut(capture));
    let hops_left_out = attribution.journeys.hops_left_out;
    if hops_left_out > 0 {
        about.push(format!("{hops_left_out} messages, all after the last that has one, have no comment"));
    }
    let names = attribution.host_names();
    let interfaces: Vec<Interface> = names.iter().zip(0..).map(|(name, host)| interface(host, name.clone())).collect();
    let mut file = File::new("shelfwire", &about);
    interfaces.iter().for_each(|interface| file.interface(interface));
    file.names(interfaces.iter());
    let mut comments = Comments::new(&names, attribution);
    let mut frame = Vec::new();
    for segment in &capture.segments {
        let (header, payload) = (&segment.header, capture.payload(segment));
        let [source, destination] = [header.from, header.to].map(|(host, _)| &interfaces[usize::from(host)]);
        write_frame(&mut frame, header, payload, (source, destination));
        let unix_ns = UNIX_START_S * NS_PER_S + header.at_ns;
        file.packet(header.from.0.into(), unix_ns, &frame, &comments.of(header, payload.len()));
    }
    file.into_bytes()
}

/// What there is to say if a capture ends before its run.
#[must_use]
pub fn cut(capture: &Capture) -> Option<String> {
    let last_ns = capture.segments.last().map_or(0, |segment| segment.header.at_ns);
    (capture.left_out > 0).then(|| {
        format!(
            "the capture ends {:.3} s after the start of the run, since it holds {} MiB: {} later segments are left \
             out; with fewer tasks (--tasks) all fits",
            last_ns as f64 / 1e9,
            CAPTURE_BYTES_MAX >> 20,
            capture.left_out
        )
    })
}

/// The sum of RFC 1071, not yet folded.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | u64::from(pair.get(1).copied().unwrap_or(0));
    bytes.chunks(2).map(word).sum()
}

fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// Ethernet, IPv4 and TCP around the data of a segment.
fn write_frame(frame: &mut Vec<u8>, segment: &Header, payload: &[u8], (source, destination): (&Interface, &Interface)) {
    frame.clear();
    frame.extend_from_slice(&destination.mac);
    frame.extend_from_slice(&source.mac);
    frame.extend_from_slice(&[0x08, 0x00]); // IPv4
    let ip = frame.len();
    // A segment that is larger than that, as a network card cuts it up, shows as 0.
    let total_bytes = u16::try_from(HEADER_BYTES - ip + payload.len()).unwrap_or(0);
    frame.extend_from_slice(&[0x45, 0]);
    frame.extend_from_slice(&total_bytes.to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0x40, 0, TTL, TCP, 0, 0]); // whole, not to be divided
    frame.extend_from_slice(&source.ipv4);
    frame.extend_from_slice(&destination.ipv4);
    let header_checksum = checksum(sum(&frame[ip..]));
    frame[ip + 10..ip + 12].copy_from_slice(&header_checksum);
    let tcp = frame.len();
    frame.extend_from_slice(&segment.from.1.to_be_bytes());
    frame.extend_from_slice(&segment.to.1.to_be_bytes());
    frame.extend_from_slice(&segment.seq.to_be_bytes());
    frame.extend_from_slice(&segment.ack.to_be_bytes());
    frame.extend_from_slice(&[5 << 4, segment.flags]);
    frame.extend_from_slice(&segment.window.to_be_bytes());
    frame.extend_from_slice(&[0; 4]); // checksum, and no urgent data
    frame.extend_from_slice(payload);
    let addresses = sum(&source.ipv4) + sum(&destination.ipv4);
    let pseudo = addresses + u64::from(TCP) + (frame.len() - tcp) as u64;
    let tcp_checksum = checksum(pseudo + sum(&frame[tcp..]));
    frame[tcp + 16..tcp + 18].copy_from_slice(&tcp_checksum);
}

/// Host and port at both ends.
type Ends = ((u16, u16), (u16, u16));

/// A message that has a comment.
#[derive(Clone, Copy)]
enum Message<'a> {
    OfTask(&'a Hop),
    Stall(&'a Stall),
}

impl Message<'_> {
    fn ends(&self) -> Ends {
        match self {
            Self::OfTask(hop) => (hop.from, hop.to),
            Self::Stall(stall) => (stall.from, stall.to),
        }
    }

    fn written_ns(&self) -> u64 {
        match self {
            Self::OfTask(hop) => hop.written_ns,
            Self::Stall(stall) => stall.written_ns,
        }
    }

    /// Sequence number after its last byte.
    fn end(&self) -> u32 {
        match self {
            Self::OfTask(hop) => hop.end,
            Self::Stall(stall) => stall.end,
        }
    }
}

/// Messages of a flow in their order, and how many of them have left.
type InOrder<'a> = (Vec<Message<'a>>, usize);

/// What there is to say of segments, in their order.
struct Comments<'a> {
    names: &'a [String],
    flows: FxHashMap<Ends, InOrder<'a>>,
}

impl<'a> Comments<'a> {
    fn new(names: &'a [String], attribution: &'a Attribution) -> Self {
        let hops = attribution.journeys.hops.iter().map(Message::OfTask);
        let mut messages: Vec<Message<'a>> =
            hops.chain(attribution.journeys.stalls.iter().map(Message::Stall)).collect();
        messages.sort_by_key(Message::written_ns); // those of one write are in their order as hops and as stalls
        let mut flows: FxHashMap<Ends, InOrder<'a>> = FxHashMap::default();
        for message in messages {
            flows.entry(message.ends()).or_default().0.push(message);
        }
        for (messages, _) in flows.values_mut() {
            let in_one_write = |a: &Message<'_>, b: &Message<'_>| a.written_ns() == b.written_ns();
            for write in messages.chunk_by_mut(in_one_write) {
                let first = write[0].end();
                write.sort_by_key(|message| message.end().wrapping_sub(first).cast_signed());
            }
        }
        Self { names, flows }
    }

    fn of(&mut self, segment: &Header, len_bytes: usize) -> Vec<String> {
        let fate = match segment.fate {
            Fate::Sent => None,
            Fate::Lost => Some("lost: it is sent again after a timeout"),
            Fate::HeldUp => Some("one before it is lost: it is sent again with that"),
            Fate::SentAgain => Some("sent again, and gets through"),
            Fate::LostAgain => Some("sent again, and lost again"),
        };
        let mut comments: Vec<String> = fate.map(str::to_owned).into_iter().collect();
        let Some((messages, left)) = self.flows.get_mut(&(segment.from, segment.to)) else { return comments };
        if segment.flags & SYN != 0 {
            // What an earlier connection between the same ports had not sent never leaves.
            *left += messages[*left..].iter().take_while(|message| message.written_ns() < segment.at_ns).count();
        }
        // Whether a message's last byte is in this segment.
        let is_in = |message: &&Message<'_>| {
            let beyond = message.end().wrapping_sub(segment.seq) as usize;
            message.written_ns() <= segment.at_ns && (1..=len_bytes).contains(&beyond)
        };
        let found: Vec<&Message<'_>> = if matches!(segment.fate, Fate::SentAgain | Fate::LostAgain) {
            let after = |message: &&Message<'_>| message.end().wrapping_sub(segment.seq).cast_signed() > 0;
            let mut found: Vec<_> = messages[..*left].iter().rev().take_while(after).filter(is_in).collect();
            found.reverse();
            found
        } else {
            let found: Vec<_> = messages[*left..].iter().take_while(is_in).collect();
            *left += found.len();
            found
        };
        comments.extend(found.iter().take(COMMENTS_MAX).map(|message| match message {
            Message::OfTask(hop) => told(self.names, hop),
            Message::Stall(stall) => told_of_stall(self.names, stall),
        }));
        if found.len() > COMMENTS_MAX {
            comments.push(format!("and {} more messages", found.len() - COMMENTS_MAX));
        }
        comments
    }
}

/// One line about a message.
fn told(names: &[String], hop: &Hop) -> String {
    let [from, to] = [hop.from, hop.to].map(|(host, _)| &names[usize::from(host)]);
    let mut out = task_id(hop.task);
    if let Some((request, label)) = hop.request.zip(hop.label) {
        write!(out, ", request {request}, label {label}").expect("a string takes everything");
    }
    if hop.came_ns() < hop.written_ns {
        write!(out, "; at {from} {}: {}", ms(hop.written_ns - hop.came_ns()), waits(&hop.stay))
            .expect("a string takes everything");
    }
    match hop.taken_ns {
        Some(taken_ns) => write!(out, "; to {to} {}: {}", ms(taken_ns - hop.written_ns), waits(&hop.way)),
        None => write!(out, "; {to} never got it"),
    }
    .expect("a string takes everything");
    out
}

fn told_of_stall(names: &[String], stall: &Stall) -> String {
    let Stall { what, to, written_ns, taken_ns, way, .. } = stall;
    format!("{what}; to {} {}: {}", names[usize::from(to.0)], ms(taken_ns - written_ns), waits(way))
}

/// What passed in a stretch of time, the longest first.
fn waits(spans: &[Span]) -> String {
    let mut sums: Vec<(Cow<'static, str>, u64)> = Vec::new();
    for span in spans {
        let name = wait_name(span.cause, span.because);
        let ns = span.to_ns - span.from_ns;
        match sums.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum_ns)) => *sum_ns += ns,
            None => sums.push((name, ns)),
        }
    }
    sums.sort_by_key(|(_, ns)| std::cmp::Reverse(*ns));
    let rest_ns: u64 = sums.iter().skip(CAUSES_MAX).map(|(_, ns)| ns).sum();
    sums.truncate(CAUSES_MAX);
    if rest_ns > 0 {
        sums.push(("others".into(), rest_ns));
    }
    sums.iter().map(|(name, ns)| format!("{name} {}", ms(*ns))).collect::<Vec<_>>().join(", ")
}

fn ms(ns: u64) -> String {
    format!("{}.{:03} ms", ns / 1_000_000, ns / 1_000 % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_that_is_cut_off_says_where() {
        let mut capture = Capture::default();
        assert_eq!(cut(&capture), None);
        capture.left_out = 3;
        let said = cut(&capture).unwrap();
        assert!(said.contains("ends 0.000 s after") && said.contains("3 later segments"), "{said}");
    }

    #[test]
    fn checksums_are_those_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(sum(&bytes)), [0x22, 0x0d], "the example in its section 3");
        assert_eq!(checksum(sum(&[0xFF])), [0x00, 0xFF], "an odd byte is the high one");
    }
}
