//! What is at the brokers when all should be as before: nothing that was not there, and all who were.

use super::{recovery::Recovery, world::World};
use crate::{
    deployment::RESULTS_QUEUE,
    spec::{Fault, FaultKind, Pod},
};
use backbone::{
    config::{ReplyQueue, RouterKind, RpcKind},
    message::{DEFAULT_ROUTE_KEY, ROUTING_QUEUE, TASK_QUEUE, dead_letter_queue},
};
use sim::broker::mqtt::SessionInfo;
use std::{collections::BTreeSet, ops::RangeInclusive};

/// Most of the same kind that are told of.
const TOLD_MAX: usize = 5;
/// Longest that Redis remembers anything of a label, in milliseconds: a day (`backbone::store`), and the key's own
/// rounding.
const REMEMBERED_MS_MAX: u64 = 24 * 60 * 60 * 1_000 + 1_000;

impl World {
    /// Subscriptions of all who are connected to the MQTT broker.
    pub(super) fn subscriptions(&self) -> usize {
        let sessions = self.mqtt.sessions().into_iter().filter(|session| session.connected);
        sessions.map(|session| session.subscriptions).sum()
    }
}

impl Recovery<'_> {
    /// Gateways and routers for which the MQTT broker has something.
    pub(super) fn busy_sessions(&self) -> BTreeSet<String> {
        self.sessions_with_messages().map(|session| session.client_id).collect()
    }

    /// What the MQTT broker has for `clients`.
    pub(super) fn messages_of(&self, clients: &BTreeSet<String>) -> Vec<String> {
        let theirs = self.sessions_with_messages().filter(|session| clients.contains(&session.client_id));
        told(theirs.map(|SessionInfo { client_id, queued, in_flight, .. }| {
            format!("messages stay in the MQTT session of {client_id}: {queued} wait, {in_flight} are not acknowledged")
        }))
    }

    fn sessions_with_messages(&self) -> impl Iterator<Item = SessionInfo> + use<> {
        self.world.mqtt.sessions().into_iter().filter(|session| session.queued + session.in_flight > 0)
    }

    fn services(&self, is_meant: impl Fn(Pod) -> bool) -> usize {
        self.world.readiness().keys().filter(|pod| is_meant(**pod)).count()
    }

    /// What is at the brokers that should not be.
    pub(super) fn left_behind(&self) -> Vec<String> {
        let mut left = self.queues();
        let mqtt_clients = self.spec.fleet.gateways as usize + self.services(|pod| matches!(pod, Pod::Router(..)));
        let sessions = self.world.mqtt.sessions().len();
        if sessions > mqtt_clients {
            left.push(format!("the MQTT broker has {sessions} sessions, for {mqtt_clients} clients"));
        }
        // The dispatcher and its producer may still have theirs.
        let amqp_clients = self.services(|pod| !matches!(pod, Pod::Router(RouterKind::Http, _))) + 2;
        let connections = self.world.amqp.connection_count();
        if connections > amqp_clients {
            left.push(format!("RabbitMQ has {connections} connections, for {amqp_clients} clients"));
        }
        // One whose service went without a last word gets its share of the messages until its heartbeats fail.
        left.extend(self.consumers().iter().filter(|queue| queue.found > *queue.expected.end()).map(Consumed::told));
        left.extend(self.keys());
        left
    }

    /// Who was at the brokers, and should be there again.
    pub(super) fn missing(&self) -> Vec<String> {
        let (world, spec) = (self.world, self.spec);
        let mut missing = Vec::new();
        let (online, gateways) = (world.gateways_online(), spec.fleet.gateways as usize);
        if online < gateways {
            missing.push(format!("{online} of {gateways} gateways are online"));
        }
        if !spec.autoscale.is_empty() {
            return missing; // how many there should be is the autoscaler's to say
        }
        let subscriptions = world.subscriptions();
        if subscriptions < self.subscriptions {
            let text =
                format!("the MQTT broker has {subscriptions} subscriptions, where it had {}", self.subscriptions);
            missing.push(text);
        }
        let consumers = self.consumers();
        missing.extend(consumers.iter().filter(|queue| queue.found < *queue.expected.start()).map(Consumed::told));
        missing
    }

    /// The queues that are consumed. None where the autoscaler decides by how many.
    fn consumers(&self) -> Vec<Consumed> {
        let (world, spec) = (self.world, self.spec);
        if !spec.autoscale.is_empty() {
            return Vec::new();
        }
        let workers = self.services(|pod| matches!(pod, Pod::TaskWorker(_)));
        let routers = self.services(|pod| matches!(pod, Pod::Router(RouterKind::Forward, _)));
        let producers = usize::from(spec.backbone.results.publish);
        // Without probes nothing is left for the producer to hear of.
        let least = if spec.expect.probe_tasks > 0 { producers } else { 0 };
        let all =
            [(TASK_QUEUE, workers..=workers), (ROUTING_QUEUE, routers..=routers), (RESULTS_QUEUE, least..=producers)];
        let found = |name| world.amqp.consumer_count(name).unwrap_or(0);
        all.into_iter().map(|(name, expected)| Consumed { name, found: found(name), expected }).collect()
    }

    fn queues(&self) -> Vec<String> {
        let world = self.world;
        let [tasks, retries] = world.task_queues();
        let dead = dead_letter_queue();
        let known = [&tasks, &retries, ROUTING_QUEUE, RESULTS_QUEUE, &dead];
        let filled = known.iter().filter(|name| **name != dead && world.depth(name) > 0);
        let mut left = told(filled.map(|name| format!("{} messages stay in queue {name}", world.depth(name))));
        let names = world.amqp.queue_names();
        let others: Vec<&String> = names.iter().filter(|name| !known.contains(&name.as_str())).collect();
        let config = &world.config;
        let has_one = |pod| {
            let reply_queue = world.versions.config(pod).task_worker.reply_queue;
            matches!(pod, Pod::TaskWorker(_)) && reply_queue == ReplyQueue::PerWorker
        };
        let replies_max = if config.rpc.kind == RpcKind::Queue { self.services(has_one) } else { 0 };
        if others.len() > replies_max {
            left.push(format!("{} queues stay that nobody needs, of {replies_max}: {others:?}", others.len()));
        }
        left
    }

    fn keys(&self) -> Vec<String> {
        // A Redis whose clock was ahead for a while keeps for longer what it was told then; and it was told to, by a
        // router whose clock was behind.
        let now_ms = self.world.unix_ms() + self.spec.faults.iter().map(clock_off_ms).sum::<u64>();
        let reply_ms = self.world.config.task_worker.reply_timeout_ms;
        let mut left = Vec::new();
        for redis in &self.world.redis {
            let keyspace = redis.keyspace();
            let lasting =
                keyspace.outliving(now_ms + REMEMBERED_MS_MAX).filter(|key| *key != DEFAULT_ROUTE_KEY.as_bytes());
            let late = keyspace.outliving(now_ms + reply_ms + 1).filter(|key| is_correlation(key));
            let name = |key: &[u8]| format!("the key {} stays in Redis longer than it should", key.escape_ascii());
            left.extend(told(lasting.map(name)));
            left.extend(told(late.map(name)));
        }
        left
    }
}

/// A queue, how many consumers it has, and how many it should have.
struct Consumed {
    name: &'static str,
    found: usize,
    expected: RangeInclusive<usize>,
}

impl Consumed {
    fn told(&self) -> String {
        format!("queue {} has {} consumers, for {} services", self.name, self.found, self.expected.end())
    }
}

/// How far a clock was off because of `fault`, at most.
fn clock_off_ms(fault: &Fault) -> u64 {
    let (strength, lasted_ms) = (fault.strength.unwrap_or(0).unsigned_abs(), fault.for_ms.unwrap_or(0));
    match fault.kind {
        FaultKind::ClockStep => strength,
        FaultKind::ClockDrift => lasted_ms * strength / 1_000_000,
        _ => 0,
    }
}

fn is_correlation(key: &[u8]) -> bool {
    key.starts_with(b"shelfwire:correlation:")
}

/// The first of them, and how many more there are.
fn told(all: impl Iterator<Item = String>) -> Vec<String> {
    let mut all: Vec<String> = all.collect();
    let more = all.len().saturating_sub(TOLD_MAX);
    all.truncate(TOLD_MAX);
    if more > 0 {
        all.push(format!("and {more} more"));
    }
    all
}
