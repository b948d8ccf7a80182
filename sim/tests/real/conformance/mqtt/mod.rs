//! MQTT 5 and 3.1.1: what users of Mosquitto rely on, packet by packet.

mod client;
mod differences;
mod errors;
mod exactly_once;
mod flow;
mod library;
mod older;
mod sessions;
mod shares;
mod topics;
mod versions;

use crate::conformance::harness::{Protocol, scenario};

pub(crate) const PROTOCOL: Protocol = Protocol {
    real: "Mosquitto 2.0",
    config: "",
    scenarios: &[
        scenario!(sessions::connack, "what a CONNACK announces", differences::PACKETS_ARE_LIMITED),
        scenario!(sessions::assigned_id, "a client without an id gets one"),
        scenario!(
            sessions::takeover,
            "a second connection with the same id takes the session over",
            differences::TAKEOVER_IS_ANNOUNCED
        ),
        scenario!(
            sessions::takeover_and_will,
            "the will of a client whose session is taken over",
            differences::TAKEOVER_IS_ANNOUNCED,
            differences::WILL_AT_TAKEOVER
        ),
        scenario!(sessions::clean_start_and_resume, "clean start against resuming; what waits for who is away"),
        scenario!(sessions::session_expiry, "a session ends when its expiry interval is over"),
        scenario!(sessions::expiry_at_disconnect, "a DISCONNECT may change the session's expiry interval"),
        scenario!(sessions::subscriptions_survive, "a resumed session has its subscriptions with their options"),
        scenario!(
            sessions::wills,
            "a will is published, but not after a plain DISCONNECT",
            differences::WILL_AFTER_ERROR,
            differences::PACKET_TYPE_0
        ),
        scenario!(sessions::will_properties, "a will's properties, and a retained will"),
        scenario!(
            sessions::will_delay,
            "a will's delay: back in time, over, cut short by the session's end",
            differences::WILL_WITHOUT_SESSION
        ),
        scenario!(
            sessions::keep_alive,
            "a silent client is dropped after one and a half keep alives",
            differences::SILENCE_IS_NAMED
        ),
        scenario!(sessions::last_words, "what a client published before it vanished is routed"),
        scenario!(topics::wildcards, "filters with `+` and `#`, empty levels"),
        scenario!(topics::dollar_topics, "topics that begin with `$`"),
        scenario!(topics::overlapping, "overlapping subscriptions and their identifiers"),
        scenario!(topics::subscribe_answers, "answers to SUBSCRIBE and UNSUBSCRIBE"),
        scenario!(topics::bad_filters, "filters that are not well-formed", differences::SHARES_THAT_ARE_NONE),
        scenario!(topics::bad_topics, "topics that can't be published to", differences::WILDCARDS_IN_TOPICS),
        scenario!(topics::quality_of_service, "the lower of both QoS; PUBACK without subscribers"),
        scenario!(topics::subscription_options, "no local, retain as published, retain handling"),
        scenario!(topics::retained, "retained messages: replaced, expired, cleared", differences::RETAINED_TO_A_SHARE),
        scenario!(topics::properties_pass, "a publisher's properties reach the subscriber, in order"),
        scenario!(shares::order, "`$share` takes turns; members come and go"),
        scenario!(
            shares::member_away,
            "`$share` with a member that is away",
            differences::SHARE_PASSES_OVER,
            differences::SHARE_LEAVES_NOTHING
        ),
        scenario!(shares::all_away, "`$share` when all members are away"),
        scenario!(
            shares::dead_member,
            "what a dead member of a `$share` had in flight, whether its session ends or not"
        ),
        scenario!(shares::two_groups, "`$share` in two groups, unsubscribed from one"),
        scenario!(shares::no_local, "`$share` with no local", differences::NO_LOCAL_IN_A_SHARE),
        scenario!(flow::in_flight_window, "the broker's in-flight window"),
        scenario!(flow::leak, "what else an acknowledgement lets go, in which order, and after a lost connection"),
        scenario!(flow::receive_maximum, "the client's receive maximum"),
        scenario!(flow::large_receive_maximum, "a receive maximum beyond the broker's own window"),
        scenario!(flow::acknowledged_in_any_order, "PUBACKs out of order, and of nothing"),
        scenario!(flow::queued_limit, "the limit of queued messages"),
        scenario!(flow::message_expiry, "messages expire while they wait, and carry what is left"),
        scenario!(flow::redelivery, "DUP, packet ids and order after a lost connection"),
        scenario!(flow::not_while_connected, "nothing is sent twice on a connection that stands"),
        scenario!(flow::maximum_packet_size, "the client's maximum packet size"),
        scenario!(flow::large_payload, "a payload of 500,000 bytes"),
        scenario!(
            errors::malformed_packets,
            "malformed packets, with reason codes",
            differences::SILENT_ENDS,
            differences::PROPERTY_TWICE,
            differences::DUP_OF_QOS_0,
            differences::SILENT_ENDS_2
        ),
        scenario!(
            errors::protocol_errors,
            "packets that the protocol forbids, with reason codes",
            differences::CHOICE_OF_CODES,
            differences::WHAT_A_CLIENT_MAY_NOT_SEND,
            differences::SECOND_CONNECT
        ),
        scenario!(errors::exactly_once, "a message and a will of QoS 2"),
        scenario!(errors::topic_alias, "topic aliases"),
        scenario!(
            errors::bad_connects,
            "CONNECTs that are refused",
            differences::REFUSED_WITH_A_REASON,
            differences::REFUSED_WITH_A_REASON_2
        ),
        scenario!(errors::will_topics, "wills for topics that can't be published to", differences::WILL_TOPIC_REFUSED),
        scenario!(exactly_once::publishing, "QoS 2: a message is passed on once, when its publisher releases it"),
        scenario!(exactly_once::id_used_again, "QoS 2: a packet id that is used for another message"),
        scenario!(
            exactly_once::publisher_comes_back,
            "QoS 2: a publisher that comes back, with its session or without"
        ),
        scenario!(exactly_once::many_unreleased, "QoS 2: more messages received than the window"),
        scenario!(exactly_once::receiving, "QoS 2: a subscriber answers, comes back and answers"),
        scenario!(
            exactly_once::answers_that_do_not_fit,
            "answers to what was sent with another QoS, or not at all",
            differences::WRONG_ANSWERS,
            differences::WRONG_ANSWERS_2
        ),
        scenario!(exactly_once::shared_window, "the window with QoS 1 and 2"),
        scenario!(exactly_once::lower_of_both, "the lower of both QoS, up to 2, wills included"),
        scenario!(exactly_once::retained, "QoS 2: retained messages"),
        scenario!(
            exactly_once::expiry,
            "QoS 2: messages that expire on the way",
            differences::RELEASED_ALTHOUGH_EXPIRED
        ),
        scenario!(exactly_once::shares, "QoS 2: `$share`"),
        scenario!(versions::connects, "3.1.1 and 3.1: CONNECTs and their return codes"),
        scenario!(versions::sessions, "3.1.1: clean and lasting sessions"),
        scenario!(versions::takeover, "3.1.1: a session is taken over, by another version, too"),
        scenario!(versions::wills, "3.1.1: wills and keep alive"),
        scenario!(versions::subscribing, "3.1.1: answers to SUBSCRIBE and UNSUBSCRIBE"),
        scenario!(versions::overlapping, "3.1.1: overlapping subscriptions"),
        scenario!(versions::shares, "3.1.1: `$share`, with a member of version 5"),
        scenario!(versions::retained, "3.1.1: retained messages"),
        scenario!(versions::publishing, "3.1.1: answers to PUBLISH, good and bad"),
        scenario!(
            versions::malformed_packets,
            "3.1.1: malformed and forbidden packets",
            differences::LENIENT_WITH_OLDER_CLIENTS
        ),
        scenario!(versions::in_flight_window, "3.1.1: the in-flight window"),
        scenario!(versions::redelivery, "3.1.1: DUP and order after a lost connection"),
        scenario!(versions::mixed, "messages from 3.1.1 to 5 and back; properties, expiry"),
        scenario!(versions::many_unreleased, "3.1.1: QoS 2, more messages received than the window"),
        scenario!(versions::exactly_once, "3.1.1: QoS 2 in both directions, over lost connections"),
        scenario!(library::rumqttc, "rumqttc subscribes, takes 30 messages and acknowledges them"),
    ],
};

/// As the simulated deployments have it.
pub(crate) const WITH_MAX_QOS: Protocol = Protocol {
    real: "Mosquitto 2.0 with `max_qos 1`",
    config: "max_qos 1",
    scenarios: &[
        scenario!(sessions::connack, "what a CONNACK announces", differences::PACKETS_ARE_LIMITED_AND_QOS,),
        scenario!(topics::subscribe_answers, "answers to SUBSCRIBE and UNSUBSCRIBE"),
        scenario!(errors::exactly_once, "a message and a will of QoS 2"),
        scenario!(versions::subscribing, "3.1.1: answers to SUBSCRIBE and UNSUBSCRIBE"),
        scenario!(versions::not_offered, "3.1.1: a message and a will of QoS 2"),
    ],
};

/// With a limit that commands can exceed.
pub(crate) const WITH_MAX_PACKET_SIZE: Protocol = Protocol {
    real: "Mosquitto 2.0 with `max_packet_size 2000`",
    config: "max_packet_size 2000",
    scenarios: &[
        scenario!(sessions::connack, "what a CONNACK announces"),
        scenario!(flow::brokers_maximum_packet_size, "a packet of the broker's maximum size, and a larger one"),
    ],
};
