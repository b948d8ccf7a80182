//! What travels between the services: tasks, their results, requests, replies, RSSI reports, and the names of the
//! topics and queues that carry them. All of it is JSON, and every kind has a size limit that is checked before
//! parsing. Tasks and requests are a contract with our own producers and workers: an unknown field is an error. Replies
//! and reports come from other people's gateways, whose own fields are left out and counted. What crosses the border of
//! the backbone has a JSON Schema in `backbone/schemas/`, made from these types.
//!
//! A [`Request`] goes to the gateway byte for byte as the worker wrote it, and a [`Reply`] comes back the same way: the
//! routers read what they need and pass the bytes on.

mod address;
mod foreign;
mod id;
mod result;
#[cfg(test)]
mod schemas;
mod task;

pub use address::{
    DEFAULT_ROUTE_KEY, PUBLISHED_HEADER, RESULTS_EXCHANGE, ROUTING_QUEUE, TASK_ID_HEADER, TASK_QUEUE, action_topic,
    dead_letter_queue, gateway_of_topic, response_topic, retry_queue, router_topic, rssi_topic, status_topic,
};
pub(crate) use foreign::LeftOut;
pub use id::{IdError, Mac, RequestId, TaskId};
pub use result::{CommandOutcome, CommandResult, RESULT_VERSION, TaskOutcome, TaskResult};
pub use task::{Command, Task, TaskMessage};

pub(crate) use task::PRIORITY_MAX;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;

/// Largest task, in bytes of JSON: 1,000 commands of the usual size.
pub const TASK_BYTES_MAX: usize = 256 * 1024;
/// Most commands in one task; more belong into several tasks.
pub const TASK_COMMANDS_MAX: usize = 1_000;
/// Largest result, in bytes of JSON: [`TASK_COMMANDS_MAX`] commands that all failed with many words.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;
/// Largest request, in bytes of JSON. An image for a label of 4.2 inches has 15 KB.
pub const REQUEST_BYTES_MAX: usize = 64 * 1024;
/// Largest reply, in bytes of JSON.
pub const REPLY_BYTES_MAX: usize = 4 * 1024;
/// Largest RSSI report, in bytes of JSON: a gateway that hears its 5,000 labels at once (thesis, 'General
/// Architecture').
pub const RSSI_BYTES_MAX: usize = 256 * 1024;
/// Most labels in one RSSI report.
pub const RSSI_LABELS_MAX: usize = 8_192;

/// A command on its way to a label.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Names this attempt; the gateway echoes it.
    pub request_id: RequestId,
    /// The label.
    pub esl_mac: Mac,
    /// See [`Command::version`].
    pub version: u64,
    /// When the caller stops waiting, in milliseconds since 1970. Every hop drops the request after that.
    pub deadline_unix_ms: u64,
    /// Which try of its task this is, from the second one on, if routers want to know (`routing.retry_elsewhere`). Of
    /// no interest to gateways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// See [`Command::body`].
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub body: Box<RawValue>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The request that is answered. Some vendors' gateways echo nothing but the label's address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<RequestId>,
    /// The label.
    pub esl_mac: Mac,
    /// How it went.
    pub status: Status,
    /// For people: why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Reply {
    /// What a router answers in the gateway's stead when it knows none.
    pub(crate) fn no_route(request: &Request) -> Self {
        Self::from_router(request, Status::NoRoute, "no gateway has heard the label lately".into())
    }

    /// What a router answers in the gateway's stead when a newer command was accepted for the label.
    pub(crate) fn superseded(request: &Request, newest: u64) -> Self {
        let detail = format!("version {newest} was accepted for the label before this one, {}", request.version);
        Self::from_router(request, Status::Superseded, detail)
    }

    /// What a router answers in the stead of `gateway`, which nobody but itself subscribes for.
    pub(crate) fn gateway_offline(request: &Request, gateway: Mac) -> Self {
        Self::from_router(request, Status::GatewayOffline, format!("gateway {gateway} is not connected"))
    }

    /// What a hop answers in the gateway's stead when the request can't go on, ever, for its size.
    pub(crate) fn too_large(request: &Request, detail: String) -> Self {
        Self::from_router(request, Status::TooLarge, detail)
    }

    fn from_router(request: &Request, status: Status, detail: String) -> Self {
        let Request { request_id, esl_mac, .. } = *request;
        Self { request_id: Some(request_id), esl_mac, status, detail: Some(detail) }
    }

    /// What a router answers that can't pass a request on: a broker refused it (`status` [`Status::BrokerRefused`]) or
    /// was away up to the request's deadline ([`Status::BrokerUnavailable`]), in the words of `detail`, which is short.
    pub(crate) fn not_passed_on(request: &Request, status: Status, detail: String) -> Self {
        Self::from_router(request, status, detail)
    }

    /// Whether this answers `request`, as far as can be told: a gateway that echoes no id leaves only the label.
    pub(crate) fn answers(&self, request: RequestId, esl: Mac) -> bool {
        self.esl_mac == esl && self.request_id.is_none_or(|id| id == request)
    }
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The label shows it.
    Done,
    /// The label already shows something newer, or has been sent it.
    Superseded,
    /// The gateway tried and failed.
    Failed,
    /// No gateway has heard the label lately.
    NoRoute,
    /// The label's gateway is not connected to the broker.
    GatewayOffline,
    /// A broker on the way refused the request.
    BrokerRefused,
    /// A broker on the way could not be reached before the deadline.
    BrokerUnavailable,
    /// The request has more bytes than a hop takes. It was not sent.
    TooLarge,
}

