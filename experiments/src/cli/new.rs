//! `experiments new`: a commented experiment as a start.

use super::{
    Program,
    changes::{SpecsArg, quoted},
    output::{here, print},
};
use crate::spec::{self, SpecError};
use anyhow::Context as _;
use clap::Args;
use std::{fs::File, io::Write as _, path::Path};

/// What the file says; `{name}` stands for the experiment's name.
const TEMPLATE: &str = include_str!("../../assets/template.toml");
/// Longest name: it becomes part of file names.
const NAME_BYTES_MAX: usize = 100;

/// What to write, and where.
#[derive(Debug, Args)]
pub(super) struct NewArgs {
    /// Its name, of small letters, digits, `_` and `-`.
    name: String,
    #[command(flatten)]
    specs: SpecsArg,
}

/// # Errors
/// When the name can't be one, or the file is there already or can't be written.
pub(super) fn new(arguments: &NewArgs, program: Program) -> anyhow::Result<()> {
    let name = arguments.name.strip_suffix(".toml").unwrap_or(&arguments.name);
    let is_fine = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.starts_with('-') || !name.chars().all(is_fine) {
        let reason = "can't be the name of an experiment; take small letters, digits, `_` and `-`".to_owned();
        return Err(SpecError::Wrong { at: format!("`{name}`"), reason }.into());
    }
    let library = arguments.specs.library(program);
    let folder = library.folder().filter(|_| !library.is_built_in()).unwrap_or(Path::new(""));
    let path = folder.join(format!("{name}.toml"));
    let text = TEMPLATE.replace("{name}", name);
    let written = File::create_new(&path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))?;
    let program = if spec::repository().is_some() { "cargo run -p experiments --" } else { "experiments" };
    let file = quoted(&here(&path).display().to_string());
    print(&format!(
        "wrote {file}\nto run it:             {program} {file}\n\
         to see all its fields: {program} show {file} --explain\n"
    ))
}
