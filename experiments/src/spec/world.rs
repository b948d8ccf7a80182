//! The world around the services: gateways and labels, the network, the brokers' settings.

use super::{Pod, radio::Radio};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Gateways and the labels behind them.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Fleet {
    /// Gateways in all stores together. Default: 2, as in the thesis.
    pub gateways: u32,
    /// Stores; gateways and labels are spread evenly over them, and a label is heard only in its own. Default: 1.
    pub stores: u32,
    /// Labels in all stores together. Default: 100.
    pub esls: u32,
    /// All gateways answer to one address, as members of one `$share` group, as the thesis' emulators do. Default:
    /// false.
    pub shared_mac: bool,
    /// Replies carry the request's id; some vendors' gateways echo nothing but the label's address. Default: true.
    pub echoes_request_id: bool,
    /// Gateways say that they are online on their status topics, and have wills there that they are not; see
    /// `backbone.routing.presence`. Default: false.
    pub tells_status: bool,
    /// Default: `serial`.
    pub mode: GatewayMode,
    /// Default: `acknowledge_first`.
    pub order: Order,
    /// How many gateways of its store hear a label; fewer if there are fewer. Default: 3.
    pub gateways_in_range: u32,
    /// Every label broadcasts, and every gateway reports what it heard, once in this time, in ms; 0: never. Default:
    /// 2,000.
    pub rssi_period_ms: u32,
    /// Gateways report only readings that have changed by so much, beside heartbeats; 0: all readings of each period.
    /// Default: 0.
    pub rssi_change_db: u8,
    /// With `rssi_change_db`: a label of which nothing was reported for so long is reported. It has to be shorter than
    /// `backbone.routing.route_fresh_ms`. Default: 0.
    pub rssi_heartbeat_ms: u32,
    /// Default: `per_gateway`.
    pub hosts: Hosts,
    /// Default: `packets`.
    pub writes: GatewayWrites,
    /// What a command takes of the gateway's processor.
    pub handling: Handling,
    /// What a command takes between gateway and label.
    pub ble_service_ms: BleService,
    /// Left out: signal strength decides nothing, and every command reaches its label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub radio: Option<Radio>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            gateways: 2,
            stores: 1,
            esls: 100,
            shared_mac: false,
            echoes_request_id: true,
            tells_status: false,
            mode: GatewayMode::Serial,
            order: Order::AcknowledgeFirst,
            gateways_in_range: 3,
            rssi_period_ms: 2_000,
            rssi_change_db: 0,
            rssi_heartbeat_ms: 0,
            hosts: Hosts::PerGateway,
            writes: GatewayWrites::Packets,
            handling: Handling::default(),
            ble_service_ms: BleService::default(),
            radio: None,
        }
    }
}

impl Fleet {
    /// How many gateways each store has.
    #[must_use]
    pub fn gateways_per_store(&self) -> u32 {
        self.gateways / self.stores
    }

    /// The pod on which gateway `index` runs.
    #[must_use]
    pub fn pod_of_gateway(&self, index: u32) -> Pod {
        match self.hosts {
            Hosts::PerGateway => Pod::Gateway(index),
            Hosts::PerStore => Pod::Store(index / self.gateways_per_store()),
        }
    }

    /// The gateways that run on `pod`, by index.
    #[must_use]
    pub fn gateways_on(&self, pod: Pod) -> Range<u32> {
        match pod {
            Pod::Gateway(index) => index..index + 1,
            Pod::Store(store) => store * self.gateways_per_store()..(store + 1) * self.gateways_per_store(),
            _ => 0..0,
        }
    }

    /// All pods with gateways.
    pub fn pods(&self) -> impl Iterator<Item = Pod> + use<> {
        let (pod, count): (fn(u32) -> Pod, u32) = match self.hosts {
            Hosts::PerGateway => (Pod::Gateway, self.gateways),
            Hosts::PerStore => (Pod::Store, self.stores),
        };
        (0..count).map(pod)
    }
}

/// How many messages a gateway works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayMode {
    /// One at a time; the next is read when the broker has taken over the reply to this one.
    Serial,
    /// All that arrive.
    Concurrent,
}

/// What a gateway does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Acknowledge the command, then execute it and reply.
    AcknowledgeFirst,
    /// Execute and reply, wait until the broker has the reply, then acknowledge: a crash in between loses nothing.
    ReplyFirst,
}

