//! `experiments hunt`: worlds of seeds, and what does not hold in them.

mod live;

use super::{
    Program,
    changes::{Changes, as_path, quoted},
    output::{here, print},
};
use crate::{
    cost::Stopwatch,
    hunt::{
        self, Campaign, Shard, Shrunk, Tally,
        bugs::{Bug, Entry, State, Today},
        judge, story,
        tally::Line,
        world,
    },
    measure::Severity,
    spec::{self, Library, Spec, only_changes},
};
use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use std::{
    fs::File,
    io::Write,
    num::NonZero,
    ops::{ControlFlow, Range},
    path::{Path, PathBuf},
};

/// The first seed, unless another is given.
const SEED: u64 = 1;
/// So many seeds are tried, unless a number or a time is given; and so many on real brokers, each of which takes
/// half a minute.
const SEEDS: u64 = 1_000;
const LIVE_SEEDS: u64 = 30;
/// Least wall time between two lines of progress, in seconds.
const PROGRESS_S: f64 = 5.0;

/// What to hunt for, and how.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct HuntArgs {
    #[command(subcommand)]
    action: Option<Action>,
    /// The experiment that is to be broken; without one each seed draws a world of its own.
    #[arg(value_name = "SPEC")]
    spec: Option<String>,
    #[command(flatten)]
    hunt: Options,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Prints the world of a seed as a spec, with its faults.
    Spec {
        /// The seed.
        seed: u64,
        /// The experiment that is broken; without one the seed's own world.
        #[arg(value_name = "SPEC")]
        spec: Option<String>,
        /// That for real brokers.
        #[arg(long, conflicts_with = "rollouts")]
        live: bool,
        /// That with a new version of a service.
        #[arg(long)]
        rollouts: bool,
        /// Writes it to this file instead.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        changes: Changes,
    },
    /// Makes the world of a seed as small as it can be while it shows the same, and tells its story.
    Shrink(ShrinkArgs),
    /// Runs the base of what was found: what was fixed must not come back.
    Bugs {
        /// The base [default: experiments/bugs/ of the repository].
        #[arg(value_name = "DIR")]
        base: Option<PathBuf>,
    },
    /// Adds up what shards have written with --json.
    Merge {
        /// Their files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Args)]
struct ShrinkArgs {
    /// A seed, the file of a spec, or the folder of something that was found.
    #[arg(value_name = "SEED|FILE|FOLDER")]
    what: String,
    /// Most runs.
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    runs: usize,
    /// Keeps it in the base, in a folder of this name.
    #[arg(long, value_name = "NAME")]
    keep: Option<String>,
    /// The base [default: experiments/bugs/ of the repository].
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Args)]
struct Options {
    /// On real brokers, one world after the other, beside what the simulator says of the same world.
    #[arg(long, conflicts_with = "jobs")]
    live: bool,
    /// Which seeds: from the first up to, but not with, the last [default: 1..1001; with --live 1..31].
    #[arg(long, value_name = "A..B", value_parser = seeds)]
    seeds: Option<Range<u64>>,
    /// Goes on for so long, from the first seed on, as in 90s, 10m or 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
    limit_s: Option<f64>,
    /// Rolls a new version of a service out in each world, beside what breaks in it.
    #[arg(long, conflicts_with = "live")]
    rollouts: bool,
    /// Runs at a time [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZero<usize>>,
    /// Only each Nth seed, from the one with this number on, counted from 0.
    #[arg(long, value_name = "I/N", default_value_t = Shard::ALL)]
    shard: Shard,
    /// Stops at the first world that does not hold.
    #[arg(long)]
    first: bool,
    /// Prints a line of JSON for each seed, and one with the sum.
    #[arg(long)]
    json: bool,
    /// Writes what it finds to this file instead of printing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
}

impl HuntArgs {
    pub(super) fn is_quiet(&self) -> bool {
        true // the services' own log lines would be those of thousands of broken worlds
    }
}

/// Something was found.
#[derive(Debug, thiserror::Error)]
#[error("{times} of {seeds} worlds did not hold")]
pub(super) struct Found {
    gravest: Severity,
    times: u64,
    seeds: u64,
}

impl Found {
    /// The program's exit code.
    pub(super) fn exit_code(&self) -> u8 {
        match self.gravest {
            Severity::Harness => 1,
            Severity::Safety => 3,
            Severity::Liveness => 4,
        }
    }
}

fn seeds(text: &str) -> Result<Range<u64>, String> {
    let parsed = text.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    parsed
        .filter(|seeds: &Range<u64>| !seeds.is_empty())
        .ok_or_else(|| format!("`{text}` is no range; expected FIRST..END, as in 1..1001"))
}

