//! lapin in lockstep: lapin runs its IO loop on an OS thread of its own, and this module makes that thread and the
//! simulation take turns, so that at any moment one of them runs.
//!
//! lapin's thread stops at a gate in our stream's `poll_flush`, the first call on the stream in each turn of its loop
//! ([`stream`]). It is given a turn at an idle moment of the simulation when its connection is *dirty*: bytes have
//! arrived, or a task of its pod has called lapin ([`notice`]). Production code thus calls lapin plainly.

mod baton;
mod bridge;
mod carrier;
mod connect;
mod kit;
mod notice;
mod pipe;
mod stream;

pub(crate) use bridge::{assert_none_was_missed, mark_if_called, settle_dirty, turns};
pub(crate) use connect::open;
pub(crate) use notice::listener;
