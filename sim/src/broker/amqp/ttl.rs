//! Times to live, of messages and queues: which ones RabbitMQ takes, and its words for those that it doesn't.

/// Longest time to live that RabbitMQ takes, of messages and queues: ten years of 365 days.
pub(super) const TTL_MS_MAX: i64 = 315_360_000_000;

/// The number in an expiration property, read as Erlang's `string:to_integer` does, with RabbitMQ's words for what is
/// wrong.
pub(super) fn expiration_ms(text: &str) -> Result<u64, String> {
    let digits_from = usize::from(text.starts_with(['+', '-']));
    let end = text[digits_from..].find(|c: char| !c.is_ascii_digit()).map_or(text.len(), |at| digits_from + at);
    if end == digits_from {
        return Err("no_integer".into());
    }
    if end < text.len() {
        return Err(format!("{{leftover_string,\"{}\"}}", &text[end..]));
    }
    let ms = text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX });
    in_range(ms, 0).map_err(|why| format!("{{{why},{text}}}"))
}

/// Checks a time in ms, with RabbitMQ's words for what is wrong.
pub(super) fn in_range(ms: i64, min: i64) -> Result<u64, &'static str> {
    match ms {
        ..0 => Err("value_negative"),
        0 if min > 0 => Err("value_zero"),
        _ if ms > TTL_MS_MAX => Err("value_too_large"),
        _ => Ok(ms.unsigned_abs()),
    }
}
