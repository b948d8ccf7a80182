//! The model against the kernel: a process that burns what it gets, in a control group with a quota.
//!
//! What is compared does not depend on how busy the machine is: CPU time that was used, periods in which the group was
//! throttled, and the lengths of bursts, in a group that outweighs everything else. Where no control group can be made
//! the comparison is skipped and says so.

use super::{Cpu, CpuPlan, Quota, bandwidth::TICK_NS, tests::done};
use crate::real::{
    broker::say,
    cgroup::{Hierarchy, Version},
};
use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Command, Stdio},
    thread,
};

const MS: u64 = 1_000_000;
const QUOTA: Quota = Quota { quota_us: 10_000, period_us: 100_000 };
const PERIOD_NS: u64 = 100 * MS;
/// How long is burned: enough periods that one more or less makes no difference of more than 3 %.
const BURN_NS: u64 = 4_000 * MS;
/// A thread that was away for longer was throttled.
const GAP_NS: u64 = 5 * MS;
/// How exact a burst's length is: a woken thread starts some 50 us late, a virtual machine's timer fires some 100 us
/// late.
const EXACT_NS: u64 = 400_000;
/// How many bursts as long as predicted are no accident.
const BURSTS_MIN: usize = 8;
/// A machine with much else to do disturbs so much that bursts can't be compared; a wrong model is wrong each time.
const TRIES: usize = 3;
/// Tells the test executable, run again, how many threads shall burn.
const THREADS_VAR: &str = "SHELFWIRE_BURN_THREADS";

/// Without a break of more than [`GAP_NS`], in ns of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Burst {
    start_ns: u64,
    end_ns: u64,
}

/// What became of a process under [`QUOTA`].
#[derive(Debug)]
struct Measured {
    /// In which any of its threads ran.
    bursts: Vec<Burst>,
    cpu_ns: u64,
    periods: u64,
    throttled: u64,
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that may be written.
    assert_eq!(unsafe { libc::clock_gettime(clock, &raw mut time) }, 0);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// How often this kernel looks after running threads: the coarse clocks advance at that pace.
fn tick_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec that may be written.
    assert_eq!(unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) }, 0);
    time.tv_nsec as u64
}

/// Keeps the calling thread on the `i`th of the processors that it may use, so that burning threads share them evenly.
fn stay_on_processor(i: usize) {
    // SAFETY: a zeroed cpu_set_t is the empty set.
    let (mut allowed, mut one): (libc::cpu_set_t, libc::cpu_set_t) = unsafe { std::mem::zeroed() };
    let size = std::mem::size_of_val(&allowed);
    // SAFETY: both are of `size` bytes, processors are below CPU_SETSIZE, and 0 names the calling thread.
    unsafe {
        assert_eq!(libc::sched_getaffinity(0, size, &raw mut allowed), 0);
        let mut processors = (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &allowed)).cycle();
        libc::CPU_SET(processors.nth(i).expect("it runs somewhere"), &mut one);
        assert_eq!(libc::sched_setaffinity(0, size, &raw const one), 0);
    }
}

/// Not a test: the process that burns. [`burn`] runs the test executable again with just this one.
#[test]
#[ignore = "does nothing by itself"]
fn burner() {
    let Ok(threads) = std::env::var(THREADS_VAR) else { return };
    println!("\nready");
    let _ = std::io::stdin().read(&mut [0]); // until this process is in its group
    let before_ns = clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID);
    let end_ns = clock_ns(libc::CLOCK_MONOTONIC) + BURN_NS;
    let burst = |thread: usize| {
        stay_on_processor(thread);
        let mut bursts = vec![];
        let mut now_ns = clock_ns(libc::CLOCK_MONOTONIC);
        let mut burst = Burst { start_ns: now_ns, end_ns: now_ns };
        while now_ns < end_ns {
            if now_ns > burst.end_ns + GAP_NS {
                bursts.push(std::mem::replace(&mut burst, Burst { start_ns: now_ns, end_ns: now_ns }));
            }
            burst.end_ns = now_ns;
            now_ns = clock_ns(libc::CLOCK_MONOTONIC);
        }
        assert!(bursts.len() > 2, "thread {thread} was never throttled");
        bursts
    };
    let bursts: Vec<Burst> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.parse().unwrap()).map(|i| scope.spawn(move || burst(i))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for Burst { start_ns, end_ns } in bursts {
        println!("\nburst {start_ns} {end_ns}");
    }
    println!("\ncpu {}", clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID) - before_ns);
    let _ = std::io::stdin().read(&mut [0]); // until the group's statistics have been read
}

