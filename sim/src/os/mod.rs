//! What the operating system tells a simulation's threads: libc's clocks and entropy, interposed; and what it refuses
//! them ([`doors`]).
//!
//! Libraries read `CLOCK_MONOTONIC` and `getrandom` past every seam (hash seeds, heartbeats, identifiers). On threads
//! that belong to a simulation both come from the simulation: virtual time, and a stream drawn from the seed. All other
//! threads of the process get the real ones, so several simulations and a progress bar can share a process.
//!
//! std caches a thread's hash keys at first use: a simulation therefore runs on a fresh thread, joined to it first.

mod doors;
mod lease;

pub(crate) use {doors::permit_threads, lease::Lease};

use crate::escape::{Door, Escape, Escapes};
use std::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

/// What the virtual clocks show at the start, so that subtracting an hour from "now" does not underflow.
const MONOTONIC_START_S: u64 = 1_000_000;
/// What a wall clock shows at the start, in seconds since 1970: 2025-01-01T00:00Z, the year of the thesis.
pub const UNIX_START_S: u64 = 1_735_689_600;
const NS_PER_S: u64 = 1_000_000_000;

/// One simulation, as its threads see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Leaked, less than 100 bytes a simulation: a libc function that may run at any moment of a thread's life must
    /// never find it gone.
    shared: &'static Shared,
    seed: u64,
}

/// What the threads of one simulation share.
#[derive(Debug, Default)]
struct Shared {
    /// Virtual nanoseconds since the start.
    now_ns: AtomicU64,
    escapes: Escapes,
}

thread_local! {
    static IDENTITY: Cell<Option<Identity>> = const { Cell::new(None) };
    static DRAWS: Cell<u64> = const { Cell::new(0) };
}

impl Identity {
    pub(crate) fn new(seed: u64) -> Self {
        Self { shared: Box::leak(Box::default()), seed }
    }

    /// Makes the calling thread one of the simulation's.
    pub(crate) fn join(self) {
        IDENTITY.set(Some(self));
        DRAWS.set(0);
    }

    pub(crate) fn now_ns(self) -> u64 {
        self.shared.now_ns.load(Ordering::Acquire)
    }

    pub(crate) fn set_now_ns(self, now_ns: u64) {
        self.shared.now_ns.store(now_ns, Ordering::Release);
    }

    /// What tried to leave the simulation.
    pub(crate) fn escapes(self) -> &'static Escapes {
        &self.shared.escapes
    }
}

/// Ends the run if something has tried to leave it. `who` did what came before this call.
///
/// # Panics
/// Then; [`take_escape`] tells the rest.
pub(crate) fn assert_no_escape(who: impl FnOnce() -> String) {
    if let Some(identity) = identity().filter(|identity| identity.escapes().happened()) {
        identity.escapes().attribute_to(who);
        panic!("something has tried to leave the simulation");
    }
}

/// Says that it was `who` who has tried to leave the simulation, if somebody has and that is not known yet.
pub(crate) fn attribute_escape(who: impl FnOnce() -> String) {
    if let Some(identity) = identity().filter(|identity| identity.escapes().happened()) {
        identity.escapes().attribute_to(who);
    }
}

/// Keeps an attempt to leave the calling thread's simulation. Whether there is one: other threads may do as they like.
pub(crate) fn refuse(door: Door) -> bool {
    let Some(identity) = identity() else { return false };
    identity.escapes().refuse(door);
    true
}

/// The first attempt to leave the calling thread's simulation.
pub(crate) fn take_escape() -> Option<Escape> {
    identity()?.escapes().take()
}

/// SplitMix64 (Steele, Lea, Flood 2014): the next number of the sequence whose state is `state`.
pub(crate) fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The simulation that the calling thread belongs to.
pub(crate) fn identity() -> Option<Identity> {
    IDENTITY.try_with(Cell::get).ok().flatten()
}

