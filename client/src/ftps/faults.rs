//! What went wrong, from the system's, TLS's and the server's words.

use std::io;

use rustls::{AlertDescription, CertificateError};

use super::reply::Reply;
use super::trust::PinMismatch;
use crate::fault::{RemoteError, RemoteFault, Step};

/// From the system or from TLS.
pub(super) fn of_io(error: &io::Error) -> RemoteFault {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return of_tls(tls);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => RemoteFault::ConnectionRefused,
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => RemoteFault::Unreachable,
        _ => RemoteFault::ConnectionLost,
    }
}

/// From TLS.
pub(super) fn of_tls(error: &rustls::Error) -> RemoteFault {
    match error {
        rustls::Error::InvalidCertificate(defect) => of_certificate(defect),
        rustls::Error::AlertReceived(alert) => RemoteFault::TlsHandshake {
            detail: of_alert(*alert),
        },
        rustls::Error::InvalidMessage(_) => RemoteFault::TlsHandshake {
            detail: "the server does not speak TLS on this port".to_owned(),
        },
        other => RemoteFault::TlsHandshake {
            detail: other.to_string(),
        },
    }
}

fn of_alert(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::ProtocolVersion => {
            "the server speaks none of our TLS versions".to_owned()
        }
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => {
            "the server finds no cipher in common".to_owned()
        }
        AlertDescription::CertificateRequired => {
            "the server wants a certificate of ours".to_owned()
        }
        AlertDescription::BadCertificate
        | AlertDescription::UnknownCA
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::CertificateRevoked
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::AccessDenied => {
            format!("the server does not accept our certificate ({alert:?})")
        }
        other => format!("the server's alert {other:?}"),
    }
}

fn of_certificate(defect: &CertificateError) -> RemoteFault {
    match defect {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => RemoteFault::CertificateExpired,
        CertificateError::UnknownIssuer => RemoteFault::CertificateUntrusted,
        CertificateError::NotValidForNameContext { expected, .. } => RemoteFault::CertificateName {
            host: expected.to_str().into_owned(),
        },
        CertificateError::NotValidForName => RemoteFault::CertificateName {
            host: String::new(),
        },
        CertificateError::Other(other) => match other.0.downcast_ref::<PinMismatch>() {
            Some(mismatch) => RemoteFault::CertificatePin {
                pinned: mismatch.pinned.to_string(),
                shown: mismatch.shown.to_string(),
            },
            None => RemoteFault::CertificateInvalid {
                detail: other.to_string(),
            },
        },
        other => RemoteFault::CertificateInvalid {
            detail: other.to_string(),
        },
    }
}

/// Words that say what a code leaves open. The first that is found counts.
/// Servers on Windows speak the system's language.
const PHRASES: &[(&str, RemoteFault)] = &[
    ("no such file", RemoteFault::NotFound),
    ("not found", RemoteFault::NotFound),
    ("cannot find the", RemoteFault::NotFound),
    ("can't find", RemoteFault::NotFound),
    ("does not exist", RemoteFault::NotFound),
    ("doesn't exist", RemoteFault::NotFound),
    ("not exist", RemoteFault::NotFound),
    ("not a directory", RemoteFault::NotFound),
    ("not a regular file", RemoteFault::NotPermitted),
    ("nicht finden", RemoteFault::NotFound),
    ("nicht gefunden", RemoteFault::NotFound),
    ("introuvable", RemoteFault::NotFound),
    ("already exist", RemoteFault::AlreadyExists),
    ("file exists", RemoteFault::AlreadyExists),
    ("directory exists", RemoteFault::AlreadyExists),
    ("when that file already", RemoteFault::AlreadyExists),
    ("bereits vorhanden", RemoteFault::AlreadyExists),
    ("no space", RemoteFault::NoSpace),
    ("not enough space", RemoteFault::NoSpace),
    ("disk full", RemoteFault::NoSpace),
    ("disk is full", RemoteFault::NoSpace),
    ("quota", RemoteFault::NoSpace),
    ("exceeded storage", RemoteFault::NoSpace),
    ("insufficient storage", RemoteFault::NoSpace),
    ("being used by another", RemoteFault::Busy),
    ("is in use", RemoteFault::Busy),
    ("is locked", RemoteFault::Busy),
    ("sharing violation", RemoteFault::Busy),
    ("file busy", RemoteFault::Busy),
    ("permission denied", RemoteFault::NotPermitted),
    ("access denied", RemoteFault::NotPermitted),
    ("access is denied", RemoteFault::NotPermitted),
    ("operation not permitted", RemoteFault::NotPermitted),
    ("not permitted", RemoteFault::NotPermitted),
    ("not allowed", RemoteFault::NotPermitted),
    ("permission", RemoteFault::NotPermitted),
    ("prohibited", RemoteFault::NotPermitted),
    ("forbidden", RemoteFault::NotPermitted),
    ("read-only", RemoteFault::NotPermitted),
    ("read only", RemoteFault::NotPermitted),
    ("zugriff verweigert", RemoteFault::NotPermitted),
    ("is a directory", RemoteFault::NotPermitted),
];

