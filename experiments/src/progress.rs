//! How a run shows that it goes on: a bar on a terminal, a line now and then elsewhere.

use crate::cost::Stopwatch;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Least wall time between two lines, in seconds: a log stays readable.
const LINE_PERIOD_S: f64 = 2.0;

/// What the simulation counts while it works and another thread looks at. Purely informative.
#[derive(Debug, Default)]
pub struct Progress {
    /// Virtual time so far.
    pub virtual_us: AtomicU64,
    /// Tasks finished so far, done or given up.
    pub tasks_done: AtomicU64,
    /// Tasks that there are; 0 as long as it is not known.
    pub tasks_total: AtomicU64,
    /// What is going on, if it is not the work itself; else empty.
    stage: Mutex<String>,
}

impl Progress {
    /// Something new begins.
    pub fn enter(&self, stage: impl Into<String>) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage.into();
    }

    fn stage(&self) -> String {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What clock a run goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// That of the simulation.
    Virtual,
    /// The real one.
    Real,
}

/// Shows a [`Progress`] on stderr.
#[derive(Debug)]
pub struct Display {
    form: Form,
    clock: Clock,
    since: Stopwatch,
}

#[derive(Debug)]
enum Form {
    Silent,
    Bar(ProgressBar),
    Lines { last_s: f64 },
}

impl Display {
    /// Starts to show; `quiet` shows nothing.
    #[must_use]
    pub fn start(quiet: bool, clock: Clock) -> Self {
        let form = if quiet {
            Form::Silent
        } else if std::io::stdout().is_terminal() && std::io::stderr().is_terminal() {
            Form::Bar(bar())
        } else {
            Form::Lines { last_s: 0.0 }
        };
        Self { form, clock, since: Stopwatch::start() }
    }

    /// Shows where `progress` stands; to be called several times a second.
    pub fn update(&mut self, progress: &Progress) {
        let elapsed_s = self.since.elapsed_s();
        let (done, total) = (progress.tasks_done.load(Relaxed), progress.tasks_total.load(Relaxed));
        let state = state(progress, self.clock, elapsed_s);
        match &mut self.form {
            Form::Silent => {}
            Form::Bar(bar) => {
                bar.set_length(total);
                bar.set_position(done);
                bar.set_message(state);
            }
            Form::Lines { last_s } => {
                if elapsed_s - *last_s >= LINE_PERIOD_S {
                    *last_s = elapsed_s;
                    eprintln!("{done} of {total} tasks, {state}, {elapsed_s:.0} s wall");
                }
            }
        }
    }

    /// Takes the bar away; what is printed next starts on a clean line.
    pub fn finish(&self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

/// What is going on: the stage, or how fast the work goes.
fn state(progress: &Progress, clock: Clock, elapsed_s: f64) -> String {
    let stage = progress.stage();
    if clock == Clock::Real || !stage.is_empty() {
        return stage;
    }
    let rate = progress.tasks_done.load(Relaxed) as f64 / elapsed_s.max(1e-3);
    let virtual_s = progress.virtual_us.load(Relaxed) as f64 / 1e6;
    format!("{rate:.0} tasks/s, {virtual_s:.1} s virtual")
}

/// Shows how a batch of runs goes on: a bar on a terminal, a line for each run that has ended elsewhere.
#[derive(Debug)]
pub struct BatchDisplay {
    form: BatchForm,
    total: usize,
    ended: usize,
}

#[derive(Debug)]
enum BatchForm {
    Silent,
    Bar(ProgressBar),
    Lines,
}

impl BatchDisplay {
    /// Starts to show a batch of `total` runs; `quiet` shows nothing.
    #[must_use]
    pub fn start(total: usize, quiet: bool) -> Self {
        let form = if quiet {
            BatchForm::Silent
        } else if std::io::stderr().is_terminal() {
            BatchForm::Bar(batch_bar(total))
        } else {
            BatchForm::Lines
        };
        Self { form, total, ended: 0 }
    }

    /// Shows what is running: names, and how far each is.
    pub fn update<'a>(&self, running: impl Iterator<Item = (&'a str, &'a Progress)>) {
        let BatchForm::Bar(bar) = &self.form else { return };
        let running = running.map(|(name, progress)| {
            let (done, total) = (progress.tasks_done.load(Relaxed), progress.tasks_total.load(Relaxed));
            let stage = progress.stage();
            if stage.is_empty() { format!("{name} {} %", 100 * done / total.max(1)) } else { format!("{name} {stage}") }
        });
        bar.set_message(running.collect::<Vec<_>>().join(", "));
        bar.tick();
    }

    /// Says that a run has ended.
    pub fn ended(&mut self, name: &str, how: &str) {
        self.ended += 1;
        match &self.form {
            BatchForm::Silent => {}
            BatchForm::Bar(bar) => bar.inc(1),
            BatchForm::Lines => eprintln!("[{}/{}] {name}: {how}", self.ended, self.total),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let BatchForm::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn batch_bar(total: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:24.green/black.bright} {pos}/{len} runs, {elapsed}  {msg}")
        .expect("the template is a constant")
        .progress_chars("━╸─");
    ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr()).with_style(style)
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:36.green/black.bright} {pos}/{len} tasks  {msg}")
        .expect("the template is a constant")
        .progress_chars("━╸─");
    ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_simulation_that_still_connects_says_so_and_then_how_fast_it_works() {
        let progress = Progress::default();
        progress.enter("connecting: 1200 of 20000 gateways and routers");
        assert_eq!(state(&progress, Clock::Virtual, 4.0), "connecting: 1200 of 20000 gateways and routers");
        progress.enter("");
        progress.tasks_done.store(100, Relaxed);
        progress.virtual_us.store(2_500_000, Relaxed);
        assert_eq!(state(&progress, Clock::Virtual, 4.0), "25 tasks/s, 2.5 s virtual");
    }
}
