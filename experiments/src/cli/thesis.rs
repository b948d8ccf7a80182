//! `experiments thesis`: the thesis' experiments again, and the report.

use super::{
    Program,
    changes::SpecsArg,
    output::{here, print},
};
use crate::{
    results::Directories,
    spec::SpecError,
    thesis::{self, Evaluation, Verdict},
};
use anyhow::bail;
use clap::Args;
use std::path::PathBuf;

/// How much to run, and where it goes.
#[derive(Debug, Args)]
pub(super) struct ThesisArgs {
    /// How many seeds each of the thesis' experiments is run with, from 1.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    seeds: u32,
    #[command(flatten)]
    directory: SpecsArg,
    /// Where data and report go, in thesis/ [default: results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where figures go, in thesis/ [default: plots/].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// # Errors
/// When a spec is wrong, a run fails, or a file can't be written. What the verdicts say is no error.
pub(super) fn thesis(arguments: &ThesisArgs, program: Program) -> anyhow::Result<()> {
    let library = arguments.directory.library(program);
    let specs = thesis::specs(&library, arguments.seeds)?;
    if specs.is_empty() {
        let reason =
            "no spec here belongs to the report: their names begin with custom_, baseline_ or reason_".to_owned();
        return Err(SpecError::Wrong { at: library.place(), reason }.into());
    }
    let directories = Directories::at(arguments.results.as_deref(), arguments.plots.as_deref());
    directories.check_writable()?;
    let mut evaluation = thesis::evaluate(&specs, arguments.seeds, program.simulate, arguments.quiet);
    let wall_s = evaluation.cost.wall_s;
    let report = thesis::write(&directories, &mut evaluation)?;
    print(&outcome(&evaluation, specs.len(), wall_s))?;
    if !arguments.quiet {
        eprintln!("wrote {} and {}", here(&report[0]).display(), here(&report[1]).display());
    }
    if !evaluation.failed.is_empty() {
        let failed: Vec<String> = evaluation.failed.iter().map(|(name, error)| format!("{name}: {error}")).collect();
        bail!("{} of {} runs failed:\n  {}", failed.len(), specs.len(), failed.join("\n  "));
    }
    Ok(())
}

fn outcome(evaluation: &Evaluation, runs: usize, wall_s: f64) -> String {
    let holds = |rows: &[thesis::Row]| rows.iter().filter(|row| row.verdict == Verdict::Holds).count();
    format!(
        "{runs} runs in {wall_s:.0} s of wall time\n{} of {} numbers of the thesis' figures are reproduced\n{} of {} \
         claims hold\n",
        holds(&evaluation.figures),
        evaluation.figures.len(),
        holds(&evaluation.claims),
        evaluation.claims.len()
    )
}
