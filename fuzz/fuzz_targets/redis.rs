//! Any bytes for the emulated Redis. libfuzzer ends at the first panic, of whichever task.
#![no_main]

#[allow(dead_code, reason = "one target feeds one protocol")]
#[path = "../../sim/tests/world/robustness/feed.rs"]
mod feed;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    feed::feed(feed::Protocol::Redis, input, 1_000);
});
