//! Gateways that are gone, and a monitor that makes them look as if they were there.

use super::{Field, gateway_mac, label, run, task};
use backbone::{
    config::{Config, Presence, RoutingMode, RpcKind},
    env::Env,
};
use rumqttc::{AsyncClient, MqttOptions, mqttbytes::QoS};
use sim::broker::mqtt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A client that subscribes to everything.
fn start_monitor(env: Env) {
    let mut options = MqttOptions::new("monitor", ("mosquitto", 1883));
    let inside = env.clone();
    options.set_keep_alive(10).set_socket_connector(move |_address: String, _network| {
        let env = inside.clone();
        async move { env.connect("mosquitto", 1883).await }
    });
    let (client, mut events) = AsyncClient::builder(options).capacity(10).build();
    client.try_subscribe("#", QoS::AtLeastOnce).unwrap();
    env.spawn("monitor", async move {
        let _client = client;
        loop {
            events.poll().await.unwrap();
        }
    });
}

fn config(kind: RpcKind, mode: RoutingMode, presence: Presence) -> Config {
    let mut config = Config::default();
    config.rpc.kind = kind;
    (config.routing.mode, config.routing.presence) = (mode, presence);
    (config.task_worker.reply_timeout_ms, config.task_worker.attempts_max) = (5_000, 2);
    config
}

/// A world with a monitor, whose first gateway crashes.
async fn lose_gateway(field: &Field) {
    field.start_gateway(0, |plan| plan.tells_status = true);
    start_monitor(field.cluster.env("monitor"));
    field.start_services().await;
    field.dispatch(vec![task("before", label(0), 1)]);
    field.until_said("TaskDone", 1).await;
    field.cluster.crash("gateway-0");
    sleep(Duration::from_millis(100)).await;
}

#[test]
fn a_monitor_makes_a_gateway_that_is_gone_look_online_unless_its_will_is_heard() {
    for kind in [RpcKind::Queue, RpcKind::Http] {
        run(mqtt::Config::default(), config(kind, RoutingMode::Fixed, Presence::Puback), async |field: Field| {
            lose_gateway(&field).await;
            field.dispatch(vec![task("after", label(1), 1)]);
            let retried = field.until_said("TaskRetried", 1).await;
            assert!(retried.text.contains("Timeout"), "{retried:?}");
        });
        run(mqtt::Config::default(), config(kind, RoutingMode::Fixed, Presence::Status), async |field: Field| {
            lose_gateway(&field).await;
            let start = Instant::now();
            field.dispatch(vec![task("after", label(1), 1)]);
            let retried = field.until_said("TaskRetried", 1).await;
            assert!(retried.text.contains("GatewayOffline"), "{retried:?}");
            assert!(retried.at - start < Duration::from_millis(100), "{:?}", retried.at - start);
            let _restarted = field.cluster.restart("gateway-0");
            field.start_gateway(0, |plan| plan.tells_status = true);
            field.until_said("TaskDone", 2).await;
        });
    }
}

#[test]
fn a_router_that_comes_later_knows_a_gateway_that_went_before() {
    run(mqtt::Config::default(), config(RpcKind::Queue, RoutingMode::Fixed, Presence::Status), async |field: Field| {
        field.start_gateway(0, |plan| plan.tells_status = true);
        start_monitor(field.cluster.env("monitor"));
        sleep(Duration::from_secs(1)).await;
        field.cluster.crash("gateway-0");
        field.start_services().await;
        field.dispatch(vec![task("after", label(1), 1)]);
        let retried = field.until_said("TaskRetried", 1).await;
        assert!(retried.text.contains("GatewayOffline"), "{retried:?}");
    });
}

#[test]
fn a_command_goes_to_the_next_best_gateway_while_the_best_one_is_offline() {
    for kind in [RpcKind::Queue, RpcKind::Http] {
        run(mqtt::Config::default(), config(kind, RoutingMode::Rssi, Presence::Status), async |field: Field| {
            field.start_gateway(1, |plan| plan.tells_status = true);
            lose_gateway(&field).await;
            field.dispatch(vec![task("after", label(1), 1)]);
            let done = field.until_said("TaskDone", 2).await;
            assert!(done.text.contains("attempt: 1"), "{done:?}");
            let forwarded: Vec<_> = field.said("RequestForwarded").into_iter().map(|said| said.text).collect();
            let to = |index| forwarded.iter().filter(|text| text.contains(&gateway_mac(index).to_string())).count();
            assert_eq!((to(0), to(1)), (1, 1), "{forwarded:?}");
        });
    }
}

#[test]
fn a_gateway_that_forgets_to_say_that_it_is_back_is_believed_by_its_reports() {
    run(mqtt::Config::default(), config(RpcKind::Queue, RoutingMode::Rssi, Presence::Status), async |field: Field| {
        lose_gateway(&field).await;
        let _restarted = field.cluster.restart("gateway-0");
        field.start_gateway(0, |_| {});
        sleep(Duration::from_secs(5)).await;
        field.dispatch(vec![task("after", label(1), 1)]);
        field.until_said("TaskDone", 2).await;
        assert_eq!(field.said("TaskRetried").len(), 0);
    });
}
