//! The right to run, passed back and forth between the simulation's thread and one thread of lapin's.
//!
//! A futex of our own: std's waiting with a time limit reads the clock, which is virtual on these threads.

use std::{
    ptr,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

/// How often the simulation gives up its core before it sleeps: a turn is over after one, or after a few if others want
/// the core, too.
const YIELDS_MAX: u32 = 20;

/// Who may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Holder {
    Simulation = 0,
    Lapin = 1,
    /// lapin's thread has ended; the simulation holds the baton for ever.
    Gone = 2,
}

#[derive(Debug)]
pub(super) struct Baton {
    word: AtomicU32,
    /// The simulation sleeps until it gets the baton back.
    sleeps: AtomicBool,
    /// How long a turn may take in real time.
    turn_limit: Duration,
}

impl Baton {
    /// lapin's thread starts out with it: it runs up to its first gate. A turn that takes longer than `turn_limit` of
    /// real time counts as lost.
    pub(super) fn with_lapin(turn_limit: Duration) -> Self {
        Self { word: AtomicU32::new(Holder::Lapin as u32), sleeps: AtomicBool::new(false), turn_limit }
    }

    pub(super) fn turn_limit(&self) -> Duration {
        self.turn_limit
    }

    pub(super) fn holder(&self) -> Holder {
        match self.word.load(Ordering::Acquire) {
            0 => Holder::Simulation,
            1 => Holder::Lapin,
            _ => Holder::Gone,
        }
    }

    pub(super) fn pass_to(&self, holder: Holder) {
        self.word.store(holder as u32, Ordering::SeqCst);
        if holder != Holder::Lapin && !self.sleeps.load(Ordering::SeqCst) {
            return; // the simulation looks for itself
        }
        // SAFETY: FUTEX_WAKE touches nothing but the address of this word.
        unsafe { libc::syscall(libc::SYS_futex, self.word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, 1) };
    }

    /// lapin's thread waits for its next turn, as long as it takes.
    pub(super) fn wait_for_turn(&self) {
        while self.holder() == Holder::Simulation {
            self.wait(Holder::Simulation, ptr::null());
        }
    }

    /// The simulation waits until lapin's thread stands at its gate or has ended; false if it doesn't come back in
    /// time.
    #[must_use]
    pub(super) fn wait_for_return(&self) -> bool {
        // Both threads are on one core: to give that up is all it takes to let lapin's run, and it is cheaper than to
        // fall asleep and to be woken.
        for _ in 0..YIELDS_MAX {
            if self.holder() != Holder::Lapin {
                return true;
            }
            // SAFETY: it takes no arguments and touches no memory.
            unsafe { libc::sched_yield() };
        }
        self.sleeps.store(true, Ordering::SeqCst);
        let returned = self.sleep_until_return();
        self.sleeps.store(false, Ordering::SeqCst);
        returned
    }

    fn sleep_until_return(&self) -> bool {
        let (tv_sec, tv_nsec) = (self.turn_limit.as_secs().cast_signed(), self.turn_limit.subsec_nanos().into());
        let limit = libc::timespec { tv_sec, tv_nsec };
        while self.holder() == Holder::Lapin {
            if self.wait(Holder::Lapin, &raw const limit) == libc::ETIMEDOUT && self.holder() == Holder::Lapin {
                return false;
            }
        }
        true
    }

    /// Sleeps while the word says `holder`; returns the error number, 0 for a wake-up.
    fn wait(&self, holder: Holder, limit: *const libc::timespec) -> i32 {
        let operation = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word lives as long as `self`; `limit` is null or points to a timespec of the caller.
        let result = unsafe { libc::syscall(libc::SYS_futex, self.word.as_ptr(), operation, holder as u32, limit) };
        if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn the_two_sides_never_run_at_the_same_time() {
        let (baton, log) = (Arc::new(Baton::with_lapin(Duration::from_secs(60))), Arc::new(Mutex::new(Vec::new())));
        let (their_baton, their_log) = (baton.clone(), log.clone());
        let lapin = std::thread::Builder::new().spawn(move || {
            for turn in 0..1_000 {
                their_log.lock().unwrap().push((turn, Holder::Lapin));
                their_baton.pass_to(Holder::Simulation);
                their_baton.wait_for_turn();
            }
            their_baton.pass_to(Holder::Gone);
        });
        for turn in 0.. {
            assert!(baton.wait_for_return());
            if baton.holder() == Holder::Gone {
                break;
            }
            log.lock().unwrap().push((turn, Holder::Simulation));
            baton.pass_to(Holder::Lapin);
        }
        lapin.unwrap().join().unwrap();
        let expected = (0..1_000).flat_map(|turn| [(turn, Holder::Lapin), (turn, Holder::Simulation)]);
        assert!(log.lock().unwrap().iter().copied().eq(expected));
    }

    #[test]
    fn a_thread_that_does_not_come_back_is_noticed() {
        assert!(!Baton::with_lapin(Duration::from_millis(1)).wait_for_return());
    }
}
