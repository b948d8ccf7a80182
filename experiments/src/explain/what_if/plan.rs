//! What a replay has to do for each task: delays, and visits to who serves one at a time.

use super::{
    super::between,
    Assumptions,
    rooms::{self, Start},
};
use crate::{
    attribution::{AttributedTask, Attribution, Cause, LastCall, Part, sum_us},
    spec::{GatewayMode, Pod, Spec},
};
use backbone::config::RouterKind;
use std::collections::BTreeMap;

pub(super) const NS_PER_US: u64 = 1_000;

/// RabbitMQ's metadata store is the first station; gateways and backward routers come after it.
pub(super) const METADATA: usize = 0;

/// What comes next on a way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It takes so long.
    Delay(u64),
    /// It waits for its turn at a station, and keeps that from others for so long; what it does there itself follows.
    Visit { station: usize, keeps_ns: u64 },
}

/// One after the other.
pub(super) type Steps = Vec<Step>;

/// A request, or what comes before requests that are sent together: after which other one of its task it begins, if
/// after any, and what it goes through.
#[derive(Clone, Debug)]
pub(super) struct Errand {
    pub(super) after: Option<usize>,
    pub(super) steps: Steps,
}

/// A task.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// When it is in the queue, from the start of the world.
    pub(super) arrives_ns: u64,
    /// From there to a worker that has room.
    pub(super) delivery_ns: u64,
    pub(super) errands: Vec<Errand>,
    /// From the last request's end to the try's.
    pub(super) closing: Steps,
    /// From there until its worker gets another one.
    pub(super) release_ns: u64,
    /// From the try's end to the task's.
    pub(super) after: Steps,
}

/// All of a run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// In the order of the attribution's.
    pub(super) jobs: Vec<Job>,
    /// When there is room for one more task at a worker for the first time.
    pub(super) slots_ns: Vec<u64>,
    pub(super) stations: usize,
    /// How often the metadata store takes any that waits, in percent.
    pub(super) disorder_percent: u32,
    pub(super) seed: u64,
}

fn waits_for_worker(cause: Cause) -> bool {
    matches!(cause, Cause::TaskQueue | Cause::ConsumerNotThere)
}

impl Plan {
    pub(super) fn of(spec: &Spec, attribution: &Attribution, assumptions: &Assumptions) -> Self {
        let waiting_max = spec.backbone.dispatcher.waiting_max;
        let mut planner = Planner {
            assumptions,
            pods: &attribution.pods,
            queue_has_room: waiting_max == 0 || waiting_max >= spec.workload.tasks,
            gateways_are_serial: spec.fleet.mode == GatewayMode::Serial,
            routers_are_serial: spec.backbone.bck_router.in_flight_max == 1,
            stations: 1,
            gateways: BTreeMap::new(),
            routers: BTreeMap::new(),
        };
        let tasks = attribution.tasks.iter().enumerate();
        let (mut jobs, starts): (Vec<Job>, Vec<Start>) =
            tasks.map(|(number, task)| planner.job(number, task)).collect();
        let stations = planner.keep_routers(&mut jobs);
        let slots_us = rooms::slots(&starts, spec.backbone.task_worker.prefetch.into(), &mut jobs);
        Self {
            jobs,
            slots_ns: rooms::with_factors(attribution, assumptions, slots_us),
            stations,
            disorder_percent: spec.brokers.amqp_metadata.disorder_percent,
            seed: spec.seed,
        }
    }
}

struct Planner<'a> {
    assumptions: &'a Assumptions,
    /// Of hosts, by their numbers.
    pods: &'a [Pod],
    /// The dispatcher never waits for room in the task queue, and so for a worker.
    queue_has_room: bool,
    /// Gateways take one command at a time.
    gateways_are_serial: bool,
    /// Backward routers hand over one reply at a time; where it is more, what keeps them is no matter of turns.
    routers_are_serial: bool,
    /// So many have been given a number.
    stations: usize,
    gateways: BTreeMap<(u16, u16), usize>,
    /// Backward routers' stations, with what they did, by their hosts.
    routers: BTreeMap<u16, (usize, Vec<AtRouter>)>,
}

