//! The accept loop, the same for all three brokers, with its limit.

use backbone::env::{Env, Listener};
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
pub(super) async fn accept<E: Env>(
    broker: &'static str,
    listener: E::Listener,
    serve: impl FnMut(E::Stream, Place),
) -> Infallible {
    accept_up_to(CONNECTIONS_MAX, broker, listener, serve).await
}

async fn accept_up_to<L: Listener>(
    connections_max: usize,
    broker: &'static str,
    mut listener: L,
    mut serve: impl FnMut(L::Stream, Place),
) -> Infallible {
    let places = Arc::new(Semaphore::new(connections_max));
    loop {
        match listener.accept().await {
            Ok(stream) => match places.clone().try_acquire_owned() {
                Ok(place) => serve(stream, place),
                Err(_) => tracing::warn!(broker, "connection refused: {connections_max} are open"),
            },
            Err(error) => {
                tracing::warn!(broker, %error, "accepting a connection failed");
                sleep(RETRY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::env::TokioEnv;
    use std::io;
    use tokio::{sync::mpsc, time::Instant};

    struct Numbers(mpsc::UnboundedReceiver<io::Result<u32>>);

    impl Listener for Numbers {
        type Stream = u32;

        async fn accept(&mut self) -> io::Result<u32> {
            self.0.recv().await.expect("the test holds the sender")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_beyond_the_limit_is_refused_until_another_one_ends_and_errors_slow_the_loop_down() {
        let (connect, listener) = mpsc::unbounded_channel();
        let (accepted, mut connections) = mpsc::unbounded_channel();
        TokioEnv.spawn("accept", async move {
            let serve = |stream, place| accepted.send((stream, place)).unwrap();
            match accept_up_to(2, "test", Numbers(listener), serve).await {}
        });
        for n in [0, 1, 2] {
            connect.send(Ok(n)).unwrap();
        }
        let (first, place) = connections.recv().await.unwrap();
        let second = connections.recv().await.unwrap();
        assert_eq!((first, second.0), (0, 1));
        tokio::task::yield_now().await;
        drop(place);
        let failed = Instant::now();
        connect.send(Err(io::ErrorKind::Other.into())).unwrap();
        connect.send(Ok(3)).unwrap();
        assert_eq!(connections.recv().await.unwrap().0, 3);
        assert_eq!(failed.elapsed(), RETRY);
    }
}
