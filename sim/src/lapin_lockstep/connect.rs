//! Opening a connection: the socket, the bridge over it, and lapin on the other side.

use super::{
    bridge::{Bridge, TURN_LIMIT},
    carrier::Carrier,
    kit::SimKit,
    stream::PipeStream,
};
use crate::{engine::with, process, socket::SimStream};
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

/// Opens an AMQP connection from `host` over a simulated socket. lapin's own reconnecting finds no second socket.
pub(crate) async fn open(
    host: u16,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, lapin::Error> {
    let tcp = SimStream::connect(host, &uri.authority.host, uri.authority.port).await.map_err(lapin::Error::from)?;
    let bridge = Bridge::new(host, TURN_LIMIT);
    bridge.mark();
    let carrier = Carrier::new(bridge.clone(), tcp);
    process::spawn(host, "lapin carrier", Box::pin(carrier.run()), |_| ());
    let runtime = async_rs::Runtime::new(SimKit::new(bridge.clone()));
    let (identity, listener) = with(|engine| (engine.identity(), engine.lapin_listener()));
    let used = AtomicBool::new(false);
    let connect = async move |_uri, _runtime| {
        if used.swap(true, Ordering::AcqRel) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        Ok(lapin::tcp::AsyncTcpStream::Plain(PipeStream::attach(&bridge, identity, &listener)))
    };
    Connection::connector(uri, runtime, connect, properties).await
}