fn seconds(text: &str) -> Result<f64, String> {
    let (number, unit_s) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1.0),
        Some(b'm') => (&text[..text.len() - 1], 60.0),
        Some(b'h') => (&text[..text.len() - 1], 3_600.0),
        _ => (text, 1.0),
    };
    let number: Option<f64> = number.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.map(|number| number * unit_s).ok_or_else(|| format!("`{text}` is no time; expected one as in 90s, 10m, 2h"))
}

/// # Errors
/// When the input is wrong, or something was found.
pub(super) fn hunt(arguments: &HuntArgs, program: Program) -> anyhow::Result<()> {
    match &arguments.action {
        None => chase(arguments.spec.as_deref(), &arguments.hunt, program),
        Some(Action::Spec { seed, spec, live, rollouts, out, changes }) => {
            let base = spec.as_ref().map(|name| changes.load(name, program)).transpose()?;
            let world = match live {
                true => live::world_of(base.as_ref(), *seed),
                false => world_of(base.as_ref(), *seed, *rollouts),
            };
            Sink::new(out.as_deref())?.put(&world.to_toml())
        }
        Some(Action::Shrink(arguments)) => shrink(arguments, program),
        Some(Action::Bugs { base }) => bugs(&base_or_default(base.as_ref()), program),
        Some(Action::Merge { files }) => conclude(&merged(files)?, "experiments hunt --seeds", &mut Sink::new(None)?),
    }
}

fn world_of(base: Option<&Spec>, seed: u64, has_rollout: bool) -> Spec {
    let world = base.map_or_else(|| world::draw(seed), |base| world::with_faults(base, seed));
    if has_rollout { world::with_rollout(&world) } else { world }
}

fn base_or_default(base: Option<&PathBuf>) -> PathBuf {
    base.cloned().unwrap_or_else(|| spec::repository().unwrap_or(Path::new("")).join("experiments/bugs"))
}

/// The world that `what` names.
fn world_named(what: &str, program: Program) -> anyhow::Result<Spec> {
    if let Ok(seed) = what.parse() {
        return Ok(world::draw(seed));
    }
    if Path::new(what).is_dir() {
        return Ok(Entry::read(Path::new(what))?.spec);
    }
    let (folder, name) = as_path(what).with_context(|| format!("`{what}` is no seed, no file and no folder"))?;
    Ok(spec::load(&Library::built_in(program.built_in).with_folder(folder), name, &[])?)
}

fn shrink(arguments: &ShrinkArgs, program: Program) -> anyhow::Result<()> {
    let ShrinkArgs { what, runs, keep, base, quiet } = arguments;
    let spec = world_named(what, program)?;
    let Some(finding) = judge(&spec, program.simulate, None).finding else { bail!("{what}: nothing is found in it") };
    let fingerprint = finding.fingerprint;
    let mut say = |step: &str| {
        if !quiet {
            eprintln!("still {fingerprint}: {step}");
        }
    };
    let Shrunk { spec, runs } = hunt::shrink(&spec, &fingerprint, program.simulate, *runs, &mut say);
    let (_, story) = story::tell(&spec, program.simulate);
    let short = only_changes(&spec);
    print(&format!("# {fingerprint}, after {runs} runs\n{short}\n{story}"))?;
    let Some(name) = keep else { return Ok(()) };
    let bug = Bug {
        what: String::new(),
        state: State::Open,
        oracle: fingerprint.oracle.name().to_owned(),
        kind: fingerprint.kind,
        commit: String::new(),
    };
    let entry = Entry { name: name.clone(), bug, spec };
    let folder = entry.write(&base_or_default(base.as_ref()), &format!("{short}\n{story}"))?;
    eprintln!("wrote {}; say there what it was (`what`) and at which commit", here(&folder).display());
    Ok(())
}

fn bugs(base: &Path, program: Program) -> anyhow::Result<()> {
    let (mut out, mut wrong) = (String::new(), 0);
    for entry in Entry::all(base)? {
        let (is_as_told, word) = match entry.today(program.simulate)? {
            Today::AsTold => (true, format!("as told, {:?}", entry.bug.state).to_lowercase()),
            Today::Back(finding) => (false, format!("is back: {}", finding.fingerprint)),
            Today::Gone => (false, "does not show any more; is it fixed?".to_owned()),
        };
        wrong += usize::from(!is_as_told);
        out += &format!("{:<40} {word}\n", entry.name);
    }
    print(&out)?;
    if wrong > 0 { bail!("{wrong} of them are not as the base in {} says", base.display()) } else { Ok(()) }
}

