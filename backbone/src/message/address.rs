//! Names that services and operators must agree on: queues, topics, keys, headers.

use super::Mac;
use std::time::Duration;

/// The durable queue of tasks, as in the thesis.
pub const TASK_QUEUE: &str = "task_queue";
/// The durable queue of requests for the forward routers, as in the thesis.
pub const ROUTING_QUEUE: &str = "routing";

/// The Redis key of fixed routing: the address of the one gateway.
pub const DEFAULT_ROUTE_KEY: &str = "shelfwire:route:default";
/// The durable topic exchange to which the results of tasks go whose producers name no queue of their own. The routing
/// key is the outcome: `done`, `superseded`, `failed`, `expired`.
pub const RESULTS_EXCHANGE: &str = "shelfwire.results";

/// Header of a task: when it was published, in milliseconds since 1970 by its producer's clock.
pub const PUBLISHED_HEADER: &str = "x-published-unix-ms";
/// Header of a dead letter that names its task; empty if that was too malformed to have a name.
pub const TASK_ID_HEADER: &str = "x-task-id";

/// Where tasks go that could not be done, with their reason in a header.
#[must_use]
pub fn dead_letter_queue() -> String {
    format!("{TASK_QUEUE}.dead")
}

/// Where a failed task waits before it returns to [`TASK_QUEUE`]. The delay is part of the name because it is part of
/// the queue's arguments, which a queue keeps for life.
#[must_use]
pub fn retry_queue(delay: Duration) -> String {
    format!("{TASK_QUEUE}.retry.{}ms", delay.as_millis())
}

/// Commands for the labels behind `gateway`.
#[must_use]
pub fn action_topic(gateway: Mac) -> String {
    format!("/gw/{gateway}/action")
}

/// Replies of the labels behind `gateway`.
#[must_use]
pub fn response_topic(gateway: Mac) -> String {
    format!("/gw/{gateway}/response")
}

/// Replies to the requests of one HTTP router, if it asks for them to come to it alone. `life` is a random number.
#[must_use]
pub fn router_topic(life: u64) -> String {
    format!("/router/{life:016x}/response")
}

/// RSSI reports of `gateway`.
#[must_use]
pub fn rssi_topic(gateway: Mac) -> String {
    format!("/gw/{gateway}/rssi")
}

/// Whether `gateway` is online, by its own words and by its will.
#[must_use]
pub fn status_topic(gateway: Mac) -> String {
    format!("/gw/{gateway}/status")
}

/// The gateway that a topic belongs to, if it is one of those above that a gateway has.
#[must_use]
pub fn gateway_of_topic(topic: &str) -> Option<Mac> {
    let (gateway, kind) = topic.strip_prefix("/gw/")?.split_once('/')?;
    matches!(kind, "action" | "response" | "rssi" | "status").then(|| gateway.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_names_its_gateway() {
        let gateway = Mac::new(0x1A_2B3C_4D5E);
        for topic in [action_topic(gateway), response_topic(gateway), rssi_topic(gateway), status_topic(gateway)] {
            assert_eq!(gateway_of_topic(&topic), Some(gateway), "{topic}");
        }
        assert_eq!(gateway_of_topic("/gw/00:1A:2B:3C:4D:5E/firmware"), None);
        assert_eq!(gateway_of_topic("/gw/nobody/rssi"), None);
    }
}
