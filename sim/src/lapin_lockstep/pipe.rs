//! What lapin's thread sees of a connection: a stream that never blocks, and the gate it stops at.

use super::{baton::Holder, bridge::Bridge, notice};
use crate::os::Identity;
use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Read as _},
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};
use tracing::{Dispatch, dispatcher::DefaultGuard};

/// Most bytes that wait for lapin. A turn ends when lapin has read them all, and between two turns there comes no more than
/// the socket's receive buffer holds; this is many times that, so more means that turns no longer do what they should.
const INBOUND_BYTES_MAX: usize = 4 << 20;

/// Bytes on their way between lapin and the simulated socket. What lapin writes has no limit here: without the pipe it would
/// wait in lapin's own queue, which has none either.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
    /// The socket has ended, and how.
    end: Option<io::ErrorKind>,
    /// Bytes that lapin has read and written so far.
    pub(super) moved: u64,
}

impl Pipe {
    /// Adds what has arrived.
    ///
    /// # Panics
    /// If lapin has left unread what came before.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.inbound.extend(bytes);
        let unread = self.inbound.len();
        assert!(unread <= INBOUND_BYTES_MAX, "lapin has left {unread} bytes unread over several turns");
    }

    /// Notes how the socket ended. Returns false: there is nothing more to do in this direction.
    pub(super) fn end(&mut self, how: io::ErrorKind) -> bool {
        self.end = Some(how);
        false
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbound.is_empty()
    }

    pub(super) fn take_output(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.outbound);
    }
}

/// lapin's end of the pipe.
pub(super) struct PipeStream {
    bridge: Arc<Bridge>,
    /// The next flush is the first of a new turn of lapin's loop.
    at_gate: bool,
}

/// Tells the simulation that lapin's thread has ended, whatever way it did.
struct ReportEnd {
    bridge: Arc<Bridge>,
    _listens: DefaultGuard,
}

impl Drop for ReportEnd {
    fn drop(&mut self) {
        self.bridge.baton.pass_to(Holder::Gone);
    }
}

thread_local! {
    static AT_THREAD_END: RefCell<Option<ReportEnd>> = const { RefCell::new(None) };
}

impl PipeStream {
    /// Called on lapin's thread: makes it one of the simulation's.
    pub(super) fn attach(bridge: &Arc<Bridge>, identity: Identity, listener: &Dispatch) -> Self {
        identity.join();
        let listens = tracing::dispatcher::set_default(listener);
        AT_THREAD_END.set(Some(ReportEnd { bridge: bridge.clone(), _listens: listens }));
        Self { bridge: bridge.clone(), at_gate: true }
    }

    /// Stands still until the simulation grants a turn.
    fn pass_gate(&self) {
        self.bridge.wants_turn.store(notice::take_called(), Ordering::Release);
        self.bridge.baton.pass_to(Holder::Simulation);
        self.bridge.baton.wait_for_turn();
        if self.bridge.ends.load(Ordering::Acquire) {
            std::panic::resume_unwind(Box::new("the pod of this connection has stopped"));
        }
    }
}

impl futures_io::AsyncRead for PipeStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let bridge = self.bridge.clone();
        let mut pipe = bridge.pipe();
        if !pipe.inbound.is_empty() {
            let n = pipe.inbound.read(buf)?;
            pipe.moved += n as u64;
            return Poll::Ready(Ok(n));
        }
        self.at_gate = true;
        let Some(end) = pipe.end else {
            cx.waker().wake_by_ref(); // go round to the gate instead of waiting in lapin's own way
            return Poll::Pending;
        };
        pipe.moved += 1;
        if end == io::ErrorKind::UnexpectedEof { Poll::Ready(Ok(0)) } else { Poll::Ready(Err(end.into())) }
    }
}

impl futures_io::AsyncWrite for PipeStream {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let bridge = self.bridge.clone();
        let mut pipe = bridge.pipe();
        if let Some(end) = pipe.end.filter(|end| *end != io::ErrorKind::UnexpectedEof) {
            self.at_gate = true;
            return Poll::Ready(Err(end.into()));
        }
        pipe.outbound.extend_from_slice(buf);
        pipe.moved += buf.len() as u64;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.at_gate) {
            self.pass_gate();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lapin has left 4194305 bytes unread")]
    fn bytes_that_lapin_does_not_read_are_not_gathered_without_end() {
        let mut pipe = Pipe::default();
        pipe.feed(&[0; INBOUND_BYTES_MAX]);
        pipe.feed(&[0]);
    }
}
