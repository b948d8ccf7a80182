//! The command line. Exit codes: 0 all well, 1 the run failed, 2 the input is wrong.

mod brokers;
mod check;
mod compare;
mod live;
mod thesis;

use crate::live::AddressError;
use crate::results::{self, Directories, Summary};
use crate::run;
use crate::simulate::Simulate;
use crate::spec::{self, Override, Spec, SpecError};
use crate::{table, verify};
use anyhow::{Context, anyhow};
use clap::{Args, CommandFactory, Parser, Subcommand};
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Runs an experiment in the simulator, prints a table and leaves results and a plot behind.
#[derive(Parser)]
#[command(name = "experiments", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    /// The experiment's name; `experiments list` shows all.
    name: Option<String>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    options: RunOptions,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the experiments.
    List {
        #[command(flatten)]
        specs: SpecsArg,
    },
    /// Prints an experiment in full: after `extends`, defaults and options.
    Show {
        /// The experiment's name; `experiments list` shows all.
        name: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// The regression gate: runs experiments and compares them with their committed results.
    Check(check::CheckArgs),
    /// Serves the emulated RabbitMQ, Mosquitto and Redis on real ports, until Ctrl-C.
    Brokers(brokers::BrokersArgs),
    /// Measures on real brokers what the simulator needs to know, and writes it as a spec that others extend.
    Calibrate(live::CalibrateArgs),
    /// Lays simulation, live run and thesis side by side.
    Compare(compare::CompareArgs),
    /// Is the `backbone` program: how live runs start their routers.
    #[command(hide = true)]
    Backbone(live::BackboneArgs),
    /// Runs the thesis' experiments again and writes a report on each of its figures and claims.
    Thesis(thesis::ThesisArgs),
}

#[derive(Debug, Args)]
struct SpecsArg {
    /// Where the experiments' files are [default: experiments/specs of the repository].
    #[arg(long = "specs", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl SpecsArg {
    fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(spec::default_directory)
    }
}

/// What to change about an experiment.
#[derive(Debug, Args)]
struct Changes {
    #[command(flatten)]
    specs: SpecsArg,
    /// The seed, which decides everything that happens.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    seed: Option<i64>,
    /// How many tasks (workload.tasks).
    #[arg(long, value_name = "N")]
    tasks: Option<u32>,
    /// How many forward routers, and as many backward routers (replicas.routers).
    #[arg(long, value_name = "N")]
    router_replicas: Option<u32>,
    /// How many gateways (fleet.gateways).
    #[arg(long, value_name = "N")]
    gateways: Option<u32>,
    /// Any other field, as in --set network.loss_ppm=100; may be repeated.
    #[arg(long = "set", value_name = "PATH=VALUE", value_parser = Override::parse)]
    set: Vec<Override>,
}

impl Changes {
    fn load(&self, name: &str) -> Result<Spec, SpecError> {
        let named = [
            ("--seed", "seed", self.seed),
            ("--tasks", "workload.tasks", self.tasks.map(i64::from)),
            ("--router-replicas", "replicas.routers", self.router_replicas.map(i64::from)),
            ("--gateways", "fleet.gateways", self.gateways.map(i64::from)),
        ];
        let named = named.into_iter().filter_map(|(option, path, value)| {
            let value = value?;
            Some(Override { option: format!("{option} {value}"), path: path.to_owned(), value: value.into() })
        });
        let overrides: Vec<Override> = named.chain(self.set.iter().cloned()).collect();
        spec::load(&self.specs.directory(), name, &overrides)
    }

    /// The command that does the same again.
    fn replay(&self, spec: &Spec, live: &live::LiveArgs) -> String {
        let mut command = format!("cargo run -p experiments -- {} --seed {}", spec.name, spec.seed);
        if let Some(directory) = &self.specs.directory {
            command += &format!(" --specs '{}'", directory.display());
        }
        let numbers =
            [("--tasks", self.tasks), ("--router-replicas", self.router_replicas), ("--gateways", self.gateways)];
        for (option, value) in numbers {
            if let Some(value) = value {
                command += &format!(" {option} {value}");
            }
        }
        command += &live.replay();
        for option in &self.set {
            command += &format!(" --set '{}'", option.option.trim_start_matches("--set "));
        }
        command
    }
}

/// What to do with a run.
#[derive(Args)]
struct RunOptions {
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
    live: live::LiveArgs,
}

/// Does what the command line says; `simulate` is what runs an experiment.
#[must_use]
pub fn main(simulate: Simulate) -> ExitCode {
    let mut cli = Cli::parse();
    if let Some(Action::Backbone(arguments)) = cli.action.take_if(|action| matches!(action, Action::Backbone(_))) {
        return live::backbone(arguments);
    }
    // lapin takes for errors what is none here: the answer that a queue is missing, which live runs ask for, and the end of
    // its connections when a run is stopped. What is one, the run says itself.
    let filter = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let filter =
        filter.unwrap_or_else(|| Targets::new().with_default(LevelFilter::WARN).with_target("lapin", LevelFilter::OFF));
    let colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(io::stderr).without_time();
    tracing_subscriber::registry().with(log).with(filter).init();
    match act(cli, simulate) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            let wrong_input =
                error.is::<SpecError>() || error.is::<AddressError>() || error.is::<brokers::ListenError>();
            ExitCode::from(if wrong_input { 2 } else { 1 })
        }
    }
}

fn act(cli: Cli, simulate: Simulate) -> anyhow::Result<()> {
    match (cli.action, cli.name) {
        (Some(Action::List { specs }), _) => list(&specs.directory()),
        (Some(Action::Show { name, changes }), _) => print(&changes.load(&name)?.to_toml()),
        (Some(Action::Check(arguments)), _) => check::check(&arguments, simulate),
        (Some(Action::Brokers(arguments)), _) => brokers::brokers(&arguments),
        (Some(Action::Calibrate(arguments)), _) => live::calibrate(&arguments, simulate),
        (Some(Action::Compare(arguments)), _) => compare::compare(&arguments, simulate),
        (Some(Action::Backbone(_)), _) => unreachable!("it has a main function of its own"),
        (Some(Action::Thesis(arguments)), _) => thesis::thesis(&arguments, simulate),
        (None, Some(name)) => run_one(&cli.changes.load(&name)?, &cli.changes, &cli.options, simulate),
        (None, None) => {
            let missing = "which experiment? `experiments list` shows all";
            Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, missing).exit()
        }
    }
}

fn list(directory: &Path) -> anyhow::Result<()> {
    let listed = spec::list(directory)?;
    let width = listed.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
    let lines: Vec<String> = listed.iter().map(|spec| format!("{:width$}  {}\n", spec.name, spec.title)).collect();
    print(&lines.concat())
}

fn run_one(spec: &Spec, changes: &Changes, options: &RunOptions, simulate: Simulate) -> anyhow::Result<()> {
    options.live.options().check()?;
    let run = measured(options, spec, simulate)
        .map_err(|error| anyhow!("{error:#}\nto run it again: {}", changes.replay(spec, &options.live)))?;
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
        return crate::live::run(spec, &options.live.options(), options.quiet);
    }
    if options.verify {
        let run = verify::verify(spec, simulate, options.quiet)?;
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

/// `path` as seen from the working directory, if it lies below that.
fn here(path: &Path) -> &Path {
    std::env::current_dir().ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path)
}

/// Prints to stdout; a reader that has had enough (`| head`) is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("printing"),
    }
}
