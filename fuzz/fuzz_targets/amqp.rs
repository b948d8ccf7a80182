//! Any bytes for the emulated RabbitMQ. libfuzzer ends at the first panic, of whichever task.
#![no_main]

#[allow(dead_code, reason = "one target feeds one protocol")]
#[path = "../../sim/tests/world/robustness/feed.rs"]
mod feed;
#[allow(dead_code, clippy::unwrap_used, reason = "only the handshake is needed, and it is made without input")]
#[path = "../../sim/tests/world/robustness/wire.rs"]
mod wire;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // Without it hardly any input would get as far as an open channel.
    feed::feed(feed::Protocol::Amqp, &[wire::amqp_handshake(), input.to_vec()].concat(), 1_000);
});
