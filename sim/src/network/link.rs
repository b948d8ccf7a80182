//! How long a packet travels and how large a segment may be: one link per pair of host classes.

use crate::{host::Class, os::split_mix};

/// What lies between two hosts, in each direction. A packet's way takes a time drawn evenly from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The shortest one-way latency, in microseconds.
    pub low_us: u64,
    /// The longest, in microseconds.
    pub high_us: u64,
    /// The largest payload of a segment, in bytes.
    pub mss_bytes: u32,
    /// The receive window that a Linux host offers at first, in bytes.
    pub window_bytes: u32,
}

impl Link {
    /// Within a host. 0 us: the peer's kernel runs inside the sender's `write`, so what an acknowledgement releases
    /// arrives before the sender's next step; segments and window are those of an MTU of 65,536.
    pub const LOOPBACK: Self = Self { low_us: 0, high_us: 0, mss_bytes: 65_483, window_bytes: 65_483 };
    /// Between two containers on a bridge of one host: two pairs of virtual devices and a switch, MTU 1,500. Measured
    /// from one device to the other: 3 us at the median, 6 to 8 at P90 (`experiments/measured`).
    pub const CONTAINER_BRIDGE: Self = Self::ethernet(2, 7);
    /// Between two hosts on one switch, or two virtual machines of one rack.
    pub const LAN: Self = Self::ethernet(100, 200);
    /// Between a store and a data centre of the same country.
    pub const WAN: Self = Self::ethernet(10_000, 20_000);

    /// A link with an MTU of 1,500 and TCP timestamps.
    #[must_use]
    pub const fn ethernet(low_us: u64, high_us: u64) -> Self {
        Self { low_us, high_us, mss_bytes: 1_448, window_bytes: 64_240 }
    }

    pub(crate) fn draw_ns(self, rng: &mut u64) -> u64 {
        assert!(self.low_us <= self.high_us, "a latency range goes from low to high");
        let steps = (self.high_us - self.low_us) * 1_000 + 1;
        self.low_us * 1_000 + split_mix(rng) % steps
    }
}

/// The link between every two classes that talk to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distances {
    /// Services to RabbitMQ.
    pub service_amqp: Link,
    /// Services to Redis.
    pub service_redis: Link,
    /// Routers to the MQTT broker.
    pub service_mqtt: Link,
    /// Gateways to the MQTT broker.
    pub gateway_mqtt: Link,
    /// Services to each other: workers to HTTP routers.
    pub service_service: Link,
}

impl Default for Distances {
    fn default() -> Self {
        let near = Link::LAN;
        Self { service_amqp: near, service_redis: near, service_mqtt: near, gateway_mqtt: near, service_service: near }
    }
}

impl Distances {
    pub(crate) fn between(&self, a: Class, b: Class) -> Link {
        match (a.min(b), a.max(b)) {
            (Class::Amqp, Class::Service) => self.service_amqp,
            (Class::Redis, Class::Service) => self.service_redis,
            (Class::Mqtt, Class::Service) => self.service_mqtt,
            (Class::Mqtt, Class::Gateway) => self.gateway_mqtt,
            (Class::Service, Class::Service) => self.service_service,
            _ => Link::LAN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_cover_the_range_and_stay_in_it() {
        let (link, mut rng) = (Link::ethernet(3, 4), 1);
        let draws: Vec<u64> = (0..5_000).map(|_| link.draw_ns(&mut rng)).collect();
        assert!(draws.iter().all(|ns| (3_000..=4_000).contains(ns)));
        assert!(draws.iter().any(|ns| *ns < 3_050) && draws.iter().any(|ns| *ns > 3_950));
    }

    #[test]
    fn a_range_of_one_value_is_that_value() {
        assert_eq!(Link::ethernet(7, 7).draw_ns(&mut 1), 7_000);
    }
}
