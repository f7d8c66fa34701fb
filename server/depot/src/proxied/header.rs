//! The bytes of a PROXY header; pure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A balancer sends the header with the first segment; the document asks for three
/// seconds at least, for one that was lost (s. 2).
pub(crate) const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// Addresses need 52 bytes; the rest is for what balancers add to them (names of
/// endpoints, what TLS they ended). We read none of that.
pub const MAX_HEADER_BYTES: usize = 4096;

/// The longest line of version 1, with its end (s. 2.1).
pub(crate) const MAX_LINE_BYTES: usize = 107;

/// Bytes of version 2 before what its length counts.
pub(crate) const FIXED_BYTES: usize = 16;

/// As long as version 2's signature; version 1 has no shorter line.
const SIGNATURE_BYTES: usize = 12;

/// The two ends of the connection that the balancer accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proxied {
    /// The client.
    pub source: SocketAddr,
    /// Where the client found the balancer.
    pub destination: SocketAddr,
}

/// Why a balancer's connection is closed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyHeaderFault {
    /// It said nothing, or only half.
    #[error("no PROXY header came within {} s", HEADER_LIMIT.as_secs())]
    TimedOut,
    /// It ended before the header did.
    #[error("the connection ended within its PROXY header")]
    Cut {
        /// What the operating system says.
        source: io::Error,
    },
    /// It began with something else.
    #[error(
        "no PROXY header: the address is in proxy_protocol_from, and what came first was {first}; \
         is the protocol switched on at the balancer (send-proxy)?"
    )]
    Missing {
        /// The first bytes, escaped.
        first: String,
    },
    /// It is longer than any that we read.
    #[error("the PROXY header is longer than {most} bytes")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// It is none.
    #[error("the PROXY header cannot be read: {why}")]
    Malformed {
        /// Why.
        why: String,
    },
    /// It speaks of no TCP connection.
    #[error("the PROXY header is about {of_what}, not about a TCP connection")]
    NoTcp {
        /// About what.
        of_what: &'static str,
    },
}

/// How many bytes more are the header's for sure, when `read` is what came so far; 0
/// when it is whole. What follows the header is the client's, so no more is ever read.
///
/// # Errors
/// As soon as it can be told that this becomes no header.
pub(crate) fn missing_bytes(read: &[u8]) -> Result<usize, ProxyHeaderFault> {
    if read.len() < SIGNATURE_BYTES {
        return Ok(SIGNATURE_BYTES - read.len());
    }
    if read.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        let Some(&[high, low]) = read.get(FIXED_BYTES - 2..FIXED_BYTES) else {
            return Ok(FIXED_BYTES - read.len());
        };
        let whole = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
        if whole > MAX_HEADER_BYTES {
            return Err(ProxyHeaderFault::TooLong {
                most: MAX_HEADER_BYTES,
            });
        }
        return Ok(whole.saturating_sub(read.len()));
    }
    let is_line = read
        .strip_prefix(ppp::v1::PROTOCOL_PREFIX.as_bytes())
        .is_some_and(|rest| rest.starts_with(b" "));
    if !is_line {
        return Err(ProxyHeaderFault::Missing {
            first: read.escape_ascii().to_string(),
        });
    }
    if read.ends_with(b"\n") {
        return Ok(0);
    }
    if read.len() >= MAX_LINE_BYTES {
        return Err(ProxyHeaderFault::TooLong {
            most: MAX_LINE_BYTES,
        });
    }
    // Where the line ends is not known.
    Ok(1)
}

/// Reads a whole header. `None`: the connection is the balancer's own (`LOCAL`,
/// `UNKNOWN`), as those that look whether we live.
///
/// # Errors
/// [`ProxyHeaderFault`]: close the connection.
pub(crate) fn parse(header: &[u8]) -> Result<Option<Proxied>, ProxyHeaderFault> {
    if header.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        version_2(header)
    } else {
        version_1(header)
    }
}

fn version_1(header: &[u8]) -> Result<Option<Proxied>, ProxyHeaderFault> {
    use ppp::v1::Addresses;
    let header =
        ppp::v1::Header::try_from(header).map_err(|error| ProxyHeaderFault::Malformed {
            why: error.to_string(),
        })?;
    Ok(match header.addresses {
        Addresses::Unknown => None,
        Addresses::Tcp4(ends) => Some(Proxied {
            source: SocketAddr::from((ends.source_address, ends.source_port)),
            destination: SocketAddr::from((ends.destination_address, ends.destination_port)),
        }),
        Addresses::Tcp6(ends) => Some(Proxied {
            source: SocketAddr::from((ends.source_address, ends.source_port)),
            destination: SocketAddr::from((ends.destination_address, ends.destination_port)),
        }),
    })
}

fn version_2(header: &[u8]) -> Result<Option<Proxied>, ProxyHeaderFault> {
    use ppp::v2::{Addresses, Command, Protocol};
    let header =
        ppp::v2::Header::try_from(header).map_err(|error| ProxyHeaderFault::Malformed {
            why: error.to_string(),
        })?;
    if header.command == Command::Local {
        return Ok(None);
    }
    if header.protocol == Protocol::Datagram {
        return Err(ProxyHeaderFault::NoTcp {
            of_what: "datagrams",
        });
    }
    match header.addresses {
        Addresses::Unspecified => Ok(None),
        Addresses::IPv4(ends) => Ok(Some(Proxied {
            source: SocketAddr::from((ends.source_address, ends.source_port)),
            destination: SocketAddr::from((ends.destination_address, ends.destination_port)),
        })),
        Addresses::IPv6(ends) => Ok(Some(Proxied {
            source: SocketAddr::from((ends.source_address, ends.source_port)),
            destination: SocketAddr::from((ends.destination_address, ends.destination_port)),
        })),
        Addresses::Unix(_) => Err(ProxyHeaderFault::NoTcp {
            of_what: "a Unix socket",
        }),
    }
}
