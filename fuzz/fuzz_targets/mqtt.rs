//! Any bytes for the emulated Mosquitto, after a CONNECT of MQTT 5 or 3.1.1 or none, as the first byte says. libfuzzer
//! ends at the first panic, of whichever task.
#![no_main]

#[allow(dead_code, reason = "one target feeds one protocol")]
#[path = "../../sim/tests/world/robustness/feed.rs"]
mod feed;
#[allow(dead_code, reason = "of the one protocol, the beginnings only")]
#[allow(clippy::unwrap_used, reason = "lengths of fixed texts")]
#[path = "../../sim/tests/world/robustness/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((kind, rest)) = input.split_first() else { return };
    let beginning = match kind % 3 {
        0 => Vec::new(),
        1 => wire::mqtt_connect(),
        _ => wire::mqtt_3_connect(),
    };
    feed::feed(feed::Protocol::Mqtt, &[&beginning, rest].concat(), 1_000);
});
