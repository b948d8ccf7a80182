//! `experiments explain`: why tasks took as long as they did.

use super::{
    Program,
    changes::Changes,
    exports::Exports,
    output::{here, print},
};
use crate::{
    attribution::Details,
    explain::{
        self, Shares, Stretch, Which,
        what_if::{self, Assumption, Assumptions, Latencies, Ran, Remedied, WhatIf},
    },
    plot::Figure,
    results::{self, Directories, replace},
    run::{self, Explained},
    spec::{self, Spec, SpecError},
};
use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// What to explain, and how to say it.
#[derive(Debug, Args)]
pub(super) struct ExplainArgs {
    /// The experiment's name, as `experiments list` shows them, or the path of its file.
    #[arg(value_name = "SPEC")]
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// Which part of a task's time.
    #[arg(long, value_enum, default_value_t = Of::EndToEnd)]
    of: Of,
    /// Tells one task's story instead: by its name, or the one at a percentile (p50, p99.9, max).
    #[arg(long, value_name = "TASK")]
    task: Option<Which>,
    /// Estimates latencies if a cause took another share of its time instead: nagle=0, gateway_queue=0.5; may be
    /// repeated.
    #[arg(long, value_name = "CAUSE=FACTOR",
          conflicts_with_all = ["of", "task", "folded", "pcap", "otlp", "perfetto", "plot", "page"])]
    what_if: Vec<Assumption>,
    /// Also runs it with the setting that takes these causes away, and says how near the estimate is.
    #[arg(long, requires = "what_if")]
    run: bool,
    /// Also writes stacks for flame graphs here.
    #[arg(long, value_name = "FILE")]
    folded: Option<PathBuf>,
    #[command(flatten)]
    exports: Exports,
    /// Also draws causes over percentiles, as causes_SPEC.svg and .png.
    #[arg(long)]
    plot: bool,
    /// Draws another experiment, as it is, in the same picture.
    #[arg(long, value_name = "SPEC", requires = "plot")]
    beside: Option<String>,
    /// Also writes all of it, and the run's pictures, as one page: report.html.
    #[arg(long)]
    page: bool,
    /// Where the page goes [default: results/SPEC/; for a changed experiment results/trial/SPEC/].
    #[arg(long, value_name = "DIR", requires = "page")]
    results: Option<PathBuf>,
    /// Where the picture goes [default: plots/; for a changed experiment plots/trial/].
    #[arg(long, value_name = "DIR", requires = "plot")]
    plots: Option<PathBuf>,
    /// Prints JSON instead of the table.
    #[arg(long, conflicts_with = "task")]
    json: bool,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Of {
    /// From its publishing to its end.
    EndToEnd,
    /// The try that ended it.
    DecidingTry,
}

impl From<Of> for Stretch {
    fn from(of: Of) -> Self {
        match of {
            Of::EndToEnd => Self::EndToEnd,
            Of::DecidingTry => Self::DecidingTry,
        }
    }
}

