//! Files of a run for other people's programs.

use crate::{
    attribution::{Attribution, Details, HOPS_MAX},
    explain,
    results::{self, replace},
    spec::Spec,
};
use clap::Args;
use std::path::PathBuf;

/// Which.
#[derive(Debug, Args)]
pub(super) struct Exports {
    /// Also writes every segment here, with comments, as Wireshark reads it (pcapng).
    #[arg(long, value_name = "FILE")]
    pcap: Option<PathBuf>,
    /// Also writes OpenTelemetry spans here, as collectors read them (OTLP, JSON).
    #[arg(long, value_name = "FILE")]
    otlp: Option<PathBuf>,
    /// Also writes a trace for ui.perfetto.dev here.
    #[arg(long, value_name = "FILE")]
    perfetto: Option<PathBuf>,
}

impl Exports {
    fn all(&self) -> [Option<&PathBuf>; 3] {
        [&self.pcap, &self.otlp, &self.perfetto].map(Option::as_ref)
    }

    /// What they need of a run.
    pub(super) fn details(&self) -> Details {
        Details { journeys: self.all().iter().any(Option::is_some), capture: self.pcap.is_some(), calls: false }
    }

    /// # Errors
    /// When one can't be put where it is to go.
    pub(super) fn check_writable(&self) -> anyhow::Result<()> {
        self.all().into_iter().flatten().try_for_each(|path| results::check_writable(path))
    }

    /// Writes them, and gives their paths. Says so on stderr if one is not of the whole run.
    ///
    /// # Errors
    /// When one can't be written.
    pub(super) fn write(&self, spec: &Spec, attribution: &Attribution) -> anyhow::Result<Vec<PathBuf>> {
        if let Some(path) = &self.pcap {
            replace(path, &explain::pcap(spec, attribution))?;
            explain::pcap_cut(&attribution.capture).into_iter().for_each(|cut| eprintln!("{}: {cut}", path.display()));
        }
        if let Some(path) = &self.otlp {
            replace(path, &explain::otlp(spec, attribution))?;
        }
        if let Some(path) = &self.perfetto {
            replace(path, &explain::perfetto(attribution))?;
        }
        let left_out = attribution.journeys.hops_left_out;
        if left_out > 0 {
            eprintln!(
                "{left_out} later messages are left out, since {HOPS_MAX} are kept; with fewer tasks (--tasks) all fit"
            );
        }
        Ok(self.all().into_iter().flatten().cloned().collect())
    }
}
