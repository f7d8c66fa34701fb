//! What the two sides agreed upon, for the journal: russh does not tell it.
//!
//! Each side's identification line and first packet travel in the clear
//! (RFC 4253 s.4.2, s.7.1). They are read as they pass; nothing is decided by
//! what is read here, and what cannot be read is left out.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};

/// Longest opening of a side that is looked at, in bytes: some lines before the
/// identification, that line (255), and a packet of 35,000 (RFC 4253 s.6.1).
const MAX_OPENING_BYTES: usize = 40 * 1024;

/// Lines before the identification that are passed over.
const MAX_LINES: usize = 16;

/// Longest version text that is kept, in bytes (RFC 4253 s.4.2).
const MAX_VERSION_BYTES: usize = 255;

/// Longest name of an algorithm that is kept, in bytes (RFC 4251 s.6).
const MAX_NAME_BYTES: usize = 64;

/// SSH_MSG_KEXINIT.
const KEXINIT: u8 = 20;

/// The cookie before its lists, in bytes.
const COOKIE_BYTES: usize = 16;

/// Key exchange, host key, cipher there and back, MAC there and back.
pub(crate) type Lists = [Vec<String>; 6];

/// Whether a cipher comes with a MAC of its own.
pub(crate) fn has_own_mac(cipher: &str) -> bool {
    cipher.contains("gcm") || cipher.contains("poly1305")
}

/// What one side said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hello {
    version: String,
    lists: Lists,
}

/// SSH_MSG_NEWKEYS: a side's last packet in the clear.
const NEWKEYS: u8 = 21;

/// Packets behind the hello that are passed over, until its new keys: a key exchange takes
/// two, with an exchange of groups four.
const MAX_PACKETS: usize = 16;

/// One side's bytes, until its hello is complete or cannot be one; and behind it until its
/// new keys.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Vec<u8>,
    closed: bool,
    packets: Packets,
}

/// The packets behind a hello, of which only the kind counts.
#[derive(Debug, Default)]
struct Packets {
    /// packet_length, padding_length, kind (RFC 4253 s.6).
    head: Vec<u8>,
    /// Bytes of the packet that are still to come.
    rest: usize,
    seen: usize,
}

impl Packets {
    /// Whether NEWKEYS is among them.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && self.seen < MAX_PACKETS {
            if self.rest > 0 {
                let (_, after) = bytes.split_at(self.rest.min(bytes.len()));
                self.rest = self.rest.saturating_sub(bytes.len());
                bytes = after;
                continue;
            }
            let wanted = PACKET_HEAD_BYTES.saturating_sub(self.head.len());
            let (head, after) = bytes.split_at(wanted.min(bytes.len()));
            self.head.extend_from_slice(head);
            bytes = after;
            let Some([a, b, c, d, _, kind]) = self.head.get(..) else {
                break;
            };
            if *kind == NEWKEYS {
                self.seen = MAX_PACKETS;
                return true;
            }
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            // Two of them are here already.
            self.rest = usize::try_from(length).map_or(usize::MAX, |all| all.saturating_sub(2));
            self.seen += 1;
            self.head.clear();
        }
        false
    }
}

/// See [`Packets::head`].
const PACKET_HEAD_BYTES: usize = 6;

impl Ear {
    /// Its hello, when it is complete now, and whether its new keys came.
    fn hear(&mut self, bytes: &[u8]) -> (Option<Hello>, bool) {
        if self.closed {
            return (None, self.packets.pass(bytes));
        }
        let room = MAX_OPENING_BYTES.saturating_sub(self.heard.len());
        let (heard, more) = bytes.split_at(room.min(bytes.len()));
        self.heard.extend_from_slice(heard);
        let (hello, used) = match parse(&self.heard) {
            Parsed::NotYet if self.heard.len() < MAX_OPENING_BYTES => return (None, false),
            Parsed::NotYet | Parsed::Never => {
                self.packets.seen = MAX_PACKETS;
                (None, self.heard.len())
            }
            Parsed::Hello(hello, rest) => (Some(hello), self.heard.len().saturating_sub(rest)),
        };
        self.closed = true;
        let heard = std::mem::take(&mut self.heard);
        let behind = heard.get(used..).unwrap_or_default();
        let has_keys = self.packets.pass(behind) || self.packets.pass(more);
        (hello, has_keys)
    }
}

