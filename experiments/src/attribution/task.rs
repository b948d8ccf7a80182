//! Tasks on their way: their tries, what each waited for, and the path from the producer to the end.

use super::{
    call::LastCall,
    cause::Cause,
    host::About,
    journeys::Call,
    leg::Journey,
    span::{Part, Span, Trail, parts},
    state::{Request, State},
};
use crate::spec::Pod;
use backbone::message::{Mac, RequestId};
use sim::observe::Sent;

/// Spans of a request's path, or of a task's, on the shortest way, and some more.
const PATH: usize = 64;

/// A request that has ended.
#[derive(Debug)]
struct Done {
    id: RequestId,
    sent_ns: u64,
    ended_ns: u64,
    /// From what came before it in its try, to its being sent.
    lead: Vec<Span>,
    /// From there to its end.
    spans: Vec<Span>,
}

/// The try that a task is in.
#[derive(Debug)]
struct Try {
    started_ns: u64,
    requests: Vec<RequestId>,
    done: Vec<Done>,
}

/// The path of a task that has ended, and its requests, if they are kept.
pub(super) type Told = (Box<[Part]>, Vec<(RequestId, LastCall)>);

/// One task.
#[derive(Debug, Default)]
pub(super) struct Task {
    /// When the dispatcher took it from the producer.
    offered_ns: Option<u64>,
    pub(super) journey: Journey,
    present: Option<Box<Try>>,
    /// From its being offered to its end.
    path: Option<Box<[Part]>>,
    /// The requests of its last try, if they are kept.
    calls: Vec<(RequestId, LastCall)>,
}

impl Task {
    /// What there is to say of it, once it has ended.
    pub(super) fn into_path(self) -> Option<Told> {
        Some((self.path?, self.calls))
    }
}

impl State {
    pub(super) fn offered(&mut self, task: usize, now_ns: u64) {
        let offered_ns = &mut self.tasks[task].offered_ns;
        *offered_ns = offered_ns.or(Some(now_ns));
    }

    /// A worker begins with a task.
    pub(super) fn started(&mut self, index: usize, now_ns: u64) {
        let task = &mut self.tasks[index];
        if task.path.is_some() {
            return; // delivered again after its end
        }
        let present = Try { started_ns: now_ns, requests: Vec::new(), done: Vec::new() };
        let before = task.present.replace(Box::new(present));
        let forgotten = before.map(|before| before.requests).unwrap_or_default();
        forgotten.into_iter().for_each(|id| drop(self.forget(id)));
    }

