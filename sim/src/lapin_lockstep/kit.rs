//! The runtime that lapin gets: its internal tasks run on the simulation's, and where they wake lapin's IO loop the
//! connection becomes dirty. Everything that would reach a real socket or a real thread is refused.

use super::{bridge::Bridge, notice, stream::PipeStream};
use crate::{os, process::known_spawn};
use async_rs::{
    traits::{Executor, Reactor, RuntimeKit},
    util::{DummyIO, DummyStream, Task, TaskImpl, simple_block_on},
};
use std::{
    fmt,
    future::Future,
    io,
    marker::PhantomData,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

#[derive(Clone)]
pub(super) struct SimKit {
    tokio: tokio::runtime::Handle,
    bridge: Arc<Bridge>,
}

impl SimKit {
    pub(super) fn new(bridge: Arc<Bridge>) -> Self {
        Self { tokio: tokio::runtime::Handle::current(), bridge }
    }
}

impl fmt::Debug for SimKit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimKit")
    }
}

pub(super) struct SimTask<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Future for SimTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        Pin::new(&mut self.0).poll(cx).map(|result| result.expect("a panicking task ends the simulation"))
    }
}

impl<T: Send + 'static> TaskImpl for SimTask<T> {}

#[expect(clippy::disallowed_methods, reason = "lapin's own tasks; each marks its connection as Env::spawn would")]
impl Executor for SimKit {
    type Task<T: Send + 'static> = SimTask<T>;

    fn block_on<T, F: Future<Output = T>>(&self, future: F) -> T {
        simple_block_on(future)
    }

    fn spawn<T: Send + 'static, F: Future<Output = T> + Send + 'static>(&self, future: F) -> Task<SimTask<T>> {
        let (bridge, mut future) = (self.bridge.clone(), Box::pin(future));
        let marking = std::future::poll_fn(move |cx| {
            let polled = future.as_mut().poll(cx);
            os::assert_no_escape(|| bridge.task_of_lapin());
            if notice::take_called() {
                bridge.mark();
            }
            polled
        });
        SimTask(known_spawn(|| self.tokio.spawn(marking))).into()
    }

    fn spawn_blocking<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(&self, f: F) -> Task<SimTask<T>> {
        SimTask(known_spawn(|| self.tokio.spawn(async move { f() }))).into()
    }
}

impl Reactor for SimKit {
    type TcpStream = PipeStream;
    type Sleep = tokio::time::Sleep;

    fn register<H: io::Read + io::Write + Send + 'static>(
        &self,
        _handle: H,
    ) -> io::Result<impl futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static> {
        Err::<DummyIO, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, time: Duration) -> tokio::time::Sleep {
        tokio::time::sleep(time)
    }

    fn interval(&self, _period: Duration) -> impl futures_util::Stream<Item = Instant> + Send + 'static {
        DummyStream(PhantomData)
    }

    fn tcp_connect_addr(&self, _addr: SocketAddr) -> impl Future<Output = io::Result<PipeStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}

impl RuntimeKit for SimKit {}
