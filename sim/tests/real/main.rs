//! The emulated brokers beside real ones and other people's clients, in real time. A program of its own, since it has
//! limits of time that a simulation at work beside it could break.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod conformance;
mod foreign_clients;
mod processes;