    /// Nothing more is to be heard of a request.
    fn forget(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        if let Some(ids) = self.by_label.get_mut(&request.label) {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.by_label.remove(&request.label);
            }
        }
        Some(request)
    }

    /// A worker sends a request.
    pub(super) fn requested(&mut self, worker: u16, task: usize, (id, label): (RequestId, Mac), now_ns: u64) {
        let Some(present) = &mut self.tasks[task].present else { return };
        present.requests.push(id);
        // From the last thing that the try has come to.
        let ends_ns = present.done.iter().map(|done| done.ended_ns).filter(|ended_ns| *ended_ns <= now_ns);
        let floor_ns = ends_ns.max().unwrap_or(present.started_ns);
        let mut trail = Trail::back_from(now_ns);
        self.host(worker).back_over_process(&mut trail, floor_ns, About::default(), Cause::Pause, &self.hosts);
        let lead = trail.into_spans();
        let (journey, steps_ns) = (Journey::of_request(), [0; 3]);
        self.requests.insert(id, Request { task, worker, label, sent_ns: now_ns, lead, journey, steps_ns });
        self.by_label.entry(label).or_default().push(id);
    }

    /// Goes back over what a process did and waited for since `floor_ns`.
    fn back_over_process(&self, trail: &mut Trail, host: u16, floor_ns: u64, about: About) {
        self.host(host).back_over_process(trail, floor_ns, about, Cause::Pause, &self.hosts);
        trail.cut(floor_ns); // where a connection's opening began before it
    }

    /// A worker has a request's reply.
    pub(super) fn replied(&mut self, id: RequestId, now_ns: u64) {
        let Some(request) = self.forget(id) else { return };
        let Request { worker, label, sent_ns, ref journey, .. } = request;
        let place = (worker, worker);
        let mut trail = Trail::back_from_in(now_ns, Vec::with_capacity(PATH));
        if let Some(last) = journey.last_to(worker, now_ns) {
            let taken_ns = journey.legs[last].taken_ns.expect("it has arrived");
            let about = About { request: Some(id), label: Some(label) };
            self.host(worker).back_over_process(&mut trail, taken_ns, about, Cause::Pause, &self.hosts);
            journey.go_back(&mut trail, last, sent_ns);
        }
        trail.back_to(sent_ns, Cause::Unexplained, place);
        self.end_request((id, true), request, now_ns, trail.into_spans());
    }

    /// A worker gives a request up.
    pub(super) fn unanswered(&mut self, id: RequestId, now_ns: u64) {
        let Some(request) = self.forget(id) else { return };
        let mut trail = Trail::back_from(now_ns);
        // It got lost where it was going when it was last heard of.
        let lost_at = request.journey.legs.last().map_or(request.worker, |leg| leg.to.0);
        trail.back_to(request.sent_ns, Cause::NoReply, (request.worker, lost_at));
        self.end_request((id, false), request, now_ns, trail.into_spans());
    }

    fn end_request(&mut self, (id, is_answered): (RequestId, bool), request: Request, ended_ns: u64, spans: Vec<Span>) {
        let Request { task, worker, label, sent_ns, lead, .. } = request;
        if let Some(journeys) = &mut self.journeys {
            let task = u32::try_from(task).expect("a task's index is a u32");
            journeys.ended(Call { request: id, label, task, worker, sent_ns, ended_ns, is_answered });
        }
        if let Some(present) = &mut self.tasks[task].present {
            present.done.push(Done { id, sent_ns, ended_ns, lead, spans });
        }
    }

    /// What passed before a message about a task left a pod.
    pub(super) fn inside_of_task(
        &self,
        mut trail: Trail,
        index: usize,
        sent: &Sent<'_>,
        before: Option<usize>,
    ) -> Vec<Span> {
        let task = &self.tasks[index];
        let taken_ns = before.and_then(|leg| task.journey.legs[leg].taken_ns);
        let floor_ns = taken_ns.or(task.offered_ns).unwrap_or(sent.now_ns);
        match self.host(sent.from.0).pod {
            Pod::TaskWorker(_) => {
                self.back_over_try(&mut trail, index, sent.from.0, floor_ns);
                trail.into_spans()
            }
            _ => self.inside(trail, sent, &task.journey, before, (About::default(), floor_ns)),
        }
    }

    /// What a worker did with a task since it had it. Of requests that were under way together, the one that ended last
    /// decides.
    fn back_over_try(&self, trail: &mut Trail, index: usize, worker: u16, floor_ns: u64) {
        let present = self.tasks[index].present.as_ref().filter(|present| present.started_ns >= floor_ns);
        let done = present.map_or(&[][..], |present| &present.done);
        loop {
            let takes_time = |done: &&Done| done.sent_ns < done.ended_ns && done.sent_ns >= floor_ns;
            let is_before = |done: &&Done| done.ended_ns <= trail.now_ns() && takes_time(done);
            let last = done.iter().filter(is_before).max_by_key(|done| (done.ended_ns, done.sent_ns));
            let to_ns = last.map_or(floor_ns, |last| last.ended_ns);
            self.back_over_process(trail, worker, to_ns, About::default());
            let Some(last) = last else { break };
            trail.back_over(&last.spans, last.sent_ns);
            trail.back_over(&last.lead, floor_ns);
        }
    }

    /// A task has ended, at a worker or, if its producer learns of it, there.
    pub(super) fn ended(&mut self, index: usize, host: u16, now_ns: u64) {
        let task = &self.tasks[index];
        let (None, Some(offered_ns)) = (&task.path, task.offered_ns) else { return };
        let mut trail = Trail::back_from_in(now_ns, Vec::with_capacity(PATH));
        if let Some(last) = task.journey.last_to(host, now_ns) {
            let taken_ns = task.journey.legs[last].taken_ns.expect("it has arrived");
            match self.host(host).pod {
                Pod::TaskWorker(_) => self.back_over_try(&mut trail, index, host, taken_ns),
                _ => self.back_over_process(&mut trail, host, taken_ns, About::default()),
            }
            task.journey.go_back(&mut trail, last, offered_ns);
        }
        trail.back_to(offered_ns, Cause::Unexplained, (host, host));
        let path = parts(&self.faults.mark(&trail.into_spans(), &self.hosts));
        let task = &mut self.tasks[index];
        let present = task.present.take();
        if self.keeps_calls {
            let call = |done: &Done| {
                let [lead, spans] = [&done.lead, &done.spans].map(|spans| self.faults.mark(spans, &self.hosts));
                (done.id, LastCall::of((done.sent_ns, done.ended_ns), &lead, &spans))
            };
            task.calls = present.iter().flat_map(|present| &present.done).map(call).collect();
        }
        let requests = present.map(|present| present.requests).unwrap_or_default();
        task.journey = Journey::default();
        task.path = Some(path.into());
        requests.into_iter().for_each(|id| drop(self.forget(id)));
    }
}
