//! What is seen of a connection, good or bad, and how it adds up.

use std::net::IpAddr;

use layover_retention::Timestamp;
use serde::{Deserialize, Serialize};

use super::announced::Announced;
use super::ports::PortTally;
use super::repeats::Repeated;
use crate::gate::party;
use crate::journal::words;
use crate::{AccountName, Direction, Network, Protocol};

/// Texts that one sign keeps, the newest: algorithms, fingerprints, addresses.
pub(super) const MAX_TOLD: usize = 4;

/// Longest of these texts, in characters: a peer chooses some of them.
const MAX_TOLD_CHARS: usize = 240;

words!(
    /// What was seen of a connection.
    Sign {
        /// Good: somebody logged in.
        LoggedIn = "login",
        /// Good: a data connection came to its port.
        DataArrived = "data-connection",
        /// Good: one came to a port that PASV had told, and with it an address.
        PasvArrived = "data-connection-pasv",
        /// Good: a file was transferred whole.
        Transferred = "transfer",
        /// The gate refused the address before the banner.
        AddressRefused = "address-refused",
        /// Connected, and went without a login.
        NoLogin = "no-login",
        /// FTP: a user name without TLS.
        WithoutTls = "plain-ftp",
        /// FTP: AUTH TLS, and no handshake behind it.
        NoHandshake = "auth-without-handshake",
        /// FTP: TLS from the first byte on the port for AUTH TLS.
        ImplicitOnExplicit = "implicit-on-explicit",
        /// FTP: plaintext on the port where TLS comes first.
        PlainOnImplicit = "plain-on-implicit",
        /// FTP: connected to the port where TLS comes first, and waited for a greeting.
        SilentOnImplicit = "silent-on-implicit",
        /// The client's TLS is too old.
        TlsVersion = "tls-version",
        /// No TLS cipher suite in common.
        TlsSuite = "tls-suite",
        /// The client refuses the server's certificate.
        CertificateRefused = "certificate-refused",
        /// The client's own certificate cannot be used.
        ClientCertificate = "client-certificate",
        /// The handshake failed in another way.
        TlsBroken = "tls-broken",
        /// Nothing in common with an SSH client.
        SshAlgorithms = "ssh-algorithms",
        /// An SSH client hung up when it saw the host key.
        HostKeyRefused = "host-key-refused",
        /// The account may not log in from the address.
        NetworkRefused = "network-refused",
        /// A key, or certificate, that does not open the account.
        KeyRefused = "key-refused",
        /// A password that does not open it.
        PasswordRefused = "password-refused",
        /// The account is disabled.
        AccountDisabled = "account-disabled",
        /// The account may not use the protocol.
        ProtocolRefused = "protocol-refused",
        /// The account had as many sessions as it may have.
        SessionLimit = "session-limit",
        /// A login refused for another reason.
        LoginRefused = "login-refused",
        /// PASV or EPSV was answered, and no connection came to the port.
        NoDataConnection = "no-data-connection",
        /// The same of PASV, which told an address that is doubtful: not the one that the client
        /// had come to, or one that it cannot reach.
        AddressUnreached = "public-address",
        /// A data connection came from another address than the control connection.
        DataFromElsewhere = "data-from-elsewhere",
        /// PORT or EPRT where active mode is off, and no PASV or EPSV behind it.
        ActiveRefused = "active-refused",
        /// The server could not connect to the client's port (active mode).
        ActiveFailed = "active-failed",
        /// FTP: a transfer or listing without PROT P.
        DataUnprotected = "data-unprotected",
        /// A data connection's TLS handshake failed.
        DataHandshake = "data-handshake",
        /// A data connection did not resume the control connection's TLS session.
        NotResumed = "session-not-resumed",
        /// An upload ended without close_notify, and was not published for it.
        NoCloseNotify = "no-close-notify",
        /// A data connection was cut.
        DataBroken = "data-broken",
        /// No byte of a transfer came through until the stall time was over.
        Stalled = "transfer-stalled",
        /// The connection was lost while a file moved.
        ConnectionLost = "connection-lost",
        /// The same transfer fails again and again for the same reason.
        Repeats = "repeats",
    }
);

