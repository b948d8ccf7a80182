//! Rare paths, each counted where a run takes it. One that no run ever takes is tested by nobody.

use super::named::named;

named! {
    /// A path that a run takes sometimes. (Antithesis and moonpool call such counts "sometimes assertions".)
    Sometimes {
        DispatchedAgain "dispatched_again" "A task was confirmed twice: its dispatcher had begun anew."
        ConfirmedLate "confirmed_late" "A worker began a task over a second before its dispatcher had the confirm."
        DoneAfterRetry "done_after_retry" "A task was done, but not by its first try."
        DoneAgain "done_again" "A task was done twice."
        DoneAfterGivenUp "done_after_given_up" "A copy of a task was done after another had been given up."
        GivenUpAfterDone "given_up_after_done" "A copy of a task was given up after another had been done."
        StartedAfterEnd "started_after_end" "A task was begun again after its end."
        TakenOver "taken_over" "A worker began a task that another had begun and not ended."
        BegunAnew "begun_anew" "A worker began a task that it had begun, and not ended, before."
        RetriedTimeout "retried_timeout" "A try ended without a reply in time."
        RetriedNoRoute "retried_no_route" "A try ended since no gateway had heard its label lately."
        RetriedOffline "retried_offline" "A try ended since its gateway was offline."
        RetriedRouterRefused "retried_router_refused" "A try ended since a router could not pass its request on."
        RetriedUnavailable "retried_unavailable" "A try ended since its worker could not reach RabbitMQ, or a router."
        RetriedOverloaded "retried_overloaded" "A try ended since a router had too much in work."
        RetriedFailed "retried_failed" "A try ended since a label or its gateway said no."
        Interrupted "interrupted" "A task came again after its worker, or its connection, was lost."
        DeadTimeout "dead_timeout" "A task was given up after timeouts."
        DeadNoRoute "dead_no_route" "A task was given up for want of a route."
        DeadOffline "dead_offline" "A task was given up since a gateway was offline."
        DeadRouterRefused "dead_router_refused" "A task was given up since a router could not pass its request on."
        DeadUnavailable "dead_unavailable" "A task was given up since its worker could not reach RabbitMQ, or a router."
        DeadOverloaded "dead_overloaded" "A task was given up since a router had too much in work."
        DeadFailed "dead_failed" "A task was given up since a label or its gateway said no."
        DeadInterrupted "dead_interrupted" "A task was given up after its tenth interruption."
        CallTimedOut "call_timed_out" "Nobody answered a request in time."
        CallFailed "call_failed" "A request could not be sent, or its reply could not come any more."
        TakenAgain "taken_again" "A request was taken up by a router for the second time."
        ForwardedAgain "forwarded_again" "A request was sent to a gateway for the second time."
        ReturnedAgain "returned_again" "The reply to a request was put into its caller's queue for the second time."
        GatewayChanged "gateway_changed" "A label's command went over another gateway than the one before it."
        Superseded "superseded" "A router, or a label, answered that it knew something newer."
        LabelKeptNewer "label_kept_newer" "A command reached a label that shows something newer."
        Repeated "repeated" "A command reached a label that shows it already."
        ExecutedAfterGivenUp "executed_after_given_up" "A label executed a command after its task was given up."
        ExecutedAfterDeadline "executed_after_deadline" "A label executed a command after its deadline."
        RequestExpired "request_expired" "A router dropped a request whose deadline had passed."
        ReplyExpired "reply_expired" "A router dropped a reply or a report that had become worthless."
        ReplyLate "reply_late" "A reply came when its call had ended."
        ReplyMisrouted "reply_misrouted" "A reply came to somebody who had not asked, and was refused."
        ReplyMisdelivered "reply_misdelivered" "The MQTT broker gave a reply to another HTTP router."
        CorrelationExpired "correlation_expired" "A reply came when nobody knew any more who had asked."
        CallerGone "caller_gone" "A reply came when its caller's queue was gone."
        TaskHandedBack "task_handed_back" "A worker gave a task back to RabbitMQ."
        RequestHandedBack "request_handed_back" "A forward router gave a request back to RabbitMQ."
        RequestLost "request_lost" "A router that acknowledges at once lost a request."
        SteppedAside "stepped_aside" "A backward router that could not hand over gave a message to another one."
        CameBack "came_back" "A backward router that had stepped aside returned replies again."
        QueueMissing "queue_missing" "A queue was gone at a publish, and was declared again."
        AmqpBack "amqp_back" "A service got a connection to RabbitMQ again."
        MqttBack "mqtt_back" "A service got a connection to the MQTT broker again."
        RedisBack "redis_back" "A service got a connection to Redis again."
        BrokerRefused "broker_refused" "A broker answered, but refused what was asked for."
        CorruptValue "corrupt_value" "Redis held something that nobody of us had written."
        Malformed "malformed" "A message was dropped since it makes no sense."
        LeftOut "left_out" "A gateway's message had parts that make no sense."
        ClockOff "clock_off" "A gateway's clock was found to be wrong."
        ResultAgain "result_again" "A producer learnt a result twice."
        ResultContradicted "result_contradicted" "A producer learnt two outcomes of a task of which there were copies."
        CommandExpired "command_expired" "The MQTT broker dropped a message whose time was over."
        SessionLostMessages "session_lost_messages" "An MQTT session ended with messages in it."
        MessageDropped "message_dropped" "The MQTT broker dropped a message for want of room."
        BrokenAtOnce "broken_at_once" "Two faults lasted at the same time."
        FaultMissed "fault_missed" "A drawn fault hit nothing."
        BacklogAtHealing "backlog_at_healing" "Tasks waited when the last fault was over."
        UnreadyAtEnd "unready_at_end" "The last task was done while a service was not ready."
        LeftoverExpired "leftover_expired" "Something that was left behind at a broker went after some time."
    }
}

/// How often a run took each path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached([u32; Sometimes::ALL.len()]);

impl Default for Reached {
    fn default() -> Self {
        Self([0; Sometimes::ALL.len()])
    }
}

impl Reached {
    /// The run took `path`.
    pub fn note(&mut self, path: Sometimes) {
        self.add(path, 1);
    }

    /// The run took `path` so many times.
    pub fn add(&mut self, path: Sometimes, times: u32) {
        let count = &mut self.0[path as usize];
        *count = count.saturating_add(times);
    }

    /// How often it took `path`.
    #[must_use]
    pub fn times(&self, path: Sometimes) -> u32 {
        self.0[path as usize]
    }

    /// The paths that it took, each with how often.
    pub fn iter(&self) -> impl Iterator<Item = (Sometimes, u32)> + '_ {
        Sometimes::ALL.into_iter().zip(self.0).filter(|(_, times)| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_path_has_a_name_of_its_own_and_a_count_of_its_own() {
        let names: BTreeSet<&str> = Sometimes::ALL.iter().map(|path| path.name()).collect();
        assert_eq!(names.len(), Sometimes::ALL.len());
        let mut reached = Reached::default();
        for (path, times) in Sometimes::ALL.into_iter().zip(1..) {
            reached.add(path, times);
        }
        assert!(reached.iter().map(|(_, times)| times).eq(1..=Sometimes::ALL.len() as u32));
        assert_eq!(reached.times(Sometimes::DispatchedAgain), 1);
    }
}
