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
    let is_twice = over.len() == AXES_MAX && over[0].key == over[1].key;
    ensure!(!is_twice, "--over names {} twice; each axis is a key of its own", over[0].key);
    let has_zero = over[0].values.contains(&0);
    ensure!(!has_zero, "the first --over is drawn on a logarithmic axis, which has no 0; put it second");
    let spec = changes.load(name, program)?;
    let to = Directories::at(arguments.results.as_deref(), arguments.plots.as_deref());
    let called = arguments.called.as_ref().unwrap_or(&spec.name);
    ensure!(!called.contains('/'), "--called is {called}, a path; expected a name");
    let rows = to.results.join("sweep").join(format!("{called}.csv"));
    let [svg, png] = ["svg", "png"].map(|end| to.plots.join("sweep").join(format!("{called}.{end}")));
    [&rows, &svg, &png].into_iter().try_for_each(|path| results::check_writable(path))?;
    let keys: Vec<String> = over.iter().map(|axis| axis.key.clone()).collect();
    let load = |values: &[u32]| changes.load_with(name, program, &overrides(&keys, values));
    let grid = Grid::run((&spec, over.clone()), arguments.show.clone(), &load, program.simulate, arguments.quiet)?;
    print(&grid.table())?;
    replace(&rows, &grid.csv()?)?;
    let mut written = vec![rows];
    let lines = grid.lines();
    if !lines.curves.is_empty() {
        replace(&svg, lines.svg()?.as_bytes())?;
        replace(&png, &lines.png()?)?;
        written.extend([svg, png]);
    }
    if !arguments.quiet {
        let written: Vec<String> = written.iter().map(|path| here(path).display().to_string()).collect();
        eprintln!("wrote {}", written.join(", "));
    }
    Ok(())
}
