use super::*;

const MS: u64 = 1_000_000;

impl Cpu {
    /// Lets periods begin so long before time zero.
    pub(super) fn set_phase_ns(&mut self, phase_ns: u64) {
        if let Threads::Limited(_, bandwidth) = &mut self.threads {
            bandwidth.phase_ns = phase_ns;
        }
    }
}

fn cpu(threads: u32, quota_us: u64) -> Cpu {
    let quota = (quota_us > 0).then_some(Quota { quota_us, period_us: 100_000 });
    let mut cpu = Cpu::new(CpuPlan { threads, quota, ..CpuPlan::default() }, 1, None);
    cpu.set_phase_ns(0);
    cpu
}

/// When work of `cost_ns` is done.
pub(super) fn done(cpu: &mut Cpu, now_ns: u64, cost_ns: u64) -> u64 {
    let job = cpu.charge(now_ns, cost_ns);
    cpu.done_ns(now_ns, job)
}

#[test]
fn work_waits_for_the_work_before_it() {
    let mut cpu = cpu(1, 0);
    assert_eq!(done(&mut cpu, 0, 3 * MS), 3 * MS);
    assert_eq!(done(&mut cpu, MS, 2 * MS), 5 * MS);
    assert_eq!(done(&mut cpu, 9 * MS, MS), 10 * MS);
}

#[test]
fn a_large_frame_costs_more_by_each_of_its_bytes() {
    let mut cpu = Cpu::new(CpuPlan { frame_us: 10, kib_us: 20, ..CpuPlan::default() }, 1, None);
    let mut done_ns = 0;
    for (len_bytes, cost_us) in [(0, 10), (512, 20), (10 * 1_024, 210)] {
        let job = cpu.read_frame(done_ns, len_bytes);
        let before_ns = done_ns;
        done_ns = cpu.done_ns(before_ns, job);
        assert_eq!(done_ns - before_ns, cost_us * 1_000, "{len_bytes} bytes");
    }
}

#[test]
fn two_threads_work_side_by_side() {
    let mut cpu = cpu(2, 0);
    assert_eq!(done(&mut cpu, 0, 3 * MS), 3 * MS);
    assert_eq!(done(&mut cpu, 0, 2 * MS), 2 * MS);
    assert_eq!(done(&mut cpu, 0, MS), 3 * MS, "the thread that is free first takes it");
}

#[test]
fn frames_of_100_us_without_a_pause_come_in_bursts_that_end_at_a_tick() {
    let mut cpu = cpu(1, 10_000);
    let ends: Vec<u64> = (0..250).map(|_| done(&mut cpu, 0, MS / 10)).collect();
    assert_eq!((ends[0], ends[119]), (MS / 10, 12 * MS));
    assert_eq!((ends[120], ends[199]), (100 * MS + MS / 10, 108 * MS), "2 ms were owed, so this period had 8");
    assert_eq!(ends[200], 200 * MS + MS / 10);
}

#[test]
fn a_thread_that_sleeps_in_between_stops_when_the_quota_is_used_up() {
    let mut cpu = cpu(1, 10_000);
    // 100 us of work every 200 us: 10 ms are used up after 20 ms.
    let ends: Vec<u64> = (0..150).map(|i| done(&mut cpu, i * MS / 5, MS / 10)).collect();
    assert_eq!(ends[99], 19_900_000);
    assert_eq!(ends[100], 100 * MS + MS / 10);
}

#[test]
fn each_processor_takes_a_slice_and_runs_on_with_it_when_the_pool_is_empty() {
    let mut cpu = cpu(4, 10_000);
    let mut ends: Vec<u64> = (0..400).map(|_| done(&mut cpu, 0, MS / 10)).collect();
    ends.retain(|at_ns| *at_ns < 50 * MS);
    // At the tick at 4 ms all four have used 4 ms of the two slices that two of them took: 16 of 10. The others start
    // without anything.
    assert_eq!((ends.len(), ends.iter().max()), (160, Some(&(8 * MS))));
}