/// A reply at a backward router.
struct AtRouter {
    /// Where its visit stands: job, errand, step.
    step: (usize, usize, usize),
    begun_us: u64,
    /// What it had waited: as it was, and with the factors of what the router did meanwhile.
    waited_us: u64,
    would_wait_ns: u64,
}

impl Planner<'_> {
    fn ns(&self, cause: Cause, us: u64) -> u64 {
        (us as f64 * NS_PER_US as f64 * self.assumptions.factor(cause)) as u64
    }

    fn part_ns(&self, part: &Part) -> u64 {
        self.ns(part.cause, part.us.into())
    }

    /// Delays and visits to the metadata store.
    fn steps(&self, parts: &[Part], steps: &mut Steps) {
        for part in parts {
            match part.cause {
                Cause::MetadataQueue => {}
                Cause::Metadata => {
                    let own_ns = self.part_ns(part);
                    let keeps_ns = (own_ns as f64 * self.assumptions.factor(Cause::MetadataQueue)) as u64;
                    steps.push(Step::Visit { station: METADATA, keeps_ns });
                    delay(steps, own_ns);
                }
                _ => delay(steps, self.part_ns(part)),
            }
        }
    }

    fn job(&mut self, number: usize, task: &AttributedTask) -> (Job, Start) {
        let record = &task.record;
        let begin_us = record.published_us;
        let ended_us = record.finished_us.unwrap_or(begin_us);
        let started_us = record.last_try_us.unwrap_or(ended_us).min(ended_us);
        let try_ended_us = (started_us + record.try_us.unwrap_or(0)).min(ended_us);
        let cut = |from_us: u64, to_us: u64| between(&task.parts, from_us - begin_us, to_us - begin_us);
        let before = cut(begin_us, started_us);
        let given = before.iter().rposition(|part| waits_for_worker(part.cause)).map_or(before.len(), |last| last + 1);
        let queued = before[..given].iter().rposition(|part| !waits_for_worker(part.cause)).map_or(0, |last| last + 1);
        let arrival = before[..queued].iter().filter(|part| self.queue_has_room || part.cause != Cause::Dispatcher);
        let delivery = &before[given..];
        let delivery_us = sum_us(delivery);
        let last_us = task.calls.iter().map(|call| call.ended_us).max().unwrap_or(started_us);
        let (mut closing, mut after) = (Steps::new(), Steps::new());
        self.steps(&cut(last_us.clamp(started_us, try_ended_us), try_ended_us), &mut closing);
        self.steps(&cut(try_ended_us, ended_us), &mut after);
        let job = Job {
            arrives_ns: begin_us * NS_PER_US + arrival.map(|part| self.part_ns(part)).sum::<u64>(),
            delivery_ns: delivery.iter().map(|part| self.part_ns(part)).sum(),
            errands: self.errands(number, &task.calls, started_us),
            closing,
            release_ns: 0,
            after,
        };
        let worker = before.last().map_or(0, |part| part.to);
        let given_us = started_us - delivery_us;
        (job, Start { worker, given_us, try_ended_us, waited: queued < given })
    }

    /// Each request, and what came before those that were ready at the same moment, once for all of them.
    fn errands(&mut self, job: usize, calls: &[LastCall], started_us: u64) -> Vec<Errand> {
        let mut errands: Vec<Errand> =
            calls.iter().enumerate().map(|(place, call)| self.errand((job, place), call)).collect();
        let mut groups: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (place, call) in calls.iter().enumerate() {
            groups.entry(call.ready_us()).or_default().push(place);
        }
        for (ready_us, mut group) in groups {
            group.sort_by_key(|place| calls[*place].sent_us);
            let first = &calls[group[0]];
            let after = calls.iter().position(|other| other.ended_us == ready_us && other.sent_us < first.sent_us);
            let mut steps = Steps::new();
            if after.is_none() {
                delay(&mut steps, ready_us.saturating_sub(started_us) * NS_PER_US);
            }
            self.steps(&first.lead, &mut steps);
            let lead = errands.len();
            errands.push(Errand { after, steps });
            for place in group {
                let later_ns = (calls[place].sent_us - first.sent_us) * NS_PER_US;
                errands[place].after = Some(lead);
                errands[place].steps.insert(0, Step::Delay(later_ns));
            }
        }
        errands
    }

    /// A request from its being sent.
    fn errand(&mut self, place: (usize, usize), call: &LastCall) -> Errand {
        let mut steps = Steps::new();
        let mut begun_us = 0;
        if let Some(visit) = call.visit.as_ref().filter(|_| self.gateways_are_serial) {
            let station = *self.gateways.entry(visit.gateway).or_insert_with(|| {
                self.stations += 1;
                self.stations - 1
            });
            begun_us = visit.begun_us.clamp(call.sent_us, call.ended_us) - call.sent_us;
            // What waits for the gateway, be it at the broker or in the gateway, queues anew.
            let mut coming = between(&call.parts, 0, begun_us);
            coming.retain(|part| !matches!(part.cause, Cause::Window | Cause::GatewayQueue));
            self.steps(&coming, &mut steps);
            let keeps_ns: u64 = visit.us.iter().map(|(cause, us)| self.ns(*cause, *us)).sum();
            let keeps_ns = (keeps_ns as f64 * self.assumptions.factor(Cause::GatewayQueue)) as u64;
            steps.push(Step::Visit { station, keeps_ns });
        }
        let mut rest = between(&call.parts, begun_us, call.ended_us - call.sent_us);
        let is_backward = |part: &Part| {
            let pod = self.pods[usize::from(part.at)];
            self.routers_are_serial && matches!(pod, Pod::Router(RouterKind::Backward, _)) && part.to != part.at
        };
        if let Some(leaves) = rest.iter().position(is_backward) {
            let begun_us = call.sent_us + begun_us + sum_us(&rest[..leaves]);
            let later = rest.split_off(leaves);
            let host = later[0].at;
            let (waits, coming): (Vec<Part>, Vec<Part>) =
                rest.iter().partition(|part| part.cause == Cause::RouterBusy && part.at == host);
            self.steps(&coming, &mut steps);
            let (station, visits) = self.routers.entry(host).or_insert_with(|| {
                self.stations += 1;
                (self.stations - 1, Vec::new())
            });
            let factor = |part: &Part| self.assumptions.factor(part.because.unwrap_or(part.cause));
            visits.push(AtRouter {
                step: (place.0, place.1, steps.len() + 1), // after the delay that is yet to come
                begun_us,
                waited_us: sum_us(&waits),
                would_wait_ns: waits
                    .iter()
                    .map(|part| (f64::from(part.us) * NS_PER_US as f64 * factor(part)) as u64)
                    .sum(),
            });
            steps.push(Step::Visit { station: *station, keeps_ns: 0 });
            rest = later;
        }
        self.steps(&rest, &mut steps);
        Errand { after: None, steps }
    }

    /// Sets how long replies keep backward routers from the next ones: as long as it was until the next that waited
    /// began. Returns how many stations there are.
    fn keep_routers(self, jobs: &mut [Job]) -> usize {
        let busy = self.assumptions.factor(Cause::RouterBusy);
        for (_, mut visits) in self.routers.into_values() {
            visits.sort_by_key(|visit| visit.begun_us);
            let kept_ns = |(before, next): (&AtRouter, &AtRouter)| {
                let share = next.would_wait_ns as f64 / next.waited_us as f64;
                (next.waited_us > 0).then(|| ((next.begun_us - before.begun_us) as f64 * share) as u64)
            };
            let kept: Vec<Option<u64>> = visits.iter().zip(&visits[1..]).map(kept_ns).collect();
            let mut known: Vec<u64> = kept.iter().flatten().copied().collect();
            known.sort_unstable();
            let usual_ns = known.get(known.len() / 2).copied().unwrap_or(0);
            for (place, visit) in visits.iter().enumerate() {
                let kept_ns = kept.get(place).copied().flatten().unwrap_or(usual_ns);
                let (job, errand, step) = visit.step;
                if let Step::Visit { keeps_ns, .. } = &mut jobs[job].errands[errand].steps[step] {
                    *keeps_ns = (kept_ns as f64 * busy) as u64;
                }
            }
        }
        self.stations
    }
}

fn delay(steps: &mut Steps, ns: u64) {
    match steps.last_mut() {
        Some(Step::Delay(sum_ns)) => *sum_ns += ns,
        _ if ns > 0 => steps.push(Step::Delay(ns)),
        _ => {}
    }
}