impl Status {
    /// Whether the label shows what was asked for, or something newer.
    #[must_use]
    pub fn is_success(self) -> bool {
        matches!(self, Self::Done | Self::Superseded)
    }
}

/// The labels that one gateway has heard since its last report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RssiReport {
    /// When the report was made, in milliseconds since 1970 by the gateway's clock.
    pub heard_unix_ms: u64,
    /// Label and received signal strength in dBm (negative; nearer to 0 is stronger).
    #[cfg_attr(test, schemars(length(max = 8_192)))]
    pub labels: Vec<(Mac, i8)>,
}

/// Why bytes from outside are no message.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// Over the kind's size limit.
    #[error("{kind} has {bytes} bytes, more than the {bytes_max} allowed")]
    TooLarge {
        /// What was expected.
        kind: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not the JSON it should be.
    #[error("{kind} does not parse: {source}")]
    Json {
        /// What was expected.
        kind: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
    /// Well-formed, but with more or fewer items than allowed.
    #[error("{kind} has {items} items, allowed are {items_min} to {items_max}")]
    ItemCount {
        /// What was expected.
        kind: &'static str,
        /// How many there were.
        items: usize,
        /// The least.
        items_min: usize,
        /// The most.
        items_max: usize,
    },
}

/// A kind of message with its limits.
pub trait Message: Serialize + DeserializeOwned {
    /// What to call it in an error.
    const KIND: &'static str;
    /// Largest accepted size in bytes.
    const BYTES_MAX: usize;
    /// Fewest and most items, and how many this one has.
    fn item_count(&self) -> Option<(usize, usize, usize)> {
        None
    }

    /// Strictly parses bytes from outside.
    ///
    /// # Errors
    /// [`MessageError`] says what is wrong; nothing is guessed or repaired.
    fn parse(bytes: &[u8]) -> Result<Self, MessageError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(MessageError::TooLarge { kind: Self::KIND, bytes: bytes.len(), bytes_max: Self::BYTES_MAX });
        }
        let message: Self =
            serde_json::from_slice(bytes).map_err(|source| MessageError::Json { kind: Self::KIND, source })?;
        match message.item_count() {
            Some((items, items_min, items_max)) if items < items_min || items > items_max => {
                Err(MessageError::ItemCount { kind: Self::KIND, items, items_min, items_max })
            }
            _ => Ok(message),
        }
    }

    /// The JSON bytes of this message.
    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("messages have string keys and no failing serializer")
    }
}

impl Message for Request {
    const KIND: &'static str = "request";
    const BYTES_MAX: usize = REQUEST_BYTES_MAX;
}

impl Message for Reply {
    const KIND: &'static str = "reply";
    const BYTES_MAX: usize = REPLY_BYTES_MAX;
}

impl Message for RssiReport {
    const KIND: &'static str = "RSSI report";
    const BYTES_MAX: usize = RSSI_BYTES_MAX;
    fn item_count(&self) -> Option<(usize, usize, usize)> {
        Some((self.labels.len(), 0, RSSI_LABELS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_with_an_unknown_field_is_refused_by_name() {
        let error = Task::parse(br#"{"task_id":"a","commands":[],"colour":1}"#).unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn a_task_without_commands_is_refused() {
        let error = Task::parse(br#"{"task_id":"a","commands":[]}"#).unwrap_err();
        assert_eq!(error.to_string(), "task has 0 items, allowed are 1 to 1000");
    }

    #[test]
    fn an_oversized_reply_is_refused_before_it_is_parsed() {
        let error = Reply::parse(&vec![b'x'; REPLY_BYTES_MAX + 1]).unwrap_err();
        assert!(matches!(error, MessageError::TooLarge { bytes: 4097, .. }), "{error}");
    }

    #[test]
    fn a_request_passes_its_body_through_unread() {
        let text = concat!(
            r#"{"request_id":"000102030405060708090a0b0c0d0e0f","esl_mac":"00:11:22:33:44:55","version":7,"#,
            r#""deadline_unix_ms":9,"body":{"price":  12.90}}"#,
        );
        let request = Request::parse(text.as_bytes()).unwrap();
        assert_eq!(request.body.get(), r#"{"price":  12.90}"#);
        assert_eq!(request.to_bytes(), text.as_bytes());
    }

    #[test]
    fn a_reply_without_request_id_is_accepted() {
        let reply = Reply::parse(br#"{"esl_mac":"00:11:22:33:44:55","status":"done"}"#).unwrap();
        assert_eq!(reply.request_id, None);
        assert!(reply.status.is_success());
    }
}
