//! An emulated Mosquitto: a broker for MQTT 5, 3.1.1 and 3.1 with all QoS, persistent sessions, shared subscriptions,
//! retained messages and wills, and with Mosquitto's limits, since those decide how a loaded system behaves.
//!
//! What is not here: enhanced authentication and bridges. Asking for them gets the refusal that the standard provides.
//! Any user name and password will do, as with a Mosquitto without a password file.
//!
//! From the inside out: `inbound` and `outbound` are a session's messages from and to its client, `topics` all
//! subscriptions, `server` holds sessions, subscriptions and retained messages. On `server` work `routing` (how
//! messages find their receivers), `lifecycle` (how sessions come and go), `control_packets` (what each packet
//! does), and `own_topics` (what the broker tells about itself). All of these are plain state, and know packets of
//! version 5 only; `v3` translates. Only `connection` knows sockets and timers; an idle connection costs one timer, its
//! keep alive.

mod broker;
mod config;
mod connection;
mod control_packets;
mod faults;
mod inbound;
mod keys;
mod lifecycle;
mod message;
mod outbound;
mod own_topics;
mod rights;
mod routing;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod topics;
mod v3;
mod write_buffer;

pub use broker::{Broker, SessionInfo};
pub use config::Config;
pub use outbound::SendQuota;
pub use rights::Rights;
pub use rumqttc::mqttbytes::QoS;
pub use server::Stats;

use super::accept::{Place, accept};
use backbone::env::{Env, Listener, Stream};
use std::convert::Infallible;

impl Broker {
    /// Accepts connections until the task that runs this is dropped. Connections are tasks of their own; whoever aborts
    /// them all, as a crash does, calls [`Broker::restart`] before serving again. Delayed wills, and topics of the
    /// broker itself, are published only while it runs.
    pub async fn serve(&self, env: Env, listener: Listener) -> Infallible {
        let accept = accept("mqtt", listener, |stream, place| self.connected(&env, stream, Some(place)));
        tokio::select! {
            biased;
            never = accept => never,
            never = self.publish_in_time() => never,
        }
    }

    /// Serves one connection that is there already.
    pub fn attach(&self, env: &Env, stream: Stream) {
        self.connected(env, stream, None);
    }

    /// `place` is kept until the connection ends.
    fn connected(&self, env: &Env, stream: Stream, place: Option<Place>) {
        let connection = connection::run(env.clone(), self.clone(), stream);
        env.spawn("mqtt connection", async move {
            let _place = place;
            connection.await;
        });
    }
}
