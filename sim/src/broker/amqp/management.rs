//! The management plugin's HTTP API, as far as a scaler asks it: `GET /api/queues/{vhost}/{queue}` as guest.
//!
//! It answers from samples that it takes every 5 s (`collect_statistics_interval`), not from the queues themselves. A
//! rate is the difference of the last two samples over the time between them
//! (`rabbit_mgmt_stats:rate_from_last_increment`). The samples of a count begin with the first one in which it is not
//! 0, so that the first rate is always 0, however much came. What is known of a queue without a sample is its name.
//!
//! RabbitMQ 3.10.8 was seen to do the same: no count for 4.1 s after a queue was declared; 19 messages published, at a
//! rate of 0.0; then 10.0, 10.2 and 9.8 while ten came a second, 0.0 in the second sample after the last one, and 6.0
//! after 30 more, over another connection. But there are two steps there: a queue tells its counts every 5 s, at its
//! own moment, and the plugin collects them every 5 s. So counts of messages are up to 10 s old; here, up to 5 s.

use super::{broker::Broker, state::State};
use backbone::env::{Env, Listener};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

/// `collect_statistics_interval`, and the plugin's own.
const SAMPLE_PERIOD: Duration = Duration::from_secs(5);
/// Most open connections: some scalers and a person. More wait in the listen backlog.
const CONNECTIONS_MAX: usize = 64;
/// How long a connection may be without a request: cowboy's `idle_timeout`.
const CONNECTION_LIMIT: Duration = Duration::from_secs(60);
/// Largest head of a request; hyper takes no smaller one.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// `guest:guest` in base64.
const LOGIN: &[u8] = b"Basic Z3Vlc3Q6Z3Vlc3Q=";

type Answer = Response<Full<Bytes>>;

/// What was counted of a queue at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    at_us: u64,
    ready: usize,
    unacknowledged: usize,
    consumers: usize,
    published: u64,
    delivered: u64,
}

/// The last sample of each queue, and the one before.
pub(super) type Samples = BTreeMap<Arc<str>, (Sample, Option<Sample>)>;

impl Broker {
    /// Serves the management plugin's API. Drop the future to stop; its samples go with it.
    pub async fn serve_management(&self, env: Env, mut listener: Listener) -> Infallible {
        self.start_clock(env.unix_time());
        let plugin = Arc::new(Plugin { broker: self.clone(), samples: Mutex::default() });
        let sampling = async {
            loop {
                sleep(SAMPLE_PERIOD).await;
                plugin.sample();
            }
        };
        let serving = async {
            let free = Arc::new(Semaphore::new(CONNECTIONS_MAX));
            loop {
                let permit = free.clone().acquire_owned().await.expect("never closed");
                let stream = listener.connection().await;
                let plugin = plugin.clone();
                env.spawn("management connection", async move {
                    let answer = service_fn(|request| {
                        let answer = plugin.answer(&request);
                        async { Ok::<_, Infallible>(answer) }
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).max_buf_size(HEAD_BYTES_MAX);
                    if let Ok(Err(error)) =
                        timeout(CONNECTION_LIMIT, http.serve_connection(TokioIo::new(stream), answer)).await
                    {
                        tracing::debug!(%error, "a connection to the management plugin ended");
                    }
                    drop(permit);
                });
            }
        };
        tokio::select! {
            biased;
            never = sampling => never,
            never = serving => never,
        }
    }
}

struct Plugin {
    broker: Broker,
    samples: Mutex<Samples>,
}

impl Plugin {
    fn samples(&self) -> MutexGuard<'_, Samples> {
        self.samples.lock().expect("no holder of this lock panics")
    }

    fn sample(&self) {
        let state = self.broker.state();
        sample(&mut self.samples(), &state);
    }

    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if request.headers().get(AUTHORIZATION).is_none_or(|login| login.as_bytes() != LOGIN) {
            let mut answer = failure(StatusCode::UNAUTHORIZED, "not_authorized", "Login failed");
            let realm = HeaderValue::from_static("Basic realm=\"RabbitMQ Management\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, realm);
            return answer;
        }
        if request.method() != Method::GET {
            return failure(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "only GET is emulated");
        }
        let queue = queue_of(request.uri().path()).filter(|queue| self.broker.queue_depth(queue).is_some());
        match queue {
            Some(queue) => json_answer(StatusCode::OK, &describe(&queue, self.samples().get(&*queue))),
            None => failure(StatusCode::NOT_FOUND, "Object Not Found", "Not Found"),
        }
    }
}

/// Takes a sample of each queue. What is gone is forgotten.
pub(super) fn sample(samples: &mut Samples, state: &State) {
    let before = std::mem::take(samples);
    for (name, id) in &state.names {
        let queue = &state.queues[id];
        let now = Sample {
            at_us: state.now_us,
            ready: queue.messages.ready_count(),
            unacknowledged: queue.messages.unacked_count(),
            consumers: queue.consumers.len(),
            published: queue.messages.published,
            delivered: queue.messages.delivered,
        };
        // A queue that came anew under its name has counted less.
        let last = before.get(name).map(|(last, _)| *last).filter(|last| last.published <= now.published);
        samples.insert(Arc::clone(name), (now, last));
    }
}

/// The queue that a path names in the root vhost; `None`: it names none.
pub(super) fn queue_of(path: &str) -> Option<String> {
    let (vhost, queue) = path.strip_prefix("/api/queues/")?.split_once('/')?;
    let decode = |text| percent_decode_str(text).decode_utf8().ok();
    (decode(vhost)? == "/" && !queue.contains('/')).then_some(decode(queue)?.into_owned())
}

/// The part of RabbitMQ's answer that is there.
pub(super) fn describe(queue: &str, samples: Option<&(Sample, Option<Sample>)>) -> Value {
    let mut answer = json!({ "name": queue, "vhost": "/", "type": "classic" });
    let Some((last, before)) = samples else { return answer };
    let rate = |count: fn(&Sample) -> u64| {
        before.filter(|before| count(before) > 0).map_or(0.0, |before| {
            count(last).saturating_sub(count(&before)) as f64 * 1e6 / (last.at_us - before.at_us) as f64
        })
    };
    answer["messages"] = json!(last.ready + last.unacknowledged);
    answer["messages_ready"] = json!(last.ready);
    answer["messages_unacknowledged"] = json!(last.unacknowledged);
    answer["consumers"] = json!(last.consumers);
    if last.published > 0 {
        answer["message_stats"]["publish"] = json!(last.published);
        answer["message_stats"]["publish_details"] = json!({ "rate": rate(|sample| sample.published) });
    }
    if last.delivered > 0 {
        answer["message_stats"]["deliver_get"] = json!(last.delivered);
        answer["message_stats"]["deliver_get_details"] = json!({ "rate": rate(|sample| sample.delivered) });
    }
    answer
}

fn failure(status: StatusCode, error: &str, reason: &str) -> Answer {
    json_answer(status, &json!({ "error": error, "reason": reason }))
}

fn json_answer(status: StatusCode, body: &Value) -> Answer {
    let mut answer = Response::new(Full::new(body.to_string().into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
