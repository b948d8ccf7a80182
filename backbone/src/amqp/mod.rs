//! RabbitMQ, through lapin: one connection a replica, with a confirming channel to publish on and a channel for each
//! consumer.
//!
//! lapin's own recovery stays off: after a lost connection the `Session` dials anew, redeclares its queues, and the
//! consumers come back by themselves (`Deliveries`). What was unacknowledged is delivered again by the broker, what was
//! unconfirmed is published again by whoever waits for the confirm.

mod connect;
mod consuming;
mod deliveries;
mod message;
mod missing;
mod publish;
mod queues;
mod reply_queue;
mod serve;
mod settling;

pub use connect::connect;
pub(crate) use deliveries::{Acknowledge, Deliveries};
pub(crate) use message::{Delivery, HeaderValue, Properties, QueueName};
pub(crate) use publish::PublishError;
pub(crate) use queues::{DurableQueue, Topology};
pub(crate) use reply_queue::{Ownership, REPLY_QUEUE_LIMIT, ReplyQueue, ReplyQueueError};
pub(crate) use serve::{Served, serve};
pub(crate) use settling::Settlement;

use crate::{
    answers::{Answers, QUIET, Question},
    config,
    env::Env,
    needs::Needs,
    reconnect::{DialError, Dialer, Line, Reconnect, Unavailable},
    telemetry::{Event, Telemetry},
    tls::Tls,
};
use lapin::{Channel, Connection, ConnectionProperties, options::ConfirmSelectOptions, uri::AMQPUri};
use missing::Repairs;
use publish::Returns;
use std::{sync::Arc, time::Duration};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// Largest frame. lapin allocates 64 times this for each connection, and RabbitMQ's default of 128 KB buys nothing for
/// messages of a few hundred bytes; longer ones travel in several frames.
const FRAME_BYTES_MAX: u32 = 8_192;
/// Limit of a clean close. After it the socket is simply dropped; the broker then requeues what was unacknowledged.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);
/// Limit of the wait for an answer to a question that only asks whether RabbitMQ is there: as long as for a confirm.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// AMQP's reply code for a close without a fault.
const REPLY_SUCCESS: u16 = 200;

/// A connection that is up, with the channel for publishing.
#[derive(Clone)]
pub(crate) struct OpenConnection {
    connection: Arc<Connection>,
    /// For publishing and for queues that live as long as the connection.
    channel: Channel,
    returns: Arc<Returns>,
    answers: Arc<Answers>,
    /// It does not answer; what still waits for something over it waits in vain.
    given_up: CancellationToken,
}

/// One replica's AMQP connection. Clones share it.
#[derive(Clone)]
pub(crate) struct Session {
    env: Env,
    reconnect: Reconnect<AmqpDialer>,
    telemetry: Arc<dyn Telemetry>,
    /// What is declared on each connection, and again when it is found missing.
    topology: Arc<Topology>,
    repairs: Arc<Repairs>,
    needs: Arc<Needs>,
}

struct AmqpDialer {
    env: Env,
    uri: AMQPUri,
    tls: Option<Tls>,
    service: &'static str,
    topology: Arc<Topology>,
    needs: Arc<Needs>,
}

impl Session {
    /// A session for `service` that makes sure that `topology` exists before anything is published. Connects at first
    /// use.
    pub(crate) fn new(
        env: &Env,
        config: &config::Amqp,
        service: &'static str,
        topology: impl Into<Topology>,
        telemetry: Arc<dyn Telemetry>,
    ) -> Self {
        let mut uri = config.uri().expect("the configuration was validated");
        uri.query.frame_max = Some(FRAME_BYTES_MAX);
        uri.query.heartbeat = Some(config.heartbeat_s);
        let (topology, needs, repairs) = (Arc::new(topology.into()), Arc::<Needs>::default(), Arc::default());
        let (env, tls) = (env.clone(), config.tls());
        let dialer =
            AmqpDialer { env: env.clone(), uri, tls, service, topology: Arc::clone(&topology), needs: needs.clone() };
        let reconnect = Reconnect::new(env.clone(), telemetry.clone(), dialer);
        Self { env, reconnect, telemetry, topology, repairs, needs }
    }

