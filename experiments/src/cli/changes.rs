//! Which experiment, and what is to be different about it.

use super::Program;
use crate::spec::{self, Library, Override, Spec, SpecError};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where experiments are looked for.
#[derive(Debug, Args)]
pub(super) struct SpecsArg {
    /// A folder of experiments of your own, which may extend built-in ones [default: the built-in ones].
    #[arg(long = "specs", value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl SpecsArg {
    pub(super) fn library(&self, program: Program) -> Library {
        let built_in = Library::built_in(program.built_in);
        match &self.directory {
            Some(folder) => built_in.with_folder(folder),
            None => built_in,
        }
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
    /// The experiment with these changes. Its name may be the path of its file.
    ///
    /// # Errors
    /// When there is no such experiment, or something in it or in a change is wrong.
    pub(super) fn load(&self, name: &str, program: Program) -> Result<Spec, SpecError> {
        self.load_with(name, program, &[])
    }

    /// The same with `more` changes after these.
    ///
    /// # Errors
    /// The same.
    pub(super) fn load_with(&self, name: &str, program: Program, more: &[Override]) -> Result<Spec, SpecError> {
        self.load_changed(name, program, &[self.overrides().as_slice(), more].concat())
    }

    /// Another experiment of the same folder, without these changes.
    ///
    /// # Errors
    /// The same.
    pub(super) fn load_unchanged(&self, name: &str, program: Program) -> Result<Spec, SpecError> {
        self.load_changed(name, program, &[])
    }

    fn load_changed(&self, name: &str, program: Program, overrides: &[Override]) -> Result<Spec, SpecError> {
        let Some((folder, stem)) = as_path(name) else {
            return spec::load(&self.specs.library(program), name, overrides);
        };
        if self.specs.directory.is_some() {
            let reason = format!("`{name}` is a path, so it needs no folder; leave out --specs");
            return Err(SpecError::Wrong { at: "--specs".into(), reason });
        }
        spec::load(&Library::built_in(program.built_in).with_folder(folder), stem, overrides)
    }

    fn overrides(&self) -> Vec<Override> {
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
        named.chain(self.set.iter().cloned()).collect()
    }

    /// The command that runs `spec` again, which was called `name`, with these changes; `more` are its other options.
    pub(super) fn replay(&self, name: &str, spec: &Spec, more: &str) -> String {
        let program = if spec::repository().is_some() { "cargo run -p experiments --" } else { "experiments" };
        let seed = format!(" --seed {}", spec.seed);
        format!("{program} {}{seed}{}{more}{}", quoted(name), self.options(), self.sets())
    }

    /// The options that make the same changes again, but for the seed.
    pub(super) fn again(&self) -> String {
        self.options() + &self.sets()
    }

    fn options(&self) -> String {
        let mut options = String::new();
        if let Some(directory) = &self.specs.directory {
            options += &format!(" --specs {}", quoted(&directory.display().to_string()));
        }
        let numbers =
            [("--tasks", self.tasks), ("--router-replicas", self.router_replicas), ("--gateways", self.gateways)];
        for (option, value) in numbers {
            if let Some(value) = value {
                options += &format!(" {option} {value}");
            }
        }
        options
    }

    fn sets(&self) -> String {
        let sets = self.set.iter().map(|option| quoted(option.option.trim_start_matches("--set ")));
        sets.map(|set| format!(" --set {set}")).collect()
    }
}

/// As a shell takes it for one word.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The folder and the name of the spec whose file `name` is the path of; `None` if it is no path.
pub(super) fn as_path(name: &str) -> Option<(&Path, &str)> {
    let path = Path::new(name);
    let is_file = path.extension().is_some_and(|extension| extension == "toml");
    if !is_file && !name.contains('/') {
        return None;
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = path.file_name()?.to_str()?;
    Some((folder, file.strip_suffix(".toml").unwrap_or(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_path_if_it_looks_like_one() {
        assert_eq!(as_path("smoke"), None);
        assert_eq!(as_path("mine.toml"), Some((Path::new("."), "mine")));
        assert_eq!(as_path("specs/mine"), Some((Path::new("specs"), "mine")));
        assert_eq!(as_path("/a/mine.toml"), Some((Path::new("/a"), "mine")));
    }

    #[test]
    fn what_a_shell_would_take_apart_is_quoted() {
        let words = ["smoke", "a=b.c", "", "two words", "it's"].map(quoted);
        assert_eq!(words, ["smoke", "a=b.c", "''", "'two words'", r"'it'\''s'"]);
    }
}
