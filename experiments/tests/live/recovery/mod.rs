//! The services on real brokers, against what breaks: whole brokers (`broken_brokers`) and single connections to them
//! (`broken_connections`), and both over HTTP (`http_routers`), while tasks come in; and against what the field reports
//! (`field`). They say what they wait for, recover by themselves, and lose no task. What brokers refuse over
//! connections that live is in `refusals`.

mod broken_brokers;
mod broken_connections;
mod field;
mod http_routers;
mod refusals;
mod world;
