//! What the broker tells about itself: the most useful of Mosquitto's topics below `$SYS/broker`. Nothing of it costs
//! anything before a client subscribes to some.

use super::{keys::SessionKey, message::Message, server::Server, topics::Filter};
use bytes::Bytes;
use rumqttc::mqttbytes::{QoS, v5::Publish};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// The first level of topics of the broker itself, which no client may publish to.
pub(super) const OWN: &str = "$SYS";
/// How often what has changed is told, as with Mosquitto's default `sys_interval`.
const PERIOD: Duration = Duration::from_secs(10);
/// What is emulated.
const VERSION: &str = "mosquitto version 2.0.11 (emulated)";

impl Server {
    /// A client subscribes to topics of the broker itself: they are up to date for it, and are kept so.
    pub(super) fn begin_own_topics(&mut self, now: Instant) {
        self.tell_own_topics(now);
        if self.own_topics_at.is_none() {
            self.own_topics_at = Some(now + PERIOD);
            self.rescheduled.notify_one();
        }
    }

    /// Tells what has changed if it is time, for as long as somebody wants to hear it.
    pub(super) fn keep_own_topics(&mut self, now: Instant) {
        self.started.get_or_insert(now);
        if self.own_topics_at.is_none_or(|at| now < at) {
            return;
        }
        let is_own = |filter: &String| Filter::parse(filter).is_some_and(|filter| filter.path.starts_with(OWN));
        let wanted = self.sessions.values().any(|session| session.subscriptions.iter().any(is_own));
        self.own_topics_at = wanted.then(|| now + PERIOD);
        if wanted {
            self.tell_own_topics(now);
        }
    }

    fn tell_own_topics(&mut self, now: Instant) {
        let connected = self.sessions.values().filter(|session| session.connection.is_some()).count();
        let (sessions, stats) = (self.sessions.len(), self.stats);
        self.sessions_max = self.sessions_max.max(sessions);
        let subscriptions: usize = self.sessions.values().map(|session| session.subscriptions.len()).sum();
        let uptime_s = self.started.map_or(0, |at| (now - at).as_secs());
        let counts = [
            ("clients/total", sessions as u64),
            ("clients/maximum", self.sessions_max as u64),
            ("clients/active", connected as u64),
            ("clients/connected", connected as u64),
            ("clients/inactive", (sessions - connected) as u64),
            ("clients/disconnected", (sessions - connected) as u64),
            ("subscriptions/count", subscriptions as u64),
            ("retained messages/count", self.retained.len() as u64),
            ("publish/messages/received", stats.publishes_received),
            ("publish/messages/sent", stats.publishes_sent),
            ("publish/messages/dropped", stats.messages_dropped),
        ];
        let counts = counts.map(|(name, count)| (name, count.to_string()));
        let words = [("version", VERSION.to_owned()), ("uptime", format!("{uptime_s} seconds"))];
        for (name, text) in words.into_iter().chain(counts) {
            let topic = format!("{OWN}/broker/{name}");
            if self.retained.get(&topic).is_none_or(|message| message.payload() != text.as_bytes()) {
                let publish =
                    Publish { retain: true, ..Publish::new(topic, QoS::ExactlyOnce, Bytes::from(text), None) };
                self.route_message(None::<SessionKey>, &Arc::new(Message::new(&publish, now)), now);
            }
        }
    }
}
