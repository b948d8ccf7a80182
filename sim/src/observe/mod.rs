//! Who waits for what: reports to an [`Observer`] how messages travel, what CPU time is spent, and what gateways do, so
//! that a reader can tell where a task's time went.
//!
//! Nothing of it is part of a run: without an observer nothing is looked at, and with one nothing comes out otherwise.
//! Messages are found in the bytes that applications write (`frames`), and whom they are about is read off them
//! (`names`), so no service says more than it does in production. Each is then followed by its place in its flow
//! (`flow_watch`): through its kernel, past Nagle's algorithm, over the wire, and into its receiver. Who wants to have
//! them gets the segments, too (`wire`).

mod flow_watch;
mod frames;
mod names;
mod wire;

pub use frames::What;
pub use names::Names;
pub use wire::{Fate, Header, Segment};

pub(crate) use flow_watch::Stage;

use crate::{flow::Flow, flows::Flows};
use backbone::message::RequestId;
use flow_watch::FlowWatch;
use frames::Protocol;
use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};
use turmoil_net::TcpSegment;
use wire::Wire;

/// Takes what a simulation reports. Called in the order of virtual time; must not use the simulation.
pub trait Observer: Send {
    /// `host` is `pod` from now on.
    fn lives(&mut self, host: u16, pod: &str);
    /// A process has written a message. Returns whether to follow it.
    fn sent(&mut self, message: &Sent<'_>) -> bool;
    /// The receiver of a message that is followed has read it.
    fn taken(&mut self, number: u64, way: &Way);
    /// A host's CPU has done something.
    fn worked(&mut self, host: u16, work: &Work);
    /// A gateway has come so far with a command.
    fn served(&mut self, request: RequestId, step: Step, now_ns: u64);
    /// Whether segments are wanted, too. Asked once, at the start.
    fn wants_segments(&self) -> bool {
        false
    }
    /// A segment leaves its host; only if they are wanted.
    fn segment(&mut self, _segment: &Segment<'_>) {}
}

/// A message at the moment at which it is written.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Tells messages apart.
    pub number: u64,
    /// Host and port.
    pub from: (u16, u16),
    /// Host and port.
    pub to: (u16, u16),
    /// Virtual time.
    pub now_ns: u64,
    /// The sequence number after its last byte.
    pub end: u32,
    /// What it is.
    pub what: What<'a>,
    /// Whom it is about.
    pub names: Names<'a>,
    /// When the opening of its connection began, if it is in the first that its client writes.
    pub opened_ns: Option<u64>,
}

/// When a message's last byte came where, in virtual time. None is earlier than the one before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// Its process wrote it.
    pub written_ns: u64,
    /// The write had its CPU time.
    pub in_kernel_ns: u64,
    /// Nothing held it back any more, and it left.
    pub left_ns: u64,
    /// The segment left that got through: later only if one was lost.
    pub sent_ns: u64,
    /// Its receiver's kernel had it.
    pub arrived_ns: u64,
    /// Its receiver's process was awake.
    pub readable_ns: u64,
    /// Its receiver's process had read it.
    pub taken_ns: u64,
    /// What it was held back for.
    pub held: Option<Held>,
}

/// The acknowledgement that Nagle's algorithm has waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// When it left.
    pub acknowledged_ns: u64,
    /// It left only when its delayed-ACK timer fired.
    pub was_delayed: bool,
}

/// Something that a host's CPU was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    /// When it was asked.
    pub asked_ns: u64,
    /// When it was done.
    pub done_ns: u64,
    /// CPU time that it took.
    pub cost_ns: u64,
    /// How long it was stopped because the pod had used up its quota.
    pub throttled_ns: u64,
    /// What it was.
    pub kind: WorkKind,
}

/// What a host's CPU may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// What a process does. Reported when it is done.
    Process,
    /// A write's way into the kernel. Reported when it is asked for, since it is known then when it will be done.
    Write,
    /// The begin or the end of a queue in RabbitMQ's metadata store. Reported when it is done.
    Metadata,
}