/// What both sides said.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    client: OnceLock<Hello>,
    server: OnceLock<Hello>,
    /// The side has said that it goes on with new keys.
    client_keys: AtomicBool,
    server_keys: AtomicBool,
}

/// How far a connection came that nobody logged in on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The client said nothing that is SSH.
    Nothing,
    /// It said what it can.
    Hello,
    /// It was shown our host key, and did not go on.
    HostKey,
    /// It took our host key.
    NewKeys,
}

impl Handshake {
    pub(crate) fn client_says(&self, ear: &mut Ear, bytes: &[u8]) {
        let (hello, has_keys) = ear.hear(bytes);
        if let Some(hello) = hello {
            let _ = self.client.set(hello);
        }
        if has_keys {
            self.client_keys.store(true, Ordering::Release);
        }
    }

    pub(crate) fn server_says(&self, ear: &mut Ear, bytes: &[u8]) {
        let (hello, has_keys) = ear.hear(bytes);
        if let Some(hello) = hello {
            let _ = self.server.set(hello);
        }
        if has_keys {
            self.server_keys.store(true, Ordering::Release);
        }
    }

    /// How far it has come.
    pub(crate) fn reached(&self) -> Reached {
        // Our new keys go with our key and its signature (RFC 4253 s.8).
        if self.client_keys.load(Ordering::Acquire) {
            Reached::NewKeys
        } else if self.server_keys.load(Ordering::Acquire) {
            Reached::HostKey
        } else if self.client.get().is_some() {
            Reached::Hello
        } else {
            Reached::Nothing
        }
    }

    /// What client and server offered.
    pub(crate) fn offered(&self) -> Option<(&Lists, &Lists)> {
        let (client, server) = (self.client.get()?, self.server.get()?);
        Some((&client.lists, &server.lists))
    }

    /// What the client's software says of itself: printable ASCII.
    pub(crate) fn client_version(&self) -> Option<&str> {
        self.client.get().map(|hello| hello.version.as_str())
    }

    /// What the first key exchange led to: of each kind the first of the
    /// client's names that the server has, too (RFC 4253 s.7.1).
    pub(crate) fn agreed(&self) -> Map<String, Value> {
        let mut agreed = Map::new();
        let (Some(client), Some(server)) = (self.client.get(), self.server.get()) else {
            return agreed;
        };
        let names = [
            "kex",
            "host_key",
            "cipher",
            "cipher_back",
            "mac",
            "mac_back",
        ];
        let choices = client.lists.iter().zip(&server.lists);
        for (name, (wanted, offered)) in names.into_iter().zip(choices) {
            if let Some(choice) = wanted.iter().find(|wanted| offered.contains(wanted)) {
                agreed.insert(name.to_owned(), Value::from(choice.as_str()));
            }
        }
        for (there, back) in [("cipher", "cipher_back"), ("mac", "mac_back")] {
            if agreed.get(there) == agreed.get(back) {
                agreed.remove(back);
            }
        }
        let cipher = agreed.get("cipher").and_then(Value::as_str);
        if cipher.is_some_and(has_own_mac) {
            agreed.remove("mac");
            agreed.remove("mac_back");
        }
        agreed
    }
}

enum Parsed {
    NotYet,
    Never,
    /// And how many bytes there are behind it.
    Hello(Hello, usize),
}

