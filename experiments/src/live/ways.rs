//! Ways between routers and brokers on which nothing passes for a while: relays, where the spec breaks any.

use super::brokers::Brokers;
use crate::spec::{Fault, FaultKind, Pod, Spec};
use anyhow::{Context, anyhow};
use backbone::config::Config;
use sim::real::relay::Relay;
use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::Duration,
};
use tokio::time::sleep;
use url::Url;

/// The ways that faults hit, by router and broker. All others are direct.
pub(super) struct Ways(BTreeMap<(Pod, Pod), Relay>);

impl Ways {
    /// Those of `spec`, to private `brokers`.
    ///
    /// # Errors
    /// When no port can be had.
    pub(super) async fn lay(spec: &Spec, brokers: &Brokers) -> anyhow::Result<Self> {
        let mut ways = BTreeMap::new();
        for (router, broker) in spec.faults.iter().flat_map(|fault| hit(spec, fault)) {
            let Some(port) = brokers.private_port(broker) else { continue };
            if let Entry::Vacant(way) = ways.entry((router, broker)) {
                let relay = Relay::start(port).await;
                way.insert(relay.with_context(|| format!("laying a way from {router} to {broker}"))?);
            }
        }
        Ok(Self(ways))
    }

    /// Leads `router` to its brokers by these ways.
    ///
    /// # Errors
    /// When an address can't be changed.
    pub(super) fn lead(&self, router: Pod, config: &mut Config) -> anyhow::Result<()> {
        let port = |broker| self.0.get(&(router, broker)).map(Relay::port);
        if let Some(port) = port(Pod::Amqp) {
            config.amqp.url = with_port(&config.amqp.url, port).context("leading a router to amqp")?;
        }
        if let Some(port) = port(Pod::Mqtt) {
            config.mqtt.port = port;
        }
        if let Some(port) = port(Pod::Redis) {
            config.redis.url = with_port(&config.redis.url, port).context("leading a router to redis")?;
        }
        Ok(())
    }

    /// For so long nothing passes where `fault` hits; then all that waited does. Returns how many connections that hit.
    pub(super) async fn hold(&self, spec: &Spec, fault: &Fault, lasts: Duration) -> u64 {
        let ways: Vec<&Relay> = hit(spec, fault).iter().filter_map(|way| self.0.get(way)).collect();
        let hits = ways.iter().map(|way| way.fall_silent() as u64).sum();
        sleep(lasts).await;
        ways.iter().for_each(|way| way.heal());
        hits
    }
}

/// The ways that `fault` hits, by router and broker.
pub(super) fn hit(spec: &Spec, fault: &Fault) -> Vec<(Pod, Pod)> {
    if fault.kind != FaultKind::Hold {
        return Vec::new();
    }
    let from = fault.from.map(|from| from.pods(spec));
    let is_meant = |broker: &Pod| from.as_ref().is_none_or(|from| from.contains(broker));
    let of = |router| spec.peers(router).into_iter().filter(is_meant).map(move |broker| (router, broker));
    fault.target.pods(spec).into_iter().flat_map(of).collect()
}

/// The same address, at another port. No error repeats it: it may hold a password.
fn with_port(address: &str, port: u16) -> anyhow::Result<String> {
    let mut address = Url::parse(address).map_err(|error| anyhow!("its address is no URL: {error}"))?;
    address.set_port(Some(port)).map_err(|()| anyhow!("its address has no port"))?;
    Ok(address.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Part;
    use backbone::config::{self, RouterKind, RpcKind};

    #[test]
    fn a_fault_hits_the_ways_between_its_routers_and_its_brokers() {
        let mut spec = Spec::default();
        spec.replicas.routers = 2;
        let router = |index| Pod::Router(RouterKind::Forward, index);
        let all = Fault::new(1, FaultKind::Hold, router(1), 5);
        assert_eq!(hit(&spec, &all), Pod::BROKERS.map(|broker| (router(1), broker)));
        let one = Fault::new(1, FaultKind::Hold, Part::All(router(0)), 5).from(Pod::Redis);
        assert_eq!(hit(&spec, &one), [0, 1].map(|index| (router(index), Pod::Redis)));
        assert_eq!(hit(&spec, &Fault::new(1, FaultKind::Freeze, router(1), 5)), []);
        spec.backbone.rpc.kind = RpcKind::Http;
        let http = Pod::Router(RouterKind::Http, 0);
        let found = hit(&spec, &Fault::new(1, FaultKind::Hold, http, 5));
        assert_eq!(found, [(http, Pod::Mqtt), (http, Pod::Redis)]);
    }

    #[tokio::test]
    async fn a_router_is_led_by_the_ways_that_are_hit_and_to_no_other_port() {
        let router = Pod::Router(RouterKind::Backward, 0);
        let relay = Relay::start(1).await.unwrap();
        let port = relay.port();
        let ways = Ways([((router, Pod::Amqp), relay)].into());
        let amqp = config::Amqp { url: "amqp://a:b%2f@127.0.0.1:5/%2f".into(), ..config::Amqp::default() };
        let mut config = Config { amqp, ..Config::default() };
        let (mqtt, redis) = (config.mqtt.port, config.redis.url.clone());
        ways.lead(router, &mut config).unwrap();
        assert_eq!(config.amqp.url, format!("amqp://a:b%2f@127.0.0.1:{port}/%2f"));
        assert_eq!((config.mqtt.port, config.redis.url), (mqtt, redis));
    }
}
