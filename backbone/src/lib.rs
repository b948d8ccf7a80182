//! A command backbone for IoT actuators behind MQTT gateways.
//!
//! A task goes from a queue to electronic shelf labels and their answers come back to the caller, with any number of
//! replicas of every service. The waiting is done by queues: RabbitMQ carries tasks, requests and replies, Redis maps a
//! reply to its caller and a label to its best gateway, MQTT shared subscriptions spread the load.
//!
//! This crate is the production code. It knows nothing of the simulator that it is tested in; the one seam between it and
//! the world is [`mod@env`].

pub mod admin;
pub mod amqp;
mod backoff;
pub mod cli;
pub mod config;
mod deadline;
pub mod env;
pub mod message;
mod mqtt;
mod redial;
mod rpc;
pub mod service;
mod store;
pub mod telemetry;
pub mod tls;