/// Lets `threads` burn in a control group of `hierarchy`.
fn burn(hierarchy: &Hierarchy, threads: usize) -> Measured {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["cpu::kernel::burner", "--exact", "--ignored", "--nocapture"])
        .env(THREADS_VAR, threads.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut orders = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    // Its start and its end must be neither throttled nor counted.
    let mut hear = |word: &str| {
        while !said.lines().any(|line| line.starts_with(word)) {
            assert!(output.read_line(&mut said).unwrap() > 0, "the burner has ended before {word}: {said}");
        }
    };
    hear("ready");
    let group = hierarchy.confine(&format!("burner-{threads}"), child.id(), QUOTA).unwrap();
    let (weight, most) = match hierarchy.version {
        Version::V1 => ("cpu.shares", "262144"),
        Version::V2 => ("cpu.weight", "10000"),
    };
    fs::write(group.folder.join(weight), most).unwrap();
    orders.write_all(b"\n").unwrap();
    hear("cpu ");
    let statistics = fs::read_to_string(group.folder.join("cpu.stat")).unwrap();
    drop(orders);
    output.read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    let numbers = |text: &str, name: &str| -> Vec<Vec<u64>> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|line| line.split_whitespace().map(|number| number.parse().unwrap()).collect()).collect()
    };
    let mut bursts = numbers(&said, "burst ");
    bursts.sort_unstable();
    Measured {
        bursts: merge(bursts.iter().map(|burst| Burst { start_ns: burst[0], end_ns: burst[1] })),
        cpu_ns: numbers(&said, "cpu ")[0][0],
        periods: numbers(&statistics, "nr_periods ")[0][0],
        throttled: numbers(&statistics, "nr_throttled ")[0][0],
    }
}

/// Joins what is less than a gap apart. `bursts` are ordered by their start.
fn merge(bursts: impl Iterator<Item = Burst>) -> Vec<Burst> {
    let mut merged: Vec<Burst> = vec![];
    for burst in bursts {
        match merged.last_mut() {
            Some(last) if burst.start_ns <= last.end_ns + GAP_NS => last.end_ns = last.end_ns.max(burst.end_ns),
            _ => merged.push(burst),
        }
    }
    merged
}

/// How far apart two moments are on a circle of `around_ns`.
fn apart(a_ns: u64, b_ns: u64, around_ns: u64) -> u64 {
    let ahead = (a_ns + around_ns - b_ns % around_ns) % around_ns;
    ahead.min(around_ns - ahead)
}

/// Where on a circle of `around_ns` most of `moments` lie.
fn place_of_most(moments: &[u64], around_ns: u64) -> u64 {
    let near = |at_ns: u64| moments.iter().filter(|other| apart(**other, at_ns, around_ns) < EXACT_NS / 2).count();
    moments.iter().map(|moment| moment % around_ns).max_by_key(|at_ns| near(*at_ns)).unwrap()
}

/// How long bursts of `threads` that never stop are, in ns, if periods begin at `phase_ns` after a tick.
fn predicted(threads: usize, phase_ns: u64) -> Vec<u64> {
    const STEP_NS: u64 = MS / 20;
    let mut cpu = Cpu::new(CpuPlan { threads: threads as u32, quota: Some(QUOTA), ..CpuPlan::default() }, 1, None);
    cpu.set_phase_ns(PERIOD_NS - phase_ns % PERIOD_NS);
    let mut done_ns: Vec<u64> = (0..BURN_NS / 10 / STEP_NS).map(|_| done(&mut cpu, 0, STEP_NS)).collect();
    done_ns.sort_unstable();
    let bursts = merge(done_ns.into_iter().map(|end_ns| Burst { start_ns: end_ns - STEP_NS, end_ns }));
    // The first begins in the middle of a period, the last ends with the work.
    bursts[1..bursts.len() - 1].iter().map(|burst| burst.end_ns - burst.start_ns).collect()
}

