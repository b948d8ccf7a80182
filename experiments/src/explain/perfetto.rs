//! A run as a trace for Perfetto (<https://ui.perfetto.dev>): a group of tracks for each pod with a slice for each
//! message that it had and passed on, cut into what it waited for, arrows from hop to hop; and a group with a slice for
//! each task, cut likewise. Field numbers are those of `protos/perfetto/trace/` in Perfetto's sources.

use super::{NS_PER_US, hop_name, protobuf::Message, stretch_ns, tasks_in_time, wait_name};
use crate::{
    attribution::{Attribution, Hop, Span},
    workload::task_id,
};
use rustc_hash::FxHashMap;
use std::{cmp::Reverse, collections::BinaryHeap};

// Trace
const PACKET: u32 = 1;
// TracePacket
const TIMESTAMP: u32 = 8;
const SEQUENCE: u32 = 10;
const TRACK_EVENT: u32 = 11;
const TRACK_DESCRIPTOR: u32 = 60;
// TrackDescriptor
const UUID: u32 = 1;
const TRACK_NAME: u32 = 2;
const PROCESS: u32 = 3;
const PARENT: u32 = 5;
// ProcessDescriptor
const PID: u32 = 1;
const PROCESS_NAME: u32 = 6;
// TrackEvent
const ANNOTATION: u32 = 4;
const TYPE: u32 = 9;
const TRACK: u32 = 11;
const NAME: u32 = 23;
const FLOW: u32 = 47;
const TERMINATING_FLOW: u32 = 48;
const SLICE_BEGIN: u64 = 1;
const SLICE_END: u64 = 2;
// DebugAnnotation
const TEXT: u32 = 6;
const ANNOTATION_NAME: u32 = 10;

/// All packets are of one writer.
const WRITER: u64 = 1;
/// Beyond the numbers of hosts: the group of tasks.
const TASKS: u64 = 1 << 16;

/// Tracks of a group: slices on one don't overlap.
struct Group {
    uuid: u64,
    name: &'static str,
    /// Tracks by when their last slice ends.
    tracks: BinaryHeap<Reverse<(u64, u64)>>,
    count: u64,
}

struct Writer {
    trace: Message,
}

impl Writer {
    fn packet(&mut self, packet: Message) {
        self.trace.push(PACKET, &packet.number(SEQUENCE, WRITER));
    }

    fn group(&mut self, number: u64, process: &str, name: &'static str) -> Group {
        let uuid = number + 1;
        let process = Message::default().number(PID, uuid).text(PROCESS_NAME, process);
        let track = Message::default().number(UUID, uuid).message(PROCESS, &process);
        self.packet(Message::default().message(TRACK_DESCRIPTOR, &track));
        Group { uuid, name, tracks: BinaryHeap::new(), count: 0 }
    }

    /// A track of a group on which nothing is from one moment to the other. Slices come in the order of their begins.
    fn track(&mut self, group: &mut Group, from_ns: u64, to_ns: u64) -> u64 {
        let free = group.tracks.peek().filter(|Reverse((end_ns, _))| *end_ns <= from_ns);
        let uuid = if let Some(Reverse((_, uuid))) = free.copied() {
            group.tracks.pop();
            uuid
        } else {
            group.count += 1;
            let uuid = group.uuid << 32 | group.count;
            let track = Message::default().number(UUID, uuid).number(PARENT, group.uuid).text(TRACK_NAME, group.name);
            self.packet(Message::default().message(TRACK_DESCRIPTOR, &track));
            uuid
        };
        group.tracks.push(Reverse((to_ns, uuid)));
        uuid
    }

    fn event(&mut self, at_ns: u64, event: &Message) {
        self.packet(Message::default().number(TIMESTAMP, at_ns).message(TRACK_EVENT, event));
    }

    /// Slices one after the other within another one.
    fn spans<'a>(&mut self, track: u64, spans: impl Iterator<Item = &'a Span>) {
        for span in spans {
            self.event(span.from_ns, &begin(track, &wait_name(span.cause, span.because)));
            self.event(span.to_ns, &end(track));
        }
    }
}

fn begin(track: u64, name: &str) -> Message {
    Message::default().number(TYPE, SLICE_BEGIN).number(TRACK, track).text(NAME, name)
}

fn end(track: u64) -> Message {
    Message::default().number(TYPE, SLICE_END).number(TRACK, track)
}

fn annotated(event: Message, name: &str, text: &str) -> Message {
    event.message(ANNOTATION, &Message::default().text(ANNOTATION_NAME, name).text(TEXT, text))
}

/// The trace of a run, in Perfetto's own format.
#[must_use]
pub fn perfetto(attribution: &Attribution) -> Vec<u8> {
    let mut writer = Writer { trace: Message::default() };
    write_tasks(&mut writer, attribution);
    write_hops(&mut writer, attribution);
    writer.trace.into_bytes()
}

fn write_tasks(writer: &mut Writer, attribution: &Attribution) {
    let mut group = writer.group(TASKS, "tasks", "task");
    for task in tasks_in_time(attribution) {
        let (from_ns, to_ns) = stretch_ns(task);
        let track = writer.track(&mut group, from_ns, to_ns);
        let slice = annotated(begin(track, &task.record.id()), "end", task.record.end.word());
        writer.event(from_ns, &annotated(slice, "tries", &task.record.attempts.to_string()));
        let mut at_ns = from_ns;
        for part in &task.parts {
            let span_ns = u64::from(part.us) * NS_PER_US;
            let name = wait_name(part.cause, part.because);
            let slice = annotated(begin(track, &name), "at", &attribution.pods[usize::from(part.at)].to_string());
            writer.event(at_ns, &slice);
            at_ns += span_ns;
            writer.event(at_ns, &end(track));
        }
        writer.event(to_ns, &end(track));
    }
}

fn write_hops(writer: &mut Writer, attribution: &Attribution) {
    let hops = &attribution.journeys.hops;
    let mut after: FxHashMap<u64, Vec<u64>> = FxHashMap::default();
    for hop in hops {
        hop.before.into_iter().for_each(|before| after.entry(before).or_default().push(hop.number));
    }
    let mut of_host: Vec<Vec<&Hop>> = vec![Vec::new(); attribution.pods.len()];
    hops.iter().for_each(|hop| of_host[usize::from(hop.from.0)].push(hop));
    for ((host, name), mut hops) in (0..).zip(attribution.host_names()).zip(of_host) {
        if hops.is_empty() {
            continue;
        }
        hops.sort_by_key(|hop| (hop.came_ns(), hop.number));
        let mut group = writer.group(host, &name, "messages");
        for hop in hops {
            let (from_ns, to_ns) = (hop.came_ns(), hop.taken_ns.unwrap_or(hop.written_ns));
            let track = writer.track(&mut group, from_ns, to_ns);
            let mut slice = annotated(begin(track, &hop_name(attribution, hop)), "task", &task_id(hop.task));
            if let Some((request, label)) = hop.request.zip(hop.label) {
                slice = annotated(slice, "request", &request.to_string());
                slice = annotated(slice, "label", &label.to_string());
            }
            let ahead = after.get(&hop.number).into_iter().flatten();
            slice = ahead.fold(slice, |slice, next| slice.fixed64(FLOW, *next));
            if hop.before.is_some() {
                slice = slice.fixed64(TERMINATING_FLOW, hop.number);
            }
            writer.event(from_ns, &slice);
            writer.spans(track, hop.stay.iter().chain(&hop.way));
            writer.event(to_ns, &end(track));
        }
    }
}