#[test]
fn a_thread_that_overruns_the_quota_owes_it_to_the_next_period() {
    let mut cpu = cpu(1, 10_000);
    // 12 ms: the tick at 12 ms stops it; 2 ms are owed, so the next period has 8.
    assert_eq!(done(&mut cpu, 0, 13 * MS), 101 * MS);
    assert_eq!(done(&mut cpu, 0, 7 * MS), 108 * MS);
    assert_eq!(done(&mut cpu, 0, MS), 201 * MS);
}

#[test]
fn a_thread_that_sleeps_gives_its_slice_back_but_for_a_millisecond() {
    let mut cpu = cpu(2, 10_000);
    done(&mut cpu, 0, MS); // Each of the two takes a slice of 5 ms, which leaves nothing.
    done(&mut cpu, 0, MS / 10);
    // The pool has 3 and 3.9 ms again; what is needed beyond them and the millisecond in hand is a debt of 1.1 ms.
    assert_eq!(done(&mut cpu, 15 * MS / 10, 9 * MS), 105 * MS / 10);
    assert_eq!(done(&mut cpu, 11 * MS, MS / 2), 115 * MS / 10, "the other thread still has its millisecond");
    assert_eq!(done(&mut cpu, 12 * MS, MS / 10), 100 * MS + MS / 10, "this one has none");
}

#[test]
fn in_the_long_run_a_pod_gets_its_quota_and_no_more() {
    for threads in [1, 3] {
        let mut cpu = cpu(threads, 10_000);
        let mut last = 0;
        for _ in 0..10_000 {
            last = last.max(done(&mut cpu, 0, 137_000));
        }
        let share = 10_000.0 * 137_000.0 / last as f64;
        assert!((0.099..0.102).contains(&share), "{share} of a CPU with {threads} threads");
    }
}

#[test]
fn an_idle_pod_saves_nothing_up() {
    let mut cpu = cpu(1, 10_000);
    assert_eq!(done(&mut cpu, 1_000 * MS, 12 * MS), 1_012 * MS);
    assert_eq!(done(&mut cpu, 1_000 * MS, 9 * MS), 1_201 * MS, "8 ms in the next period, the rest in the one after it");
}

#[test]
fn costs_have_the_median_that_is_asked_for() {
    let mut cpu = Cpu::new(CpuPlan::default(), 7, None);
    let mut draws: Vec<u64> = (0..9_999).map(|_| cpu.draw_ns(10, 100)).collect();
    draws.sort_unstable();
    assert!((9_300..10_700).contains(&draws[5_000]), "{}", draws[5_000]);
    let ratio = draws[9_000] as f64 / draws[5_000] as f64;
    assert!((3.3..3.9).contains(&ratio), "p90/p50 of a log-normal with sigma 1 is 3.6, not {ratio}");
}

#[test]
fn what_a_sleeping_pod_owes_is_paid_by_the_periods_that_it_sleeps_through() {
    for (again_ns, done_ns) in [(5 * MS, 401 * MS), (405 * MS, 406 * MS)] {
        let mut cpu = cpu(1, 1_000);
        assert_eq!(done(&mut cpu, 0, 4 * MS), 4 * MS, "3 ms too much");
        assert_eq!(done(&mut cpu, again_ns, MS), done_ns);
    }
}

#[test]
fn periods_of_different_pods_begin_at_different_times() {
    let first_stop = |rng| {
        let quota = Some(Quota { quota_us: 10_000, period_us: 100_000 });
        let mut cpu = Cpu::new(CpuPlan { quota, ..CpuPlan::default() }, rng, None);
        (0..1_000).map(|_| done(&mut cpu, 0, MS / 10)).find(|at_ns| at_ns % MS != 0 && *at_ns > 20 * MS)
    };
    assert_ne!(first_stop(1), first_stop(2));
}
