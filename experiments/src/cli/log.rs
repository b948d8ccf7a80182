//! Log lines on stderr: what services and libraries have to say.

use backbone::telemetry::Sparse;
use std::{
    fmt,
    io::{self, IsTerminal as _},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{format::Writer, time::FormatTime},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Virtual time and the replica, for lines of a simulated run; nothing for others.
struct Whereabouts;

impl FormatTime for Whereabouts {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        match sim::whereabouts() {
            Some((now_us, pod)) => write!(writer, "{:>11.6} s {pod}", now_us as f64 / 1e6),
            None => Ok(()),
        }
    }
}

/// Writes warnings from now on, or what `RUST_LOG` asks for; nothing at all if `quiet` and nothing is asked for.
///
/// lapin's are left out: it takes for errors what is none here, the answer that a queue is missing, which live runs ask
/// for, and the end of its connections when a run is stopped. What is one, the run says itself.
pub(super) fn start(quiet: bool) {
    let asked_for = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse::<Targets>().ok());
    let level = if quiet { LevelFilter::OFF } else { LevelFilter::WARN };
    let filter = asked_for.unwrap_or_else(|| Targets::new().with_default(level).with_target("lapin", LevelFilter::OFF));
    let colours = io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(io::stderr).with_timer(Whereabouts);
    tracing_subscriber::registry().with(lines.map_event_format(Sparse::new)).with(filter).init();
}
