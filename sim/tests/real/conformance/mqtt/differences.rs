//! Where the emulated broker differs from Mosquitto 2.0.11, and why it is left so. Sections are those of the MQTT 5
//! standard.

use crate::conformance::compare::Difference;

pub(crate) const PACKETS_ARE_LIMITED: Difference = Difference {
    real: &["c: CONNACK Success, session present: false receive_max: Some(20), topic_alias_max: Some(10)"],
    emulated: &["c: CONNACK Success, session present: false receive_max: Some(20), max_packet_size: Some(1048576), \
        topic_alias_max: Some(10)"],
    why: "The emulated broker has a limit for packets, and announces it, as it must.",
};

pub(crate) const PACKETS_ARE_LIMITED_AND_QOS: Difference = Difference {
    real: &[
        "c: CONNACK Success, session present: false receive_max: Some(20), max_qos: Some(1), topic_alias_max: Some(10)",
    ],
    emulated: &[
        "c: CONNACK Success, session present: false receive_max: Some(20), max_qos: Some(1), max_packet_size: \
        Some(1048576), topic_alias_max: Some(10)",
    ],
    why: "The same.",
};

pub(crate) const TAKEOVER_IS_ANNOUNCED: Difference = Difference {
    real: &[],
    emulated: &["c: DISCONNECT SessionTakenOver"],
    why: "The standard demands the DISCONNECT (MQTT-3.1.4-3). Mosquitto 2.0.11 only closes the connection.",
};

pub(crate) const WILL_AT_TAKEOVER: Difference = Difference {
    real: &[],
    emulated: &["w: PUBLISH ~/will/session-goes-on 'gone'"],
    why: "The will of a connection that was taken over is published unless it is delayed (3.1.2.5, 3.1.4). \
        Mosquitto 2.0.11 publishes it only if the session ends, too.",
};

pub(crate) const WILL_AFTER_ERROR: Difference = Difference {
    real: &[],
    emulated: &["w: PUBLISH ~/will/error 'gone'"],
    why: "The standard drops the will only for reason 0x00 (3.1.2.5). Mosquitto 2.0.11 publishes it only for \
        0x04.",
};

pub(crate) const PACKET_TYPE_0: Difference = Difference {
    real: &["c: DISCONNECT ProtocolError"],
    emulated: &["c: DISCONNECT MalformedPacket"],
    why: "The reason code for a packet type that doesn't exist: either may be sent (4.13.1).",
};

pub(crate) const WILL_WITHOUT_SESSION: Difference = Difference {
    real: &[],
    emulated: &["w: PUBLISH ~/will/no-session 'gone'"],
    why: "The standard publishes a delayed will at the latest when the session ends (3.1.3.2.2), here with the \
        connection. Mosquitto 2.0.11 does not.",
};

pub(crate) const SILENCE_IS_NAMED: Difference = Difference {
    real: &[],
    emulated: &["c: DISCONNECT KeepAliveTimeout"],
    why: "A server may tell a silent client why it goes (3.1.2.10), and it helps whoever debugs. Mosquitto \
        2.0.11 closes the connection without a word. It also looks for silent clients only every 5 s, so its \
        silent clients live up to 5 s longer.",
};

pub(crate) const SHARES_THAT_ARE_NONE: Difference = Difference {
    real: &[
        "SUBSCRIBE \"$share\": DISCONNECT ProtocolError, closed",
        "SUBSCRIBE \"$share/\": SUBACK [Success(AtLeastOnce)]",
        "SUBSCRIBE \"$share/g\": SUBACK [Success(AtLeastOnce)]",
        "SUBSCRIBE \"$share//t\": SUBACK [Success(AtLeastOnce)]",
        "SUBSCRIBE \"$share/g/\": SUBACK [Success(AtLeastOnce)]",
    ],
    emulated: &[
        "SUBSCRIBE \"$share\": SUBACK [Success(AtLeastOnce)]",
        "SUBSCRIBE \"$share/\": DISCONNECT MalformedPacket, closed",
        "SUBSCRIBE \"$share/g\": DISCONNECT MalformedPacket, closed",
        "SUBSCRIBE \"$share//t\": DISCONNECT MalformedPacket, closed",
        "SUBSCRIBE \"$share/g/\": DISCONNECT MalformedPacket, closed",
    ],
    why: "The standard wants a name and a filter after `$share/` (4.8.2). Mosquitto 2.0.11 takes malformed \
        ones for something, and refuses `$share`, a filter like others.",
};

