//! What breaks in a world, and when: drawn from a seed. Kinds and parts are left out of some schedules as a whole
//! (swarm testing), so that those that are left come more often, and together.

use super::dice::Dice;
use crate::spec::{Fault, FaultKind, Part, Pod, Spec, Strength};
use backbone::config::Correlation;
use std::collections::BTreeMap;

/// Most faults of a schedule.
const FAULTS_MAX: u32 = 7;
/// Longest and shortest fault, in milliseconds: from less than a retransmission to more than a heartbeat.
const FOR_MS: std::ops::RangeInclusive<u32> = 20..=20_000;
/// A burst of tasks is over soon, and so would be most of what can be hit. Least time in which faults come, in
/// milliseconds.
const SPAN_MS_MIN: u32 = 2_000;
/// How likely a kind of fault, or a kind of part, is to be in a schedule at all, in percent.
const IS_IN_PERCENT: u64 = 55;
/// How many worlds nothing is broken in, in percent: there, more is asked.
const CALM_PERCENT: u64 = 4;
/// How often a fault hits all parts of a kind, in percent.
const ALL_PERCENT: u64 = 8;
/// Wrong clocks and late messages that are drawn; what is further off is no other case. In milliseconds and millionths.
const CLOCK_MS: u32 = 600_000;
const DRIFT_PPM: u32 = 50_000;
const LATE_MS: u32 = 5_000;

/// The faults of `seed` for `spec`, by the time at which they begin.
#[must_use]
pub fn draw(spec: &Spec, seed: u64) -> Vec<Fault> {
    let mut dice = Dice::new(seed, "hunted faults");
    let kinds: Vec<FaultKind> =
        FaultKind::ALL.into_iter().filter(|kind| is_drawn(*kind) && is_fair(spec, *kind)).collect();
    let kinds = some_of(&kinds, &mut dice);
    let parts = parts(spec);
    let names: Vec<&str> = parts.keys().copied().collect();
    let names = some_of(&names, &mut dice);
    let count = if dice.percent(CALM_PERCENT) { 0 } else { dice.any(1..=FAULTS_MAX) };
    let span_ms = (spec.workload.duration_s * 1_000).max(SPAN_MS_MIN);
    let mut faults: Vec<Fault> = Vec::new();
    for _ in 0..count {
        let pods = &parts[dice.one(&names)];
        let pod = dice.one(pods);
        let part = if pods.len() > 1 && dice.percent(ALL_PERCENT) { Part::All(pod) } else { Part::One(pod) };
        let fitting: Vec<FaultKind> = kinds.iter().copied().filter(|kind| kind.scope().has(part)).collect();
        if fitting.is_empty() {
            continue; // nothing that may happen in this world can happen to this part
        }
        let kind = dice.one(&fitting);
        let at_ms = u64::from(if dice.percent(50) { dice.any(0..=span_ms) } else { dice.magnitude(1..=span_ms) });
        let for_ms = u64::from(dice.magnitude(FOR_MS));
        let for_ms = (!kind.is_instant()).then_some(for_ms);
        let peers = spec.peers(pod);
        let is_between = kind.may_be_between_two() && !peers.is_empty() && dice.percent(60);
        let from = is_between.then(|| Part::One(dice.one(&peers)));
        let strength = strength(kind, &mut dice);
        faults.push(Fault { at_ms, kind, target: part, for_ms, from, strength });
    }
    faults.sort_by_key(|fault| fault.at_ms);
    faults
}

/// A new version of a service of `spec`, beside whatever else its seed lets happen.
#[must_use]
pub fn rollout(spec: &Spec) -> Fault {
    let mut dice = Dice::new(spec.seed, "hunted rollout");
    let routers = spec.routers().iter().map(|kind| Pod::Router(*kind, 0));
    let services: Vec<Pod> = [Pod::TaskWorker(0)].into_iter().chain(routers).collect();
    let at_ms = dice.any(0..=(spec.workload.duration_s * 1_000).max(SPAN_MS_MIN));
    Fault::new(at_ms.into(), FaultKind::Rollout, Part::All(dice.one(&services)), u64::from(dice.magnitude(FOR_MS)))
}

