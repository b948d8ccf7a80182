//! `experiments compare`: simulation, live run and thesis side by side; or two experiments, cause by cause.

use super::{
    Program,
    changes::Changes,
    output::{here, print},
};
use crate::{
    attribution::Details,
    compare::{Comparison, Source},
    explain::{self, Side},
    plot::Figure,
    results::{self, Directories, replace},
    run,
    spec::Spec,
    thesis,
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
    /// Another experiment, as it is: then both are simulated, and laid side by side with where the time went.
    #[arg(value_name = "OTHER", conflicts_with_all = ["before", "results", "plots"])]
    other: Option<String>,
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
    if let Some(other) = &arguments.other {
        return two(arguments, &spec, &arguments.changes.load_unchanged(other, program)?);
    }
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

/// Two simulated runs, side by side.
fn two(arguments: &CompareArgs, spec: &Spec, other: &Spec) -> anyhow::Result<()> {
    let run = |spec: &Spec| run::explained(spec, Details::default(), arguments.quiet);
    let runs = [run(spec)?, run(other)?];
    let changes: Vec<String> = spec.origin.changes.iter().map(ToString::to_string).collect();
    let name = format!("{} {}", spec.name, changes.join(", "));
    let sides = [side(name.trim_end(), &runs[0]), side(&other.name, &runs[1])];
    let none = "in one of the runs no task was done, so there is nothing to compare";
    print(&if arguments.json {
        format!("{:#}\n", explain::beside_json(&sides).context(none)?)
    } else {
        explain::beside(&sides).context(none)?
    })
}

fn side<'a>(name: &'a str, run: &'a run::Explained) -> Side<'a> {
    Side { name, attribution: &run.attribution, warm_up_tasks: run.run.outcome.warm_up_tasks }
}