pub(crate) const WILDCARDS_IN_TOPICS: Difference = Difference {
    real: &[
        "PUBLISH \"a/+\": DISCONNECT ProtocolError, closed",
        "PUBLISH \"#\": DISCONNECT ProtocolError, closed",
        "PUBLISH \"a/#\": DISCONNECT ProtocolError, closed",
    ],
    emulated: &[
        "PUBLISH \"a/+\": DISCONNECT MalformedPacket, closed",
        "PUBLISH \"#\": DISCONNECT MalformedPacket, closed",
        "PUBLISH \"a/#\": DISCONNECT MalformedPacket, closed",
    ],
    why: "The reason code: MQTT-3.3.2-2 names none. The emulated broker uses rumqttc's codec, which takes the \
        packet for malformed.",
};

pub(crate) const RETAINED_TO_A_SHARE: Difference = Difference {
    real: &["s: PUBLISH ~/r/2 'second' RETAIN"],
    emulated: &[],
    why: "The standard sends no retained messages to shared subscriptions. Mosquitto 2.0.11 does.",
};

pub(crate) const SHARE_PASSES_OVER: Difference = Difference {
    real: &["the connected member gets 2 of 4"],
    emulated: &["the connected member gets 4 of 4"],
    why: "On purpose: a member that is away is passed over while another one is connected, as brokers made for \
        clusters do. With Mosquitto's rule every restart of a router would strand replies for the others' \
        callers.",
};

pub(crate) const SHARE_LEAVES_NOTHING: Difference = Difference {
    real: &["the other finds 2 of 4 when it comes back"],
    emulated: &["the other finds 0 of 4 when it comes back"],
    why: "The same, from the other side.",
};

pub(crate) const NO_LOCAL_IN_A_SHARE: Difference = Difference {
    real: &["c: SUBACK [Success(AtLeastOnce)]"],
    emulated: &["c: DISCONNECT ProtocolError", "c: closed"],
    why: "The standard forbids it (MQTT-3.8.3-4). Mosquitto 2.0.11 accepts it.",
};

pub(crate) const SILENT_ENDS: Difference = Difference {
    real: &[
        "packet type 0: DISCONNECT ProtocolError, closed",
        "packet type 15 without a method: closed",
        "a length of five bytes: closed",
    ],
    emulated: &[
        "packet type 0: DISCONNECT MalformedPacket, closed",
        "packet type 15 without a method: DISCONNECT MalformedPacket, closed",
        "a length of five bytes: DISCONNECT MalformedPacket, closed",
    ],
    why: "A server should send the reason before it closes the connection (4.13.1), and which of two codes is \
        its choice. Mosquitto 2.0.11 often only closes it.",
};

pub(crate) const PROPERTY_TWICE: Difference = Difference {
    real: &["PUBLISH with a property twice: closed"],
    emulated: &["PUBLISH with a property twice: nothing"],
    why: "rumqttc's codec, which the emulated broker uses, does not count properties.",
};

pub(crate) const DUP_OF_QOS_0: Difference = Difference {
    real: &["PUBLISH of QoS 0 with DUP: nothing"],
    emulated: &["PUBLISH of QoS 0 with DUP: DISCONNECT MalformedPacket, closed"],
    why: "The standard forbids DUP with QoS 0 (MQTT-3.3.1-2); rumqttc's codec holds clients to it, Mosquitto \
        2.0.11 does not.",
};

pub(crate) const SILENT_ENDS_2: Difference = Difference {
    real: &["PUBACK that ends early: closed", "DISCONNECT with an unknown reason: closed"],
    emulated: &[
        "PUBACK that ends early: DISCONNECT MalformedPacket, closed",
        "DISCONNECT with an unknown reason: DISCONNECT MalformedPacket, closed",
    ],
    why: "As above: the emulated broker says why it closes the connection.",
};

pub(crate) const CHOICE_OF_CODES: Difference = Difference {
    real: &[
        "SUBSCRIBE with packet id 0: DISCONNECT MalformedPacket, closed",
        "PUBLISH with a subscription identifier: nothing",
        "PUBLISH with topic alias 0: DISCONNECT MalformedPacket, closed",
    ],
    emulated: &[
        "SUBSCRIBE with packet id 0: DISCONNECT ProtocolError, closed",
        "PUBLISH with a subscription identifier: DISCONNECT ProtocolError, closed",
        "PUBLISH with topic alias 0: DISCONNECT TopicAliasInvalid, closed",
    ],
    why: "The codes that the standard has for these: 0x82 for identifiers where there must be none or not 0, \
        0x94 for aliases (3.3.2.3.4). Mosquitto 2.0.11 takes some for malformed, and overlooks a client's \
        subscription identifier.",
};

