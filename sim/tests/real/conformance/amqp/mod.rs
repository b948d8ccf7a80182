//! AMQP 0-9-1: what users of RabbitMQ rely on, frame by frame, and with lapin where it makes a difference.

mod bindings;
mod clients;
mod closes;
mod consumers;
mod copies;
mod dead_letters;
mod expiry;
mod methods;
mod peer;
mod priorities;
mod queues;
mod routing;
mod words;

use crate::conformance::{
    compare::Difference,
    harness::{Protocol, scenario},
};

/// The names of scenarios begin all names of queues.
pub(crate) const PROTOCOL: Protocol = Protocol {
    real: "RabbitMQ 3.10",
    config: "",
    scenarios: &[
        scenario!(queues::passive_declare, "passive declare of a queue and of a missing one (404 closes the channel)"),
        scenario!(queues::declare_again, "declaring again: equivalent arguments, and every kind of mismatch (406)"),
        scenario!(queues::bad_arguments, "arguments of the wrong type or out of range (406)"),
        scenario!(
            queues::compared_arguments,
            "every argument that is compared, and none that isn't valid, on a queue that is there"
        ),
        scenario!(queues::exclusive_queue, "an exclusive queue from another connection (405), and its end"),
        scenario!(queues::auto_delete, "auto-delete after the last consumer, however that ends"),
        scenario!(queues::delete_and_purge, "delete with its conditions, purge, counts"),
        scenario!(queues::last_queue, "an empty name means the queue declared last"),
        scenario!(queues::length_limit, "x-max-length drops from the head"),
        scenario!(consumers::prefetch_per_consumer, "prefetch of several consumers of one channel, in turn"),
        scenario!(consumers::prefetch_per_channel, "a prefetch that the channel's consumers share"),
        scenario!(consumers::order_after_nack, "order and `redelivered` after nack, reject and recover"),
        scenario!(consumers::order_after_a_lost_connection, "order and `redelivered` after a lost connection"),
        scenario!(consumers::get, "basic.get, with and without a message"),
        scenario!(
            consumers::cancelled_by_deletion,
            "a consumer is told that its queue was deleted, if it asked for it"
        ),
        scenario!(consumers::exclusive_consumer, "an exclusive consumer (403 for others)"),
        scenario!(consumers::late_acknowledgement, "acknowledging after cancel and after the queue's end"),
        scenario!(expiry::message_ttl, "a message's own TTL takes effect at the head only"),
        scenario!(expiry::queue_ttl, "x-message-ttl, and the lower of the two"),
        scenario!(expiry::ttl_of_zero, "a TTL of 0: now or never"),
        scenario!(expiry::bad_expiration, "an expiration that is no number (406)"),
        scenario!(expiry::unused_queue, "x-expires, and what counts as use"),
        scenario!(expiry::missed_heartbeats, "heartbeats come, and a silent client is dropped"),
        scenario!(dead_letters::rejected, "x-death of a rejected message, and of one rejected again"),
        scenario!(dead_letters::expired, "x-death of an expired message; its expiration is gone"),
        scenario!(dead_letters::too_many, "x-death of a message that the length limit drops"),
        scenario!(dead_letters::through_an_exchange, "dead letters through an exchange, with their own key"),
        scenario!(dead_letters::around, "a message that would circle is dropped, a rejected one is not"),
        scenario!(dead_letters::nowhere, "dead letters without a queue or an exchange are dropped"),
        scenario!(routing::mandatory, "a return comes before its confirm"),
        scenario!(routing::kinds, "direct, fanout and topic exchanges"),
        scenario!(routing::exchange_errors, "declaring, deleting and using what must not be (403, 404, 406, 503)"),
        scenario!(routing::binding_errors, "binding and unbinding what must not be, or isn't there"),
        scenario!(routing::declare_exchange_again, "declaring an exchange again, and every kind of mismatch (406)"),
        scenario!(routing::auto_delete_exchange, "an auto-delete exchange goes with its last binding"),
        scenario!(bindings::between_exchanges, "bindings between exchanges, in circles too, and each queue once"),
        scenario!(bindings::between_exchanges_errors, "binding exchanges that must not be bound, or aren't there"),
        scenario!(bindings::ends_of_exchanges, "what ends with an exchange, and what with its last binding"),
        scenario!(bindings::headers, "headers exchanges: all, any, with and without names in `x-`"),
        scenario!(bindings::headers_errors, "a headers exchange's `x-match` that is none (406)"),
        scenario!(bindings::arguments, "bindings that differ in their arguments are two"),
        scenario!(bindings::alternate, "an alternate exchange gets what no binding takes"),
        scenario!(copies::keys, "CC and BCC: further routing keys, seen and unseen"),
        scenario!(copies::errors, "CC and BCC that are no lists (406)"),
        scenario!(copies::dead_letters, "dead letters of messages with CC and BCC"),
        scenario!(priorities::order, "x-max-priority: what goes first, and where a message goes back to"),
        scenario!(priorities::expiry_and_limit, "priorities with a TTL and a length limit: the head is what counts"),
        scenario!(priorities::consumers, "consumers of a higher priority first, as far as they have room"),
        scenario!(priorities::errors, "priorities that are none (406)"),
        scenario!(routing::large_bodies, "bodies larger than frame_max, and empty ones"),
        scenario!(routing::direct_reply, "direct reply-to: request, answer, and an answer that comes too late"),
        scenario!(routing::direct_reply_errors, "direct reply-to: what is refused (406)"),
        scenario!(routing::user_id, "a message in another user's name (406)"),
        scenario!(closes::protocol_header, "another protocol gets ours and is disconnected"),
        scenario!(closes::handshake, "another mechanism, another vhost, a frame size out of range"),
        scenario!(closes::logins, "AMQPLAIN, the smallest frames, a new secret, and a prefetch in bytes (540)"),
        scenario!(closes::channel_errors, "what closes a channel, and that the connection goes on"),
        scenario!(closes::connection_errors, "what closes the connection"),
        scenario!(closes::broken_frames, "frames that are none", UNKNOWN_METHOD, UNKNOWN_CLASS),
        scenario!(
            closes::refused,
            "what the emulated broker doesn't have",
            TRANSACTIONS,
            BYTE_LIMITS,
            OVERFLOW,
            SINGLE_ACTIVE,
            QUORUM,
        ),
        scenario!(clients::confirmed_return, "with lapin: a returned message comes with its confirm"),
        scenario!(clients::refused_declare, "with lapin: a refusal closes the channel, not the connection"),
        scenario!(clients::ended_consumer, "with lapin: a consumer whose queue is deleted ends"),
        scenario!(clients::work, "with lapin: publish, consume, acknowledge, over several channels"),
    ],
};