    /// What the service does over this connection, for readiness.
    pub(crate) fn needs(&self) -> &Needs {
        &self.needs
    }

    /// Reports that RabbitMQ refused something.
    fn refused(&self, error: &lapin::Error, detail: &str) {
        if let Some(reason) = missing::refusal(error) {
            self.telemetry.record(&Event::Refused { broker: AmqpDialer::BROKER, reason, detail });
        }
    }

    /// The connection, as soon as there is one before `deadline`.
    async fn line(&self, deadline: Instant) -> Result<Line<OpenConnection>, Unavailable> {
        self.reconnect.get(deadline).await
    }

    /// How many messages wait in `queue`, which is declared if it does not exist. A connection and the answer are
    /// waited for until `deadline`.
    ///
    /// # Errors
    /// When there was no connection or no answer, or RabbitMQ refuses the queue.
    pub(crate) async fn waiting(&self, queue: &DurableQueue, deadline: Instant) -> Result<u32, DialError> {
        let line = self.line(deadline).await?;
        match timeout_at(deadline, queue.declare(&line.connection.channel)).await {
            Ok(waiting) => Ok(waiting?),
            Err(silent) => {
                self.give_up(line, "no answer to a declare in time");
                Err(silent.into())
            }
        }
    }

    /// Gives up a connection that does not answer, so that its consumers end and the next use dials anew.
    fn give_up(&self, line: Line<OpenConnection>, reason: &str) {
        if self.reconnect.broken(&line, reason) {
            self.env.spawn("amqp close", async move { line.connection.give_up().await });
        }
    }

    /// Closes the connection, if there is one.
    pub(crate) async fn close(&self) {
        if let Some(line) = self.reconnect.current() {
            line.connection.close().await;
        }
    }
}

impl OpenConnection {
    /// Closes a connection that does not answer.
    async fn give_up(&self) {
        // lapin ends consumers when the broker has confirmed the close, or the connection fails. One that is silent
        // does neither, and closing switches heartbeats off.
        self.given_up.cancel();
        self.close().await;
    }

    async fn close(&self) {
        // A connection that is broken already, or does not answer, needs no closing.
        let _ = timeout(CLOSE_LIMIT, self.connection.close(REPLY_SUCCESS, "OK".into())).await;
    }
}

impl Dialer for AmqpDialer {
    type Connection = OpenConnection;
    const BROKER: &'static str = "amqp";

    async fn dial(&self) -> Result<OpenConnection, DialError> {
        let properties =
            ConnectionProperties::default().with_connection_name(format!("backbone {}", self.service).into());
        let connection = connect(&self.env, self.uri.clone(), self.tls.as_ref(), properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        self.topology.declare(&channel).await?;
        self.needs.met(missing::NEED);
        let (connection, answers) = (Arc::new(connection), Arc::new(Answers::new(QUIET)));
        let given_up = CancellationToken::new();
        Ok(OpenConnection { connection, channel, returns: Arc::default(), answers, given_up })
    }

    fn is_up(link: &OpenConnection) -> bool {
        let is_open = link.connection.status().connected() && link.channel.status().connected();
        is_open && !link.given_up.is_cancelled()
    }

    fn stall(&self, link: &OpenConnection) -> Option<String> {
        if link.connection.status().blocked() {
            return Some("publishing is blocked: RabbitMQ lacks memory or disk space".to_owned());
        }
        let lacking = self.needs.reason();
        if lacking.is_some() {
            return lacking; // whoever sees to that hears whether RabbitMQ answers
        }
        if let Some(question) = link.answers.question(false) {
            self.ask_in_background(link, question);
        }
        link.answers.overdue("RabbitMQ")
    }
}

impl AmqpDialer {
    /// Has RabbitMQ asked whether it is there, and gives the connection up if not.
    fn ask_in_background(&self, link: &OpenConnection, question: Question) {
        let link = link.clone();
        self.env.spawn("amqp question", async move {
            // Changes nothing on a channel that has it already, and is answered.
            let answer = link.channel.confirm_select(ConfirmSelectOptions::default());
            let is_there = link.answers.wait(question, ANSWER_LIMIT, answer).await;
            // One that lacks memory reads nothing, and says so.
            if !is_there && !link.connection.status().blocked() {
                link.give_up().await;
            }
        });
    }
}
