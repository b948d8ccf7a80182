//! Faults of brokers that live on.

use super::{World, last, strength};
use crate::spec::{Fault, FaultKind, Part, Pod};
use backbone::message::ROUTING_QUEUE;
use sim::broker::redis::Condition;

/// Topics on which gateways get their commands.
const COMMANDS: &str = "/gw/+/action";

/// What happens to RabbitMQ: how many connections, channels, consumers, messages or confirms it hit.
pub(super) async fn amqp(world: &World, fault: &Fault) -> u64 {
    let amqp = &world.amqp;
    let hits = match fault.kind {
        FaultKind::MemoryAlarm => {
            amqp.raise_alarm();
            last(fault).await;
            amqp.clear_alarm() as u64
        }
        FaultKind::HoldConfirms => {
            amqp.hold_confirms();
            last(fault).await;
            amqp.release_confirms()
        }
        FaultKind::CancelConsumers => amqp.cancel_consumers() as u64,
        FaultKind::TakeBack => amqp.time_out_deliveries() as u64,
        FaultKind::CloseConnections => amqp.close_connections() as u64,
        _ => {
            let was_there = amqp.queue_depth(ROUTING_QUEUE).is_some();
            amqp.delete_queue(ROUTING_QUEUE);
            was_there.into()
        }
    };
    world.note(Pod::Amqp, format_args!("breaks: {:?}, {hits} hit", fault.kind));
    hits
}

/// What happens to a Redis: how many commands it refused, or keys it lost.
pub(super) async fn redis(world: &World, fault: &Fault, pod: Pod) -> u64 {
    let redis = world.redis_on(pod);
    let hits = match fault.kind {
        FaultKind::Failover => {
            let replica = redis.replica();
            last(fault).await;
            redis.fail_over(replica) as u64
        }
        FaultKind::Evict => redis.evict(u8::try_from(strength(fault)).expect("a share")) as u64,
        kind => {
            let condition = if kind == FaultKind::ReadOnly { Condition::ReadOnly } else { Condition::OutOfMemory };
            redis.fall_ill(condition);
            last(fault).await;
            redis.recover(condition)
        }
    };
    world.note(pod, format_args!("breaks: {:?}, {hits} hit", fault.kind));
    hits
}

/// What the MQTT broker does wrong: how many clients or messages it hit.
pub(super) async fn mqtt(world: &World, fault: &Fault) -> u64 {
    let mqtt = &world.mqtt;
    let hits = match fault.kind {
        FaultKind::RepeatMessages => {
            mqtt.begin_repeating();
            last(fault).await;
            mqtt.end_repeating()
        }
        FaultKind::RetainCommands => {
            mqtt.begin_retaining(COMMANDS);
            last(fault).await;
            mqtt.end_retaining(COMMANDS)
        }
        kind => {
            let end = |who: Option<&str>| match kind {
                FaultKind::TakeOver => mqtt.take_over(who),
                _ => mqtt.kick(who),
            };
            if fault.target == Part::One(Pod::Mqtt) {
                end(None) as u64
            } else {
                let clients = world.gateways_of(fault.target).map(|index| Pod::Gateway(index).to_string());
                clients.map(|client_id| end(Some(&client_id)) as u64).sum()
            }
        }
    };
    world.note(Pod::Mqtt, format_args!("breaks: {:?}, {hits} hit", fault.kind));
    hits
}
