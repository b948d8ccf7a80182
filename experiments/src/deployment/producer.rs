//! What a producer does beside dispatching: it takes in the results of its tasks.
//!
//! Its queue is durable, so that a producer that was away finds what came meanwhile, and bound to the exchange for
//! results before the first task is published.

use anyhow::Context as _;
use backbone::{
    config,
    env::Env,
    message::{Message as _, RESULTS_EXCHANGE, TaskResult},
};
use futures_util::StreamExt as _;
use lapin::{
    Connection, ConnectionProperties, Consumer, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The producer's queue.
pub(crate) const RESULTS_QUEUE: &str = "shelfwire.bench.results";
/// Results that RabbitMQ sends before it waits for acknowledgements.
const PREFETCH: u16 = 256;
/// Limit of connecting and of setting up the queue.
const OPEN_LIMIT: Duration = Duration::from_secs(10);
/// Limit of writing an acknowledgement: lapin never does, if the connection ends in that moment.
const ACK_LIMIT: Duration = Duration::from_secs(5);
/// Limit of closing a connection.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// Takes in results: gives each to `take` and acknowledges it.
pub(crate) struct Results {
    env: Env,
    config: config::Amqp,
    has_heartbeats: bool,
    open: Option<(Connection, Consumer)>,
}

impl Results {
    /// With heartbeats it notices that RabbitMQ went without a last word, and is on the wire now and then.
    pub(crate) fn new(env: &Env, config: &config::Amqp, has_heartbeats: bool) -> Self {
        Self { env: env.clone(), config: config.clone(), has_heartbeats, open: None }
    }

    /// Waits until its queue is there and bound.
    pub(crate) async fn open(&mut self) {
        while self.open.is_none() {
            match timeout(OPEN_LIMIT, self.connect()).await {
                Ok(Ok(connection)) => match timeout(OPEN_LIMIT, consume(&connection)).await {
                    Ok(Ok(consumer)) => self.open = Some((connection, consumer)),
                    Ok(Err(error)) => self.give_up(connection, &format!("{error:#}")),
                    Err(_) => self.give_up(connection, "no answer in time"),
                },
                Ok(Err(error)) => tracing::info!("no queue for results yet: {error:#}"),
                Err(_) => tracing::info!("no queue for results yet: no connection within {OPEN_LIMIT:?}"),
            }
            if self.open.is_none() {
                sleep(PAUSE).await;
            }
        }
    }

    /// Not just dropped: RabbitMQ may answer to a consume yet, and lapin keeps a connection that an answer is open on.
    /// What its consumer gets would be with nobody.
    fn give_up(&self, connection: Connection, reason: &str) {
        tracing::info!("no queue for results yet: {reason}");
        self.env.spawn("close results", async move { close(&connection).await });
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let mut uri = self.config.uri().map_err(|error| anyhow::anyhow!("{error}"))?;
        if self.has_heartbeats {
            uri.query.heartbeat = Some(self.config.heartbeat_s);
        }
        let tls = self.config.tls();
        let properties = ConnectionProperties::default();
        let connect = backbone::amqp::connect(&self.env, uri, tls.as_ref(), properties);
        connect.await.context("connecting to RabbitMQ")
    }

    /// What was sent over the connection and not acknowledged comes again over the next.
    fn lost(&mut self) {
        if let Some((connection, _)) = self.open.take() {
            self.give_up(connection, "the consumer has ended");
        }
    }

    /// Takes in results until `stop`.
    pub(crate) async fn run(mut self, stop: CancellationToken, take: impl Fn(Result<TaskResult, String>)) {
        let listen = async {
            loop {
                self.open().await;
                let Some((_, consumer)) = &mut self.open else { continue };
                match consumer.next().await {
                    Some(Ok(delivery)) => {
                        take(TaskResult::parse(&delivery.data).map_err(|error| error.to_string()));
                        // Not acknowledged, it comes again, which does no harm.
                        let acknowledged = timeout(ACK_LIMIT, delivery.ack(BasicAckOptions::default())).await;
                        if !matches!(acknowledged, Ok(Ok(_))) {
                            self.lost();
                        }
                    }
                    Some(Err(_)) | None => self.lost(),
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = listen => {}
        }
        if let Some((connection, _)) = self.open.take() {
            close(&connection).await;
        }
    }
}

/// Its queue, bound and consumed.
async fn consume(connection: &Connection) -> anyhow::Result<Consumer> {
    let channel = connection.create_channel().await.context("opening a channel")?;
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions { durable: true, ..Default::default() };
    let declared = channel.exchange_declare(RESULTS_EXCHANGE.into(), ExchangeKind::Topic, durable, none()).await;
    declared.with_context(|| format!("declaring the exchange `{RESULTS_EXCHANGE}`"))?;
    let declared = channel.queue_declare(RESULTS_QUEUE.into(), QueueDeclareOptions::durable(), none()).await;
    declared.with_context(|| format!("declaring `{RESULTS_QUEUE}`"))?;
    let options = QueueBindOptions::default();
    let bound = channel.queue_bind(RESULTS_QUEUE.into(), RESULTS_EXCHANGE.into(), "#".into(), options, none());
    bound.await.with_context(|| format!("binding `{RESULTS_QUEUE}`"))?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.context("setting the prefetch")?;
    let options = BasicConsumeOptions::default();
    let consumer = channel.basic_consume(RESULTS_QUEUE.into(), "".into(), options, none()).await;
    consumer.with_context(|| format!("consuming `{RESULTS_QUEUE}`"))
}

async fn close(connection: &Connection) {
    let _: Result<_, _> = timeout(CLOSE_LIMIT, connection.close(200, "OK".into())).await;
}
