//! The command line. Exit codes: 0 all well, 1 the run failed, 2 the input is wrong; of a hunt also 3, something
//! happened that must not, and 4, something did not happen that must.

mod brokers;
mod calibrate;
mod capacity;
mod changes;
mod check;
mod compare;
mod explain;
mod exports;
mod hunt;
mod live;
mod log;
mod new;
mod output;
mod roaming;
mod run;
mod sweep;
mod thesis;

use crate::{
    live::AddressError,
    simulate::Simulate,
    spec::{BuiltIn, Library, SpecError, reference},
};
use changes::{Changes, SpecsArg};
use clap::{CommandFactory, Parser, Subcommand};
use output::print;
use run::RunOptions;
use std::process::ExitCode;

/// Least likeness (1 is equal) at which an unknown experiment may be a command.
const COMMAND_LIKENESS_MIN: f64 = 0.85;

/// Runs an experiment in the simulator, prints a table and leaves results and a plot behind.
#[derive(Parser)]
#[command(name = "experiments", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    action: Option<Action>,
    /// The experiment's name, as `experiments list` shows them, or the path of its file.
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
        /// The experiment's name, as `experiments list` shows them, or the path of its file.
        name: String,
        #[command(flatten)]
        changes: Changes,
        /// Says of every field what it means, its unit, default and range, and marks what differs from the default.
        #[arg(long)]
        explain: bool,
    },
    /// Writes a commented experiment of your own, as a start.
    New(new::NewArgs),
    /// The regression gate: runs experiments and compares them with their committed results.
    Check(check::CheckArgs),
    /// Serves the emulated RabbitMQ, Mosquitto and Redis on real ports, until Ctrl-C.
    Brokers(brokers::BrokersArgs),
    /// Measures on real brokers what the simulator needs to know, and writes it as a spec that others extend.
    Calibrate(calibrate::CalibrateArgs),
    /// Searches the smallest deployment that keeps a promise, or the highest rate that one carries.
    Capacity(capacity::CapacityArgs),
    /// Runs an experiment over a grid of values, for a table and a figure.
    Sweep(sweep::SweepArgs),
    /// Lays simulation, live run and thesis side by side; or two experiments, with where their time went.
    Compare(compare::CompareArgs),
    /// Says why tasks took as long as they did: every microsecond of every task, by its cause.
    Explain(explain::ExplainArgs),
    /// Is the `backbone` program: how live runs start their routers.
    #[command(hide = true)]
    Backbone(live::BackboneArgs),
    /// Breaks worlds at random, thousands of them, and finds what does not hold.
    Hunt(hunt::HuntArgs),
    /// Lays ways to choose a gateway side by side, over the speed of labels that roam.
    Roaming(roaming::RoamingArgs),
    /// Runs the thesis' experiments again and writes a report on each of its figures and claims.
    Thesis(thesis::ThesisArgs),
}

/// What the program brings with it.
#[derive(Clone, Copy)]
pub struct Program {
    /// What runs an experiment.
    pub simulate: Simulate,
    /// The experiments, for use away from the repository.
    pub built_in: BuiltIn,
}

impl Cli {
    /// Whether nothing but results and errors is to be shown.
    fn is_quiet(&self) -> bool {
        match &self.action {
            None => self.options.is_quiet(),
            Some(Action::Check(arguments)) => arguments.quiet,
            Some(Action::Calibrate(arguments)) => arguments.quiet,
            Some(Action::Capacity(arguments)) => arguments.quiet,
            Some(Action::Compare(arguments)) => arguments.quiet,
            Some(Action::Explain(arguments)) => arguments.quiet,
            Some(Action::Hunt(arguments)) => arguments.is_quiet(),
            Some(Action::Sweep(arguments)) => arguments.quiet,
            Some(Action::Roaming(arguments)) => arguments.quiet,
            Some(Action::Thesis(arguments)) => arguments.quiet,
            Some(_) => false,
        }
    }
}

