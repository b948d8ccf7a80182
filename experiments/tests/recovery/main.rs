//! The services on real brokers, against what breaks: whole brokers (`broken_brokers`) and single connections to them
//! (`broken_connections`), and both over HTTP (`http_routers`), while tasks come in. They say what they wait for, recover by
//! themselves, and lose no task.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod broken_brokers;
mod broken_connections;
#[path = "../gateway/mod.rs"]
mod gateway;
mod http_routers;
mod relay;
mod world;

/// One test at a time: on a machine that is busy with the other, a broker may look as if it were broken.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
