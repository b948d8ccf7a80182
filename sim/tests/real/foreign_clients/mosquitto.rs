//! mosquitto_pub, mosquitto_sub and mosquitto_rr, in all versions of MQTT. They speak 3.1.1 unless told otherwise.

use super::{Kind, Running, client, installed, on_both, run};
use std::collections::BTreeSet;

/// A broker, and what the programs speak to it.
#[derive(Clone, Copy)]
struct At {
    port: u16,
    version: &'static [&'static str],
}

const VERSIONS: [&[&str]; 3] = [&[], &["-V", "mqttv31"], &["-V", "5"]];
const VERSION_5: usize = 2;

/// As [`on_both`], with all versions.
async fn in_all_versions(work: impl Fn(At) -> String + Sync) {
    for version in VERSIONS {
        on_both(Kind::Mosquitto, |port| work(At { port, version })).await;
    }
}

impl At {
    /// Lets a program, at another time, speak `version`.
    fn speaking(self, version: usize) -> Self {
        Self { version: VERSIONS[version], ..self }
    }

    /// Arguments of one who has a session that lasts.
    fn session(self, id: &'static str) -> Vec<&'static str> {
        let expiry: &[&str] = if self.version == VERSIONS[VERSION_5] { &["-x", "600"] } else { &[] };
        [&["-i", id, "-c"], expiry].concat()
    }

    fn say(self, program: &str, arguments: &[&str], input: &str) -> String {
        let port = self.port.to_string();
        let (said, complained, code) = run(client(program, &[self.version, &["-p", &port], arguments].concat()), input);
        format!("{said}{complained}exit code {code}\n")
    }

    fn publish(self, arguments: &[&str]) -> String {
        self.say("mosquitto_pub", arguments, "")
    }

    fn subscribe(self, arguments: &[&str]) -> String {
        self.say("mosquitto_sub", arguments, "")
    }

    /// Lets [`Self::start`] tell when a program has subscribed.
    fn prepare(self) {
        self.publish(&["-t", "ready", "-m", "go", "-r"]);
    }

    /// A running `program` that has subscribed: it has got, and printed, the retained message of topic `ready`.
    fn start(self, program: &str, arguments: &[&str]) -> Running {
        let port = self.port.to_string();
        let mut running =
            Running::start(program, &[self.version, &["-p", &port], arguments, &["-t", "ready"]].concat());
        assert_eq!(running.line(), "go\n");
        running
    }
}

fn clients_are_installed() -> bool {
    installed("mosquitto_pub") && installed("mosquitto_sub") && installed("mosquitto_rr")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_in_a_session_for_the_subscriber() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        let session = [&at.session("till")[..], &["-q", "1", "-t", "shop/+/price"]].concat();
        let mut said = at.subscribe(&[&session[..], &["-E"]].concat());
        said += &at.say("mosquitto_pub", &["-t", "shop/1/price", "-q", "1", "-l"], "one\ntwo\n\n");
        said += &at.publish(&["-t", "shop/2/price", "-q", "1", "-m", "three"]);
        said += &at.publish(&["-t", "shop/2/stock", "-q", "1", "-m", "another topic"]);
        said + &at.subscribe(&[&session[..], &["-C", "4", "-F", "%t %p %q %r"]].concat())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_qos_2_come_once_with_any_version_on_either_side() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        let mut said = String::new();
        for subscribers in 0..VERSIONS.len() {
            let there = at.speaking(subscribers);
            let session = [&there.session("exact")[..], &["-q", "2", "-t", "exact/#"]].concat();
            said += &there.subscribe(&[&session[..], &["-E"]].concat());
            // Not more than the window: Mosquitto 2.0.11 overruns it, and then mosquitto_sub leaves.
            let lines: String = (0..15).map(|n| format!("{n}\n")).collect();
            said += &at.say("mosquitto_pub", &["-t", "exact/1", "-q", "2", "-l"], &lines);
            said += &at.publish(&["-t", "exact/2", "-q", "1", "-m", "of QoS 1"]);
            said += &there.subscribe(&[&session[..], &["-C", "16", "-F", "%t %p %q"]].concat());
            said += &there.subscribe(&[&session[..], &["-W", "1"]].concat());
        }
        said
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_greets_subscribers_until_it_is_cleared() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        let ask = || at.subscribe(&["-t", "state/#", "-C", "1", "-W", "1", "-F", "%t %p %q %r"]);
        let mut said = at.publish(&["-t", "state/door", "-m", "open", "-r"]) + &ask();
        said += &at.publish(&["-t", "state/door", "-m", "shut", "-r", "-q", "1"]);
        said += &at.subscribe(&["-t", "state/door", "-C", "1", "-q", "2", "-F", "%t %p %r"]);
        said += &at.publish(&["-t", "state/door", "-n", "-r"]);
        said + &ask()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_will_of_a_killed_client_is_published_and_that_of_a_leaving_one_is_not() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        let watch = [&at.session("watch")[..], &["-q", "2", "-t", "gone/#"]].concat();
        let mut said = at.subscribe(&[&watch[..], &["-E"]].concat());
        // Without a will to publish on leaving, as mosquitto_pub; mosquitto_sub asks for its will's publication.
        said += &at.publish(&["-t", "x", "-m", "x", "--will-topic", "gone/left", "--will-payload", "left"]);
        at.prepare();
        let victim = ["--will-topic", "gone/killed", "--will-payload", "killed", "--will-qos", "2"];
        at.start("mosquitto_sub", &victim).kill();
        said + &at.subscribe(&[&watch[..], &["-C", "1", "-F", "%t %p %q"]].concat())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_share_get_each_message_once_and_all_have_a_part() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        at.prepare();
        let member = || at.start("mosquitto_sub", &["-q", "1", "-t", "$share/workers/jobs"]);
        let mut members = [member(), member()];
        let lines: String = (0..10).map(|n| format!("{n}\n")).collect();
        at.say("mosquitto_pub", &["-t", "jobs", "-q", "1", "-l"], &lines);
        at.publish(&["-t", "ready", "-m", "end", "-q", "1"]);
        let mut got = Vec::new();
        for member in &mut members {
            let lines: Vec<String> =
                std::iter::from_fn(|| Some(member.line()).filter(|line| line != "end\n")).collect();
            assert!(!lines.is_empty(), "a member got nothing");
            got.extend(lines);
        }
        assert_eq!(got.len(), 10, "{got:?}");
        format!("{:?}", got.into_iter().collect::<BTreeSet<_>>())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_its_response() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        // Only version 5 names the response's topic in the request.
        let answering = at.speaking(VERSION_5);
        let session = [&answering.session("answering")[..], &["-q", "1", "-t", "ask"]].concat();
        answering.subscribe(&[&session[..], &["-E"]].concat());
        let port_text = at.port.to_string();
        let request = ["-p", &port_text, "-q", "1", "-t", "ask", "-e", "answer", "-m", "how much?"];
        let mut asking = Running::start("mosquitto_rr", &[at.version, &request[..]].concat());
        let asked = answering.subscribe(&[&session[..], &["-C", "1", "-F", "%p %R"]].concat());
        answering.publish(&["-t", "answer", "-q", "1", "-m", "12.90"]);
        asked + &asking.line()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_an_id_is_told_what_it_may_not_have() {
    if !clients_are_installed() {
        return;
    }
    in_all_versions(|at| {
        at.publish(&["-i", "", "-t", "a", "-m", "a", "-q", "1"]) + &at.subscribe(&["-i", "", "-c", "-t", "a", "-E"])
    })
    .await;
}
