//! The command line. Exit codes: 0 all well, 1 the run failed, 2 the input is wrong.

mod brokers;
mod calibrate;
mod changes;
mod check;
mod compare;
mod live;
mod output;
mod run;
mod thesis;

use crate::{
    live::AddressError,
    simulate::Simulate,
    spec::{self, SpecError},
};
use changes::{Changes, SpecsArg};
use clap::{CommandFactory, Parser, Subcommand};
use output::print;
use run::RunOptions;
use std::{
    io::{self, IsTerminal as _},
    path::Path,
    process::ExitCode,
};
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
    Calibrate(calibrate::CalibrateArgs),
    /// Lays simulation, live run and thesis side by side.
    Compare(compare::CompareArgs),
    /// Is the `backbone` program: how live runs start their routers.
    #[command(hide = true)]
    Backbone(live::BackboneArgs),
    /// Runs the thesis' experiments again and writes a report on each of its figures and claims.
    Thesis(thesis::ThesisArgs),
}

/// Does what the command line says; `simulate` is what runs an experiment.
#[must_use]
pub fn main(simulate: Simulate) -> ExitCode {
    let mut cli = Cli::parse();
    if let Some(Action::Backbone(arguments)) = cli.action.take_if(|action| matches!(action, Action::Backbone(_))) {
        return live::backbone(arguments);
    }
    // lapin takes for errors what is none here: the answer that a queue is missing, which live runs ask for, and the
    // end of its connections when a run is stopped. What is one, the run says itself.
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
        (Some(Action::Calibrate(arguments)), _) => calibrate::calibrate(&arguments, simulate),
        (Some(Action::Compare(arguments)), _) => compare::compare(&arguments, simulate),
        (Some(Action::Backbone(_)), _) => unreachable!("it has a main function of its own"),
        (Some(Action::Thesis(arguments)), _) => thesis::thesis(&arguments, simulate),
        (None, Some(name)) => run::run(&cli.changes.load(&name)?, &cli.changes, &cli.options, simulate),
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
