//! The simulated [`Env`]: one value for each incarnation of a pod.

use crate::{
    cluster::{self, record},
    engine::{is_running, with},
    lapin_lockstep, os,
    socket::{SimListener, SimStream},
};
use backbone::env::{Env, Task};
use lapin::{
    Connection, ConnectionProperties,
    tcp::OwnedTLSConfig,
    uri::{AMQPScheme, AMQPUri},
};
use rand_chacha::rand_core::Rng as _;
use std::{fmt, future::Future, io, net::SocketAddr, time::Duration};

/// The outside world of one pod. Becomes useless when the pod stops: a restarted pod has another one.
#[derive(Clone, Copy, Debug)]
pub struct SimEnv {
    host: u16,
}

impl SimEnv {
    pub(crate) fn new(host: u16) -> Self {
        Self { host }
    }

    /// Puts an event of this pod into the trace.
    pub fn trace(&self, event: fmt::Arguments<'_>) {
        let name = with(|engine| engine.pods.name_of(self.host).to_owned());
        record(&name, event);
    }

    /// Whether the pod's process lives. A killed one has nothing to say any more, nor has any once the simulation is over,
    /// though what they held is dropped only then.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        is_running() && with(|engine| engine.network.is_alive(self.host))
    }

    /// Virtual time since the start, in microseconds.
    #[must_use]
    pub fn now_us(&self) -> u64 {
        with(|engine| engine.now_us())
    }
}

impl Env for SimEnv {
    type Stream = SimStream;
    type Listener = SimListener;

    async fn connect(&self, host: &str, port: u16) -> io::Result<SimStream> {
        SimStream::connect(self.host, host, port).await
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<SimListener> {
        SimListener::bind(self.host, addr).await
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        Task::new(cluster::spawn(self.host, name, task, lapin_lockstep::mark_if_called))
    }

    async fn open_amqp(
        &self,
        uri: AMQPUri,
        _: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> Result<Connection, lapin::Error> {
        assert_eq!(uri.scheme, AMQPScheme::AMQP, "no emulated broker speaks TLS");
        lapin_lockstep::open(self.host, uri, properties).await
    }

    fn unix_time(&self) -> Duration {
        Duration::from_secs(os::UNIX_START_S) + Duration::from_nanos(with(|engine| engine.now_ns()))
    }

    fn random(&self, buf: &mut [u8]) {
        with(|engine| engine.pods.rng_of(self.host).fill_bytes(buf));
    }
}
