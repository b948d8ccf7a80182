//! Many seeds, as many at a time as there are threads; their verdicts in the order of the seeds.

use super::verdict::{Verdict, judge};
use crate::{cost::Stopwatch, run::panic_message, simulate::Simulate, spec::Spec};
use anyhow::anyhow;
use std::{
    collections::BTreeMap,
    num::NonZero,
    ops::{ControlFlow, Range},
    panic::{AssertUnwindSafe, catch_unwind},
    str::FromStr,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
};

/// Verdicts that are kept while those of earlier seeds are awaited, at most: one world may take as long as thousands of
/// others.
const AHEAD_MAX: u64 = 10_000;

/// A part of the seeds: each `of`th, from the one with number `index` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Counted from 0.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Shard {
    /// All seeds.
    pub const ALL: Self = Self { index: 0, of: 1 };
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parsed {
            Some((index, of)) if index < of => Ok(Self { index, of }),
            _ => Err(format!("`{text}` is no part of a whole; expected INDEX/COUNT with an index from 0, as in 0/4")),
        }
    }
}

/// Which seeds, and how.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// All seeds, of which this is a part.
    pub seeds: Range<u64>,
    /// Which part.
    pub shard: Shard,
    /// No seed is begun after so much wall time, in seconds.
    pub limit_s: Option<f64>,
    /// Runs at a time.
    pub jobs: NonZero<usize>,
}

impl Campaign {
    /// How many seeds there are, if time doesn't end it.
    #[must_use]
    pub fn len(&self) -> u64 {
        let all = self.seeds.end.saturating_sub(self.seeds.start);
        all.saturating_sub(self.shard.index).div_ceil(self.shard.of)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The seed with this number among them.
    fn seed(&self, number: u64) -> Option<u64> {
        (number < self.len()).then(|| self.seeds.start + self.shard.index + number * self.shard.of)
    }

    /// The seeds of this part, in their order, for as long as time does not end it.
    pub fn seeds(&self) -> impl Iterator<Item = u64> {
        let clock = Stopwatch::start();
        let is_in_time = move || self.limit_s.is_none_or(|limit_s| clock.elapsed_s() < limit_s);
        (0..self.len()).map_while(move |number| self.seed(number).filter(|_| is_in_time()))
    }

    /// Judges the world of each seed, and gives the verdicts to `take`, in the order of the seeds, until it breaks. A
    /// seed whose world can't be drawn or judged has a verdict, too: the bench is broken.
    pub fn run(
        &self,
        world: impl Fn(u64) -> Spec + Sync,
        simulate: Simulate,
        mut take: impl FnMut(Verdict) -> ControlFlow<()>,
    ) {
        let (clock, next, enough) = (Stopwatch::start(), AtomicU64::new(0), AtomicBool::new(false));
        let is_in_time = || self.limit_s.is_none_or(|limit_s| clock.elapsed_s() < limit_s);
        let goes_on = || is_in_time() && !enough.load(Relaxed);
        let (give, verdicts) = mpsc::channel();
        let turn = Turn::default();
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.get() {
                let (give, next, world, goes_on, turn) = (give.clone(), &next, &world, &goes_on, &turn);
                scope.spawn(move || {
                    while goes_on() {
                        let number = next.fetch_add(1, Relaxed);
                        let Some(seed) = self.seed(number) else { return };
                        turn.wait_until_near(number);
                        if give.send((number, verdict_on(seed, world, simulate))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(give);
            // If `take` panics, nobody is left to move on those who wait.
            let _opened = OpensAtEnd(&turn);
            // What has come before its turn.
            let (mut early, mut next_turn) = (BTreeMap::new(), 0);
            for (number, verdict) in verdicts {
                early.insert(number, verdict);
                while let Some(verdict) = early.remove(&next_turn) {
                    next_turn += 1;
                    turn.is(next_turn);
                    if !enough.load(Relaxed) && take(verdict).is_break() {
                        enough.store(true, Relaxed);
                    }
                }
            }
        });
    }
}

/// The verdict on the world of `seed`, whatever happens before it runs: a thread that panicked would leave the others
/// waiting for its turn.
fn verdict_on(seed: u64, world: &(impl Fn(u64) -> Spec + Sync), simulate: Simulate) -> Verdict {
    // What a panic leaves behind is dropped with it: both make their things anew for each seed.
    let judged = catch_unwind(AssertUnwindSafe(|| judge(&world(seed), simulate, None)));
    judged.unwrap_or_else(|panic| {
        let spec = Spec { seed, ..Spec::default() };
        Verdict::of(&spec, Err(anyhow!("drawing or judging a world panicked: {}", panic_message(&*panic))))
    })
}

/// Whose verdict is told next.
#[derive(Default)]
struct Turn {
    number: Mutex<u64>,
    moved: Condvar,
}

impl Turn {
    fn is(&self, number: u64) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) = number;
        self.moved.notify_all();
    }

    /// Waits until no more than [`AHEAD_MAX`] others come before `number`.
    fn wait_until_near(&self, number: u64) {
        let is_far = |turn: &mut u64| number > turn.saturating_add(AHEAD_MAX);
        let turn = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.moved.wait_while(turn, is_far));
    }
}

/// Lets everybody go on when it is dropped.
struct OpensAtEnd<'a>(&'a Turn);

