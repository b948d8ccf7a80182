//! A seeded virtual world in which the backbone's services run unchanged: emulated brokers, gateways and labels, and a
//! network of real TCP segments in virtual time.

#[cfg(not(tokio_unstable))]
compile_error!(
    "the simulator needs `--cfg tokio_unstable`: .cargo/config.toml sets it, but a RUSTFLAGS variable of your own overrides \
     that file; add `--cfg tokio_unstable` to it"
);

pub mod broker;
