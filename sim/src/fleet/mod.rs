//! Gateways and the labels behind them.
//!
//! A gateway is a real MQTT client (rumqttc) that executes commands and reports what it hears (`gateway`); a label is
//! plain state (`label`); who hears whom, and how well, is decided by where they stand (`radio`). All of it runs over
//! any [`Env`](backbone::env::Env), so it serves emulated and real brokers alike.

mod connection;
mod gateway;
mod handling;
mod label;
mod radio;
mod writes;

pub use connection::Online;
pub use gateway::{AckOrder, Gateway, GatewayPlan, Work};
pub use handling::{BusyProcessor, Handling, Processor};
pub use label::{Execution, Labels};
pub use radio::{Heard, StorePlan, place_store};
pub use writes::Writes;
