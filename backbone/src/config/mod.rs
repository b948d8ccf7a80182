//! The one typed configuration of all services.
//!
//! Every section and every field has a default, so an empty file is a valid one: it describes brokers on localhost.
//! [`Config::load`] reads a TOML file and then the environment, in which `BACKBONE_AMQP__URL` sets `amqp.url`. A
//! configuration that is built in code is checked with [`Config::validate`].
//!
//! **Secrets** are passwords and the URLs that may hold one. They come from the configuration file, from the
//! environment, or from files of their own, and leave neither through an error nor when a configuration is printed or
//! serialized: there they are `***`.

mod check;
mod defaults;
mod load;
mod peers;
mod routers;
mod secret;
mod service_link;

pub use load::ConfigError;
pub(crate) use peers::TraceEndpoint;
pub use routers::RouterKind;
pub use secret::mask_url;

use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

/// A file with every field, its default and its meaning, for people to start from.
pub const EXAMPLE: &str = include_str!("../../config.example.toml");

/// All there is to configure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What a reply is matched to its caller by. All routers and workers of a deployment must agree. Default
    /// `request_id`.
    pub correlation: Correlation,
    /// How a worker reaches the labels.
    pub rpc: Rpc,
    /// Health and metrics of each service.
    pub admin: Admin,
    /// Traces of requests.
    pub tracing: Tracing,
    /// RabbitMQ.
    pub amqp: Amqp,
    /// The MQTT 5 broker.
    pub mqtt: Mqtt,
    /// Redis.
    pub redis: Redis,
    /// How a request finds its gateway.
    pub routing: Routing,
    /// Puts tasks into the task queue.
    pub dispatcher: Dispatcher,
    /// The task queue, which dispatchers and workers declare: all must agree.
    pub task_queue: TaskQueue,
    /// Takes tasks and calls labels.
    pub task_worker: TaskWorker,
    /// What producers learn of their tasks.
    pub results: Results,
    /// Carries requests from RabbitMQ to MQTT.
    pub fwd_router: FwdRouter,
    /// Carries replies from MQTT to RabbitMQ, and RSSI reports into the routing table.
    pub bck_router: BckRouter,
    /// Answers requests over HTTP.
    pub http_router: HttpRouter,
}

/// Health and metrics, for whoever runs the services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// Where to answer `/health/live`, `/health/ready` and `/metrics`, as `ADDRESS:PORT`. It tells about the system and
    /// asks for no password, so it belongs on an address that only its operators reach. Default empty: nowhere.
    pub listen: String,
}

/// Traces of requests, for a collector that speaks OpenTelemetry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tracing {
    /// Where spans are posted to (OTLP over HTTP, JSON), as `http://HOST:PORT/v1/traces`. Without TLS: a collector runs
    /// beside the services. Default empty: nowhere, and messages say nothing of traces.
    pub collector: String,
    /// How many of a million requests are traced, chosen by their ids. All services must have the same. Default 10,000.
    pub sample_ppm: u32,
}

/// How a worker reaches the labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rpc {
    /// Default `queue`.
    pub kind: RpcKind,
    /// With `http`: where the routers are, each as `HOST:PORT`. A worker takes one after the other, from a random one
    /// on. One address that stands for all of them, like that of a Kubernetes service, will do, too: then the spreading
    /// is its business. Default `["localhost:8080"]`.
    pub routers: Vec<String>,
    /// With `http`: how long a worker keeps a connection. Default `keep_alive`.
    pub connections: Connections,
}

/// What carries requests to the routers and replies back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RpcKind {
    /// Message queues, with forward and backward routers.
    #[default]
    Queue,
    /// HTTP, with HTTP routers: the thesis' baseline.
    Http,
}

/// How long a worker keeps a connection to a router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Connections {
    /// Over many requests: a worker ends up with one connection for each of its concurrent requests, and sticks to the
    /// routers that these lead to.
    #[default]
    KeepAlive,
    /// For one request: the next goes to the next router.
    PerRequest,
    /// For one request, all requests of a task to the same router, the next task's to the next one. So does Go's HTTP
    /// client with a service name that stands for several addresses: lookups at the same time share one answer
    /// (`net.Resolver`).
    PerTask,
}

/// RabbitMQ.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Amqp {
    /// `amqp://USER:PASSWORD@HOST:PORT/VHOST`, the vhost with `/` written as `%2f`; with TLS `amqps://…`. Default
    /// `amqp://guest:guest@localhost:5672/%2f`.
    #[serde(serialize_with = "secret::serialize_url")]
    pub url: String,
    /// Password to log in with instead of the URL's. Default empty: the URL's.
    #[serde(serialize_with = "secret::serialize_password")]
    pub password: String,
    /// File that holds the password; read once, at the start. Default empty: none.
    pub password_file: PathBuf,
    /// With `amqps`: file with the certificates, in PEM, of those who may sign the broker's. Default empty.
    pub ca_file: PathBuf,
    /// Interval of heartbeats, in seconds; after two silent ones a connection is taken for dead. 0 switches them off.
    /// The broker may ask for a shorter one. Default 20.
    pub heartbeat_s: u16,
}

