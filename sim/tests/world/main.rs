//! What the simulator does by itself: everything in virtual time and within this process, so that tests may compete for
//! cores.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod escapes;
mod example;
mod field;
mod lapin_lockstep;
mod linux_tcp;
mod malformed_input;
mod own_handler;
mod recovery;
mod results;
mod robustness;
mod services;
mod virtual_time;
mod visits;

#[path = "../../examples/price_feed/main.rs"]
mod price_feed;