/// libc's `getrandom(2)`.
///
/// # Safety
/// As libc's: `buf` is valid for writes of `len` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buf: *mut u8, len: usize, flags: u32) -> isize {
    let Some(identity) = identity() else {
        // SAFETY: the caller's promise about `buf` and `len` is passed on.
        return unsafe { libc::syscall(libc::SYS_getrandom, buf, len, flags) as isize };
    };
    let draw = DRAWS.try_with(|d| d.replace(d.get() + 1)).unwrap_or(0);
    let mut state = identity.seed.wrapping_mul(0x9E37) ^ (draw << 32);
    for i in 0..len {
        // SAFETY: i < len, and the caller promises len writable bytes.
        unsafe { *buf.add(i) = split_mix(&mut state) as u8 };
    }
    len as isize
}

/// libc's `clock_gettime(2)`.
///
/// # Safety
/// As libc's: `out` is valid for a write.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, out: *mut libc::timespec) -> libc::c_int {
    let start_s = match clock {
        libc::CLOCK_MONOTONIC => Some(MONOTONIC_START_S),
        libc::CLOCK_REALTIME => Some(UNIX_START_S),
        _ => None,
    };
    match (identity(), start_s) {
        (Some(identity), Some(start_s)) => {
            let ns = identity.now_ns() + start_s * NS_PER_S;
            let time = libc::timespec { tv_sec: (ns / NS_PER_S) as i64, tv_nsec: (ns % NS_PER_S) as i64 };
            // SAFETY: the caller promises that `out` is writable.
            unsafe { *out = time };
            0
        }
        // SAFETY: the caller's promise about `out` is passed on.
        _ => unsafe { libc::syscall(libc::SYS_clock_gettime, clock, out) as libc::c_int },
    }
}

/// The right to keep one core busy. Simulations of one machine, in one process or several, thus spread over its cores.
#[derive(Debug)]
pub(crate) struct CoreLease {
    _lease: Option<Lease>,
}

/// Pins the calling thread, and with it the threads it will start, to a core that no other simulation has leased. A
/// hand-off between two threads is then a plain context switch (6 us instead of 40-60 us between cores). If all cores
/// are leased, the thread stays free to move.
pub(crate) fn lease_core() -> CoreLease {
    // SAFETY: a zeroed cpu_set_t is the empty set.
    let mut allowed: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&allowed);
    // SAFETY: `allowed` is a cpu_set_t of `size` bytes; 0 names the calling thread.
    if unsafe { libc::sched_getaffinity(0, size, &raw mut allowed) } != 0 {
        return CoreLease { _lease: None };
    }
    for core in 0..libc::CPU_SETSIZE as usize {
        // SAFETY: `core` is below CPU_SETSIZE.
        if !unsafe { libc::CPU_ISSET(core, &allowed) } {
            continue;
        }
        let Ok(lease) = Lease::take(&format!("sim-core-{core}")) else { continue };
        // SAFETY: as above; the set holds one core that the thread may use.
        unsafe {
            let mut one: libc::cpu_set_t = std::mem::zeroed();
            libc::CPU_SET(core, &mut one);
            libc::sched_setaffinity(0, size, &raw const one);
        }
        return CoreLease { _lease: Some(lease) };
    }
    CoreLease { _lease: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, hash::BuildHasher, thread};

    fn hash_on_a_thread_of(seed: u64) -> u64 {
        let thread = thread::Builder::new().spawn(move || {
            Identity::new(seed).join();
            std::hash::RandomState::new().hash_one(1)
        });
        thread.unwrap().join().unwrap()
    }

    #[test]
    fn hash_seeds_follow_the_simulations_seed() {
        assert_eq!(hash_on_a_thread_of(1), hash_on_a_thread_of(1));
        let distinct: BTreeSet<u64> = (0..8).map(hash_on_a_thread_of).collect();
        assert_eq!(distinct.len(), 8);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is the clock under test")]
    fn only_joined_threads_see_the_virtual_clock() {
        let thread = thread::Builder::new().spawn(|| {
            let identity = Identity::new(1);
            identity.join();
            let start = std::time::Instant::now();
            identity.set_now_ns(3_600 * NS_PER_S);
            start.elapsed().as_secs()
        });
        let start = std::time::Instant::now();
        assert_eq!(thread.unwrap().join().unwrap(), 3_600);
        assert!(start.elapsed().as_secs() < 3_600);
    }
}
