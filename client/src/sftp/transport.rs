//! SSH below SFTP: which algorithms are offered, and how large things are.

use std::borrow::Cow;
use std::time::Duration;

use russh::client::{Config, GexParams};
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use russh::{Preferred, SshId, cipher, compression, kex, mac};

use super::options::Algorithms;

/// What we call ourselves; without a version, which helps nobody but attackers.
const CLIENT_ID: &str = "SSH-2.0-Layover";

/// Window that we open to a server, in bytes: what is outstanding in a download
/// fits twice, so that the window is never what a download waits for.
const WINDOW_BYTES: u32 = 32 * 1024 * 1024;

/// Largest SSH data packet that we take, in bytes: russh calls more than this
/// an error in its log.
const MAX_PACKET_BYTES: u32 = 65_535;

/// Messages that wait for the transfer before the connection waits.
const CHANNEL_BUFFER: usize = 64;

/// An idle connection says something this often, so that firewalls keep it.
/// Missing answers do not end it: servers with one process answer late while
/// they copy, and our own time-outs decide.
const KEEPALIVE: Duration = Duration::from_secs(30);

const MODERN_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    // CVE-2023-48795 (Terrapin).
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

const COMPATIBLE_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::DH_GEX_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// AES first: processors have instructions for it, and OpenSSH's ChaCha20 is
/// portable C.
const CIPHERS: &[cipher::Name] = &[
    cipher::AES_128_GCM,
    cipher::AES_256_GCM,
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

/// Encrypt-then-MAC alone; AEAD ciphers need none.
const MODERN_MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// MAC-and-encrypt as well: what old servers have.
const COMPATIBLE_MACS: &[mac::Name] = &[
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
];

/// Signatures of host keys that are taken. `ssh-rsa`, which is SHA-1, is not
/// among them.
const SIGNATURES: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// Kinds of host keys, the preferred one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HostKeyKind {
    Ed25519,
    Ecdsa,
    Rsa,
}

impl HostKeyKind {
    pub(super) const ALL: &[Self] = &[Self::Ed25519, Self::Ecdsa, Self::Rsa];

    pub(super) fn of(algorithm: &Algorithm) -> Option<Self> {
        match algorithm {
            Algorithm::Ed25519 => Some(Self::Ed25519),
            Algorithm::Ecdsa { .. } => Some(Self::Ecdsa),
            Algorithm::Rsa { .. } => Some(Self::Rsa),
            _ => None,
        }
    }
}

/// russh's settings, `host_keys` being asked for in their order. Time limits are
/// ours.
pub(super) fn config(algorithms: Algorithms, host_keys: &[HostKeyKind]) -> Config {
    let (kex, macs) = match algorithms {
        Algorithms::Modern => (MODERN_KEX, MODERN_MACS),
        Algorithms::Compatible => (COMPATIBLE_KEX, COMPATIBLE_MACS),
    };
    let signatures = host_keys
        .iter()
        .flat_map(|kind| {
            SIGNATURES
                .iter()
                .filter(|signature| HostKeyKind::of(signature) == Some(*kind))
                .cloned()
        })
        .collect();
    Config {
        client_id: SshId::Standard(Cow::Borrowed(CLIENT_ID)),
        window_size: WINDOW_BYTES,
        maximum_packet_size: MAX_PACKET_BYTES,
        channel_buffer_size: CHANNEL_BUFFER,
        preferred: Preferred {
            kex: Cow::Borrowed(kex),
            key: Cow::Owned(signatures),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(macs),
            // Partners' files are compressed or encrypted already.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::default()
        },
        inactivity_timeout: None,
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: 0,
        gex: GexParams::new(2048, 4096, 8192).unwrap_or_default(),
        nodelay: true,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_weak_is_offered() {
        for algorithms in [Algorithms::Modern, Algorithms::Compatible] {
            let preferred = config(algorithms, HostKeyKind::ALL).preferred;
            let names: Vec<String> = preferred
                .kex
                .iter()
                .map(|name| name.as_ref().to_owned())
                .chain(preferred.cipher.iter().map(|name| name.as_ref().to_owned()))
                .chain(preferred.mac.iter().map(|name| name.as_ref().to_owned()))
                .collect();
            for name in &names {
                assert!(!name.contains("sha1") && !name.contains("cbc"), "{name}");
                assert!(!name.contains("md5") && !name.contains("none"), "{name}");
                if algorithms == Algorithms::Modern {
                    assert!(
                        !name.starts_with("hmac") || name.contains("-etm@"),
                        "{name}"
                    );
                    assert!(!name.contains("nistp") && !name.contains("group"), "{name}");
                }
            }
            assert!(names.iter().any(|name| name.starts_with("kex-strict-c")));
            assert_eq!(preferred.compression.len(), 1);
            assert!(!preferred.key.contains(&Algorithm::Rsa { hash: None }));
            assert!(!preferred.key.contains(&Algorithm::Dsa));
        }
    }

    #[test]
    fn a_known_host_key_is_asked_for_by_its_kind() {
        let preferred = config(Algorithms::Modern, &[HostKeyKind::Rsa]).preferred;
        assert!(
            preferred
                .key
                .iter()
                .all(|key| matches!(key, Algorithm::Rsa { hash: Some(_) }))
        );
        assert_eq!(preferred.key.len(), 2);
    }
}
