//! Simulated sockets: turmoil-net's, tied to their host, so that a library's task may use them without knowing where it
//! runs.
//!
//! A stream reads ahead, because turmoil-net announces a reopened window only after a single read of at least half its
//! receive buffer.

use crate::{
    cluster::{OnPod, enter},
    engine::{is_running, touch_network, with},
    network::Network,
};
use bytes::{Buf, BytesMut};
use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

/// turmoil-net's receive buffer: the most that one read can return.
const READ_AHEAD_BYTES: usize = 64 << 10;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_AHEAD_BYTES]);
}

/// A connected TCP stream of a simulated host.
#[derive(Debug)]
pub struct SimStream {
    host: u16,
    /// Present until the drop.
    tcp: Option<TcpStream>,
    ahead: BytesMut,
}

impl SimStream {
    fn new(host: u16, tcp: TcpStream) -> Self {
        Self { host, tcp: Some(tcp), ahead: BytesMut::new() }
    }

    pub(crate) async fn connect(host: u16, peer: &str, port: u16) -> io::Result<Self> {
        let peer_host = with(|engine| engine.pods.find(peer))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no pod is called `{peer}`")))?;
        touch_network();
        let addr = SocketAddr::new(Network::address(peer_host), port);
        let tcp = OnPod::new(host, TcpStream::connect(addr), |_| ()).await?;
        Ok(Self::new(host, tcp))
    }

    fn tcp(&mut self) -> Pin<&mut TcpStream> {
        enter(self.host);
        Pin::new(self.tcp.as_mut().expect("present until the drop"))
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.is_empty() {
            return SCRATCH.with_borrow_mut(|scratch| {
                let mut read = ReadBuf::new(scratch);
                ready!(self.tcp().poll_read(cx, &mut read))?;
                let got = read.filled();
                if got.len() >= READ_AHEAD_BYTES / 2 {
                    touch_network(); // a window update has been queued
                }
                let (now, later) = got.split_at(got.len().min(out.remaining()));
                out.put_slice(now);
                self.ahead.extend_from_slice(later);
                Poll::Ready(Ok(()))
            });
        }
        let n = self.ahead.len().min(out.remaining());
        out.put_slice(&self.ahead[..n]);
        self.ahead.advance(n);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // thousands of streams: keep no memory that a burst once needed
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        touch_network();
        self.tcp().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        touch_network();
        self.tcp().poll_shutdown(cx)
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        if is_running() {
            enter(self.host);
            touch_network();
        }
        self.tcp = None;
    }
}

/// A bound TCP socket of a simulated host.
#[derive(Debug)]
pub struct SimListener {
    host: u16,
    /// Present until the drop.
    tcp: Option<TcpListener>,
}

impl SimListener {
    pub(crate) async fn bind(host: u16, addr: SocketAddr) -> io::Result<Self> {
        let tcp = OnPod::new(host, TcpListener::bind(addr), |_| ()).await?;
        Ok(Self { host, tcp: Some(tcp) })
    }
}

impl backbone::env::Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&mut self) -> io::Result<SimStream> {
        let (tcp, _peer) = poll_fn(|cx| {
            enter(self.host);
            self.tcp.as_ref().expect("present until the drop").poll_accept(cx)
        })
        .await?;
        Ok(SimStream::new(self.host, tcp))
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        if is_running() {
            enter(self.host);
            touch_network();
        }
        self.tcp = None;
    }
}
