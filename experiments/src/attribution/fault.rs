//! Which faults keep tasks waiting: what passes at a broken pod, or on the way to it, while it is broken.

use super::{cause::Cause, host::Host, span::Span};
use crate::spec::{FaultKind, Part, Pod, Spec};
use std::borrow::Cow;

const NS_PER_MS: u64 = 1_000_000;

/// When a fault hits which pods.
#[derive(Debug)]
struct Window {
    kind: FaultKind,
    from_ns: u64,
    to_ns: u64,
    pods: Vec<Pod>,
    /// Of what lies between two: the other ones. Empty: all.
    others: Vec<Pod>,
}

/// The faults of a spec.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Window>);

impl Faults {
    /// Those of `spec`, whose times count from this moment.
    pub(super) fn of(spec: &Spec, start_ns: u64) -> Self {
        let mut windows = Vec::new();
        for fault in &spec.faults {
            let pods = fault.target.pods(spec);
            let others = fault.from.map_or(Vec::new(), |from| from.pods(spec));
            let from_ns = start_ns + fault.at_ms * NS_PER_MS;
            let for_ns = fault.for_ms.map(|ms| ms * NS_PER_MS);
            let lasts_ns = if fault.kind.is_instant() { Some(0) } else { for_ns };
            let window = |pods: &[Pod], from_ns: u64| Window {
                kind: fault.kind,
                from_ns,
                to_ns: lasts_ns.map_or(u64::MAX, |ns| from_ns + ns),
                pods: pods.to_vec(),
                others: others.clone(),
            };
            match (fault.kind, fault.target) {
                // One after the other, with as long between them.
                (FaultKind::RollingRestart, Part::All(_)) => {
                    let begins = (0..).map(|place| from_ns + 2 * place * for_ns.unwrap_or(0));
                    windows.extend(pods.chunks(1).zip(begins).map(|(pod, from_ns)| window(pod, from_ns)));
                }
                // One after the other.
                (FaultKind::Rollout, Part::All(_)) => {
                    let begins = (0..).map(|place| from_ns + place * for_ns.unwrap_or(0));
                    windows.extend(pods.chunks(1).zip(begins).map(|(pod, from_ns)| window(pod, from_ns)));
                }
                (FaultKind::ScaleToOne, _) => windows.push(window(&pods[1..], from_ns)),
                _ => windows.push(window(&pods, from_ns)),
            }
        }
        Self(windows)
    }

    /// Gives time its fault for a cause: a wait that lies in the time of one at the pod where it passed, or to which it
    /// led. What was waited for in vain is all of it the fault's that hit it or, if none did, a broker meanwhile.
    pub(super) fn mark<'a>(&self, spans: &'a [Span], hosts: &[Host]) -> Cow<'a, [Span]> {
        if self.0.is_empty() {
            return spans.into();
        }
        let mut marked = Vec::with_capacity(spans.len());
        for mut span in spans.iter().copied() {
            let [at, to] = [span.at, span.to].map(|host| hosts[usize::from(host)].pod);
            if matches!(span.cause, Cause::NoReply | Cause::HandedBack) {
                let during = || self.0.iter().filter(|one| one.is_during(&span));
                // Brokers forget, and refuse.
                let hit = during().find(|one| one.pods.contains(&to)).or(during().find(|one| one.hits_brokers()));
                span.because = span.because.or(hit.map(|one| Cause::Fault(one.kind)));
                marked.push(span);
                continue;
            }
            let hits = |one: &&Window| one.is_during(&span) && one.explains(span.cause, (at, to));
            let Some(window) = self.0.iter().filter(hits).max_by_key(|one| one.overlap_ns(&span)) else {
                marked.push(span);
                continue;
            };
            let (from_ns, to_ns) = (window.from_ns.max(span.from_ns), window.to_ns.min(span.to_ns));
            let slices = [
                Span { from_ns: to_ns, ..span },
                Span { from_ns, to_ns, cause: Cause::Fault(window.kind), because: None, ..span },
                Span { to_ns: from_ns, ..span },
            ];
            marked.extend(slices.into_iter().filter(|slice| slice.from_ns < slice.to_ns));
        }
        marked.into()
    }
}

