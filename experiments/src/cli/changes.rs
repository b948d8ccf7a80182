//! Which experiment, and what is to be different about it.

use crate::spec::{self, Override, Spec, SpecError};
use clap::Args;
use std::path::PathBuf;

/// Where experiments are looked for.
#[derive(Debug, Args)]
pub(super) struct SpecsArg {
    /// Where the experiments' files are [default: experiments/specs of the repository].
    #[arg(long = "specs", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl SpecsArg {
    pub(super) fn directory(&self) -> PathBuf {
        self.directory.clone().unwrap_or_else(spec::default_directory)
    }
}

/// What to change about an experiment.
#[derive(Debug, Args)]
pub(super) struct Changes {
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
    /// The experiment with these changes.
    ///
    /// # Errors
    /// When there is no such experiment, or something in it or in a change is wrong.
    pub(super) fn load(&self, name: &str) -> Result<Spec, SpecError> {
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

    /// The command that runs `spec`, which is with these changes, again; `more` are its other options.
    pub(super) fn replay(&self, spec: &Spec, more: &str) -> String {
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
        command += more;
        for option in &self.set {
            command += &format!(" --set '{}'", option.option.trim_start_matches("--set "));
        }
        command
    }
}
