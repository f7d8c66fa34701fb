//! Why a TLS handshake failed, in words for the journal and for replies.

use std::io;

use rustls::{AlertDescription, Error, InvalidMessage, PeerIncompatible};

/// Why a handshake failed. The connection is closed by then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeFault {
    /// The client did not finish it in time.
    #[error("the client did not finish the TLS handshake in time")]
    TimedOut,
    /// The connection ended or was reset in the middle.
    #[error("the connection was cut during the TLS handshake")]
    Cut,
    /// What came is not TLS.
    #[error("the client speaks plaintext where TLS is required")]
    Plaintext,
    /// The client's TLS is older than the server's minimum.
    #[error("the client's TLS version is too old: it offers none that this server accepts")]
    NoCommonVersion,
    /// No cipher suite, key exchange or signature scheme in common.
    #[error("the client and this server have no cipher suite in common ({detail})")]
    NoCommonSuite {
        /// What is missing.
        detail: String,
    },
    /// The client refused this server's certificate.
    #[error("the client does not trust this server's certificate (alert {alert})")]
    Distrusted {
        /// The alert that it sent.
        alert: String,
    },
    /// The client's own certificate is malformed or its proof is wrong.
    #[error("the client's certificate cannot be used ({detail})")]
    ClientCertificate {
        /// What is wrong with it.
        detail: String,
    },
    /// The client ended the handshake with another alert.
    #[error("the client gave up the TLS handshake (alert {alert})")]
    Refused {
        /// The alert that it sent.
        alert: String,
    },
    /// The client broke the protocol.
    #[error("the client broke the TLS protocol ({detail})")]
    Broken {
        /// What was wrong.
        detail: String,
    },
    /// This server could not begin: no random bytes, or its configuration.
    #[error("this server could not begin a TLS handshake")]
    Unable,
}

impl HandshakeFault {
    pub(super) fn of(error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inner {
            Some(error) => Self::of_tls(error),
            None => Self::Cut,
        }
    }

    pub(super) fn of_tls(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::Plaintext,
            Error::PeerIncompatible(
                PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
                | PeerIncompatible::SupportedVersionsExtensionRequired
                // RFC 5246 s.7.4.1.4.1: new with TLS 1.2. Without it a client is older
                // than that, and this is looked at before the version.
                | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
            ) => Self::NoCommonVersion,
            Error::PeerIncompatible(what) => Self::NoCommonSuite {
                detail: format!("{what:?}"),
            },
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::ClientCertificate {
                    detail: error.to_string(),
                }
            }
            Error::FailedToGetRandomBytes | Error::General(_) => Self::Unable,
            other => Self::Broken {
                detail: other.to_string(),
            },
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        let name = format!("{alert:?}");
        match alert {
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            // The certificate that it pins has the same name, and another key.
            | AlertDescription::DecryptError
            | AlertDescription::CertificateUnknown => Self::Distrusted { alert: name },
            AlertDescription::ProtocolVersion => Self::NoCommonVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
                Self::NoCommonSuite {
                    detail: format!("alert {name}"),
                }
            }
            _ => Self::Refused { alert: name },
        }
    }
}
