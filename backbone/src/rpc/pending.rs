//! Which requests wait for their replies, and which did lately.

use super::recent::Recent;
use crate::{
    message::{Mac, Message, Reply, RequestId},
    telemetry::{DropReason, Dropped},
};
use lapin::message::Delivery;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// The requests of one worker. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    waiting: BTreeMap<RequestId, Waiting>,
    recent: Recent,
}

#[derive(Debug)]
struct Waiting {
    esl: Mac,
    reply: oneshot::Sender<Reply>,
}

/// A request that waits for its reply, until dropped.
#[derive(Debug)]
pub(super) struct Call {
    pending: Pending,
    request: RequestId,
    /// The reply. Fails when the request was abandoned.
    pub(super) reply: oneshot::Receiver<Reply>,
}

impl Pending {
    /// Waits for the reply to `request`, which went to `esl`.
    pub(super) fn call(&self, request: RequestId, esl: Mac) -> Call {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.table();
        let before = table.waiting.insert(request, Waiting { esl, reply: sender });
        assert!(before.is_none(), "request ids are drawn for one call each");
        table.recent.remember(request);
        drop(table);
        Call { pending: self.clone(), request, reply: receiver }
    }

    /// Gives what came over a reply queue to the call that waits for it.
    ///
    /// # Errors
    /// Why it was dropped instead.
    pub(super) fn deliver(&self, delivery: &Delivery) -> Result<(), Dropped> {
        let reply = Reply::parse(&delivery.data).map_err(Dropped::malformed)?;
        let request = delivery.properties.correlation_id().as_ref().and_then(|id| id.as_str().parse().ok());
        let request = request.ok_or_else(|| Dropped::malformed("a reply without a correlation id"))?;
        Ok(self.deliver_reply(request, reply)?)
    }

    fn deliver_reply(&self, request: RequestId, reply: Reply) -> Result<(), DropReason> {
        let mut table = self.table();
        let known = table.recent.contains(request);
        // A correlation that was taken over by another label's call would bring a foreign reply.
        let fits = |waiting: &Waiting| reply.answers(request, waiting.esl);
        match table.waiting.get(&request) {
            Some(waiting) if fits(waiting) => {
                let waiting = table.waiting.remove(&request).expect("it was there a line above");
                drop(table);
                // The receiver lives in a `Call`, which takes its entry with it.
                waiting.reply.send(reply).map_err(|_| DropReason::ReplyNotAwaited)
            }
            Some(_) => Err(DropReason::ReplyMisrouted),
            None if known => Err(DropReason::ReplyNotAwaited),
            None => Err(DropReason::ReplyMisrouted),
        }
    }

    /// Ends all calls without a reply: the queue that their replies would have come over is gone.
    pub(super) fn abandon_all(&self) {
        let abandoned = std::mem::take(&mut self.table().waiting);
        drop(abandoned);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.pending.table().waiting.remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, message::Status};

    const ESL: Mac = Mac::new(1);

    fn reply(esl_mac: Mac, request_id: Option<RequestId>) -> Reply {
        Reply { request_id, esl_mac, status: Status::Done, detail: None }
    }

    fn draw() -> RequestId {
        RequestId::draw(&Env::tokio())
    }

    #[test]
    fn a_reply_reaches_its_call_once() {
        let pending = Pending::default();
        let id = draw();
        let mut call = pending.call(id, ESL);
        assert_eq!(pending.deliver_reply(id, reply(ESL, Some(id))), Ok(()));
        assert_eq!(call.reply.try_recv().unwrap(), reply(ESL, Some(id)));
        assert_eq!(pending.deliver_reply(id, reply(ESL, Some(id))), Err(DropReason::ReplyNotAwaited));
    }

    #[test]
    fn a_reply_that_comes_after_the_call_ended_is_late_not_misrouted() {
        let pending = Pending::default();
        let id = draw();
        drop(pending.call(id, ESL));
        assert_eq!(pending.deliver_reply(id, reply(ESL, None)), Err(DropReason::ReplyNotAwaited));
    }

    #[test]
    fn a_reply_to_a_request_of_somebody_else_is_misrouted() {
        let pending = Pending::default();
        let (id, other) = (draw(), draw());
        let mut call = pending.call(id, ESL);
        assert_eq!(pending.deliver_reply(other, reply(ESL, None)), Err(DropReason::ReplyMisrouted));
        assert_eq!(pending.deliver_reply(id, reply(Mac::new(2), None)), Err(DropReason::ReplyMisrouted));
        assert_eq!(pending.deliver_reply(id, reply(ESL, Some(other))), Err(DropReason::ReplyMisrouted));
        assert!(call.reply.try_recv().is_err());
        assert_eq!(pending.deliver_reply(id, reply(ESL, None)), Ok(()), "the call still waits for its own");
    }

    #[test]
    fn an_abandoned_call_learns_of_it() {
        let pending = Pending::default();
        let mut call = pending.call(draw(), ESL);
        pending.abandon_all();
        assert_eq!(call.reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
