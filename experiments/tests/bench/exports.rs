//! Files for other people's programs, held to what those programs say of them. `tshark` and `protoc` judge where they
//! are installed.

use backbone::config::{Replies, RpcKind};
use experiments::{
    attribution::{Cause, Details, Span},
    explain::{otlp, pcap, perfetto},
    run::{Explained, explained},
    spec::{Fault, FaultKind, Library, Pod, Spec},
};
use serde_json::Value;
use sim::{observe::Fate, real::broker::REQUIRE};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::LazyLock,
};

const ALL: Details = Details { journeys: true, capture: true, calls: false };

/// Segments are lost, a worker and a router crash, and calls go both ways.
fn troubled() -> Spec {
    let mut spec = Spec::default();
    spec.workload.tasks = 60;
    spec.replicas.task_workers = 3;
    spec.replicas.routers = 2;
    (spec.fleet.gateways, spec.fleet.esls) = (3, 30);
    spec.network.loss_ppm = 5_000;
    spec.fleet.ble_service_ms.median = 3;
    spec.backbone.task_worker.reply_timeout_ms = 3_000;
    spec.backbone.task_worker.retry_delay_ms = 1_000;
    spec.limits.virtual_s_max = 3_600;
    spec.faults = vec![
        Fault::new(100, FaultKind::Crash, Pod::TaskWorker(0), 500),
        Fault::new(150, FaultKind::Cut, Pod::Gateway(0), 500),
        Fault::new(300, FaultKind::Crash, Pod::Redis, 500),
    ];
    spec
}

/// The thesis' kernels: Nagle's algorithm against delayed acknowledgements.
fn stalling() -> Spec {
    let mut spec = Library::repository().load("custom_10k_2").unwrap();
    (spec.workload.tasks, spec.replicas.worker_stagger_ms) = (100, 0);
    spec
}

/// A run of it, for all who look at one.
static TROUBLED: LazyLock<Explained> = LazyLock::new(|| explain(&troubled()));

fn explain(spec: &Spec) -> Explained {
    let run = explained(spec, ALL, true).unwrap();
    assert!(!run.attribution.journeys.hops.is_empty() && !run.attribution.capture.segments.is_empty());
    assert_eq!((run.attribution.journeys.hops_left_out, run.attribution.capture.left_out), (0, 0));
    run
}

/// What a program prints; `None` if it is not installed. In CI it must be.
fn output(program: &str, arguments: &[&str], input: &[u8]) -> Option<String> {
    let command = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match command {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let why = format!("{program} is not installed; `scripts/brokers install` does it on Debian");
            assert!(std::env::var_os(REQUIRE).is_none(), "{why}");
            eprintln!("skipped: {why}");
            return None;
        }
        child => child.unwrap(),
    };
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A field of all packets that a display filter lets through.
fn tshark(capture: &Path, filter: &str, field: &str) -> Option<Vec<String>> {
    let file = capture.to_str().unwrap();
    let checks = ["-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE"];
    let arguments =
        [&["-n", "-r", file][..], &checks, &["-Y", filter, "-T", "fields", "-E", "aggregator=|", "-e", field]].concat();
    let text = output("tshark", &arguments, b"")?;
    Some(text.lines().map(str::to_owned).collect())
}

/// Nagle's algorithm waited for an acknowledgement that was delayed by all of its timer, 40 ms.
fn is_stall(span: &Span) -> bool {
    span.cause == Cause::DelayedAck && (40_000_000..50_000_000).contains(&(span.to_ns - span.from_ns))
}