/// The MQTT 5 broker.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Name or address of the broker. Default `localhost`.
    pub host: String,
    /// Its port. Default 1883.
    pub port: u16,
    /// Name to log in with; empty for none. Default empty.
    pub username: String,
    /// Password to log in with. Default empty.
    #[serde(serialize_with = "secret::serialize_password")]
    pub password: String,
    /// File that holds the password; read once, at the start. Default empty: none.
    pub password_file: PathBuf,
    /// File with the certificates, in PEM, of those who may sign the broker's. If it is set, the connection uses TLS.
    /// Default empty: no TLS.
    pub ca_file: PathBuf,
    /// With TLS, to log in with a certificate: file with this client's certificate and those of its signers, in PEM.
    /// Default empty: none.
    pub cert_file: PathBuf,
    /// File with its key, in PEM. Default empty: none.
    pub key_file: PathBuf,
    /// Longest silence before a ping, in seconds; a broker that misses the answer is taken for dead. 0 switches pings
    /// off. Default 30.
    pub keep_alive_s: u16,
    /// How long the broker keeps a session whose connection is lost, in seconds. Sessions are not resumed, so anything
    /// but 0 only keeps the replies in it from everybody for longer. With 0 the broker may give them to another
    /// backward router at once (MQTT 5, 4.8.2); one that does not, like Mosquitto, loses them, and the task's retry
    /// covers that. Default 0.
    pub session_expiry_s: u32,
    /// Most unacknowledged messages that the broker may send to a replica. What one backward router has not taken on,
    /// the others can have. Default 64.
    pub receive_maximum: u16,
    /// Most unacknowledged messages that a replica sends to the broker; the broker may ask for fewer. Default 64.
    pub in_flight_max: u16,
}

/// Redis.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `redis://USER:PASSWORD@HOST:PORT/DB`; with TLS `rediss://…`. Default `redis://localhost:6379/0`.
    #[serde(serialize_with = "secret::serialize_url")]
    pub url: String,
    /// More servers, each a URL as [`url`](Self::url): labels are divided among all of them by their addresses. All
    /// services must have the same ones in the same order. Where that changes, labels have no route until gateways have
    /// reported them again. Default empty.
    #[serde(serialize_with = "secret::serialize_urls")]
    pub shards: Vec<String>,
    /// Password to log in with instead of the URL's. Default empty: the URL's.
    #[serde(serialize_with = "secret::serialize_password")]
    pub password: String,
    /// File that holds the password; read once, at the start. Default empty: none.
    pub password_file: PathBuf,
    /// With `rediss`: file with the certificates, in PEM, of those who may sign the server's. Default empty.
    pub ca_file: PathBuf,
}

/// What a reply is matched to its caller by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Correlation {
    /// The request's id, which the gateway echoes: a reply goes to its own caller or to nobody.
    #[default]
    RequestId,
    /// The label's address alone, as in the thesis, for gateways that echo nothing else. Two concurrent calls for one
    /// label collide: the reply to the earlier one goes to the later one's caller, who takes it for its own, unless the
    /// gateway echoes the request's id after all; then the caller refuses it, and the earlier call times out.
    EslMac,
}

/// How a request finds its gateway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Routing {
    /// Default `rssi`.
    pub mode: RoutingMode,
    /// Whether a command that is older than the newest one that was accepted for its label is answered with
    /// `superseded` instead of sent. Redis remembers the newest version of each label for a day. Switch it off where
    /// versions mean nothing. Default true.
    pub newest_wins: bool,
    /// How long a route holds after its gateway last heard the label, in milliseconds. Default 6,000: three broadcasts
    /// of a label that broadcasts each 2 s.
    pub route_fresh_ms: u64,
    /// How routers know that a gateway is offline. Default `puback`.
    pub presence: Presence,
    /// Whether a request of a task's second try goes to the second-best gateway, that of its third to the best again,
    /// and so on. Workers then say in each request which try it is: update routers first. Default false: to the best.
    pub retry_elsewhere: bool,
    /// With this the strength of a gateway is the mean of its last four readings, each in a span of this length, in
    /// milliseconds; a reading's weight halves with each span that it is older. All routers must agree. At least the
    /// time between two reports. Default 0: the last reading counts alone.
    pub smoothing_ms: u64,
    /// With `rssi`: a label stays with the gateway of its last request until another is better by so many dB, for
    /// `hysteresis_ms`. Default 0: the best at the moment.
    pub hysteresis_db: u8,
    /// For how long another has to be better, in milliseconds, as seen by the label's requests. Default 0: at once.
    pub hysteresis_ms: u64,
}

