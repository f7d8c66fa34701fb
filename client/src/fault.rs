//! What can go wrong on a partner's server, and what that means.

use std::fmt;
use std::time::Duration;

/// Whether the same attempt may succeed later by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permanence {
    /// Trying again later may help.
    Transient,
    /// Somebody must change something first.
    Permanent,
}

/// The part of the work in which a fault came up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading settings, secrets and keys, before anything is sent.
    Prepare,
    /// Host name to address.
    Resolve,
    /// TCP connection.
    Connect,
    /// TLS or SSH handshake.
    Handshake,
    /// User name, password, key.
    Login,
    /// FTP data connection.
    DataConnection,
    /// Listing of a folder.
    List,
    /// Download.
    Download,
    /// Upload.
    Upload,
    /// Rename.
    Rename,
    /// Removal.
    Remove,
    /// Any other command.
    Command,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "preparing",
            Self::Resolve => "looking up the host name",
            Self::Connect => "connecting",
            Self::Handshake => "the handshake",
            Self::Login => "the login",
            Self::DataConnection => "the data connection",
            Self::List => "listing",
            Self::Download => "downloading",
            Self::Upload => "uploading",
            Self::Rename => "renaming",
            Self::Remove => "removing",
            Self::Command => "a command",
        })
    }
}

/// What went wrong, named by the cause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RemoteFault {
    /// The host name has no address.
    #[error("the host name `{host}` has no address")]
    UnknownHost {
        /// The name.
        host: String,
    },
    /// Nothing listens there, or a firewall answers for it.
    #[error("the connection was refused")]
    ConnectionRefused,
    /// No route, network down.
    #[error("the network or host cannot be reached")]
    Unreachable,
    /// No answer in time.
    #[error("no answer within {} s", after.as_secs())]
    TimedOut {
        /// The time-out.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection was lost")]
    ConnectionLost,
    /// TLS failed for a reason that is not the certificate.
    #[error("the TLS handshake failed: {detail}")]
    TlsHandshake {
        /// What TLS says.
        detail: String,
    },
    /// The server does not offer TLS.
    #[error("the server refuses TLS")]
    TlsRefused,
    /// No chain from the certificate to a trusted authority.
    #[error("the certificate is not signed by a trusted authority")]
    CertificateUntrusted,
    /// Out of its dates.
    #[error("the certificate is expired or not yet valid")]
    CertificateExpired,
    /// It bears another name.
    #[error("the certificate does not bear the name `{host}`")]
    CertificateName {
        /// The name that was asked for.
        host: String,
    },
    /// Any other defect of it.
    #[error("the certificate is not acceptable: {detail}")]
    CertificateInvalid {
        /// What is wrong with it.
        detail: String,
    },
    /// Not the pinned certificate.
    #[error("the certificate is another one: pinned {pinned}, shown {shown}")]
    CertificatePin {
        /// SHA-256 fingerprint that is pinned.
        pinned: String,
        /// SHA-256 fingerprint that was shown.
        shown: String,
    },
    /// SSH: no algorithm in common.
    #[error("no SSH algorithm in common: {detail}")]
    NoCommonAlgorithm {
        /// Which kind, and what the server offered.
        detail: String,
    },
    /// SSH: no host key is confirmed yet.
    #[error("the host key {shown} is not confirmed yet")]
    HostKeyUnknown {
        /// SHA-256 fingerprint that was shown.
        shown: String,
    },
    /// SSH: another host key than the confirmed one.
    #[error("the host key changed: confirmed {pinned}, shown {shown}")]
    HostKeyChanged {
        /// SHA-256 fingerprints that are confirmed.
        pinned: String,
        /// SHA-256 fingerprint that was shown.
        shown: String,
    },
    /// Wrong credentials, or a locked account.
    #[error("the login was refused")]
    LoginRefused,
    /// The announced data address cannot be reached.
    #[error("the data connection to {address} could not be made")]
    DataConnectionFailed {
        /// `address:port` as tried.
        address: String,
    },
    /// Active mode: the server did not connect.
    #[error("the server did not connect to {address}")]
    DataConnectionMissing {
        /// `address:port` as announced.
        address: String,
    },
    /// The server wants data connections to resume the TLS session.
    #[error("the server wants the TLS session of the control connection resumed")]
    SessionReuseDemanded,
    /// No such file or folder.
    #[error("no such file or folder")]
    NotFound,
    /// The target exists.
    #[error("the name is taken")]
    AlreadyExists,
    /// The account may not do that.
    #[error("the server does not permit it")]
    NotPermitted,
    /// No room, or over a quota.
    #[error("the server has no room left")]
    NoSpace,
    /// It opened the file and could not write to it, without a word why: most SFTP servers
    /// say no more when a disk or a quota is full.
    #[error("the server could not write it, and does not say why: its disk may be full")]
    NotWritten,
    /// The file is in use, or the server is busy.
    #[error("the server is busy or the file is in use")]
    Busy,
    /// Too many connections.
    #[error("the server allows no more connections")]
    TooManyConnections,
    /// The server cannot do that.
    #[error("the server cannot do that: {what}")]
    Unsupported {
        /// What it cannot do.
        what: &'static str,
    },
    /// Less or more arrived than was expected.
    #[error("{got} bytes instead of {expected}")]
    WrongSize {
        /// Bytes expected.
        expected: u64,
        /// Bytes found.
        got: u64,
    },
    /// The content's hash differs.
    #[error("the content's SHA-256 differs after the transfer")]
    WrongHash,
    /// The stream ended without its proof that it is complete.
    #[error("the transfer ended without word that it is complete")]
    Truncated,
    /// An answer that the protocol does not allow.
    #[error("an answer that cannot be understood: {detail}")]
    Protocol {
        /// What came.
        detail: String,
    },
    /// Something grew over a limit of ours.
    #[error("{what} is over the limit of {limit}")]
    OverLimit {
        /// What grew.
        what: &'static str,
        /// The limit, in the thing's unit.
        limit: u64,
    },
    /// A refusal that has no better name.
    #[error("the server refused it")]
    Refused,
    /// Reading or writing on our side failed.
    #[error("reading or writing on our side failed: {detail}")]
    Local {
        /// The system's words.
        detail: String,
    },
    /// A setting, secret or key of the integration cannot be used.
    #[error("the integration cannot be used: {detail}")]
    Settings {
        /// What is wrong.
        detail: String,
    },
    /// Somebody asked us to stop.
    #[error("it was cancelled")]
    Cancelled,
}