#[test]
fn wireshark_finds_nothing_wrong_with_a_capture_whatever_breaks() {
    let run = &*TROUBLED;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.pcapng");
    std::fs::write(&file, pcap(&troubled(), &run.attribution)).unwrap();
    let Some(all) = tshark(&file, "frame", "frame.interface_name") else { return };
    let segments = &run.attribution.capture.segments;
    assert_eq!(all.len(), segments.len());
    let names: BTreeSet<&str> = all.iter().map(String::as_str).collect();
    for name in ["amqp", "mqtt", "redis", "redis (2)", "task_worker-0 (2)", "gateway-0", "dispatcher"] {
        assert!(names.contains(name), "no segment left {name}; there are {names:?}");
    }
    let wrong = "_ws.malformed || ip.checksum.status == 0 || tcp.checksum.status == 0 || tcp.analysis.lost_segment \
                 || tcp.analysis.ack_lost_segment";
    assert_eq!(tshark(&file, wrong, "frame.number").unwrap(), [""; 0]);
    for (protocol, least) in [("amqp", 1_000), ("mqtt.msgtype == 3", 200), ("resp", 200), ("tcp.flags.fin == 1", 2)] {
        let found = tshark(&file, protocol, "frame.number").unwrap().len();
        assert!(found >= least, "{found} segments of {protocol}");
    }
    let mut over_http = troubled();
    over_http.backbone.rpc.kind = RpcKind::Http;
    over_http.faults.clear();
    std::fs::write(&file, pcap(&over_http, &explain(&over_http).attribution)).unwrap();
    assert_eq!(tshark(&file, wrong, "frame.number").unwrap(), [""; 0]);
    assert!(tshark(&file, "http.request || http.response", "frame.number").unwrap().len() > 200);
}

#[test]
fn what_is_sent_again_says_so() {
    let run = &*TROUBLED;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.pcapng");
    std::fs::write(&file, pcap(&troubled(), &run.attribution)).unwrap();
    let segments = &run.attribution.capture.segments;
    let again = |fate: Fate| matches!(fate, Fate::SentAgain | Fate::LostAgain);
    let sent_again = segments.iter().filter(|segment| again(segment.header.fate)).count();
    let Some(said) = tshark(&file, "frame.comment contains \"sent again, \"", "frame.number") else { return };
    assert_eq!((said.len(), sent_again > 10), (sent_again, true));
}

#[test]
fn stalls_are_found_in_a_capture_by_their_comments() {
    let run = explain(&stalling());
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.pcapng");
    std::fs::write(&file, pcap(&stalling(), &run.attribution)).unwrap();
    let Some(lines) = tshark(&file, "frame.comment contains \"and a delayed ACK\"", "frame.comment") else { return };
    assert_eq!(tshark(&file, "_ws.malformed", "frame.number").unwrap(), [""; 0]);
    // Of each comment, what passed on the way.
    let ways = lines.iter().flat_map(|line| line.split('|')).filter_map(|comment| comment.split_once("; to "));
    let found = ways.filter(|(_, way)| way.contains("and a delayed ACK 4")).count();
    let journeys = &run.attribution.journeys;
    let ways = journeys.hops.iter().map(|hop| &hop.way).chain(journeys.stalls.iter().map(|stall| &stall.way));
    let stalls = ways.filter(|way| way.iter().any(is_stall)).count();
    assert_eq!((found, stalls > 100), (stalls, true));
    assert!(lines.iter().any(|line| line.starts_with("an acknowledgement; to ")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("task-") && line.contains(", request ")), "{lines:?}");
}

/// As much of Perfetto's format as is looked at.
const PERFETTO: &str = r#"
    syntax = "proto2";
    message Trace { repeated Packet packet = 1; }
    message Packet {
        optional uint64 timestamp = 8;
        optional uint32 sequence = 10;
        optional Event event = 11;
        optional Track track = 60;
    }
    message Track {
        optional uint64 uuid = 1;
        optional string name = 2;
        optional Process process = 3;
        optional uint64 parent = 5;
    }
    message Process { optional int32 pid = 1; optional string name = 6; }
    message Event {
        repeated Annotation annotation = 4;
        optional Type type = 9;
        optional uint64 track = 11;
        optional string name = 23;
        repeated fixed64 flow = 47;
        repeated fixed64 last_of_flow = 48;
    }
    message Annotation { optional string text = 6; optional string name = 10; }
    enum Type { NONE = 0; BEGIN = 1; END = 2; }
"#;

