//! What is known while a run goes on: messages that are under way, requests and tasks without an end.

use super::{
    call::Visit,
    cause::Cause,
    fault::Faults,
    gateway_log::GatewayLog,
    host::{About, Host, Trip, back_over_way},
    journeys::{Journeys, Stall, Subject, name_of},
    leg::{Journey, Leg},
    span::{Span, Trail},
    task::Task,
};
use crate::{capture::Capture, spec::Pod, workload::Workload};
use backbone::message::{Mac, RequestId, retry_queue};
use rustc_hash::FxHashMap;
use sim::observe::{Sent, Step, Way, What};
use std::{collections::VecDeque, time::Duration};

/// Messages that are followed at a time. Those of connections that broke never arrive: with so many, the elder ones are
/// forgotten.
const OPEN_MAX: usize = 1 << 18;
/// Questions to Redis of one connection whose answers are waited for.
const ASKED_MAX: usize = 4_096;

/// An end of a connection: host and port.
type End = (u16, u16);

/// What a message under way is to us.
#[derive(Debug)]
enum Open {
    /// A leg of a task's journey.
    OfTask(usize),
    /// A leg of a request's journey.
    OfRequest(RequestId),
    /// A question on this channel.
    Ask(u16),
    /// Commands of Redis, with how many have been sent.
    Commands(u64),
    /// The answer to this question.
    Answer(Box<Asked>),
}

#[derive(Debug)]
struct UnderWay {
    open: Open,
    from: End,
    to: End,
    about: About,
    opened_ns: Option<u64>,
    begins_consumer: bool,
    is_publish: bool,
    /// Sequence number after its last byte.
    end: u32,
    name: &'static str,
}

/// A question that a broker has.
#[derive(Clone, Copy, Debug)]
struct Asked {
    way: Way,
    about: About,
    opened_ns: Option<u64>,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) task: usize,
    pub(super) worker: u16,
    pub(super) label: Mac,
    pub(super) sent_ns: u64,
    /// From what came before it in its try.
    pub(super) lead: Vec<Span>,
    pub(super) journey: Journey,
    /// When its gateway had come so far, the last time.
    pub(super) steps_ns: [u64; 3],
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) hosts: Vec<Host>,
    pub(super) faults: Faults,
    pub(super) began_us: u64,
    retry_delay_ns: u64,
    /// What the name of the queue for the next try is.
    retry_queue: Box<str>,
    /// By their numbers, the first of which is `open_from`.
    open: VecDeque<Option<Box<UnderWay>>>,
    open_from: u64,
    asked: FxHashMap<(End, End, u16), Asked>,
    commands: FxHashMap<(End, End), VecDeque<(u64, Asked)>>,
    /// The last message on a connection that its broker has.
    published: FxHashMap<(End, End), Asked>,
    /// When the last consumer of a connection to RabbitMQ began.
    consumers: FxHashMap<End, u64>,
    gateways: FxHashMap<End, GatewayLog>,
    pub(super) requests: FxHashMap<RequestId, Request>,
    pub(super) by_label: FxHashMap<Mac, Vec<RequestId>>,
    pub(super) tasks: Vec<Task>,
    /// `None`: nobody wants them.
    pub(super) journeys: Option<Journeys>,
    pub(super) capture: Capture,
    /// Whether all requests are kept, for a replay.
    pub(super) keeps_calls: bool,
    /// A list that is used again.
    scratch: Vec<Span>,
    /// How requests that are kept kept their gateways.
    pub(super) visits: FxHashMap<RequestId, Visit>,
}

impl State {
    /// For so many tasks, which wait so long for their next try.
    pub(super) fn new(tasks: usize, retry_delay: Duration) -> Self {
        let retry_delay_ns = u64::try_from(retry_delay.as_nanos()).expect("a delay is below 584 years");
        let retry_queue = retry_queue(retry_delay).into();
        Self { retry_delay_ns, retry_queue, tasks: (0..tasks).map(|_| Task::default()).collect(), ..Self::default() }
    }

    pub(super) fn host(&self, host: u16) -> &Host {
        &self.hosts[usize::from(host)]
    }

