//! Watches what services and labels do as it happens: which rare paths a run takes, and rules that can be seen to be
//! broken only at that moment.

use super::{Entries, Recorder, RequestEntry, Take, TaskEntry};
use crate::{
    measure::{
        oracle::{Oracle, Violation},
        outcome::TaskEnd,
        sometimes::{Reached, Sometimes},
    },
    spec::{Fault, FaultKind, Part, Pod, Spec},
    workload::{Workload, task_id},
};
use backbone::{
    config::RouterKind,
    message::{Mac, RequestId, Status},
    telemetry::{DropReason, Event, FailReason},
};
use rustc_hash::FxHashMap;
use sim::fleet::Execution;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// A worker begins a task before its dispatcher has the confirm, as a rule by milliseconds.
const CONFIRM_US: u64 = 1_000_000;
/// Deadlines are whole milliseconds.
const TICK_US: u64 = 1_000;
/// Requests that have timed out and are remembered, so that a router that takes one up is noticed.
const TIMED_OUT_MAX: usize = 4_096;
/// Most connections that a pod may lose, or fail to make, to one broker in a second: it pauses for at least 50 ms
/// after each (`backbone`'s backoff), and has a connection to each of at most a few Redis servers.
const LOSSES_A_SECOND_MAX: u32 = 100;
/// Commands that a gateway may have before it: what it reads ahead.
const READ_AHEAD: u64 = 100;
/// How long a gateway waits for the broker to take a reply, at most, and then for its next one, in microseconds.
const PUBACK_US: u64 = 20_000_000;

/// What the watched rules rest on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    attempts_max: u32,
    /// No command is sent after a newer one for its label.
    newest_wins: bool,
    /// Workers and routers have the same clock.
    one_time: bool,
    reply_timeout_us: u64,
    /// How long after its deadline a command may reach its label: the MQTT broker counts whole seconds, and what a
    /// gateway has it works off.
    held_us: u64,
    /// Whether there may be two copies of a task: its dispatcher published it again, or its worker was lost when it had
    /// put it elsewhere. They may end differently; who gets results takes the first.
    pub(super) has_copies: bool,
}

impl Rules {
    pub(super) fn of(spec: &Spec) -> Self {
        let (fleet, backbone) = (&spec.fleet, &spec.backbone);
        let effort_us = u64::from(fleet.ble_service_ms.median + fleet.ble_service_ms.spread) * 1_000
            + 10 * u64::from(fleet.handling.median_us);
        let broken_us = spec.faults.iter().map(|fault| lasts_us(spec, fault)).sum::<u64>();
        let late_us = spec.faults.iter().filter(|fault| fault.kind == FaultKind::ReplyLate);
        let late_us = late_us.filter_map(|fault| fault.strength).map(i64::unsigned_abs).sum::<u64>() * 1_000;
        let mut hit =
            spec.faults.iter().flat_map(|fault| [Some(fault.target), fault.from]).flatten().map(Part::example);
        Self {
            attempts_max: backbone.task_worker.attempts_max,
            newest_wins: backbone.routing.newest_wins && !spec.faults.iter().any(forgets),
            one_time: !spec.faults.iter().any(sets_clocks),
            reply_timeout_us: backbone.task_worker.reply_timeout_ms * 1_000,
            has_copies: hit.any(copies),
            held_us: 1_000_000 + READ_AHEAD * (effort_us + late_us) + PUBACK_US + broken_us,
        }
    }
}

/// How long a fault keeps something from going on, in all, in microseconds.
fn lasts_us(spec: &Spec, fault: &Fault) -> u64 {
    let times = match fault.kind {
        FaultKind::RollingRestart => 2 * fault.target.pods(spec).len() as u64,
        FaultKind::Rollout => fault.target.pods(spec).len() as u64,
        _ => 1,
    };
    match fault.for_ms {
        Some(for_ms) => times * for_ms * 1_000,
        None if fault.kind.is_instant() => 0,
        None => u64::MAX >> 16, // longer than any run
    }
}

