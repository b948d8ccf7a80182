//! The gateways of a spec: where they stand, what they hear and how they work.

use crate::{
    spec::{BleService, GatewayMode, GatewayWrites, Order, Pod, Spec},
    workload::{fleet_label, gateway_mac},
};
use backbone::config;
use sim::{
    Seed,
    fleet::{AckOrder, GatewayPlan, Handling, Heard, Online, Processor, StorePlan, Work, Writes, place_store},
};
use std::{sync::Arc, time::Duration};

/// Floor of a store for each label in it: 50,000 labels fill 10,000 square metres (thesis, 'Introduction').
const SQUARE_METRES_PER_LABEL: f64 = 0.2;
/// A small shop still has a floor.
const STORE_SIDE_M_MIN: f64 = 10.0;

/// All gateways of a run.
pub(crate) struct Gateways {
    spec: Arc<Spec>,
    /// What each hears.
    heard: Vec<Vec<Heard>>,
    online: Online,
}

/// What each gateway of each store hears.
fn place(spec: &Spec) -> Vec<Vec<Heard>> {
    let stores = spec.fleet.stores as usize;
    let labels_per_store = spec.fleet.esls as usize / stores;
    let side_m = (labels_per_store as f64 * SQUARE_METRES_PER_LABEL).sqrt().max(STORE_SIDE_M_MIN);
    let plan = StorePlan {
        gateways: spec.fleet.gateways_per_store() as usize,
        labels: labels_per_store,
        gateways_in_range: spec.fleet.gateways_in_range as usize,
        side_m,
    };
    let mut rng = Seed::new(spec.seed).stream("radio");
    (0..stores).flat_map(|store| place_store(plan, |i| fleet_label(store * labels_per_store + i), &mut rng)).collect()
}

impl Gateways {
    /// Places them on the floors of their stores.
    pub(crate) fn place(spec: Arc<Spec>) -> Self {
        Self { heard: place(&spec), online: Online::default(), spec }
    }

    /// How many of them can be reached.
    pub(crate) fn online(&self) -> usize {
        self.online.count()
    }

    /// What gateway `index` is and does, with the MQTT broker at `broker`; `processor` does its work.
    pub(crate) fn plan(&self, index: u32, broker: config::Mqtt, processor: Arc<dyn Processor>) -> GatewayPlan {
        let fleet = &self.spec.fleet;
        let handling = fleet.handling;
        let BleService { median, spread } = fleet.ble_service_ms;
        GatewayPlan {
            broker,
            client_id: Pod::Gateway(index).to_string(),
            mac: gateway_mac(if fleet.shared_mac { 0 } else { index as usize }),
            shared_mac: fleet.shared_mac,
            echoes_request_id: fleet.echoes_request_id,
            tells_status: fleet.tells_status,
            clock: |unix_ms| unix_ms,
            work: match fleet.mode {
                GatewayMode::Serial => Work::Serial,
                GatewayMode::Concurrent => Work::Concurrent,
            },
            order: match fleet.order {
                Order::AcknowledgeFirst => AckOrder::AcknowledgeFirst,
                Order::ReplyFirst => AckOrder::ReplyFirst,
            },
            writes: match fleet.writes {
                GatewayWrites::Packets => Writes::Packets,
                GatewayWrites::Fields => Writes::Fields,
            },
            handling: Handling { median_us: handling.median_us.into(), spread_percent: handling.spread_percent },
            processor,
            ble_us: (u64::from(median - spread) * 1_000, u64::from(median + spread) * 1_000),
            heard: self.heard[index as usize].clone(),
            online: self.online.clone(),
            rssi_period: Duration::from_millis(fleet.rssi_period_ms.into()),
        }
    }
}
