//! Simulated sockets: turmoil-net's, tied to their host, so that a library's task may use them without knowing where it
//! runs.
//!
//! turmoil-net makes and ends connections. What is written and read in between goes to the network, which has an inbox
//! for each end; on a pod whose CPU time counts a stream hands out bytes frame by frame (`meter`).

use crate::{
    engine::{is_running, touch_network, with},
    flow::Flow,
    host,
    meter::Meter,
    observe,
    process::{OnPod, enter},
};
use backbone::env::{Accept, Listener, Stream};
use bytes::{Buf, BytesMut};
use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil_net::shim::tokio::net::{TcpListener, TcpStream};

/// A connected TCP stream of a simulated host.
#[derive(Debug)]
pub(crate) struct SimStream {
    host: u16,
    /// Present until the drop.
    tcp: Option<TcpStream>,
    /// From here to the peer.
    flow: Flow,
    meter: Option<Box<Meter>>,
    /// What the meter has still to release.
    ahead: BytesMut,
}

impl SimStream {
    fn new(host: u16, tcp: TcpStream) -> io::Result<Self> {
        enter(host);
        let [source, destination] =
            [tcp.local_addr()?, tcp.peer_addr()?].map(|addr| (host::index_of(addr.ip()), addr.port()));
        let flow = Flow { source, destination };
        let meter = Meter::new(host, destination.0);
        Ok(Self { host, tcp: Some(tcp), flow, meter, ahead: BytesMut::new() })
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

    /// Ready at the end of the stream, or when the connection was reset. Whatever there was to read has been read.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut none = [0; 1];
        self.tcp().poll_read(cx, &mut ReadBuf::new(&mut none))
    }

    /// How many of the bytes ahead the application may have; 0 at the end of the stream.
    fn poll_metered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            if let Some(meter) = self.meter.as_mut().filter(|_| !self.ahead.is_empty())
                && let Some(len) = ready!(meter.release(&self.ahead, cx))
            {
                return Poll::Ready(Ok(len));
            }
            let ahead = &mut self.ahead;
            let take = |inbox: &mut BytesMut| match ahead.is_empty() {
                true => *ahead = std::mem::take(inbox),
                false => ahead.unsplit(std::mem::take(inbox)),
            };
            if ready!(with(|engine| engine.read(self.flow, cx.waker(), take))) == 0 {
                return self.poll_end(cx).map_ok(|()| 0);
            }
        }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if out.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if self.meter.is_none() {
            let take = |inbox: &mut BytesMut| {
                let len = inbox.len().min(out.remaining());
                out.put_slice(&inbox[..len]);
                inbox.advance(len);
            };
            let flow = self.flow;
            let taken_bytes = ready!(with(|engine| engine.read(flow, cx.waker(), take)));
            observe::took(flow.reversed(), taken_bytes);
            return if taken_bytes == 0 { self.poll_end(cx) } else { Poll::Ready(Ok(())) };
        }
        let allowed = ready!(self.poll_metered(cx))?;
        let len = allowed.min(out.remaining());
        out.put_slice(&self.ahead[..len]);
        self.ahead.advance(len);
        if let Some(meter) = &mut self.meter {
            meter.took(len);
        }
        observe::took(self.flow.reversed(), len);
        if self.ahead.is_empty() {
            self.ahead = BytesMut::new(); // thousands of streams: keep no memory that a burst once needed
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        with(|engine| engine.write(self.flow, bytes, cx.waker()))
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
            with(|engine| engine.network.close(self.flow, !self.ahead.is_empty()));
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
