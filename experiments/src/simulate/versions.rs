//! How services are configured, the old version of each and the new one.

use crate::{
    deployment::called_routers,
    spec::{Pod, Spec},
};
use backbone::config::{Acknowledgement, Config, Replies, ReplyQueue};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

pub(super) const AMQP_PORT: u16 = 5672;
pub(super) const MQTT_PORT: u16 = 1883;
pub(super) const REDIS_PORT: u16 = 6379;
/// What the name of a group ends with if it is the new version's.
const NEW_GROUP: &str = "-new";

/// Which version each pod has.
pub(super) struct Versions {
    old: Arc<Config>,
    new: Arc<Config>,
    with_new: Mutex<BTreeSet<Pod>>,
}

impl Versions {
    /// All services of `spec` have the old one.
    pub(super) fn of(spec: &Spec) -> Self {
        let old = config(spec);
        Self { new: Arc::new(new_version(&old)), old: Arc::new(old), with_new: Mutex::default() }
    }

    /// The old one, which says where brokers are, and all that versions have in common.
    pub(super) fn old(&self) -> Arc<Config> {
        self.old.clone()
    }

    /// That of `pod`.
    pub(super) fn config(&self, pod: Pod) -> &Arc<Config> {
        let is_new = self.with_new.lock().expect("nothing panics with it").contains(&pod);
        if is_new { &self.new } else { &self.old }
    }

    /// Lets `pod` have the other version when it starts next.
    pub(super) fn change(&self, pod: Pod) {
        let mut with_new = self.with_new.lock().expect("nothing panics with it");
        if !with_new.remove(&pod) {
            with_new.insert(pod);
        }
    }
}

/// The services' configuration, pointed at the world's brokers and routers.
fn config(spec: &Spec) -> Config {
    let mut config = spec.backbone.clone();
    config.amqp.url = format!("amqp://guest:guest@{}:{AMQP_PORT}/%2f", Pod::Amqp);
    (config.mqtt.host, config.mqtt.port) = (Pod::Mqtt.to_string(), MQTT_PORT);
    let mut servers = spec.brokers.redis().map(|pod| format!("redis://{pod}:{REDIS_PORT}/0"));
    config.redis.url = servers.next().expect("there is always one");
    config.redis.shards = servers.collect();
    let port = config.http_router.listen.port();
    config.rpc.routers = called_routers(spec).map(|pod| format!("{pod}:{port}")).collect();
    config
}

/// What may differ between two versions of a service that run side by side.
fn new_version(old: &Config) -> Config {
    let mut new = old.clone();
    new.task_worker.reply_queue = match old.task_worker.reply_queue {
        ReplyQueue::PerWorker => ReplyQueue::PerCall,
        ReplyQueue::PerCall => ReplyQueue::PerWorker,
    };
    new.fwd_router.acknowledgement = match old.fwd_router.acknowledgement {
        Acknowledgement::AfterHandover => Acknowledgement::Auto,
        Acknowledgement::Auto => Acknowledgement::AfterHandover,
    };
    new.http_router.replies = match old.http_router.replies {
        Replies::Broadcast => Replies::ResponseTopic,
        Replies::ResponseTopic => Replies::Broadcast,
        Replies::Shared => Replies::Shared,
    };
    new.bck_router.group += NEW_GROUP;
    new.http_router.group += NEW_GROUP;
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use backbone::config::RouterKind;

    #[test]
    fn a_version_that_is_changed_twice_is_as_it_was_and_the_new_one_is_valid() {
        let versions = Versions::of(&Spec::default());
        let [one, other] = [0, 1].map(|index| Pod::Router(RouterKind::Backward, index));
        versions.change(one);
        let groups = [one, other].map(|pod| versions.config(pod).bck_router.group.clone());
        assert_eq!(groups, ["bck-new", "bck"]);
        versions.change(one);
        assert_eq!(versions.config(one), versions.config(other));
        new_version(&Config::default()).validate().unwrap();
    }
}
