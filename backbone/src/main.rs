//! `backbone SERVICE --config FILE`; see `backbone::cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backbone::cli::main(backbone::env::Env::tokio(), std::env::args_os())
}
