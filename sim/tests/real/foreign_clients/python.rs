//! Scripts for Python's pika and paho-mqtt. They print what they see.

use super::{Kind, client, on_both, run, skip};
use std::process::Command;

/// Debian's packages are for its own Python, whatever else is in PATH.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];

/// Both begin with the same client.
const PAHO_WORK: &str = concat!(include_str!("paho_client.py"), include_str!("paho_work.py"));
const PAHO_DEFAULT_WORK: &str = concat!(include_str!("paho_client.py"), include_str!("paho_default_work.py"));

/// A Python that has `module`. If none has, the tests that use it are skipped and say so.
fn python_with(module: &str) -> Option<&'static str> {
    let has = |python: &&str| {
        let import = Command::new(python).args(["-c", &format!("import {module}")]).output();
        import.is_ok_and(|import| import.status.success())
    };
    let python = PYTHONS.into_iter().find(has);
    if python.is_none() {
        skip(&format!("Python's {module}"), "not installed; `scripts/brokers install` does it on Debian");
    }
    python
}

fn work(python: &str, script: &str, port: u16) -> String {
    let (said, complained, code) = run(client(python, &["-", &port.to_string()]), script);
    assert_eq!(code, 0, "{said}{complained}");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn pika_works_with_it() {
    let Some(python) = python_with("pika") else { return };
    on_both(Kind::RabbitMq, |port| work(python, include_str!("pika_work.py"), port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_works_with_it_in_version_5() {
    let Some(python) = python_with("paho.mqtt.client") else { return };
    on_both(Kind::Mosquitto, |port| work(python, PAHO_WORK, port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paho_works_with_it_in_its_default_version() {
    let Some(python) = python_with("paho.mqtt.client") else { return };
    on_both(Kind::Mosquitto, |port| work(python, PAHO_DEFAULT_WORK, port)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn awaited_publishes_do_not_stall_where_they_do_not_with_mosquitto() {
    let Some(python) = python_with("paho.mqtt.client") else { return };
    on_both(Kind::Mosquitto, |port| work(python, include_str!("paho_round_trips.py"), port)).await;
}
