//! Several Redis servers, among which labels are divided by their addresses.
//!
//! Everything about a label is on one of them: its routes, its newest version, and who waits for its replies, so that a
//! request still costs one round trip. Named shards instead of Redis Cluster: a router keeps its connections itself, as
//! it does with one Redis, there is nothing that moves by itself, and a shard that is gone costs its own labels. (Not
//! quite: reports with labels of it hold their turns while they are tried, and a backward router that has stepped aside
//! comes back only when all servers answer, or nobody else is there.)

use super::Store;
use crate::{
    config,
    env::Env,
    message::{Mac, RssiReport},
    telemetry::Telemetry,
};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};

/// 2^64 divided by the golden ratio: neighbouring addresses go far apart (Knuth, The Art of Computer Programming 3,
/// section 6.4).
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Reports that are written at a time. Requests share the servers with them: each waits for one batch of every report
/// that is being written by any router, some milliseconds with this, and long enough for Redis to be taken for dead if
/// all reports that a router may have in hand were written at once.
const REPORTS_AT_A_TIME: usize = 4;

/// All servers of one replica, at least one.
pub(crate) struct Shards {
    stores: Vec<Store>,
    reports: Semaphore,
}

impl Shards {
    /// Stores that connect at first use.
    pub(crate) fn new(env: &Env, config: &config::Redis, telemetry: &Arc<dyn Telemetry>) -> Self {
        let stores = config.servers().iter().map(|server| Store::new(env, server, telemetry.clone())).collect();
        Self { stores, reports: Semaphore::new(REPORTS_AT_A_TIME) }
    }

    /// The one that has everything about `label`.
    pub(crate) fn of(&self, label: Mac) -> &Store {
        &self.stores[place(label, self.stores.len())]
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Store> {
        self.stores.iter()
    }

    /// Waits until a report may be written. Its turn is over when what this gives is dropped.
    pub(crate) async fn turn(&self) -> SemaphorePermit<'_> {
        self.reports.acquire().await.expect("never closed")
    }

    /// What each server is to have of a report; those that are to have nothing of it are left out.
    pub(crate) fn parts(&self, report: RssiReport) -> Vec<(&Store, RssiReport)> {
        if let [only] = self.stores.as_slice() {
            return vec![(only, report)];
        }
        let mut parts: Vec<RssiReport> = self
            .stores
            .iter()
            .map(|_| RssiReport { heard_unix_ms: report.heard_unix_ms, labels: Vec::new() })
            .collect();
        for (label, rssi) in report.labels {
            parts[place(label, self.stores.len())].labels.push((label, rssi));
        }
        self.stores.iter().zip(parts).filter(|(_, part)| !part.labels.is_empty()).collect()
    }
}

/// Where `label` is, of `count` servers.
fn place(label: Mac, count: usize) -> usize {
    let mixed = label.value().wrapping_mul(GOLDEN) >> 32;
    (mixed % count as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_divided_evenly_and_each_always_goes_to_the_same_server() {
        for count in [2, 3, 8] {
            let mut labels = vec![0; count];
            (0..30_000).for_each(|label| labels[place(Mac::new(0x0200_0000_0000 + label), count)] += 1);
            let fair = 30_000 / count;
            assert!(labels.iter().all(|n| fair * 9 / 10 < *n && *n < fair * 11 / 10), "{labels:?}");
        }
        assert_eq!(place(Mac::new(7), 1), 0);
    }

    #[test]
    fn where_a_label_is_does_not_change_from_release_to_release() {
        let places: Vec<usize> = (0..8).map(|label| place(Mac::new(0xABCD_0000 + label), 5)).collect();
        assert_eq!(places, [2, 1, 0, 3, 3, 1, 0, 4]);
    }
}
