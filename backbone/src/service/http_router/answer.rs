//! What the router says over HTTP: a reply, or a refusal with its reason.

use crate::{
    message::{Message, MessageError, Reply, Status},
    mqtt::MqttError,
    store::StoreError,
};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Response, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

/// An answer; its body is small.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("nothing is here; requests are posted to /route")]
    UnknownPath,
    #[error("requests are posted")]
    NotPosted,
    #[error("the request has more than the {bytes_max} bytes allowed")]
    TooLarge { bytes_max: usize },
    #[error("the request did not arrive in time or in one piece")]
    Incomplete,
    #[error(transparent)]
    Malformed(#[from] MessageError),
    #[error("too many requests are in work; try again later, or another router")]
    Overloaded,
    #[error("no reply before the deadline")]
    TimedOut,
    #[error("no reply within {limit_ms} ms (http_router.reply_timeout_ms)")]
    NoReply { limit_ms: u64 },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Mqtt(#[from] MqttError),
}

impl Refusal {
    /// Whether a broker answered, and said no.
    pub(super) fn is_of_broker(&self) -> bool {
        match self {
            Self::Store(error) => error.is_refusal(),
            Self::Mqtt(error) => error.is_refusal(),
            _ => false,
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::UnknownPath => StatusCode::NOT_FOUND,
            Self::NotPosted => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut | Self::NoReply { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Store(_) | Self::Mqtt(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// 200 with what the gateway replied; 404, 413 or 502 if it could not be asked, with the reply in its stead; or the
/// refusal's status with its reason.
pub(super) fn answer(outcome: Result<Reply, Refusal>) -> Answer {
    let (status, body) = match outcome {
        Ok(reply) => {
            let status = match reply.status {
                Status::NoRoute => StatusCode::NOT_FOUND,
                Status::GatewayOffline | Status::BrokerRefused => StatusCode::BAD_GATEWAY,
                Status::BrokerUnavailable => StatusCode::INTERNAL_SERVER_ERROR,
                Status::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
                Status::Done | Status::Superseded | Status::Failed => StatusCode::OK,
            };
            (status, reply.to_bytes())
        }
        Err(refusal) => (refusal.status(), json!({ "error": refusal.to_string() }).to_string().into_bytes()),
    };
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
