//! An emulated RabbitMQ 3 that speaks AMQP 0-9-1 over any [`Env`], simulated or real TCP.
//!
//! Exchanges of all four types and bindings between them, classic queues, consumers, priorities of both messages and
//! consumers, acknowledgements, publisher confirms, time to live, dead-lettering, `CC` and `BCC`, and direct reply-to
//! behave as RabbitMQ documents them, and as the conformance suite has seen it. What it doesn't have (transactions, a
//! single active consumer, length limits in bytes or that refuse, quorum queues, streams) it refuses with the
//! protocol's own error and a log line. `no_local` of `basic.consume` is ignored, as RabbitMQ does; any user and
//! password is let in.
//!
//! From the inside out: `queue` is one queue's messages, `named_queue` adds name, owner and consumers, `channel` is one
//! channel's bookkeeping, `exchange` one exchange's bindings (`headers` what those of a headers exchange ask for),
//! `copies` the routing keys that a message's headers give it, `state` holds all of them. On `state` work `topology`
//! (queues and exchanges come and go), `delivery` and `direct_reply` (messages move), `lifecycle` (connections and
//! channels end), the modules named after the protocol's classes (what each method does), and `frames`, which takes
//! what a client sends. None of these has IO or a clock. `broker` has the clock, `connection` the sockets. `management`
//! is the plugin of that name, as far as a scaler asks it.

mod arguments;
mod basic_methods;
mod broker;
mod channel;
mod channel_methods;
mod codec;
mod config;
mod connection;
mod connection_methods;
mod constants;
mod copies;
mod dead_letter;
mod delivery;
mod direct_reply;
mod exchange;
mod exchange_methods;
mod faults;
mod frames;
mod headers;
mod ids;
mod lifecycle;
mod management;
mod message;
mod metadata;
mod named_queue;
mod phase;
mod queue;
mod queue_methods;
mod refusal;
mod state;
mod table_depth;
#[cfg(test)]
mod tests;
mod topology;
mod ttl;

pub use broker::Broker;
pub use config::Config;
pub use message::Message;
pub use metadata::MetadataCost;

use super::accept::accept;
use backbone::env::{Env, Listener, Stream};
use std::convert::Infallible;

impl Broker {
    /// Serves all connections, each by two tasks of `env`. Drop the future to stop. Messages and queues expire only
    /// while it runs.
    pub async fn serve(&self, env: Env, listener: Listener) -> Infallible {
        self.start_clock(env.unix_time());
        let accept = accept("amqp", listener, |stream, place| connection::spawn(self, &env, stream, Some(place)));
        tokio::select! {
            biased;
            never = accept => never,
            never = self.expire_in_time() => never,
        }
    }

    /// Serves one connection that is there already.
    pub fn attach(&self, env: &Env, stream: Stream) {
        self.start_clock(env.unix_time());
        connection::spawn(self, env, stream, None);
    }
}
