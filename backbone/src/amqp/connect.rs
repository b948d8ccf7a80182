//! Opening a connection to RabbitMQ.

use crate::{
    env::Env,
    tls::{self, Tls},
};
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};

/// Connects to the broker that `uri` names, shakes hands if `tls` is wanted, and logs in.
///
/// # Errors
/// lapin's: the socket's errors, a file or a handshake of TLS that failed, a refused login, a failed negotiation.
pub async fn connect(
    env: &Env,
    uri: AMQPUri,
    tls: Option<&Tls>,
    properties: ConnectionProperties,
) -> Result<Connection, lapin::Error> {
    let stream = tls::connect(env, &uri.authority.host, uri.authority.port, tls).await?;
    env.open_amqp(stream, uri, properties).await
}