/// Whether the program would take these `arguments`, for those who document them. Files are not looked at.
///
/// # Errors
/// What it would say.
pub fn check_arguments(arguments: &[String]) -> Result<(), String> {
    let program = std::iter::once("experiments").chain(arguments.iter().map(String::as_str));
    Cli::try_parse_from(program).map(drop).map_err(|error| error.to_string())
}

/// Does what the command line says.
#[must_use]
pub fn main(program: Program) -> ExitCode {
    let mut cli = Cli::parse();
    if let Some(Action::Backbone(arguments)) = cli.action.take_if(|action| matches!(action, Action::Backbone(_))) {
        return live::backbone(arguments);
    }
    log::start(cli.is_quiet());
    match act(cli, program) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            if let Some(SpecError::Unknown { name, .. }) = error.downcast_ref()
                && let Some(command) = command_like(name)
            {
                eprintln!("there is a command `experiments {command}`");
            }
            if let Some(found) = error.downcast_ref::<hunt::Found>() {
                return ExitCode::from(found.exit_code());
            }
            let wrong_input =
                error.is::<SpecError>() || error.is::<AddressError>() || error.is::<brokers::ListenError>();
            ExitCode::from(if wrong_input { 2 } else { 1 })
        }
    }
}

fn act(cli: Cli, program: Program) -> anyhow::Result<()> {
    match (cli.action, cli.name) {
        (Some(Action::List { specs }), _) => list(&specs.library(program)),
        (Some(Action::Show { name, changes, explain }), _) => {
            let spec = changes.load(&name, program)?;
            print(&if explain { reference::explain(&spec) } else { spec.to_toml() })
        }
        (Some(Action::New(arguments)), _) => new::new(&arguments, program),
        (Some(Action::Check(arguments)), _) => check::check(&arguments, program),
        (Some(Action::Brokers(arguments)), _) => brokers::brokers(&arguments),
        (Some(Action::Calibrate(arguments)), _) => calibrate::calibrate(&arguments, program),
        (Some(Action::Capacity(arguments)), _) => capacity::capacity(&arguments, program),
        (Some(Action::Sweep(arguments)), _) => sweep::sweep(&arguments, program),
        (Some(Action::Compare(arguments)), _) => compare::compare(&arguments, program),
        (Some(Action::Explain(arguments)), _) => explain::explain(&arguments, program),
        (Some(Action::Hunt(arguments)), _) => hunt::hunt(&arguments, program),
        (Some(Action::Backbone(_)), _) => unreachable!("it has a main function of its own"),
        (Some(Action::Roaming(arguments)), _) => roaming::roaming(&arguments, program),
        (Some(Action::Thesis(arguments)), _) => thesis::thesis(&arguments, program),
        (None, Some(name)) => run::run(&name, &cli.changes, &cli.options, program),
        (None, None) => {
            let missing = "which experiment? `experiments list` shows all";
            Cli::command().error(clap::error::ErrorKind::MissingRequiredArgument, missing).exit()
        }
    }
}

/// The command that `name` may have been meant for.
fn command_like(name: &str) -> Option<String> {
    let cli = Cli::command();
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set()).map(|command| command.get_name());
    let likeness = |command: &&str| strsim::jaro_winkler(name, command);
    let nearest = commands.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&nearest) >= COMMAND_LIKENESS_MIN).then(|| nearest.to_owned())
}

fn list(library: &Library) -> anyhow::Result<()> {
    let (listed, broken) = library.list();
    let width = listed.iter().map(|spec| spec.name.len()).max().unwrap_or(0);
    let lines: Vec<String> = listed.iter().map(|spec| format!("{:width$}  {}\n", spec.name, spec.title)).collect();
    print(&lines.concat())?;
    let mut broken = broken.into_iter().rev();
    let Some(last) = broken.next() else { return Ok(()) };
    broken.rev().for_each(|error| eprintln!("error: {error}"));
    Err(last.into())
}
