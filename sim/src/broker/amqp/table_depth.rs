//! A guard in front of amq-protocol's recursive decoder: tables within tables may only go so deep, else one small frame
//! could overflow the stack.

use super::refusal::Refusal;

/// Deepest nesting of field tables and arrays. RabbitMQ's own headers go three deep.
const NESTING_MAX: usize = 32;

/// # Errors
/// 501 if the method's table is nested too deep.
pub(super) fn check_method(payload: &[u8]) -> Result<(), Refusal> {
    check(method_table(payload))
}

/// # Errors
/// 501 if the headers property is nested too deep.
pub(super) fn check_properties(encoded: &[u8]) -> Result<(), Refusal> {
    check(headers_table(encoded))
}

/// # Errors
/// 501 if the table, which comes without its length, is nested too deep.
pub(super) fn check_table(table: &[u8]) -> Result<(), Refusal> {
    check(Some(table))
}

fn check(table: Option<&[u8]>) -> Result<(), Refusal> {
    match table {
        Some(table) if !is_shallow(table) => {
            Err(Refusal::frame_error(format!("field tables nested deeper than {NESTING_MAX}")))
        }
        _ => Ok(()),
    }
}

/// The bytes from the table of a method on (without its length), if the method has one.
fn method_table(payload: &[u8]) -> Option<&[u8]> {
    let (ids, fields) = payload.split_at_checked(4)?;
    let skip = |mut at: usize, short_strings: usize, flags: usize| {
        for _ in 0..short_strings {
            at += 1 + usize::from(*fields.get(at)?);
        }
        fields.get(at + flags + 4..)
    };
    match (ids[1], ids[3]) {
        (10, 10) => fields.get(2 + 4..),           // connection.start
        (10, 11) => fields.get(4..),               // connection.start-ok
        (40, 10) => skip(2, 2, 1),                 // exchange.declare
        (40, 30 | 40) | (50, 20) => skip(2, 3, 1), // exchange.bind, exchange.unbind, queue.bind
        (50, 50) => skip(2, 3, 0),                 // queue.unbind
        (50, 10) => skip(2, 1, 1),                 // queue.declare
        (60, 20) => skip(2, 2, 1),                 // basic.consume
        _ => None,
    }
}

/// The bytes from the headers table on (without its length), if there is one.
fn headers_table(encoded: &[u8]) -> Option<&[u8]> {
    let flags = u16::from_be_bytes([*encoded.first()?, *encoded.get(1)?]);
    let mut at = 2;
    for flag in [15, 14] {
        if flags & (1 << flag) != 0 {
            at += 1 + usize::from(*encoded.get(at)?); // content type, content encoding
        }
    }
    if flags & (1 << 13) == 0 { None } else { encoded.get(at + 4..) }
}

/// Walks the values of a table without recursion. Every table and array inside is entered, and left at its end; where
/// the bytes make no sense the walk ends, for then the decoder ends there too.
fn is_shallow(table: &[u8]) -> bool {
    let mut ends = vec![(table.len(), true)]; // where a container ends, and whether its values have names
    let mut at = 0;
    while let Some(&(end, named)) = ends.last() {
        if at >= end {
            ends.pop();
            continue;
        }
        if named {
            at += 1 + usize::from(table[at]);
        }
        let Some(kind) = table.get(at) else { return true };
        at += 1;
        let length = || Some(u32::from_be_bytes(table.get(at..at + 4)?.try_into().ok()?) as usize);
        match kind {
            b't' | b'b' | b'B' => at += 1,
            b's' | b'U' | b'u' => at += 2,
            b'I' | b'i' | b'f' => at += 4,
            b'D' => at += 5,
            b'L' | b'l' | b'd' | b'T' => at += 8,
            b'V' => {}
            b'S' | b'x' => match length() {
                Some(length) => at += 4 + length,
                None => return true,
            },
            b'F' | b'A' => match length() {
                Some(length) => {
                    at += 4;
                    ends.push((at.saturating_add(length).min(table.len()), *kind == b'F'));
                    if ends.len() > NESTING_MAX {
                        return false;
                    }
                }
                None => return true,
            },
            _ => return true,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> Vec<u8> {
        let mut table = Vec::new();
        for _ in 0..levels {
            let mut outer = vec![0, b'F'];
            outer.extend_from_slice(&(table.len() as u32).to_be_bytes());
            outer.append(&mut table);
            table = outer;
        }
        table
    }

    #[test]
    fn tables_may_nest_but_not_without_end() {
        assert!(is_shallow(&nested(NESTING_MAX - 1)));
        assert!(!is_shallow(&nested(NESTING_MAX)));
        assert!(!is_shallow(&nested(20_000)));
    }

    #[test]
    fn headers_are_found_behind_content_type_and_encoding() {
        let mut encoded = vec![0b1110_0000, 0, 1, b'a', 2, b'b', b'c'];
        let table = nested(NESTING_MAX);
        encoded.extend_from_slice(&(table.len() as u32).to_be_bytes());
        encoded.extend_from_slice(&table);
        assert!(check_properties(&encoded).is_err());
    }
}