#[test]
fn a_trace_for_perfetto_has_slices_that_nest_and_arrows_with_two_ends() {
    let run = &*TROUBLED;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("trace.proto"), PERFETTO).unwrap();
    let path = format!("--proto_path={}", folder.path().display());
    let trace = perfetto(&run.attribution);
    let Some(text) = output("protoc", &["--decode=Trace", &path, "trace.proto"], &trace) else { return };
    let is_unknown = |line: &&str| line.trim_start().starts_with(|first: char| first.is_ascii_digit());
    assert_eq!(text.lines().find(is_unknown), None, "a field that the format does not have");
    // Of each track: when its open slices began.
    let mut open: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let (mut tracks, mut starts, mut ends) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for packet in text.split("packet {\n").skip(1) {
        let value = |key: &str| {
            let line = packet.lines().find_map(|line| line.trim_start().strip_prefix(key))?;
            Some(line.trim_matches('"').to_owned())
        };
        let values = |key: &'static str| {
            packet.lines().filter_map(move |line| line.trim_start().strip_prefix(key)?.parse::<u64>().ok())
        };
        if let Some(uuid) = value("uuid: ") {
            tracks.insert(uuid.parse::<u64>().unwrap());
            continue;
        }
        let (at_ns, track): (u64, u64) =
            (value("timestamp: ").unwrap().parse().unwrap(), value("track: ").unwrap().parse().unwrap());
        assert!(tracks.contains(&track), "{packet}");
        let slices = open.entry(track).or_default();
        match value("type: ").unwrap().as_str() {
            "BEGIN" => {
                assert!(slices.last().is_none_or(|began_ns| *began_ns <= at_ns), "{packet}");
                slices.push(at_ns);
                *names.entry(value("name: ").unwrap()).or_default() += 1;
            }
            _ => assert!(slices.pop().is_some_and(|began_ns| began_ns <= at_ns), "{packet}"),
        }
        starts.extend(values("flow: "));
        ends.extend(values("last_of_flow: "));
    }
    assert!(open.values().all(Vec::is_empty), "slices without an end");
    let hops = &run.attribution.journeys.hops;
    let led_on: BTreeSet<u64> = hops.iter().filter(|hop| hop.before.is_some()).map(|hop| hop.number).collect();
    assert_eq!((&starts, &ends), (&led_on, &led_on));
    assert!(text.contains("name: \"task_worker-0 (2)\"") && text.contains("name: \"tasks\""));
    assert!(names.len() > 10, "{names:?}");
}

/// All spans, by their ids, with the service that they are of.
fn spans(document: &Value) -> BTreeMap<String, (String, &Value)> {
    let mut spans = BTreeMap::new();
    for resource in document["resourceSpans"].as_array().unwrap() {
        let service = &resource["resource"]["attributes"][0];
        assert_eq!(service["key"], "service.name");
        for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
            let id = span["spanId"].as_str().unwrap().to_owned();
            assert!(id.len() == 16 && span["traceId"].as_str().unwrap().len() == 32, "{span}");
            let service = service["value"]["stringValue"].as_str().unwrap().to_owned();
            assert!(spans.insert(id, (service, span)).is_none(), "two spans with one id: {span}");
        }
    }
    spans
}

fn times(span: &Value) -> (u64, u64) {
    let [from, to] = ["startTimeUnixNano", "endTimeUnixNano"].map(|key| span[key].as_str().unwrap().parse().unwrap());
    (from, to)
}