/// How far a gateway is with a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It has taken it up.
    Begun,
    /// Its processor is done with it; now the radio has it.
    Handled,
    /// The label has answered, or is given up.
    Executed,
}

/// What is known of a flow.
#[derive(Default)]
struct Watched {
    /// `None`: nothing was written yet.
    watch: Option<Box<FlowWatch>>,
    /// When the opening of its connection began; `None`: at the other end, or something was written since.
    opened_ns: Option<u64>,
    /// To Redis: the numbers of commands whose answers are waited for.
    asked: VecDeque<u64>,
}

struct Watch {
    observer: Box<dyn Observer>,
    flows: Flows<Watched>,
    /// Data leave that an acknowledgement has released.
    releases: bool,
    messages: u64,
    /// Messages in the write at hand, and where they end; kept for its capacity.
    found: Vec<(u64, u32)>,
    /// `None`: nobody wants segments.
    wire: Option<Wire>,
}

thread_local! {
    static IS_ON: Cell<bool> = const { Cell::new(false) };
    static NOW_NS: Cell<u64> = const { Cell::new(0) };
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Reports this thread's simulation to `observer`, until [`end`].
pub(crate) fn begin(observer: Option<Box<dyn Observer>>) {
    IS_ON.set(observer.is_some());
    NOW_NS.set(0);
    WATCH.set(observer.map(|observer| Watch {
        wire: observer.wants_segments().then(Wire::default),
        observer,
        flows: Flows::default(),
        releases: false,
        messages: 0,
        found: Vec::new(),
    }));
}

/// Nobody looks on any more.
pub(crate) fn end() {
    begin(None);
}

/// Time has come to this.
pub(crate) fn set_now_ns(now_ns: u64) {
    NOW_NS.set(now_ns);
}

fn with(f: impl FnOnce(&mut Watch, u64)) {
    if IS_ON.get() {
        WATCH.with_borrow_mut(|watch| {
            if let Some(watch) = watch {
                f(watch, NOW_NS.get());
            }
        });
    }
}

impl Watch {
    fn flow(&mut self, flow: Flow) -> Option<&mut FlowWatch> {
        self.flows.get_mut(flow)?.watch.as_deref_mut()
    }

    fn wrote(&mut self, flow: Flow, seq: u32, bytes: &[u8], now_ns: u64) {
        let Self { observer, flows, messages, found, .. } = self;
        let (Watched { watch, opened_ns, asked }, mut back) = flows.both_mut(flow);
        let watch = watch.get_or_insert_with(|| {
            let back = back.as_ref().and_then(|back| Some(back.watch.as_ref()?.framer.protocol()));
            let protocol = back.unwrap_or_else(|| Protocol::of_first(bytes));
            Box::new(FlowWatch::new(protocol, back.is_none(), seq))
        });
        let opened_ns = opened_ns.take();
        watch.framer.feed(bytes, &mut |end, what, names| {
            match what {
                What::Commands(sent) => asked.push_back(sent),
                What::Answers(given) => {
                    let asked = back.as_mut().map(|back| &mut back.asked);
                    if asked.is_none_or(|asked| asked.pop_front_if(|first| *first <= given).is_none()) {
                        return; // of a command in the middle of others
                    }
                }
                _ => {}
            }
            let (number, from, to) = (*messages + 1, flow.source, flow.destination);
            let end = seq.wrapping_add(end as u32);
            if observer.sent(&Sent { number, from, to, now_ns, end, what, names, opened_ns }) {
                *messages = number;
                found.push((number, end));
            }
        });
        for (number, end) in found.drain(..) {
            watch.write(number, end, now_ns);
        }
    }
}

/// A host is a pod.
pub(crate) fn lives(host: u16, pod: &str) {
    with(|watch, _| watch.observer.lives(host, pod));
}

/// A connection begins at this end: what was known of an earlier one between the same ports is void.
pub(crate) fn opened(flow: Flow) {
    with(|watch, now_ns| {
        *watch.flows.get_or_default(flow) = Watched { opened_ns: Some(now_ns), ..Watched::default() };
    });
}

/// An application has written `bytes`, the first of which has this sequence number.
pub(crate) fn wrote(flow: Flow, seq: u32, bytes: &[u8]) {
    with(|watch, now_ns| watch.wrote(flow, seq, bytes, now_ns));
}

/// All up to `end` has passed a stage.
pub(crate) fn passed(flow: Flow, stage: Stage, end: u32) {
    with(|watch, now_ns| watch.flow(flow).into_iter().for_each(|flow| flow.pass(stage, end, now_ns)));
}

/// A segment leaves its host.
pub(crate) fn left(flow: Flow, segment: &TcpSegment, fate: Fate) {
    with(|watch, now_ns| {
        let Some(wire) = &mut watch.wire else { return };
        watch.observer.segment(&wire.leave(now_ns, flow, segment, fate));
    });
}

/// A segment is in its receiver's kernel.
pub(crate) fn arrived(flow: Flow, segment: &TcpSegment) {
    with(|watch, now_ns| {
        let end = segment.seq.wrapping_add(segment.payload.len() as u32);
        watch.flow(flow).into_iter().for_each(|flow| flow.pass(Stage::Arrived, end, now_ns));
        watch.wire.iter_mut().for_each(|wire| wire.arrive(flow, segment));
    });
}

/// A segment that was lost is sent again, and gets through.
pub(crate) fn sent_again(flow: Flow, segment: &TcpSegment) {
    let end = segment.seq.wrapping_add(segment.payload.len() as u32);
    with(|watch, now_ns| watch.flow(flow).into_iter().for_each(|flow| flow.send_again(segment.seq, end, now_ns)));
    left(flow, segment, Fate::SentAgain);
}

/// The application at `flow`'s end has taken so much of it.
pub(crate) fn took(flow: Flow, len_bytes: usize) {
    with(|watch, now_ns| {
        let Watch { observer, flows, .. } = watch;
        if let Some(flow) = flows.get_mut(flow).and_then(|flow| flow.watch.as_mut()) {
            flow.take(len_bytes, now_ns, |number, way| observer.taken(number, &way));
        }
    });
}

/// A segment leaves that acknowledges all before `ack`.
pub(crate) fn acknowledged(flow: Flow, ack: u32, was_delayed: bool) {
    let held = |now_ns| Held { acknowledged_ns: now_ns, was_delayed };
    with(|watch, now_ns| watch.flow(flow).into_iter().for_each(|flow| flow.acknowledge(ack, held(now_ns))));
}

/// An acknowledgement along `flow` has arrived; what leaves the other way before [`released`] waited for it.
pub(crate) fn releases(flow: Flow, ack: u32) {
    with(|watch, _| {
        let by = watch.flow(flow).and_then(|flow| flow.acknowledged(ack));
        watch.releases = by.is_some();
        if watch.releases {
            watch.flow(flow.reversed()).into_iter().for_each(|back| back.release(by));
        }
    });
}

/// Ends [`releases`].
pub(crate) fn released(flow: Flow) {
    with(|watch, _| {
        if std::mem::take(&mut watch.releases) {
            watch.flow(flow.reversed()).into_iter().for_each(|back| back.release(None));
        }
    });
}

/// A host's CPU has done something.
pub(crate) fn worked(host: u16, work: &Work) {
    with(|watch, _| watch.observer.worked(host, work));
}

/// A change of RabbitMQ's metadata is made, which was asked for at `asked_ns`.
pub(crate) fn changed_metadata(host: u16, asked_ns: u64) {
    with(|watch, done_ns| {
        let work = Work { asked_ns, done_ns, cost_ns: done_ns - asked_ns, throttled_ns: 0, kind: WorkKind::Metadata };
        watch.observer.worked(host, &work);
    });
}

/// A gateway has come so far with a command.
pub(crate) fn served(request: RequestId, step: Step) {
    with(|watch, now_ns| watch.observer.served(request, step, now_ns));
}

/// Virtual time; 0 if nobody looks on.
pub(crate) fn now_ns() -> u64 {
    NOW_NS.get()
}
