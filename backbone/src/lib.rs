//! A command backbone for IoT actuators behind MQTT gateways: the production code.
//!
//! A task goes from a queue to electronic shelf labels and their answers come back to the caller, with any number of
//! replicas of every service. The waiting is done by queues: RabbitMQ carries tasks, requests and replies, Redis maps a
//! reply to its caller and a label to its best gateway, MQTT shared subscriptions spread the load.
//!
//! It is no broker, and no client library: lapin, rumqttc and redis-rs are used as they are. It knows nothing of the
//! simulator that it is tested in; the one seam between it and the world is [`mod@env`].
//!
//! A replica runs until it is told to stop. This one is told at once, so it needs no brokers:
//!
//! ```
//! use backbone::{config::Config, env::Env, service::TaskWorker, telemetry::LogTelemetry};
//! use std::sync::Arc;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let config = Arc::new(Config::default()); // all brokers on this machine
//! let stop = CancellationToken::new();
//! stop.cancel();
//! TaskWorker::run(Env::tokio(), config, Arc::new(LogTelemetry::default()), stop).await;
//! # }
//! ```
//!
//! Its modules stand on floors, from top to bottom; each imports only those that come after it.
//!
//! | floor | modules |
//! |---|---|
//! | the program | [`cli`] |
//! | for those who run a replica | [`admin`] |
//! | what runs | [`service`] |
//! | calling labels | `rpc` |
//! | adapters to the brokers | [`amqp`], `mqtt`, `store` |
//! | one connection for all who need it | `reconnect` |
//! | what is needed beside connections | `needs` |
//! | whether a broker answers | `answers` |
//! | traces of requests | `trace` |
//! | what may be configured | [`config`] |
//! | TLS over a connection of the environment | [`tls`] |
//! | what services report | [`telemetry`] |
//! | what travels | [`message`] |
//! | time that is left, time to wait | `deadline`, `backoff` |
//! | the seam | [`env`](mod@env) |

pub mod admin;
pub mod amqp;
mod answers;
mod backoff;
pub mod cli;
pub mod config;
mod deadline;
pub mod env;
pub mod message;
mod mqtt;
mod needs;
mod reconnect;
mod rpc;
pub mod service;
mod store;
pub mod telemetry;
pub mod tls;
mod trace;
