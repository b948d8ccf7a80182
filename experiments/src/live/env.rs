//! The environment of what runs in the bench's own process, and of the routers that it starts.

use backbone::env::{Env, Task, TokioEnv};
use lapin::{Connection, ConnectionProperties, tcp::OwnedTLSConfig, uri::AMQPUri};
use std::{io, net::SocketAddr, time::Duration};

/// Production's environment, in which Nagle's algorithm can be left on, as a spec may ask for. It holds for what
/// connects through the environment, MQTT, Redis and HTTP; lapin sets up its sockets itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LiveEnv {
    /// `TCP_NODELAY` on connections.
    pub(crate) nodelay: bool,
}

impl Env for LiveEnv {
    type Stream = <TokioEnv as Env>::Stream;
    type Listener = <TokioEnv as Env>::Listener;

    async fn connect(&self, host: &str, port: u16) -> io::Result<Self::Stream> {
        let stream = TokioEnv.connect(host, port).await?;
        stream.set_nodelay(self.nodelay)?;
        Ok(stream)
    }

    async fn listen(&self, addr: SocketAddr) -> io::Result<Self::Listener> {
        TokioEnv.listen(addr).await
    }

    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) -> Task {
        TokioEnv.spawn(name, task)
    }

    async fn open_amqp(
        &self,
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
    ) -> Result<Connection, lapin::Error> {
        TokioEnv.open_amqp(uri, tls, properties).await
    }

    fn unix_time(&self) -> Duration {
        TokioEnv.unix_time()
    }

    fn random(&self, buf: &mut [u8]) {
        TokioEnv.random(buf);
    }
}
