//! What a gateway did lately, so that those who waited for it can say what for.
//!
//! One that takes a command at a time is busy with it until the broker has its reply. All of that is here, without gaps
//! as long as there is work: the handling, the radio, the reply's way, and the way of the broker's acknowledgement.

use super::{
    call::Visit,
    cause::Cause,
    span::{Span, Sums, Trail},
};
use backbone::message::RequestId;
use std::collections::VecDeque;

/// Spans kept of one gateway: of as many commands as the broker may have under way to it, and more.
const MEMORY: usize = 1_024;

/// What one gateway did.
#[derive(Debug, Default)]
pub(super) struct GatewayLog {
    /// In the order of time.
    spans: VecDeque<Span>,
    /// What it took up last, and when.
    begun: Option<(RequestId, u64)>,
}

impl GatewayLog {
    /// Adds a trail that came after all that is here. What overlaps with it, where several commands are worked on, is
    /// cut.
    pub(super) fn add(&mut self, spans: &[Span]) {
        for span in spans.iter().rev() {
            let from_ns = self.spans.back().map_or(span.from_ns, |last| span.from_ns.max(last.to_ns));
            if from_ns < span.to_ns {
                if self.spans.len() == MEMORY {
                    self.spans.pop_front();
                }
                self.spans.push_back(Span { from_ns, ..*span });
            }
        }
    }

    /// It has taken a request up at `begun_ns`. Returns the one before, with the time that it took.
    pub(super) fn begins(&mut self, id: RequestId, begun_ns: u64, gateway: (u16, u16)) -> Option<(RequestId, Visit)> {
        let (before, from_ns) = self.begun.replace((id, begun_ns)).filter(|(before, _)| *before != id)?;
        let mut sums = Sums::default();
        for span in self.spans.iter().rev().take_while(|span| span.to_ns > from_ns) {
            sums.add(span.to_ns - span.from_ns.max(from_ns), span.cause);
        }
        Some((before, Visit::of(gateway, from_ns, sums.into_iter())))
    }

    /// Goes back over a wait for this gateway, with what it did meanwhile.
    pub(super) fn back_over_wait(&self, trail: &mut Trail, floor_ns: u64, cause: Cause, host: u16) {
        let end_ns = trail.now_ns();
        let mut sums = Sums::default();
        for span in self.spans.iter().rev().skip_while(|span| span.from_ns >= end_ns) {
            if span.to_ns <= floor_ns {
                break;
            }
            sums.add(span.to_ns.min(end_ns) - span.from_ns.max(floor_ns), span.cause);
        }
        trail.back_over_sums(sums, cause, host);
        trail.back_because(floor_ns, (cause, None), (host, host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_ns: u64, to_ns: u64, cause: Cause) -> Span {
        Span { from_ns, to_ns, cause, because: None, at: 1, to: 1 }
    }

    #[test]
    fn who_waited_learns_what_the_gateway_did_meanwhile() {
        let mut log = GatewayLog::default();
        log.add(&[span(50, 60, Cause::Radio), span(10, 40, Cause::DelayedAck), span(0, 10, Cause::Radio)]);
        let mut trail = Trail::back_from(55);
        log.back_over_wait(&mut trail, 5, Cause::GatewayQueue, 1);
        let mut spans = trail.into_spans();
        spans.reverse();
        assert!(spans[0].from_ns == 5 && spans.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns), "{spans:?}");
        let waited: Vec<_> = spans.iter().map(|span| (span.to_ns - span.from_ns, span.because)).collect();
        assert_eq!(waited, [(10, None), (10, Some(Cause::Radio)), (30, Some(Cause::DelayedAck))]);
    }
}