impl Drop for OpensAtEnd<'_> {
    fn drop(&mut self) {
        self.0.is(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{Oracle, Outcome},
        progress::Progress,
    };
    use std::{io::Write, sync::Arc};

    fn sound(_: &Spec, _: &Arc<Progress>, _: Option<Box<dyn Write + Send>>) -> anyhow::Result<Outcome> {
        Ok(Outcome::default())
    }

    fn campaign(seeds: Range<u64>, shard: Shard) -> Campaign {
        Campaign { seeds, shard, limit_s: None, jobs: NonZero::<usize>::MIN }
    }

    #[test]
    fn shards_share_all_seeds_out_and_none_twice() {
        let mut all: Vec<u64> = (0..3)
            .map(|index| campaign(5..15, Shard { index, of: 3 }))
            .flat_map(|part| (0..part.len()).map(move |number| part.seed(number).unwrap()).collect::<Vec<_>>())
            .collect();
        all.sort_unstable();
        assert_eq!(all, (5..15).collect::<Vec<_>>());
        assert!(campaign(5..5, Shard::ALL).is_empty());
    }

    #[test]
    fn a_world_that_can_not_be_drawn_is_told_and_holds_nobody_up() {
        let two = Campaign { jobs: NonZero::new(2).unwrap(), ..campaign(1..30, Shard::ALL) };
        let mut verdicts = Vec::new();
        let world = |seed| match seed {
            7 => panic!("no world for {seed}"),
            seed => Spec { seed, ..Spec::default() },
        };
        two.run(world, sound, |verdict| {
            verdicts.push(verdict);
            ControlFlow::Continue(())
        });
        assert_eq!(verdicts.iter().map(|verdict| verdict.seed).collect::<Vec<_>>(), (1..30).collect::<Vec<_>>());
        let broken: Vec<&Verdict> = verdicts.iter().filter(|verdict| verdict.finding.is_some()).collect();
        assert_eq!((broken.len(), broken[0].seed), (1, 7));
        let violation = &broken[0].finding.as_ref().unwrap().violations[0];
        assert_eq!(violation.oracle, Oracle::Harness);
        assert!(violation.text.contains("no world for 7"), "{violation}");
    }

    #[test]
    fn nobody_waits_for_a_campaign_that_is_over() {
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let far = scope.spawn(|| turn.wait_until_near(AHEAD_MAX + 1));
            drop(OpensAtEnd(&turn));
            far.join().unwrap();
        });
    }

    #[test]
    fn a_shard_is_read_as_it_is_written() {
        assert_eq!("1/4".parse(), Ok(Shard { index: 1, of: 4 }));
        for wrong in ["4/4", "1", "a/b", "1/0", ""] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