impl Window {
    fn is_during(&self, span: &Span) -> bool {
        self.from_ns <= span.to_ns && self.to_ns >= span.from_ns
    }

    fn hits_brokers(&self) -> bool {
        self.pods.iter().any(|pod| matches!(pod, Pod::Amqp | Pod::Mqtt | Pod::Redis | Pod::RedisShard(_)))
    }

    fn overlap_ns(&self, span: &Span) -> u64 {
        self.to_ns.min(span.to_ns).saturating_sub(self.from_ns.max(span.from_ns))
    }

    /// Whether a fault of its kind makes things wait so, between these pods.
    fn explains(&self, cause: Cause, (at, to): (Pod, Pod)) -> bool {
        let [hits_at, hits_to] = [at, to].map(|pod| self.pods.contains(&pod));
        let hits_other = self.others.is_empty() || self.others.contains(&at) || self.others.contains(&to);
        let brokers_are_hit = self.hits_brokers();
        match self.kind {
            // Who stands still reads nothing and does nothing; who needs a broker that does pauses, and tries again.
            FaultKind::Crash
            | FaultKind::PowerOff
            | FaultKind::Restart
            | FaultKind::RollingRestart
            | FaultKind::Rollout
            | FaultKind::ScaleToOne
            | FaultKind::Freeze
            | FaultKind::Slow => match cause {
                Cause::Unread | Cause::WakeUp | Cause::CpuBusy | Cause::Throttled | Cause::Radio => hits_at || hits_to,
                Cause::Connecting | Cause::Retransmission => hits_at || hits_to,
                Cause::Pause | Cause::Dispatcher => hits_at || brokers_are_hit,
                Cause::BrokerCpu | Cause::ServiceCpu | Cause::GatewayCpu => hits_at,
                _ => false,
            },
            FaultKind::Cut | FaultKind::Deafen | FaultKind::Hold | FaultKind::Loss | FaultKind::Delay => match cause {
                Cause::Link | Cause::Connecting | Cause::Retransmission | Cause::Unread => {
                    (hits_at || hits_to) && hits_other
                }
                Cause::Pause | Cause::Dispatcher => brokers_are_hit && hits_other,
                _ => false,
            },
            FaultKind::MemoryAlarm
            | FaultKind::HoldConfirms
            | FaultKind::OutOfMemory
            | FaultKind::ReadOnly
            | FaultKind::Failover => match cause {
                Cause::Unread | Cause::MetadataQueue => hits_at || hits_to,
                Cause::Pause | Cause::Dispatcher => true,
                _ => false,
            },
            FaultKind::ReplyLate | FaultKind::LabelsFail => cause == Cause::Radio && hits_at,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Fault;

    #[test]
    fn a_wait_is_a_faults_as_far_as_it_lies_in_its_time() {
        let hosts = [Host::new(0, Pod::Redis), Host::new(1, Pod::Mqtt)];
        let spec = Spec { faults: vec![Fault::new(2, FaultKind::Freeze, Pod::Redis, 3)], ..Spec::default() };
        let faults = Faults::of(&spec, 10 * NS_PER_MS);
        let span = |from_ms: u64, to_ms: u64, at| {
            let (from_ns, to_ns) = (from_ms * NS_PER_MS, to_ms * NS_PER_MS);
            Span { from_ns, to_ns, cause: Cause::Unread, because: None, at, to: at }
        };
        let spans = [span(11, 20, 0), span(5, 11, 0)];
        let marked = faults.mark(&spans, &hosts);
        let told: Vec<_> = marked.iter().map(|span| (span.to_ns / NS_PER_MS, span.cause)).collect();
        let freeze = Cause::Fault(FaultKind::Freeze);
        assert_eq!(told, [(20, Cause::Unread), (15, freeze), (12, Cause::Unread), (11, Cause::Unread)]);
        assert_eq!(*faults.mark(&[span(11, 20, 1)], &hosts), [span(11, 20, 1)]);
    }
}
