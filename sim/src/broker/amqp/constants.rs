//! Numbers and names of the protocol that amq-protocol keeps to itself or doesn't know.

/// Smallest largest frame that a client may choose, as RabbitMQ's `frame_min_size`; amq-protocol knows 8,192.
pub(super) const FRAME_BYTES_MIN: u32 = 4_096;

/// The class of what clients do with queues.
pub(super) const QUEUE_CLASS: u16 = 50;
/// Method declare of class queue.
pub(super) const QUEUE_DECLARE: u16 = 10;
/// Method delete of class queue.
pub(super) const QUEUE_DELETE: u16 = 40;
/// The class of all content.
pub(super) const BASIC_CLASS: u16 = 60;
/// Method qos of class basic.
pub(super) const BASIC_QOS: u16 = 10;
/// Method publish of class basic.
pub(super) const BASIC_PUBLISH: u16 = 40;
/// Method deliver of class basic.
pub(super) const BASIC_DELIVER: u16 = 60;
/// Method ack of class basic, of clients and of a broker that confirms.
pub(super) const BASIC_ACK: u16 = 80;

/// The pseudo-queue of direct replies: what a client consumes and puts into `reply_to`.
pub(super) const PSEUDO_QUEUE: &str = "amq.rabbitmq.reply-to";
