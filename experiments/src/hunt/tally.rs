//! What many verdicts come to: how many worlds were sound, what was found and in which seeds, and which rare paths were
//! taken. As text, as JSON lines, and several of them together.

use super::verdict::{Finding, Fingerprint, Verdict};
use crate::measure::{Oracle, Severity, Sometimes};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Write as _};

/// Seeds of a finding that are named.
const SEEDS_MAX: usize = 5;

/// One line of JSON: a verdict, or, last, the sum of all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Line {
    /// Of all seeds.
    Summary {
        /// The sum.
        summary: Tally,
    },
    /// Of one seed.
    Seed {
        /// Which.
        seed: u64,
        /// `sound`, `safety`, `liveness` or `harness`.
        verdict: String,
        /// What was found.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        finding: Option<Shown>,
        /// Stands for all that happened; empty for a live run, which has none.
        digest: String,
        /// Beside a live run: what the simulator says of the same world.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        simulated: Option<Simulated>,
    },
}

/// What the simulator says of a world that was run live.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Simulated {
    /// `sound`, `safety`, `liveness` or `harness`.
    pub verdict: String,
    /// What was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finding: Option<Shown>,
}

/// What was found in one world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// The rule that was broken.
    pub oracle: String,
    /// By whom or what.
    pub kind: String,
    /// How, for each rule that was broken.
    pub violations: Vec<String>,
}

impl Shown {
    fn of(finding: &Finding) -> Self {
        Self {
            oracle: finding.fingerprint.oracle.name().to_owned(),
            kind: finding.fingerprint.kind.clone(),
            violations: finding.violations.iter().map(|violation| violation.text.clone()).collect(),
        }
    }
}

impl Line {
    /// That of one seed.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        Self::beside(verdict, None)
    }

    /// That of one seed, with what the simulator says of it.
    #[must_use]
    pub fn beside(verdict: &Verdict, simulated: Option<&Verdict>) -> Self {
        let shown = |verdict: &Verdict| verdict.finding.as_ref().map(Shown::of);
        Self::Seed {
            seed: verdict.seed,
            verdict: verdict.name().to_owned(),
            finding: shown(verdict),
            digest: verdict.digest.clone(),
            simulated: simulated
                .map(|verdict| Simulated { verdict: verdict.name().to_owned(), finding: shown(verdict) }),
        }
    }
}

/// The sum of many verdicts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// How many worlds.
    pub seeds: u64,
    /// How many of them nothing was found in.
    pub sound: u64,
    /// How many faults there were in all of them.
    pub faults: u64,
    /// How long they lasted together, in seconds of their own time: virtual, but for live runs.
    pub virtual_s: u64,
    /// What was found.
    pub findings: Vec<Found>,
    /// In how many worlds each rare path was taken, by its name.
    pub reached: BTreeMap<String, u64>,
    /// Of live runs: the worlds of which the simulator said something else.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub otherwise: Vec<Otherwise>,
    #[serde(skip)]
    virtual_us: u64,
}

/// A world in which the simulator says something else than a live run.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Otherwise {
    /// Its seed.
    pub seed: u64,
    /// What the live run came to.
    pub live: String,
    /// What the simulated one did.
    pub simulated: String,
}

/// What was found in some worlds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The rule that was broken, by its name.
    pub oracle: String,
    /// By whom or what.
    pub kind: String,
    /// In how many worlds.
    pub times: u64,
    /// The first of these.
    pub seeds: Vec<u64>,
    /// How, in the first.
    pub example: String,
}

impl Found {
    fn severity(&self) -> Severity {
        Oracle::named(&self.oracle).map_or(Severity::Harness, Oracle::severity)
    }
}

impl Tally {
    /// Takes in a verdict.
    pub fn add(&mut self, verdict: &Verdict) {
        self.seeds += 1;
        self.faults += verdict.faults as u64;
        self.virtual_us += verdict.virtual_us;
        self.virtual_s = self.virtual_us / 1_000_000;
        for (path, _) in verdict.reached.iter() {
            *self.reached.entry(path.name().to_owned()).or_default() += 1;
        }
        match &verdict.finding {
            None => self.sound += 1,
            Some(Finding { fingerprint, violations }) => {
                let Fingerprint { oracle, kind } = fingerprint;
                let example = violations.first().map_or_else(String::new, |violation| violation.text.clone());
                let found = Found {
                    oracle: oracle.name().to_owned(),
                    kind: kind.clone(),
                    times: 1,
                    seeds: vec![verdict.seed],
                    example,
                };
                self.find(found);
            }
        }
    }

    /// Takes in what the simulator says of a world whose live run came to `verdict`.
    pub fn compare(&mut self, verdict: &Verdict, simulated: &Verdict) {
        if !verdict.agrees(simulated) {
            let (live, simulated) = (verdict.to_string(), simulated.to_string());
            self.otherwise.push(Otherwise { seed: verdict.seed, live, simulated });
        }
    }

    fn find(&mut self, found: Found) {
        let known = self.findings.iter_mut().find(|known| known.oracle == found.oracle && known.kind == found.kind);
        match known {
            None => self.findings.push(found),
            Some(known) => {
                if found.seeds.first() < known.seeds.first() {
                    known.example = found.example;
                }
                known.times += found.times;
                known.seeds.extend(found.seeds);
                known.seeds.sort_unstable();
                known.seeds.truncate(SEEDS_MAX);
            }
        }
        self.findings.sort_by_key(|found| (std::cmp::Reverse(found.severity()), found.seeds.first().copied()));
    }

