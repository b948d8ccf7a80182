//! What happens when: events in order of their virtual time, those of one instant in the order they were put in.

use std::collections::BTreeMap;

/// Emptied lists kept for reuse; more than this many distinct instants are rarely open.
const SPARE_LISTS_MAX: usize = 64;

/// Future events. Arrival times are rounded to a quantum, so that many share an instant: a sorted map of lists is then
/// cheaper than a heap of events.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    instants: BTreeMap<u64, Vec<T>>,
    spare: Vec<Vec<T>>,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self { instants: BTreeMap::new(), spare: Vec::new() }
    }

    pub(crate) fn put(&mut self, at_ns: u64, event: T) {
        self.instants.entry(at_ns).or_insert_with(|| self.spare.pop().unwrap_or_default()).push(event);
    }

    /// When the first event is due.
    pub(crate) fn next_ns(&self) -> Option<u64> {
        self.instants.first_key_value().map(|(at_ns, _)| *at_ns)
    }

    /// The events of the first instant, if it is not after `now_ns`. Give the list back with [`Agenda::recycle`].
    pub(crate) fn take_due(&mut self, now_ns: u64) -> Option<Vec<T>> {
        let first = self.instants.first_entry().filter(|first| *first.key() <= now_ns)?;
        Some(first.remove())
    }

    pub(crate) fn recycle(&mut self, list: Vec<T>) {
        assert!(list.is_empty(), "an event was taken off the agenda and not handled");
        if self.spare.len() < SPARE_LISTS_MAX {
            self.spare.push(list);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_within_an_instant_in_order() {
        let mut agenda = Agenda::new();
        for (at_ns, event) in [(20, 'c'), (10, 'a'), (20, 'd'), (10, 'b'), (30, 'e')] {
            agenda.put(at_ns, event);
        }
        assert_eq!(agenda.next_ns(), Some(10));
        assert_eq!(agenda.take_due(9), None);
        assert_eq!(agenda.take_due(25), Some(vec!['a', 'b']));
        assert_eq!(agenda.take_due(25), Some(vec!['c', 'd']));
        assert_eq!(agenda.take_due(25), None);
    }
}
