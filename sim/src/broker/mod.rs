//! Emulated brokers that speak the wire protocols over any [`Env`](backbone::env::Env): plain state machines (a queue,
//! a session, a keyspace; "now" is an argument) under thin connections. They know nothing of the engine, so they serve
//! simulated and real sockets alike.

mod accept;
pub mod amqp;
pub mod mqtt;
pub mod redis;
mod sparse;
