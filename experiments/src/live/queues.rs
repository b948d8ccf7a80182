//! The queues of RabbitMQ before and after a run.

use crate::{
    deployment::RESULTS_QUEUE,
    measure::{Sample, invariants::BrokerState},
};
use anyhow::{Context, anyhow, bail};
use backbone::{
    config::{self, Config},
    env::Env,
    message::{
        Message as _, RESULTS_EXCHANGE, ROUTING_QUEUE, TASK_ID_HEADER, TASK_QUEUE, Task, dead_letter_queue, retry_queue,
    },
};
use lapin::{
    Connection, ConnectionProperties, ErrorKind,
    message::BasicGetMessage,
    options::{BasicAckOptions, BasicGetOptions, ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    protocol::{AMQPErrorKind, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use std::time::Duration;
use tokio::time::timeout;

/// AMQP's reply code for a close without a fault.
const REPLY_SUCCESS: u16 = 200;

/// A queue that exists as long as a run does: two runs at the same time would take each other's messages.
const MARK: &str = "shelfwire-bench";
/// Limit of connecting, looking into the queues, and deleting them.
const LIMIT: Duration = Duration::from_secs(20);

/// How long a look into the queues, or a new connection for it, may take while RabbitMQ may be broken.
const LOOK_LIMIT: Duration = Duration::from_secs(1);

/// A connection to RabbitMQ that looks into its queues.
pub(super) struct Queues {
    connection: Connection,
    retry_queue: String,
    /// Where to connect anew.
    config: config::Amqp,
    /// The connection is of no use any more.
    is_lost: bool,
}

/// The queues that the services declare and never delete.
fn names(config: &Config) -> [String; 5] {
    let retry_queue = retry_queue(Duration::from_millis(config.task_worker.retry_delay_ms));
    [TASK_QUEUE.into(), ROUTING_QUEUE.into(), retry_queue, dead_letter_queue(), RESULTS_QUEUE.into()]
}

/// Deletes the queues of a run, with whatever is in them. Nobody may use them any more.
///
/// # Errors
/// Which queues may be left, and why.
pub(super) async fn delete(config: &Config) -> anyhow::Result<()> {
    let queues = names(config);
    let delete = async {
        let connection = connect(&config.amqp).await?;
        let channel = connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        for queue in &queues {
            let deleted = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
            deleted.with_context(|| format!("deleting `{queue}`"))?;
        }
        // Not one that somebody has bound a queue to: then it is theirs, too.
        let options = ExchangeDeleteOptions { if_unused: true, ..Default::default() };
        match channel.exchange_delete(RESULTS_EXCHANGE.into(), options).await {
            Err(error) if !is(&error, &AMQPSoftError::PRECONDITIONFAILED) => {
                return Err(error).with_context(|| format!("deleting `{RESULTS_EXCHANGE}`"));
            }
            _ => {}
        }
        connection.close(REPLY_SUCCESS, "OK".into()).await.context("closing the connection to RabbitMQ")
    };
    let deleted = timeout(LIMIT, delete).await.unwrap_or_else(|_| Err(anyhow!("no answer within {LIMIT:?}")));
    deleted.with_context(|| format!("RabbitMQ may still have the run's queues ({})", queues.join(", ")))
}

async fn connect(config: &config::Amqp) -> anyhow::Result<Connection> {
    let uri = config.uri().map_err(anyhow::Error::msg)?;
    let connect =
        backbone::amqp::connect(&Env::tokio(), uri, config.tls().as_ref(), ConnectionProperties::default()).await;
    connect.context("connecting to RabbitMQ")
}

impl Queues {
    /// # Errors
    /// When RabbitMQ can't be reached, or one of the queues exists: it is somebody's, who would get this run's messages
    /// or lose his own.
    pub(super) async fn open(config: &Config) -> anyhow::Result<Self> {
        let open = async {
            let [_, _, retry_queue, ..] = names(config);
            let (connection, config_of_amqp) = (connect(&config.amqp).await?, config.amqp.clone());
            let queues = Self { connection, retry_queue, config: config_of_amqp, is_lost: false };
            queues.mark().await?;
            for queue in names(config) {
                let found = queues.depth(&queue).await?;
                if let Some(messages) = found {
                    bail!(
                        "RabbitMQ has a queue `{queue}` already, with {messages} messages. A run deletes its queues at \
                         the end, so it works only where there are none: delete `{queue}` if nobody needs it, or name \
                         another virtual host (rabbitmqctl add_vhost), as in --amqp \
                         amqp://USER:PASSWORD@HOST:PORT/VHOST"
                    );
                }
            }
            Ok(queues)
        };
        timeout(LIMIT, open).await.unwrap_or_else(|_| Err(anyhow!("RabbitMQ did not answer within {LIMIT:?}")))
    }

    /// What RabbitMQ shows at this moment, if it is there: it may have gone, or stand still.
    pub(super) async fn glance(&mut self, at_us: u64) -> Option<Sample> {
        self.dial().await.ok()?;
        let sample = timeout(LOOK_LIMIT, self.sample(at_us)).await;
        self.is_lost = !matches!(sample, Ok(Ok(_)));
        sample.ok()?.ok()
    }

    /// Connects anew, if the connection is lost.
    async fn dial(&mut self) -> anyhow::Result<()> {
        if self.is_lost || !self.connection.status().connected() {
            self.is_lost = true;
            let dialled = timeout(LOOK_LIMIT, connect(&self.config)).await;
            self.connection = dialled.unwrap_or_else(|_| Err(anyhow!("no answer within {LOOK_LIMIT:?}")))?;
            self.is_lost = false;
        }
        Ok(())
    }

    /// Whether no task waits for a worker or for its next try. What a worker has in hand RabbitMQ does not tell.
    pub(super) async fn is_drained(&mut self) -> bool {
        self.glance(0).await.is_some_and(|sample| sample.waiting + sample.retrying == 0)
    }

    /// Declares [`MARK`], which goes with this connection.
    async fn mark(&self) -> anyhow::Result<()> {
        let channel = self.connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        let exclusive = QueueDeclareOptions { exclusive: true, ..Default::default() };
        match channel.queue_declare(MARK.into(), exclusive, FieldTable::default()).await {
            Ok(_) => Ok(()),
            Err(error) if is(&error, &AMQPSoftError::RESOURCELOCKED) => {
                bail!("another run uses this virtual host of RabbitMQ: its queue `{MARK}` exists")
            }
            Err(error) => Err(error).with_context(|| format!("declaring `{MARK}` at RabbitMQ")),
        }
    }

    /// How many messages are ready in `queue`; `None` if there is no such queue.
    async fn depth(&self, queue: &str) -> anyhow::Result<Option<u32>> {
        let channel = self.connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        let passive = QueueDeclareOptions { passive: true, ..Default::default() };
        match channel.queue_declare(queue.into(), passive, FieldTable::default()).await {
            Ok(queue) => Ok(Some(queue.message_count())),
            Err(error) if is(&error, &AMQPSoftError::NOTFOUND) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("asking RabbitMQ for `{queue}`")),
        }
    }

    /// Takes all messages out of `queue`.
    async fn take_all(&self, queue: &str) -> anyhow::Result<Vec<BasicGetMessage>> {
        if self.depth(queue).await?.unwrap_or(0) == 0 {
            return Ok(Vec::new());
        }
        let channel = self.connection.create_channel().await.context("opening a channel to RabbitMQ")?;
        let mut messages = Vec::new();
        let taking = || format!("taking a message out of `{queue}`");
        while let Some(message) =
            channel.basic_get(queue.into(), BasicGetOptions::default()).await.with_context(taking)?
        {
            message.delivery.acker.ack(BasicAckOptions::default()).await.with_context(taking)?;
            messages.push(message);
        }
        Ok(messages)
    }

    /// Empties the queues and says which tasks were in them. All workers must have stopped: what they had in hand is in
    /// its queue again by then.
    ///
    /// # Errors
    /// When RabbitMQ does not answer.
    pub(super) async fn empty(&mut self) -> anyhow::Result<BrokerState> {
        self.dial().await.context("looking into RabbitMQ's queues")?;
        let mut state = BrokerState::default();
        for queue in [TASK_QUEUE, &self.retry_queue] {
            let messages = self.take_all(queue).await?;
            let tasks = messages.iter().filter_map(|message| Task::parse(&message.delivery.data).ok());
            state.queued.extend(tasks.map(|task| task.task_id.to_string()));
        }
        for message in self.take_all(&dead_letter_queue()).await? {
            let headers = message.delivery.properties.headers().as_ref();
            if let Some(AMQPValue::LongString(id)) = headers.and_then(|headers| headers.inner().get(TASK_ID_HEADER)) {
                state.dead.insert(id.to_string());
            }
        }
        Ok(state)
    }

    /// What RabbitMQ shows at this moment. Of what somebody has in hand it says nothing.
    ///
    /// # Errors
    /// When RabbitMQ does not answer.
    pub(super) async fn sample(&self, at_us: u64) -> anyhow::Result<Sample> {
        let depth = async |queue: &str| anyhow::Ok(u64::from(self.depth(queue).await?.unwrap_or(0)));
        Ok(Sample {
            at_us,
            waiting: depth(TASK_QUEUE).await?,
            retrying: depth(&self.retry_queue).await?,
            requests: depth(ROUTING_QUEUE).await?,
            dead_letters: depth(&dead_letter_queue()).await?,
            ..Sample::default()
        })
    }

    /// For the message of a run that does not end.
    pub(super) async fn open_ends(&mut self) -> String {
        if let Err(error) = self.dial().await {
            return format!("{error:#}");
        }
        let mut open = Vec::new();
        for queue in [TASK_QUEUE, ROUTING_QUEUE, &self.retry_queue] {
            match self.depth(queue).await {
                Ok(None | Some(0)) => {}
                Ok(Some(messages)) => open.push(format!("{messages} messages in queue {queue}")),
                Err(error) => open.push(format!("{error:#}")),
            }
        }
        if open.is_empty() { "no message waits in RabbitMQ".into() } else { open.join(", ") }
    }
}

fn is(error: &lapin::Error, wanted: &AMQPSoftError) -> bool {
    let ErrorKind::ProtocolError(error) = error.kind() else { return false };
    matches!(error.kind(), AMQPErrorKind::Soft(error) if error == wanted)
}
