//! `experiments roaming`: ways to choose a gateway over the speed of labels.

use super::{
    Program,
    changes::Changes,
    output::{here, print},
};
use crate::{
    plot::Figure,
    results::{self, Directories, replace},
    roaming::{Roaming, specs},
    run,
};
use anyhow::{Context, bail};
use clap::Args;
use std::path::PathBuf;

/// What to compare.
#[derive(Debug, Args)]
pub(super) struct RoamingArgs {
    /// The experiment whose labels shall roam: one with a radio.
    #[arg(value_name = "SPEC", default_value = "radio_rssi")]
    name: String,
    #[command(flatten)]
    changes: Changes,
    /// Where the picture goes [default: plots/].
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Shows no progress.
    #[arg(long)]
    pub(super) quiet: bool,
}

/// # Errors
/// When the input is wrong, a run fails, or a file can't be written.
pub(super) fn roaming(arguments: &RoamingArgs, program: Program) -> anyhow::Result<()> {
    let base = arguments.changes.load(&arguments.name, program)?;
    if base.fleet.radio.is_none() {
        bail!("{} has no radio; expected an experiment with a section [fleet.radio], like radio_rssi", base.name);
    }
    let path = Directories::at(None, arguments.plots.as_deref()).plots.join("roaming");
    results::check_writable(&path)?;
    let specs = specs(&base);
    let runs = run::batch::run_all(&specs, program.simulate, arguments.quiet);
    let named = specs.iter().zip(runs).map(|(spec, run)| run.with_context(|| spec.name.clone()));
    let roaming = Roaming::of(&base, &named.collect::<Result<Vec<_>, _>>()?);
    print(&roaming.markdown())?;
    let figure = roaming.figure();
    replace(&path.with_extension("svg"), figure.svg()?.as_bytes())?;
    replace(&path.with_extension("png"), &figure.png()?)?;
    if !arguments.quiet {
        eprintln!("wrote {}.svg and .png", here(&path).display());
    }
    Ok(())
}
