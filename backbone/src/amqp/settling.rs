//! Settling deliveries: telling the broker which were worked off and which go back, in as few frames as will do.
//!
//! An acknowledgement of its own for each delivery costs the broker a frame to read and a message to the queue's
//! process, and this side a turn of lapin's thread. So what ends while a frame is on its way is gathered for the next
//! one, and where a delivery and all before it are worked off, one frame says so (`multiple`). A service with nothing
//! else to do still acknowledges at once.

use futures_util::future::{BoxFuture, try_join_all};
use lapin::{
    Channel,
    options::{BasicAckOptions, BasicNackOptions},
    types::DeliveryTag,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::timeout;

/// Limit of writing frames: a connection that takes none for so long is dead or will end by its heartbeat. What was not
/// written then is still with lapin, which writes it should the connection live.
const SEND_LIMIT: Duration = Duration::from_secs(5);

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// It is worked off.
    Done,
    /// It returns to its queue.
    HandBack,
}

/// Which channel of a consumer's, counted from 1: delivery tags mean nothing beyond it.
pub(super) type Generation = u64;

/// Which delivery it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) generation: Generation,
    pub(super) number: DeliveryTag,
}

/// One frame to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    Ack { tag: DeliveryTag, multiple: bool },
    Nack { tag: DeliveryTag },
}

/// Which deliveries of the present channel are not settled yet.
#[derive(Debug, Default)]
struct Open {
    generation: Generation,
    /// In work (`None`), or with a verdict that was not sent.
    deliveries: BTreeMap<DeliveryTag, Option<Settlement>>,
}

impl Open {
    /// Takes note of a delivery that is worked on from now on.
    fn take(&mut self, tag: Tag) {
        if tag.generation != self.generation {
            // What an earlier channel delivered is delivered again.
            *self = Self { generation: tag.generation, deliveries: BTreeMap::new() };
        }
        self.deliveries.insert(tag.number, None);
    }

    /// Takes note of the verdict; `false` if the delivery's channel is gone.
    fn end(&mut self, tag: Tag, verdict: Settlement) -> bool {
        let delivery = self.deliveries.get_mut(&tag.number).filter(|_| tag.generation == self.generation);
        delivery.map(|open| *open = Some(verdict)).is_some()
    }

    /// The frames that settle all that has a verdict. What is in work is never covered by a `multiple`: it stops before
    /// the first of these.
    fn frames(&mut self) -> Vec<Frame> {
        let first_in_work = self.deliveries.iter().find(|(_, verdict)| verdict.is_none()).map(|(tag, _)| *tag);
        let (mut frames, mut up_to, mut covered) = (Vec::new(), None, 0);
        for (&tag, verdict) in &self.deliveries {
            let before_all_work = first_in_work.is_none_or(|first| tag < first);
            match verdict {
                Some(Settlement::HandBack) => frames.push(Frame::Nack { tag }),
                Some(Settlement::Done) if before_all_work => (up_to, covered) = (Some(tag), covered + 1),
                Some(Settlement::Done) => frames.push(Frame::Ack { tag, multiple: false }),
                None => {}
            }
        }
        // Last, when what goes back no longer counts as unacknowledged.
        frames.extend(up_to.map(|tag| Frame::Ack { tag, multiple: covered > 1 }));
        self.deliveries.retain(|_, verdict| verdict.is_none());
        frames
    }
}

/// The settling of what one consumer delivers.
#[derive(Default)]
pub(super) struct Settling {
    open: Open,
    /// Where the deliveries in `open` came from.
    channel: Option<Channel>,
    sending: Option<BoxFuture<'static, ()>>,
}

impl Settling {
    /// Takes note of a delivery over `channel` that is worked on from now on.
    pub(super) fn take(&mut self, tag: Tag, channel: &Channel) {
        if self.channel.is_none() || tag.generation != self.open.generation {
            self.channel = Some(channel.clone());
        }
        self.open.take(tag);
    }

    /// Takes note of what becomes of a delivery.
    pub(super) fn end(&mut self, tag: Tag, verdict: Settlement) {
        if !self.open.end(tag, verdict) {
            tracing::info!("not acknowledged, since its connection is gone; it will be delivered again");
        }
    }

    /// Whether there is anything to send, or on its way.
    pub(super) fn is_under_way(&self) -> bool {
        self.sending.is_some() || self.open.deliveries.values().any(Option::is_some)
    }