    /// A message is written. Whether it is of interest when it arrives, too.
    pub(super) fn sent(&mut self, sent: &Sent<'_>) -> bool {
        let about = About { request: sent.names.request, label: sent.names.label };
        let open = match sent.what {
            What::Ask(channel) | What::Consume(channel) => Some(Open::Ask(channel)),
            What::Answer(channel) => {
                let asked = self.asked.remove(&(sent.to, sent.from, channel));
                asked.map(|asked| Open::Answer(Box::new(asked)))
            }
            What::Commands(count) => Some(Open::Commands(count)),
            What::Answers(count) => {
                let asked = self.answered_commands((sent.to, sent.from), count);
                asked.map(|asked| Open::Answer(Box::new(asked)))
            }
            What::Acknowledge if self.is_broker(sent.to.0) => None,
            What::Acknowledge => {
                let asked = self.published.get(&(sent.to, sent.from));
                asked.map(|asked| Open::Answer(Box::new(*asked)))
            }
            What::Publish(_) | What::Deliver | What::Mqtt | What::Http => self.leg(sent, about),
        };
        let Some(open) = open else { return false };
        let begins_consumer = matches!(sent.what, What::Consume(_));
        let is_publish = matches!(sent.what, What::Publish(_) | What::Mqtt) && self.is_broker(sent.to.0);
        let (Sent { from, to, opened_ns, end, .. }, name) = (*sent, name_of(sent.what));
        self.open(sent.number, UnderWay { open, from, to, about, opened_ns, begins_consumer, is_publish, end, name });
        true
    }

    fn is_broker(&self, host: u16) -> bool {
        matches!(self.host(host).pod, Pod::Amqp | Pod::Mqtt)
    }

    fn open(&mut self, number: u64, message: UnderWay) {
        if self.open.is_empty() {
            self.open_from = number;
        }
        self.open.push_back(Some(Box::new(message)));
        if self.open.len() > OPEN_MAX {
            self.open.pop_front();
            self.open_from += 1;
        }
    }

    fn close(&mut self, number: u64) -> Option<Box<UnderWay>> {
        let place = usize::try_from(number.checked_sub(self.open_from)?).ok()?;
        let message = self.open.get_mut(place)?.take();
        while self.open.front().is_some_and(Option::is_none) {
            self.open.pop_front();
            self.open_from += 1;
        }
        message
    }

    fn answered_commands(&mut self, connection: (End, End), count: u64) -> Option<Asked> {
        let asked = self.commands.get_mut(&connection)?;
        while asked.front().is_some_and(|(first, _)| *first < count) {
            asked.pop_front();
        }
        asked.pop_front_if(|(first, _)| *first == count).map(|(_, asked)| asked)
    }

    /// A message is written that is about a task or a request.
    fn leg(&mut self, sent: &Sent<'_>, about: About) -> Option<Open> {
        let host = sent.from.0;
        if let Some(index) = sent.names.task.and_then(Workload::index_of).filter(|index| *index < self.tasks.len()) {
            let before = self.tasks[index].journey.last_to(host, sent.now_ns);
            let trail = self.trail_back_from(sent.now_ns);
            let inside = self.inside_of_task(trail, index, sent, before);
            let number_before = before.map(|leg| self.tasks[index].journey.legs[leg].number);
            self.keep(sent, (index, None), number_before, &inside);
            let leg = self.new_leg(sent, before);
            self.tasks[index].journey.add(leg, &inside);
            self.scratch = inside;
            return Some(Open::OfTask(index));
        }
        let id = self.request_of(host, sent.now_ns, about)?;
        let trail = self.trail_back_from(sent.now_ns);
        let request = &self.requests[&id];
        let before = request.journey.last_to(host, sent.now_ns);
        let floor_ns = before.and_then(|leg| request.journey.legs[leg].taken_ns).unwrap_or(request.sent_ns);
        let about = About { request: Some(id), label: Some(request.label) };
        let subject = (request.task, Some((id, request.label)));
        let number_before = before.map(|leg| request.journey.legs[leg].number);
        let is_gateway = matches!(self.host(host).pod, Pod::Gateway(_) | Pod::Store(_));
        let inside = if is_gateway {
            self.inside_gateway(trail, sent, request, (about, floor_ns))
        } else {
            self.inside(trail, sent, &request.journey, before, (about, floor_ns))
        };
        if is_gateway {
            let begun_ns = request.steps_ns[Step::Begun as usize];
            let own = inside.iter().filter(|span| span.cause != Cause::GatewayQueue).copied().collect::<Vec<_>>();
            let own = self.faults.mark(&own, &self.hosts);
            let log = self.gateways.entry(sent.from).or_default();
            if self.keeps_calls {
                self.visits.extend(log.begins(id, begun_ns, sent.from));
            }
            log.add(&own);
        }
        self.keep(sent, subject, number_before, &inside);
        let leg = self.new_leg(sent, before);
        self.requests.get_mut(&id).expect("looked up above").journey.add(leg, &inside);
        self.scratch = inside;
        Some(Open::OfRequest(id))
    }