fn parse(heard: &[u8]) -> Parsed {
    let mut rest = heard;
    for _ in 0..MAX_LINES {
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Parsed::NotYet;
        };
        let (line, after) = rest.split_at(end);
        rest = after.get(1..).unwrap_or_default();
        if let Some(version) = line.strip_prefix(b"SSH-") {
            return match lists(rest) {
                Some(Ok((lists, behind))) => {
                    let version = printable(version);
                    Parsed::Hello(Hello { version, lists }, behind)
                }
                Some(Err(NotKexInit)) => Parsed::Never,
                None => Parsed::NotYet,
            };
        }
    }
    Parsed::Never
}

fn printable(version: &[u8]) -> String {
    let text = version
        .iter()
        .take(MAX_VERSION_BYTES)
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|byte| char::from(*byte));
    "SSH-".chars().chain(text).collect()
}

/// The packet is another one, or its fields do not fit into it.
struct NotKexInit;

/// The lists of a first packet, and how many bytes there are behind it; `None` while it is
/// incomplete.
fn lists(packet: &[u8]) -> Option<Result<(Lists, usize), NotKexInit>> {
    // packet_length, padding_length, payload (RFC 4253 s.6).
    let (length, rest) = packet.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_OPENING_BYTES {
        return Some(Err(NotKexInit));
    }
    let (body, behind) = rest.split_at_checked(length)?;
    let fields = match body.get(1..) {
        Some([KEXINIT, fields @ ..]) => fields.get(COOKIE_BYTES..),
        _ => None,
    };
    let mut fields = fields.unwrap_or_default();
    let mut lists = Lists::default();
    for list in &mut lists {
        let Some((length, rest)) = fields.split_first_chunk() else {
            return Some(Err(NotKexInit));
        };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((names, rest)) = rest.split_at_checked(length) else {
            return Some(Err(NotKexInit));
        };
        *list = names
            .split(|byte| *byte == b',')
            .filter(|name| name.len() <= MAX_NAME_BYTES && name.iter().all(u8::is_ascii_graphic))
            .map(|name| name.iter().map(|byte| char::from(*byte)).collect())
            .collect();
        fields = rest;
    }
    Some(Ok((lists, behind.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opening(version: &str, lists: [&str; 6]) -> Vec<u8> {
        let mut payload = vec![KEXINIT];
        payload.extend([7; COOKIE_BYTES]);
        for list in lists.into_iter().chain([""; 4]) {
            payload.extend(u32::try_from(list.len()).unwrap().to_be_bytes());
            payload.extend(list.as_bytes());
        }
        payload.extend([0; 5]);
        let padding = 4;
        let mut bytes = version.as_bytes().to_vec();
        bytes.extend(
            u32::try_from(payload.len() + padding + 1)
                .unwrap()
                .to_be_bytes(),
        );
        bytes.push(u8::try_from(padding).unwrap());
        bytes.extend(payload);
        bytes.extend(vec![0; padding]);
        bytes
    }

    fn handshake(client: &[u8], server: &[u8], piece: usize) -> Handshake {
        let handshake = Handshake::default();
        let (mut ears, mut other) = (Ear::default(), Ear::default());
        for bytes in client.chunks(piece) {
            handshake.client_says(&mut ears, bytes);
        }
        for bytes in server.chunks(piece) {
            handshake.server_says(&mut other, bytes);
        }
        handshake
    }

    const SERVER: [&str; 6] = [
        "curve25519-sha256,ecdh-sha2-nistp256,kex-strict-s-v00@openssh.com",
        "ssh-ed25519",
        "aes128-gcm@openssh.com,aes128-ctr",
        "aes128-gcm@openssh.com,aes128-ctr",
        "hmac-sha2-256",
        "hmac-sha2-256",
    ];

    #[test]
    fn the_clients_first_name_that_the_server_has_is_what_was_agreed() {
        let client = opening(
            "a notice\r\nSSH-2.0-JSCH-0.1.54\u{1b}[31m\r\n",
            [
                "unknown,ecdh-sha2-nistp256,curve25519-sha256",
                "ssh-rsa,ssh-ed25519",
                "aes128-ctr",
                "aes128-gcm@openssh.com",
                "hmac-md5,hmac-sha2-256",
                "hmac-sha2-256",
            ],
        );
        let server = opening("SSH-2.0-Layover\r\n", SERVER);
        for piece in [1, 7, usize::MAX] {
            let handshake = handshake(&client, &server, piece);
            // The escape is gone; what is left of it does no harm.
            assert_eq!(handshake.client_version(), Some("SSH-2.0-JSCH-0.1.54[31m"));
            let agreed = handshake.agreed();
            assert_eq!(agreed["kex"], "ecdh-sha2-nistp256");
            assert_eq!(agreed["host_key"], "ssh-ed25519");
            assert_eq!(agreed["cipher"], "aes128-ctr");
            assert_eq!(agreed["cipher_back"], "aes128-gcm@openssh.com");
            assert_eq!(agreed["mac"], "hmac-sha2-256");
            assert_eq!(agreed.get("mac_back"), None);
        }
    }

    #[test]
    fn a_cipher_with_its_own_mac_names_no_other() {
        let hello = opening("SSH-2.0-x\r\n", SERVER);
        let agreed = handshake(&hello, &hello, 100).agreed();
        assert_eq!(agreed["cipher"], "aes128-gcm@openssh.com");
        assert_eq!(agreed.get("mac"), None);
        assert_eq!(agreed.get("cipher_back"), None);
    }

    #[test]
    fn what_is_kept_of_an_opening_without_end_is_bounded() {
        let mut ear = Ear::default();
        for _ in 0..100 {
            assert_eq!(ear.hear(&[b'x'; 1024]), (None, false));
            assert!(ear.heard.len() <= MAX_OPENING_BYTES);
        }
        assert!(ear.closed && ear.heard.capacity() == 0);
        // A line more or less than what is passed over.
        for (lines, heard) in [(MAX_LINES - 1, true), (MAX_LINES, false)] {
            let text = format!("{}SSH-2.0-x\r\n", "hello\n".repeat(lines));
            let found = Ear::default().hear(&opening(&text, SERVER));
            assert_eq!(found.0.is_some(), heard, "{lines}");
        }
    }

    fn packet(kind: u8) -> Vec<u8> {
        let mut bytes = 12_u32.to_be_bytes().to_vec();
        bytes.extend([4, kind]);
        bytes.extend([0; 10]);
        bytes
    }

    #[test]
    fn who_shows_and_who_takes_the_host_key_is_heard() {
        let hello = opening("SSH-2.0-x\r\n", SERVER);
        let exchange = |kinds: &[u8]| {
            let packets = kinds.iter().flat_map(|kind| packet(*kind));
            [hello.clone(), packets.collect()].concat()
        };
        for (client, server, reached) in [
            (Vec::new(), exchange(&[]), Reached::Nothing),
            (exchange(&[30]), exchange(&[]), Reached::Hello),
            (
                exchange(&[30]),
                exchange(&[31, NEWKEYS, 9]),
                Reached::HostKey,
            ),
            (
                exchange(&[34, 32, NEWKEYS]),
                exchange(&[31, 33, NEWKEYS]),
                Reached::NewKeys,
            ),
        ] {
            for piece in [1, 7, usize::MAX] {
                let heard = handshake(&client, &server, piece);
                assert_eq!(heard.reached(), reached, "in pieces of {piece}");
            }
        }
        let many = exchange(&[30; MAX_PACKETS + 1]);
        let late = [many, packet(NEWKEYS)].concat();
        assert_eq!(handshake(&late, &hello, 100).reached(), Reached::Hello);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_heard_or_given_up(bytes: Vec<u8>, piece in 1_usize..50) {
            let mut all = b"SSH-2.0-x\r\n".to_vec();
            all.extend(bytes);
            let _ = handshake(&all, &all, piece).agreed();
        }
    }
}
