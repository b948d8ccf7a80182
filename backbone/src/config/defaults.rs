//! The default of every field; its documentation repeats it.

use super::{
    Acknowledgement, Amqp, BckRouter, Connections, Dispatcher, FwdRouter, HttpRouter, Mqtt, Presence, Redis, Replies,
    ReplyQueue, Results, Routing, RoutingMode, Rpc, RpcKind, TaskWorker, Tracing,
};
use std::{net::SocketAddr, path::PathBuf};

impl Default for Rpc {
    fn default() -> Self {
        Self { kind: RpcKind::Queue, routers: vec!["localhost:8080".into()], connections: Connections::KeepAlive }
    }
}

impl Default for Tracing {
    fn default() -> Self {
        Self { collector: String::new(), sample_ppm: 10_000 }
    }
}

impl Default for HttpRouter {
    fn default() -> Self {
        let listen = SocketAddr::from(([0, 0, 0, 0], 8_080));
        Self { listen, in_flight_max: 256, replies: Replies::Broadcast, reply_timeout_ms: 0, group: "http".into() }
    }
}

impl Default for Amqp {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@localhost:5672/%2f".into(),
            password: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            heartbeat_s: 20,
        }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 1883,
            username: String::new(),
            password: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            keep_alive_s: 30,
            session_expiry_s: 0,
            receive_maximum: 64,
            in_flight_max: 64,
        }
    }
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            url: "redis://localhost:6379/0".into(),
            shards: Vec::new(),
            password: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

impl Default for Routing {
    fn default() -> Self {
        Self {
            mode: RoutingMode::Rssi,
            newest_wins: true,
            route_fresh_ms: 6_000,
            presence: Presence::Puback,
            retry_elsewhere: false,
            smoothing_ms: 0,
            hysteresis_db: 0,
            hysteresis_ms: 0,
        }
    }
}

impl Default for Dispatcher {
    fn default() -> Self {
        Self { window: 256, waiting_max: 2_000 }
    }
}

impl Default for Results {
    fn default() -> Self {
        Self { publish: true }
    }
}

impl Default for TaskWorker {
    fn default() -> Self {
        Self {
            prefetch: 1,
            reply_queue: ReplyQueue::PerWorker,
            reply_timeout_ms: 25_000,
            attempts_max: 5,
            retry_delay_ms: 5_000,
        }
    }
}

impl Default for FwdRouter {
    fn default() -> Self {
        Self { prefetch: 32, acknowledgement: Acknowledgement::AfterHandover }
    }
}

impl Default for BckRouter {
    fn default() -> Self {
        Self { in_flight_max: 32, group: "bck".into() }
    }
}
