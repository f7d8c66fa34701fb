//! What the engine must know of a partner's server before it connects.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::listing::DatePattern;
use crate::path::ServerSystem;
use crate::source::SourceAddresses;
use layover_depot::Secret;

/// Tells the time. The engine reads no clock of its own: listings without a
/// year and certificates are judged by this one.
#[derive(Clone)]
pub struct Now(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Now {
    /// A clock.
    pub fn new(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The time.
    #[must_use]
    pub fn tell(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Now {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Now(..)")
    }
}

/// How the control connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// AUTH TLS on the FTP port. Nothing but AUTH is sent before TLS.
    #[default]
    Explicit,
    /// TLS from the first byte.
    Implicit,
    /// No protection at all: user name, password and files can be read on the way.
    Plain,
}

impl Security {
    /// The port where nothing else is said.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Explicit | Self::Plain => 21,
            Self::Implicit => 990,
        }
    }
}

/// Who makes the data connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Transfer {
    /// We do.
    #[default]
    Passive,
    /// The server does.
    Active {
        /// Ports that we listen on, one for each transfer. 0 is any.
        ports: RangeInclusive<u16>,
        /// The address that we announce, when it is not the local one of the
        /// control connection (address translation).
        announced: Option<Ipv4Addr>,
    },
}

/// TLS versions that are offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TlsVersions {
    /// TLS 1.2 and 1.3.
    #[default]
    From12,
    /// TLS 1.2 alone, for servers that demand a resumed session on data
    /// connections and do not give enough tickets of TLS 1.3.
    Only12,
    /// TLS 1.3 alone.
    Only13,
}

/// SHA-256 of a certificate's DER form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// Reads 64 hexadecimal digits, with or without colons between the bytes,
    /// as OpenSSL prints them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits: String = text.trim().chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        hex::decode_to_slice(digits, &mut bytes).ok()?;
        Some(Self(bytes))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a server's certificate is trusted.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Its chain leads to one of these authorities (PEM; the system's bundle or
    /// the partner's), it bears the host's name and is in its dates. With a pin
    /// it must be that certificate, too.
    Authorities {
        /// Certificates in PEM.
        pem: Vec<u8>,
        /// The one certificate that is accepted, if only one is.
        pin: Option<Fingerprint>,
    },
    /// It is exactly this certificate, whoever signed it, whatever name and
    /// dates it bears.
    Pin(Fingerprint),
    /// It is not looked at. Whoever sits in between reads everything.
    Anything,
}

/// Our certificate, for servers that ask for one.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Our certificate and those that it was signed with, in PEM.
    pub certificates_pem: Vec<u8>,
    /// Its key in PEM: PKCS#8 (also encrypted), PKCS#1 or SEC1.
    pub key_pem: Secret,
    /// What an encrypted key is opened with.
    pub passphrase: Option<Secret>,
}

/// TLS as the operator wants it.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// Versions that are offered.
    pub versions: TlsVersions,
    /// Whom we trust.
    pub trust: Trust,
    /// Who we are.
    pub identity: Option<ClientIdentity>,
}

/// How the server's listings are read.
#[derive(Debug, Clone, Default)]
pub struct ListingOptions {
    /// How dates are written, where they are written neither as `ls` nor as
    /// DOS does.
    pub date_format: Option<DatePattern>,
    /// The zone of times in LIST. Those of MLSD and MDTM are UTC by RFC 3659.
    pub time_zone: Option<TimeZone>,
}

/// How long we wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For name resolution, TCP and TLS each.
    pub connect: Duration,
    /// For the reply to a command.
    pub reply: Duration,
    /// For a data connection to come about.
    pub data: Duration,
    /// For the next byte of a transfer to move.
    pub stall: Duration,
}

impl Default for Timeouts {
    /// 30 s for what a healthy server does at once, 120 s for the reply to a
    /// command (servers scan and copy files before they answer), 60 s of silence
    /// within a transfer.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            reply: Duration::from_secs(120),
            data: Duration::from_secs(30),
            stall: Duration::from_secs(60),
        }
    }
}

/// A partner's FTPS or FTP server.
#[derive(Debug, Clone)]
pub struct FtpsOptions {
    /// Host name or address.
    pub host: String,
    /// Port; [`Security::default_port`] where none is given.
    pub port: Option<u16>,
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
    /// Protection of the control connection.
    pub security: Security,
    /// Who makes data connections.
    pub transfer: Transfer,
    /// TLS; not looked at with [`Security::Plain`].
    pub tls: TlsOptions,
    /// How paths are written there.
    pub system: ServerSystem,
    /// How listings are read.
    pub listing: ListingOptions,
    /// Our addresses that connections begin from; none: the system chooses.
    pub source: Option<SourceAddresses>,
    /// How long we wait.
    pub timeouts: Timeouts,
    /// The clock.
    pub now: Now,
}

impl FtpsOptions {
    pub(super) fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.security.default_port())
    }
}
