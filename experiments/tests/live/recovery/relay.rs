//! A way from a service to its broker that the test can break: cut, as by a reset, or silent, as by a network that
//! swallows all packets and tells nobody.
#![expect(clippy::disallowed_types, reason = "a reset needs a socket option that no service wants")]

use backbone::env::Env;
use std::{
    io,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_util::sync::CancellationToken;

/// Relays each connection to its port to one of its own to the broker. Runs as long as the test.
pub(crate) struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Whether new connections are silent.
    silent: bool,
    paths: Vec<Path>,
}

/// One connection. Its task holds the other ends.
struct Path {
    cut: CancellationToken,
    silent: watch::Sender<bool>,
}

impl Relay {
    /// To the broker on this port of 127.0.0.1.
    pub(crate) async fn start(broker: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state: Arc<Mutex<State>> = Arc::default();
        let relay = Self { port, state: state.clone() };
        Env::tokio().spawn("relay", async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                near.set_nodelay(true).unwrap();
                let cut = CancellationToken::new();
                let mut state = state.lock().unwrap();
                let (silent, silence) = watch::channel(state.silent);
                state.paths.retain(|path| !path.silent.is_closed());
                state.paths.push(Path { cut: cut.clone(), silent });
                Env::tokio().spawn("relayed connection", async move {
                    let far = tokio::select! {
                        biased;
                        () = cut.cancelled() => return near.set_zero_linger().unwrap(),
                        far = reach(broker, silence.clone()) => far,
                    };
                    let Ok(far) = far else { return };
                    carry(near, far, &cut, silence).await;
                });
            }
        });
        relay
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Resets the connections that there are, at both ends; says how many. New ones pass.
    pub(crate) fn cut(&self) -> usize {
        let mut state = self.state.lock().unwrap();
        let live: Vec<Path> = state.paths.drain(..).filter(|path| !path.silent.is_closed()).collect();
        live.iter().for_each(|path| path.cut.cancel());
        live.len()
    }

    /// Nothing goes through the connections that there are any more, in neither direction, not even that one end is
    /// closed. New ones pass.
    pub(crate) fn swallow(&self) -> usize {
        let state = self.state.lock().unwrap();
        state.paths.iter().filter(|path| path.silent.send(true).is_ok()).count()
    }

    /// As [`Relay::swallow`], but new connections are silent, too, until [`Relay::heal`].
    pub(crate) fn fall_silent(&self) -> usize {
        self.state.lock().unwrap().silent = true;
        self.swallow()
    }

    /// Everything passes again, that which was on its way included.
    pub(crate) fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.silent = false;
        for path in &state.paths {
            // A path whose both ends are gone needs no healing.
            let _ = path.silent.send(false);
        }
    }
}

async fn reach(broker: u16, mut silence: watch::Receiver<bool>) -> io::Result<TcpStream> {
    heard(&mut silence).await;
    let far = TcpStream::connect(("127.0.0.1", broker)).await?;
    far.set_nodelay(true)?;
    Ok(far)
}

async fn heard(silence: &mut watch::Receiver<bool>) {
    // The sender goes with a cut, which ends all this.
    let _ = silence.wait_for(|silent| !silent).await;
}

/// Carries bytes both ways until both ends are closed, one breaks, or `cut`.
async fn carry(mut near: TcpStream, mut far: TcpStream, cut: &CancellationToken, silence: watch::Receiver<bool>) {
    let both = async {
        let ((near_out, near_in), (far_out, far_in)) = (near.split(), far.split());
        tokio::try_join!(pump(near_out, far_in, silence.clone()), pump(far_out, near_in, silence))
    };
    tokio::select! {
        biased;
        () = cut.cancelled() => {
            near.set_zero_linger().unwrap();
            far.set_zero_linger().unwrap();
        }
        // Dropping both is the way to pass on what broke.
        _ = both => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut silence: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 14];
    loop {
        let read = from.read(&mut buffer).await;
        heard(&mut silence).await;
        match read? {
            0 => return to.shutdown().await,
            read => to.write_all(&buffer[..read]).await?,
        }
    }
}
