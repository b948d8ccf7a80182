//! A gateway with labels, on real MQTT.

use backbone::{config, env::Env, message::Mac};
use sim::{
    Seed,
    fleet::{AckOrder, BusyProcessor, Gateway, GatewayPlan, Handling, Heard, Labels, Mischiefs, Online, Work, Writes},
};
use std::{sync::Arc, time::Duration};

/// One of its labels, counted from 0.
pub(crate) const fn label(index: u64) -> Mac {
    Mac::new(1 + index)
}

/// Starts it, with so many labels, at the broker on 127.0.0.1; it runs as long as the test.
pub(crate) fn start_gateway(port: u16, labels: u64) -> Labels {
    start_gateway_with(port, labels, Duration::ZERO)
}

/// The same with labels that take `ble` for a command.
pub(crate) fn start_gateway_with(port: u16, labels: u64, ble: Duration) -> Labels {
    let ble_us = u64::try_from(ble.as_micros()).unwrap();
    let heard = (0..labels).map(|index| Heard { label: label(index), mean_dbm: -60 }).collect();
    let (labels, rng) = (Labels::default(), Seed::new(1).stream("gateway"));
    let plan = GatewayPlan {
        broker: config::Mqtt { host: "127.0.0.1".into(), port, ..config::Mqtt::default() },
        client_id: "gateway".into(),
        mac: Mac::new(100),
        shared_mac: false,
        echoes_request_id: true,
        tells_status: false,
        clock: |unix_ms| unix_ms,
        work: Work::Concurrent,
        order: AckOrder::ReplyFirst,
        writes: Writes::Packets,
        handling: Handling::default(),
        processor: Arc::new(BusyProcessor),
        ble_us: (ble_us, ble_us),
        heard,
        mischiefs: Mischiefs::default(),
        online: Online::default(),
        rssi_period: Duration::from_millis(200),
        antenna: None,
        rssi_changes: None,
    };
    Env::tokio().spawn("gateway", Gateway::run(Env::tokio(), plan, labels.clone(), rng));
    labels
}
