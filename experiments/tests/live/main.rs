//! Services and the bench in real time, on real brokers, but for [`emulated_brokers`]. A program of its own, since it
//! has limits of time that a simulation at work beside it could break.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod certificates;
mod emulated_brokers;
mod faults;
mod gateway;
mod own_brokers;
mod place;
mod recovery;
mod runs;
mod taken_back;
mod tls;

use tokio::sync::RwLock;

/// Held for writing by each test of [`recovery`], for reading by all others: on a machine that is busy with another
/// test a broker may look as if it were broken.
static MACHINE: RwLock<()> = RwLock::const_new(());
