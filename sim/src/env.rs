//! The simulated [`Platform`]: one for each incarnation of a pod.

use crate::{
    engine::with,
    lapin_lockstep, process,
    socket::{self, SimStream},
};
use backbone::env::{Env, Listener, Platform, Stream, Task};
use futures_util::future::BoxFuture;
use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use rand_chacha::rand_core::Rng as _;
use std::{io, net::SocketAddr, time::Duration};

/// The outside world of one pod. Becomes useless when the pod stops: a restarted pod has another one.
struct SimPlatform {
    host: u16,
}

/// The environment of what runs on `host`.
pub(crate) fn on_host(host: u16) -> Env {
    Env::new(SimPlatform { host })
}

impl Platform for SimPlatform {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Stream>> {
        Box::pin(async move { Ok(Box::new(SimStream::connect(self.host, host, port).await?) as Stream) })
    }

    fn listen(&self, addr: SocketAddr) -> BoxFuture<'_, io::Result<Listener>> {
        Box::pin(socket::listen(self.host, addr))
    }

    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) -> Task {
        Task::new(process::spawn(self.host, name, task, lapin_lockstep::mark_if_called))
    }

    fn open_amqp(
        &self,
        stream: Stream,
        uri: AMQPUri,
        properties: ConnectionProperties,
    ) -> BoxFuture<'_, Result<Connection, lapin::Error>> {
        Box::pin(lapin_lockstep::open(self.host, stream, uri, properties))
    }

    fn unix_time(&self) -> Duration {
        with(|engine| engine.unix_time(self.host))
    }

    fn random(&self, buf: &mut [u8]) {
        with(|engine| engine.pods.rng_of(self.host).fill_bytes(buf));
    }
}
