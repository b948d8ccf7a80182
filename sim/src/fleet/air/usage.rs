//! What a store's radio came to.

/// What the radio came to: plain sums over a store, or over several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RadioUse {
    /// Commands that gateways took to the air and that ended there: the sum of `answered` and `unanswered`.
    pub commands: u64,
    /// Acknowledged by their labels at the first try.
    pub at_first_try: u64,
    /// Acknowledged by their labels.
    pub answered: u64,
    /// Given up after all repeats, or at their deadline.
    pub unanswered: u64,
    /// Packets that were sent for them.
    pub tries: u64,
    /// Gateways.
    pub gateways: u64,
    /// How long gateways' radios were busy with commands, in microseconds.
    pub gateway_us: u64,
    /// The busiest gateway's share of that.
    pub gateway_us_max: u64,
    /// Labels.
    pub labels: u64,
    /// How long labels received commands, in microseconds.
    pub label_receive_us: u64,
    /// How long they sent acknowledgements.
    pub label_send_us: u64,
    /// The busiest label's share of both.
    pub label_us_max: u64,
    /// How long they listened in vain or for a command.
    pub label_listen_us: u64,
}

impl RadioUse {
    /// Of this store and another.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            commands: self.commands + other.commands,
            at_first_try: self.at_first_try + other.at_first_try,
            answered: self.answered + other.answered,
            unanswered: self.unanswered + other.unanswered,
            tries: self.tries + other.tries,
            gateways: self.gateways + other.gateways,
            gateway_us: self.gateway_us + other.gateway_us,
            gateway_us_max: self.gateway_us_max.max(other.gateway_us_max),
            labels: self.labels + other.labels,
            label_receive_us: self.label_receive_us + other.label_receive_us,
            label_send_us: self.label_send_us + other.label_send_us,
            label_us_max: self.label_us_max.max(other.label_us_max),
            label_listen_us: self.label_listen_us + other.label_listen_us,
        }
    }
}
