//! Opening a connection: a bridge over the socket, and lapin on the other side.

use super::{
    bridge::{Bridge, TURN_LIMIT},
    carrier::Carrier,
    kit::SimKit,
    stream::PipeStream,
};
use crate::{engine::with, os, process};
use backbone::env::Stream;
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use std::{
    future::{Future as _, poll_fn},
    io,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
};

/// Opens an AMQP connection from `host` over `stream`. lapin's own reconnecting finds no second one.
pub(crate) async fn open(
    host: u16,
    stream: Stream,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> Result<Connection, lapin::Error> {
    let bridge = Bridge::new(host, TURN_LIMIT);
    bridge.mark();
    let carrier = Carrier::new(bridge.clone(), stream);
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
    let mut opening = pin!(Connection::connector(uri, runtime, connect, properties));
    poll_fn(|cx| os::permit_threads(|| opening.as_mut().poll(cx))).await
}