/// Words of servers that want the control connection's TLS session resumed:
/// vsftpd (522 "session reuse required"), FileZilla Server (425 and 450 "TLS
/// session of data connection has not resumed"), pure-ftpd and others.
const REUSE: &[&str] = &["reuse", "resum"];

/// Whether a refused data connection means that its TLS session must be resumed.
fn demands_reuse(reply: &Reply, text: &str) -> bool {
    match reply.code {
        522 => true,
        421 | 425 | 426 | 450 | 451 | 521 | 534 => {
            let speaks_of_tls = ["tls", "ssl", "session"]
                .iter()
                .any(|word| text.contains(word));
            // ProFTPD names no reason but EPERM ("client did not reuse SSL
            // session" stands only in its log).
            let only_eperm = reply.code == 425 && text.contains("operation not permitted");
            only_eperm || (speaks_of_tls && REUSE.iter().any(|phrase| text.contains(phrase)))
        }
        _ => false,
    }
}

/// From a negative reply.
pub(super) fn of_reply(step: Step, reply: &Reply) -> RemoteFault {
    let text = reply.folded();
    let moves_data = matches!(
        step,
        Step::DataConnection | Step::List | Step::Download | Step::Upload
    );
    if moves_data && demands_reuse(reply, &text) {
        return RemoteFault::SessionReuseDemanded;
    }
    let said = || {
        PHRASES
            .iter()
            .find(|(phrase, _)| text.contains(phrase))
            .map(|(_, fault)| fault.clone())
    };
    match reply.code {
        421 if matches!(step, Step::Connect | Step::Login) || text.contains("too many") => {
            RemoteFault::TooManyConnections
        }
        421 => RemoteFault::ConnectionLost,
        425 => RemoteFault::DataConnectionFailed {
            address: "the address that was agreed".to_owned(),
        },
        426 => said().unwrap_or(RemoteFault::Truncated),
        430 | 530 | 332 if step == Step::Login => {
            if text.contains("too many") || text.contains("maximum") {
                RemoteFault::TooManyConnections
            } else {
                RemoteFault::LoginRefused
            }
        }
        530 | 532 => RemoteFault::NotPermitted,
        431 | 534 if step == Step::Handshake => RemoteFault::TlsRefused,
        500..=504 if step == Step::Handshake => RemoteFault::TlsRefused,
        450 | 451 => said().unwrap_or(RemoteFault::Busy),
        452 | 552 => RemoteFault::NoSpace,
        500..=502 | 504 => RemoteFault::Unsupported {
            what: "the command or its parameters",
        },
        521 if step == Step::Command => RemoteFault::AlreadyExists,
        550 | 551 => said().unwrap_or(RemoteFault::Refused),
        553 => said().unwrap_or(RemoteFault::NotPermitted),
        _ => said().unwrap_or(RemoteFault::Refused),
    }
}

/// The error of a step that a server refused.
pub(super) fn refused(step: Step, reply: &Reply) -> RemoteError {
    RemoteError::new(step, of_reply(step, reply)).with_words(&reply.words())
}

#[cfg(test)]
mod tests;