    fn new_leg(&self, sent: &Sent<'_>, before: Option<usize>) -> Leg {
        Leg::of(sent, before, matches!(sent.what, What::Publish(route) if *route == *self.retry_queue))
    }

    fn keep(&mut self, sent: &Sent<'_>, subject: Subject, before: Option<u64>, inside: &[Span]) {
        if let Some(journeys) = &mut self.journeys {
            journeys.add(sent, subject, before, inside);
        }
    }

    /// The request that a message is about, which `host` writes: it says so, or it names a label of which a message had
    /// come there.
    fn request_of(&self, host: u16, now_ns: u64, about: About) -> Option<RequestId> {
        if let Some(id) = about.request.filter(|id| self.requests.contains_key(id)) {
            return Some(id);
        }
        let ids = self.by_label.get(&about.label?)?;
        let arrived = |id: &RequestId| {
            let journey = &self.requests.get(id)?.journey;
            Some((journey.legs[journey.last_to(host, now_ns)?].taken_ns, *id))
        };
        ids.iter().filter_map(arrived).max().map(|(_, id)| id)
    }

    /// What passed in a broker or a service between a message's coming and its going on.
    pub(super) fn inside(
        &self,
        mut trail: Trail,
        sent: &Sent<'_>,
        journey: &Journey,
        before: Option<usize>,
        (about, floor_ns): (About, u64),
    ) -> Vec<Span> {
        let host = self.host(sent.from.0);
        let place = (sent.from.0, sent.from.0);
        match host.pod {
            Pod::Amqp => {
                host.back_over_cpu(&mut trail, floor_ns);
                let queue = self.queue_cause(sent, trail.now_ns());
                if let Some(earlier) = journey.first_from(sent.from.0, floor_ns, trail.now_ns()) {
                    trail.back_to(earlier.written_ns, Cause::HandedBack, (sent.from.0, earlier.to.0));
                } else if before.is_some_and(|leg| journey.legs[leg].is_retry) {
                    trail.back_to(floor_ns + self.retry_delay_ns, queue, place);
                    trail.back_to(floor_ns, Cause::RetryDelay, place);
                }
                trail.back_to(floor_ns, queue, place);
            }
            Pod::Mqtt => {
                host.back_over_cpu(&mut trail, floor_ns);
                match self.gateways.get(&sent.to) {
                    Some(log) => log.back_over_wait(&mut trail, floor_ns, Cause::Window, sent.from.0),
                    None => trail.back_to(floor_ns, Cause::Window, place),
                }
            }
            _ => {
                if let Some(opened_ns) = sent.opened_ns.filter(|opened_ns| *opened_ns >= floor_ns) {
                    trail.back_to(opened_ns, Cause::Connecting, (sent.from.0, sent.to.0));
                }
                let pause = if host.pod == Pod::Dispatcher { Cause::Dispatcher } else { Cause::Pause };
                host.back_over_process(&mut trail, floor_ns, about, pause, &self.hosts);
            }
        }
        trail.into_spans()
    }

    /// What a message waits for that goes to a consumer when its wait has ended at `now_ns`.
    fn queue_cause(&self, sent: &Sent<'_>, now_ns: u64) -> Cause {
        if self.consumers.get(&sent.to) == Some(&now_ns) {
            return Cause::ConsumerNotThere;
        }
        match self.host(sent.to.0).pod {
            Pod::TaskWorker(_) if sent.names.task.is_some() => Cause::TaskQueue,
            Pod::Router(..) => Cause::RequestQueue,
            _ => Cause::ReplyQueue,
        }
    }