    /// Sends what there is and waits until it is written, [`SEND_LIMIT`] at most. Dropping the future loses nothing.
    pub(super) async fn send(&mut self) {
        let Self { open, channel: Some(channel), sending } = self else { return };
        let sending = sending.get_or_insert_with(|| Box::pin(send(channel.clone(), open.frames())));
        sending.await;
        self.sending = None;
    }
}

async fn send(channel: Channel, frames: Vec<Frame>) {
    let channel = &channel;
    // lapin takes each frame at the first poll, in order.
    let written = try_join_all(frames.into_iter().map(async |frame| match frame {
        Frame::Ack { tag, multiple } => channel.basic_ack(tag, BasicAckOptions { multiple }).await,
        Frame::Nack { tag } => channel.basic_nack(tag, BasicNackOptions { requeue: true, multiple: false }).await,
    }));
    match timeout(SEND_LIMIT, written).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::info!(%error, "not acknowledged; it will be delivered again"),
        Err(_) => tracing::info!("an acknowledgement takes more than {SEND_LIMIT:?} to be written"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn tag(number: DeliveryTag) -> Tag {
        Tag { generation: 1, number }
    }

    fn open(tags: std::ops::RangeInclusive<DeliveryTag>) -> Open {
        let mut open = Open::default();
        tags.for_each(|number| open.take(tag(number)));
        open
    }

    #[test]
    fn deliveries_that_end_in_order_take_one_frame() {
        let mut open = open(1..=4);
        (1..=3).for_each(|number| assert!(open.end(tag(number), Settlement::Done)));
        assert_eq!(open.frames(), [Frame::Ack { tag: 3, multiple: true }]);
        assert_eq!(open.frames(), []);
    }

    #[test]
    fn a_single_one_is_acknowledged_alone() {
        let mut open = open(1..=2);
        open.end(tag(1), Settlement::Done);
        assert_eq!(open.frames(), [Frame::Ack { tag: 1, multiple: false }]);
    }

    #[test]
    fn what_ends_behind_one_in_work_does_not_wait_for_it() {
        let mut open = open(1..=4);
        [1, 3, 4].into_iter().for_each(|number| assert!(open.end(tag(number), Settlement::Done)));
        let alone = |tag| Frame::Ack { tag, multiple: false };
        assert_eq!(open.frames(), [alone(3), alone(4), alone(1)]);
    }

    #[test]
    fn a_verdict_on_a_delivery_of_an_earlier_channel_is_not_sent() {
        let mut open = open(1..=2);
        open.take(Tag { generation: 2, number: 1 });
        assert!(!open.end(tag(1), Settlement::Done) && !open.end(tag(2), Settlement::Done));
        assert_eq!(open.frames(), []);
        assert!(open.end(Tag { generation: 2, number: 1 }, Settlement::Done));
    }

    proptest! {
        /// A broker's view: each delivery is settled once, as its verdict says, and none that is in work.
        #[test]
        fn each_delivery_is_settled_once_and_none_in_work(
            steps in proptest::collection::vec((0..40_u64, proptest::bool::ANY, proptest::bool::ANY), 1..120),
        ) {
            let (mut open, mut delivered, mut verdicts) = (Open::default(), 0, BTreeMap::new());
            let (mut unsettled, mut acked, mut nacked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
            for (pick, hands_back, flushes) in steps {
                delivered += 1;
                open.take(tag(delivered));
                unsettled.insert(delivered);
                let number = pick % delivered + 1;
                if let std::collections::btree_map::Entry::Vacant(entry) = verdicts.entry(number) {
                    let verdict = *entry.insert(if hands_back { Settlement::HandBack } else { Settlement::Done });
                    prop_assert!(open.end(tag(number), verdict));
                }
                for frame in if flushes { open.frames() } else { Vec::new() } {
                    match frame {
                        Frame::Nack { tag } => prop_assert!(unsettled.remove(&tag) && nacked.insert(tag)),
                        Frame::Ack { tag, multiple: false } => prop_assert!(unsettled.remove(&tag) && acked.insert(tag)),
                        Frame::Ack { tag, multiple: true } => {
                            let above = unsettled.split_off(&(tag + 1));
                            acked.append(&mut unsettled);
                            unsettled = above;
                        }
                    }
                }
            }
            prop_assert!(acked.iter().all(|tag| verdicts.get(tag) == Some(&Settlement::Done)));
            prop_assert!(nacked.iter().all(|tag| verdicts.get(tag) == Some(&Settlement::HandBack)));
            open.frames();
            prop_assert_eq!(open.deliveries.len() as u64, delivered - verdicts.len() as u64);
        }
    }
}
