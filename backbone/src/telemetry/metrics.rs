//! Events as numbers, in Prometheus' text format.

use super::{Event, Telemetry};
use crate::message::{Mac, RequestId, Status};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Mutex, MutexGuard},
};
use tokio::time::Instant;

/// Upper ends of the histograms' buckets, in seconds: from one hop on one machine to the default reply timeout.
const LATENCY_BUCKETS_S: [f64; 14] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
/// The same for what includes retries and waiting: up to half an hour.
const AGE_BUCKETS_S: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0, 1_800.0];
/// Most requests whose start is remembered: far above what a replica has under way. More are counted, but not timed.
const TIMED_MAX: usize = 100_000;
/// Most gateways that are counted by name: a metric must not grow with a fleet. The others are counted together.
const NAMED_GATEWAYS_MAX: usize = 100;

/// What those are called.
const OTHERS: &str = "others";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Gateway {
    gateway: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Broker {
    broker: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    broker: &'static str,
    reason: &'static str,
}

/// Counts and times what one replica does.
pub struct Metrics {
    registry: Registry,
    tasks_dispatched: Counter,
    tasks_done: Counter,
    tasks_retried: Family<Reason, Counter>,
    tasks_dead_lettered: Family<Reason, Counter>,
    task_latency: Histogram,
    task_age: Histogram,
    rpcs: Family<Outcome, Counter>,
    rpc_latency: Histogram,
    rpcs_in_flight: Gauge,
    requests_taken: Counter,
    requests_forwarded: Counter,
    replies_returned: Counter,
    reports_stored: Counter,
    routes_stored: Counter,
    left_out: Family<Gateway, Counter>,
    clock_off: Family<Gateway, Counter>,
    clock_ahead: Family<Gateway, Gauge>,
    dropped: Family<Reason, Counter>,
    corrupt_values: Counter,
    refusals: Family<Refusal, Counter>,
    queues_missing: Counter,
    spans_dropped: Counter,
    connects: Family<Broker, Counter>,
    disconnects: Family<Broker, Counter>,
    /// Gateways that are counted by name.
    odd_gateways: Mutex<BTreeSet<Mac>>,
    /// When the worker's requests that are under way were sent.
    sent: Mutex<BTreeMap<RequestId, Instant>>,
}

/// Registers metrics under the names that they get.
struct Names(Registry);

impl Names {
    /// A counter's name gets `_total` behind it.
    fn add<M: Metric + Clone>(&mut self, name: &str, help: &str, metric: M) -> M {
        self.0.register(name, help, metric.clone());
        metric
    }
}

impl Metrics {
    /// Metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut names = Names(Registry::with_prefix("backbone"));
        let latency = || Histogram::new(LATENCY_BUCKETS_S);
        Self {
            tasks_dispatched: names.add("tasks_dispatched", "Tasks that RabbitMQ has confirmed", Counter::default()),
            tasks_done: names.add("tasks_done", "Tasks whose labels have all confirmed", Counter::default()),
            tasks_retried: names.add("tasks_retried", "Tries that failed and whose tasks wait", Family::default()),
            tasks_dead_lettered: names.add("tasks_dead_lettered", "Tasks that were given up", Family::default()),
            task_latency: names.add("task_latency_seconds", "What the calls of done tasks took", latency()),
            task_age: names.add(
                "task_end_to_end_seconds",
                "From publishing a done task to its end, retries and waiting included",
                Histogram::new(AGE_BUCKETS_S),
            ),
            rpcs: names.add("rpcs", "Requests of this worker that ended", Family::default()),
            rpc_latency: names.add("rpc_latency_seconds", "From a request sent to its reply", latency()),
            rpcs_in_flight: names.add("rpcs_in_flight", "Requests that wait for their replies", Gauge::default()),
            requests_taken: names.add("requests_taken", "Requests that came in", Counter::default()),
            requests_forwarded: names.add("requests_forwarded", "Requests that MQTT has", Counter::default()),
            replies_returned: names.add("replies_returned", "Replies on their way to callers", Counter::default()),
            reports_stored: names.add("rssi_reports_stored", "RSSI reports that are in Redis", Counter::default()),
            routes_stored: names.add("routes_stored", "Routes that were in those reports", Counter::default()),
            left_out: names.add(
                "gateway_parts_left_out",
                "Parts of gateways' messages that make no sense",
                Family::default(),
            ),
            clock_off: names.add(
                "gateway_clock_off",
                "Reports whose time was not believed, or believed again",
                Family::default(),
            ),
            clock_ahead: names.add(
                "gateway_clock_ahead_milliseconds",
                "How far a gateway's clock is ahead of the router's",
                Family::default(),
            ),
            dropped: names.add("dropped", "Messages dropped or handed back", Family::default()),
            corrupt_values: names.add("corrupt_values", "Values in Redis that make no sense", Counter::default()),
            refusals: names.add("refusals", "What brokers have refused", Family::default()),
            queues_missing: names.add("queues_missing", "Queues found gone at a publish", Counter::default()),
            spans_dropped: names.add("spans_dropped", "Spans that the collector will not see", Counter::default()),
            connects: names.add("connects", "Connections made", Family::default()),
            disconnects: names.add("disconnects", "Connections lost, and dials that failed", Family::default()),
            odd_gateways: Mutex::default(),
            sent: Mutex::default(),
            registry: names.0,
        }
    }

    /// All of them, in the OpenMetrics text format that Prometheus reads.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("writing to a string never fails");
        text
    }

    fn begin(&self, request: RequestId) {
        let mut sent = self.sent();
        if sent.len() < TIMED_MAX {
            sent.insert(request, Instant::now());
        }
        self.show_in_flight(sent.len());
    }

    fn end(&self, request: RequestId, outcome: &'static str, is_answered: bool) {
        self.rpcs.get_or_create(&Outcome { outcome }).inc();
        let mut sent = self.sent();
        if let Some(start) = sent.remove(&request)
            && is_answered
        {
            self.rpc_latency.observe(start.elapsed().as_secs_f64());
        }
        self.show_in_flight(sent.len());
    }

    fn show_in_flight(&self, requests: usize) {
        self.rpcs_in_flight.set(i64::try_from(requests).expect("it has a limit"));
    }

    /// Under what name a gateway is counted.
    fn name_of_gateway(&self, gateway: Option<Mac>) -> String {
        let mut named = self.odd_gateways.lock().expect("no holder of this lock panics");
        match gateway {
            Some(gateway) if named.len() < NAMED_GATEWAYS_MAX || named.contains(&gateway) => {
                named.insert(gateway);
                gateway.to_string()
            }
            Some(_) => OTHERS.to_owned(),
            None => "unknown".to_owned(),
        }
    }

    fn sent(&self) -> MutexGuard<'_, BTreeMap<RequestId, Instant>> {
        self.sent.lock().expect("no holder of this lock panics")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Telemetry for Metrics {
    fn record(&self, event: &Event<'_>) {
        let count = |family: &Family<Reason, Counter>, reason| {
            family.get_or_create(&Reason { reason }).inc();
        };
        let count_of = |family: &Family<Broker, Counter>, broker| {
            family.get_or_create(&Broker { broker }).inc();
        };
        match *event {
            Event::TaskDispatched { .. } => drop(self.tasks_dispatched.inc()),
            Event::TaskStarted { .. } => {}
            Event::TaskDone { latency_us, age_us, .. } => {
                self.tasks_done.inc();
                self.task_latency.observe(latency_us as f64 / 1e6);
                self.task_age.observe(age_us as f64 / 1e6);
            }
            Event::TaskRetried { reason, .. } => count(&self.tasks_retried, reason.name()),
            Event::TaskDeadLettered { reason, .. } => count(&self.tasks_dead_lettered, reason.name()),
            Event::RequestSent { request, .. } => self.begin(request),
            Event::ReplyReceived { request, status } => self.end(request, name_of(status), true),
            Event::RequestTimedOut { request } => self.end(request, "timed_out", false),
            Event::RequestFailed { request, reason } => self.end(request, reason.name(), false),
            Event::RequestTaken { .. } => drop(self.requests_taken.inc()),
            Event::RequestForwarded { .. } => drop(self.requests_forwarded.inc()),
            Event::ReplyReturned { .. } => drop(self.replies_returned.inc()),
            Event::RoutesStored { labels, .. } => {
                self.reports_stored.inc();
                self.routes_stored.inc_by(labels as u64);
            }
            Event::LeftOut { gateway, parts, .. } => {
                self.left_out.get_or_create(&Gateway { gateway: self.name_of_gateway(gateway) }).inc_by(parts as u64);
            }
            Event::ClockOff { gateway, ahead_ms } => {
                let gateway = Gateway { gateway: self.name_of_gateway(Some(gateway)) };
                if gateway.gateway != OTHERS {
                    self.clock_ahead.get_or_create(&gateway).set(ahead_ms);
                }
                self.clock_off.get_or_create(&gateway).inc();
            }
            Event::Dropped { reason, .. } => count(&self.dropped, reason.name()),
            Event::CorruptValue { .. } => drop(self.corrupt_values.inc()),
            Event::Refused { broker, reason, .. } => {
                self.refusals.get_or_create(&Refusal { broker, reason }).inc();
            }
            Event::QueueMissing { .. } => drop(self.queues_missing.inc()),
            Event::SpansDropped { spans, .. } => drop(self.spans_dropped.inc_by(spans)),
            Event::Disconnected { broker, .. } => count_of(&self.disconnects, broker),
            Event::Connected { broker } => count_of(&self.connects, broker),
        }
    }
}

