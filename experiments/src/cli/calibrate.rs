//! `experiments calibrate`: what the simulator needs to know, measured on real brokers.

use super::{
    changes::SpecsArg,
    output::{here, print},
};
use crate::{calibrate, results::replace, simulate::Simulate};
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
    quiet: bool,
}

/// # Errors
/// When a measurement fails, or the file can't be written.
pub(super) fn calibrate(arguments: &CalibrateArgs, simulate: Simulate) -> anyhow::Result<()> {
    let specs = arguments.specs.directory();
    let calibration = calibrate::calibrate(&specs, simulate, arguments.quiet)?;
    let text = calibration.to_toml();
    print(&text)?;
    let path = arguments.output.clone().unwrap_or_else(|| specs.join("calibrated.toml"));
    replace(&path, text.as_bytes())?;
    if !arguments.quiet {
        eprintln!("wrote {}", here(&path).display());
    }
    Ok(())
}
