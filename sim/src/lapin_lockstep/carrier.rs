//! The task that moves bytes between a simulated socket and the pipe that lapin sees.

use super::{baton::Holder, bridge::Bridge};
use crate::engine::touch_network;
use backbone::env::Stream;
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

/// Bytes moved from the socket to lapin at once.
const READ_BYTES: usize = 16 << 10;

/// Ends the connection's thread when the task that carries its bytes ends, however it does.
pub(super) struct EndWithCarrier(pub(super) Arc<Bridge>);

impl Drop for EndWithCarrier {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The task that moves bytes between a simulated socket and the pipe that lapin sees.
pub(super) struct Carrier {
    bridge: Arc<Bridge>,
    tcp: Stream,
    reads: bool,
    writes: bool,
    outgoing: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Carrier {
    pub(super) fn new(bridge: Arc<Bridge>, tcp: Stream) -> Self {
        let buffer = vec![0; READ_BYTES].into();
        Self { bridge, tcp, reads: true, writes: true, outgoing: Vec::new(), buffer }
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        while self.reads {
            let mut read = ReadBuf::new(&mut self.buffer);
            let Poll::Ready(result) = Pin::new(&mut self.tcp).poll_read(cx, &mut read) else { return };
            let mut pipe = self.bridge.pipe();
            match result {
                Ok(()) if !read.filled().is_empty() => pipe.feed(read.filled()),
                Ok(()) => self.reads = pipe.end(io::ErrorKind::UnexpectedEof),
                Err(error) => self.reads = pipe.end(error.kind()),
            }
            drop(pipe);
            self.bridge.mark();
        }
    }

    fn write(&mut self, cx: &mut Context<'_>) {
        self.bridge.pipe().take_output(&mut self.outgoing);
        while self.writes && !self.outgoing.is_empty() {
            match Pin::new(&mut self.tcp).poll_write(cx, &self.outgoing) {
                Poll::Ready(Ok(n)) => drop(self.outgoing.drain(..n)),
                Poll::Ready(Err(error)) => {
                    self.writes = self.bridge.pipe().end(error.kind());
                    self.bridge.mark();
                }
                Poll::Pending => return,
            }
        }
        self.outgoing.clear();
    }

    /// Carries until lapin's thread has ended and its last words are out.
    pub(super) async fn run(mut self) {
        let _end = EndWithCarrier(self.bridge.clone());
        std::future::poll_fn(|cx| {
            *self.bridge.carrier.lock().expect("held for a clone only") = Some(cx.waker().clone());
            self.read(cx);
            self.write(cx);
            let done = self.bridge.baton.holder() == Holder::Gone && self.outgoing.is_empty();
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        touch_network();
    }
}