    /// Takes in what another one has seen.
    pub fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.sound += other.sound;
        self.faults += other.faults;
        self.virtual_s += other.virtual_s;
        self.virtual_us += other.virtual_us;
        for (path, worlds) in other.reached {
            *self.reached.entry(path).or_default() += worlds;
        }
        other.findings.into_iter().for_each(|found| self.find(found));
        self.otherwise.extend(other.otherwise);
        self.otherwise.sort();
    }

    /// The gravest of what was found.
    #[must_use]
    pub fn gravest(&self) -> Option<Severity> {
        self.findings.iter().map(Found::severity).max()
    }

    /// For people; `command` runs one of the seeds again, if the seed is put behind it.
    #[must_use]
    pub fn text(&self, command: &str) -> String {
        let mut out = String::new();
        let Self { seeds, sound, faults, virtual_s, .. } = self;
        let _ =
            writeln!(out, "{seeds} worlds with {faults} faults over {virtual_s} seconds of their own: {sound} sound");
        for found in &self.findings {
            let Found { oracle, kind, times, seeds, example } = found;
            let severity = found.severity().name();
            let kind = if kind.is_empty() { String::new() } else { format!(" ({kind})") };
            let _ = writeln!(out, "\n{severity}: {oracle}{kind}, in {times} worlds, {seeds:?} first");
            if let Some(oracle) = Oracle::named(oracle) {
                let _ = writeln!(out, "  {}", oracle.means());
            }
            let _ = writeln!(out, "  {example}");
            if let Some(seed) = seeds.first() {
                let _ = writeln!(out, "  {command} {seed}..{}", seed + 1);
            }
        }
        for Otherwise { seed, live, simulated } in &self.otherwise {
            let _ = writeln!(out, "\nseed {seed}: live: {live}, simulated: {simulated}");
        }
        out.push('\n');
        let (some, none): (Vec<_>, Vec<_>) =
            Sometimes::ALL.into_iter().partition(|path| self.reached.contains_key(path.name()));
        for path in some {
            let _ = writeln!(out, "{:>8}  {:<24} {}", self.reached[path.name()], path.name(), path.means());
        }
        if !none.is_empty() {
            let _ = writeln!(out, "\nIn none of these worlds:");
            for path in none {
                let _ = writeln!(out, "          {:<24} {}", path.name(), path.means());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Reached;

    fn verdict(seed: u64, broken: &[Oracle]) -> Verdict {
        let mut reached = Reached::default();
        reached.add(Sometimes::CameBack, 3);
        let violations = broken.iter().map(|oracle| oracle.broken(format!("seed {seed}"))).collect();
        Verdict {
            seed,
            finding: Finding::of(violations),
            digest: format!("{seed:x}"),
            virtual_us: 400_000,
            reached,
            faults: 2,
        }
    }

    #[test]
    fn parts_make_the_same_whole_in_any_order() {
        let verdicts: Vec<Verdict> = (0..20)
            .map(|seed| match seed % 4 {
                0 => verdict(seed, &[Oracle::NotDrained]),
                1 => verdict(seed, &[Oracle::NotReady, Oracle::TaskLost]),
                _ => verdict(seed, &[]),
            })
            .collect();
        let of = |verdicts: &[Verdict]| {
            let mut tally = Tally::default();
            verdicts.iter().for_each(|verdict| tally.add(verdict));
            tally
        };
        let whole = of(&verdicts);
        let mut merged = of(&verdicts[12..]);
        merged.merge(of(&verdicts[..12]));
        merged.virtual_s = whole.virtual_s; // each part has its own rest of a second
        assert_eq!(merged, whole);
        assert_eq!((whole.seeds, whole.sound, whole.gravest()), (20, 10, Some(Severity::Safety)));
        assert_eq!(whole.findings[0].seeds, [1, 5, 9, 13, 17]);
        assert_eq!((whole.findings[0].times, whole.reached["came_back"]), (5, 20));
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let mut tally = Tally::default();
        tally.add(&verdict(3, &[Oracle::TaskLost]));
        tally.virtual_us = 0; // is not written
        let beside = Line::beside(&verdict(5, &[]), Some(&verdict(5, &[Oracle::TaskLost])));
        let lines = [Line::of(&verdict(3, &[Oracle::TaskLost])), Line::of(&verdict(4, &[])), beside];
        for line in lines.into_iter().chain([Line::Summary { summary: tally }]) {
            let text = serde_json::to_string(&line).unwrap();
            assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line, "{text}");
        }
    }

    #[test]
    fn a_world_of_which_the_simulator_says_something_else_is_told_of() {
        let mut tally = Tally::default();
        for (seed, live, simulated) in
            [(1, &[][..], &[][..]), (2, &[], &[Oracle::NotReady]), (3, &[Oracle::TaskLost], &[])]
        {
            let (live, simulated) = (verdict(seed, live), verdict(seed, simulated));
            tally.add(&live);
            tally.compare(&live, &simulated);
        }
        let text = tally.text("experiments hunt --live --seeds");
        assert!(text.contains("seed 2: live: sound, simulated: not_ready"), "{text}");
        assert!(text.contains("seed 3: live: task_lost, simulated: sound") && !text.contains("seed 1: live"), "{text}");
        let mut merged = Tally::default();
        merged.merge(tally.clone());
        assert_eq!((merged.otherwise.len(), &merged.otherwise), (2, &tally.otherwise));
    }

    #[test]
    fn a_path_that_nobody_took_is_told_of() {
        let mut tally = Tally::default();
        tally.add(&verdict(7, &[Oracle::TaskLost]));
        let text = tally.text("experiments hunt --seeds");
        assert!(text.contains("safety: task_lost, in 1 worlds, [7] first"), "{text}");
        assert!(text.contains("experiments hunt --seeds 7..8"), "{text}");
        let (some, none) = text.split_once("In none of these worlds:").unwrap();
        assert!(some.contains("came_back") && none.contains("stepped_aside"), "{text}");
    }
}
