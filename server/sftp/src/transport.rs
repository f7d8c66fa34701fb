//! SSH below SFTP: which algorithms are offered, and how large things are.

use std::borrow::Cow;
use std::time::Duration;

use layover_depot::FirstProof;
use russh::client::GexParams;
use russh::kex::dh::groups::{DH_GROUP14, DH_GROUP16, DhGroup};
use russh::keys::PrivateKey;
use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg};
use russh::server::Config;
use russh::{MethodKind, MethodSet, Preferred, SshId, cipher, compression, kex, mac};

use crate::Algorithms;
use crate::handshake::{Lists, has_own_mac};

/// What we call ourselves; without a version, which helps nobody but attackers.
const SERVER_ID: &str = "SSH-2.0-Layover";

/// Window that we open to a client, in bytes: enough for a fast line with a
/// long way.
const WINDOW_BYTES: u32 = 8 * 1024 * 1024;

/// Largest SSH data packet that we take, in bytes.
const MAX_PACKET_BYTES: u32 = 256 * 1024;

/// Messages that wait for a channel's task before the connection waits.
const CHANNEL_BUFFER: usize = 64;

/// Messages that wait to be encrypted.
const EVENT_BUFFER: usize = 16;

/// Tries to log in over one connection, as OpenSSH has it.
const MAX_AUTH_ATTEMPTS: usize = 6;

const MODERN_KEX: &[kex::Name] = &[
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::EXTENSION_SUPPORT_AS_SERVER,
    // CVE-2023-48795 (Terrapin).
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
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
    kex::EXTENSION_SUPPORT_AS_SERVER,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_SERVER,
];

const CIPHERS: &[cipher::Name] = &[
    cipher::CHACHA20_POLY1305,
    cipher::AES_256_GCM,
    cipher::AES_128_GCM,
    cipher::AES_256_CTR,
    cipher::AES_128_CTR,
];

/// Encrypt-then-MAC alone; AEAD ciphers need none.
const MODERN_MACS: &[mac::Name] = &[mac::HMAC_SHA512_ETM, mac::HMAC_SHA256_ETM];

/// MAC-and-encrypt as well: what JSch 0.1 and libssh2 before 1.11 have.
const COMPATIBLE_MACS: &[mac::Name] = &[
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
];

/// Groups of a group exchange, smallest first; none is longer, because the work
/// grows with the third power and a peer asks for it before it has logged in.
const GROUPS: &[&DhGroup] = &[&DH_GROUP14, &DH_GROUP16];

/// Signatures that we make and accept. `ssh-rsa`, which is SHA-1, is not among
/// them (S04).
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

/// russh's settings. Time limits are ours, in `activity.rs`; timing of refused
/// logins is evened out by the gate, so russh adds little, and nothing to the
/// first `none` probe that every client sends.
pub(crate) fn config(host_keys: Vec<PrivateKey>, algorithms: Algorithms) -> Config {
    let (kex, macs) = match algorithms {
        Algorithms::Modern => (MODERN_KEX, MODERN_MACS),
        Algorithms::Compatible => (COMPATIBLE_KEX, COMPATIBLE_MACS),
    };
    Config {
        server_id: SshId::Standard(Cow::Borrowed(SERVER_ID)),
        methods: methods(),
        auth_rejection_time: Duration::from_millis(100),
        auth_rejection_time_initial: Some(Duration::ZERO),
        keys: host_keys,
        window_size: WINDOW_BYTES,
        maximum_packet_size: MAX_PACKET_BYTES,
        channel_buffer_size: CHANNEL_BUFFER,
        event_buffer_size: EVENT_BUFFER,
        preferred: Preferred {
            kex: Cow::Borrowed(kex),
            key: Cow::Borrowed(SIGNATURES),
            cipher: Cow::Borrowed(CIPHERS),
            mac: Cow::Borrowed(macs),
            // Before authentication, compression is attack surface (S04);
            // after it, partners' files are compressed already.
            compression: Cow::Borrowed(&[compression::NONE]),
            ..Preferred::default()
        },
        max_auth_attempts: MAX_AUTH_ATTEMPTS,
        inactivity_timeout: None,
        keepalive_interval: None,
        nodelay: true,
        ..Config::default()
    }
}

/// How a client may log in, before anybody has proven who he is: for every user
/// the same list, because a list by account would tell which accounts exist
/// (G03). Keyboard-interactive asks for the password.
pub(crate) fn methods() -> MethodSet {
    MethodSet::from(
        &[
            MethodKind::PublicKey,
            MethodKind::Password,
            MethodKind::KeyboardInteractive,
        ][..],
    )
}

/// What is missing after the first of two proofs.
pub(crate) fn methods_after(first: &FirstProof) -> MethodSet {
    if first.awaits_password() {
        MethodSet::from(&[MethodKind::Password, MethodKind::KeyboardInteractive][..])
    } else {
        MethodSet::from(&[MethodKind::PublicKey][..])
    }
}

