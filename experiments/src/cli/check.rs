//! `experiments check`: the regression gate.

use super::{
    Program,
    changes::SpecsArg,
    output::{here, print},
};
use crate::{
    gate,
    results::{self, Directories},
    simulate::attribute,
    spec::{Spec, SpecError},
};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// What to check, and how to say it.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Which experiments; without any, all with `gate = true`.
    #[arg(value_name = "SPEC")]
    specs: Vec<String>,
    /// Beside those with `gate = true` all that have a committed result.
    #[arg(long, conflicts_with = "specs")]
    all: bool,
    #[command(flatten)]
    directory: SpecsArg,
    /// How far p50, p99, max and throughput may move, in per cent. Counts are exact.
    #[arg(long, value_name = "PERCENT", default_value_t = gate::TOLERANCE_PERCENT, value_parser = tolerance)]
    tolerance: f64,
    /// Accepts today's numbers: writes results and plots as a run of each would.
    #[arg(long)]
    bless: bool,
    /// How the verdict is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Also writes the verdict here, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Where the committed results are [default: results/].
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where --bless puts plots [default: plots/].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// Annotations of a GitHub workflow, then the table.
    Github,
    /// For programs.
    Json,
}

fn tolerance(text: &str) -> Result<f64, String> {
    let percent: f64 = text.trim_end_matches('%').trim().parse().map_err(|_| "expected a number, as in 1 or 0.5")?;
    if (0.0..=100.0).contains(&percent) { Ok(percent) } else { Err("expected 0 to 100 per cent".into()) }
}

/// # Errors
/// With a [`SpecError`] if the input is wrong; otherwise if the gate lets something not through, or can't write.
pub(super) fn check(arguments: &CheckArgs, program: Program) -> anyhow::Result<()> {
    let directories = Directories::at(arguments.results.as_deref(), arguments.plots.as_deref());
    let specs = chosen(arguments, program, &directories.results)?;
    if arguments.bless {
        directories.check_writable()?;
    }
    arguments.junit.as_deref().map_or(Ok(()), results::check_writable)?;
    let mut judged = gate::check(&specs, &directories.results, arguments.tolerance, program.simulate, arguments.quiet);
    if !arguments.bless {
        gate::explain(&specs, &mut judged, &directories.results, attribute, arguments.quiet);
    }
    let checked: Vec<gate::Checked> = judged.iter().map(|judged| judged.checked.clone()).collect();
    let shown = match arguments.format {
        Format::Table => gate::table(&checked, arguments.tolerance),
        Format::Github => {
            gate::github(&checked, here(&directories.results)) + &gate::table(&checked, arguments.tolerance)
        }
        Format::Json => gate::json(&checked, arguments.tolerance),
    };
    print(&shown)?;
    if let Some(path) = &arguments.junit {
        std::fs::write(path, gate::junit(&checked)).with_context(|| format!("writing {}", path.display()))?;
    }
    if arguments.bless {
        return bless(&specs, &judged, &directories);
    }
    let failing = checked.iter().filter(|checked| !checked.verdict.passes()).count();
    if failing > 0 {
        bail!("{failing} of {} specs did not pass the gate", checked.len());
    }
    Ok(())
}

fn chosen(arguments: &CheckArgs, program: Program, results: &Path) -> anyhow::Result<Vec<Spec>> {
    let library = arguments.directory.library(program);
    let load = |name: &String| library.load(name);
    if !arguments.specs.is_empty() {
        return Ok(arguments.specs.iter().map(load).collect::<Result<_, _>>()?);
    }
    let listed = library.list_all()?;
    let mut names: BTreeSet<String> =
        listed.iter().filter(|listed| listed.gate).map(|listed| listed.name.clone()).collect();
    if arguments.all {
        let committed = gate::committed_specs(results)?;
        if let Some(orphan) = committed.iter().find(|name| listed.iter().all(|listed| listed.name != **name)) {
            let at = gate::summary_path(results, orphan).display().to_string();
            let reason = format!("this is the result of no experiment in {}; delete it", library.place());
            return Err(SpecError::Wrong { at, reason }.into());
        }
        names.extend(committed);
    }
    if names.is_empty() {
        let reason = "no spec here says `gate = true`; name the experiments to check".to_owned();
        return Err(SpecError::Wrong { at: library.place(), reason }.into());
    }
    Ok(names.iter().map(load).collect::<Result<_, _>>()?)
}

fn bless(specs: &[Spec], judged: &[gate::Judged], directories: &Directories) -> anyhow::Result<()> {
    let mut failed = 0;
    let (mut accepted, mut digests) = (Vec::new(), Vec::new());
    for (spec, judged) in specs.iter().zip(judged) {
        match &judged.run {
            Some((run, summary)) => {
                results::write(directories, spec, &run.outcome, summary)?;
                accepted.push(spec);
                digests.push(run.outcome.trace_digest.as_str());
                eprintln!("accepted {}", here(&directories.results.join(&spec.name)).display());
            }
            None => failed += 1,
        }
    }
    gate::write_causes(&accepted, &digests, &directories.results, attribute)?;
    if failed > 0 {
        bail!("{failed} of {} specs could not be run; their results stay as they were", specs.len());
    }
    Ok(())
}
