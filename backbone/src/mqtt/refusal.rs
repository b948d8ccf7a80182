//! What an MQTT broker refuses over a connection that lives: a publish, a subscription.

use super::{Mqtt, MqttError};
use crate::telemetry::Event;
use rumqttc::{PubAckReason, SubscribeReasonCode};
use std::time::Duration;
use tokio::time::Instant;

/// What is lacking without the subscriptions, in [`Needs`](crate::needs::Needs).
pub(super) const SUBSCRIPTIONS: &str = "subscribe";
/// What is lacking after a publish was refused.
pub(super) const PUBLISH: &str = "publish";
/// For how long a refused publish counts, unless another one succeeds: nothing but the work itself shows whether the
/// broker takes messages again.
const REMEMBERED: Duration = Duration::from_secs(30);

/// What a refused subscription is called in metrics.
pub(super) fn of_subscription(code: &SubscribeReasonCode) -> &'static str {
    match code {
        SubscribeReasonCode::NotAuthorized => "subscription_not_authorized",
        SubscribeReasonCode::QuotaExceeded => "subscription_quota_exceeded",
        SubscribeReasonCode::SharedSubscriptionsNotSupported => "subscription_shared_not_supported",
        SubscribeReasonCode::WildcardSubscriptionsNotSupported => "subscription_wildcard_not_supported",
        _ => "subscription_refused",
    }
}

/// What a refused publish is called in metrics (MQTT 5, 3.4.2.1).
fn of_publish(reason: PubAckReason) -> &'static str {
    match reason {
        PubAckReason::NotAuthorized => "not_authorized",
        PubAckReason::TopicNameInvalid => "topic_name_invalid",
        PubAckReason::QuotaExceeded => "quota_exceeded",
        PubAckReason::PayloadFormatInvalid => "payload_format_invalid",
        PubAckReason::PacketIdentifierInUse => "packet_identifier_in_use",
        PubAckReason::ImplementationSpecificError => "implementation_specific_error",
        PubAckReason::UnspecifiedError | PubAckReason::Success | PubAckReason::NoMatchingSubscribers => "unspecified",
    }
}

/// Whether the message itself is not to the broker's liking, so that nothing is said about others.
fn is_about_the_message(reason: PubAckReason) -> bool {
    matches!(reason, PubAckReason::PayloadFormatInvalid | PubAckReason::TopicNameInvalid)
}

impl Mqtt {
    /// Takes note of a publish to `topic` that was refused.
    pub(super) fn refused(&self, topic: String, reason: PubAckReason) -> MqttError {
        let error = MqttError::Refused { topic, reason };
        let detail = error.to_string();
        self.telemetry.record(&Event::Refused { broker: "mqtt", reason: of_publish(reason), detail: &detail });
        if !is_about_the_message(reason) {
            self.needs.lack_until(PUBLISH, detail, Instant::now() + REMEMBERED);
        }
        error
    }
}

impl MqttError {
    /// Whether the broker answered, and said no.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. } | Self::TooLarge { .. })
    }

    /// Whether it would say no again.
    pub(crate) fn is_for_good(&self) -> bool {
        match self {
            Self::TooLarge { .. } => true,
            Self::Refused { reason, .. } => *reason == PubAckReason::NotAuthorized || is_about_the_message(*reason),
            Self::Unavailable { .. } | Self::Lost { .. } | Self::Unacknowledged { .. } => false,
        }
    }
}
