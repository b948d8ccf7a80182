//! A way from a service to its broker that can be broken: cut, as by a reset, or silent, as by a network that swallows
//! all packets and tells nobody.
#![expect(clippy::disallowed_types, reason = "a reset needs a socket option that no service wants")]

use backbone::env::{Env, TaskGuard};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{oneshot, watch},
};

/// Relays each connection to its port to one of its own to the broker. Dropping it resets all.
#[derive(Debug)]
pub struct Relay {
    port: u16,
    state: Arc<Mutex<State>>,
    _listening: TaskGuard,
}

#[derive(Debug, Default)]
struct State {
    /// For how many reasons new connections are silent.
    silences: u32,
    paths: Vec<Path>,
}

/// One connection. Its task holds the other ends.
#[derive(Debug)]
struct Path {
    /// Dropping it is a cut.
    _cut: oneshot::Sender<()>,
    silent: watch::Sender<bool>,
}

impl Relay {
    /// To the broker on this port of 127.0.0.1.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(broker: u16) -> io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let state: Arc<Mutex<State>> = Arc::default();
        let listening = Env::tokio().spawn("relay", listen(listener, broker, state.clone())).into();
        Ok(Self { port, state, _listening: listening })
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Resets the connections that there are, at both ends; says how many. New ones pass.
    #[must_use = "none means that nothing was broken"]
    pub fn cut(&self) -> usize {
        let mut state = lock(&self.state);
        let live: Vec<Path> = state.paths.drain(..).filter(|path| !path.silent.is_closed()).collect();
        live.len()
    }

    /// Nothing goes through the connections that there are any more, in neither direction, not even that one end is
    /// closed. New ones pass.
    #[must_use = "none means that nothing was broken"]
    pub fn swallow(&self) -> usize {
        let state = lock(&self.state);
        state.paths.iter().filter(|path| path.silent.send(true).is_ok()).count()
    }

    /// As [`Relay::swallow`], but new connections are silent, too, until [`Relay::heal`] was called as often as this.
    #[must_use = "none means that nothing was broken"]
    pub fn fall_silent(&self) -> usize {
        lock(&self.state).silences += 1;
        self.swallow()
    }

    /// One reason less to be silent. After the last one everything passes again, that which was on its way included.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        state.silences = state.silences.saturating_sub(1);
        if state.silences > 0 {
            return;
        }
        for path in &state.paths {
            // A path whose both ends are gone needs no healing.
            let _ = path.silent.send(false);
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no holder of this lock panics")
}

async fn listen(listener: TcpListener, broker: u16, state: Arc<Mutex<State>>) {
    // A port that nobody can be accepted on any more is as good as one that nobody listens on.
    while let Ok((near, _)) = listener.accept().await {
        let (cut, mut is_cut) = oneshot::channel();
        let mut state = lock(&state);
        let (silent, silence) = watch::channel(state.silences > 0);
        state.paths.retain(|path| !path.silent.is_closed());
        state.paths.push(Path { _cut: cut, silent });
        Env::tokio().spawn("relayed connection", async move {
            let far = tokio::select! {
                biased;
                _ = &mut is_cut => return reset(&near),
                far = reach(broker, silence.clone()) => far,
            };
            if let Ok(far) = far {
                carry(near, far, is_cut, silence).await;
            }
        });
    }
}

/// Lets the connection end by a reset when it is dropped.
fn reset(stream: &TcpStream) {
    // One that is gone already needs none.
    let _ = stream.set_zero_linger();
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
async fn carry(mut near: TcpStream, mut far: TcpStream, is_cut: oneshot::Receiver<()>, silence: watch::Receiver<bool>) {
    // Without it packets wait for each other, which is slow and nothing worse.
    let _ = near.set_nodelay(true);
    let both = async {
        let ((near_out, near_in), (far_out, far_in)) = (near.split(), far.split());
        tokio::try_join!(pump(near_out, far_in, silence.clone()), pump(far_out, near_in, silence))
    };
    tokio::select! {
        biased;
        _ = is_cut => {
            reset(&near);
            reset(&far);
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
