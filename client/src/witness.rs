//! What a connection saw, whether it came about or not: for whoever must tell
//! why it did not, and for what is remembered.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::ftps::Fingerprint;
use crate::sftp::{Agreement, Proof};

/// Names of a certificate that are kept.
const MAX_NAMES: usize = 32;
/// Characters of one text that are kept.
const MAX_TEXT: usize = 256;

/// Hears what a connection sees. Copies hear the same.
#[derive(Clone, Debug, Default)]
pub struct Witness(Arc<Mutex<Observed>>);

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The server's address, once TCP was connected.
    pub server: Option<SocketAddr>,
    /// Our address on that connection.
    pub ours: Option<SocketAddr>,
    /// What the server said first: its greeting, or its version of SSH.
    pub greeting: Option<String>,
    /// It agreed to TLS (AUTH TLS), or was not asked.
    pub tls_agreed: bool,
    /// The certificate that it showed last, also one that was refused.
    pub certificate: Option<ShownCertificate>,
    /// What TLS came to.
    pub tls: Option<AgreedTls>,
    /// The host key that it showed, also one that was refused.
    pub host_key: Option<ShownHostKey>,
    /// What SSH came to.
    pub ssh: Option<Agreement>,
    /// With what it let us in.
    pub proofs: Vec<Proof>,
    /// It let us in.
    pub logged_in: bool,
    /// Where the last data connection went, or was to go; in active mode where
    /// the server was told to come.
    pub data_address: Option<SocketAddr>,
    /// What it announced instead: an address that nobody can reach from here.
    pub data_address_announced: Option<SocketAddr>,
    /// It demands resumed sessions, and gives too few tickets of TLS 1.3.
    pub tls12_only: bool,
}

/// What TLS came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgreedTls {
    /// `TLS 1.2`, `TLS 1.3`.
    pub version: &'static str,
    /// Its cipher suite.
    pub cipher: String,
}

/// A certificate that a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCertificate {
    /// SHA-256 of all of it.
    pub fingerprint: Fingerprint,
    /// Whose it says to be; empty where it cannot be read.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses that it bears.
    pub names: Vec<String>,
    /// From when it is valid.
    pub not_before: Option<Timestamp>,
    /// Until when.
    pub not_after: Option<Timestamp>,
    /// Certificates that came with it, itself not counted.
    pub intermediates: usize,
}

/// A host key that a server showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownHostKey {
    /// `SHA256:...`.
    pub fingerprint: String,
    /// The algorithm and the key, as in known_hosts.
    pub public_key: Option<String>,
}

impl Witness {
    /// What was seen so far.
    #[must_use]
    pub fn observed(&self) -> Observed {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut Observed)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A connection begins: what another one saw is forgotten, but not what it
    /// taught.
    pub(crate) fn begin(&self) {
        self.note(|observed| {
            *observed = Observed {
                tls12_only: observed.tls12_only,
                ..Observed::default()
            };
        });
    }
}

impl ShownCertificate {
    pub(crate) fn read(der: &[u8], fingerprint: Fingerprint, intermediates: usize) -> Self {
        let mut shown = Self {
            fingerprint,
            subject: String::new(),
            issuer: String::new(),
            names: Vec::new(),
            not_before: None,
            not_after: None,
            intermediates,
        };
        let Ok((_, parsed)) = X509Certificate::from_der(der) else {
            return shown;
        };
        shown.subject = printable(&parsed.subject().to_string());
        shown.issuer = printable(&parsed.issuer().to_string());
        let at = |seconds| Timestamp::from_second(seconds).ok();
        shown.not_before = at(parsed.validity().not_before.timestamp());
        shown.not_after = at(parsed.validity().not_after.timestamp());
        if let Ok(Some(names)) = parsed.subject_alternative_name() {
            let names = names.value.general_names.iter().filter_map(name);
            shown.names = names.take(MAX_NAMES).collect();
        }
        shown
    }
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(printable(name)),
        GeneralName::IPAddress(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|bytes| std::net::IpAddr::from(bytes).to_string()),
            _ => None,
        },
        _ => None,
    }
}

/// A server's text, cut, and without what would move a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    let shown = |character: char| match character.is_control() {
        true => '?',
        false => character,
    };
    text.trim().chars().take(MAX_TEXT).map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_tells_whose_it_is_and_until_when() {
        let names = vec!["ftp.example.com".to_owned(), "192.0.2.7".to_owned()];
        let made = rcgen::generate_simple_self_signed(names.clone()).unwrap();
        let print = Fingerprint([7; 32]);
        let shown = ShownCertificate::read(made.cert.der(), print, 2);
        assert_eq!((shown.names, shown.intermediates), (names, 2));
        assert!(shown.not_before < shown.not_after);
        assert_eq!(shown.subject, shown.issuer);
        let unreadable = ShownCertificate::read(b"no certificate", print, 0);
        assert_eq!(
            (unreadable.fingerprint, unreadable.not_after),
            (print, None)
        );
    }

    #[test]
    fn what_a_server_says_is_cut_at_the_limit_and_moves_no_cursor() {
        assert_eq!(printable(&"x".repeat(MAX_TEXT)).len(), MAX_TEXT);
        assert_eq!(printable(&"x".repeat(MAX_TEXT + 1)).len(), MAX_TEXT);
        assert_eq!(printable(" 220 a\x1b[2Jb\r\n"), "220 a?[2Jb");
    }

    #[test]
    fn another_connection_forgets_what_was_seen_and_not_what_was_learned() {
        let witness = Witness::default();
        witness.note(|seen| {
            seen.logged_in = true;
            seen.tls12_only = true;
        });
        witness.clone().begin();
        let seen = witness.observed();
        assert!(seen.tls12_only && !seen.logged_in);
    }
}