/// Whether it may make a Redis server forget what it knew.
fn forgets(fault: &Fault) -> bool {
    let is_of_redis = matches!(fault.target.example(), Pod::Redis | Pod::RedisShard(_));
    let forgets = matches!(
        fault.kind,
        FaultKind::Crash | FaultKind::PowerOff | FaultKind::Restart | FaultKind::Failover | FaultKind::Evict
    );
    is_of_redis && forgets
}

/// Whether it makes clocks of services differ.
fn sets_clocks(fault: &Fault) -> bool {
    let is_of_a_service = matches!(fault.target.example(), Pod::TaskWorker(_) | Pod::Router(..));
    is_of_a_service && matches!(fault.kind, FaultKind::ClockStep | FaultKind::ClockDrift)
}

/// Whether a fault of this part may cut off who has a task in hand from RabbitMQ.
fn copies(pod: Pod) -> bool {
    matches!(pod, Pod::Amqp | Pod::TaskWorker(_) | Pod::Dispatcher)
}

/// What is known beside the tasks and the requests.
#[derive(Debug, Default)]
pub(super) struct Watch {
    reached: Reached,
    /// Who began which task last and has not ended it.
    in_work: BTreeMap<usize, Pod>,
    pods: BTreeMap<Pod, PodState>,
    /// For each label: the newest version that was sent to a gateway, and to which gateway the last one was.
    sent: FxHashMap<Mac, (u64, Mac)>,
    /// What each label shows.
    shown: FxHashMap<Mac, u64>,
    timed_out: FxHashMap<RequestId, u64>,
    /// The keys of `timed_out`, in their order.
    timed_out_order: VecDeque<RequestId>,
}

#[derive(Debug, Default)]
struct PodState {
    /// It has handed messages over to other routers, and has returned none since.
    aside: bool,
    /// Brokers that it has lost.
    down: BTreeSet<&'static str>,
    /// The present second, and how often it lost connections in it, by broker.
    second: u64,
    losses: BTreeMap<&'static str, u32>,
}

impl Watch {
    pub(super) fn take_reached(&mut self) -> Reached {
        std::mem::take(&mut self.reached)
    }

    /// Takes note that a call has ended without a reply in time.
    fn timed_out(&mut self, request: RequestId, now_us: u64) {
        if self.timed_out_order.len() == TIMED_OUT_MAX
            && let Some(oldest) = self.timed_out_order.pop_front()
        {
            self.timed_out.remove(&oldest);
        }
        self.timed_out_order.push_back(request);
        self.timed_out.insert(request, now_us);
    }

    fn lost(&mut self, pod: Pod, broker: &'static str, now_us: u64) -> Option<Violation> {
        let state = self.pods.entry(pod).or_default();
        state.down.insert(broker);
        if std::mem::replace(&mut state.second, now_us / 1_000_000) != now_us / 1_000_000 {
            state.losses.clear();
        }
        let losses = state.losses.entry(broker).or_default();
        *losses += 1;
        // An HTTP router that is away is noticed by each call.
        let is_storm = *losses == LOSSES_A_SECOND_MAX + 1 && broker != "router";
        is_storm.then(|| {
            let text = format!("{pod} lost {broker} more than {LOSSES_A_SECOND_MAX} times within a second");
            Oracle::EventStorm.broken(text)
        })
    }

    fn is_back(&mut self, pod: Pod, broker: &'static str) {
        if self.pods.entry(pod).or_default().down.remove(broker) {
            match broker {
                "amqp" => self.reached.note(Sometimes::AmqpBack),
                "mqtt" => self.reached.note(Sometimes::MqttBack),
                "redis" => self.reached.note(Sometimes::RedisBack),
                _ => {}
            }
        }
    }

