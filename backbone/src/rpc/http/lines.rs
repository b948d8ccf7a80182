//! Connections to the HTTP routers: which router is next, and which connections are at hand.

use crate::{
    config::{self, Connections},
    env::{DIAL_LIMIT, Env, TaskGuard},
    needs::Needs,
    trace::{TRACEPARENT, TraceParent},
};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode,
    client::conn::http1::{Builder, SendRequest},
    header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long a connection is kept without work. Shorter than a router's patience with one, so that the two don't cross.
const IDLE_LIMIT: Duration = Duration::from_secs(20);
/// Largest head of a response: ours have 150 bytes.
const HEAD_BYTES_MAX: usize = 8 * 1024;

/// What is lacking while no router can be reached.
const NEED: &str = "router";

/// Where requests are posted to.
pub(crate) const ROUTE_PATH: &str = "/route";

/// The routers and the connections to them.
pub(super) struct Lines {
    env: Env,
    routers: Vec<Router>,
    connections: Connections,
    /// Counts turns; the next one is that of the router at this place, modulo their number.
    next: AtomicUsize,
    idle: Mutex<Vec<(Line, Instant)>>,
    needs: Needs,
    /// Whether a dial is under way that only wants to know.
    probing: AtomicBool,
}

struct Router {
    host: String,
    port: u16,
    /// `HOST:PORT`.
    authority: HeaderValue,
}

/// A place in the rotation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn(usize);

/// A connection to a router, used for one request at a time.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    authority: HeaderValue,
    /// Has carried a request before.
    pub(super) used: bool,
    _driver: TaskGuard,
}

/// What a router answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Why an exchange failed: the connection, or an answer over the size limit.
pub(super) type ExchangeError = Box<dyn std::error::Error + Send + Sync>;

impl Lines {
    /// Starts the rotation at a random router, so that workers which start together don't all dial the same one.
    pub(super) fn new(env: &Env, config: &config::Rpc) -> Self {
        let router = |(host, port): (String, u16)| {
            let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
            let authority = authority.try_into().expect("validated to be of visible characters");
            Router { host, port, authority }
        };
        let addresses = config.addresses().expect("the configuration was validated");
        let routers: Vec<_> = addresses.into_iter().map(router).collect();
        let mut start = [0; 4];
        env.random(&mut start);
        let start = u32::from_be_bytes(start) as usize % routers.len();
        let (env, connections) = (env.clone(), config.connections);
        let (next, idle, needs) = (AtomicUsize::new(start), Mutex::default(), Needs::default());
        Self { env, routers, connections, next, idle, needs, probing: AtomicBool::new(false) }
    }

    /// Takes note that no router could be reached.
    pub(super) fn none_answers(&self, last_failure: &str) {
        self.needs.lack(NEED, last_failure.to_owned());
    }

    /// Why no router could be reached, unless one has been since. Asking dials one.
    pub(super) fn unreachable(self: &Arc<Self>) -> Option<String> {
        let reason = self.needs.reason()?;
        if !self.probing.swap(true, Relaxed) {
            let lines = self.clone();
            self.env.spawn("router probe", async move {
                // The outcome is taken note of where all dials are.
                drop(lines.dial(lines.turn()).await);
                lines.probing.store(false, Relaxed);
            });
        }
        Some(reason)
    }

    /// How many routers there are.
    pub(super) fn routers(&self) -> usize {
        self.routers.len()
    }

    /// The connection that was used last, if one is at hand.
    pub(super) fn take_idle(&self) -> Option<Line> {
        let mut idle = self.idle();
        let fresh = |(line, since): &(Line, Instant)| since.elapsed() < IDLE_LIMIT && !line.sender.is_closed();
        idle.retain(fresh);
        idle.pop().map(|(line, _)| line)
    }

    /// Whose turn it is; the next call gets the next one.
    pub(super) fn turn(&self) -> Turn {
        Turn(self.next.fetch_add(1, Relaxed) % self.routers.len())
    }

    /// The same for all requests of a task, if these are to go to one router.
    pub(super) fn turn_of_task(&self) -> Option<Turn> {
        (self.connections == Connections::PerTask).then(|| self.turn())
    }

    /// Connects to the router whose turn it is.
    ///
    /// # Errors
    /// Which router could not be reached, and why.
    pub(super) async fn dial(&self, turn: Turn) -> Result<Line, String> {
        let router = &self.routers[turn.0];
        let Router { host, port, authority } = router;
        let connected = async {
            let stream = self.env.connect(host, *port).await?;
            let handshake = Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream));
            handshake.await.map_err(io::Error::other)
        };
        let (sender, connection) = match timeout(DIAL_LIMIT, connected).await {
            Ok(connected) => connected.map_err(|error| format!("{host}:{port}: {error}"))?,
            Err(_) => return Err(format!("{host}:{port}: no answer to the dial within {DIAL_LIMIT:?}")),
        };
        self.needs.met(NEED);
        let driver = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to a router was lost");
            }
        };
        let driver = self.env.spawn("http connection", driver).into();
        Ok(Line { sender, authority: authority.clone(), used: false, _driver: driver })
    }

    /// Posts a request, whose span the router's shall be a child of, and reads the answer, at most `bytes_max` of it.
    ///
    /// # Errors
    /// [`ExchangeError`]. The router may have the request all the same.
    pub(super) async fn post(
        &self,
        line: &mut Line,
        body: Bytes,
        traceparent: Option<TraceParent>,
        bytes_max: usize,
    ) -> Result<Answer, ExchangeError> {
        line.sender.ready().await?;
        let mut request = Request::post(ROUTE_PATH)
            .header(HOST, line.authority.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.connections != Connections::KeepAlive {
            request = request.header(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(parent) = traceparent {
            request = request.header(TRACEPARENT, parent.to_string());
        }
        let response = line.sender.send_request(request.body(Full::new(body))?).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), bytes_max).collect().await?.to_bytes();
        Ok(Answer { status, body })
    }

    /// Keeps a connection on which all went well, if connections are kept at all. There are never more of them than
    /// calls at a time, since a call first looks here.
    pub(super) fn give_back(&self, mut line: Line) {
        if self.connections == Connections::KeepAlive {
            line.used = true;
            self.idle().push((line, Instant::now()));
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(Line, Instant)>> {
        self.idle.lock().expect("no holder of this lock panics")
    }
}