pub(crate) const WHAT_A_CLIENT_MAY_NOT_SEND: Difference = Difference {
    real: &[
        "SUBSCRIBE with subscription identifier 0: DISCONNECT MalformedPacket, closed",
        "AUTH that was not negotiated: closed",
        "PINGRESP: nothing",
        "CONNACK: closed",
        "SUBACK: nothing",
    ],
    emulated: &[
        "SUBSCRIBE with subscription identifier 0: DISCONNECT ProtocolError, closed",
        "AUTH that was not negotiated: DISCONNECT ProtocolError, closed",
        "PINGRESP: DISCONNECT ProtocolError, closed",
        "CONNACK: DISCONNECT ProtocolError, closed",
        "SUBACK: DISCONNECT ProtocolError, closed",
    ],
    why: "Mosquitto 2.0.11 overlooks PINGRESP and SUBACK from a client; for the rest it closes the connection \
        without the reason.",
};

pub(crate) const SECOND_CONNECT: Difference = Difference {
    real: &["a second CONNECT: closed"],
    emulated: &["a second CONNECT: DISCONNECT ProtocolError, closed"],
    why: "The same.",
};

pub(crate) const WRONG_ANSWERS: Difference = Difference {
    real: &[
        "PUBACK for QoS 2: closed",
        "PUBREC for QoS 1: closed",
        "PUBREC with an error for QoS 1: closed",
        "PUBCOMP for QoS 1: closed",
        "PUBCOMP before PUBREC: closed",
        "PUBACK after PUBREC: PUBREL 2 Success, closed",
        "PUBREC with an error after PUBREC: PUBREL 2 Success, closed",
    ],
    emulated: &[
        "PUBACK for QoS 2: DISCONNECT ProtocolError, closed",
        "PUBREC for QoS 1: DISCONNECT ProtocolError, closed",
        "PUBREC with an error for QoS 1: DISCONNECT ProtocolError, closed",
        "PUBCOMP for QoS 1: DISCONNECT ProtocolError, closed",
        "PUBCOMP before PUBREC: DISCONNECT ProtocolError, closed",
        "PUBACK after PUBREC: PUBREL 2 Success, DISCONNECT ProtocolError, closed",
        "PUBREC with an error after PUBREC: PUBREL 2 Success, DISCONNECT ProtocolError, closed",
    ],
    why: "As above: the emulated broker says why it closes the connection.",
};

pub(crate) const WRONG_ANSWERS_2: Difference = Difference {
    real: &["PUBREL with wrong flags: closed", "PUBREC with packet id 0: closed"],
    emulated: &[
        "PUBREL with wrong flags: DISCONNECT MalformedPacket, closed",
        "PUBREC with packet id 0: DISCONNECT ProtocolError, closed",
    ],
    why: "The same.",
};

pub(crate) const RELEASED_ALTHOUGH_EXPIRED: Difference = Difference {
    real: &[],
    emulated: &["s: PUBREL 1 Success"],
    why: "A receiver that has answered PUBREC waits for PUBREL (4.3.3), and once a message is sent its expiry is no \
        reason to stop half-way. Mosquitto 2.0.11 forgets it at the next connection, and the receiver holds the \
        packet id for ever.",
};

pub(crate) const LENIENT_WITH_OLDER_CLIENTS: Difference = Difference {
    real: &["PUBACK that is too long: nothing", "PINGRESP: nothing"],
    emulated: &["PUBACK that is too long: closed", "PINGRESP: closed"],
    why: "Mosquitto 2.0.11 overlooks both. The emulated broker takes packets as the standard of 3.1.1 has them (3.4, \
        3.13), as it does with those of version 5.",
};

pub(crate) const REFUSED_WITH_A_REASON: Difference = Difference {
    real: &[
        "another protocol: closed",
        "the reserved flag: closed",
        "a will of QoS 3: closed",
        "a will flag without a will: closed",
        "a will QoS without a will: closed",
        "a receive maximum of 0: closed",
        "a maximum packet size of 0: closed",
        "a property twice: closed",
    ],
    emulated: &[
        "another protocol: CONNACK 0x01",
        "the reserved flag: CONNACK 0x81",
        "a will of QoS 3: CONNACK 0x81",
        "a will flag without a will: CONNACK 0x81",
        "a will QoS without a will: CONNACK 0x81",
        "a receive maximum of 0: CONNACK 0x82",
        "a maximum packet size of 0: CONNACK 0x82",
        "a property twice: CONNACK 0x00",
    ],
    why: "A server may send a CONNACK with the reason before it closes the connection (MQTT-3.1.4-1), and the \
        emulated one does. rumqttc's codec does not count properties.",
};

pub(crate) const REFUSED_WITH_A_REASON_2: Difference = Difference {
    real: &["a client id that is no UTF-8: closed", "a CONNECT that ends early: closed"],
    emulated: &["a client id that is no UTF-8: CONNACK 0x81", "a CONNECT that ends early: CONNACK 0x81"],
    why: "The same.",
};

pub(crate) const WILL_TOPIC_REFUSED: Difference = Difference {
    real: &["c: closed"],
    emulated: &["c: CONNACK TopicNameInvalid, session present: false"],
    why: "The same: the emulated broker says why.",
};