/// Whether schedules have it by themselves. A rollout is asked for: with one more kind each seed would draw another
/// schedule than before.
fn is_drawn(kind: FaultKind) -> bool {
    kind != FaultKind::Rollout
}

/// Whether the services of `spec` promise to bear it. With the thesis' key a reply is believed that names the label
/// alone.
fn is_fair(spec: &Spec, kind: FaultKind) -> bool {
    let believes = spec.backbone.correlation == Correlation::EslMac;
    !(believes && matches!(kind, FaultKind::ReplyForOther | FaultKind::ReplyToNobody))
}

fn strength(kind: FaultKind, dice: &mut Dice) -> Option<i64> {
    let Strength { min, max, .. } = kind.strength()?;
    let most = match kind {
        FaultKind::ClockStep => CLOCK_MS,
        FaultKind::ClockDrift => DRIFT_PPM,
        FaultKind::Delay | FaultKind::ReplyLate => LATE_MS,
        _ => 100,
    };
    let size = i64::from(dice.magnitude(1..=most));
    let strength = if min < 0 && dice.percent(50) { -size } else { size };
    Some(strength.clamp(min, max))
}

/// Some of `all`, at least one.
fn some_of<T: Copy>(all: &[T], dice: &mut Dice) -> Vec<T> {
    let mut some: Vec<T> = all.iter().copied().filter(|_| dice.percent(IS_IN_PERCENT)).collect();
    if some.is_empty() {
        some.push(dice.one(all));
    }
    some
}

/// All parts that can break, by their kinds.
fn parts(spec: &Spec) -> BTreeMap<&'static str, Vec<Pod>> {
    let routers = spec.routers().iter().flat_map(|kind| (0..spec.replicas.routers).map(|i| Pod::Router(*kind, i)));
    let workers = (0..spec.replicas.task_workers).map(Pod::TaskWorker);
    let gateways = (0..spec.fleet.gateways).map(Pod::Gateway);
    let all = [Pod::Amqp, Pod::Mqtt, Pod::Dispatcher].into_iter().chain(spec.brokers.redis());
    let mut parts: BTreeMap<_, Vec<Pod>> = BTreeMap::new();
    for pod in all.chain(routers).chain(workers).chain(gateways) {
        parts.entry(pod.kind()).or_default().push(pod);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn schedules_have_every_kind_of_fault_and_break_every_kind_of_part() {
        let mut spec = Spec::default();
        (spec.replicas.task_workers, spec.replicas.routers) = (3, 2);
        let drawn: Vec<Fault> = (0..4_000).flat_map(|seed| draw(&spec, seed)).collect();
        let kinds: BTreeSet<FaultKind> = drawn.iter().map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), FaultKind::ALL.into_iter().filter(|kind| is_drawn(*kind)).count(), "{kinds:?}");
        let crashed: BTreeSet<&str> = drawn
            .iter()
            .filter(|fault| fault.kind == FaultKind::Crash)
            .map(|fault| fault.target.example().kind())
            .collect();
        assert_eq!(crashed.len(), parts(&spec).len(), "{crashed:?}");
        assert!(drawn.iter().any(|fault| fault.from.is_some()));
        assert!(drawn.iter().any(|fault| matches!(fault.target, Part::All(_))));
    }

    #[test]
    fn a_schedule_leaves_whole_kinds_of_parts_out() {
        let spec = Spec::default();
        let few = |faults: &Vec<Fault>| {
            let parts: BTreeSet<&str> = faults.iter().map(|fault| fault.target.example().kind()).collect();
            faults.len() > 4 && parts.len() < 3
        };
        let focused = (0..500).map(|seed| draw(&spec, seed)).filter(few).count();
        assert!(focused > 20, "{focused} of 500 schedules with more than 4 faults hit at most two kinds of parts");
    }
}
