//! CPU time, as Linux accounts for it.

use std::fs;

/// Length of the kernel's tick in `/proc`, in microseconds: `USER_HZ` is 100 on all architectures that matter.
const TICK_US: u64 = 10_000;

/// CPU time that process `pid` has used, all threads, those that have ended included; in microseconds, to 10 ms. `None`
/// if it has ended.
pub(crate) fn of_process(pid: u32) -> Option<u64> {
    ticks_of_process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?).map(|ticks| ticks * TICK_US)
}

/// Fields 14 and 15 of proc_pid_stat(5). The second is a name in parentheses, in which anything may be.
fn ticks_of_process(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut times = rest.split_ascii_whitespace().skip(11);
    Some(times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?)
}

/// CPU time that the whole machine has worked since its start, and that it has had, in microseconds.
pub(super) fn of_machine() -> Option<(u64, u64)> {
    let (busy, all) = ticks_of_machine(&fs::read_to_string("/proc/stat").ok()?)?;
    Some((busy * TICK_US, all * TICK_US))
}

/// The first line of proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal.
fn ticks_of_machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    let all: u64 = times.iter().sum();
    Some((all - times.get(3)? - times.get(4)?, all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_with_a_strange_name_is_read_right() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 0 0";
        assert_eq!(ticks_of_process(stat), Some(42));
    }

    #[test]
    fn idle_time_and_waiting_for_disks_is_no_work() {
        assert_eq!(ticks_of_machine("cpu  10 1 5 100 20 2 3 0 0 0\ncpu0 1"), Some((21, 141)));
    }
}
