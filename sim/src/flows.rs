//! What is known of all flows.
//!
//! Both directions of a connection share a slot, and nearly all that happens at a time happens to one connection: a
//! look-up hashes only where the connection is another one than last time.

use crate::flow::Flow;
use rustc_hash::FxHashMap;
use std::cell::Cell;

/// No connection: no port is 0.
const NO_CONNECTION: u64 = 0;

/// The states of flows, by name.
pub(crate) struct Flows<S> {
    /// The slots in use, by the name of one of their directions.
    slots: FxHashMap<u64, u32>,
    /// The direction that names its connection, and the other one.
    states: Vec<[Option<S>; 2]>,
    free: Vec<u32>,
    /// The connection that was looked up last, and its slot.
    latest: Cell<(u64, u32)>,
}

impl<S> Default for Flows<S> {
    fn default() -> Self {
        Self { slots: FxHashMap::default(), states: Vec::new(), free: Vec::new(), latest: Cell::default() }
    }
}

/// Name of the connection, and which of its directions this flow is.
fn connection_of(flow: Flow) -> (u64, usize) {
    let forth = flow.packed();
    let back = forth.rotate_left(u64::BITS / 2); // packed, too: the ends have changed places
    (forth.min(back), usize::from(back < forth))
}

impl<S: Default> Flows<S> {
    fn slot_of(&self, connection: u64) -> Option<usize> {
        let (latest, slot) = self.latest.get();
        if latest == connection {
            return Some(slot as usize);
        }
        let slot = *self.slots.get(&connection)?;
        self.latest.set((connection, slot));
        Some(slot as usize)
    }

    pub(crate) fn get(&self, flow: Flow) -> Option<&S> {
        let (connection, direction) = connection_of(flow);
        self.states[self.slot_of(connection)?][direction].as_ref()
    }

    pub(crate) fn get_mut(&mut self, flow: Flow) -> Option<&mut S> {
        let (connection, direction) = connection_of(flow);
        let slot = self.slot_of(connection)?;
        self.states[slot][direction].as_mut()
    }

    /// The state of `flow`, which begins now if it is unknown.
    pub(crate) fn get_or_default(&mut self, flow: Flow) -> &mut S {
        let (connection, direction) = connection_of(flow);
        let slot = self.slot_of(connection).unwrap_or_else(|| self.take_slot(connection));
        self.states[slot][direction].get_or_insert_default()
    }

    /// The state of `flow`, which begins now if it is unknown, and that of the other direction, if that is known.
    pub(crate) fn both_mut(&mut self, flow: Flow) -> (&mut S, Option<&mut S>) {
        let (connection, direction) = connection_of(flow);
        let slot = self.slot_of(connection).unwrap_or_else(|| self.take_slot(connection));
        let [forth, back] = &mut self.states[slot];
        let (own, other) = if direction == 0 { (forth, back) } else { (back, forth) };
        (own.get_or_insert_default(), other.as_mut())
    }

    fn take_slot(&mut self, connection: u64) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.states.push([None, None]);
            u32::try_from(self.states.len() - 1).expect("no run has four billion connections")
        });
        self.slots.insert(connection, slot);
        slot as usize
    }

    pub(crate) fn remove(&mut self, flow: Flow) -> Option<S> {
        let (connection, direction) = connection_of(flow);
        let slot = self.slot_of(connection)?;
        let removed = self.states[slot][direction].take();
        if self.states[slot].iter().all(Option::is_none) {
            self.slots.remove(&connection);
            self.free.push(slot as u32);
            self.latest.set((NO_CONNECTION, 0));
        }
        removed
    }

    /// All flows that are known, in their order.
    pub(crate) fn names(&self) -> Vec<Flow> {
        let both = |connection: &u64| [Flow::unpack(*connection), Flow::unpack(*connection).reversed()];
        let mut names: Vec<Flow> = self.slots.keys().flat_map(both).filter(|flow| self.get(*flow).is_some()).collect();
        names.sort_unstable(); // the map's order is not the seed's
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: Flow = Flow { source: (1, 40_000), destination: (2, 1_883) };
    const OTHER: Flow = Flow { source: (3, 40_000), destination: (2, 1_883) };

    #[test]
    fn each_direction_has_a_state_of_its_own() {
        let mut flows = Flows::default();
        *flows.get_or_default(FLOW) = 1;
        assert!(flows.get(FLOW.reversed()).is_none());
        assert_eq!(flows.both_mut(FLOW), (&mut 1, None));
        *flows.get_or_default(FLOW.reversed()) = 2;
        *flows.get_or_default(OTHER) = 3;
        assert_eq!([FLOW, FLOW.reversed(), OTHER].map(|flow| flows.get(flow).copied()), [Some(1), Some(2), Some(3)]);
        assert_eq!(flows.both_mut(FLOW.reversed()), (&mut 2, Some(&mut 1)));
        assert_eq!(flows.names(), [FLOW, FLOW.reversed(), OTHER]);
    }

    #[test]
    fn a_flow_that_was_removed_is_unknown_and_its_slot_serves_the_next() {
        let mut flows = Flows::default();
        for flow in [FLOW, FLOW.reversed()] {
            *flows.get_or_default(flow) = 1;
        }
        assert_eq!(flows.remove(FLOW), Some(1));
        assert!(flows.get(FLOW).is_none() && flows.get(FLOW.reversed()).is_some());
        assert!(flows.remove(FLOW).is_none());
        assert!(flows.remove(FLOW.reversed()).is_some());
        assert!(flows.names().is_empty());
        flows.get_or_default(OTHER);
        assert!(flows.get(FLOW).is_none() && flows.get(FLOW.reversed()).is_none());
        assert_eq!(flows.states.len(), 1);
    }
}
