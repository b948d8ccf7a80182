//! Correlations: from what a reply carries to the caller who waits for it.
//!
//! A correlation is read, not taken: it may be needed twice, when a reply is delivered twice or when its router dies
//! halfway. Its time to live, what is left of the request's deadline, cleans up; the caller drops duplicates.

use super::{Store, StoreError};
use crate::{
    config::Correlation,
    message::{Mac, Reply, Request, RequestId},
};
use redis::Pipeline;
use std::fmt;

/// Longest name of an AMQP queue, in bytes (AMQP 0-9-1, 4.2.5.3).
const QUEUE_NAME_BYTES_MAX: usize = 255;

/// Who waits for a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// The attempt that is answered.
    pub(crate) request: RequestId,
    /// The caller's reply queue.
    pub(crate) reply_queue: String,
}

/// What a correlation is stored under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CorrelationKey {
    /// Nobody else's: the id was drawn at random.
    RequestId(RequestId),
    /// The thesis' key. Of two concurrent requests for one label, the later one takes it over, and the earlier one's
    /// reply goes to the later one's caller.
    EslMac(Mac),
}

impl CorrelationKey {
    /// Where the correlation of `request` belongs.
    pub(crate) fn of_request(mode: Correlation, request: &Request) -> Self {
        match mode {
            Correlation::RequestId => Self::RequestId(request.request_id),
            Correlation::EslMac => Self::EslMac(request.esl_mac),
        }
    }

    /// Where to look for who waits for `reply`. `None` if it lacks the id that it should have echoed.
    pub(crate) fn of_reply(mode: Correlation, reply: &Reply) -> Option<Self> {
        match mode {
            Correlation::RequestId => reply.request_id.map(Self::RequestId),
            Correlation::EslMac => Some(Self::EslMac(reply.esl_mac)),
        }
    }
}

impl fmt::Display for CorrelationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestId(id) => write!(f, "shelfwire:correlation:{id}"),
            Self::EslMac(mac) => write!(f, "shelfwire:correlation:{mac}"),
        }
    }
}

impl Caller {
    /// Adds to `pipeline` that this caller is to be found under `key` for `ttl_ms`.
    pub(super) fn remember(&self, pipeline: &mut Pipeline, key: CorrelationKey, ttl_ms: u64) {
        pipeline.cmd("SET").arg(key.to_string()).arg(self.to_string()).arg("PX").arg(ttl_ms).ignore();
    }

    fn parse(value: &str) -> Option<Self> {
        let (request, reply_queue) = value.split_once(' ')?;
        (1..=QUEUE_NAME_BYTES_MAX).contains(&reply_queue.len()).then_some(())?;
        Some(Self { request: request.parse().ok()?, reply_queue: reply_queue.into() })
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.request, self.reply_queue)
    }
}

impl Store {
    /// Who waits for the reply with this key, if anybody still does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn caller(&self, key: CorrelationKey) -> Result<Option<Caller>, StoreError> {
        let key = key.to_string();
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.cmd("GET").arg(&key);
        let answer: Option<(Option<Vec<u8>>,)> = self.run("read a correlation", &pipeline).await?;
        Ok(answer.and_then(|(value,)| self.parsed(&key, value, Caller::parse)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_caller_survives_the_store(id in "[0-9a-f]{32}", reply_queue in ".{1,60}") {
            let caller = Caller { request: id.parse().unwrap(), reply_queue };
            prop_assert_eq!(Caller::parse(&caller.to_string()), Some(caller));
        }

        #[test]
        fn no_stored_text_makes_the_parser_panic(value: String) {
            let _ = Caller::parse(&value);
        }
    }

    #[test]
    fn a_caller_without_a_usable_queue_name_is_none() {
        let id = "00112233445566778899aabbccddeeff";
        assert_eq!(Caller::parse(id), None);
        assert_eq!(Caller::parse(&format!("{id} ")), None);
        assert_eq!(Caller::parse(&format!("{id} {}", "q".repeat(256))), None);
    }
}
