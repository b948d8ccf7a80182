//! Which requests wait for their replies in this router, and which did lately.

use crate::{
    message::{Mac, Reply, RequestId},
    rpc::recent::Recent,
    store::CorrelationKey,
    telemetry::DropReason,
};
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// The requests of one router. Bounded by the router, which admits only so many.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    entries: BTreeMap<CorrelationKey, Entry>,
    recent: Recent,
    tickets: u64,
}

#[derive(Debug)]
struct Entry {
    request: RequestId,
    esl: Mac,
    reply: oneshot::Sender<Reply>,
    /// Tells an entry from a later one under the same key.
    ticket: u64,
}

/// A request that waits for its reply, until dropped.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    waiting: &'a Waiting,
    key: CorrelationKey,
    ticket: u64,
    /// The reply. Fails when a later request has taken over the key.
    pub(super) reply: oneshot::Receiver<Reply>,
}

impl Waiting {
    /// Waits for the reply to `request` of the label `esl`, which will come under `key`. Whoever waited there before waits
    /// in vain: as in the thesis, the later of two concurrent requests for one label gets both replies.
    pub(super) fn enter(&self, key: CorrelationKey, request: RequestId, esl: Mac) -> Wait<'_> {
        let (sender, reply) = oneshot::channel();
        let mut table = self.table();
        table.tickets += 1;
        let ticket = table.tickets;
        table.entries.insert(key, Entry { request, esl, reply: sender, ticket });
        table.recent.remember(request);
        drop(table);
        Wait { waiting: self, key, ticket, reply }
    }

    /// Gives a reply to the request that waits for it.
    ///
    /// # Errors
    /// Why it was dropped instead: `foreign` if no request of this router can be meant. A reply without the request's id
    /// that comes too late can't be told from a foreign one.
    pub(super) fn deliver(&self, key: CorrelationKey, reply: Reply, foreign: DropReason) -> Result<(), DropReason> {
        let mut table = self.table();
        let known = reply.request_id.is_some_and(|id| table.recent.contains(id));
        match table.entries.get(&key) {
            Some(entry) if reply.answers(entry.request, entry.esl) => {
                let entry = table.entries.remove(&key).expect("it was there a line above");
                drop(table);
                // The receiver lives in a `Wait`, which takes its entry with it.
                entry.reply.send(reply).map_err(|_| DropReason::ReplyNotAwaited)
            }
            _ if known => Err(DropReason::ReplyNotAwaited),
            _ => Err(foreign),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        let mut table = self.waiting.table();
        if table.entries.get(&self.key).is_some_and(|entry| entry.ticket == self.ticket) {
            table.entries.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{env::Env, message::Status};

    const ESL: Mac = Mac::new(1);
    const FOREIGN: DropReason = DropReason::ReplyMisdelivered;

    fn reply(request_id: Option<RequestId>) -> Reply {
        Reply { request_id, esl_mac: ESL, status: Status::Done, detail: None }
    }

    fn draw() -> RequestId {
        RequestId::draw(&Env::tokio())
    }

    #[test]
    fn a_reply_reaches_its_request_once() {
        let (waiting, id) = (Waiting::default(), draw());
        let key = CorrelationKey::RequestId(id);
        let mut wait = waiting.enter(key, id, ESL);
        assert_eq!(waiting.deliver(key, reply(Some(id)), FOREIGN), Ok(()));
        assert_eq!(wait.reply.try_recv(), Ok(reply(Some(id))));
        assert_eq!(waiting.deliver(key, reply(Some(id)), FOREIGN), Err(DropReason::ReplyNotAwaited));
    }

    #[test]
    fn a_reply_to_a_request_of_another_router_is_foreign() {
        let (waiting, id) = (Waiting::default(), draw());
        let mut wait = waiting.enter(CorrelationKey::RequestId(id), id, ESL);
        let other = draw();
        assert_eq!(waiting.deliver(CorrelationKey::RequestId(other), reply(Some(other)), FOREIGN), Err(FOREIGN));
        assert!(wait.reply.try_recv().is_err(), "its own is still to come");
    }

    #[test]
    fn a_reply_that_comes_after_its_request_ended_is_late_not_foreign() {
        let (waiting, id) = (Waiting::default(), draw());
        let key = CorrelationKey::RequestId(id);
        drop(waiting.enter(key, id, ESL));
        assert_eq!(waiting.deliver(key, reply(Some(id)), FOREIGN), Err(DropReason::ReplyNotAwaited));
        assert!(waiting.table().entries.is_empty());
    }

    #[test]
    fn the_later_of_two_requests_for_one_label_takes_over_its_key() {
        let (waiting, key) = (Waiting::default(), CorrelationKey::EslMac(ESL));
        let (first, second) = (draw(), draw());
        let mut earlier = waiting.enter(key, first, ESL);
        let mut later = waiting.enter(key, second, ESL);
        assert_eq!(earlier.reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        drop(earlier); // and leaves the entry of the later one alone
        assert_eq!(waiting.deliver(key, reply(Some(first)), FOREIGN), Err(DropReason::ReplyNotAwaited));
        assert_eq!(waiting.deliver(key, reply(Some(second)), FOREIGN), Ok(()));
        assert!(later.reply.try_recv().is_ok());
    }

    #[test]
    fn a_gateway_that_echoes_nothing_is_believed() {
        let (waiting, key, id) = (Waiting::default(), CorrelationKey::EslMac(ESL), draw());
        let mut wait = waiting.enter(key, id, ESL);
        assert_eq!(waiting.deliver(key, reply(None), FOREIGN), Ok(()));
        assert!(wait.reply.try_recv().is_ok());
    }
}
