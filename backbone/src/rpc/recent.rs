//! Which requests ended lately.

use crate::message::RequestId;
use std::collections::{BTreeSet, VecDeque};

/// How many requests are remembered, to tell a late reply from one that went astray. At the most requests that a worker
/// or an HTTP router has in one reply timeout (some hundreds) this covers several.
pub(crate) const RECENT_MAX: usize = 4_096;

/// The ids of the latest requests.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    ids: BTreeSet<RequestId>,
    /// The same, oldest first.
    order: VecDeque<RequestId>,
}

impl Recent {
    pub(crate) fn remember(&mut self, request: RequestId) {
        if !self.ids.insert(request) {
            return; // sent twice, over a connection that was lost and another one
        }
        self.order.push_back(request);
        if self.order.len() > RECENT_MAX {
            let oldest = self.order.pop_front().expect("it is not empty");
            self.ids.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, request: RequestId) -> bool {
        self.ids.contains(&request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Env;

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest() {
        let mut recent = Recent::default();
        let ids: Vec<_> = (0..=RECENT_MAX).map(|_| RequestId::draw(&Env::tokio())).collect();
        ids.iter().for_each(|id| recent.remember(*id));
        recent.remember(ids[1]);
        assert_eq!((recent.ids.len(), recent.order.len()), (RECENT_MAX, RECENT_MAX));
        assert!(!recent.contains(ids[0]) && recent.contains(ids[1]) && recent.contains(ids[RECENT_MAX]));
    }
}
