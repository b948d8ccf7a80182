//! Simulated sockets: turmoil-net's, tied to their host, so that a library's task may use them without knowing where it
//! runs.
//!
//! A stream reads ahead, because turmoil-net announces a reopened window only after a single read of at least half its
//! receive buffer. It tells the network where writes end and when the application reads, which turmoil-net does not
//! keep and Linux's TCP depends on; and on a pod whose CPU time counts it hands out bytes frame by frame (`meter`).

use crate::{
    engine::{is_running, touch_network, with},
    flow::Flow,
    host,
    meter::Meter,
    network::Network,
    process::{OnPod, enter},
};
use backbone::env::{Accept, Listener, Stream};
use bytes::{Buf, BytesMut};
use std::{
    cell::RefCell,
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
pub(crate) struct SimStream {
    host: u16,
    /// Present until the drop.
    tcp: Option<TcpStream>,
    ahead: BytesMut,
    /// From here to the peer.
    flow: Flow,
    /// Whether the network wants to know of writes and reads.
    is_modelled: bool,
    meter: Option<Box<Meter>>,
}

impl SimStream {
    fn new(host: u16, tcp: TcpStream) -> io::Result<Self> {
        enter(host);
        let [source, destination] =
            [tcp.local_addr()?, tcp.peer_addr()?].map(|addr| (host::index_of(addr.ip()), addr.port()));
        let flow = Flow { source, destination };
        let is_modelled = with(|engine| Network::models_tcp(&engine.hosts, flow));
        let meter = Meter::new(host, destination.0);
        Ok(Self { host, tcp: Some(tcp), ahead: BytesMut::new(), flow, is_modelled, meter })
    }

    pub(crate) async fn connect(host: u16, peer: &str, port: u16) -> io::Result<Self> {
        let peer_host = with(|engine| engine.pods.find(peer))
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no pod is called `{peer}`")))?;
        touch_network();
        let addr = SocketAddr::new(host::address(peer_host), port);
        let tcp = OnPod::new(host, Box::pin(TcpStream::connect(addr)), |_| ()).await?;
        Self::new(host, tcp)
    }

    fn tcp(&mut self) -> Pin<&mut TcpStream> {
        enter(self.host);
        Pin::new(self.tcp.as_mut().expect("present until the drop"))
    }
}

impl SimStream {
    /// Reads all there is: into `out` what fits, the rest ahead. Returns how much came.
    fn poll_fill(&mut self, cx: &mut Context<'_>, out: Option<&mut ReadBuf<'_>>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = ReadBuf::new(scratch);
            ready!(self.tcp().poll_read(cx, &mut read))?;
            let got = read.filled();
            if self.is_modelled && !got.is_empty() {
                let drained = got.len() < READ_AHEAD_BYTES;
                with(|engine| engine.application_read(self.flow, drained));
            }
            if got.len() >= READ_AHEAD_BYTES / 2 {
                touch_network(); // a window update has been queued
            }
            let now = out.map_or(0, |out| {
                let len = got.len().min(out.remaining());
                out.put_slice(&got[..len]);
                len
            });
            self.ahead.extend_from_slice(&got[now..]);
            Poll::Ready(Ok(got.len()))
        })
    }

    /// How many of the bytes read ahead the application may have; 0 at the end of the stream.
    fn poll_metered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if let Some(meter) = self.meter.as_mut().filter(|_| !self.ahead.is_empty())
                && let Some(len) = ready!(meter.release(&self.ahead, cx))
            {
                return Poll::Ready(Ok(len));
            }
            if ready!(self.poll_fill(cx, None))? == 0 {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let allowed = if self.meter.is_some() {
            ready!(self.poll_metered(cx))?
        } else if self.ahead.is_empty() {
            return self.poll_fill(cx, Some(out)).map_ok(drop);
        } else {
            self.ahead.len()
        };
        let len = allowed.min(out.remaining());
        out.put_slice(&self.ahead[..len]);
        self.ahead.advance(len);
        if let Some(meter) = &mut self.meter {
            meter.took(len);
        }
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // thousands of streams: keep no memory that a burst once needed
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        touch_network();
        let len = ready!(self.tcp().poll_write(cx, bytes))?;
        if self.is_modelled {
            with(|engine| engine.wrote(self.flow, len));
        }
        Poll::Ready(Ok(len))
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
struct SimListener {
    host: u16,
    /// Present until the drop.
    tcp: Option<TcpListener>,
}

/// Binds `addr` on `host` and listens.
pub(crate) async fn listen(host: u16, addr: SocketAddr) -> io::Result<Listener> {
    let tcp = OnPod::new(host, Box::pin(TcpListener::bind(addr)), |_| ()).await?;
    enter(host);
    let addr = tcp.local_addr()?;
    Ok(Listener::new(SimListener { host, tcp: Some(tcp) }, addr))
}

impl Accept for SimListener {
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Stream>> {
        enter(self.host);
        let (tcp, _peer) = ready!(self.tcp.as_ref().expect("present until the drop").poll_accept(cx))?;
        Poll::Ready(SimStream::new(self.host, tcp).map(|stream| Box::new(stream) as Stream))
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
