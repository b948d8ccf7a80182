//! A gateway: takes commands from MQTT, executes them on its labels over the air, replies, and reports whom it hears.

use super::{
    air::{Antenna, micros},
    connection::{Connection, Incoming, Online, ReplyTo},
    handling::{Handling, Processor},
    label::Labels,
    mischief::Mischiefs,
    over_air::{Radio, Silence},
    radio::Heard,
    reports::{READINGS_MAX, Readings, RssiChanges},
    writes::Writes,
};
use crate::observe::{self, Step};
use backbone::{
    config,
    env::Env,
    message::{
        Mac, Message as _, Reply, Request, RssiReport, Status, action_topic, response_topic, rssi_topic, status_topic,
    },
};
use rand_chacha::{ChaCha8Rng, rand_core::Rng as _};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep, sleep_until},
};

/// Labels that a gateway asks of its radio at the same time, in [`Work::Concurrent`].
const CONCURRENT_COMMANDS_MAX: usize = 64;

/// How a gateway works on its commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// One at a time: the next is looked at when the broker has taken the reply to this one, as the thesis' emulators
    /// do.
    Serial,
    /// All that arrive, up to 64.
    Concurrent,
}

/// What a gateway does first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AckOrder {
    /// Acknowledge the command, then execute it and reply.
    AcknowledgeFirst,
    /// Execute and reply, and acknowledge when the broker has the reply: a crash in between loses nothing.
    ReplyFirst,
}

/// What one gateway is and does.
#[derive(Clone, Debug)]
pub struct GatewayPlan {
    /// The broker: its address, TLS and login count here; the rest is the services'.
    pub broker: config::Mqtt,
    /// Must differ between gateways.
    pub client_id: String,
    /// The address it answers to.
    pub mac: Mac,
    /// Several gateways answer to one address, as members of one shared subscription.
    pub shared_mac: bool,
    /// Whether replies carry the request's id. Some vendors' gateways echo nothing but the label's address.
    pub echoes_request_id: bool,
    /// Whether it says on its status topic that it is online, and has a will there that it is not.
    pub tells_status: bool,
    /// What its clock shows at a time, both in milliseconds since 1970.
    pub clock: fn(u64) -> u64,
    /// See [`Work`].
    pub work: Work,
    /// See [`AckOrder`].
    pub order: AckOrder,
    /// See [`Writes`].
    pub writes: Writes,
    /// What a command takes of the processor.
    pub handling: Handling,
    /// See [`Processor`].
    pub processor: Arc<dyn Processor>,
    /// What a command takes over the air: shortest and longest, in microseconds. Timers have a resolution of 1 ms.
    pub ble_us: (u64, u64),
    /// The labels it hears, in a plain fleet: others are out of its range, if there are any.
    pub heard: Vec<Heard>,
    /// Its part of its store's air; `None`: a plain fleet, in which nothing gets lost.
    pub antenna: Option<Antenna>,
    /// What it does wrong.
    pub mischiefs: Mischiefs,
    /// Told when it can be reached and when it can't.
    pub online: Online,
    /// How often labels broadcast and the gateway reports what it heard; zero: never.
    pub rssi_period: Duration,
    /// What it then reports; `None`: all that it heard.
    pub rssi_changes: Option<RssiChanges>,
}

/// What one command takes.
#[derive(Clone, Copy)]
struct Effort {
    ble: Duration,
    handling_ns: u64,
}

/// A running gateway. Cheap to clone; all clones are the same one.
#[derive(Clone)]
pub struct Gateway {
    env: Env,
    plan: Arc<GatewayPlan>,
    labels: Labels,
    /// `None` in a plain fleet.
    radio: Option<Radio>,
}

/// The streams of a gateway's randomness, beside the one of service times: that one, with this for its name's sake.
const REPORTS_STREAM: u64 = u64::MAX;
const PACKETS_STREAM: u64 = u64::MAX >> 1;

fn stream(rng: &ChaCha8Rng, name: u64) -> ChaCha8Rng {
    let mut rng = rng.clone();
    rng.set_stream(rng.get_stream() ^ name);
    rng
}