/// The group for a group exchange: the smallest that is as long as the client
/// prefers, else the longest that it takes (RFC 4419 s.3).
pub(crate) fn group_for(wish: &GexParams) -> Option<DhGroup> {
    let allowed = |group: &&&DhGroup| {
        (wish.min_group_size()..=wish.max_group_size()).contains(&group.bit_size())
    };
    let mut taken = GROUPS.iter().filter(allowed);
    let longest = taken.clone().next_back();
    taken
        .find(|group| group.bit_size() >= wish.preferred_group_size())
        .or(longest)
        .map(|group| (*group).clone())
}

/// Whether a client with these lists could be agreed with if `compatible` algorithms were
/// offered, with the host keys that were (RFC 4253 s.7.1).
pub(crate) fn is_helped_by_compatible(client: &Lists, server: &Lists) -> bool {
    let [kex, keys, cipher, cipher_back, mac, mac_back] = client;
    let [_, our_keys, ..] = server;
    let protects = |ciphers: &[String], macs: &[String]| {
        let mut both = ciphers.iter().filter(|name| is_among(name, CIPHERS));
        let chosen = both.next();
        let has_mac = || macs.iter().any(|name| is_among(name, COMPATIBLE_MACS));
        chosen.is_some_and(|cipher| has_own_mac(cipher) || has_mac())
    };
    kex.iter().any(|name| is_among(name, COMPATIBLE_KEX))
        && keys.iter().any(|name| our_keys.contains(name))
        && protects(cipher, mac)
        && protects(cipher_back, mac_back)
}

fn is_among<N: AsRef<str>>(name: &str, ours: &[N]) -> bool {
    ours.iter().any(|known| known.as_ref() == name)
}

/// Whether a signature of this kind is accepted.
pub(crate) fn is_accepted(signature: &Algorithm) -> bool {
    SIGNATURES.contains(signature)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Every client begins with a `none` probe.
    #[test]
    fn the_first_probe_waits_for_nothing() {
        let config = config(Vec::new(), Algorithms::Modern);
        assert_eq!(config.auth_rejection_time_initial, Some(Duration::ZERO));
    }

    // S04: what must not be offered, by name.
    #[test]
    fn nothing_weak_is_offered() {
        for algorithms in [Algorithms::Modern, Algorithms::Compatible] {
            let preferred = config(Vec::new(), algorithms).preferred;
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
            assert!(names.iter().any(|name| name.starts_with("kex-strict-s")));
            assert_eq!(preferred.compression.len(), 1);
        }
        assert!(!is_accepted(&Algorithm::Rsa { hash: None }));
        assert!(!is_accepted(&Algorithm::Dsa));
    }

    #[test]
    fn compatible_helps_a_client_that_lacks_nothing_else() {
        let lists = |names: [&str; 4]| -> Lists {
            let [kex, keys, cipher, mac] = names;
            [kex, keys, cipher, cipher, mac, mac]
                .map(|list| list.split(',').map(str::to_owned).collect())
        };
        let server = lists(["curve25519-sha256", "ssh-ed25519,rsa-sha2-256", "", ""]);
        let old_kex = "diffie-hellman-group14-sha256,diffie-hellman-group14-sha1";
        let old_macs = "hmac-sha1,hmac-sha2-256";
        for (kex, keys, cipher, mac, helps) in [
            (old_kex, "rsa-sha2-256", "aes128-ctr", old_macs, true),
            (
                old_kex,
                "rsa-sha2-256",
                "aes128-gcm@openssh.com",
                "hmac-md5",
                true,
            ),
            (
                "curve25519-sha256",
                "ssh-ed25519",
                "aes256-ctr",
                old_macs,
                true,
            ),
            (
                "diffie-hellman-group14-sha1",
                "rsa-sha2-256",
                "aes128-ctr",
                old_macs,
                false,
            ),
            (old_kex, "ssh-rsa", "aes128-ctr", old_macs, false),
            (
                old_kex,
                "rsa-sha2-256",
                "aes128-cbc,3des-cbc",
                old_macs,
                false,
            ),
            (
                old_kex,
                "rsa-sha2-256",
                "aes128-ctr",
                "hmac-sha1,hmac-md5",
                false,
            ),
            ("ext-info-c", "ssh-ed25519", "aes128-ctr", old_macs, false),
        ] {
            let client = lists([kex, keys, cipher, mac]);
            assert_eq!(
                is_helped_by_compatible(&client, &server),
                helps,
                "{client:?}"
            );
        }
    }

    #[test]
    fn a_group_exchange_gets_a_group_that_the_client_takes_and_none_below_2048_bits() {
        for (smallest, preferred, longest, expected) in [
            (2048, 2048, 8192, Some(2048)),
            (2048, 3072, 8192, Some(4096)),
            (2048, 8192, 8192, Some(4096)),
            (2048, 3072, 3072, Some(2048)),
            (3072, 3072, 8192, Some(4096)),
            (3072, 3072, 3072, None),
            (8192, 8192, 8192, None),
        ] {
            let wish = GexParams::new(smallest, preferred, longest).unwrap();
            let bits = group_for(&wish).map(|group| group.bit_size());
            assert_eq!(bits, expected, "{smallest} {preferred} {longest}");
        }
    }
}
