//! The loop of a service that lives from a queue: take deliveries, work on several at a time, settle them, stop
//! cleanly.

use super::{
    Acknowledge, Deliveries, Delivery, DurableQueue, Session, Settlement,
    settling::{Settling, Tag},
};
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use std::{future::Future, time::Duration};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// How a queue is served.
pub(crate) struct Served {
    pub(crate) queue: DurableQueue,
    pub(crate) acknowledge: Acknowledge,
    /// Most deliveries in work at a time.
    pub(crate) in_work_max: usize,
    /// How long work under way may take to finish after the shutdown. What is not finished returns to the
    /// queue, unless it was acknowledged on delivery.
    pub(crate) drain_limit: Duration,
}

/// Runs `work` on each delivery until `shutdown`, then drains; settles each as its work says, unless the broker took it
/// for settled on delivery. The futures run within this one: when it is dropped, so are they. Returns how many
/// deliveries were not finished in time and return to the queue, or, acknowledged on delivery, are lost.
pub(crate) async fn serve<W: Future<Output = Settlement>>(
    session: &Session,
    served: Served,
    shutdown: &CancellationToken,
    work: impl Fn(Delivery) -> W,
) -> usize {
    let mut deliveries = Deliveries::new(session, served.queue, served.acknowledge);
    let mut settling = Settling::default();
    let mut in_work = FuturesUnordered::new();
    let begin = |delivery: Delivery, deliveries: &Deliveries, settling: &mut Settling| {
        let tag = match (deliveries.channel(), served.acknowledge) {
            (Some((generation, channel)), Acknowledge::AfterWork { .. }) => {
                let tag = Tag { generation, number: delivery.tag() };
                settling.take(tag, channel);
                Some(tag)
            }
            _ => None,
        };
        work(delivery).map(move |verdict| (tag, verdict))
    };
    let end = |(tag, verdict): (Option<Tag>, Settlement), settling: &mut Settling| {
        if let Some(tag) = tag {
            settling.end(tag, verdict);
        }
    };
    loop {
        let has_room = in_work.len() < served.in_work_max;
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            // Before the settling, so that all that have ended by now share its frames.
            Some(ended) = in_work.next(), if !in_work.is_empty() => end(ended, &mut settling),
            () = settling.send(), if settling.is_under_way() => {}
            delivery = deliveries.next(has_room) => {
                in_work.push(begin(delivery, &deliveries, &mut settling));
            }
        }
    }
    let drain = async {
        deliveries.stop().await;
        // What the broker takes for settled has nobody else to go to, so that is worked off, too.
        let mut more = served.acknowledge == Acknowledge::OnDelivery;
        loop {
            tokio::select! {
                biased;
                Some(ended) = in_work.next(), if !in_work.is_empty() => end(ended, &mut settling),
                () = settling.send(), if settling.is_under_way() => {}
                rest = deliveries.rest(), if more && in_work.len() < served.in_work_max => match rest {
                    Some(delivery) => in_work.push(begin(delivery, &deliveries, &mut settling)),
                    None => more = false,
                },
                else => break,
            }
        }
    };
    let in_time = timeout(served.drain_limit, drain).await.is_ok();
    let mut unfinished = in_work.len();
    if !in_time && served.acknowledge == Acknowledge::OnDelivery {
        while let Some(Some(_)) = deliveries.rest().now_or_never() {
            unfinished += 1;
        }
    }
    drop(in_work);
    deliveries.close().await;
    unfinished
}