impl Sign {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 38] = [
        Self::LoggedIn,
        Self::DataArrived,
        Self::PasvArrived,
        Self::Transferred,
        Self::AddressRefused,
        Self::NoLogin,
        Self::WithoutTls,
        Self::NoHandshake,
        Self::ImplicitOnExplicit,
        Self::PlainOnImplicit,
        Self::SilentOnImplicit,
        Self::TlsVersion,
        Self::TlsSuite,
        Self::CertificateRefused,
        Self::ClientCertificate,
        Self::TlsBroken,
        Self::SshAlgorithms,
        Self::HostKeyRefused,
        Self::NetworkRefused,
        Self::KeyRefused,
        Self::PasswordRefused,
        Self::AccountDisabled,
        Self::ProtocolRefused,
        Self::SessionLimit,
        Self::LoginRefused,
        Self::NoDataConnection,
        Self::AddressUnreached,
        Self::DataFromElsewhere,
        Self::ActiveRefused,
        Self::ActiveFailed,
        Self::DataUnprotected,
        Self::DataHandshake,
        Self::NotResumed,
        Self::NoCloseNotify,
        Self::DataBroken,
        Self::Stalled,
        Self::ConnectionLost,
        Self::Repeats,
    ];

    /// Whether all is well.
    #[must_use]
    pub fn is_good(self) -> bool {
        self.refuted_by().is_none()
    }

    /// Whether only somebody who is logged in leaves it.
    pub(super) fn needs_login(self) -> bool {
        match self.refuted_by() {
            None => true,
            Some(good) => good != Self::LoggedIn,
        }
    }

    /// The good sign that says that this is not so, or no more; none of good ones.
    #[must_use]
    pub const fn refuted_by(self) -> Option<Self> {
        match self {
            Self::LoggedIn | Self::DataArrived | Self::PasvArrived | Self::Transferred => None,
            Self::AddressUnreached => Some(Self::PasvArrived),
            Self::AddressRefused
            | Self::NoLogin
            | Self::WithoutTls
            | Self::NoHandshake
            | Self::ImplicitOnExplicit
            | Self::PlainOnImplicit
            | Self::SilentOnImplicit
            | Self::TlsVersion
            | Self::TlsSuite
            | Self::CertificateRefused
            | Self::ClientCertificate
            | Self::TlsBroken
            | Self::SshAlgorithms
            | Self::HostKeyRefused
            | Self::NetworkRefused
            | Self::KeyRefused
            | Self::PasswordRefused
            | Self::AccountDisabled
            | Self::ProtocolRefused
            | Self::SessionLimit
            | Self::LoginRefused => Some(Self::LoggedIn),
            Self::NoDataConnection
            | Self::DataFromElsewhere
            | Self::ActiveRefused
            | Self::DataUnprotected => Some(Self::DataArrived),
            Self::ActiveFailed
            | Self::DataHandshake
            | Self::NotResumed
            | Self::NoCloseNotify
            | Self::DataBroken
            | Self::Stalled
            | Self::ConnectionLost
            | Self::Repeats => Some(Self::Transferred),
        }
    }
}

/// Whose connection it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Whose {
    /// None before anybody was named who is there.
    pub account: Option<AccountName>,
    /// Where it came from.
    pub peer: IpAddr,
    /// None before any protocol was spoken.
    pub protocol: Option<Protocol>,
}

impl Whose {
    /// Nobody's yet.
    #[must_use]
    pub fn stranger(peer: IpAddr, protocol: Protocol) -> Self {
        Self {
            account: None,
            peer,
            protocol: Some(protocol),
        }
    }
}

/// What was seen, and what there is to say of it.
#[derive(Clone, Debug)]
pub struct Clue {
    pub(super) sign: Sign,
    pub(super) port: Option<(u16, (u16, u16))>,
    pub(super) told: Option<String>,
    pub(super) announced: Option<Announced>,
    pub(super) repeated: Option<Repeated>,
    pub(super) compatible_helps: bool,
}

impl Clue {
    /// Of this.
    #[must_use]
    pub fn new(sign: Sign) -> Self {
        Self {
            sign,
            port: None,
            told: None,
            announced: None,
            repeated: None,
            compatible_helps: false,
        }
    }

