//! mosquitto_pub, mosquitto_sub and mosquitto_rr. They speak MQTT 3.1.1 unless told otherwise, which the emulated broker
//! doesn't.

use super::{Kind, Running, client, emulated, installed, on_both, run};
use std::collections::BTreeSet;

/// Arguments that begin all calls.
fn common(port: &str) -> [&str; 4] {
    ["-V", "5", "-p", port]
}

fn say(program: &str, port: u16, arguments: &[&str], input: &str) -> String {
    let port = port.to_string();
    let (said, complained, code) = run(client(program, &[&common(&port), arguments].concat()), input);
    format!("{said}{complained}exit code {code}\n")
}

fn publish(port: u16, arguments: &[&str]) -> String {
    say("mosquitto_pub", port, arguments, "")
}

fn subscribe(port: u16, arguments: &[&str]) -> String {
    say("mosquitto_sub", port, arguments, "")
}

/// Lets [`start`] tell when a program has subscribed.
fn prepare(port: u16) {
    publish(port, &["-t", "ready", "-m", "go", "-r"]);
}

/// A running `program` that has subscribed: it has got, and printed, the retained message of topic `ready`.
fn start(program: &str, port: u16, arguments: &[&str]) -> Running {
    let port = port.to_string();
    let mut running = Running::start(program, &[&common(&port), arguments, &["-t", "ready"]].concat());
    assert_eq!(running.line(), "go\n");
    running
}

fn clients_are_installed() -> bool {
    installed("mosquitto_pub") && installed("mosquitto_sub") && installed("mosquitto_rr")
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_wait_in_a_session_for_the_subscriber() {
    if !clients_are_installed() {
        return;
    }
    on_both(Kind::Mosquitto, |port| {
        let session = ["-i", "till", "-c", "-x", "600", "-q", "1", "-t", "shop/+/price"];
        let mut said = subscribe(port, &[&session[..], &["-E"]].concat());
        said += &say("mosquitto_pub", port, &["-t", "shop/1/price", "-q", "1", "-l"], "one\ntwo\n\n");
        said += &publish(port, &["-t", "shop/2/price", "-q", "1", "-m", "three"]);
        said += &publish(port, &["-t", "shop/2/stock", "-q", "1", "-m", "another topic"]);
        said + &subscribe(port, &[&session[..], &["-C", "4", "-F", "%t %p %q %r"]].concat())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retained_message_greets_subscribers_until_it_is_cleared() {
    if !clients_are_installed() {
        return;
    }
    on_both(Kind::Mosquitto, |port| {
        let ask = || subscribe(port, &["-t", "state/#", "-C", "1", "-W", "1", "-F", "%t %p %q %r"]);
        let mut said = publish(port, &["-t", "state/door", "-m", "open", "-r"]) + &ask();
        said += &publish(port, &["-t", "state/door", "-m", "shut", "-r", "-q", "1"]);
        said += &subscribe(port, &["-t", "state/door", "-C", "1", "-q", "2", "-F", "%t %p %r"]);
        said += &publish(port, &["-t", "state/door", "-n", "-r"]);
        said + &ask()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_will_of_a_killed_client_is_published_and_that_of_a_leaving_one_is_not() {
    if !clients_are_installed() {
        return;
    }
    on_both(Kind::Mosquitto, |port| {
        let watch = ["-i", "watch", "-c", "-x", "600", "-q", "1", "-t", "gone/#"];
        let mut said = subscribe(port, &[&watch[..], &["-E"]].concat());
        // Without a will to publish on leaving, as mosquitto_pub; mosquitto_sub asks for its will's publication.
        said += &publish(port, &["-t", "x", "-m", "x", "--will-topic", "gone/left", "--will-payload", "left"]);
        prepare(port);
        let victim = ["--will-topic", "gone/killed", "--will-payload", "killed", "--will-qos", "1"];
        start("mosquitto_sub", port, &victim).kill();
        said + &subscribe(port, &[&watch[..], &["-C", "1", "-v"]].concat())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_a_share_get_each_message_once_and_all_have_a_part() {
    if !clients_are_installed() {
        return;
    }
    on_both(Kind::Mosquitto, |port| {
        prepare(port);
        let member = || start("mosquitto_sub", port, &["-q", "1", "-t", "$share/workers/jobs"]);
        let mut members = [member(), member()];
        let lines: String = (0..10).map(|n| format!("{n}\n")).collect();
        say("mosquitto_pub", port, &["-t", "jobs", "-q", "1", "-l"], &lines);
        publish(port, &["-t", "ready", "-m", "end", "-q", "1"]);
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
    on_both(Kind::Mosquitto, |port| {
        let answering = ["-i", "answering", "-c", "-x", "600", "-q", "1", "-t", "ask"];
        subscribe(port, &[&answering[..], &["-E"]].concat());
        let port_text = port.to_string();
        let request = ["-q", "1", "-t", "ask", "-e", "answer", "-m", "how much?"];
        let mut asking = Running::start("mosquitto_rr", &[&common(&port_text), &request[..]].concat());
        let asked = subscribe(port, &[&answering[..], &["-C", "1", "-F", "%p %R"]].concat());
        publish(port, &["-t", "answer", "-q", "1", "-m", "12.90"]);
        asked + &asking.line()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_emulated_is_refused_in_words_that_the_programs_understand() {
    if !clients_are_installed() {
        return;
    }
    let port = emulated(Kind::Mosquitto).await;
    tokio::task::block_in_place(|| {
        let qos_2 = publish(port, &["-t", "a", "-m", "a", "-q", "2"]);
        assert!(qos_2.contains("QoS not supported"), "{qos_2}");
        let (_, old, code) = run(client("mosquitto_pub", &["-p", &port.to_string(), "-t", "a", "-m", "a"]), "");
        assert!(old.contains("unacceptable protocol version") && code != 0, "{old}");
    });
}
