//! RESP: requests in (arrays of bulk strings; lines of words are in `inline`), replies out.
//!
//! Requests are parsed here and not by a general RESP decoder, because a server accepts far less than a client: one
//! flat shape with limits, so no nesting can exhaust the stack and no announced length is believed before its bytes
//! are there. Specification: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Largest single argument. Redis' `proto-max-bulk-len` is 512 MB; nothing of ours comes near even this.
pub(super) const BULK_BYTES_MAX: usize = 1 << 20;
/// Most arguments of one command; Redis takes 1,048,576.
pub(super) const ARGUMENTS_MAX: usize = 1 << 14;
/// Longest line that announces a length; Redis' limit is 64 KB, a number needs 21 bytes.
const HEADER_BYTES_MAX: usize = 32;
/// Largest whole command; Redis' limit is its `client-query-buffer-limit` of 1 GB.
const COMMAND_BYTES_MAX: usize = 8 << 20;

/// A request that no server understands; the connection is closed after this reply.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ProtocolError {
    #[error("ERR Protocol error: invalid multibulk length")]
    ArrayLength,
    #[error("ERR Protocol error: invalid bulk length")]
    BulkLength,
    #[error("ERR Protocol error: too big mbulk count string")]
    ArrayHeader,
    #[error("ERR Protocol error: too big bulk count string")]
    BulkHeader,
    #[error("ERR Protocol error: expected '$', got '{0}'")]
    NotABulk(char),
    #[error("ERR Protocol error: too big inline request")]
    InlineBytes,
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    #[error("ERR Protocol error: command larger than {COMMAND_BYTES_MAX} bytes")]
    CommandBytes,
}

/// Takes the next whole command off `input`: its name and arguments, copied out, since a slice would keep the whole
/// read buffer alive for as long as the key lives. An empty array is an empty command, to be ignored.
pub(super) fn read_command(input: &mut BytesMut) -> Result<Option<Vec<Bytes>>, ProtocolError> {
    let buf = &input[..];
    if buf.first().is_some_and(|b| *b != b'*') {
        return super::inline::read_line(input);
    }
    let Some((count, mut at)) = read_length(buf, 0, ProtocolError::ArrayHeader, ProtocolError::ArrayLength)? else {
        return Ok(None);
    };
    // Redis takes a count of 0 or less for nothing to do.
    let count = usize::try_from(count).unwrap_or(0);
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::ArrayLength);
    }
    let mut ranges = Vec::with_capacity(count.min(16));
    for _ in 0..count {
        match buf.get(at) {
            None => return incomplete(buf),
            Some(b'$') => {}
            Some(other) => return Err(ProtocolError::NotABulk(*other as char)),
        }
        let Some((len, start)) = read_length(buf, at, ProtocolError::BulkHeader, ProtocolError::BulkLength)? else {
            return incomplete(buf);
        };
        let len = usize::try_from(len).ok().filter(|len| *len <= BULK_BYTES_MAX).ok_or(ProtocolError::BulkLength)?;
        let end = start + len;
        if buf.len() < end + 2 {
            return incomplete(buf);
        }
        if buf[end..end + 2] != *b"\r\n" {
            return Err(ProtocolError::BulkLength);
        }
        ranges.push(start..end);
        at = end + 2;
    }
    let arguments = ranges.into_iter().map(|range| Bytes::copy_from_slice(&buf[range])).collect();
    input.advance(at);
    Ok(Some(arguments))
}

fn incomplete<T>(buf: &[u8]) -> Result<Option<T>, ProtocolError> {
    if buf.len() > COMMAND_BYTES_MAX { Err(ProtocolError::CommandBytes) } else { Ok(None) }
}

/// Reads `<type byte><integer>\r\n` at `at`: the number and where the next byte is.
fn read_length(
    buf: &[u8],
    at: usize,
    too_long: ProtocolError,
    not_a_number: ProtocolError,
) -> Result<Option<(i64, usize)>, ProtocolError> {
    let line = &buf[buf.len().min(at + 1)..];
    let Some(len) = line.iter().take(HEADER_BYTES_MAX).position(|b| *b == b'\r') else {
        return if line.len() >= HEADER_BYTES_MAX { Err(too_long) } else { Ok(None) };
    };
    match line.get(len + 1) {
        None => Ok(None),
        Some(b'\n') => {
            let number = read_integer(&line[..len]).ok_or(not_a_number)?;
            Ok(Some((number, at + 1 + len + 2)))
        }
        Some(_) => Err(not_a_number),
    }
}

/// An integer as Redis takes it: decimal, no sign but `-`, no leading zeros, no spaces.
pub(super) fn read_integer(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        b"0" => text.len() == 1,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if !canonical {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What a command answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Bytes),
    Null,
    Array(Vec<Reply>),
    /// A map in RESP3; in RESP2 an array of keys and values in turn.
    Map(Vec<(Reply, Reply)>),
}

impl Reply {
    pub(super) const OK: Self = Self::Status("OK");

    pub(super) fn copy_of(text: &[u8]) -> Self {
        Self::Bulk(Bytes::copy_from_slice(text))
    }

    pub(super) fn bulk(value: Option<&[u8]>) -> Self {
        value.map_or(Self::Null, Self::copy_of)
    }

    pub(super) fn count(count: usize) -> Self {
        Self::Integer(i64::try_from(count).expect("counts of things in memory fit"))
    }

    /// Appends the wire form.
    pub(super) fn write(&self, out: &mut BytesMut, resp3: bool) {
        match self {
            Self::Status(text) => put(out, b'+', text.as_bytes()),
            // A line break would end the reply early: Redis replaces them too.
            Self::Error(text) => put(out, b'-', text.replace(['\r', '\n'], " ").as_bytes()),
            Self::Integer(number) => put(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => {
                put(out, b'$', bytes.len().to_string().as_bytes());
                out.put_slice(bytes);
                out.put_slice(b"\r\n");
            }
            Self::Null => out.put_slice(if resp3 { b"_\r\n" } else { b"$-1\r\n" }),
            Self::Array(items) => {
                put(out, b'*', items.len().to_string().as_bytes());
                for item in items {
                    item.write(out, resp3);
                }
            }
            Self::Map(pairs) => {
                let (kind, len) = if resp3 { (b'%', pairs.len()) } else { (b'*', pairs.len() * 2) };
                put(out, kind, len.to_string().as_bytes());
                for (key, value) in pairs {
                    key.write(out, resp3);
                    value.write(out, resp3);
                }
            }
        }
    }
}

fn put(out: &mut BytesMut, kind: u8, line: &[u8]) {
    out.put_u8(kind);
    out.put_slice(line);
    out.put_slice(b"\r\n");
}