#[test]
fn spans_make_a_tree_for_each_task_and_name_what_was_waited_for() {
    let run = &*TROUBLED;
    let text = otlp(&troubled(), &run.attribution);
    let document: Value = serde_json::from_slice(&text).unwrap();
    let spans = spans(&document);
    let mut roots = 0;
    for (_, span) in spans.values() {
        let (from, to) = times(span);
        assert!(from <= to, "{span}");
        let Some(parent) = span["parentSpanId"].as_str() else {
            roots += 1;
            continue;
        };
        let (_, parent) = &spans[parent];
        assert_eq!(parent["traceId"], span["traceId"]);
        for link in span["links"].as_array().into_iter().flatten() {
            let (_, before) = &spans[link["spanId"].as_str().unwrap()];
            assert!(times(before).1 <= to && before["traceId"] == span["traceId"], "{span} after {before}");
        }
    }
    assert_eq!(roots, run.attribution.tasks.len());
    let services: BTreeSet<&str> = spans.values().map(|(service, _)| service.as_str()).collect();
    for service in ["producer", "dispatcher", "amqp", "fwd_router", "bck_router", "mqtt", "gateway", "task_worker"] {
        assert!(services.contains(service), "{services:?}");
    }
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("shelfwire.wait.retransmission_us") && text.contains("shelfwire.wait.radio_us"));
}

/// How often a text is in what hosts of a kind send to those of another.
fn occurrences(run: &Explained, text: &[u8], from: &str, to: &str) -> usize {
    let capture = &run.attribution.capture;
    let is_of = |host: u16, kind: &str| run.attribution.pods[usize::from(host)].kind() == kind;
    let mut flows: BTreeMap<_, Vec<u8>> = BTreeMap::new();
    for segment in &capture.segments {
        let (source, destination) = (segment.header.from, segment.header.to);
        if is_of(source.0, from) && is_of(destination.0, to) {
            flows.entry((source, destination)).or_default().extend_from_slice(capture.payload(segment));
        }
    }
    flows.values().map(|bytes| bytes.windows(text.len()).filter(|window| *window == text).count()).sum()
}

/// The hops of a request on its way to a label, by the kinds of pods at both ends.
type Ways = &'static [(&'static str, &'static str)];
const OVER_QUEUES: Ways =
    &[("task_worker", "amqp"), ("amqp", "fwd_router"), ("fwd_router", "mqtt"), ("mqtt", "gateway")];
const OVER_HTTP: Ways = &[("task_worker", "http_router"), ("http_router", "mqtt"), ("mqtt", "gateway")];

#[test]
fn a_traced_request_says_so_on_all_of_its_way_and_no_other_does() {
    for (kind, ways) in [(RpcKind::Queue, OVER_QUEUES), (RpcKind::Http, OVER_HTTP)] {
        let mut spec = troubled();
        (spec.network.loss_ppm, spec.faults) = (0, Vec::new());
        spec.backbone.rpc.kind = kind;
        spec.backbone.http_router.replies = Replies::ResponseTopic; // or some would be tried again
        let untraced = explain(&spec);
        assert!(ways.iter().all(|(from, to)| occurrences(&untraced, b"traceparent", from, to) == 0));
        // There is nobody of that name, so the spans are dropped; who waits for them is nobody.
        spec.backbone.tracing.collector = "http://collector:4318/v1/traces".into();
        for (sample_ppm, share) in [(0, 0.0..=0.0), (1_000_000, 1.0..=1.0), (500_000, 0.3..=0.7)] {
            spec.backbone.tracing.sample_ppm = sample_ppm;
            let run = explain(&spec);
            let requests = run.run.outcome.counters.rpcs_sent as f64;
            for (from, to) in ways {
                let traced = occurrences(&run, b"traceparent", from, to) as f64;
                assert!(share.contains(&(traced / requests)), "{traced} of {requests} from {from} to {to}");
            }
            if sample_ppm == 1_000_000 {
                for call in &run.attribution.journeys.calls {
                    let parent = format!("00-{}-", call.request);
                    let mut seen = ways.iter().map(|(from, to)| occurrences(&run, parent.as_bytes(), from, to));
                    assert!(seen.all(|times| times == 1), "{parent}");
                }
            }
        }
    }
}

#[test]
fn the_same_run_gives_the_same_files() {
    let spec = troubled();
    let files =
        |run: &Explained| [pcap(&spec, &run.attribution), otlp(&spec, &run.attribution), perfetto(&run.attribution)];
    assert!(files(&TROUBLED) == files(&explain(&spec)));
}
