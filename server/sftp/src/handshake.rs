//! What the two sides agreed upon, for the journal: russh does not tell it.
//!
//! Each side's identification line and first packet travel in the clear
//! (RFC 4253 s.4.2, s.7.1). They are read as they pass; nothing is decided by
//! what is read here, and what cannot be read is left out.

use std::sync::OnceLock;

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

/// What one side said.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hello {
    version: String,
    /// Key exchange, host key, cipher there and back, MAC there and back.
    lists: [Vec<String>; 6],
}

/// One side's bytes, until its hello is complete or cannot be one.
#[derive(Debug, Default)]
pub(crate) struct Ear {
    heard: Vec<u8>,
    closed: bool,
}

impl Ear {
    fn hear(&mut self, bytes: &[u8]) -> Option<Hello> {
        if self.closed {
            return None;
        }
        let room = MAX_OPENING_BYTES.saturating_sub(self.heard.len());
        self.heard
            .extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        let hello = match parse(&self.heard) {
            Parsed::NotYet if self.heard.len() < MAX_OPENING_BYTES => return None,
            Parsed::NotYet | Parsed::Never => None,
            Parsed::Hello(hello) => Some(hello),
        };
        self.closed = true;
        self.heard = Vec::new();
        hello
    }
}

/// What both sides said.
#[derive(Debug, Default)]
pub(crate) struct Handshake {
    client: OnceLock<Hello>,
    server: OnceLock<Hello>,
}

impl Handshake {
    pub(crate) fn client_says(&self, ear: &mut Ear, bytes: &[u8]) {
        if let Some(hello) = ear.hear(bytes) {
            let _ = self.client.set(hello);
        }
    }

    pub(crate) fn server_says(&self, ear: &mut Ear, bytes: &[u8]) {
        if let Some(hello) = ear.hear(bytes) {
            let _ = self.server.set(hello);
        }
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
        let has_own_mac = agreed
            .get("cipher")
            .and_then(Value::as_str)
            .is_some_and(|cipher| cipher.contains("gcm") || cipher.contains("poly1305"));
        if has_own_mac {
            agreed.remove("mac");
            agreed.remove("mac_back");
        }
        agreed
    }
}

enum Parsed {
    NotYet,
    Never,
    Hello(Hello),
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
                Some(Ok(lists)) => Parsed::Hello(Hello {
                    version: printable(version),
                    lists,
                }),
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

/// The lists of a first packet; `None` while it is incomplete.
fn lists(packet: &[u8]) -> Option<Result<[Vec<String>; 6], NotKexInit>> {
    // packet_length, padding_length, payload (RFC 4253 s.6).
    let (length, rest) = packet.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
    if length > MAX_OPENING_BYTES {
        return Some(Err(NotKexInit));
    }
    let body = rest.get(..length)?;
    let fields = match body.get(1..) {
        Some([KEXINIT, fields @ ..]) => fields.get(COOKIE_BYTES..),
        _ => None,
    };
    let mut fields = fields.unwrap_or_default();
    let mut lists: [Vec<String>; 6] = Default::default();
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
    Some(Ok(lists))
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
            assert_eq!(ear.hear(&[b'x'; 1024]), None);
            assert!(ear.heard.len() <= MAX_OPENING_BYTES);
        }
        assert!(ear.closed && ear.heard.capacity() == 0);
        // A line more or less than what is passed over.
        for (lines, heard) in [(MAX_LINES - 1, true), (MAX_LINES, false)] {
            let text = format!("{}SSH-2.0-x\r\n", "hello\n".repeat(lines));
            let found = Ear::default().hear(&opening(&text, SERVER));
            assert_eq!(found.is_some(), heard, "{lines}");
        }
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
