//! What becomes of the events of one pod.

use super::{Entries, Recorder, RequestEntry, RouterReports};
use crate::{
    measure::{oracle::Oracle, outcome::TaskEnd},
    spec::Pod,
};
use backbone::{
    message::Status,
    telemetry::{DropReason, Event, Telemetry},
};
use std::num::NonZeroU64;

/// Where one pod reports to.
pub(super) struct PodTelemetry<T> {
    recorder: Recorder,
    time_us: T,
    pod: Pod,
}

impl<T> PodTelemetry<T> {
    pub(super) fn new(recorder: Recorder, time_us: T, pod: Pod) -> Self {
        Self { recorder, time_us, pod }
    }
}

impl<T: Fn(&Event<'_>) -> Option<u64> + Send + Sync + 'static> Telemetry for PodTelemetry<T> {
    fn record(&self, event: &Event<'_>) {
        let Some(now_us) = (self.time_us)(event) else { return };
        let mut entries = self.recorder.entries();
        entries.watch(&self.recorder.0.rules, self.pod, now_us, event);
        match *event {
            Event::TaskDispatched { task } => {
                entries.tasks[Recorder::index_of(task)].dispatched_us = NonZeroU64::new(now_us);
            }
            Event::TaskStarted { task, .. } => {
                let task = &mut entries.tasks[Recorder::index_of(task)];
                if task.end.is_some() {
                    return; // delivered again after its end: no try of those that it took
                }
                task.try_began_us = NonZeroU64::new(now_us);
                task.started_us = task.started_us.or(task.try_began_us);
                task.attempts += 1;
                (task.sent_us, task.replied_us) = (None, None);
            }
            Event::TaskDone { task, latency_us, .. } => {
                let index = Recorder::index_of(task);
                self.recorder.check_labels(&mut entries, index);
                self.recorder.end(&mut entries, now_us, index, latency_us, TaskEnd::Done);
            }
            Event::TaskRetried { task, reason, .. } => entries.count_timeout(Recorder::index_of(task), reason),
            Event::TaskDeadLettered { task, reason, latency_us, .. } => {
                let index = Recorder::index_of(task.expect("no task of a workload is malformed"));
                entries.count_timeout(index, reason);
                self.recorder.end(&mut entries, now_us, index, latency_us, TaskEnd::DeadLettered(reason));
            }
            Event::RequestSent { .. }
            | Event::RequestTaken { .. }
            | Event::ReplyReturned { .. }
            | Event::ReplyReceived { .. }
            | Event::RequestTimedOut { .. }
            | Event::RequestFailed { .. } => self.record_request(&mut entries, now_us, event),
            Event::Dropped { reason, .. } => {
                entries.counters.rpcs_misrouted += u64::from(reason == DropReason::ReplyMisrouted);
                *entries.counters.drops.entry(reason).or_default() += 1;
            }
            Event::Disconnected { .. } => entries.counters.disconnects += 1,
            Event::RequestForwarded { .. }
            | Event::RoutesStored { .. }
            | Event::LeftOut { .. }
            | Event::ClockOff { .. }
            | Event::CorruptValue { .. }
            | Event::Refused { .. }
            | Event::QueueMissing { .. }
            | Event::SpansDropped { .. }
            | Event::Connected { .. } => {}
        }
    }
}

impl<T> PodTelemetry<T> {
    fn record_request(&self, entries: &mut Entries, now_us: u64, event: &Event<'_>) {
        match *event {
            Event::RequestSent { request, esl, task } => {
                entries.counters.rpcs_sent += 1;
                let index = Recorder::index_of(task);
                let task = &mut entries.tasks[index];
                task.last_sent_us = NonZeroU64::new(now_us);
                task.sent_us = task.sent_us.or(task.last_sent_us);
                let returned = self.recorder.0.routers == RouterReports::Elsewhere; // nobody will say
                entries.requests.insert(request, RequestEntry::sent(self.pod, index, esl, now_us, returned));
            }
            Event::RequestTaken { request } => {
                if let Some(entry) = entries.requests.get_mut(&request) {
                    entry.taken_us = Some(now_us);
                }
            }
            Event::ReplyReturned { request } => {
                let Some(entry) = entries.requests.get_mut(&request) else { return };
                entry.returned = true;
                let is_measured = entry.task >= self.recorder.workload().warm_up_tasks();
                if let Some(taken_us) = entry.taken_us.filter(|_| is_measured) {
                    entry.returned_us = Some(now_us);
                    let latency_us = u32::try_from(now_us - taken_us).unwrap_or(u32::MAX);
                    entries.rpc_latencies_us.push(latency_us);
                }
                entries.settle(request);
            }
            Event::ReplyReceived { request, status } => {
                entries.counters.rpcs_replied += 1;
                // A forward router's own answer has no backward router that would report it, too.
                let from_router = matches!(
                    status,
                    Status::NoRoute
                        | Status::GatewayOffline
                        | Status::TooLarge
                        | Status::BrokerRefused
                        | Status::BrokerUnavailable
                );
                match entries.requests.get_mut(&request) {
                    Some(entry) if entry.pod == self.pod => {
                        entries.tasks[entry.task].replied_us = NonZeroU64::new(now_us);
                        if status == Status::Superseded {
                            entries.superseded.insert(entry.task);
                        }
                        entry.received_us = Some(now_us);
                        (entry.received, entry.returned) = (true, entry.returned || from_router);
                    }
                    Some(entry) => {
                        let asker = entry.pod;
                        entries.counters.rpcs_misrouted += 1;
                        let text = format!("{} got the reply to request {request} of {asker}", self.pod);
                        entries.violate(Oracle::ReplyAstray.broken(text));
                    }
                    None => {
                        let text = format!("{} got a reply to request {request}, which nobody sent", self.pod);
                        entries.violate(Oracle::ReplyAstray.broken(text));
                    }
                }
                entries.settle(request);
            }
            Event::RequestTimedOut { request } => {
                entries.counters.rpcs_timed_out += 1;
                entries.requests.remove(&request);
            }
            Event::RequestFailed { request, .. } => drop(entries.requests.remove(&request)),
            _ => unreachable!("called for the events of requests"),
        }
    }
}