    /// A file's transfer that stood still until its time was over, after so many bytes.
    #[must_use]
    pub fn stalled(direction: Direction, bytes: u64) -> Self {
        let direction = direction.as_str();
        Self::new(Sign::Stalled).telling(&format!("{direction}, {bytes} bytes so far"))
    }

    /// A transfer that is repeated in vain.
    pub(crate) fn repeated(repeated: Repeated) -> Self {
        let told = format!("{}: {}", repeated.what, repeated.reason);
        Self {
            repeated: Some(repeated),
            ..Self::new(Sign::Repeats).telling(&told)
        }
    }

    /// A port of the passive range to which nothing came. `announced`: what PASV told with
    /// it; none by EPSV, which tells no address.
    #[must_use]
    pub fn missed(
        port: u16,
        range: (u16, u16),
        announced: Option<Announced>,
        peer: IpAddr,
    ) -> Self {
        let (sign, told) = match announced {
            Some(announced) if announced.is_doubtful(peer) => {
                (Sign::AddressUnreached, announced.told_at(port))
            }
            Some(announced) => (Sign::NoDataConnection, announced.told_at(port)),
            None => (Sign::NoDataConnection, format!("port {port} (EPSV)")),
        };
        let missed = Self::new(sign).at_port(port, range).telling(&told);
        Self {
            announced,
            ..missed
        }
    }

    /// Good: one came to a port that PASV had told, with this address.
    #[must_use]
    pub fn came_by_pasv(port: u16, range: (u16, u16), announced: Announced) -> Self {
        let came = Self::new(Sign::PasvArrived).at_port(port, range);
        Self {
            announced: Some(announced),
            ..came
        }
    }

    /// At this port of the passive range `first..=last`.
    #[must_use]
    pub fn at_port(mut self, port: u16, (first, last): (u16, u16)) -> Self {
        self.port = Some((port, (first, last)));
        self
    }

    /// Whether an SSH client would find what it needs among `compatible` algorithms.
    #[must_use]
    pub fn helped_by_compatible(mut self, is_so: bool) -> Self {
        self.compatible_helps = is_so;
        self
    }

    /// With this to say: what was offered, which key. What a peer chose is cut and made
    /// printable.
    #[must_use]
    pub fn telling(mut self, told: &str) -> Self {
        self.told = Some(printable(told));
        self
    }
}

pub(super) fn printable(text: &str) -> String {
    let letters = text.chars().take(MAX_TOLD_CHARS);
    letters
        .map(|letter| match letter {
            ' '..='~' => letter,
            _ => '?',
        })
        .collect()
}

/// What is kept beside the counts of a sign.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignDetail {
    /// Where in the passive range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortTally>,
    /// What was said, the newest last; at most four different ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<String>,
    /// What PASV told last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub announced: Option<Announced>,
    /// Which transfers are repeated in vain, the newest last; at most four.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repeated: Vec<Repeated>,
    /// The last SSH client would find what it needs among `compatible` algorithms, which
    /// were not offered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub compatible_helps: bool,
}

impl SignDetail {
    pub(super) fn add(&mut self, seen: Clue, at: Timestamp) {
        self.compatible_helps = seen.compatible_helps;
        self.announced = seen.announced;
        if let Some((port, range)) = seen.port {
            self.add_ports(PortTally::of(port, range, at));
        }
        if let Some(told) = seen.told {
            self.tell(told);
        }
        if let Some(repeated) = seen.repeated {
            repeated.add_to(&mut self.repeated);
        }
    }

    fn add_ports(&mut self, newer: PortTally) {
        match &mut self.ports {
            Some(ports) => ports.merge(newer),
            None => self.ports = Some(newer),
        }
    }

    pub(super) fn tell(&mut self, told: String) {
        self.told.retain(|known| *known != told);
        self.told.push(told);
        let surplus = self.told.len().saturating_sub(MAX_TOLD);
        self.told.drain(..surplus);
    }

