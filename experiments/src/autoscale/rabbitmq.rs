//! KEDA's RabbitMQ scaler as a client: a passive `queue.declare` over a connection that it keeps, or a GET of the
//! management plugin's API.
//!
//! Source: `pkg/scalers/rabbitmq_scaler.go` (`getQueueStatus`, `getQueueInfoViaHTTP`). A scaler that met an error is
//! built anew for the next question, with a new connection. Over HTTP each question has a connection of its own here;
//! Go's client would keep one.

use super::keda::{QueueStatus, Reading, reading};
use crate::spec::{Protocol, Trigger};
use anyhow::{Context as _, anyhow, ensure};
use backbone::{config, env::Env};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    Request, StatusCode,
    body::Bytes,
    client::conn::http1::handshake,
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use lapin::{Channel, Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::{convert::Infallible, future::pending, time::Duration};
use tokio::time::timeout;

/// The management plugin's.
pub(crate) const MANAGEMENT_PORT: u16 = 15_672;
/// `guest:guest` in base64: who logs in is nothing that decides how many replicas there are.
const LOGIN: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";
/// Limit of a question over HTTP (`KEDA_HTTP_DEFAULT_TIMEOUT`).
const HTTP_LIMIT: Duration = Duration::from_secs(3);
/// Limit of a question over AMQP, dialling included: as amqp091-go's for a dial.
const AMQP_LIMIT: Duration = Duration::from_secs(30);
/// Largest answer over HTTP: a real one has some 3 KB.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// As Go's `url.QueryEscape`, but for the space.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What answers for one trigger.
pub(super) struct Rabbitmq {
    env: Env,
    amqp: config::Amqp,
    trigger: Trigger,
    /// For `amqp` alone.
    open: Option<(Connection, Channel)>,
}

/// The part of the management plugin's answer that counts. What it leaves out is 0, as in Go.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct QueueInfo {
    messages: u64,
    messages_ready: u64,
    message_stats: MessageStats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MessageStats {
    publish_details: Details,
    deliver_get_details: Details,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Details {
    rate: f64,
}

impl Rabbitmq {
    pub(super) fn new(env: &Env, amqp: &config::Amqp, trigger: Trigger) -> Self {
        Self { env: env.clone(), amqp: amqp.clone(), trigger, open: None }
    }

    /// What the trigger says now; `None`: RabbitMQ did not answer, or there is no such queue.
    pub(super) async fn reading(&mut self) -> Option<Reading> {
        let status = match self.trigger.protocol {
            Protocol::Amqp => match timeout(AMQP_LIMIT, self.declare()).await {
                Ok(status) => status,
                Err(_) => Err(anyhow!("nothing came back within {AMQP_LIMIT:?}")),
            },
            Protocol::Http => match timeout(HTTP_LIMIT, self.get()).await {
                Ok(status) => status,
                Err(_) => Err(anyhow!("nothing came back within {HTTP_LIMIT:?}")),
            },
        };
        match status {
            Ok(status) => Some(reading(&self.trigger, status)),
            Err(error) => {
                tracing::info!("asking RabbitMQ for `{}`: {error:#}", self.trigger.queue);
                self.open = None;
                None
            }
        }
    }

    async fn declare(&mut self) -> anyhow::Result<QueueStatus> {
        let (connection, channel) = match self.open.take() {
            Some(open) => open,
            None => self.connect().await?,
        };
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = channel.queue_declare(self.trigger.queue.as_str().into(), passive, FieldTable::default()).await;
        let messages = declared.context("a passive queue.declare")?.message_count().into();
        self.open = Some((connection, channel));
        Ok(QueueStatus { messages, ..QueueStatus::default() })
    }

    async fn connect(&self) -> anyhow::Result<(Connection, Channel)> {
        let uri = self.amqp.uri().map_err(|error| anyhow!("{error}"))?;
        let properties = ConnectionProperties::default();
        let tls = self.amqp.tls();
        let connect = backbone::amqp::connect(&self.env, uri, tls.as_ref(), properties);
        let connection = connect.await.context("connecting")?;
        let channel = connection.create_channel().await.context("opening a channel")?;
        Ok((connection, channel))
    }

    async fn get(&self) -> anyhow::Result<QueueStatus> {
        let uri = self.amqp.uri().map_err(|error| anyhow!("{error}"))?;
        let host = uri.authority.host;
        let stream = self.env.connect(&host, MANAGEMENT_PORT).await.context("connecting to the management plugin")?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
        // With the slash before it, the root vhost is `/%2F`.
        let path = format!("/api/queues/%2F/{}", utf8_percent_encode(&self.trigger.queue, ESCAPED));
        let request = Request::get(&path)
            .header(HOST, format!("{host}:{MANAGEMENT_PORT}"))
            .header(AUTHORIZATION, LOGIN)
            .body(Empty::<Bytes>::new())
            .context("making the request")?;
        let answer = async {
            let response = sender.send_request(request).await.with_context(|| format!("GET {path}"))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| anyhow!("reading the answer to GET {path}: {error}"))?.to_bytes();
            ensure!(status == StatusCode::OK, "GET {path}: {status}, {}", String::from_utf8_lossy(&body));
            serde_json::from_slice::<QueueInfo>(&body).with_context(|| format!("parsing the answer to GET {path}"))
        };
        // Its end is the request's, too, unless that has all it needs.
        let carry = async {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the management plugin ended");
            }
            pending::<Infallible>().await
        };
        let info = tokio::select! {
            biased;
            info = answer => info?,
            never = carry => match never {},
        };
        let excludes = self.trigger.exclude_unacknowledged;
        Ok(QueueStatus {
            messages: if excludes { info.messages_ready } else { info.messages },
            publish_rate: info.message_stats.publish_details.rate,
            deliver_get_rate: info.message_stats.deliver_get_details.rate,
        })
    }
}