    /// What passed in a gateway: first the command's turn had to come.
    fn inside_gateway(
        &self,
        mut trail: Trail,
        sent: &Sent<'_>,
        request: &Request,
        (about, floor_ns): (About, u64),
    ) -> Vec<Span> {
        let (host, place) = (self.host(sent.from.0), (sent.from.0, sent.from.0));
        let [begun_ns, handled_ns, executed_ns] = request.steps_ns.map(|at_ns| at_ns.max(floor_ns));
        host.back_over_process(&mut trail, executed_ns, about, Cause::Window, &self.hosts);
        trail.back_to(handled_ns, Cause::Radio, place);
        host.back_over_cpu(&mut trail, begun_ns);
        trail.back_to(begun_ns, Cause::GatewayCpu, place);
        match self.gateways.get(&sent.from) {
            Some(log) => log.back_over_wait(&mut trail, floor_ns, Cause::GatewayQueue, sent.from.0),
            None => trail.back_to(floor_ns, Cause::GatewayQueue, place),
        }
        trail.into_spans()
    }

    /// A message was read.
    pub(super) fn taken(&mut self, number: u64, way: &Way) {
        let Some(message) = self.close(number) else { return };
        self.keep_stall(&message, way);
        let UnderWay { open, from, to, about, opened_ns, begins_consumer, is_publish, .. } = *message;
        let asked = Asked { way: *way, about, opened_ns };
        if begins_consumer {
            self.consumers.insert(from, way.taken_ns);
        }
        if is_publish {
            self.published.insert((from, to), asked);
        }
        match open {
            Open::Ask(channel) => drop(self.asked.insert((from, to, channel), asked)),
            Open::Commands(count) => {
                let list = self.commands.entry((from, to)).or_default();
                if list.len() == ASKED_MAX {
                    list.pop_front();
                }
                list.push_back((count, asked));
            }
            Open::Answer(asked) => {
                let Asked { way: ask, about, opened_ns } = *asked;
                if self.gateways.contains_key(&to) {
                    let spans = self.spans_of(way, (from.0, to.0));
                    self.add_to_log(to, &spans);
                    self.scratch = spans;
                }
                let About { request, label } = about;
                let trip = Trip { server: from.0, ask, answer: *way, opened_ns, request, label };
                self.hosts[usize::from(to.0)].answered(trip);
            }
            Open::OfTask(index) => {
                let spans = self.spans_of(way, (from.0, to.0));
                self.journeys.iter_mut().for_each(|journeys| journeys.taken(number, way.taken_ns, &spans));
                self.tasks[index].journey.taken(number, way.taken_ns, &spans);
                self.scratch = spans;
            }
            Open::OfRequest(id) => {
                let spans = self.spans_of(way, (from.0, to.0));
                self.journeys.iter_mut().for_each(|journeys| journeys.taken(number, way.taken_ns, &spans));
                self.add_to_log(from, &spans);
                if let Some(request) = self.requests.get_mut(&id) {
                    request.journey.taken(number, way.taken_ns, &spans);
                }
                self.scratch = spans;
            }
        }
    }

    /// Keeps what was held back, if somebody wants to see it; hops are kept in any case.
    fn keep_stall(&mut self, message: &UnderWay, way: &Way) {
        let is_hop = matches!(message.open, Open::OfTask(_) | Open::OfRequest(_));
        if self.journeys.is_none() || is_hop || way.sent_ns == way.in_kernel_ns {
            return;
        }
        let UnderWay { from, to, end, name: what, .. } = *message;
        let spans = self.spans_of(way, (from.0, to.0));
        let (written_ns, taken_ns) = (way.written_ns, way.taken_ns);
        let way = spans.iter().rev().copied().collect();
        self.scratch = spans;
        let stall = Stall { what, from, to, end, written_ns, taken_ns, way };
        self.journeys.iter_mut().for_each(|journeys| journeys.stalled(stall.clone()));
    }

    /// A trail in the list that is used again: who has done with its spans puts them back.
    fn trail_back_from(&mut self, now_ns: u64) -> Trail {
        Trail::back_from_in(now_ns, std::mem::take(&mut self.scratch))
    }

    fn spans_of(&mut self, way: &Way, (from, to): (u16, u16)) -> Vec<Span> {
        let mut trail = self.trail_back_from(way.taken_ns);
        back_over_way(&mut trail, way, (self.host(from), self.host(to)));
        trail.into_spans()
    }

    /// A gateway has spent time so, if it is one.
    fn add_to_log(&mut self, gateway: End, spans: &[Span]) {
        if let Some(log) = self.gateways.get_mut(&gateway) {
            log.add(&self.faults.mark(spans, &self.hosts));
        }
    }

    pub(super) fn served(&mut self, request: RequestId, step: Step, now_ns: u64) {
        if let Some(request) = self.requests.get_mut(&request) {
            request.steps_ns[step as usize] = now_ns;
        }
    }
}