/// How routers know that a gateway is offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// By the PUBACK of a request, if the broker says there that nobody is subscribed. Whoever else subscribes to the
    /// gateway's commands, as a monitor with the filter `#` does, makes it look online.
    #[default]
    Puback,
    /// Beside that by the gateway's own word on `/gw/{gateway}/status`, and by its will there. Routers subscribe to it.
    Status,
}

/// How a request finds its gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoutingMode {
    /// To the gateway that hears the label best.
    #[default]
    Rssi,
    /// To any gateway that has heard the label: the request's id decides. To compare with.
    Random,
    /// To the gateway that has heard the label last.
    LastHeard,
    /// All to the one gateway whose address is in the Redis key `shelfwire:route:default`, as in the thesis'
    /// measurements.
    Fixed,
}

/// Puts tasks into the task queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dispatcher {
    /// Most tasks that are published and not yet confirmed. Default 256.
    pub window: usize,
    /// Most tasks that may wait in the queue, those of other dispatchers included; with as many this one publishes no
    /// more until half of them have gone. A backlog lives on the heap of RabbitMQ's queue process, which collects
    /// garbage there: some 30,000 waiting tasks are 50 MB of it. Each dispatcher looks for itself, so several may
    /// exceed the limit, each once. 0: no limit. Default 2,000: more than a second's work of many workers.
    pub waiting_max: u32,
}

/// The task queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskQueue {
    /// Highest priority that it knows, up to 9; of tasks that wait, those with a higher one are taken first. A queue
    /// keeps this for life: to change it, let the queue run empty and delete it. Default 0: first come, first served.
    pub priority_max: u8,
}

/// What producers learn of their tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Results {
    /// Whether the outcome of each task is published before the task is acknowledged: to the queue that the task's
    /// `reply_to` names, else to the topic exchange `shelfwire.results`. Tasks then also carry when they were published
    /// and first tried. Default true.
    pub publish: bool,
}

/// Takes tasks and calls labels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskWorker {
    /// Tasks in work at a time. Default 1.
    pub prefetch: u16,
    /// Where replies arrive. Default `per_worker`.
    pub reply_queue: ReplyQueue,
    /// How long a try waits for its replies, in milliseconds: the deadline of its requests. At most 25 minutes, since
    /// RabbitMQ takes a delivery back that is not acknowledged within its `consumer_timeout`, 30 minutes unless its
    /// operator set less. Default 25,000.
    pub reply_timeout_ms: u64,
    /// Tries before a task goes to the dead-letter queue. Default 5.
    pub attempts_max: u32,
    /// How long a failed task waits for its next try, in milliseconds. Default 5,000.
    pub retry_delay_ms: u64,
}

/// Where replies arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyQueue {
    /// One exclusive queue for each worker's connection.
    #[default]
    PerWorker,
    /// A queue for each call, declared before and deleted after it, as in the thesis; about seven times as expensive.
    PerCall,
}

/// Carries requests from RabbitMQ to MQTT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FwdRouter {
    /// Requests in work at a time. Default 32.
    pub prefetch: u16,
    /// When a request counts as taken. Default `after_handover`.
    pub acknowledgement: Acknowledgement,
}

/// When a request counts as taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acknowledgement {
    /// Once the MQTT broker has it: a crash loses nothing.
    #[default]
    AfterHandover,
    /// As soon as RabbitMQ has sent it, as in the thesis: a crash loses what the router holds.
    Auto,
}

/// Carries replies from MQTT to RabbitMQ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BckRouter {
    /// Messages in work at a time; 1 is the thesis' one after the other. Default 32.
    pub in_flight_max: usize,
    /// The group of the shared subscriptions: all backward routers of a deployment have the same. Default `bck`.
    pub group: String,
}

/// Answers requests over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpRouter {
    /// Where to listen. Default `0.0.0.0:8080`.
    pub listen: SocketAddr,
    /// Requests in work at a time; more are refused. Default 256.
    pub in_flight_max: usize,
    /// How a reply finds the router that waits for it. Default `broadcast`.
    pub replies: Replies,
    /// How long a request waits for its reply once the MQTT broker has taken it over, in ms; 0: until its own deadline,
    /// which holds in any case. Default 0.
    pub reply_timeout_ms: u64,
    /// The group of the shared subscriptions: all HTTP routers of a deployment have the same. Default `http`.
    pub group: String,
}

/// How a reply finds the router that waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replies {
    /// Not at all: the broker gives it to any one router, as in the thesis. With more than one replica it is lost
    /// unless chance brings it to the right one.
    Shared,
    /// It goes to all routers, and those that don't wait for it drop it: each router takes in the replies of all.
    #[default]
    Broadcast,
    /// It goes to a topic of the router's own, which the request names (MQTT 5, 4.10). Needs gateways that honour a
    /// response topic.
    ResponseTopic,
}

#[cfg(test)]
mod tests;
