//! What the radio came to, in the numbers that people compare.

use serde::Serialize;
use sim::fleet::RadioUse;

/// The radio of a run in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RadioNumbers {
    /// Commands that gateways took to the air; a task's retry counts anew.
    pub commands: u64,
    /// How many of them the label acknowledged at the first packet, in percent.
    pub at_first_try_percent: f64,
    /// How many of them it acknowledged at all, in percent.
    pub answered_percent: f64,
    /// Packets that were sent for a command, at the mean.
    pub tries_per_command: f64,
    /// How long a gateway's radio was busy for a command that was acknowledged, failures included, in microseconds.
    pub gateway_us_per_answer: f64,
    /// The share of the time that the busiest gateway's radio was busy with commands, in percent.
    pub busiest_gateway_percent: f64,
    /// How long a label received and sent for a command that it acknowledged, failures included, in microseconds.
    pub label_us_per_answer: f64,
    /// The same of the label that received and sent the longest, over the whole run.
    pub busiest_label_us: u64,
    /// How long a label listened without a command, in milliseconds for each hour.
    pub listening_ms_per_h: f64,
}

impl RadioNumbers {
    /// Of a run that took this long.
    #[must_use]
    pub fn of(radio: &RadioUse, virtual_us: u64) -> Self {
        let percent = |part: u64, of: u64| ratio(100.0 * part as f64, of as f64);
        let hours = virtual_us as f64 / 3.6e9;
        Self {
            commands: radio.commands,
            at_first_try_percent: percent(radio.at_first_try, radio.commands),
            answered_percent: percent(radio.answered, radio.commands),
            tries_per_command: ratio(radio.tries as f64, radio.commands as f64),
            gateway_us_per_answer: ratio(radio.gateway_us as f64, radio.answered as f64),
            busiest_gateway_percent: percent(radio.gateway_us_max, virtual_us),
            label_us_per_answer: ratio((radio.label_receive_us + radio.label_send_us) as f64, radio.answered as f64),
            busiest_label_us: radio.label_us_max,
            listening_ms_per_h: ratio(radio.label_listen_us as f64 / 1_000.0, radio.labels as f64 * hours),
        }
    }
}

/// A share to three digits; 0 of nothing.
fn ratio(part: f64, of: f64) -> f64 {
    if of > 0.0 { (part / of * 1_000.0).round() / 1_000.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_commands_and_costs_of_answers() {
        let radio = RadioUse {
            commands: 200,
            at_first_try: 150,
            answered: 160,
            unanswered: 40,
            tries: 300,
            gateways: 2,
            gateway_us: 160_000,
            gateway_us_max: 100_000,
            labels: 10,
            label_receive_us: 80_000,
            label_send_us: 16_000,
            label_us_max: 20_000,
            label_listen_us: 10 * 250_000,
        };
        let numbers = RadioNumbers::of(&radio, 1_800_000_000);
        assert_eq!((numbers.at_first_try_percent, numbers.answered_percent), (75.0, 80.0));
        assert_eq!((numbers.tries_per_command, numbers.gateway_us_per_answer), (1.5, 1_000.0));
        assert_eq!((numbers.label_us_per_answer, numbers.busiest_label_us), (600.0, 20_000));
        assert_eq!((numbers.busiest_gateway_percent, numbers.listening_ms_per_h), (0.006, 500.0));
        assert_eq!(RadioNumbers::of(&RadioUse::default(), 0).tries_per_command, 0.0);
    }
}