const UNKNOWN_METHOD: Difference = Difference {
    real: &[],
    emulated: &["a: channel 0: close 501 FRAME_ERROR - cannot decode <<>> (60.99)"],
    why: "RabbitMQ's reader crashes over a method that is not in the protocol; the emulated broker answers as the \
          specification asks",
};
const UNKNOWN_CLASS: Difference = Difference {
    real: &[],
    emulated: &["a: channel 0: close 501 FRAME_ERROR - cannot decode <<>> (99.10)"],
    why: "as with a method that is not in the protocol",
};
const TRANSACTIONS: Difference = Difference {
    real: &["a: SelectOk"],
    emulated: &["a: channel 0: close 540 NOT_IMPLEMENTED - transactions; use publisher confirms (90.10)"],
    why: "not emulated: publisher confirms do the same for less",
};
const BYTE_LIMITS: Difference = Difference {
    real: &["a: declare-ok ~/x-max-length-bytes messages=0 consumers=0"],
    emulated: &["a: channel 0: close 540 NOT_IMPLEMENTED - queue '~/x-max-length-bytes': argument \
         'x-max-length-bytes' (50.10)"],
    why: "not emulated: the limit is in messages",
};
const OVERFLOW: Difference = Difference {
    real: &["a: declare-ok ~/x-overflow messages=0 consumers=0"],
    emulated: &["a: channel 0: close 540 NOT_IMPLEMENTED - queue '~/x-overflow': argument 'x-overflow' with \
         'reject-publish' (50.10)"],
    why: "not emulated: a full queue drops from its head",
};
const SINGLE_ACTIVE: Difference = Difference {
    real: &["a: declare-ok ~/x-single-active-consumer messages=0 consumers=0"],
    emulated: &["a: channel 0: close 540 NOT_IMPLEMENTED - queue '~/x-single-active-consumer': argument \
         'x-single-active-consumer' (50.10)"],
    why: "not emulated",
};
const QUORUM: Difference = Difference {
    real: &["a: declare-ok ~/x-queue-type messages=0 consumers=0"],
    emulated: &["a: channel 0: close 540 NOT_IMPLEMENTED - queue '~/x-queue-type': argument 'x-queue-type' with \
         'quorum' (50.10)"],
    why: "not emulated: of the kinds of queues only the classic one",
};
