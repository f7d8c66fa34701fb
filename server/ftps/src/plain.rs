//! Before AUTH TLS: nothing here knows accounts or files, so nothing can be
//! done in the clear.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::command::{self, Command, Phase};
use crate::info;
use crate::reply::Reply;
use crate::wire::{Lost, Wire};

/// Commands before AUTH TLS, good or bad, until the connection ends: clients
/// send three.
const MAX_COMMANDS: usize = 32;

/// Greets, and answers until the client asks for TLS; `None` when it does not.
pub(crate) async fn until_auth_tls(
    stream: TcpStream,
    peer: SocketAddr,
    public_name: &str,
) -> Option<TcpStream> {
    let mut wire = Wire::new(stream);
    match converse(&mut wire, public_name).await {
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
async fn converse(wire: &mut Wire<TcpStream>, public_name: &str) -> Result<bool, Lost> {
    wire.send(&info::welcome(public_name)).await?;
    for _ in 0..MAX_COMMANDS {
        let line = wire.line().await?;
        let reply = match command::parse(&line) {
            Err(fault) => Reply::new(fault.code(), fault.to_string()),
            Ok((verb, _)) if verb.phase != Phase::Always => {
                Reply::new(530, "this server speaks with TLS only: send AUTH TLS first")
            }
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
    wire.send(&Reply::new(421, "too many commands before AUTH TLS"))
        .await?;
    Ok(false)
}
