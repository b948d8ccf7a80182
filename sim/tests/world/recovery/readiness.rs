//! Ready means able to work: connections alone are not enough.

use super::{World, becomes_ready, becomes_unready, counts, run, unready};
use backbone::{
    config::Config,
    message::{ROUTING_QUEUE, TASK_QUEUE},
};
use lapin::{options::BasicConsumeOptions, types::FieldTable};
use sim::broker::mqtt::Rights;
use std::time::Duration;
use tokio::time::sleep;

#[test]
fn services_that_can_work_are_ready() {
    run(
        |_: &mut Config| {},
        async |world: World| {
            for admin in [&world.worker, &world.fwd_router, &world.bck_router] {
                becomes_ready(admin).await;
            }
        },
    );
}

#[test]
fn a_service_whose_queue_somebody_else_consumes_alone_is_not_ready_and_says_why() {
    for queue in [TASK_QUEUE, ROUTING_QUEUE] {
        run(
            |_: &mut Config| {},
            async move |world: World| {
                let service = if queue == TASK_QUEUE { &world.worker } else { &world.fwd_router };
                // Its consumer has to go for a moment, so that the other one gets in.
                world.amqp.delete_queue(queue);
                let options = lapin::options::QueueDeclareOptions::durable();
                world.channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
                let exclusive = BasicConsumeOptions { exclusive: true, ..Default::default() };
                let consume =
                    world.channel.basic_consume(queue.into(), "alone".into(), exclusive, FieldTable::default());
                let _consumer = consume.await.unwrap();
                becomes_unready(service, &format!("cannot consume `{queue}`")).await;
                becomes_unready(service, "in exclusive use").await;
                counts(service, "backbone_refusals_total{broker=\"amqp\",reason=\"access_refused\"}", 1);
                world
                    .channel
                    .basic_cancel("alone".into(), lapin::options::BasicCancelOptions::default())
                    .await
                    .unwrap();
                becomes_ready(service).await;
                let good = world.dispatch_five(1).await;
                world.all_done(&good, Duration::from_secs(10)).await;
            },
        );
    }
}

#[test]
fn a_router_whose_subscription_is_refused_is_not_ready_and_dials_at_growing_intervals() {
    run(
        |_: &mut Config| {},
        async |world: World| {
            let refused = format!("$share/{}//gw/+/rssi", world.config.bck_router.group);
            world.mqtt.restrict(Rights { no_subscribe: vec![refused], ..Rights::default() });
            world.mqtt.restart();
            becomes_unready(&world.bck_router, "a subscription was refused: NotAuthorized").await;
            sleep(Duration::from_secs(60)).await;
            assert!(unready(&world.bck_router).is_some());
            let text = world.bck_router.metrics.to_text();
            let refusals = text.lines().find_map(|line| {
                line.strip_prefix("backbone_refusals_total{broker=\"mqtt\",reason=\"subscription_not_authorized\"} ")
            });
            let refusals: u32 = refusals.unwrap().parse().unwrap();
            assert!((10..40).contains(&refusals), "{refusals} in a minute");
            world.mqtt.restrict(Rights::default());
            becomes_ready(&world.bck_router).await;
            let good = world.dispatch_five(1).await;
            world.all_done(&good, Duration::from_secs(10)).await;
        },
    );
}
