//! The bytes between lapin's thread and the simulation.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
};

/// Most bytes that wait for lapin. A turn ends when lapin has read them all, and between two turns there comes no more
/// than the socket's receive buffer holds; this is many times that, so more means that turns no longer do what they
/// should.
const INBOUND_BYTES_MAX: usize = 4 << 20;

/// Bytes on their way between lapin and the simulated socket. What lapin writes has no limit here: without the pipe it
/// would wait in lapin's own queue, which has none either.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    inbound: VecDeque<u8>,
    outbound: Vec<u8>,
    /// The socket has ended, and how.
    end: Option<io::ErrorKind>,
    /// Bytes that lapin has read and written so far.
    pub(super) moved: u64,
}

impl Pipe {
    /// Adds what has arrived.
    ///
    /// # Panics
    /// If lapin has left unread what came before.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.inbound.extend(bytes);
        let unread = self.inbound.len();
        assert!(unread <= INBOUND_BYTES_MAX, "lapin has left {unread} bytes unread over several turns");
    }

    /// Notes how the socket ended. Returns false: there is nothing more to do in this direction.
    pub(super) fn end(&mut self, how: io::ErrorKind) -> bool {
        self.end = Some(how);
        false
    }

    pub(super) fn has_output(&self) -> bool {
        !self.outbound.is_empty()
    }

    /// lapin reads what is there; `None`: nothing, and the socket lives. 0 bytes: its end.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Option<io::Result<usize>> {
        if !self.inbound.is_empty() {
            let read = self.inbound.read(buf);
            self.moved += *read.as_ref().unwrap_or(&0) as u64;
            return Some(read);
        }
        let end = self.end?;
        self.moved += 1;
        Some(if end == io::ErrorKind::UnexpectedEof { Ok(0) } else { Err(end.into()) })
    }

    /// lapin writes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(end) = self.end.filter(|end| *end != io::ErrorKind::UnexpectedEof) {
            return Err(end.into());
        }
        self.outbound.extend_from_slice(bytes);
        self.moved += bytes.len() as u64;
        Ok(bytes.len())
    }

    pub(super) fn take_output(&mut self, into: &mut Vec<u8>) {
        into.append(&mut self.outbound);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "lapin has left 4194305 bytes unread")]
    fn bytes_that_lapin_does_not_read_are_not_gathered_without_end() {
        let mut pipe = Pipe::default();
        pipe.feed(&[0; INBOUND_BYTES_MAX]);
        pipe.feed(&[0]);
    }
}