    fn dropped(&mut self, pod: Pod, reason: DropReason) {
        let path = match reason {
            DropReason::Malformed => Sometimes::Malformed,
            DropReason::Expired if matches!(pod, Pod::Router(RouterKind::Backward, _)) => Sometimes::ReplyExpired,
            DropReason::Expired => Sometimes::RequestExpired,
            DropReason::ReplyNotAwaited => Sometimes::ReplyLate,
            DropReason::ReplyMisrouted => Sometimes::ReplyMisrouted,
            DropReason::ReplyMisdelivered => Sometimes::ReplyMisdelivered,
            DropReason::ReplyOfOther => return, // not rare: each router gets the replies to all
            DropReason::CallerUnknown => Sometimes::CorrelationExpired,
            DropReason::CallerGone => Sometimes::CallerGone,
            DropReason::HandedBack => match pod {
                Pod::Router(RouterKind::Backward, _) => {
                    self.pods.entry(pod).or_default().aside = true;
                    Sometimes::SteppedAside
                }
                Pod::Router(..) => Sometimes::RequestHandedBack,
                _ => Sometimes::TaskHandedBack,
            },
            DropReason::Lost => Sometimes::RequestLost,
        };
        self.reached.note(path);
    }
}

fn retried(reason: FailReason) -> Sometimes {
    match reason {
        FailReason::Timeout => Sometimes::RetriedTimeout,
        FailReason::Refused(Status::NoRoute) => Sometimes::RetriedNoRoute,
        FailReason::Refused(Status::GatewayOffline) => Sometimes::RetriedOffline,
        FailReason::Refused(Status::BrokerUnavailable | Status::BrokerRefused) => Sometimes::RetriedRouterRefused,
        FailReason::Refused(_) | FailReason::Handler | FailReason::Malformed => Sometimes::RetriedFailed,
        FailReason::BrokerUnavailable => Sometimes::RetriedUnavailable,
        FailReason::Overloaded => Sometimes::RetriedOverloaded,
        FailReason::Interrupted | FailReason::Expired => Sometimes::Interrupted,
    }
}

fn given_up(reason: FailReason) -> Sometimes {
    match retried(reason) {
        Sometimes::RetriedTimeout => Sometimes::DeadTimeout,
        Sometimes::RetriedNoRoute => Sometimes::DeadNoRoute,
        Sometimes::RetriedOffline => Sometimes::DeadOffline,
        Sometimes::RetriedRouterRefused => Sometimes::DeadRouterRefused,
        Sometimes::RetriedUnavailable => Sometimes::DeadUnavailable,
        Sometimes::RetriedOverloaded => Sometimes::DeadOverloaded,
        Sometimes::Interrupted => Sometimes::DeadInterrupted,
        _ => Sometimes::DeadFailed,
    }
}

impl Entries {
    /// Takes note of `path`.
    pub(crate) fn reach(&mut self, path: Sometimes) {
        self.watch.reached.note(path);
    }

    /// Looks at an event before it is recorded.
    pub(super) fn watch(&mut self, rules: &Rules, pod: Pod, now_us: u64, event: &Event<'_>) {
        match *event {
            Event::TaskDispatched { .. }
            | Event::TaskStarted { .. }
            | Event::TaskDone { .. }
            | Event::TaskRetried { .. }
            | Event::TaskDeadLettered { .. } => self.watch_task(rules, pod, now_us, event),
            Event::RequestSent { .. } => {}
            Event::RequestTaken { request } => self.watch_taken(rules, pod, request, now_us),
            Event::RequestForwarded { request, gateway } => self.watch_forwarded(rules, pod, request, gateway),
            Event::ReplyReturned { request } => {
                if self.requests.get(&request).is_some_and(|entry| entry.returned) {
                    self.reach(Sometimes::ReturnedAgain);
                }
                if self.watch.pods.get_mut(&pod).is_some_and(|state| std::mem::take(&mut state.aside)) {
                    self.reach(Sometimes::CameBack);
                }
            }
            Event::ReplyReceived { status, .. } => {
                if status == Status::Superseded {
                    self.reach(Sometimes::Superseded);
                }
            }
            Event::RequestTimedOut { request } => {
                self.reach(Sometimes::CallTimedOut);
                self.watch.timed_out(request, now_us);
            }
            Event::RequestFailed { .. } => self.reach(Sometimes::CallFailed),
            Event::Dropped { reason, .. } => self.watch.dropped(pod, reason),
            Event::LeftOut { .. } => self.reach(Sometimes::LeftOut),
            Event::ClockOff { .. } => self.reach(Sometimes::ClockOff),
            Event::CorruptValue { .. } => self.reach(Sometimes::CorruptValue),
            Event::Refused { .. } => self.reach(Sometimes::BrokerRefused),
            Event::QueueMissing { .. } => self.reach(Sometimes::QueueMissing),
            Event::Disconnected { broker, .. } => {
                if let Some(storm) = self.watch.lost(pod, broker, now_us) {
                    self.violate(storm);
                }
            }
            Event::Connected { broker } => self.watch.is_back(pod, broker),
            Event::RoutesStored { .. } | Event::SpansDropped { .. } => {}
        }
    }