fn chase(name: Option<&str>, options: &Options, program: Program) -> anyhow::Result<()> {
    let base = name.map(|name| options.changes.load(name, program)).transpose()?;
    let jobs = options.jobs.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZero::<usize>::MIN);
    let seeds = if options.live { LIVE_SEEDS } else { SEEDS };
    let end = if options.limit_s.is_some() { u64::MAX } else { SEED + seeds };
    let seeds = options.seeds.clone().unwrap_or(SEED..end);
    let campaign = Campaign { seeds, shard: options.shard, limit_s: options.limit_s, jobs };
    let of = name.map_or_else(String::new, |name| format!(" {}", quoted(name)));
    let how = if options.live {
        " --live"
    } else if options.rollouts {
        " --rollouts"
    } else {
        ""
    };
    let command = format!("experiments hunt{of}{how}{} --seeds", options.changes.again());
    if options.live {
        return live::chase(base.as_ref(), &campaign, options, program.simulate, &command);
    }
    let (mut tally, clock, mut told_s) = (Tally::default(), Stopwatch::start(), 0.0);
    let (mut sink, mut printed) = (Sink::new(options.out.as_deref())?, Ok(()));
    campaign.run(
        |seed| world_of(base.as_ref(), seed, options.rollouts),
        program.simulate,
        |verdict| {
            tally.add(&verdict);
            if options.json && printed.is_ok() {
                printed = sink.line(&Line::of(&verdict));
            }
            if let Some(finding) = verdict.finding.as_ref().filter(|_| !options.quiet) {
                eprintln!("seed {}: {}: {}", verdict.seed, finding.fingerprint, finding.violations[0]);
            }
            if !options.quiet && clock.elapsed_s() - told_s > PROGRESS_S {
                told_s = clock.elapsed_s();
                let (seeds, unsound) = (tally.seeds, tally.seeds - tally.sound);
                let an_hour = seeds as f64 / told_s * 3_600.0;
                eprintln!("{seeds} worlds, {unsound} unsound, {an_hour:.0} an hour, {told_s:.0} s");
            }
            if options.first && verdict.finding.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        },
    );
    printed?;
    if !options.quiet {
        let (seeds, took_s) = (tally.seeds, clock.elapsed_s());
        eprintln!("{seeds} worlds in {took_s:.1} s, {:.0} an hour", seeds as f64 / took_s * 3_600.0);
    }
    if options.json {
        sink.line(&Line::Summary { summary: tally.clone() })?;
        return found(&tally);
    }
    conclude(&tally, &command, &mut sink)
}

fn conclude(tally: &Tally, command: &str, sink: &mut Sink) -> anyhow::Result<()> {
    sink.put(&tally.text(command))?;
    found(tally)
}

fn found(tally: &Tally) -> anyhow::Result<()> {
    match tally.gravest() {
        None => Ok(()),
        Some(gravest) => bail!(Found { gravest, times: tally.seeds - tally.sound, seeds: tally.seeds }),
    }
}

/// Where what is found goes: a file, or the terminal.
struct Sink(Option<(File, PathBuf)>);

impl Sink {
    fn new(file: Option<&Path>) -> anyhow::Result<Self> {
        let open = |path: &Path| {
            let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
            anyhow::Ok((file, path.to_owned()))
        };
        Ok(Self(file.map(open).transpose()?))
    }

    fn put(&mut self, text: &str) -> anyhow::Result<()> {
        match &mut self.0 {
            None => print(text),
            Some((file, path)) => {
                file.write_all(text.as_bytes()).with_context(|| format!("writing to {}", path.display()))
            }
        }
    }

    fn line(&mut self, line: &Line) -> anyhow::Result<()> {
        let text = serde_json::to_string(line).context("writing a line of JSON")?;
        self.put(&format!("{text}\n"))
    }
}

fn merged(files: &[PathBuf]) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    files.iter().map(|file| summary_in(file)).try_for_each(|summary| {
        tally.merge(summary?);
        anyhow::Ok(())
    })?;
    Ok(tally)
}

fn summary_in(file: &Path) -> anyhow::Result<Tally> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let last = text.lines().last().unwrap_or_default();
    match serde_json::from_str(last) {
        Ok(Line::Summary { summary }) => Ok(summary),
        _ => bail!("{}: the last line is no sum of a hunt; did that end? It is written with --json", file.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_and_times_are_read_as_people_write_them() {
        assert_eq!(seeds("3..9"), Ok(3..9));
        assert!(seeds("9..3").is_err() && seeds("7").is_err() && seeds("a..b").is_err());
        assert_eq!(["90s", "10m", "2h", "5"].map(seconds), [Ok(90.0), Ok(600.0), Ok(7_200.0), Ok(5.0)]);
        assert!(seconds("").is_err() && seconds("-1s").is_err() && seconds("m").is_err());
    }
}
