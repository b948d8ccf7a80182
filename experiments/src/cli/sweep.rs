//! `experiments sweep`: one experiment over a grid of values.

use super::{
    Program,
    capacity::overrides,
    changes::Changes,
    output::{here, print},
};
use crate::{
    capacity::{Axis, Grid},
    measure::Quantity,
    plot::Figure,
    results::{self, Directories, replace},
};
use anyhow::ensure;
use clap::Args;
use std::path::PathBuf;

/// Most axes: a third one would need a third dimension.
const AXES_MAX: usize = 2;

/// What to vary, and what to measure.
#[derive(Debug, Args)]
pub(super) struct SweepArgs {
    /// The experiment's name, as `experiments list` shows them, or the path of its file.
    #[arg(value_name = "SPEC")]
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// A key and its values, as in replicas.routers=1,2,4; a second one makes a line for each of its values.
    #[arg(long, value_name = "KEY=N,...", required = true)]
    over: Vec<Axis>,
    /// What to measure; the first one is drawn.
    #[arg(long, value_name = "NUMBER,...", value_delimiter = ',', default_values = ["end_to_end.p99", "tasks_per_s"])]
    show: Vec<Quantity>,
    /// What its files are called [default: the spec's name].
    #[arg(long, value_name = "NAME")]
    called: Option<String>,
    /// Where the rows go, in sweep/ [default: results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where the figure goes, in sweep/ [default: plots/].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// # Errors
/// When the input is wrong, a run fails, or a file can't be written.
pub(super) fn sweep(arguments: &SweepArgs, program: Program) -> anyhow::Result<()> {
    let SweepArgs { name, changes, over, .. } = arguments;
    ensure!(over.len() <= AXES_MAX, "--over is there {} times; {AXES_MAX} axes can be drawn", over.len());
    let spec = changes.load(name, program)?;
    let to = Directories::at(arguments.results.as_deref(), arguments.plots.as_deref());
    let called = arguments.called.as_ref().unwrap_or(&spec.name);
    let (rows, figure) = (to.results.join("sweep").join(called), to.plots.join("sweep").join(called));
    [&rows, &figure].into_iter().try_for_each(|path| results::check_writable(path))?;
    let keys: Vec<String> = over.iter().map(|axis| axis.key.clone()).collect();
    let load = |values: &[u32]| changes.load_with(name, program, &overrides(&keys, values));
    let grid = Grid::run((&spec, over.clone()), arguments.show.clone(), &load, program.simulate, arguments.quiet)?;
    print(&grid.table())?;
    let mut written = vec![rows.with_extension("csv")];
    replace(&written[0], &grid.csv()?)?;
    let lines = grid.lines();
    if !lines.curves.is_empty() {
        replace(&figure.with_extension("svg"), lines.svg()?.as_bytes())?;
        replace(&figure.with_extension("png"), &lines.png()?)?;
        written.extend([figure.with_extension("svg"), figure.with_extension("png")]);
    }
    if !arguments.quiet {
        let written: Vec<String> = written.iter().map(|path| here(path).display().to_string()).collect();
        eprintln!("wrote {}", written.join(", "));
    }
    Ok(())
}
