//! Connections on which nobody logged in: what the log says of them, and the doctor.

use std::net::SocketAddr;

use layover_depot::{Clue, Protocol, Sign, Whose};
use russh::AlgorithmKind;

use super::Server;
use crate::Algorithms;
use crate::handshake::{Handshake, Reached};
use crate::transport::is_helped_by_compatible;

impl Server {
    /// Tells the doctor how far a connection came on which nobody tried to log in.
    pub(super) fn see_ended(
        &self,
        peer: SocketAddr,
        handshake: &Handshake,
        fault: Option<&russh::Error>,
        is_by_client: bool,
    ) {
        let client = handshake.client_version().unwrap_or("nothing that is SSH");
        // It fetches host keys, and goes.
        if client.contains("OpenSSH-keyscan") {
            return;
        }
        let (sign, told) = match (fault, handshake.reached()) {
            (Some(russh::Error::NoCommonAlgo { kind, theirs, .. }), _) => (
                Sign::SshAlgorithms,
                format!("{}: {} ({client})", kind_of(kind), theirs.join(",")),
            ),
            (_, Reached::Nothing) => (Sign::NoLogin, "it said nothing that is SSH".to_owned()),
            (_, Reached::HostKey) if is_by_client => (Sign::HostKeyRefused, client.to_owned()),
            (_, Reached::Hello | Reached::HostKey) => (
                Sign::NoLogin,
                format!("it went during the key exchange ({client})"),
            ),
            (_, Reached::NewKeys) => {
                let told = format!("it took our host key and tried no login ({client})");
                (Sign::NoLogin, told)
            }
        };
        let whose = Whose::stranger(peer.ip(), Protocol::Sftp);
        let seen = Clue::new(sign).telling(&told);
        let seen = match sign {
            Sign::SshAlgorithms => seen.helped_by_compatible(self.could_help(handshake)),
            _ => seen,
        };
        self.depot.signs().see(&whose, seen);
    }

    /// Whether `compatible` algorithms, where they are off, are what the client lacks.
    fn could_help(&self, handshake: &Handshake) -> bool {
        self.algorithms == Algorithms::Modern
            && handshake
                .offered()
                .is_some_and(|(client, server)| is_helped_by_compatible(client, server))
    }

    /// Who speaks something else than SSH, or breaks it, is counted for it.
    pub(super) async fn count_abuse(&self, peer: SocketAddr, error: &russh::Error) {
        if !is_abuse(error) {
            return;
        }
        if let Err(error) = self.depot.gate().note_abuse(peer.ip()).await {
            let faults = self.depot.faults();
            faults.unrecorded("a broken connection could not be counted", &error);
        }
    }
}

/// For what the algorithms are, in words.
const fn kind_of(kind: &AlgorithmKind) -> &'static str {
    match kind {
        AlgorithmKind::Kex => "key exchange",
        AlgorithmKind::Key => "host key",
        AlgorithmKind::Cipher => "encryption",
        AlgorithmKind::Compression => "compression",
        AlgorithmKind::Mac => "MAC",
    }
}

/// Whether it is the peer's doing. Who just goes may be a health check, or have been cut off.
fn is_abuse(error: &russh::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        russh::Error::IO(error) => matches!(
            error.kind(),
            ErrorKind::InvalidData | ErrorKind::InvalidInput
        ),
        russh::Error::Disconnect
        | russh::Error::HUP
        | russh::Error::SendError
        | russh::Error::ConnectionTimeout
        | russh::Error::KeepaliveTimeout
        | russh::Error::InactivityTimeout
        | russh::Error::Join(_)
        | russh::Error::Elapsed(_) => false,
        _ => true,
    }
}

/// Says why nobody logged in. A client with which nothing can be agreed upon is a
/// partner whose software is too old, or ours: its names are worth a line.
pub(super) fn tell_of_failure(peer: SocketAddr, handshake: &Handshake, error: &russh::Error) {
    /// The client's names that are repeated, in characters.
    const MAX_NAMES_CHARS: usize = 300;
    let russh::Error::NoCommonAlgo { kind, theirs, .. } = error else {
        tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended before a login: {error}");
        return;
    };
    let client = handshake.client_version().unwrap_or("the client");
    let names = theirs.join(",");
    let names: String = names
        .chars()
        .filter(char::is_ascii_graphic)
        .take(MAX_NAMES_CHARS)
        .collect();
    tracing::info!(
        peer.addr = %peer,
        outcome = "refused",
        "nothing in common with {client}: its algorithms for {} are {names}",
        kind_of(kind)
    );
}
