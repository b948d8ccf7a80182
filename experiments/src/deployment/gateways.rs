//! The gateways of a spec: where they stand, what they hear and how they work.

use crate::{
    spec::{BleService, GatewayMode, GatewayWrites, Order, Pod, Spec},
    workload::{fleet_label, gateway_mac},
};
use backbone::config;
use sim::{
    Seed,
    fleet::{
        AckOrder, Air, Antenna, GatewayPlan, Handling, Heard, Mischiefs, Online, Processor, RadioUse, RssiChanges,
        StorePlan, Work, Writes, place_store,
    },
};
use std::{sync::Arc, time::Duration};

/// Floor of a store for each label in it: 50,000 labels fill 10,000 square metres (thesis, 'Introduction').
const SQUARE_METRES_PER_LABEL: f64 = 0.2;
/// A small shop still has a floor.
const STORE_SIDE_M_MIN: f64 = 10.0;

/// All gateways of a run.
pub(crate) struct Gateways {
    spec: Arc<Spec>,
    /// What each hears in a plain fleet; empty if there is a radio.
    heard: Vec<Vec<Heard>>,
    /// Of each store, if there is a radio.
    airs: Vec<Air>,
    /// Of each.
    mischiefs: Vec<Mischiefs>,
    online: Online,
}

/// What a store is like: all are alike.
fn store(spec: &Spec) -> StorePlan {
    let labels = (spec.fleet.esls / spec.fleet.stores) as usize;
    let crowded_m = (labels as f64 * SQUARE_METRES_PER_LABEL).sqrt().max(STORE_SIDE_M_MIN);
    let side_m = spec.fleet.radio.as_ref().map(|radio| f64::from(radio.side_m)).filter(|side_m| *side_m > 0.0);
    StorePlan {
        gateways: spec.fleet.gateways_per_store() as usize,
        labels,
        gateways_in_range: spec.fleet.gateways_in_range as usize,
        side_m: side_m.unwrap_or(crowded_m),
    }
}

/// What each gateway of each store hears in a plain fleet.
fn place(spec: &Spec) -> Vec<Vec<Heard>> {
    let plan = store(spec);
    let mut rng = Seed::new(spec.seed).stream("radio");
    let label = |store: usize| move |i| fleet_label(store * plan.labels + i);
    (0..spec.fleet.stores as usize).flat_map(|store| place_store(plan, label(store), &mut rng)).collect()
}

/// The air of each store, in which time begins now.
fn airs(spec: &Spec) -> Vec<Air> {
    let Some(radio) = &spec.fleet.radio else { return Vec::new() };
    let plan = store(spec);
    let label = |store: usize| move |i| fleet_label(store * plan.labels + i);
    let air = |store| Air::new(Seed::new(spec.seed), &format!("store {store}"), radio.plan(), plan, label(store));
    (0..spec.fleet.stores as usize).map(air).collect()
}

impl Gateways {
    /// Places them on the floors of their stores.
    pub(crate) fn place(spec: Arc<Spec>) -> Self {
        let airs = airs(&spec);
        let heard = if airs.is_empty() { place(&spec) } else { Vec::new() };
        let mischiefs = (0..spec.fleet.gateways).map(|_| Mischiefs::default()).collect();
        Self { heard, airs, mischiefs, online: Online::default(), spec }
    }

    /// What the radio came to until now; `None`: there is none.
    pub(crate) fn radio_use(&self) -> Option<RadioUse> {
        self.airs.iter().map(Air::usage).reduce(RadioUse::and)
    }

    /// What a gateway has of its store's air, if there is any.
    fn antenna(&self, index: u32) -> Option<Antenna> {
        let per_store = self.spec.fleet.gateways_per_store();
        let air = self.airs.get((index / per_store) as usize)?;
        Some(air.antenna((index % per_store) as usize))
    }

    /// What gateway `index` does wrong.
    pub(crate) fn mischiefs(&self, index: u32) -> &Mischiefs {
        &self.mischiefs[index as usize]
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
            heard: self.heard.get(index as usize).cloned().unwrap_or_default(),
            antenna: self.antenna(index),
            mischiefs: self.mischiefs[index as usize].clone(),
            online: self.online.clone(),
            rssi_period: Duration::from_millis(fleet.rssi_period_ms.into()),
            rssi_changes: (fleet.rssi_change_db > 0).then(|| RssiChanges {
                change_db: fleet.rssi_change_db,
                heartbeat: Duration::from_millis(fleet.rssi_heartbeat_ms.into()),
            }),
        }
    }
}
