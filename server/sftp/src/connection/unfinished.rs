//! Connections on which nobody logged in: what the log says of them, and the doctor.

use std::net::SocketAddr;

use layover_depot::{Clue, Protocol, Sign, Whose};

use super::Server;
use crate::handshake::{Handshake, Reached};

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
                format!("{kind:?}: {} ({client})", theirs.join(",")),
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
        self.depot
            .signs()
            .see(&whose, Clue::new(sign).telling(&told));
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
        "nothing in common with {client}: its algorithms for {kind:?} are {names}"
    );
}
