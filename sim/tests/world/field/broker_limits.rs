//! What a broker does not take.

use super::{Field, label, run, task};
use backbone::config::{Config, RpcKind};
use sim::broker::mqtt;
use std::time::Duration;
use tokio::time::{Instant, sleep};

fn both_ways(mosquitto: &mqtt::Config, story: impl AsyncFn(Field) + Clone + Send + 'static) {
    for kind in [RpcKind::Queue, RpcKind::Http] {
        let mut config = Config::default();
        config.rpc.kind = kind;
        config.task_worker.prefetch = 16;
        let story = story.clone();
        run(mosquitto.clone(), config, async move |field| story(field).await);
    }
}

#[test]
fn a_command_that_is_too_large_for_the_broker_is_refused_alone_and_at_once_with_its_size_and_the_limit() {
    let mosquitto = mqtt::Config { packet_bytes_max: 2_000, ..mqtt::Config::default() };
    both_ways(&mosquitto, async |field: Field| {
        field.start_gateway(0, |_| {});
        field.start_services().await;
        let start = Instant::now();
        let mut tasks: Vec<_> = (0..10).map(|i| task(&format!("small-{i}"), label(i), 100)).collect();
        tasks.insert(5, task("large", label(10), 3_000));
        field.dispatch(tasks);
        let refused = field.until_said("TaskDeadLettered", 1).await;
        let last = field.until_said("TaskDone", 10).await;
        assert!(refused.at - start < Duration::from_secs(1), "{:?}", refused.at - start);
        assert!(last.at - start < Duration::from_secs(1), "{:?}", last.at - start);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(field.said("Disconnected").len(), 0, "the connections stay up");
        assert_eq!(field.said("RequestForwarded").len(), 10, "each small command is sent once");
        assert_eq!(field.said("TaskRetried").len(), 0);
        let [dead] = &field.dead_letters()[..] else { panic!("{:?}", field.dead_letters()) };
        for part in ["too_large: label 00:00:00:00:00:0B", "has 3", "2000 bytes, the broker's Maximum Packet Size"] {
            assert!(dead.contains(part), "{part} is not in {dead}");
        }
    });
}

#[test]
fn a_command_that_no_router_takes_is_refused_by_the_worker() {
    both_ways(&mqtt::Config::default(), async |field: Field| {
        field.start_gateway(0, |_| {});
        field.start_services().await;
        field.dispatch(vec![task("large", label(0), 70_000), task("small", label(1), 1)]);
        field.until_said("TaskDone", 1).await;
        field.until_said("TaskDeadLettered", 1).await;
        assert_eq!(field.said("RequestTaken").len(), 1, "the other one was not sent");
        let dead = field.dead_letters().concat();
        assert!(dead.contains("too_large") && dead.contains("routers take 65536"), "{dead}");
    });
}

#[test]
fn a_broker_without_qos_1_is_refused_by_name() {
    let mosquitto = mqtt::Config { max_qos: mqtt::QoS::AtMostOnce, ..mqtt::Config::default() };
    run(mosquitto, Config::default(), async |field: Field| {
        field.start_services().await;
        let said = field.until_said("QoS 0 only", 4).await;
        assert!(said.text.contains("broker: \"mqtt\""), "{said:?}");
        assert_eq!(field.said("Connected { broker: \"mqtt\" }").len(), 0);
    });
}
