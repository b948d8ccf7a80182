//! The real brokers start, obey and leave nothing behind.

use sim::real::{
    broker::{Kind, Real, RealError, skip},
    port::Port,
};
use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    path::Path,
    process::Command,
    time::Duration,
};

fn ping(redis: &Real) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(("127.0.0.1", redis.port()))?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer)?;
    Ok(&answer == b"+PONG\r\n")
}

#[test]
fn a_broker_obeys_and_is_gone_with_its_folder_after_the_drop() {
    let Some(mut redis) = Real::start_or_skip(Kind::Redis, "a_broker_obeys") else { return };
    assert!(ping(&redis).unwrap());
    redis.pause().unwrap();
    assert!(ping(&redis).is_err());
    redis.resume().unwrap();
    assert!(ping(&redis).unwrap());
    let (port, pid) = (redis.port(), redis.pid());
    redis.kill().unwrap();
    assert!(ping(&redis).is_err());
    redis.start_again().unwrap();
    assert!(ping(&redis).unwrap());
    assert_eq!(redis.port(), port);
    assert_ne!(redis.pid(), pid);
    redis.pause().unwrap();
    let (folder, process) = (redis.folder().to_owned(), format!("/proc/{}", redis.pid()));
    assert!(folder.is_dir() && Path::new(&process).exists());
    drop(redis);
    assert!(!folder.exists() && !Path::new(&process).exists());
}

#[test]
fn a_configuration_that_the_broker_refuses_is_an_error() {
    if Real::start_or_skip(Kind::Redis, "a_configuration_that_the_broker_refuses").is_none() {
        return;
    }
    assert!(Real::start_with(Kind::Redis, "no-such-directive 1").is_err());
}

#[test]
fn rabbitmq_serves_and_takes_orders_from_its_own_command_line() {
    let Some(rabbit) = Real::start_or_skip(Kind::RabbitMq, "rabbitmq_serves") else { return };
    let listed = rabbit.rabbitmqctl(&["list_queues", "--silent"]).unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
}

/// What `compose.yaml` has for Mosquitto: its configuration, and the command that tells its health.
fn compose_of_mosquitto() -> (String, Vec<String>) {
    let compose = include_str!("../../../compose.yaml");
    let (_, content) = compose.split_once("content: |\n").unwrap();
    let configuration: Vec<&str> = content.lines().map_while(|line| line.strip_prefix("      ")).collect();
    let check = compose.lines().find(|line| line.contains("mosquitto_sub")).unwrap();
    let (_, command) = check.trim_end_matches(']').split_once("[CMD, ").unwrap();
    // Compose writes a dollar twice.
    let command = command.split(", ").map(|word| word.trim_matches('"').replace("$$", "$")).collect();
    (configuration.join("\n"), command)
}

#[test]
fn mosquitto_serves_with_the_configuration_of_compose_yaml_and_passes_its_health_check() {
    let who = "mosquitto_serves_with_the_configuration_of_compose_yaml";
    let (configuration, command) = compose_of_mosquitto();
    assert!(configuration.contains("listener 1883"), "{configuration}");
    let claimed = Port::claim().unwrap();
    let port = claimed.number();
    // Without the file's own permission nobody would be let in.
    let configuration = format!("allow_anonymous false\n{}", configuration.replace("1883", &port.to_string()));
    let _mosquitto = match Real::start_with(Kind::Mosquitto, &configuration) {
        Ok(mosquitto) => mosquitto,
        Err(RealError::NotInstalled(reason)) => return skip(who, &reason),
        Err(error) => panic!("{error}"),
    };
    let check = Command::new(&command[0]).args(&command[1..]).args(["-p", &port.to_string()]).output();
    let check = match check {
        Err(error) if error.kind() == ErrorKind::NotFound => return skip(who, "not installed: mosquitto-clients"),
        check => check.unwrap(),
    };
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    assert!(String::from_utf8_lossy(&check.stdout).contains("seconds"), "{check:?}");
}
