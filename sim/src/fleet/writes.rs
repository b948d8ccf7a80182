//! How a client library hands a packet to its socket: at once, or field by field.
//!
//! Eclipse's paho.golang, with which the thesis' emulators were written, gives a packet to the connection as a list of
//! buffers (`ControlPacket::WriteTo`, `Publish::Buffers`: the fixed header; topic, packet id and the properties'
//! length; properties; payload). Its connection is wrapped for its lock, so Go writes them one by one, and with
//! TCP_NODELAY, which Go sets, each is a segment of its own. When the last one leaves decides what it acknowledges.

use backbone::env::Stream;
use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// MQTT's remaining length and property length have at most four bytes (MQTT 5, section 1.5.5).
const LENGTH_BYTES_MAX: usize = 4;
const PUBLISH: u8 = 3;

/// How a gateway's MQTT library writes to its socket, and so what a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writes {
    /// All packets that are ready at once.
    Packets,
    /// Each field of each packet by itself, as paho.golang does.
    Fields,
}

impl Writes {
    /// A stream that writes so.
    pub(super) fn on(self, stream: Stream) -> Stream {
        match self {
            Self::Packets => stream,
            Self::Fields => Box::new(FieldWriter { stream, fields: VecDeque::new() }),
        }
    }
}

/// A stream of MQTT 5 packets that writes each field of a packet by itself.
struct FieldWriter {
    stream: Stream,
    /// Bytes of the fields that are to come of the packet that is being written.
    fields: VecDeque<usize>,
}

/// A variable byte integer: its value and its length; `None` while it is incomplete.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (i, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        value |= usize::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((value, i + 1));
        }
    }
    None
}

/// The lengths of the fields of the packet that `bytes` begin with; `None` if its head is incomplete.
fn fields(bytes: &[u8]) -> Option<VecDeque<usize>> {
    let (body_bytes, length_bytes) = length(bytes.get(1..)?)?;
    let header_bytes = 1 + length_bytes;
    let mut fields = VecDeque::from([header_bytes]);
    let first = *bytes.first()?;
    if first >> 4 == PUBLISH {
        let body = bytes.get(header_bytes..)?;
        let topic_bytes = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
        let packet_id_bytes = if first >> 1 & 3 > 0 { 2 } else { 0 };
        let before_properties = 2 + topic_bytes + packet_id_bytes;
        let (properties_bytes, length_bytes) = length(body.get(before_properties..)?)?;
        let head_bytes = before_properties + length_bytes;
        fields.extend([head_bytes, properties_bytes, body_bytes.checked_sub(head_bytes + properties_bytes)?]);
    } else {
        fields.push_back(body_bytes);
    }
    fields.retain(|bytes| *bytes > 0);
    Some(fields)
}

impl AsyncWrite for FieldWriter {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.fields.is_empty() {
            self.fields = fields(bytes).unwrap_or_else(|| VecDeque::from([bytes.len()]));
        }
        let len = self.fields.front().map_or(bytes.len(), |field| bytes.len().min(*field));
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &bytes[..len]))?;
        if let Some(field) = self.fields.front_mut() {
            *field -= written;
            if *field == 0 {
                self.fields.pop_front();
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for FieldWriter {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn a_publish_has_its_header_its_head_its_properties_and_its_payload() {
        let topic = *b"\x32\x0a\x00\x02ab\x00\x07\x00pay"; // QoS 1, no properties
        assert_eq!(fields(&topic).unwrap(), [2, 7, 3]);
        let properties = *b"\x30\x0a\x00\x01a\x02\x01\x01pay!"; // QoS 0, a payload format
        assert_eq!(fields(&properties).unwrap(), [2, 4, 2, 4]);
        assert_eq!(fields(b"\x40\x02\x00\x07").unwrap(), [2, 2]);
        assert_eq!(fields(b"\xc0\x00").unwrap(), [2]);
    }

    #[test]
    fn what_is_no_whole_head_is_written_as_it_comes() {
        for bytes in [&b""[..], b"\x32", b"\x32\xff", b"\x32\x0b\x00", b"\x32\x03\x00\x07ab", b"\x30\x02\x00\x00\x05"] {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn the_bytes_stay_the_same() {
        let (here, mut there) = tokio::io::duplex(1_024);
        let mut writer = Writes::Fields.on(Box::new(here));
        let packets = b"\x32\x0a\x00\x02ab\x00\x07\x00pay\x40\x02\x00\x07\xc0\x00";
        writer.write_all(packets).await.unwrap();
        let mut read = vec![0; packets.len()];
        there.read_exact(&mut read).await.unwrap();
        assert_eq!(read, packets);
    }
}
