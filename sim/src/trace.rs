//! The record of a run: a digest over every delivered packet and every service event, and on demand the log behind it.
//!
//! Two runs with equal digests did the same things at the same virtual microseconds. Where digests differ, the logs'
//! first differing line names the event at which the runs parted.

use crate::flow::Flow;
use std::{
    fmt::{self, Write as _},
    io::{self, Write},
};
use turmoil_net::TcpSegment;
use xxhash_rust::xxh3::Xxh3;

/// Digest and log of one run.
pub(crate) struct Trace {
    hasher: Box<Xxh3>,
    log: Option<Box<dyn Write + Send>>,
    /// Why the log has ended before the run.
    failure: Option<io::Error>,
    /// Packets and events recorded.
    records: u64,
    /// Reused by every event.
    text: String,
}

impl Trace {
    /// A trace that also writes a line a record to `log`.
    pub(crate) fn new(log: Option<Box<dyn Write + Send>>) -> Self {
        Self { hasher: Box::default(), log, failure: None, records: 0, text: String::new() }
    }

    /// A segment reached its host.
    pub(crate) fn packet(&mut self, now_us: u64, flow: Flow, segment: &TcpSegment) {
        let flags = segment.flags;
        let flag_bits =
            u64::from(flags.syn) | u64::from(flags.ack) << 1 | u64::from(flags.fin) << 2 | u64::from(flags.rst) << 3;
        let mut head = [0; 32];
        let words = [
            now_us,
            flow.packed(),
            u64::from(segment.seq) << 32 | u64::from(segment.ack),
            flag_bits << 32 | segment.payload.len() as u64,
        ];
        for (place, word) in head.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.hasher.update(&head);
        self.hasher.update(&segment.payload);
        self.records += 1;
        if self.log.is_some() {
            let (seq, ack, len, digest) = (segment.seq, segment.ack, segment.payload.len(), self.hasher.digest());
            let letters: String = [(flags.syn, 'S'), (flags.ack, 'A'), (flags.fin, 'F'), (flags.rst, 'R')]
                .iter()
                .filter_map(|(set, letter)| set.then_some(*letter))
                .collect();
            self.write(format_args!(
                "{now_us} packet {flow} {letters} seq={seq} ack={ack} len={len} digest={digest:016x}"
            ));
        }
    }

    /// Something happened on a pod.
    pub(crate) fn event(&mut self, now_us: u64, pod: &str, event: fmt::Arguments<'_>) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        write!(text, "{now_us} event {pod} {event}").expect("a string takes everything");
        self.hasher.update(text.as_bytes());
        self.records += 1;
        if self.log.is_some() {
            let digest = self.hasher.digest();
            self.write(format_args!("{text} digest={digest:016x}"));
        }
        self.text = text;
    }

    /// The digest so far.
    pub(crate) fn digest(&self) -> Digest {
        Digest(self.hasher.digest128())
    }

    /// How many packets and events the digest covers.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Whether the log could not be written. One that is cut short would be taken for that of a short run.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Writes out what the log still buffers.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.log.as_mut().map_or(Ok(()), |log| log.flush()),
        }
    }

    fn write(&mut self, line: fmt::Arguments<'_>) {
        let Some(log) = &mut self.log else { return };
        if let Err(error) = writeln!(log, "{line}") {
            self.failure = Some(error);
            self.log = None;
        }
    }
}

/// What a run did, in 128 bits (XXH3 over its packets and events).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
