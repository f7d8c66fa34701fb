//! What a connection to an SFTP server needs to be told.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use super::host_key::HostTrust;
use super::key_pair::KeyPair;
use crate::source::SourceAddresses;

/// The port of SSH.
pub const DEFAULT_PORT: u16 = 22;

/// An SFTP server of a partner's, and how to log in there.
#[derive(Clone, Debug)]
pub struct SftpOptions {
    /// Name or address.
    pub host: String,
    /// Usually [`DEFAULT_PORT`].
    pub port: u16,
    /// The account there.
    pub username: String,
    /// What proves who we are.
    pub credential: Credential,
    /// Which host key is expected.
    pub trust: HostTrust,
    /// Which SSH algorithms are offered.
    pub algorithms: Algorithms,
    /// Addresses to connect from; the system chooses when `None`.
    pub source_address: Option<SourceAddresses>,
    /// How long is waited for what.
    pub timeouts: Timeouts,
}

/// What proves to the server who we are. Where the server wants both a key and
/// a password, `Both` gives both.
#[derive(Clone)]
pub enum Credential {
    /// By `password`, or by `keyboard-interactive` where that is not offered.
    Password(Zeroizing<String>),
    /// By one of our key pairs.
    Key(KeyPairs),
    /// By key first, then, when the server took the key and asks for more, by
    /// password. A password is never sent in place of a key.
    Both {
        /// Our key pairs.
        keys: KeyPairs,
        /// The password.
        password: Zeroizing<String>,
    },
}

impl Credential {
    pub(super) fn keys(&self) -> Option<&KeyPairs> {
        match self {
            Self::Password(_) => None,
            Self::Key(keys) | Self::Both { keys, .. } => Some(keys),
        }
    }

    pub(super) fn password(&self) -> Option<&str> {
        match self {
            Self::Key(_) => None,
            Self::Password(password) | Self::Both { password, .. } => Some(password),
        }
    }
}

impl fmt::Debug for Credential {
    /// Secrets are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password(_) => "Password",
            Self::Key(_) => "Key",
            Self::Both { .. } => "Both",
        })
    }
}

/// The key pair in use and, while it is being replaced, the one before it.
#[derive(Clone, Debug)]
pub struct KeyPairs {
    /// Tried first.
    pub current: KeyPair,
    /// Tried when the server refuses `current`: until the partner has installed
    /// the new public key.
    pub previous: Option<KeyPair>,
}

/// With what the server let us in, in the order in which it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// [`KeyPairs::current`].
    CurrentKey,
    /// [`KeyPairs::previous`]: the partner has not installed the new one.
    PreviousKey,
    /// The password, by either method.
    Password,
}

/// Which SSH algorithms are offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Algorithms {
    /// Curve25519 and ML-KEM, AEAD ciphers or encrypt-then-MAC.
    #[default]
    Modern,
    /// NIST curves, finite-field groups of 2048 bits and more with SHA-2, and
    /// MAC-and-encrypt as well. Never SHA-1, CBC or anything weaker.
    Compatible,
}

/// How long is waited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For each address until TCP is connected.
    pub connect: Duration,
    /// From there until the login is done and SFTP is open.
    pub login: Duration,
    /// For the next reply while requests are outstanding.
    pub request: Duration,
    /// For the next byte from the server while requests are outstanding.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// 15 s, 30 s, 120 s, 120 s: servers that fetch a file from tape or object
    /// storage answer the first READ after more than a minute.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            login: Duration::from_secs(30),
            request: Duration::from_secs(120),
            stall: Duration::from_secs(120),
        }
    }
}