/// A verb on a partner's server failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteError {
    /// What went wrong.
    pub fault: RemoteFault,
    /// In which part of the work.
    pub step: Step,
    /// The server's own words, made printable and cut at
    /// [`RemoteError::MAX_SERVER_WORDS`] bytes.
    pub server_said: Option<String>,
    /// An upload failed: every byte before this offset of the file is known to
    /// have arrived, so that it can be continued there.
    pub arrived_to: Option<u64>,
}

impl RemoteError {
    /// How much of a server's text is kept, in bytes.
    pub const MAX_SERVER_WORDS: usize = 512;

    /// A fault in a step, without words of the server.
    #[must_use]
    pub fn new(step: Step, fault: RemoteFault) -> Self {
        Self {
            fault,
            step,
            server_said: None,
            arrived_to: None,
        }
    }

    /// The same with the offset up to which an upload is known to have arrived.
    #[must_use]
    pub fn with_arrived_to(self, offset: u64) -> Self {
        Self {
            arrived_to: Some(offset),
            ..self
        }
    }

    /// The same with the server's words. Control characters become `?`.
    #[must_use]
    pub fn with_words(mut self, words: &str) -> Self {
        let mut kept = String::new();
        for character in words.trim().chars() {
            let shown = if character.is_control() {
                '?'
            } else {
                character
            };
            if kept.len() + shown.len_utf8() > Self::MAX_SERVER_WORDS {
                break;
            }
            kept.push(shown);
        }
        self.server_said = (!kept.is_empty()).then_some(kept);
        self
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        match self.fault {
            RemoteFault::UnknownHost { .. }
            | RemoteFault::ConnectionRefused
            | RemoteFault::Unreachable
            | RemoteFault::TimedOut { .. }
            | RemoteFault::ConnectionLost
            | RemoteFault::TlsHandshake { .. }
            | RemoteFault::DataConnectionFailed { .. }
            | RemoteFault::DataConnectionMissing { .. }
            | RemoteFault::NoSpace
            | RemoteFault::NotWritten
            | RemoteFault::Busy
            | RemoteFault::TooManyConnections
            | RemoteFault::WrongSize { .. }
            | RemoteFault::WrongHash
            | RemoteFault::Truncated
            | RemoteFault::Local { .. }
            | RemoteFault::Cancelled => Permanence::Transient,
            RemoteFault::TlsRefused
            | RemoteFault::CertificateUntrusted
            | RemoteFault::CertificateExpired
            | RemoteFault::CertificateName { .. }
            | RemoteFault::CertificateInvalid { .. }
            | RemoteFault::CertificatePin { .. }
            | RemoteFault::NoCommonAlgorithm { .. }
            | RemoteFault::HostKeyUnknown { .. }
            | RemoteFault::HostKeyChanged { .. }
            | RemoteFault::LoginRefused
            | RemoteFault::SessionReuseDemanded
            | RemoteFault::NotFound
            | RemoteFault::AlreadyExists
            | RemoteFault::NotPermitted
            | RemoteFault::Unsupported { .. }
            | RemoteFault::Protocol { .. }
            | RemoteFault::OverLimit { .. }
            | RemoteFault::Refused
            | RemoteFault::Settings { .. } => Permanence::Permanent,
        }
    }

    /// Whether the connection is of no more use.
    #[must_use]
    pub fn ends_connection(&self) -> bool {
        matches!(
            self.step,
            Step::Prepare | Step::Resolve | Step::Connect | Step::Handshake | Step::Login
        ) || matches!(
            self.fault,
            RemoteFault::ConnectionLost
                | RemoteFault::TimedOut { .. }
                | RemoteFault::Protocol { .. }
                | RemoteFault::TooManyConnections
                | RemoteFault::Cancelled
        )
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.step)?;
        if let Some(offset) = self.arrived_to {
            write!(f, " after byte {offset}")?;
        }
        write!(f, ": {}", self.fault)?;
        match &self.server_said {
            Some(words) => write!(f, " (the server said: {words})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_servers_words_are_cut_at_the_limit_and_made_printable() {
        let base = || RemoteError::new(Step::Upload, RemoteFault::Refused);
        let at_limit = base().with_words(&"x".repeat(RemoteError::MAX_SERVER_WORDS));
        let above = base().with_words(&"x".repeat(RemoteError::MAX_SERVER_WORDS + 1));
        assert_eq!(at_limit, above);
        assert_eq!(
            base()
                .with_words("550 no\x1b[31m\r\n")
                .server_said
                .as_deref(),
            Some("550 no?[31m")
        );
        assert_eq!(base().with_words(" \r\n").server_said, None);
    }

    #[test]
    fn an_error_names_step_fault_and_the_servers_words() {
        let error =
            RemoteError::new(Step::Rename, RemoteFault::AlreadyExists).with_words("553 exists");
        assert_eq!(
            error.to_string(),
            "renaming failed: the name is taken (the server said: 553 exists)"
        );
    }
}
