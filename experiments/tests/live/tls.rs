//! The services on real brokers that speak nothing but TLS with them, certificates made here: a task goes to a label
//! and back, the replicas say that they are ready, and stop when they are asked to.

use crate::{
    MACHINE,
    certificates::Files,
    gateway::{label, start_gateway},
};
use backbone::{
    admin::Admin,
    config::Config,
    env::Env,
    message::{Message as _, Task},
    service::{BckRouter, Dispatcher, FwdRouter, TaskWorker},
    telemetry::FanOut,
};
use sim::real::{
    broker::{Kind, Real, RealError, skip},
    port::Port,
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const VERSION: u64 = 7;
/// A password with characters that a URL could not hold as they are.
const REDIS_PASSWORD: &str = "p@ss/w:rd";

/// The three brokers, with TLS on `ports`, and the configuration of services that use them over TLS; `None` if they are
/// not installed.
fn brokers(files: &Files, ports: [u16; 3]) -> Option<([Real; 3], Config)> {
    let rabbitmq = "listeners.ssl.1 = 127.0.0.1:PORT\nssl_options.cacertfile = CA\nssl_options.certfile = CERT\n\
                    ssl_options.keyfile = KEY\nssl_options.verify = verify_none\n";
    // For routers only those with a certificate; the gateway keeps to the plain listener.
    let mosquitto = "listener PORT 127.0.0.1\ncafile CA\ncertfile CERT\nkeyfile KEY\nrequire_certificate true\n";
    let redis = "tls-port PORT\ntls-ca-cert-file CA\ntls-cert-file CERT\ntls-key-file KEY\ntls-auth-clients no\n\
                 user router on >p@ss/w:rd ~* +@all\n";
    let start = |kind, text, port| match Real::start_with(kind, &files.fill(text, port)) {
        Ok(broker) => Some(broker),
        Err(RealError::NotInstalled(reason)) => {
            skip("a_task_goes_over_tls_to_a_label_and_back", &reason);
            None
        }
        Err(error) => panic!("{kind:?}: {error}"),
    };
    let brokers = [
        start(Kind::RabbitMq, rabbitmq, ports[0])?,
        start(Kind::Mosquitto, mosquitto, ports[1])?,
        start(Kind::Redis, redis, ports[2])?,
    ];
    let mut config = Config::default();
    config.amqp.url = format!("amqps://guest:guest@localhost:{}/%2f", ports[0]);
    (config.mqtt.host, config.mqtt.port) = ("localhost".into(), ports[1]);
    (config.mqtt.cert_file, config.mqtt.key_file) = (files.path("router.pem"), files.path("router.key"));
    config.redis.url = format!("rediss://router@localhost:{}/0", ports[2]);
    config.redis.password = REDIS_PASSWORD.into();
    for ca_file in [&mut config.amqp.ca_file, &mut config.mqtt.ca_file, &mut config.redis.ca_file] {
        *ca_file = files.path("ca.pem");
    }
    config.task_worker.retry_delay_ms = 200;
    config.validate().unwrap();
    Some((brokers, config))
}

/// A running service, with what it says of itself.
struct Service {
    admin: Admin,
    ended: oneshot::Receiver<()>,
}

impl Service {
    fn start<F: Future<Output = ()> + Send + 'static>(run: impl FnOnce(Arc<FanOut>) -> F) -> Self {
        let (admin, (end, ended)) = (Admin::default(), oneshot::channel());
        let service = run(Arc::new(FanOut(vec![admin.metrics.clone(), admin.readiness.clone()])));
        Env::tokio().spawn("service", async move {
            service.await;
            let _ = end.send(());
        });
        Self { admin, ended }
    }
}

/// Asks `condition` until it holds, and panics with what it said last if it doesn't within 30 s.
async fn wait_for(condition: impl Fn() -> Result<(), String>) {
    let limit = Instant::now() + Duration::from_secs(30);
    while let Err(reason) = condition() {
        assert!(Instant::now() < limit, "{reason}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_task_goes_over_tls_to_a_label_and_back() {
    let _machine = MACHINE.read().await;
    let files = Files::make(&["localhost", "router"]);
    let ports = [(); 3].map(|()| Port::claim().unwrap());
    let Some((brokers, config)) = brokers(&files, ports.each_ref().map(Port::number)) else { return };
    let (config, stop) = (Arc::new(config), CancellationToken::new());
    let services = [
        Service::start(|telemetry| FwdRouter::run(Env::tokio(), config.clone(), telemetry, stop.clone())),
        Service::start(|telemetry| BckRouter::run(Env::tokio(), config.clone(), telemetry, stop.clone())),
        Service::start(|telemetry| TaskWorker::run(Env::tokio(), config.clone(), telemetry, stop.clone())),
    ];
    let labels = start_gateway(brokers[1].port(), 1);
    for service in &services {
        wait_for(|| service.admin.readiness.check().map_err(|unready| unready.to_string())).await;
    }
    let task = format!(r#"{{"task_id":"a","commands":[{{"esl_mac":"{}","version":{VERSION},"body":1}}]}}"#, label(0));
    let tasks = futures_util::stream::iter([Task::parse(task.as_bytes()).unwrap()]);
    let telemetry = Arc::new(FanOut(Vec::new()));
    let dispatched = Dispatcher::run(Env::tokio(), config.clone(), telemetry, CancellationToken::new(), tasks);
    assert_eq!(dispatched.await.unwrap(), 1);
    wait_for(|| {
        let metrics = services[2].admin.metrics.to_text();
        metrics.contains("backbone_tasks_done_total 1").then_some(()).ok_or(metrics)
    })
    .await;
    assert_eq!(labels.version(label(0)), Some(VERSION));
    stop.cancel();
    for service in services {
        timeout(Duration::from_secs(10), service.ended).await.expect("an idle service stops at once").unwrap();
    }
}
