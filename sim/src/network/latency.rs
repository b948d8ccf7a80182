//! How long a packet travels: one range per pair of host classes.

use crate::os::split_mix;

/// What kind of place a host is; decides how far it is from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// RabbitMQ.
    Amqp,
    /// Redis.
    Redis,
    /// Mosquitto.
    Mqtt,
    /// A replica of one of the backbone's services.
    Service,
    /// A gateway, in a store.
    Gateway,
}

/// One-way latency, drawn evenly from a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The shortest, in microseconds.
    pub low_us: u64,
    /// The longest, in microseconds.
    pub high_us: u64,
}

impl Latency {
    /// Between two containers or machines of one rack: 100 to 200 us.
    pub const DATACENTER: Self = Self { low_us: 100, high_us: 200 };

    pub(crate) fn draw_ns(self, rng: &mut u64) -> u64 {
        assert!(self.low_us <= self.high_us, "a latency range goes from low to high");
        let steps = (self.high_us - self.low_us) * 1_000 + 1;
        self.low_us * 1_000 + split_mix(rng) % steps
    }
}

/// The latency between every two classes that talk to each other; the same in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Distances {
    /// Services to RabbitMQ.
    pub service_amqp: Latency,
    /// Services to Redis.
    pub service_redis: Latency,
    /// Routers to the MQTT broker.
    pub service_mqtt: Latency,
    /// Gateways to the MQTT broker.
    pub gateway_mqtt: Latency,
}

impl Default for Distances {
    fn default() -> Self {
        let near = Latency::DATACENTER;
        Self { service_amqp: near, service_redis: near, service_mqtt: near, gateway_mqtt: near }
    }
}

impl Distances {
    pub(crate) fn between(&self, a: Class, b: Class) -> Latency {
        match (a.min(b), a.max(b)) {
            (Class::Amqp, Class::Service) => self.service_amqp,
            (Class::Redis, Class::Service) => self.service_redis,
            (Class::Mqtt, Class::Service) => self.service_mqtt,
            (Class::Mqtt, Class::Gateway) => self.gateway_mqtt,
            _ => Latency::DATACENTER,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_cover_the_range_and_stay_in_it() {
        let (latency, mut rng) = (Latency { low_us: 3, high_us: 4 }, 1);
        let draws: Vec<u64> = (0..5_000).map(|_| latency.draw_ns(&mut rng)).collect();
        assert!(draws.iter().all(|ns| (3_000..=4_000).contains(ns)));
        assert!(draws.iter().any(|ns| *ns < 3_050) && draws.iter().any(|ns| *ns > 3_950));
    }

    #[test]
    fn a_range_of_one_value_is_that_value() {
        assert_eq!(Latency { low_us: 7, high_us: 7 }.draw_ns(&mut 1), 7_000);
    }
}
