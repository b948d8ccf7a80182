//! The real brokers start, obey and leave nothing behind.

use sim::broker::real::{Kind, Real};
use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
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