    fn watch_task(&mut self, rules: &Rules, pod: Pod, now_us: u64, event: &Event<'_>) {
        match *event {
            Event::TaskDispatched { task } => {
                let entry = self.tasks[Recorder::index_of(task)];
                if entry.dispatched_us.is_some() {
                    self.reach(Sometimes::DispatchedAgain);
                }
                if entry.started_us.is_some_and(|started| started.get() + CONFIRM_US < now_us) {
                    self.reach(Sometimes::ConfirmedLate);
                }
            }
            Event::TaskStarted { task, attempt } => {
                let index = Recorder::index_of(task);
                if self.tasks[index].end.is_some() {
                    self.reach(Sometimes::StartedAfterEnd);
                }
                match self.watch.in_work.insert(index, pod) {
                    Some(other) if other == pod => self.reach(Sometimes::BegunAnew),
                    Some(_) => self.reach(Sometimes::TakenOver),
                    None => {}
                }
                self.check_attempt(rules, index, attempt);
            }
            Event::TaskDone { task, attempt, .. } => {
                let index = self.ended_by(pod, Recorder::index_of(task));
                if attempt > 1 {
                    self.reach(Sometimes::DoneAfterRetry);
                }
                match self.tasks[index].end.map(|end| end.how) {
                    Some(TaskEnd::Done) => self.reach(Sometimes::DoneAgain),
                    Some(_) => self.reach(Sometimes::DoneAfterGivenUp),
                    None => {}
                }
            }
            Event::TaskRetried { task, reason, .. } => {
                self.ended_by(pod, Recorder::index_of(task));
                self.reach(retried(reason));
            }
            Event::TaskDeadLettered { task: Some(task), reason, .. } => {
                let index = self.ended_by(pod, Recorder::index_of(task));
                self.reach(given_up(reason));
                if self.tasks[index].end.is_some_and(|end| end.how == TaskEnd::Done) {
                    self.reach(Sometimes::GivenUpAfterDone);
                }
            }
            _ => {}
        }
    }

    fn ended_by(&mut self, pod: Pod, index: usize) -> usize {
        if self.watch.in_work.get(&index) == Some(&pod) {
            self.watch.in_work.remove(&index);
        }
        index
    }

    fn check_attempt(&mut self, rules: &Rules, index: usize, attempt: u32) {
        if attempt > rules.attempts_max {
            let (task, max) = (task_id(index as u32), rules.attempts_max);
            self.violate(Oracle::TriedTooOften.broken(format!("{task} is on its try {attempt}, of {max}")));
        }
    }

