//! What a deployment can carry: searches the smallest one that keeps a promise, the highest rate that one carries, or
//! just runs a spec over a grid of values.
//!
//! Each run is a [`Trial`]. Searches assume that more replicas never hurt and that more work never helps; where that is
//! not so, what they find still holds, but something smaller might, too.

mod grid;
mod search;
mod trial;

pub use grid::{Axis, Grid};
pub use search::{Found, Search};
pub use trial::{Promise, Trial, UnknownPromise};
