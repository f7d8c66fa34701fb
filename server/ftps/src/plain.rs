//! Before AUTH TLS: nothing here knows accounts or files, so nothing can be
//! done in the clear.

use std::net::SocketAddr;

use layover_depot::{Sign, timer};
use tokio::net::TcpStream;

use crate::command::{self, Command, Phase};
use crate::info;
use crate::reply::Reply;
use crate::server::{IMPLICIT_ON_EXPLICIT, Shared, Stranger, journal_stranger, see_stranger};
use crate::wire::{Lost, Wire};

/// Commands before AUTH TLS, good or bad, until the connection ends: clients
/// send three.
const MAX_COMMANDS: usize = 32;

/// The first byte of a TLS connection (RFC 8446 s.5.1), and of no command.
const TLS_HANDSHAKE: u8 = 22;

/// Greets, and answers until the client asks for TLS; `None` when it does not, or not
/// in the time that there is for a login.
pub(crate) async fn until_auth_tls(
    stream: TcpStream,
    peer: SocketAddr,
    shared: &Shared,
) -> Option<TcpStream> {
    let mut wire = Wire::new(stream);
    let grace = shared.options.login_grace;
    let mut is_seen = false;
    let conversation = converse(&mut wire, peer, shared, &mut is_seen);
    let asked = match timer::timeout(grace, conversation).await {
        Ok(asked) => asked,
        Err(timer::Elapsed) => {
            tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: no login in time");
            let text = "no login in time: connection closed";
            wire.send(&Reply::new(421, text)).await.map(|()| false)
        }
    };
    if !is_seen && !matches!(asked, Ok(true)) {
        let told = "it went before AUTH TLS";
        see_stranger(shared, peer, Sign::NoLogin, told);
    }
    match asked {
        Ok(true) => {
            // F01: what was sent in the clear behind AUTH TLS may be anybody's.
            if wire.holds_bytes() {
                tracing::warn!(peer.addr = %peer, outcome = "refused", "bytes in the clear behind AUTH TLS: the connection is ended");
                return None;
            }
            Some(wire.into_stream())
        }
        Ok(false) => {
            wire.close().await;
            None
        }
        Err(Lost::TooLong) => {
            let _ = wire.send(&Reply::new(500, Lost::TooLong.to_string())).await;
            wire.close().await;
            None
        }
        Err(_) => None,
    }
}

/// Whether the client asked for TLS.
async fn converse(
    wire: &mut Wire<TcpStream>,
    peer: SocketAddr,
    shared: &Shared,
    is_seen: &mut bool,
) -> Result<bool, Lost> {
    wire.send(&info::welcome(&shared.options.public_name))
        .await?;
    if wire.begins_with(TLS_HANDSHAKE).await {
        tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: {IMPLICIT_ON_EXPLICIT}");
        *is_seen = true;
        see_stranger(
            shared,
            peer,
            Sign::ImplicitOnExplicit,
            "TLS from the first byte",
        );
        journal_stranger(shared, peer, Stranger::ImplicitOnExplicit).await;
        return Ok(false);
    }
    let mut is_broken = false;
    for _ in 0..MAX_COMMANDS {
        let line = match wire.line().await {
            Ok(line) => line,
            Err(lost) => {
                is_broken |= matches!(lost, Lost::TooLong);
                if is_broken && !*is_seen {
                    journal_stranger(shared, peer, Stranger::NoFtp).await;
                }
                return Err(lost);
            }
        };
        let reply = match command::parse(&line) {
            Err(fault) => {
                is_broken = true;
                Reply::new(fault.code(), fault.to_string())
            }
            Ok((_, Command::User(name))) => {
                if !std::mem::replace(is_seen, true) {
                    note_login(&name, peer, shared).await;
                }
                no_tls()
            }
            Ok((verb, _)) if verb.phase != Phase::Always => no_tls(),
            Ok((_, Command::Auth(mechanism))) => {
                if info::is_tls(&mechanism) {
                    if wire.holds_bytes() {
                        return Ok(true);
                    }
                    wire.send(&Reply::new(234, "AUTH TLS: begin the TLS handshake now"))
                        .await?;
                    return Ok(true);
                }
                // RFC 4217 s.4: SSL would mean implicit protection of data.
                Reply::new(504, "this server knows AUTH TLS alone")
            }
            Ok((_, Command::Quit)) => {
                wire.send(&Reply::new(221, "Goodbye")).await?;
                return Ok(false);
            }
            Ok((_, command)) => {
                info::answer(&command).unwrap_or_else(|| Reply::new(530, "send AUTH TLS first"))
            }
        };
        wire.send(&reply).await?;
    }
    if !*is_seen {
        journal_stranger(shared, peer, Stranger::NoFtp).await;
    }
    wire.send(&Reply::new(421, "too many commands before AUTH TLS"))
        .await?;
    Ok(false)
}

fn no_tls() -> Reply {
    Reply::new(530, "this server speaks with TLS only: send AUTH TLS first")
}

/// Characters of a name that comes without TLS and is noted.
const MAX_NOTED_NAME_CHARS: usize = 64;

/// A client that is set to plain FTP: its partner asks the operator why nothing works.
async fn note_login(name: &[u8], peer: SocketAddr, shared: &Shared) {
    let user = String::from_utf8_lossy(name);
    let user: String = user.trim().chars().take(MAX_NOTED_NAME_CHARS).collect();
    let gate = shared.depot.gate();
    // Nobody has proved anything: what a stranger can write is bounded.
    let noted = match shared.strangers.take(peer.ip()) {
        true => gate.note_without_tls(&user, peer.ip()).await,
        // Counted all the same.
        false => gate.note_abuse(peer.ip()).await,
    };
    if let Err(error) = noted {
        let faults = shared.depot.faults();
        faults.unrecorded("a login without TLS could not be recorded", &error);
    }
}
