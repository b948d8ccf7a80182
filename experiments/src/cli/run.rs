//! `experiments NAME`: runs one experiment, prints it, and leaves its results behind.

use super::{
    changes::Changes,
    live::LiveArgs,
    output::{here, print},
};
use crate::{
    results::{self, Directories, Summary},
    run,
    simulate::Simulate,
    spec::Spec,
    table,
};
use anyhow::{Context, anyhow};
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
    /// Where results go [default: results/ of the repository].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where plots go [default: plots/ of the repository].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Prints the summary as JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Shows no progress.
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    live: LiveArgs,
}

/// # Errors
/// When the input is wrong, the run fails, or a file can't be written.
pub(super) fn run(spec: &Spec, changes: &Changes, options: &RunOptions, simulate: Simulate) -> anyhow::Result<()> {
    options.live.options().check()?;
    let run = measured(options, spec, simulate)
        .map_err(|error| anyhow!("{error:#}\nto run it again: {}", changes.replay(spec, &options.live.replay())))?;
    let summary = Summary::of(spec, &run);
    if options.json {
        print(&summary.to_json())?;
    } else {
        print(&table::render(&summary))?;
    }
    let mut directories = Directories::at(options.results.as_deref(), options.plots.as_deref());
    if options.live.live {
        directories = directories.live();
    }
    let written = results::write(&directories, spec, &run.outcome, &summary)?;
    if !options.quiet {
        let written: Vec<String> = written.iter().map(|path| here(path).display().to_string()).collect();
        eprintln!("wrote {}", written.join(", "));
    }
    Ok(())
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