    /// What came later is added.
    pub(crate) fn merge(&mut self, newer: Self) {
        self.compatible_helps = newer.compatible_helps;
        self.announced = newer.announced;
        if let Some(ports) = newer.ports {
            self.add_ports(ports);
        }
        for told in newer.told {
            self.tell(told);
        }
        for repeated in newer.repeated {
            repeated.add_to(&mut self.repeated);
        }
    }
}

/// So often, between these moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) times: u64,
    pub(crate) first_at: Timestamp,
    pub(crate) last_at: Timestamp,
    /// How often the opposite was seen before the first, and is written behind it.
    pub(crate) good_before: u64,
    pub(crate) detail: SignDetail,
}

impl Tally {
    pub(super) fn new(at: Timestamp) -> Self {
        Self {
            times: 0,
            first_at: at,
            last_at: at,
            good_before: 0,
            detail: SignDetail::default(),
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.times = self.times.saturating_add(other.times);
        if other.first_at < self.first_at {
            self.good_before = other.good_before;
        }
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        self.detail.merge(other.detail);
    }
}

/// What identifies a row. In the order in which rows are written, so that nodes do not
/// wait for each other in a circle.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SignKey {
    /// Empty: nobody's.
    pub(crate) account: String,
    /// An address; of IPv6 its /64.
    pub(crate) network: String,
    /// Empty: none was spoken.
    pub(crate) protocol: &'static str,
    pub(crate) sign: Sign,
}

impl SignKey {
    pub(super) fn new(whose: &Whose, sign: Sign) -> Self {
        let account = whose.account.as_ref().map(ToString::to_string);
        Self {
            account: account.unwrap_or_default(),
            network: network_of(whose.peer),
            protocol: whose.protocol.map(Protocol::as_str).unwrap_or_default(),
            sign,
        }
    }
}

fn network_of(peer: IpAddr) -> String {
    plain(party(peer))
}

/// A network for people: one address without its length.
pub(super) fn plain(network: Network) -> String {
    match network {
        Network::Block(block) if block.prefix_len() == block.max_prefix_len() => {
            block.addr().to_string()
        }
        network => network.to_string(),
    }
}

/// What is added to a row.
#[derive(Clone, Debug)]
pub(crate) struct SignWrite {
    pub(crate) key: SignKey,
    /// The address is a partner's: strangers do not push its rows out.
    pub(crate) is_known: bool,
    pub(crate) tally: Tally,
}

/// A sign as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeenSign {
    /// What was seen.
    pub sign: Sign,
    /// Whose; none before anybody was named who is there.
    pub account: Option<String>,
    /// Where it came from: an address, of IPv6 its /64.
    pub network: Network,
    /// By which protocol; none where the gate refused the address.
    pub protocol: Option<Protocol>,
    /// How often, since it began.
    pub times: u64,
    /// When it began.
    pub first_at: Timestamp,
    /// When it was seen last.
    pub last_at: Timestamp,
    /// How often the opposite was seen since it began.
    pub good_times: u64,
    /// When that was seen last.
    pub good_at: Option<Timestamp>,
    /// The node that saw it last.
    pub node: String,
    /// What more there is.
    pub detail: SignDetail,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_texts_are_kept_and_none_twice() {
        let mut detail = SignDetail::default();
        for told in ["a", "b", "a", "c", "d", "e"] {
            detail.tell(told.to_owned());
        }
        assert_eq!(detail.told, ["a", "c", "d", "e"]);
    }

    #[test]
    fn what_a_peer_says_is_cut_and_printable() {
        let told = Clue::new(Sign::NoLogin).telling("\u{1b}[2Ja\u{202e}\n");
        assert_eq!(told.told.unwrap(), "?[2Ja??");
        for (len, kept) in [(MAX_TOLD_CHARS, MAX_TOLD_CHARS), (1_000, MAX_TOLD_CHARS)] {
            let told = Clue::new(Sign::NoLogin).telling(&"x".repeat(len));
            assert_eq!(told.told.unwrap().len(), kept);
        }
    }

    #[test]
    fn ipv6_is_told_by_its_network() {
        assert_eq!(network_of("192.0.2.7".parse().unwrap()), "192.0.2.7");
        let v6: IpAddr = "2001:db8::2:3:4".parse().unwrap();
        assert_eq!(network_of(v6), "2001:db8::/64");
    }
}
