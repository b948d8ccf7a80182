//! Stretches of time with a cause, put together from the last to the first, and kept so until a task has ended.

use super::cause::Cause;

const NS_PER_US: u64 = 1_000;

/// A stretch of time with one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began, in virtual time.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    /// Why.
    pub cause: Cause,
    /// Of a queue: what those before were waiting for.
    pub because: Option<Cause>,
    /// The host where it passed.
    pub at: u16,
    /// The host that it led to; the same but for what passed between two.
    pub to: u16,
}

/// A trail back in time: each span ends where the one that was added before it begins.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    /// The last one first.
    spans: Vec<Span>,
    now_ns: u64,
}

impl Trail {
    /// Nothing yet, at this end.
    pub(super) fn back_from(now_ns: u64) -> Self {
        Self::back_from_in(now_ns, Vec::new())
    }

    /// The same with a list that is used again: what it has is dropped.
    pub(super) fn back_from_in(now_ns: u64, mut spans: Vec<Span>) -> Self {
        spans.clear();
        Self { spans, now_ns }
    }

    /// How far it goes back.
    pub(super) fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// Goes back to `from_ns`, if it isn't there. What takes no time is left out.
    pub(super) fn back_to(&mut self, from_ns: u64, cause: Cause, (at, to): (u16, u16)) {
        self.back_because(from_ns, (cause, None), (at, to));
    }

    /// The same with what lies behind it.
    pub(super) fn back_because(
        &mut self,
        from_ns: u64,
        (cause, because): (Cause, Option<Cause>),
        (at, to): (u16, u16),
    ) {
        if from_ns < self.now_ns {
            self.spans.push(Span { from_ns, to_ns: self.now_ns, cause, because, at, to });
            self.now_ns = from_ns;
        }
    }

    /// Goes back over another trail, as far as it lies before here and after `floor_ns`.
    pub(super) fn back_over(&mut self, other: &[Span], floor_ns: u64) {
        // Nearly always it begins where this one has come to.
        let other = &other[other.iter().take_while(|span| span.from_ns >= self.now_ns).count()..];
        let Some((first, last)) = other.first().zip(other.last()).filter(|(first, _)| first.to_ns > floor_ns) else {
            return;
        };
        self.back_to(first.to_ns, Cause::Unexplained, (first.at, first.to));
        let added = self.spans.len();
        let now_ns = std::mem::replace(&mut self.now_ns, last.from_ns);
        self.spans.extend_from_slice(other);
        self.spans[added].to_ns = now_ns;
        self.cut(floor_ns);
    }

    /// Takes back what lies before `floor_ns`.
    pub(super) fn cut(&mut self, floor_ns: u64) {
        if self.now_ns < floor_ns {
            while self.spans.pop_if(|span| span.to_ns <= floor_ns).is_some() {}
            self.spans.last_mut().into_iter().for_each(|span| span.from_ns = span.from_ns.max(floor_ns));
            self.now_ns = floor_ns;
        }
    }

    /// Goes back over a wait for others, which did this meanwhile, as much in all: one span for each cause, the longest
    /// last, since such a wait may be of hundreds.
    pub(super) fn back_over_sums(&mut self, mut sums: Sums, cause: Cause, host: u16) {
        sums.0.sort_unstable_by_key(|(ns, why)| (std::cmp::Reverse(*ns), *why));
        for (ns, why) in sums.0 {
            self.back_because(self.now_ns - ns, (cause, Some(why)), (host, host));
        }
    }

    /// The spans, the last one first.
    pub(super) fn into_spans(self) -> Vec<Span> {
        self.spans
    }
}

/// How long what was done, in nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Sums(Vec<(u64, Cause)>);

impl Sums {
    pub(super) fn add(&mut self, ns: u64, cause: Cause) {
        match self.0.iter_mut().find(|(_, other)| *other == cause) {
            Some((sum_ns, _)) => *sum_ns += ns,
            None => self.0.push((ns, cause)),
        }
    }

    /// Each cause with its sum.
    pub(super) fn into_iter(self) -> impl Iterator<Item = (Cause, u64)> {
        self.0.into_iter().map(|(ns, cause)| (cause, ns))
    }
}

/// A stretch of a task's time, as it is kept: small, since a run may have millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// How long, in microseconds.
    pub us: u32,
    /// The host where it passed, and the one that it led to.
    pub at: u16,
    /// The same but for what passed between two.
    pub to: u16,
    /// Why.
    pub cause: Cause,
    /// Of a queue: what those before were waiting for.
    pub because: Option<Cause>,
}

/// How long parts take together, in microseconds.
#[must_use]
pub fn sum_us(parts: &[Part]) -> u64 {
    parts.iter().map(|part| u64::from(part.us)).sum()
}

/// A trail as parts in the order of time, in whole microseconds that add up: each end is rounded down.
pub(super) fn parts(spans: &[Span]) -> Vec<Part> {
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans.iter().rev() {
        let mut left_us = span.to_ns / NS_PER_US - span.from_ns / NS_PER_US;
        while left_us > 0 {
            let us = u32::try_from(left_us).unwrap_or(u32::MAX);
            left_us -= u64::from(us);
            let (cause, because, at, to) = (span.cause, span.because, span.at, span.to);
            parts.push(Part { us, at, to, cause, because });
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(spans: &[Span]) -> Vec<(u64, u64)> {
        spans.iter().map(|span| (span.from_ns, span.to_ns)).collect()
    }

    #[test]
    fn parts_are_in_the_order_of_time_and_add_up() {
        let mut trail = Trail::back_from(10_900);
        trail.back_to(9_950, Cause::Link, (1, 2));
        trail.back_to(9_950, Cause::Nagle, (1, 2)); // took no time
        trail.back_to(1_100, Cause::WakeUp, (1, 1));
        let parts = parts(&trail.into_spans());
        let parts: Vec<(u32, Cause)> = parts.iter().map(|part| (part.us, part.cause)).collect();
        assert_eq!(parts, [(8, Cause::WakeUp), (1, Cause::Link)]);
    }

    #[test]
    fn of_another_trail_counts_what_lies_between_here_and_the_floor() {
        let mut other = Trail::back_from(400);
        other.back_to(300, Cause::Nagle, (0, 1));
        other.back_to(200, Cause::Link, (0, 1));
        other.back_to(100, Cause::Radio, (0, 0));
        let other = other.into_spans();
        let mut trail = Trail::back_from(250);
        trail.back_over(&other, 150);
        assert_eq!(ends(&trail.into_spans()), [(200, 250), (150, 200)]);
        let mut behind_a_gap = Trail::back_from(450);
        behind_a_gap.back_over(&other, 0);
        let spans = behind_a_gap.into_spans();
        assert_eq!(ends(&spans), [(400, 450), (300, 400), (200, 300), (100, 200)]);
        assert_eq!(spans[0].cause, Cause::Unexplained);
        let mut before_it = Trail::back_from(100);
        before_it.back_over(&other, 0);
        assert!(before_it.into_spans().is_empty());
    }
}
