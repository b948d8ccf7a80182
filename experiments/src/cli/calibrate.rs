//! `experiments calibrate`: what the simulator needs to know, measured on real brokers.

use super::{
    Program,
    changes::SpecsArg,
    output::{here, print},
};
use crate::{
    calibrate,
    results::{self, replace},
};
use clap::Args;
use std::path::PathBuf;

/// What to measure, and where to write it.
#[derive(Debug, Args)]
pub(super) struct CalibrateArgs {
    #[command(flatten)]
    specs: SpecsArg,
    /// The file [default: calibrated.toml beside the experiments].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// # Errors
/// When a measurement fails, or the file can't be written.
pub(super) fn calibrate(arguments: &CalibrateArgs, program: Program) -> anyhow::Result<()> {
    let library = arguments.specs.library(program);
    let path = match (&arguments.output, library.folder()) {
        (Some(path), _) => path.clone(),
        (None, Some(folder)) => folder.join("calibrated.toml"),
        (None, None) => PathBuf::from("calibrated.toml"),
    };
    results::check_writable(&path)?;
    let calibration = calibrate::calibrate(&library, program.simulate, arguments.quiet)?;
    let text = calibration.to_toml();
    print(&text)?;
    replace(&path, text.as_bytes())?;
    if !arguments.quiet {
        eprintln!("wrote {}", here(&path).display());
    }
    Ok(())
}
