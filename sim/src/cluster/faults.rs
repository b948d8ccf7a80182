//! What can be wrong with a pod beside its death. Each fault is begun and ended by itself, whatever else happens to the
//! pod meanwhile, and tells at its end what it has hit.

use super::{Cluster, record};
use crate::{
    clocks::ClockError,
    engine::with,
    network::disturbance::{Disturbance, Way},
    process,
};

/// How the trace tells of faults, and of their ends.
const BREAKS: &str = "breaks: ";
const MENDED: &str = "mended: ";

/// What lies between pods, by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// All that a pod sends and hears.
    Of(&'a str),
    /// All that it ought to hear.
    To(&'a str),
    /// Both directions between two pods.
    Between(&'a str, &'a str),
    /// One of them.
    OneWay {
        /// Who speaks.
        from: &'a str,
        /// Who ought to hear it.
        to: &'a str,
    },
}

impl Line<'_> {
    fn ways(self) -> Vec<Way> {
        // The number of a pod is that of its first host, which all its incarnations know.
        let pod = |name: &str| with(|engine| engine.hosts[engine.pods.host_of(name)].pod);
        let way = |from: Option<&str>, to: Option<&str>| Way { from: from.map(pod), to: to.map(pod) };
        match self {
            Self::Of(name) => vec![way(Some(name), None), way(None, Some(name))],
            Self::To(name) => vec![way(None, Some(name))],
            Self::Between(a, b) => vec![way(Some(a), Some(b)), way(Some(b), Some(a))],
            Self::OneWay { from, to } => vec![way(Some(from), Some(to))],
        }
    }
}

/// A fault that has begun.
#[must_use = "it lasts until it is given to `Cluster::end`"]
#[derive(Debug)]
pub struct Ongoing {
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Disturbance(u64),
    Freeze(u16),
    Clock(u64),
}

impl Cluster {
    /// Something goes wrong on a line, beside what is wrong there already.
    ///
    /// # Panics
    /// If no pod has such a name.
    pub fn disturb(&self, line: Line<'_>, what: Disturbance) -> Ongoing {
        let ways = line.ways();
        let number = with(|engine| engine.network.disturbances.begin(ways, what));
        let (Line::Of(name) | Line::To(name) | Line::Between(name, _) | Line::OneWay { from: name, .. }) = line;
        record(name, format_args!("{BREAKS}{line:?}: {what}"));
        Ongoing { name: name.to_owned(), kind: Kind::Disturbance(number) }
    }

    /// Stops the pod's processes where they stand, as SIGSTOP does: they neither read nor write nor notice that time
    /// passes, while their kernel acknowledges what comes, as far as its buffers go. A kill ends it.
    ///
    /// # Panics
    /// If no pod has this name.
    pub fn freeze(&self, name: &str) -> Ongoing {
        let host = with(|engine| engine.pods.host_of(name));
        process::freeze(host);
        record(name, format_args!("{BREAKS}it stands still"));
        Ongoing { name: name.to_owned(), kind: Kind::Freeze(host) }
    }

    /// The pod's wall clock is wrong, beside what is wrong with it already.
    ///
    /// # Panics
    /// If no pod has this name.
    pub fn set_clock(&self, name: &str, error: ClockError) -> Ongoing {
        let number = with(|engine| {
            let pod = engine.hosts[engine.pods.host_of(name)].pod;
            engine.clocks.begin(pod, error, engine.now_ns())
        });
        record(name, format_args!("{BREAKS}{error:?}"));
        Ongoing { name: name.to_owned(), kind: Kind::Clock(number) }
    }

    /// How often a fault has done something so far; see [`Cluster::end`].
    pub fn hits(&self, fault: &Ongoing) -> u64 {
        match fault.kind {
            Kind::Disturbance(number) => with(|engine| engine.network.disturbances.hits(number)),
            Kind::Freeze(host) => process::held_up(host) as u64,
            Kind::Clock(number) => with(|engine| engine.clocks.asked(number)),
        }
    }

    /// Ends a fault. Returns how often it did something: segments that it lost or delayed, times that one of the pod's
    /// tasks would have run, looks at the clock. 0 if it hit nothing.
    pub fn end(&self, fault: Ongoing) -> u64 {
        let (hits, end) = match fault.kind {
            Kind::Disturbance(number) => (with(|engine| engine.network.disturbances.end(number)), "undisturbed"),
            Kind::Freeze(host) => (process::thaw(host) as u64, "it goes on"),
            Kind::Clock(number) => (with(|engine| engine.clocks.end(number)), "the clock is set right"),
        };
        record(&fault.name, format_args!("{MENDED}{end}"));
        hits
    }
}
