//! Log lines that repeat: some are written, the rest is counted.
//!
//! Whatever a peer can cause again and again, it must not fill the disk with. [`super::LogTelemetry`] thins out events,
//! by what happened; [`Sparse`] thins out everything else, lines of libraries included, by the place in the code.

use std::{collections::BTreeMap, fmt, sync::Mutex, time::Duration};
use tokio::time::Instant;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The target of lines about events, which are thinned out before they are written.
pub(super) const EVENTS: &str = "backbone::telemetry::log";
/// For how long lines of one kind are counted together.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// Lines from one place in the code in each such time: enough for the few connections of a replica to tell their ends.
const LINES_MAX: u32 = 5;

/// Lines by kind: how many were written lately, and how many left out.
#[derive(Debug)]
pub(super) struct Ration<K> {
    lines_max: u32,
    /// Kinds are few: places in the code, or names and reasons from fixed sets.
    kinds: Mutex<BTreeMap<K, Lately>>,
}

#[derive(Debug)]
struct Lately {
    until: Instant,
    written: u32,
    left_out: u64,
}

impl<K: Ord> Ration<K> {
    /// So many lines of each kind in a [`PERIOD`].
    pub(super) const fn new(lines_max: u32) -> Self {
        Self { lines_max, kinds: Mutex::new(BTreeMap::new()) }
    }

    /// Whether a line of this kind may be written now, and how many were left out before it.
    pub(super) fn may_write(&self, kind: K) -> Option<u64> {
        let now = Instant::now();
        let mut kinds = self.kinds.lock().expect("no holder of this lock panics");
        let lately = kinds.entry(kind).or_insert(Lately { until: now + PERIOD, written: 0, left_out: 0 });
        if now >= lately.until {
            (lately.until, lately.written) = (now + PERIOD, 0);
        }
        if lately.written == self.lines_max {
            lately.left_out += 1;
            return None;
        }
        lately.written += 1;
        Some(std::mem::take(&mut lately.left_out))
    }
}

/// Lines of a format, but of those from one place in the code only some. Lines of a level below `INFO` are all written:
/// who asks for them wants them.
#[derive(Debug)]
pub struct Sparse<F> {
    format: F,
    /// By target and by name, which holds the file and the line.
    ration: Ration<(&'static str, &'static str)>,
}

impl<F> Sparse<F> {
    /// Thins out what `format` writes.
    #[must_use]
    pub const fn new(format: F) -> Self {
        Self { format, ration: Ration::new(LINES_MAX) }
    }
}

impl<S, N, F> FormatEvent<S, N> for Sparse<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        let is_thinned_out_already = metadata.target() == EVENTS;
        if is_thinned_out_already || *metadata.level() > Level::INFO {
            return self.format.format_event(context, writer, event);
        }
        let Some(left_out) = self.ration.may_write((metadata.target(), metadata.name())) else { return Ok(()) };
        if left_out > 0 {
            writeln!(writer, "({left_out} lines like the next one were left out)")?;
        }
        self.format.format_event(context, writer, event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{self, Write},
        sync::Arc,
    };
    use tokio::time::sleep;
    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    #[tokio::test(start_paused = true)]
    async fn lines_of_one_kind_are_rare_and_say_how_many_were_left_out() {
        let ration = Ration::new(1);
        assert_eq!(ration.may_write("a"), Some(0));
        for _ in 0..1_000 {
            assert_eq!(ration.may_write("a"), None);
        }
        assert_eq!(ration.may_write("b"), Some(0), "another kind has its own turn");
        sleep(PERIOD).await;
        assert_eq!(ration.may_write("a"), Some(1_000));
        sleep(PERIOD).await;
        assert_eq!(ration.may_write("a"), Some(0));
    }

    /// What was logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Lines {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_in_the_code_that_logs_without_end_gets_some_lines_and_others_are_not_held_back() {
        let lines = Lines::default();
        let format = Sparse::new(tracing_subscriber::fmt::format().without_time());
        let layer = tracing_subscriber::fmt::layer().with_ansi(false).event_format(format).with_writer(lines.clone());
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        for period in 0..2 {
            for attempt in 0..100 {
                tracing::error!(period, attempt, "no connection");
                tracing::debug!("a detail");
            }
            tracing::warn!("something else");
            sleep(PERIOD).await;
        }
        drop(guard);
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let count = |what: &str| text.lines().filter(|line| line.contains(what)).count();
        assert_eq!(count("no connection"), 2 * LINES_MAX as usize, "{text}");
        assert_eq!(count("(95 lines like the next one were left out)"), 1, "{text}");
        assert_eq!((count("a detail"), count("something else")), (200, 2), "{text}");
    }
}
