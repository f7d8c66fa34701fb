//! Which host key a server must show: pinned fingerprints, lines of
//! `known_hosts`, or none yet.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use russh::keys::ssh_key::known_hosts::{Entry, HostPatterns, Marker};
use russh::keys::ssh_key::{Algorithm, HashAlg, PublicKey};

use super::transport::HostKeyKind;
use crate::fault::RemoteFault;

/// Host keys that may be known of one server.
pub const MAX_KNOWN_KEYS: usize = 64;

/// Longest line of `known_hosts` that is read, in bytes: RSA of 16,384 bits
/// takes 2,800, the rest is for names.
pub const MAX_KNOWN_HOSTS_LINE_BYTES: usize = 8 * 1024;

/// SHA-256 fingerprint of a host key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Reads `SHA256:` and 43 characters of base64, as `ssh-keygen -l` prints
    /// it; `=` at the end is let pass.
    pub fn parse(text: &str) -> Result<Self, TrustError> {
        let text = text.trim();
        text.strip_prefix("SHA256:")
            .and_then(|digest| STANDARD_NO_PAD.decode(digest.trim_end_matches('=')).ok())
            .and_then(|digest| digest.try_into().ok())
            .map(Self)
            .ok_or(TrustError::Fingerprint)
    }

    pub(super) fn of(key: &PublicKey) -> Self {
        let mut digest = [0; 32];
        for (to, from) in digest
            .iter_mut()
            .zip(key.fingerprint(HashAlg::Sha256).as_bytes())
        {
            *to = *from;
        }
        Self(digest)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SHA256:{}", STANDARD_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Why an operator's words about host keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Not as `ssh-keygen -l` prints it.
    #[error("a host key's fingerprint is written `SHA256:` and 43 characters of base64")]
    Fingerprint,
    /// Not a line of `known_hosts`.
    #[error("line {line} is not a line of known_hosts")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Over [`MAX_KNOWN_HOSTS_LINE_BYTES`].
    #[error("line {line} is longer than {MAX_KNOWN_HOSTS_LINE_BYTES} bytes")]
    LineTooLong {
        /// Counted from 1.
        line: usize,
    },
    /// Host certificates are not understood.
    #[error("line {line}: host certificates (`@cert-authority`) are not supported")]
    CertAuthority {
        /// Counted from 1.
        line: usize,
    },
    /// Over [`MAX_KNOWN_KEYS`].
    #[error("more than {MAX_KNOWN_KEYS} host keys")]
    TooMany,
    /// Nothing in it.
    #[error("no host key is given")]
    Empty,
}

/// Which host key is expected of a server.
#[derive(Clone, Debug)]
pub enum HostTrust {
    /// None is known. The handshake stops with
    /// [`RemoteFault::HostKeyUnknown`] before anything of ours is sent; the
    /// caller has the fingerprint confirmed and comes back with it.
    LearnOnFirstUse,
    /// One of these.
    Known(KnownKeys),
}

/// Host keys that a server may show, given by an operator or confirmed by one.
#[derive(Clone, Debug)]
pub struct KnownKeys(Known);

#[derive(Clone, Debug)]
enum Known {
    Fingerprints(Vec<Fingerprint>),
    Lines(Vec<Entry>),
}

impl KnownKeys {
    /// Takes fingerprints.
    pub fn fingerprints(prints: impl IntoIterator<Item = Fingerprint>) -> Result<Self, TrustError> {
        let prints: Vec<_> = prints.into_iter().take(MAX_KNOWN_KEYS + 1).collect();
        match prints.len() {
            0 => Err(TrustError::Empty),
            n if n > MAX_KNOWN_KEYS => Err(TrustError::TooMany),
            _ => Ok(Self(Known::Fingerprints(prints))),
        }
    }

    /// Reads lines of `known_hosts`: plain, hashed (`|1|`), `[host]:port`, with
    /// wildcards, negations and `@revoked`. Empty lines and comments are left
    /// out.
    pub fn known_hosts(text: &str) -> Result<Self, TrustError> {
        let mut entries = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let (number, line) = (number + 1, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if line.len() > MAX_KNOWN_HOSTS_LINE_BYTES {
                return Err(TrustError::LineTooLong { line: number });
            }
            if entries.len() == MAX_KNOWN_KEYS {
                return Err(TrustError::TooMany);
            }
            // sshd(8) lets any white space stand between the fields.
            let fields = line.split_whitespace().collect::<Vec<_>>().join(" ");
            let entry: Entry = fields
                .parse()
                .map_err(|_| TrustError::Line { line: number })?;
            if entry.marker() == Some(&Marker::CertAuthority) {
                return Err(TrustError::CertAuthority { line: number });
            }
            entries.push(entry);
        }
        if entries.is_empty() {
            return Err(TrustError::Empty);
        }
        Ok(Self(Known::Lines(entries)))
    }
}