impl Gateway {
    /// Runs until its task is dropped. `rng` decides service times and signal strengths.
    pub async fn run(env: Env, plan: GatewayPlan, labels: Labels, rng: ChaCha8Rng) {
        let filter = match plan.shared_mac {
            true => format!("$share/gateways/{}", action_topic(plan.mac)),
            false => action_topic(plan.mac),
        };
        let (client_id, online) = (plan.client_id.clone(), plan.online.clone());
        let status_topic = plan.tells_status.then(|| status_topic(plan.mac));
        let (connection, mut commands) =
            Connection::start(&env, &plan.broker, client_id, filter, status_topic, plan.writes, online);
        let radio = plan.antenna.clone().map(|antenna| Radio::new(antenna, stream(&rng, PACKETS_STREAM)));
        let gateway = Self { env: env.clone(), plan: Arc::new(plan), labels, radio };
        if !gateway.plan.rssi_period.is_zero() {
            env.spawn("rssi reports", gateway.clone().report(connection.clone(), stream(&rng, REPORTS_STREAM)));
        }
        let mut rng = rng;
        let free = Arc::new(Semaphore::new(CONCURRENT_COMMANDS_MAX));
        while let Some(command) = commands.recv().await {
            let effort = gateway.draw_effort(&mut rng);
            match gateway.plan.work {
                Work::Serial => gateway.serve(&connection, command, effort).await,
                Work::Concurrent => {
                    let permit = free.clone().acquire_owned().await.expect("never closed");
                    let (gateway, connection) = (gateway.clone(), connection.clone());
                    env.spawn("command", async move {
                        gateway.serve(&connection, command, effort).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    fn draw_effort(&self, rng: &mut ChaCha8Rng) -> Effort {
        let (low_us, high_us) = self.plan.ble_us;
        assert!(low_us <= high_us, "a range goes from low to high");
        let ble = Duration::from_micros(low_us + rng.next_u64() % (high_us - low_us + 1));
        Effort { ble, handling_ns: self.plan.handling.draw_ns(rng) }
    }

    async fn serve(&self, connection: &Connection, command: Incoming, effort: Effort) {
        if !connection.is_current(&command) {
            return;
        }
        if self.plan.order == AckOrder::AcknowledgeFirst {
            connection.acknowledge(&command).await;
        }
        let replied = match Request::parse(command.payload()) {
            Ok(request) => {
                observe::served(request.request_id, Step::Begun);
                if effort.handling_ns > 0 {
                    self.plan.processor.work(effort.handling_ns).await;
                }
                observe::served(request.request_id, Step::Handled);
                if !effort.ble.is_zero() {
                    sleep(effort.ble).await;
                }
                let reply = match &self.radio {
                    _ if self.plan.mischiefs.label_fails() => {
                        self.reply(&request, Status::Failed, Some("the label does not answer".into()))
                    }
                    Some(radio) => self.execute_over_air(radio, &request).await,
                    None => self.execute(&request),
                };
                observe::served(request.request_id, Step::Executed);
                // Where it was asked to answer, or else where everybody looks.
                let (topic, correlation) = match command.reply_to() {
                    Some(ReplyTo { topic, correlation }) => (topic, correlation),
                    None => (response_topic(self.plan.mac), None),
                };
                let (late, replies) = self.plan.mischiefs.disturb(&reply);
                if !late.is_zero() {
                    sleep(late).await;
                }
                let mut taken = true;
                for reply in replies {
                    taken &= connection.publish(topic.clone(), correlation.clone(), reply).await;
                }
                taken
            }
            Err(error) => {
                tracing::warn!(%error, gateway = %self.plan.mac, "a gateway was sent a command that it can't read");
                true // nobody to answer to; without an acknowledgement it would come again and again
            }
        };
        if self.plan.order == AckOrder::ReplyFirst && replied {
            connection.acknowledge(&command).await;
        }
    }

    fn execute(&self, request: &Request) -> Reply {
        let reachable = self.plan.heard.is_empty() || self.plan.heard.iter().any(|h| h.label == request.esl_mac);
        match reachable {
            true => self.reply(request, self.labels.execute(request.esl_mac, request.version).status(), None),
            false => self.reply(request, Status::Failed, Some("out of range".into())),
        }
    }

    async fn execute_over_air(&self, radio: &Radio, request: &Request) -> Reply {
        let now_unix_ms = (self.plan.clock)(self.env.unix_ms());
        let deadline = Instant::now() + Duration::from_millis(request.deadline_unix_ms.saturating_sub(now_unix_ms));
        let execute = || self.labels.execute(request.esl_mac, request.version).status();
        match radio.command(request.esl_mac, deadline, execute).await {
            Ok(status) => self.reply(request, status, None),
            Err(Silence { tries }) => {
                let detail = format!("no answer over the air after {tries} tries");
                self.reply(request, Status::Failed, Some(detail))
            }
        }
    }

    fn reply(&self, request: &Request, status: Status, detail: Option<String>) -> Reply {
        let request_id = self.plan.echoes_request_id.then_some(request.request_id);
        Reply { request_id, esl_mac: request.esl_mac, status, detail }
    }

    /// Reports the labels heard, once a period, starting at a moment of the gateway's own.
    async fn report(self, connection: Connection, mut rng: ChaCha8Rng) {
        let (begin, period, antenna) = (Instant::now(), self.plan.rssi_period, self.plan.antenna.clone());
        let fixed = antenna.as_ref().map_or(&self.plan.heard[..], Antenna::fixed).to_vec();
        let mut readings = Readings::new(fixed, antenna.clone(), self.plan.rssi_changes);
        let phase =
            Duration::from_micros(rng.next_u64() % u64::try_from(period.as_micros()).expect("a period is short"));
        let mut next = Instant::now() + phase;
        loop {
            sleep_until(next).await;
            next += period;
            let heard_unix_ms = (self.plan.clock)(self.env.unix_ms());
            let now_us = antenna.as_ref().map_or_else(|| micros(begin.elapsed()), Antenna::now_us);
            let due = readings.due(now_us, &mut rng);
            if (due.is_empty() && self.plan.rssi_changes.is_some()) || self.plan.mischiefs.leaves_report_out() {
                continue;
            }
            let mut rest = due.as_slice();
            loop {
                let (labels, later) = rest.split_at(rest.len().min(READINGS_MAX));
                let report = RssiReport { heard_unix_ms, labels: labels.to_vec() };
                // A report that is not taken is stale by the next one.
                let _ = connection.publish(rssi_topic(self.plan.mac), None, report.to_bytes()).await;
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}
