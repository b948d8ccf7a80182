//! `experiments NAME` runs an experiment; `experiments --help` tells the rest.

use std::process::ExitCode;

fn main() -> ExitCode {
    experiments::cli::main(experiments::simulate::simulate)
}
