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
mod worker;

pub use bck_router::BckRouter;
pub use dispatcher::{DispatchError, Dispatcher};
pub use fwd_router::FwdRouter;
pub use http_router::{HttpRouter, ListenError};
pub use task_worker::TaskWorker;
pub use worker::{Calls, Failure, Handler, Worker};

#[cfg(test)]
mod tests;
