//! Which gateways are offline, by their own word and by their wills (`routing.presence = "status"`).
//!
//! The MQTT broker keeps it: gateways publish on their status topics, retained, so a router that subscribes is told how
//! all of them are. What it remembers is a copy that holds for one connection; the next one brings another. A router
//! without it, or that forgets, sends commands to gateways that are offline, and their callers wait for the timeout.

use crate::{
    config::{Presence as Source, Routing},
    message::{Mac, gateway_of_topic},
    mqtt::{Generation, Incoming, Mqtt},
    store::Way,
    telemetry::Dropped,
};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Mutex};

/// All gateways' status topics. Not a shared subscription: each router has to know.
const STATUS_TOPICS: &str = "/gw/+/status";
/// Most gateways that are remembered as offline: far more than a deployment has, at some dozen bytes each.
const OFFLINE_MAX: usize = 100_000;
/// How much later than the word that its gateway is offline a label has to be heard for the gateway to be back, in
/// milliseconds: a report may be under way when its gateway goes.
const BACK_AFTER_MS: u64 = 1_000;

/// The gateways that are offline.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<BTreeMap<Mac, Offline>>);

#[derive(Clone, Copy, Debug)]
struct Offline {
    /// The connection that this was heard over.
    connection: Generation,
    /// When it was heard, in milliseconds since 1970.
    since_unix_ms: u64,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    To(Mac),
    /// Nowhere: each gateway that hears the label is offline, and this one hears it best.
    Offline(Mac),
    NoRoute,
}

/// What else to subscribe to.
pub(super) fn subscriptions(routing: &Routing) -> impl Iterator<Item = String> + use<> {
    let wanted = routing.presence == Source::Status;
    wanted.then(|| STATUS_TOPICS.to_owned()).into_iter()
}

/// Whether a message is a gateway's word on its status.
pub(super) fn is_status(message: &Incoming) -> bool {
    message.topic.ends_with(b"/status")
}

impl Presence {
    /// Takes a gateway's word on its status, which came at `now_unix_ms`.
    ///
    /// # Errors
    /// If it makes no sense.
    pub(super) fn take(&self, message: &Incoming, now_unix_ms: u64) -> Result<(), Dropped> {
        let topic = std::str::from_utf8(&message.topic).ok();
        let gateway = topic.and_then(gateway_of_topic);
        let malformed = || Dropped::malformed(format_args!("{}: no status", String::from_utf8_lossy(&message.topic)));
        let gateway = gateway.ok_or_else(malformed)?;
        let is_offline = is_offline(&message.payload).ok_or_else(malformed)?;
        let mut offline = self.0.lock().expect("no holder of this lock panics");
        let connection = message.generation();
        offline.retain(|_, known| known.connection == connection);
        if is_offline && offline.len() < OFFLINE_MAX {
            tracing::info!(%gateway, "a gateway is offline, as its status says");
            offline.insert(gateway, Offline { connection, since_unix_ms: now_unix_ms });
        } else {
            offline.remove(&gateway);
        }
        Ok(())
    }

    /// The best of `ways` whose gateway is not known to be offline.
    pub(super) fn choose(&self, ways: &[Way], mqtt: &Mqtt) -> Choice {
        let connection = mqtt.generation();
        let offline = self.0.lock().expect("no holder of this lock panics");
        let is_offline = |way: &Way| {
            let known = offline.get(&way.gateway).filter(|known| Some(known.connection) == connection);
            // Not one that forgot to say that it is back.
            known.is_some_and(|known| way.heard_unix_ms.is_none_or(|heard| heard < known.since_unix_ms + BACK_AFTER_MS))
        };
        match (ways.iter().find(|way| !is_offline(way)), ways.first()) {
            (Some(way), _) => Choice::To(way.gateway),
            (None, Some(way)) => Choice::Offline(way.gateway),
            (None, None) => Choice::NoRoute,
        }
    }
}

/// What a status says: a word, or JSON with that word as its `status`. Nothing at all is what clears a retained
/// message.
fn is_offline(payload: &[u8]) -> Option<bool> {
    let json = || serde_json::from_slice::<Value>(payload).ok();
    let word = match payload {
        b"offline" | b"online" | b"" => std::str::from_utf8(payload).ok()?.to_owned(),
        _ => json()?.get("status")?.as_str()?.to_owned(),
    };
    match word.as_str() {
        "offline" => Some(true),
        "online" | "" => Some(false),
        _ => None,
    }
}
