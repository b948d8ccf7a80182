//! What clients may not do. Mosquitto's access control, as far as tests need it: the same for all clients.

use super::topics::matches;

/// What is refused with the reason "not authorized" (MQTT 5, 0x87). The default refuses nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// No client may publish to a topic that one of these filters matches.
    pub no_publish: Vec<String>,
    /// No client may subscribe with one of these filters, as it writes them. Mosquitto refuses so with a plugin; its
    /// own access control file grants any subscription, and withholds messages.
    pub no_subscribe: Vec<String>,
}

impl Rights {
    pub(super) fn may_publish(&self, topic: &[u8]) -> bool {
        self.no_publish.is_empty()
            || std::str::from_utf8(topic)
                .is_ok_and(|topic| !self.no_publish.iter().any(|filter| matches(filter, topic)))
    }

    pub(super) fn may_subscribe(&self, filter: &str) -> bool {
        !self.no_subscribe.iter().any(|refused| refused == filter)
    }
}
