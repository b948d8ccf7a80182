//! The hosts that pods run on: their kernels and CPUs, and the links between them.

use crate::spec::{AmqpMetadata, LinkClass, Links, Pod, Spec};
use sim::{Class, CpuPlan, Distances, HostPlan, Kernel, Link, MetadataPlan};

/// The links of a spec.
pub(super) fn distances(links: &Links) -> Distances {
    let link = |class| match class {
        LinkClass::Loopback => Link::LOOPBACK,
        LinkClass::ContainerBridge => Link::CONTAINER_BRIDGE,
        LinkClass::Lan => Link::LAN,
        LinkClass::Wan => Link::WAN,
    };
    Distances {
        service_amqp: link(links.service_amqp),
        service_redis: link(links.service_redis),
        service_mqtt: link(links.service_mqtt),
        gateway_mqtt: link(links.gateway_mqtt),
        service_service: link(links.service_service),
    }
}

fn metadata(amqp: &AmqpMetadata) -> MetadataPlan {
    MetadataPlan {
        change_us: amqp.change_us.into(),
        beside_us: amqp.beside_us.into(),
        spread_percent: amqp.spread_percent,
        disorder_percent: amqp.disorder_percent,
    }
}

/// The host of a pod.
pub(super) fn host(spec: &Spec, pod: Pod) -> HostPlan {
    let machine = spec.machines.of(pod);
    let class = match pod {
        Pod::Amqp => Class::Amqp,
        Pod::Mqtt => Class::Mqtt,
        Pod::Redis | Pod::RedisShard(_) => Class::Redis,
        Pod::Gateway(_) | Pod::Store(_) => Class::Gateway,
        Pod::Router(..) | Pod::TaskWorker(_) | Pod::Dispatcher | Pod::Autoscaler => Class::Service,
    };
    HostPlan {
        class,
        kernel: Kernel { nodelay: machine.nodelay, pingpong_thresh: machine.tcp_pingpong_thresh },
        cpu: CpuPlan {
            frame_us: machine.frame_us.into(),
            kib_us: machine.kib_us.into(),
            write_us: machine.write_us.into(),
            wake_us: machine.wake_us.into(),
            wake_spread_percent: machine.wake_spread_percent,
            poll_us: machine.poll_us.into(),
            spread_percent: machine.spread_percent,
            metadata: if class == Class::Amqp {
                metadata(&spec.brokers.amqp_metadata)
            } else {
                MetadataPlan::default()
            },
            threads: machine.threads,
            quota: machine.quota(),
        },
    }
}
