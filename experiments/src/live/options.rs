//! What the user wants of a live run, beside the spec.

use std::path::PathBuf;

/// How to run live.
#[derive(Clone, Default)]
pub struct Options {
    /// RabbitMQ to use instead of a private one: `amqp://…` or `amqps://…`.
    pub amqp: Option<String>,
    /// MQTT broker to use: `mqtt://…` or `mqtts://…`.
    pub mqtt: Option<String>,
    /// Redis to use: `redis://…` or `rediss://…`.
    pub redis: Option<String>,
    /// Certificates, in PEM, of those who may sign the brokers' certificates.
    pub ca_file: Option<PathBuf>,
    /// Run without the spec's CPU quotas.
    pub no_quota: bool,
}
