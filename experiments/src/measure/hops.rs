//! The hops of a call: to the forward router, from router to router, and to the worker. They add up to the call, so
//! that two runs can be compared hop by hop. Over HTTP both routers are one.

use super::{Outcome, ms, percentile};
use serde::{Deserialize, Serialize};

/// The first and the last hop of calls, in microseconds; that between them is
/// [`Outcome::rpc_latencies_us`](super::Outcome::rpc_latencies_us).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallHops {
    /// From a worker's sending a request to a forward router's taking it.
    pub to_router_us: Vec<u32>,
    /// From a backward router's having put a reply into its caller's queue to the worker's having it. RabbitMQ confirms
    /// to the router while it delivers to the worker: 0 if the worker was first.
    pub to_worker_us: Vec<u32>,
}

/// Medians of each hop, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopMedians {
    /// Of so many calls.
    pub calls: u64,
    /// From a worker to a forward router.
    pub to_router_ms: f64,
    /// From there until a backward router has returned the reply.
    pub router_to_router_ms: f64,
    /// From there to the worker.
    pub to_worker_ms: f64,
}

impl CallHops {
    /// Takes in a call.
    pub(crate) fn add(&mut self, (sent_us, taken_us): (u64, u64), (returned_us, received_us): (u64, u64)) {
        let us = |from_us: u64, to_us: u64| u32::try_from(to_us.saturating_sub(from_us)).unwrap_or(u32::MAX);
        self.to_router_us.push(us(sent_us, taken_us));
        self.to_worker_us.push(us(returned_us, received_us));
    }
}

impl HopMedians {
    /// `None`: no call is known to have gone all of this way.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let median = |samples_us: &[u32]| {
            let mut sorted: Vec<u64> = samples_us.iter().copied().map(u64::from).collect();
            sorted.sort_unstable();
            (!sorted.is_empty()).then(|| ms(percentile(&sorted, 50)))
        };
        Some(Self {
            calls: outcome.call_hops.to_router_us.len() as u64,
            to_router_ms: median(&outcome.call_hops.to_router_us)?,
            router_to_router_ms: median(&outcome.rpc_latencies_us)?,
            to_worker_ms: median(&outcome.call_hops.to_worker_us)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hop_has_its_median_and_none_is_negative() {
        let mut outcome = Outcome { rpc_latencies_us: vec![3_000, 1_000, 2_000], ..Outcome::default() };
        assert_eq!(HopMedians::of(&outcome), None);
        for call in [((100, 400), (900, 1_000)), ((0, 500), (900, 800)), ((0, 100), (500, 700))] {
            outcome.call_hops.add(call.0, call.1);
        }
        let expected = HopMedians { calls: 3, to_router_ms: 0.3, router_to_router_ms: 2.0, to_worker_ms: 0.1 };
        assert_eq!(HopMedians::of(&outcome), Some(expected));
    }
}
