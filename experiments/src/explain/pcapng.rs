//! Capture files as Wireshark has them: pcapng (draft-ietf-opsawg-pcapng), with as many kinds of blocks as we need.
//! Everything is little-endian; who reads it sees that from the first block.

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const INTERFACE: u32 = 1;
const NAME_RESOLUTION: u32 = 4;
const ENHANCED_PACKET: u32 = 6;
const ETHERNET: u16 = 1;
const IPV4_NAME: u16 = 1;

const END_OF_OPTIONS: u16 = 0;
const COMMENT: u16 = 1;
const APPLICATION: u16 = 4;
const INTERFACE_NAME: u16 = 2;
const INTERFACE_IPV4: u16 = 4;
const INTERFACE_MAC: u16 = 6;
const INTERFACE_RESOLUTION: u16 = 9;
const PACKET_FLAGS: u16 = 2;
/// Timestamps count 10^-9 s.
const NANOSECONDS: u8 = 9;
/// Of a packet's flags: its interface has sent it.
const OUTBOUND: u32 = 0b10;
/// Longest text of a comment; an option's length has 16 bits.
const COMMENT_BYTES_MAX: usize = 16 * 1_024;

/// Where packets are captured.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) ipv4: [u8; 4],
    pub(super) mac: [u8; 6],
}

/// A capture file in the making.
pub(super) struct File(Vec<u8>);

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

fn option(bytes: &mut Vec<u8>, code: u16, value: &[u8]) {
    let len = u16::try_from(value.len()).expect("no option of ours is so long");
    bytes.extend_from_slice(&code.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(value);
    pad(bytes);
}

fn comment(bytes: &mut Vec<u8>, text: &str) {
    option(bytes, COMMENT, &text.as_bytes()[..text.floor_char_boundary(COMMENT_BYTES_MAX)]);
}

impl File {
    /// One that begins with this; `comments` are about all of it.
    pub(super) fn new(application: &str, comments: &[String]) -> Self {
        let mut file = Self(Vec::new());
        file.block(SECTION_HEADER, |body| {
            body.extend_from_slice(&BYTE_ORDER.to_le_bytes());
            body.extend_from_slice(&1u16.to_le_bytes()); // version 1.0
            body.extend_from_slice(&0u16.to_le_bytes());
            body.extend_from_slice(&(-1i64).to_le_bytes()); // of unknown length
            comments.iter().for_each(|text| comment(body, text));
            option(body, APPLICATION, application.as_bytes());
            option(body, END_OF_OPTIONS, &[]);
        });
        file
    }

    fn block(&mut self, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
        let Self(bytes) = self;
        let start = bytes.len();
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        body(bytes);
        pad(bytes);
        let len = u32::try_from(bytes.len() + 4 - start).expect("no block of ours is so long").to_le_bytes();
        bytes.extend_from_slice(&len);
        bytes[start + 4..start + 8].copy_from_slice(&len);
    }

    /// Adds an interface. The first one is number 0.
    pub(super) fn interface(&mut self, interface: &Interface) {
        self.block(INTERFACE, |body| {
            body.extend_from_slice(&ETHERNET.to_le_bytes());
            body.extend_from_slice(&[0; 2]);
            body.extend_from_slice(&0u32.to_le_bytes()); // packets are whole, whatever their size
            option(body, INTERFACE_NAME, interface.name.as_bytes());
            let [a, b, c, d] = interface.ipv4;
            option(body, INTERFACE_IPV4, &[a, b, c, d, 255, 255, 0, 0]);
            option(body, INTERFACE_MAC, &interface.mac);
            option(body, INTERFACE_RESOLUTION, &[NANOSECONDS]);
            option(body, END_OF_OPTIONS, &[]);
        });
    }

    /// Says what addresses are called.
    pub(super) fn names<'a>(&mut self, interfaces: impl Iterator<Item = &'a Interface>) {
        self.block(NAME_RESOLUTION, |body| {
            for Interface { name, ipv4, .. } in interfaces {
                option(body, IPV4_NAME, &[&ipv4[..], name.as_bytes(), &[0]].concat());
            }
            option(body, END_OF_OPTIONS, &[]);
        });
    }

    /// Adds a packet that left an interface at a time since 1970.
    pub(super) fn packet(&mut self, interface: u32, unix_ns: u64, packet: &[u8], comments: &[String]) {
        self.block(ENHANCED_PACKET, |body| {
            let len = u32::try_from(packet.len()).expect("a packet is below 4 GB");
            for word in [interface, (unix_ns >> 32) as u32, unix_ns as u32, len, len] {
                body.extend_from_slice(&word.to_le_bytes());
            }
            body.extend_from_slice(packet);
            pad(body);
            option(body, PACKET_FLAGS, &OUTBOUND.to_le_bytes());
            comments.iter().for_each(|text| comment(body, text));
            option(body, END_OF_OPTIONS, &[]);
        });
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_say_their_length_at_both_ends_and_fill_up_to_words() {
        let mut file = File::new("me", &["a".repeat(COMMENT_BYTES_MAX + 9)]);
        file.interface(&Interface { name: "redis".into(), ipv4: [192, 168, 0, 1], mac: [2, 0, 192, 168, 0, 1] });
        file.packet(0, 1_735_689_600_000_000_001, b"seven b", &["why".into(), "so".into()]);
        let bytes = file.into_bytes();
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < bytes.len() {
            let len = word(at + 4) as usize;
            assert_eq!((len % 4, word(at + len - 4) as usize), (0, len));
            kinds.push(word(at));
            at += len;
        }
        assert_eq!((at, kinds), (bytes.len(), vec![SECTION_HEADER, INTERFACE, ENHANCED_PACKET]));
    }
}
