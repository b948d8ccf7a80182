//! What a message is about, read off its bytes: requests, labels and tasks stand in every message of the backbone.

use backbone::message::{Mac, RequestId};

/// How far into a body its names are looked for: they come first, but a gateway of somebody else may put more before.
pub(super) const HEAD_BYTES: usize = 256;
/// Length of a request's id.
const ID_BYTES: usize = 32;
/// Length of a label's address.
const MAC_BYTES: usize = 17;

/// Whom a message names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// The request that it is, or answers.
    pub request: Option<RequestId>,
    /// Its label.
    pub label: Option<Mac>,
    /// The task that it is, or the result of. Such a message names no request.
    pub task: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Those in the JSON of a message.
    pub(super) fn of_body(body: &'a [u8]) -> Self {
        if let Some(names) = Self::of_request(body) {
            return names;
        }
        let head = &body[..body.len().min(HEAD_BYTES)];
        let mut names = Self::default();
        let mut rest = head;
        while let Some((key, value, after)) = text_field(rest) {
            match key {
                // What follows in a task are its commands.
                b"task_id" => return Self { task: std::str::from_utf8(value).ok(), ..Self::default() },
                b"request_id" => names.request = std::str::from_utf8(value).ok().and_then(|id| id.parse().ok()),
                b"esl_mac" => names.label = std::str::from_utf8(value).ok().and_then(|mac| mac.parse().ok()),
                _ => {}
            }
            if names.request.is_some() && names.label.is_some() {
                break;
            }
            rest = after;
        }
        names
    }

    /// Those of a request or a reply in the words of this project, which most messages are: found without a search.
    fn of_request(body: &[u8]) -> Option<Self> {
        let rest = body.strip_prefix(b"{\"request_id\":\"")?;
        let (id, rest) = rest.split_at_checked(ID_BYTES)?;
        let (mac, _) = rest.strip_prefix(b"\",\"esl_mac\":\"")?.split_at_checked(MAC_BYTES)?;
        let request = Some(std::str::from_utf8(id).ok()?.parse().ok()?);
        let label = Some(std::str::from_utf8(mac).ok()?.parse().ok()?);
        Some(Self { request, label, task: None })
    }

    /// Those among bytes that are no JSON: headers, keys and values of a store.
    pub(super) fn among(bytes: &[u8]) -> Self {
        let request = id_in(bytes).and_then(|id| std::str::from_utf8(id).ok()?.parse().ok());
        if request.is_some() {
            return Self { request, ..Self::default() };
        }
        let is_mac = |window: &&[u8]| window[2] == b':' && window[5] == b':' && window[14] == b':';
        let mac = bytes.windows(MAC_BYTES).filter(is_mac).find_map(|mac| std::str::from_utf8(mac).ok()?.parse().ok());
        Self { request: None, label: mac, task: None }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn is_id_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The first run of digits that is as long as a request's id. Looks from its end, so that most bytes are passed over.
fn id_in(bytes: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    while let Some(run) = bytes.get(from..from + ID_BYTES) {
        match run.iter().rposition(|byte| !is_id_digit(*byte)) {
            Some(last) => from += last + 1,
            None => {
                let more = bytes[from + ID_BYTES..].iter().take_while(|byte| is_id_digit(**byte)).count();
                if more == 0 {
                    return Some(run);
                }
                from += ID_BYTES + more;
            }
        }
    }
    None
}

/// The next field of JSON whose value is a text: its key, its value, and what follows. Texts with escapes don't matter
/// here: names have none.
fn text_field(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut rest = bytes;
    loop {
        let colon = rest.windows(3).position(|three| three == b"\":\"")?;
        let key = rest[..colon].rsplit(|byte| *byte == b'"').next()?;
        let after = &rest[colon + 3..];
        let end = after.iter().position(|byte| *byte == b'"')?;
        if !key.is_empty() {
            return Some((key, &after[..end], &after[end + 1..]));
        }
        rest = &after[end + 1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";
    const MAC: &str = "02:00:00:00:00:07";

    #[test]
    fn requests_replies_and_tasks_are_known_by_their_json() {
        let request = format!(r#"{{"request_id":"{ID}","esl_mac":"{MAC}","version":3}}"#);
        let names = Names::of_body(request.as_bytes());
        assert_eq!((names.request, names.label), (ID.parse().ok(), MAC.parse().ok()));
        let thesis = format!(r#"{{"esl_mac":"{MAC}","status":"done"}}"#);
        assert_eq!(Names::of_body(thesis.as_bytes()).request, None);
        let task = format!(r#"{{"task_id":"task-7","commands":[{{"esl_mac":"{MAC}"}}]}}"#);
        assert_eq!(Names::of_body(task.as_bytes()), Names { task: Some("task-7"), ..Names::default() });
    }

    #[test]
    fn keys_of_a_store_name_whom_they_are_about() {
        let by_id = format!("*2\r\n$3\r\nGET\r\n$54\r\nshelfwire:correlation:{ID}\r\n");
        assert_eq!(Names::among(by_id.as_bytes()).request, ID.parse().ok());
        let by_label = format!("shelfwire:correlation:{MAC}");
        assert_eq!(Names::among(by_label.as_bytes()).label, MAC.parse().ok());
        assert!(Names::among(b"shelfwire:route:default").is_empty());
        let longer = format!("a{ID}:{MAC}:f{ID}0:{ID}");
        let names = Names::among(longer.as_bytes());
        assert_eq!((names.request, names.label), (ID.parse().ok(), None), "only the last one is as long as an id");
        assert_eq!(Names::among(format!("{ID}0").as_bytes()).request, None);
    }
}
