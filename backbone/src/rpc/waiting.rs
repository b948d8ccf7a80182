//! Which calls wait for their replies, and which did lately.

use super::recent::Recent;
use crate::{
    message::{Mac, Reply, RequestId},
    telemetry::DropReason,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::oneshot;

/// The calls of one replica, by what their replies are known by. Clones share them. Bounded by whoever makes the calls.
#[derive(Debug)]
pub(crate) struct WaitingCalls<K>(Arc<Mutex<Table<K>>>);

#[derive(Debug)]
struct Table<K> {
    entries: BTreeMap<K, Entry>,
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

/// A call that waits for its reply, until dropped.
#[derive(Debug)]
pub(crate) struct Call<K: Copy + Ord> {
    waiting: WaitingCalls<K>,
    key: K,
    ticket: u64,
    /// The reply. Fails when the call was abandoned, or a later one has taken over its key.
    pub(crate) reply: oneshot::Receiver<Reply>,
}

impl<K> Clone for WaitingCalls<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Default for WaitingCalls<K> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Table { entries: BTreeMap::new(), recent: Recent::default(), tickets: 0 })))
    }
}

impl<K: Copy + Ord> WaitingCalls<K> {
    /// Waits for the reply to `request` of the label `esl`, which will come under `key`. Whoever waited there before
    /// waits in vain: as in the thesis, the later of two concurrent requests for one label gets both replies.
    pub(crate) fn enter(&self, key: K, request: RequestId, esl: Mac) -> Call<K> {
        let (sender, reply) = oneshot::channel();
        let mut table = self.table();
        table.tickets += 1;
        let ticket = table.tickets;
        table.entries.insert(key, Entry { request, esl, reply: sender, ticket });
        table.recent.remember(request);
        drop(table);
        Call { waiting: self.clone(), key, ticket, reply }
    }

    /// Gives a reply to the call that waits for it. `claimed` is the request that it says it answers.
    ///
    /// # Errors
    /// Why it was dropped instead: [`DropReason::ReplyNotAwaited`] if it comes too late, `foreign` if no call of this
    /// replica can be meant. One that claims nothing and comes too late can't be told from a foreign one.
    pub(crate) fn deliver(
        &self,
        key: K,
        claimed: Option<RequestId>,
        reply: Reply,
        foreign: DropReason,
    ) -> Result<(), DropReason> {
        let mut table = self.table();
        let waits = table.entries.get(&key);
        // Checked again, because a correlation that was taken over by another label's call would bring a foreign reply.
        if waits.is_some_and(|entry| reply.answers(entry.request, entry.esl)) {
            let entry = table.entries.remove(&key).expect("it was there a line above");
            drop(table);
            // The receiver lives in a `Call`, which takes its entry with it.
            return entry.reply.send(reply).map_err(|_| DropReason::ReplyNotAwaited);
        }
        let is_late = claimed.is_some_and(|id| {
            let still_waits = waits.is_some_and(|entry| entry.request == id);
            table.recent.contains(id) && !still_waits
        });
        Err(if is_late { DropReason::ReplyNotAwaited } else { foreign })
    }

    /// Ends all calls without a reply: what their replies would have come over is gone.
    pub(crate) fn abandon_all(&self) {
        let abandoned = std::mem::take(&mut self.table().entries);
        drop(abandoned);
    }

    fn table(&self) -> MutexGuard<'_, Table<K>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

impl<K: Copy + Ord> Drop for Call<K> {
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
    const FOREIGN: DropReason = DropReason::ReplyMisrouted;
    const LATE: DropReason = DropReason::ReplyNotAwaited;

    fn reply(esl_mac: Mac, request_id: Option<RequestId>) -> Reply {
        Reply { request_id, esl_mac, status: Status::Done, detail: None }
    }

    fn draw() -> RequestId {
        RequestId::draw(&Env::tokio())
    }

    #[test]
    fn a_reply_reaches_its_call_once() {
        let (waiting, id) = (WaitingCalls::default(), draw());
        let mut call = waiting.enter(id, id, ESL);
        assert_eq!(waiting.deliver(id, Some(id), reply(ESL, Some(id)), FOREIGN), Ok(()));
        assert_eq!(call.reply.try_recv(), Ok(reply(ESL, Some(id))));
        assert_eq!(waiting.deliver(id, Some(id), reply(ESL, Some(id)), FOREIGN), Err(LATE));
    }

    #[test]
    fn a_reply_that_comes_after_its_call_ended_is_late_not_foreign() {
        let (waiting, id) = (WaitingCalls::default(), draw());
        drop(waiting.enter(id, id, ESL));
        assert_eq!(waiting.deliver(id, Some(id), reply(ESL, None), FOREIGN), Err(LATE));
        assert!(waiting.table().entries.is_empty());
    }

    #[test]
    fn a_reply_to_a_call_of_somebody_else_is_foreign() {
        let (waiting, id, other) = (WaitingCalls::default(), draw(), draw());
        let mut call = waiting.enter(id, id, ESL);
        assert_eq!(waiting.deliver(other, Some(other), reply(ESL, None), FOREIGN), Err(FOREIGN));
        assert_eq!(waiting.deliver(id, Some(id), reply(Mac::new(2), None), FOREIGN), Err(FOREIGN));
        assert_eq!(waiting.deliver(id, Some(id), reply(ESL, Some(other)), FOREIGN), Err(FOREIGN));
        assert!(call.reply.try_recv().is_err());
        assert_eq!(
            waiting.deliver(id, Some(id), reply(ESL, None), FOREIGN),
            Ok(()),
            "the call still waits for its own"
        );
    }

    #[test]
    fn the_later_of_two_calls_for_one_label_takes_over_its_key() {
        let (waiting, first, second) = (WaitingCalls::default(), draw(), draw());
        let mut earlier = waiting.enter(ESL, first, ESL);
        let mut later = waiting.enter(ESL, second, ESL);
        assert_eq!(earlier.reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        drop(earlier); // and leaves the entry of the later one alone
        assert_eq!(waiting.deliver(ESL, Some(first), reply(ESL, Some(first)), FOREIGN), Err(LATE));
        assert_eq!(waiting.deliver(ESL, Some(second), reply(ESL, Some(second)), FOREIGN), Ok(()));
        assert!(later.reply.try_recv().is_ok());
    }

    #[test]
    fn a_gateway_that_echoes_nothing_is_believed() {
        let (waiting, id) = (WaitingCalls::default(), draw());
        let mut call = waiting.enter(ESL, id, ESL);
        assert_eq!(waiting.deliver(ESL, None, reply(ESL, None), FOREIGN), Ok(()));
        assert!(call.reply.try_recv().is_ok());
    }

    #[test]
    fn an_abandoned_call_learns_of_it() {
        let (waiting, id) = (WaitingCalls::default(), draw());
        let mut call = waiting.enter(id, id, ESL);
        waiting.abandon_all();
        assert_eq!(call.reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    }
}