/// # Errors
/// When the input is wrong, the run fails, some time is not explained, or a file can't be written.
pub(super) fn explain(arguments: &ExplainArgs, program: Program) -> anyhow::Result<()> {
    let spec = arguments.changes.load(&arguments.name, program)?;
    if !arguments.what_if.is_empty() {
        return what_if(arguments, &spec);
    }
    let unchanged = |name: &String| arguments.changes.load_unchanged(name, program);
    let beside = arguments.beside.as_ref().map(unchanged).transpose()?;
    let directories = Directories::at(None, None);
    let directories = if results::is_of_record(&spec) { directories } else { directories.trial() };
    let plots = arguments.plots.clone().unwrap_or(directories.plots);
    let page = arguments.results.clone().unwrap_or(directories.results).join(&spec.name).join("report.html");
    let names: Vec<&str> = std::iter::once(&spec).chain(&beside).map(|spec| spec.name.as_str()).collect();
    let picture = plots.join(format!("causes_{}", names.join("_")));
    if arguments.plot {
        results::check_writable(&picture.with_extension("svg"))?;
    }
    if arguments.page {
        results::check_writable(&page)?;
    }
    arguments.folded.as_deref().map_or(Ok(()), results::check_writable)?;
    arguments.exports.check_writable()?;
    let stretch = arguments.of.into();
    let explained = run::explained(&spec, arguments.exports.details(), arguments.quiet)?;
    let warm_up = explained.run.outcome.warm_up_tasks;
    if let Some(which) = &arguments.task {
        let story = explain::story(&explained.attribution, warm_up, stretch, which);
        print(&story.with_context(|| format!("{}: no such task has an end", spec.name))?)?;
    } else {
        let shares = Shares::of(&explained.attribution, warm_up, stretch);
        let shares = shares.with_context(|| format!("{}: no task was done", spec.name))?;
        print(&if arguments.json { format!("{:#}\n", shares.json()) } else { shares.table() })?;
    }
    let mut written = arguments.exports.write(&spec, &explained.attribution)?;
    if let Some(path) = &arguments.folded {
        replace(path, explain::folded(&explained.attribution, warm_up, stretch).as_bytes())?;
        written.push(path.clone());
    }
    if arguments.page {
        replace(&page, explain::page(&spec, &explained)?.as_bytes())?;
        written.push(page);
    }
    if arguments.plot {
        let beside =
            beside.as_ref().map(|spec| run::explained(spec, Details::default(), arguments.quiet)).transpose()?;
        let runs: Vec<_> = names
            .iter()
            .zip(std::iter::once(&explained).chain(&beside))
            .map(|(name, run)| (*name, &run.attribution, run.run.outcome.warm_up_tasks))
            .collect();
        let figure = explain::picture(&runs, stretch).context("no task was done, so there is nothing to draw")?;
        let [svg, png] = ["svg", "png"].map(|end| picture.with_extension(end));
        replace(&svg, figure.svg()?.as_bytes())?;
        replace(&png, &figure.png()?)?;
        written.extend([svg, png]);
    }
    if !arguments.quiet && !written.is_empty() {
        let written: Vec<String> = written.iter().map(|path| here(path).display().to_string()).collect();
        eprintln!("wrote {}", written.join(", "));
    }
    check_all_explained(&spec, &explained)
}

fn check_all_explained(spec: &Spec, explained: &Explained) -> anyhow::Result<()> {
    let unexplained = explained.attribution.tasks.iter().filter(|task| task.unexplained_us() > 0).count();
    ensure!(unexplained == 0, "{}: of {unexplained} tasks not all time is explained; this is a defect", spec.name);
    Ok(())
}

/// Estimates instead of telling what was.
fn what_if(arguments: &ExplainArgs, spec: &Spec) -> anyhow::Result<()> {
    let assumptions = Assumptions(arguments.what_if.clone());
    let remedied = arguments.run.then(|| what_if::remedied(spec, &assumptions)).transpose()?;
    let explained = run::explained(spec, Details::FOR_REPLAY, arguments.quiet)?;
    check_all_explained(spec, &explained)?;
    let none = || format!("{}: no task was done", spec.name);
    let mut answer = WhatIf::of(spec, &explained, &assumptions).with_context(none)?;
    if let Some(Remedied { spec: remedied, rounded }) = remedied {
        let reason = |reason| SpecError::Wrong { at: assumptions.to_string(), reason };
        remedied.check().map_err(reason)?;
        let run = run::explained(&remedied, Details::default(), arguments.quiet)?;
        let latencies = Latencies::measured(&run.attribution, run.run.outcome.warm_up_tasks).with_context(none)?;
        answer.ran = Some(Ran { changes: spec::changes(spec, &remedied)?, rounded, latencies });
    }
    print(&if arguments.json { format!("{:#}\n", answer.json()) } else { answer.table() })
}