/// What the handshake asks for one server.
#[derive(Clone, Debug)]
pub(super) enum Expected {
    /// Nothing is known: whatever is shown is unknown.
    Nothing,
    /// One of these fingerprints, and none of the revoked ones.
    Keys {
        allowed: Vec<Fingerprint>,
        revoked: Vec<Fingerprint>,
        /// Kinds of the allowed keys where lines gave the keys themselves.
        kinds: Option<Vec<Algorithm>>,
    },
}

impl HostTrust {
    /// What is expected of `host` at `port`.
    pub(super) fn expect(&self, host: &str, port: u16) -> Result<Expected, RemoteFault> {
        match self {
            Self::LearnOnFirstUse => Ok(Expected::Nothing),
            Self::Known(KnownKeys(Known::Fingerprints(prints))) => Ok(Expected::Keys {
                allowed: prints.clone(),
                revoked: Vec::new(),
                kinds: None,
            }),
            Self::Known(KnownKeys(Known::Lines(entries))) => {
                let (mut allowed, mut revoked, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
                for entry in entries {
                    if !names(entry.host_patterns(), host, port) {
                        continue;
                    }
                    let key = entry.public_key();
                    if entry.marker() == Some(&Marker::Revoked) {
                        revoked.push(Fingerprint::of(key));
                    } else {
                        allowed.push(Fingerprint::of(key));
                        kinds.push(key.algorithm());
                    }
                }
                if allowed.is_empty() && revoked.is_empty() {
                    return Err(RemoteFault::Settings {
                        detail: format!(
                            "no line of known_hosts is for `{}`",
                            name_in_known_hosts(host, port)
                        ),
                    });
                }
                Ok(Expected::Keys {
                    allowed,
                    revoked,
                    kinds: Some(kinds),
                })
            }
        }
    }
}

impl Expected {
    /// Whether the server may show this key, and what is wrong if not.
    pub(super) fn check(&self, key: &PublicKey) -> Result<(), RemoteFault> {
        let shown = Fingerprint::of(key);
        match self {
            Self::Nothing => Err(RemoteFault::HostKeyUnknown {
                shown: shown.to_string(),
            }),
            Self::Keys {
                allowed, revoked, ..
            } => {
                if allowed.contains(&shown) && !revoked.contains(&shown) {
                    return Ok(());
                }
                let pinned: Vec<_> = allowed
                    .iter()
                    .filter(|print| !revoked.contains(print))
                    .map(Fingerprint::to_string)
                    .collect();
                Err(RemoteFault::HostKeyChanged {
                    pinned: if pinned.is_empty() {
                        "none, because it is revoked".to_owned()
                    } else {
                        pinned.join(", ")
                    },
                    shown: shown.to_string(),
                })
            }
        }
    }

    /// The kinds of host keys to ask for, those that are known first: a server
    /// that has several shows the one that is known.
    pub(super) fn kinds_in_order(&self) -> Vec<HostKeyKind> {
        let mut order = Vec::new();
        if let Self::Keys {
            kinds: Some(kinds), ..
        } = self
        {
            order.extend(kinds.iter().filter_map(HostKeyKind::of));
        }
        order.extend_from_slice(HostKeyKind::ALL);
        let mut seen = Vec::new();
        order.retain(|kind| {
            let new = !seen.contains(kind);
            seen.push(*kind);
            new
        });
        order
    }

    /// Whether keys are known of which the kind is not.
    pub(super) fn is_of_unknown_kind(&self) -> bool {
        matches!(self, Self::Keys { kinds: None, .. })
    }
}

/// How `known_hosts` calls a server (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
fn name_in_known_hosts(host: &str, port: u16) -> String {
    let host = host.to_ascii_lowercase();
    if port == super::options::DEFAULT_PORT {
        host
    } else {
        format!("[{host}]:{port}")
    }
}

fn names(patterns: &HostPatterns, host: &str, port: u16) -> bool {
    let name = name_in_known_hosts(host, port);
    match patterns {
        HostPatterns::HashedName { salt, hash } => {
            let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, salt);
            hmac::sign(&key, name.as_bytes()).as_ref() == hash
        }
        HostPatterns::Patterns(patterns) => {
            let mut named = false;
            for pattern in patterns {
                let pattern = pattern.to_ascii_lowercase();
                match pattern.strip_prefix('!') {
                    Some(not) if matches(not.as_bytes(), name.as_bytes()) => return false,
                    Some(_) => {}
                    None => named |= matches(pattern.as_bytes(), name.as_bytes()),
                }
            }
            named
        }
    }
}

/// Whether a pattern with `*` and `?` fits the whole name. Time is bounded by
/// the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                back = Some((p + 1, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == name.get(n) => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((after_star, taken)) = back else {
                    return false;
                };
                back = Some((after_star, taken + 1));
                (p, n) = (after_star, taken + 1);
            }
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests;