    fn watch_taken(&mut self, rules: &Rules, by: Pod, request: RequestId, now_us: u64) {
        let timed_out_us = self.watch.timed_out.get(&request).copied();
        let newest = |entry: &RequestEntry| self.watch.sent.get(&entry.esl).map_or(0, |(newest, _)| *newest);
        let (mut deadline_us, mut again) = (timed_out_us, false);
        if let Some(entry) = self.requests.get(&request) {
            let outranked = newest(entry) > Workload::version_of(entry.task);
            deadline_us = Some(entry.sent_us + rules.reply_timeout_us);
            again = entry.taken_us.is_some();
            self.requests.get_mut(&request).expect("it was there a line above").takes.push(Take { by, outranked });
        }
        if again {
            self.reach(Sometimes::TakenAgain);
        }
        if let Some(deadline_us) = deadline_us.filter(|deadline_us| rules.one_time && deadline_us + TICK_US < now_us) {
            let late_us = now_us - deadline_us;
            let text = format!("request {request} was taken up {late_us} us after its deadline");
            self.violate(Oracle::TakenLate.broken(text));
        }
    }

    fn watch_forwarded(&mut self, rules: &Rules, by: Pod, request: RequestId, gateway: Mac) {
        let Some(entry) = self.requests.get_mut(&request) else { return };
        let (esl, version, outranked) = (entry.esl, Workload::version_of(entry.task), entry.was_outranked(by));
        if std::mem::replace(&mut entry.forwarded, true) {
            self.reach(Sometimes::ForwardedAgain);
        }
        let (newest, last) = self.watch.sent.get(&esl).copied().unwrap_or((0, gateway));
        if last != gateway {
            self.reach(Sometimes::GatewayChanged);
        }
        self.watch.sent.insert(esl, (newest.max(version), gateway));
        if outranked && rules.newest_wins {
            let text = format!("version {version} was sent to label {esl} after version {newest} had been");
            self.violate(Oracle::OutrankedSent.broken(text));
        }
    }
}

impl RequestEntry {
    /// Whether a newer command had been sent when this router first took it. What it took before that may be under way
    /// for long, and be sent when it or another router has it again.
    fn was_outranked(&self, by: Pod) -> bool {
        self.takes.iter().find(|take| take.by == by).is_some_and(|first| first.outranked)
    }
}

impl Recorder {
    /// Watches the labels from now on. `time_us` counts from the start of the world.
    pub(crate) fn watch_labels(&self, time_us: impl Fn() -> u64 + Send + Sync + 'static) {
        let recorder = Arc::downgrade(&self.0); // which has the labels
        self.0.labels.watch(move |label, version, execution| {
            if let Some(recorder) = recorder.upgrade() {
                Self(recorder).executed(time_us(), label, version, execution);
            }
        });
    }

    /// A label was given a command.
    fn executed(&self, now_us: u64, label: Mac, version: u64, execution: Execution) {
        let mut entries = self.entries();
        match execution {
            Execution::Superseded => return entries.reach(Sometimes::LabelKeptNewer),
            Execution::Repeated => return entries.reach(Sometimes::Repeated),
            Execution::Shown => {}
        }
        let before = entries.watch.shown.insert(label, version);
        if before.is_some_and(|before| before > version) {
            let text = format!("label {label} shows version {version} after version {}", before.unwrap_or_default());
            entries.violate(Oracle::OlderShown.broken(text));
        }
        let Some(index) = usize::try_from(version).ok().and_then(|version| version.checked_sub(1)) else { return };
        // The thesis' emulators execute for anybody; what was sent is known of our own tasks alone.
        let Some(&TaskEntry { end, last_sent_us: Some(sent_us), .. }) = entries.tasks.get(index) else { return };
        if end.is_some_and(|end| matches!(end.how, TaskEnd::DeadLettered(_))) {
            entries.reach(Sometimes::ExecutedAfterGivenUp);
        }
        let deadline_us = sent_us.get() + self.0.rules.reply_timeout_us;
        if now_us > deadline_us + TICK_US {
            entries.reach(Sometimes::ExecutedAfterDeadline);
        }
        if self.0.rules.one_time && now_us > deadline_us.saturating_add(self.0.rules.held_us) {
            let (task, late_ms) = (task_id(index as u32), (now_us - deadline_us) / 1_000);
            let text = format!("label {label} executed the command of {task} {late_ms} ms after its deadline");
            entries.violate(Oracle::ExecutedLate.broken(text));
        }
    }
}
