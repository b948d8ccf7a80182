//! What lapin's thread sees of a connection: a stream that never blocks, and the gate it stops at.

use super::{baton::Holder, bridge::Bridge, notice};
use crate::os::Identity;
use std::{
    cell::RefCell,
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};
use tracing::{Dispatch, dispatcher::DefaultGuard};

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
        let read = self.bridge.pipe().read(buf);
        self.at_gate |= !matches!(read, Some(Ok(1..)));
        if read.is_none() {
            cx.waker().wake_by_ref(); // go round to the gate instead of waiting in lapin's own way
        }
        read.map_or(Poll::Pending, Poll::Ready)
    }
}

impl futures_io::AsyncWrite for PipeStream {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.bridge.pipe().write(buf);
        self.at_gate |= written.is_err();
        Poll::Ready(written)
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
