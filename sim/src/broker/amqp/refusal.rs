//! The protocol's own errors (AMQP 0-9-1 section 1.2, "Constants"): what the broker answers to what it can't or won't
//! do.

use super::constants::{BASIC_CLASS, BASIC_PUBLISH};
use amq_protocol::types::ShortString;

/// A reason to close a channel or the connection, with the text that the client gets to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The reply code.
    pub(super) code: u16,
    /// RabbitMQ's form: the code's name, a dash, the reason.
    pub(super) text: String,
    /// Class and method that it is about, if not the one that has just come.
    pub(super) about: Option<(u16, u16)>,
}

impl Refusal {
    fn new(code: u16, name: &str, reason: String) -> Self {
        Self { code, text: format!("{name} - {reason}"), about: None }
    }

    /// The same refusal, of a message whose content has come.
    pub(super) fn of_publish(self) -> Self {
        Self { about: Some((BASIC_CLASS, BASIC_PUBLISH)), ..self }
    }

    /// An operator's doing.
    pub(super) fn connection_forced(reason: String) -> Self {
        Self::new(320, "CONNECTION_FORCED", reason)
    }

    pub(super) fn access_refused(reason: String) -> Self {
        Self::new(403, "ACCESS_REFUSED", reason)
    }

    pub(super) fn not_found(reason: String) -> Self {
        Self::new(404, "NOT_FOUND", reason)
    }

    /// The queue of that name is another connection's.
    pub(super) fn locked_queue(name: &str) -> Self {
        let reason = format!(
            "cannot obtain exclusive access to locked queue '{name}' in vhost '/'. It could be originally declared on \
             another connection or the exclusive property value does not match that of the original declaration."
        );
        Self::new(405, "RESOURCE_LOCKED", reason)
    }

    pub(super) fn precondition_failed(reason: String) -> Self {
        Self::new(406, "PRECONDITION_FAILED", reason)
    }

    pub(super) fn frame_error(reason: String) -> Self {
        Self::new(501, "FRAME_ERROR", reason)
    }

    pub(super) fn command_invalid(reason: String) -> Self {
        Self::new(503, "COMMAND_INVALID", reason)
    }

    /// A method that no client sends, or not here.
    pub(super) fn unimplemented_method() -> Self {
        Self::command_invalid("unimplemented method".into())
    }

    pub(super) fn channel_error(reason: String) -> Self {
        Self::new(504, "CHANNEL_ERROR", reason)
    }

    pub(super) fn unexpected_frame(reason: String) -> Self {
        Self::new(505, "UNEXPECTED_FRAME", reason)
    }

    pub(super) fn resource_error(reason: String) -> Self {
        Self::new(506, "RESOURCE_ERROR", reason)
    }

    pub(super) fn not_allowed(reason: String) -> Self {
        Self::new(530, "NOT_ALLOWED", reason)
    }

    /// Something that RabbitMQ may know and this broker doesn't.
    pub(super) fn not_implemented(reason: String) -> Self {
        Self::new(540, "NOT_IMPLEMENTED", reason)
    }

    /// Soft errors close the channel, all others the connection.
    pub(super) fn is_soft(&self) -> bool {
        matches!(self.code, 311..=313 | 403..=406)
    }

    /// The text, cut to what a short string holds.
    pub(super) fn reply_text(&self) -> ShortString {
        let end = self.text.floor_char_boundary(u8::MAX.into());
        self.text[..end].into()
    }
}
