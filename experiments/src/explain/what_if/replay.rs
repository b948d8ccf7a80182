//! Plays a plan: tasks wait for room at a worker, go through their steps, and queue at stations on the way.

use super::plan::{METADATA, Plan, Step, Steps};
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use sim::Seed;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

/// How a task would have gone, in nanoseconds from the start of the world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) started_ns: u64,
    pub(super) try_ended_ns: u64,
    pub(super) ended_ns: u64,
}

/// Which of a task's ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Errand(usize),
    Closing,
    After,
}

/// A task on one of its ways, before this step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Walker {
    job: usize,
    way: Way,
    step: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A task is in the queue.
    Arrives(usize),
    /// A worker has room for one more.
    Room,
    /// A task is at a worker.
    Starts(usize),
    Walks(Walker),
    /// A station is free for the next one.
    Free(usize),
}

#[derive(Debug, Default)]
struct Station {
    waiting: VecDeque<(Walker, u64)>,
    is_busy: bool,
}

struct Replay<'a> {
    plan: &'a Plan,
    /// By their time, and then in the order in which they came up.
    agenda: BinaryHeap<Reverse<(u64, u64, Event)>>,
    planned: u64,
    queue: VecDeque<usize>,
    room: usize,
    stations: Vec<Station>,
    /// For each task, how many requests have not ended.
    open: Vec<usize>,
    times: Vec<Times>,
    rng: ChaCha8Rng,
}

/// How each task of the plan would have gone.
pub(super) fn replay(plan: &Plan) -> Vec<Times> {
    let mut replay = Replay {
        plan,
        agenda: BinaryHeap::new(),
        planned: 0,
        queue: VecDeque::new(),
        room: 0,
        stations: (0..plan.stations).map(|_| Station::default()).collect(),
        open: plan.jobs.iter().map(|job| job.errands.len()).collect(),
        times: vec![Times::default(); plan.jobs.len()],
        rng: Seed::new(plan.seed).stream("what if"),
    };
    plan.slots_ns.iter().for_each(|at_ns| replay.plan(*at_ns, Event::Room));
    plan.jobs.iter().enumerate().for_each(|(job, of)| replay.plan(of.arrives_ns, Event::Arrives(job)));
    while let Some(Reverse((now_ns, _, event))) = replay.agenda.pop() {
        replay.happens(now_ns, event);
    }
    replay.times
}

