//! `experiments compare`: simulation, live run and thesis side by side.

use super::{
    Program,
    changes::Changes,
    output::{here, print},
};
use crate::{
    compare::{Comparison, Source},
    plot::Figure,
    results::{self, Directories, replace},
    run, thesis,
};
use anyhow::Context;
use clap::Args;
use std::path::PathBuf;

/// What to compare.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The experiment's name, as `experiments list` shows them, or the path of its file.
    #[arg(value_name = "SPEC")]
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// Where live results are [default: results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Results of an earlier live run, kept elsewhere, to lay beside the last one: a router that takes more CPU shows.
    #[arg(long, value_name = "DIR")]
    before: Option<PathBuf>,
    /// Where the overlay goes [default: plots/].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Prints JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// # Errors
/// When the input is wrong, the run fails, or a file can't be read or written.
pub(super) fn compare(arguments: &CompareArgs, program: Program) -> anyhow::Result<()> {
    let spec = arguments.changes.load(&arguments.name, program)?;
    let directories = Directories::at(arguments.results.as_deref(), arguments.plots.as_deref());
    let live = Source::live(&directories.results, &spec.name)?;
    let before = arguments.before.as_deref().map(|results| Source::live_before(results, &spec.name)).transpose()?;
    let path = directories.plots.join(format!("compare_{}", spec.name));
    results::check_writable(&path)?;
    let run = run::run(&spec, program.simulate, None, arguments.quiet)?;
    let simulation = Source::simulation(&spec, &run).context("no task finished, so there is nothing to compare")?;
    let published = thesis::reference().get(&spec.name).map(Source::thesis);
    let comparison =
        Comparison::new(&spec, [Some(simulation), live, before, published].into_iter().flatten().collect());
    print(&if arguments.json { comparison.json() } else { comparison.table() })?;
    let overlay = comparison.overlay();
    replace(&path.with_extension("svg"), overlay.svg()?.as_bytes())?;
    replace(&path.with_extension("png"), &overlay.png()?)?;
    if !arguments.quiet {
        eprintln!("wrote {}.svg and .png", here(&path).display());
    }
    Ok(())
}
