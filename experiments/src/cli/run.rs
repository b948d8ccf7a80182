//! `experiments NAME`: runs one experiment, prints it, and leaves its results behind.

use super::{
    Program,
    changes::{Changes, quoted},
    live::LiveArgs,
    output::{Places, here, print},
};
use crate::{
    results::{self, Summary},
    run,
    simulate::Simulate,
    spec::Spec,
    table,
};
use anyhow::{Context, anyhow, bail};
use clap::Args;
use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
};

/// What to do with a run.
#[derive(Args)]
pub(super) struct RunOptions {
    /// Runs twice and compares; names the first event that differs.
    #[arg(long, conflicts_with = "trace")]
    verify: bool,
    /// Writes the event log here, a line an event.
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
    #[command(flatten)]
    places: Places,
    /// Prints the summary as JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    live: LiveArgs,
}

impl RunOptions {
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// The options that say the same again.
    fn replay(&self) -> String {
        let mut options = self.live.replay() + &self.places.replay();
        for (option, is_set) in [(" --verify", self.verify), (" --json", self.json), (" --quiet", self.quiet)] {
            if is_set {
                options += option;
            }
        }
        if let Some(file) = &self.trace {
            options += &format!(" --trace {}", quoted(&file.display().to_string()));
        }
        options
    }
}

/// # Errors
/// When the input is wrong, the run fails or comes out otherwise than its spec expects, or a file can't be written.
pub(super) fn run(name: &str, changes: &Changes, options: &RunOptions, program: Program) -> anyhow::Result<()> {
    let spec = changes.load(name, program)?;
    options.live.options().check()?;
    let mut directories = options.places.of(&spec);
    if options.live.live {
        directories = directories.live();
    }
    directories.check_writable()?;
    let again = || format!("to run it again: {}", changes.replay(name, &spec, &options.replay()));
    let run = measured(options, &spec, program.simulate).map_err(|error| anyhow!("{error:#}\n{}", again()))?;
    let summary = Summary::of(&spec, &run);
    if options.json {
        print(&summary.to_json())?;
    } else {
        print(&table::render(&summary))?;
    }
    let written = results::write(&directories, &spec, &run.outcome, &summary)?;
    if !options.quiet {
        let written: Vec<String> = written.iter().map(|path| here(path).display().to_string()).collect();
        eprintln!("wrote {}", written.join(", "));
    }
    match summary.expectation.miss() {
        None => Ok(()),
        Some(miss) => bail!("{}: {miss}\n{}", spec.name, again()),
    }
}

fn measured(options: &RunOptions, spec: &Spec, simulate: Simulate) -> anyhow::Result<run::Run> {
    if options.live.live {
        return run::run_live(spec, &options.live.options(), options.quiet);
    }
    if options.verify {
        let run = run::verify(spec, simulate, options.quiet)?;
        eprintln!("two runs with seed {} were the same: trace digest {}", spec.seed, run.outcome.trace_digest);
        return Ok(run);
    }
    let trace = match &options.trace {
        None => None,
        Some(path) => {
            let file = File::create(path).with_context(|| format!("creating the event log {}", path.display()))?;
            Some(Box::new(BufWriter::new(file)) as Box<dyn Write + Send>)
        }
    };
    run::run(spec, simulate, trace, options.quiet)
}