/// How a gateway's MQTT library writes to its socket, and so what a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayWrites {
    /// All packets that are ready at once.
    Packets,
    /// Each field of each packet by itself, as paho.golang does.
    Fields,
}

/// Which gateways share a network host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hosts {
    /// Each gateway is a host of its own.
    PerGateway,
    /// The gateways of a store share one host, as behind one router: cheaper to simulate.
    PerStore,
}

/// CPU time of a gateway for each command: reading it, a line of log, the reply. Log-normal, and in live runs as busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Handling {
    /// Half of all commands take less; 0: it takes no time; in us. Default: 0.
    pub median_us: u32,
    /// Sigma of the logarithm of that time, in percent. Default: 0.
    pub spread_percent: u32,
}

/// Time between gateway and label, drawn evenly from `median - spread ..= median + spread`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BleService {
    /// The middle of what is drawn, in ms. Default: 0, as in the thesis' emulators.
    pub median: u32,
    /// How far from the middle at most, in ms; no more than `median`. Default: 0.
    pub spread: u32,
}

/// What lies between the hosts.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Delivery times are rounded up to a multiple of this, so that one idle moment serves many packets; 0: exact, and
    /// a little slower; in us. Default: 50.
    pub quantum_us: u32,
    /// Of a million segments, how many are lost (and come back by retransmission). Default: 0.
    pub loss_ppm: u32,
    /// What kind of link lies between every two classes that talk to each other.
    pub links: Links,
}

impl Default for Network {
    fn default() -> Self {
        Self { quantum_us: 50, loss_ppm: 0, links: Links::default() }
    }
}

/// The link between every two classes that talk to each other. Default for each: `lan`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Between services and RabbitMQ.
    pub service_amqp: LinkClass,
    /// Between services and Redis.
    pub service_redis: LinkClass,
    /// Between routers and the MQTT broker.
    pub service_mqtt: LinkClass,
    /// Between gateways and the MQTT broker.
    pub gateway_mqtt: LinkClass,
    /// Between task workers and HTTP routers.
    pub service_service: LinkClass,
}

/// A kind of link: latency each way, and the largest segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkClass {
    /// Within a host: no latency, segments of up to 65,483 bytes.
    Loopback,
    /// Between two containers of a host: 20 to 60 us.
    ContainerBridge,
    /// Between two hosts on one switch: 100 to 200 us.
    #[default]
    Lan,
    /// Between a store and a data centre: 10 to 20 ms.
    Wan,
}

/// The hosts that parts of the world run on. By default their CPUs are infinitely fast and all sockets have
/// `TCP_NODELAY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machines {
    /// All pods are on one machine and share so many cores; 0: each thread has a core. Default: 0.
    pub cores: u32,
    /// How often a thread that wakes while all these cores are busy has to wait for the kernel's next tick, in percent.
    /// Default: 0.
    pub late_percent: u32,
    /// RabbitMQ's.
    pub amqp: Machine,
    /// Each Redis'.
    pub redis: Machine,
    /// The MQTT broker's.
    pub mqtt: Machine,
    /// Each gateway's, or each store's.
    pub gateway: Machine,
    /// Each router replica's.
    pub router: Machine,
    /// Each task worker's.
    pub task_worker: Machine,
}

impl Machines {
    /// All kinds of hosts.
    #[must_use]
    pub fn all(&self) -> [Machine; 6] {
        [self.amqp, self.redis, self.mqtt, self.gateway, self.router, self.task_worker]
    }

    /// The one that `pod` runs on.
    #[must_use]
    pub fn of(&self, pod: Pod) -> Machine {
        match pod {
            Pod::Amqp => self.amqp,
            Pod::Redis | Pod::RedisShard(_) => self.redis,
            Pod::Mqtt => self.mqtt,
            Pod::Gateway(_) | Pod::Store(_) => self.gateway,
            Pod::Router(..) => self.router,
            Pod::TaskWorker(_) => self.task_worker,
            Pod::Dispatcher | Pod::Autoscaler => Machine::default(),
        }
    }
}