/// Of each period's pool, whatever else the machine does: no more than that and a debt is used, and all of it where it
/// was not enough, but for what processors have in hand at the end.
fn compare_sums(measured: &Measured, processors: usize) {
    let Measured { bursts, cpu_ns, periods, throttled } = measured;
    let quota_ns = QUOTA.quota_us * 1_000;
    let margin_ns = processors as u64 * 5 * MS;
    assert!(*cpu_ns <= (periods + 1) * quota_ns + margin_ns, "{measured:?}");
    assert!(cpu_ns + margin_ns >= throttled * quota_ns, "{measured:?}");
    let wall_ns = bursts.last().unwrap().end_ns - bursts[0].start_ns;
    // The group sleeps before and after, and what is left after a debt may last for a period.
    assert!(throttled + 4 >= *periods && throttled + 4 >= wall_ns / PERIOD_NS, "{measured:?}");
}

/// Whether bursts are as long as the model says; if not, how they were.
fn compare_bursts(measured: &Measured, processors: usize) -> Result<(), String> {
    let starts: Vec<u64> = measured.bursts[1..].iter().map(|burst| burst.start_ns).collect();
    let ends: Vec<u64> = measured.bursts.iter().map(|burst| burst.end_ns).collect();
    let (boundary_ns, tick_ns) = (place_of_most(&starts, PERIOD_NS), place_of_most(&ends, TICK_NS));
    let phase_ns = PERIOD_NS + boundary_ns - tick_ns;
    // A phase at which a burst just or just not ends with the quota makes both of it.
    let variants = [phase_ns - EXACT_NS / 4, phase_ns, phase_ns + EXACT_NS / 4];
    let mut expected_ns: Vec<u64> = variants.iter().flat_map(|phase_ns| predicted(processors, *phase_ns)).collect();
    expected_ns.sort_unstable();
    expected_ns.dedup();
    // On a busy machine some bursts begin later, are interrupted, or end with a look at the quota that is no tick's.
    let from_boundary = |burst: &Burst| apart(burst.start_ns, boundary_ns, PERIOD_NS) < TICK_NS / 2;
    let to_tick = |burst: &Burst| apart(burst.end_ns, tick_ns, TICK_NS) < EXACT_NS / 2;
    let whole = measured.bursts[1..].windows(2).filter(|pair| pair.iter().all(from_boundary) && to_tick(&pair[0]));
    let whole_ns: Vec<u64> = whole.map(|pair| apart(pair[0].end_ns, boundary_ns, PERIOD_NS)).collect();
    let is_expected = |ns: &&u64| expected_ns.iter().any(|expected_ns| expected_ns.abs_diff(**ns) <= EXACT_NS);
    let good = whole_ns.iter().filter(is_expected).count();
    let found = format!(
        "{good} of {} undisturbed bursts as expected, of {} in all: {whole_ns:?} ns, expected {expected_ns:?}; a \
         period begins {} ns after a tick",
        whole_ns.len(),
        ends.len(),
        phase_ns % TICK_NS
    );
    (good >= BURSTS_MIN && good * 10 >= whole_ns.len() * 8).then_some(()).ok_or(found)
}

/// Compares what the kernel gives to so many threads with what the model does.
fn compare(threads: usize) {
    let who = format!("comparison of {threads} threads' CPU quota with the kernel's");
    let hierarchy = match Hierarchy::find() {
        Ok(hierarchy) => hierarchy,
        Err(error) => return say(&format!("SKIPPED {who}: {error}\n")),
    };
    let processors = threads.min(thread::available_parallelism().unwrap().get());
    let mut found = vec![];
    for _ in 0..TRIES {
        let measured = burn(&hierarchy, threads);
        compare_sums(&measured, processors);
        if tick_ns() != TICK_NS {
            return say(&format!("SKIPPED {who}, its bursts: a tick of {} us is not modelled\n", tick_ns() / 1_000));
        }
        match compare_bursts(&measured, processors) {
            Ok(()) => return,
            Err(bursts) => found.push(bursts),
        }
    }
    panic!("{who}: {found:#?}");
}

#[test]
fn threads_under_a_quota_run_as_they_do_in_a_real_control_group() {
    // One after the other: both want to outweigh everything else.
    compare(1);
    compare(4);
}