impl Replay<'_> {
    fn plan(&mut self, at_ns: u64, event: Event) {
        self.planned += 1;
        self.agenda.push(Reverse((at_ns, self.planned, event)));
    }

    fn happens(&mut self, now_ns: u64, event: Event) {
        match event {
            Event::Arrives(job) => {
                self.queue.push_back(job);
                self.give_away(now_ns);
            }
            Event::Room => {
                self.room += 1;
                self.give_away(now_ns);
            }
            Event::Starts(job) => {
                self.times[job].started_ns = now_ns;
                let errands = &self.plan.jobs[job].errands;
                for (place, _) in errands.iter().enumerate().filter(|(_, errand)| errand.after.is_none()) {
                    self.walk(now_ns, Walker { job, way: Way::Errand(place), step: 0 });
                }
                if errands.is_empty() {
                    self.walk(now_ns, Walker { job, way: Way::Closing, step: 0 });
                }
            }
            Event::Walks(walker) => self.walk(now_ns, walker),
            Event::Free(station) => {
                self.stations[station].is_busy = false;
                self.serve(now_ns, station);
            }
        }
    }

    fn give_away(&mut self, now_ns: u64) {
        while self.room > 0
            && let Some(job) = self.queue.pop_front()
        {
            self.room -= 1;
            self.plan(now_ns + self.plan.jobs[job].delivery_ns, Event::Starts(job));
        }
    }

    fn steps(&self, walker: Walker) -> &Steps {
        let job = &self.plan.jobs[walker.job];
        match walker.way {
            Way::Errand(place) => &job.errands[place].steps,
            Way::Closing => &job.closing,
            Way::After => &job.after,
        }
    }

    fn walk(&mut self, now_ns: u64, walker: Walker) {
        let next = Walker { step: walker.step + 1, ..walker };
        match self.steps(walker).get(walker.step).copied() {
            Some(Step::Delay(ns)) => self.plan(now_ns + ns, Event::Walks(next)),
            Some(Step::Visit { station, keeps_ns }) => {
                self.stations[station].waiting.push_back((next, keeps_ns));
                self.serve(now_ns, station);
            }
            None => self.arrives_at_end(now_ns, walker),
        }
    }

    fn serve(&mut self, now_ns: u64, place: usize) {
        let disorder_percent = if place == METADATA { self.plan.disorder_percent } else { 0 };
        let station = &mut self.stations[place];
        if station.is_busy || station.waiting.is_empty() {
            return;
        }
        let any = disorder_percent > 0 && self.rng.next_u64() % 100 < disorder_percent.into();
        let next = if any { (self.rng.next_u64() % station.waiting.len() as u64) as usize } else { 0 };
        let (walker, keeps_ns) = station.waiting.remove(next).expect("somebody waits");
        station.is_busy = true;
        self.plan(now_ns + keeps_ns, Event::Free(place));
        self.plan(now_ns, Event::Walks(walker));
    }

    fn arrives_at_end(&mut self, now_ns: u64, Walker { job, way, .. }: Walker) {
        let of = &self.plan.jobs[job];
        match way {
            Way::Errand(place) => {
                self.open[job] -= 1;
                for (later, _) in of.errands.iter().enumerate().filter(|(_, errand)| errand.after == Some(place)) {
                    self.walk(now_ns, Walker { job, way: Way::Errand(later), step: 0 });
                }
                if self.open[job] == 0 {
                    self.walk(now_ns, Walker { job, way: Way::Closing, step: 0 });
                }
            }
            Way::Closing => {
                self.times[job].try_ended_ns = now_ns;
                self.plan(now_ns + of.release_ns, Event::Room);
                self.walk(now_ns, Walker { job, way: Way::After, step: 0 });
            }
            Way::After => self.times[job].ended_ns = now_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::plan::{Errand, Job},
        *,
    };

    /// Tasks that are there at once, each with one visit of 10 ns to a gateway and 1 ns of its own after it.
    fn plan(tasks: usize, slots: usize) -> Plan {
        let steps = vec![Step::Delay(2), Step::Visit { station: 1, keeps_ns: 10 }, Step::Delay(1)];
        let job = Job {
            arrives_ns: 0,
            delivery_ns: 0,
            errands: vec![Errand { after: None, steps }],
            closing: Steps::new(),
            release_ns: 0,
            after: Steps::new(),
        };
        let (jobs, slots_ns) = (vec![job; tasks], vec![0; slots]);
        Plan { jobs, slots_ns, stations: 2, disorder_percent: 0, seed: 1 }
    }

    fn ends(plan: &Plan) -> Vec<u64> {
        replay(plan).iter().map(|times| times.ended_ns).collect()
    }

    #[test]
    fn who_comes_to_a_busy_station_waits_for_its_turn() {
        assert_eq!(ends(&plan(3, 3)), [3, 13, 23]);
    }

    #[test]
    fn who_finds_no_room_at_a_worker_waits_for_that() {
        assert_eq!(ends(&plan(3, 1)), [3, 13, 23]); // comes to the gateway at 5, which is free from 12 on
        let mut slow = plan(3, 1);
        slow.jobs.iter_mut().for_each(|job| job.release_ns = 20);
        assert_eq!(ends(&slow), [3, 26, 49]);
    }

    #[test]
    fn a_request_that_waits_for_another_begins_at_its_end() {
        let mut plan = plan(1, 1);
        let errand = Errand { after: Some(0), ..plan.jobs[0].errands[0].clone() };
        plan.jobs[0].errands.push(errand);
        assert_eq!(ends(&plan), [13]);
    }
}
