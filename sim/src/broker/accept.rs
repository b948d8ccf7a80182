//! The accept loop, the same for all three brokers, with its limit.

use super::sparse::Sparse;
use backbone::env::{Listener, Stream};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

/// Connections of one listener at a time; a further one is closed at once. As many as one client host could open.
const CONNECTIONS_MAX: usize = 65_536;
/// Pause after a failed accept, so that a lasting failure doesn't spin.
const RETRY: Duration = Duration::from_millis(100);

/// Proof that a connection is within the limit; its task keeps it to the end.
pub(super) type Place = OwnedSemaphorePermit;

/// Gives every connection that comes to `serve`, which spawns what it needs. `broker` is for the log.
pub(super) async fn accept(broker: &'static str, listener: Listener, serve: impl FnMut(Stream, Place)) -> Infallible {
    accept_up_to(CONNECTIONS_MAX, broker, listener, serve).await
}

async fn accept_up_to(
    connections_max: usize,
    broker: &'static str,
    mut listener: Listener,
    mut serve: impl FnMut(Stream, Place),
) -> Infallible {
    let places = Arc::new(Semaphore::new(connections_max));
    let (mut refused, mut failed) = (Sparse::default(), Sparse::default());
    loop {
        match listener.accept().await {
            Ok(stream) => match places.clone().try_acquire_owned() {
                Ok(place) => serve(stream, place),
                Err(_) => {
                    if let Some(count) = refused.again() {
                        tracing::warn!(broker, count, "connection refused: {connections_max} are open");
                    }
                }
            },
            Err(error) => {
                if let Some(count) = failed.again() {
                    tracing::warn!(broker, %error, count, "accepting a connection failed");
                }
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::env::{Accept, Env};
    use std::{
        io,
        task::{Context, Poll},
    };
    use tokio::{
        io::{AsyncReadExt as _, DuplexStream, duplex},
        sync::mpsc,
        time::Instant,
    };

    struct Pipes(mpsc::UnboundedReceiver<io::Result<DuplexStream>>);

    impl Accept for Pipes {
        fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
            let pipe = self.0.poll_recv(cx).map(|pipe| pipe.expect("the test holds the sender"));
            pipe.map_ok(|pipe| Box::new(pipe) as Stream)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_beyond_the_limit_is_refused_until_another_one_ends_and_errors_slow_the_loop_down() {
        let (arrive, arrivals) = mpsc::unbounded_channel();
        let (accepted, mut connections) = mpsc::unbounded_channel();
        Env::tokio().spawn("accept", async move {
            let serve = |stream, place| accepted.send((stream, place)).unwrap();
            let listener = Listener::new(Pipes(arrivals), ([127, 0, 0, 1], 1).into());
            match accept_up_to(2, "test", listener, serve).await {}
        });
        let connect = || {
            let (near, far) = duplex(1);
            arrive.send(Ok(far)).unwrap();
            near
        };
        let (_first, _second, mut third) = (connect(), connect(), connect());
        let (_stream, place) = connections.recv().await.unwrap();
        let _second_place = connections.recv().await.unwrap();
        assert_eq!(third.read(&mut [0]).await.unwrap(), 0, "closed");
        drop(place);
        let failed = Instant::now();
        arrive.send(Err(io::ErrorKind::Other.into())).unwrap();
        let _fourth = connect();
        let _fourth_accepted = connections.recv().await.unwrap();
        assert_eq!(failed.elapsed(), RETRY);
    }
}
