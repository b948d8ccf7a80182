//! What a run costs, which depends on the machine and not on the seed: wall time and memory, and on which processor.

use serde::{Deserialize, Serialize};

/// What a run cost, and on what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Wall time of the run itself, in seconds; without building, plotting and writing.
    pub wall_s: f64,
    /// Largest resident memory of the process during the run; `None` where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
    /// The processor's name, as the system gives it.
    pub cpu: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Whether the run wrote its event log, so that time and memory say little of a plain run's. Left out if not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub event_log: bool,
}

impl Cost {
    /// On this machine, after `wall_s` of work; how much memory that took is not known.
    #[must_use]
    pub fn here(wall_s: f64) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self { wall_s, peak_memory_bytes: None, cpu: cpu(), cores, event_log: false }
    }
}

/// Measures wall time. The one place of this crate that reads the real clock.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "measures what a run costs; nothing in the run sees it")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Seconds since the start.
    #[must_use]
    pub fn elapsed_s(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

/// Forgets the memory peak so far, so that [`peak_memory_bytes`] tells of what follows. Best effort: where the system
/// refuses, the peak of the whole process stays, which in a process that runs one experiment is nearly the same.
pub fn reset_peak_memory() {
    // 5: "reset the peak resident set size", proc_pid_clear_refs(5).
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!(%error, "could not reset the memory peak");
    }
}

/// The largest resident memory since the last reset; `None` where `/proc` does not tell.
#[must_use]
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// The processor's name; `unknown` where `/proc` does not tell.
#[must_use]
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(':'));
    name.map_or("unknown", |(_, name)| name.trim()).to_owned()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_peak_grows_with_what_is_used() {
        let before = peak_memory_bytes().unwrap();
        let block = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(peak_memory_bytes().unwrap() >= before.min(64 << 20), "{before}");
        assert!(peak_memory_bytes().unwrap() >= block.len() as u64);
    }
}