fn name_of(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::Superseded => "superseded",
        Status::Failed => "failed",
        Status::NoRoute => "no_route",
        Status::GatewayOffline => "gateway_offline",
        Status::BrokerRefused => "broker_refused",
        Status::BrokerUnavailable => "broker_unavailable",
        Status::TooLarge => "too_large",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        env::Env,
        message::{Mac, TaskId},
        telemetry::{DropReason, FailReason},
    };
    use std::time::Duration;

    /// The value of a line of the text.
    fn value(text: &str, name: &str) -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        line.split(' ').next()?.parse().ok()
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_counted_by_outcome_timed_and_in_flight_until_they_end() {
        let (metrics, task) = (Metrics::new(), "task".parse::<TaskId>().unwrap());
        let requests: Vec<_> = (0..4).map(|_| RequestId::draw(&Env::tokio())).collect();
        for request in &requests {
            metrics.record(&Event::RequestSent { request: *request, esl: Mac::new(1), task: &task });
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
        metrics.record(&Event::ReplyReceived { request: requests[0], status: Status::Done });
        metrics.record(&Event::RequestTimedOut { request: requests[1] });
        metrics.record(&Event::RequestFailed { request: requests[2], reason: FailReason::BrokerUnavailable });
        let text = metrics.to_text();
        assert_eq!(value(&text, "backbone_rpcs_total{outcome=\"done\"}"), Some(1.0), "{text}");
        assert_eq!(value(&text, "backbone_rpcs_total{outcome=\"timed_out\"}"), Some(1.0));
        assert_eq!(value(&text, "backbone_rpcs_total{outcome=\"broker_unavailable\"}"), Some(1.0));
        assert_eq!(value(&text, "backbone_rpcs_in_flight"), Some(1.0));
        assert_eq!(value(&text, "backbone_rpc_latency_seconds_bucket{le=\"0.025\"}"), Some(0.0));
        assert_eq!(value(&text, "backbone_rpc_latency_seconds_bucket{le=\"0.05\"}"), Some(1.0));
        assert_eq!(value(&text, "backbone_rpc_latency_seconds_count"), Some(1.0));
    }

    #[test]
    fn what_is_left_out_of_a_gateways_messages_is_counted_by_its_name_up_to_a_hundred_of_them() {
        let metrics = Metrics::new();
        for gateway in (0..=NAMED_GATEWAYS_MAX as u64).map(Mac::new) {
            metrics.record(&Event::LeftOut { gateway: Some(gateway), parts: 2, example: "127 dBm" });
        }
        metrics.record(&Event::LeftOut { gateway: Some(Mac::new(0)), parts: 3, example: "" });
        metrics.record(&Event::LeftOut { gateway: None, parts: 1, example: "" });
        let text = metrics.to_text();
        let of = |gateway| value(&text, &format!("backbone_gateway_parts_left_out_total{{gateway=\"{gateway}\"}}"));
        assert_eq!(["00:00:00:00:00:00", "00:00:00:00:00:63"].map(of), [Some(5.0), Some(2.0)], "{text}");
        assert_eq!(["others", "unknown"].map(of), [Some(2.0), Some(1.0)]);
    }

    #[test]
    fn a_task_that_waited_and_was_retried_counts_with_all_of_its_age_and_apart_from_it_with_its_calls() {
        let (metrics, task) = (Metrics::new(), "task".parse::<TaskId>().unwrap());
        metrics.record(&Event::TaskDone { task: &task, attempt: 2, latency_us: 2_900, age_us: 7_060_000 });
        let text = metrics.to_text();
        assert_eq!(value(&text, "backbone_task_latency_seconds_sum"), Some(0.0029), "{text}");
        assert_eq!(value(&text, "backbone_task_end_to_end_seconds_sum"), Some(7.06));
        assert_eq!(value(&text, "backbone_task_end_to_end_seconds_bucket{le=\"5.0\"}"), Some(0.0));
        assert_eq!(value(&text, "backbone_task_end_to_end_seconds_bucket{le=\"10.0\"}"), Some(1.0));
    }

    #[test]
    fn a_gateways_wrong_clock_is_shown_with_its_offset_and_counted() {
        let metrics = Metrics::new();
        for gateway in (0..=NAMED_GATEWAYS_MAX as u64).map(Mac::new) {
            metrics.record(&Event::ClockOff { gateway, ahead_ms: -3_500 });
        }
        metrics.record(&Event::ClockOff { gateway: Mac::new(1), ahead_ms: 12 });
        let text = metrics.to_text();
        let of =
            |metric: &str, gateway| value(&text, &format!("backbone_gateway_clock_{metric}{{gateway=\"{gateway}\"}}"));
        let [first, second] = ["00:00:00:00:00:00", "00:00:00:00:00:01"];
        assert_eq!([first, second].map(|gateway| of("ahead_milliseconds", gateway)), [Some(-3_500.0), Some(12.0)]);
        assert_eq!([first, second, OTHERS].map(|gateway| of("off_total", gateway)), [Some(1.0), Some(2.0), Some(1.0)]);
        assert_eq!(of("ahead_milliseconds", OTHERS), None, "{text}");
    }

    #[test]
    fn drops_retries_and_connections_are_counted_by_reason_and_broker() {
        let (metrics, task) = (Metrics::new(), "task".parse::<TaskId>().unwrap());
        metrics.record(&Event::Dropped { reason: DropReason::Malformed, detail: "" });
        metrics.record(&Event::Dropped { reason: DropReason::Malformed, detail: "" });
        let reason = FailReason::Refused(Status::NoRoute);
        metrics.record(&Event::TaskRetried { task: &task, attempt: 1, reason, latency_us: 1, detail: "" });
        metrics.record(&Event::Disconnected { broker: "redis", reason: "reset" });
        let text = metrics.to_text();
        assert_eq!(value(&text, "backbone_dropped_total{reason=\"malformed\"}"), Some(2.0), "{text}");
        assert_eq!(value(&text, "backbone_tasks_retried_total{reason=\"no_route\"}"), Some(1.0));
        assert_eq!(value(&text, "backbone_disconnects_total{broker=\"redis\"}"), Some(1.0));
    }
}
