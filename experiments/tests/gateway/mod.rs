//! A gateway with one label, on real MQTT.

use backbone::{
    env::{Env as _, TokioEnv},
    message::Mac,
};
use sim::{
    Seed,
    fleet::{AckOrder, Gateway, GatewayPlan, Heard, Labels, Online, Work},
};
use std::time::Duration;

pub(crate) const LABEL: Mac = Mac::new(1);

/// Starts it at the broker on 127.0.0.1; it runs as long as the test.
pub(crate) fn start_gateway(port: u16) -> Labels {
    let (labels, rng) = (Labels::default(), Seed::new(1).stream("gateway"));
    let plan = GatewayPlan {
        broker: ("127.0.0.1".into(), port),
        client_id: "gateway".into(),
        mac: Mac::new(100),
        shared_mac: false,
        echoes_request_id: true,
        work: Work::Concurrent,
        order: AckOrder::ReplyFirst,
        ble_us: (0, 0),
        heard: vec![Heard { label: LABEL, mean_dbm: -60 }],
        online: Online::default(),
        rssi_period: Duration::from_millis(200),
    };
    TokioEnv.spawn("gateway", Gateway::run(TokioEnv, plan, labels.clone(), rng));
    labels
}
