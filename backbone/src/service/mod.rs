//! The services. Each runs until its shutdown token is cancelled, and then finishes or hands back what it holds.

mod bck_router;
mod clocks;
mod dispatcher;
mod fwd_router;
mod http_router;
mod presence;
mod reports;
mod settle;
mod task_worker;

pub use bck_router::BckRouter;
pub use dispatcher::{DispatchError, Dispatcher};
pub use fwd_router::FwdRouter;
pub use http_router::{HttpRouter, ListenError};
pub use task_worker::TaskWorker;

use std::time::Duration;

/// How long a service waits before it hands a message back that it could not pass on: time for the next hop to come
/// back, and a brake on a message that goes round in circles.
const HAND_BACK_DELAY: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
