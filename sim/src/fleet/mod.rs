//! Gateways and the labels behind them.
//!
//! A gateway is a real MQTT client (rumqttc) that executes commands and reports what it hears (`gateway`); a label is
//! plain state (`label`); who hears whom, and how well, is decided by where they stand (`radio`). All of it runs over
//! any [`Env`](backbone::env::Env), so it serves emulated and real brokers alike.
//!
//! In a plain fleet that is all, and each command reaches its label. With an [`Air`] signal strength decides: what gets
//! lost (`phy`), who moves where (`roaming`), and when a gateway's one radio is free for a label that listens
//! (`airtime`, `over_air`). What a gateway reports of what it hears is in `reports`.

mod air;
mod airtime;
mod connection;
mod gateway;
mod handling;
mod label;
mod mischief;
mod over_air;
mod phy;
mod radio;
mod reports;
mod roaming;
mod writes;

pub use air::{Air, Antenna, Interference, RadioPlan, RadioUse};
pub use connection::Online;
pub use gateway::{AckOrder, Gateway, GatewayPlan, Work};
pub use handling::{BusyProcessor, Handling, Processor};
pub use label::{Execution, Labels};
pub use mischief::{Mischief, Mischiefs};
pub use radio::{Heard, StorePlan, place_store};
pub use reports::RssiChanges;
pub use writes::Writes;