/// One kind of host: how its kernel does TCP, and what work costs there. CPU times are medians.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Machine {
    /// `TCP_NODELAY` on the sockets of its processes; `false`: Nagle's algorithm, as in Mosquitto without
    /// `set_tcp_nodelay`. Connections with such a host are modelled segment by segment, with Linux's delayed
    /// acknowledgements. Default: true.
    pub nodelay: bool,
    /// `net.ipv4.tcp_pingpong_thresh`: 3 in Linux 5.1 to 5.19, 1 before and since. Default: 1.
    pub tcp_pingpong_thresh: u8,
    /// CPU time for each protocol frame that is read, in us. Default: 0.
    pub frame_us: u32,
    /// CPU time for each KiB of such a frame, on top of that: what counts where messages are large. To Redis a frame is
    /// what one read returns. In us. Default: 0.
    pub kib_us: u32,
    /// CPU time for each write to a connection that is modelled segment by segment, in us. Default: 0.
    pub write_us: u32,
    /// From a segment's arrival to the application's waking, in us. Default: 0.
    pub wake_us: u32,
    /// Sigma of the logarithm of `wake_us`, in percent. Default: 0, no spread.
    pub wake_spread_percent: u32,
    /// CPU time for each time that a task runs, in us. Default: 0.
    pub poll_us: u32,
    /// Sigma of the logarithm of all these CPU times, in percent. Default: 0, no spread.
    pub spread_percent: u32,
    /// Threads that work at the same time. Default: 1.
    pub threads: u32,
    /// CPU time in each period, all threads together, in us; 0: no limit. Default: 0.
    pub cpu_quota_us: u32,
    /// The period of `cpu_quota_us`, in us. Default: 100,000, as in the kernel.
    pub cpu_period_us: u32,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            nodelay: true,
            tcp_pingpong_thresh: 1,
            frame_us: 0,
            kib_us: 0,
            write_us: 0,
            wake_us: 0,
            wake_spread_percent: 0,
            poll_us: 0,
            spread_percent: 0,
            threads: 1,
            cpu_quota_us: 0,
            cpu_period_us: 100_000,
        }
    }
}

impl Machine {
    /// Whether any work costs CPU time there.
    #[must_use]
    pub fn costs_cpu(&self) -> bool {
        self.frame_us > 0 || self.kib_us > 0 || self.write_us > 0 || self.poll_us > 0
    }

    /// Its limit, if it has one.
    #[must_use]
    pub fn quota(&self) -> Option<sim::Quota> {
        let quota = sim::Quota { quota_us: self.cpu_quota_us.into(), period_us: self.cpu_period_us.into() };
        (self.cpu_quota_us > 0).then_some(quota)
    }
}

/// The emulated brokers' settings.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Brokers {
    /// QoS 1 messages that the MQTT broker has on their way to one client at a time, if the client names no receive
    /// maximum; routers do (`backbone.mqtt.receive_maximum`), gateways don't. Default: 20, as in Mosquitto.
    pub mqtt_inflight_max: u16,
    /// Default: `strict`.
    pub mqtt_quota: MqttQuota,
    /// Redis servers, among which labels are divided (`backbone.redis.shards`). Default: 1.
    pub redis_shards: u32,
    /// What it takes RabbitMQ to begin or end a queue.
    pub amqp_metadata: AmqpMetadata,
}

impl Default for Brokers {
    fn default() -> Self {
        Self {
            mqtt_inflight_max: 20,
            mqtt_quota: MqttQuota::Strict,
            redis_shards: 1,
            amqp_metadata: AmqpMetadata::default(),
        }
    }
}

impl Brokers {
    /// All pods of Redis servers.
    pub fn redis(&self) -> impl Iterator<Item = Pod> + use<> {
        [Pod::Redis].into_iter().chain((0..self.redis_shards - 1).map(Pod::RedisShard))
    }
}

/// RabbitMQ's metadata store, in which queues begin and end one after the other. CPU times are medians.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpMetadata {
    /// CPU time of the store for the begin or the end of a queue, in us. Default: 0.
    pub change_us: u32,
    /// CPU time that it takes another thread of RabbitMQ's at the same time, in us; it is done when both are. Default:
    /// 0.
    pub beside_us: u32,
    /// Sigma of the logarithm of both, in percent. Default: 0, no spread.
    pub spread_percent: u32,
    /// How often the store takes any of those that wait instead of the one that has waited longest, in percent.
    /// Default: 0.
    pub disorder_percent: u32,
}

/// How the MQTT broker keeps to its in-flight window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MqttQuota {
    /// Never more than the window, as Mosquitto 1.6.
    Strict,
    /// Overruns it when messages arrive in a burst, as Mosquitto 2.0.11 (its issue 2301).
    Leaky,
}
