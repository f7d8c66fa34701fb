//! Who is really at the other end of a connection that a load balancer passed on
//! (the PROXY protocol, versions 1 and 2; <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! A header is believed from the balancers' own networks only, and from those it must
//! come: a connection without one is closed, because guessing would let whoever reaches
//! the balancer say where he comes from. From everybody else none is read: what looks
//! like one is what a peer said first, and no protocol of ours begins so (F17).

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::Network;
use crate::timer;

/// A balancer sends the header with the first segment; the document asks for three
/// seconds at least, for one that was lost (s. 2).
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// Addresses need 52 bytes; the rest is for what balancers add to them (names of
/// endpoints, what TLS they ended). We read none of that.
pub const MAX_HEADER_BYTES: usize = 4096;

/// The longest line of version 1, with its end (s. 2.1).
const MAX_LINE_BYTES: usize = 107;

/// Bytes of version 2 before what its length counts.
const FIXED_BYTES: usize = 16;

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

/// Which peers are balancers.
#[derive(Clone, Debug, Default)]
pub struct Balancers {
    networks: Vec<Network>,
}

impl Balancers {
    /// Those in `networks`.
    #[must_use]
    pub fn new(networks: Vec<Network>) -> Self {
        Self { networks }
    }

    /// Whether a connection from `address` begins with a header.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks
            .iter()
            .any(|network| network.contains(address))
    }
}

/// Reads the header of a balancer's connection, and not a byte more. `None`: the
/// connection is the balancer's own (`LOCAL`, `UNKNOWN`), as those that look whether we live.
///
/// # Errors
/// [`ProxyHeaderFault`]: close the connection.
pub async fn read_proxy_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Proxied>, ProxyHeaderFault> {
    let header = timer::timeout(HEADER_LIMIT, header(stream));
    let header = header
        .await
        .map_err(|timer::Elapsed| ProxyHeaderFault::TimedOut)??;
    if header.starts_with(ppp::v2::PROTOCOL_PREFIX) {
        version_2(&header)
    } else {
        version_1(&header)
    }
}

/// The bytes of one header.
async fn header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProxyHeaderFault> {
    let mut header = vec![0; SIGNATURE_BYTES];
    fill(stream, &mut header, 0).await?;
    if header == ppp::v2::PROTOCOL_PREFIX {
        header.resize(FIXED_BYTES, 0);
        fill(stream, &mut header, SIGNATURE_BYTES).await?;
        let length = match header.as_slice() {
            [.., high, low] => usize::from(u16::from_be_bytes([*high, *low])),
            _ => 0,
        };
        let whole = FIXED_BYTES.saturating_add(length);
        if whole > MAX_HEADER_BYTES {
            return Err(ProxyHeaderFault::TooLong {
                most: MAX_HEADER_BYTES,
            });
        }
        header.resize(whole, 0);
        fill(stream, &mut header, FIXED_BYTES).await?;
        return Ok(header);
    }
    let prefix = format!("{} ", ppp::v1::PROTOCOL_PREFIX);
    if !header.starts_with(prefix.as_bytes()) {
        return Err(ProxyHeaderFault::Missing {
            first: header.escape_ascii().to_string(),
        });
    }
    // A byte at a time: what follows the line is the client's.
    while !header.ends_with(b"\n") {
        if header.len() >= MAX_LINE_BYTES {
            return Err(ProxyHeaderFault::TooLong {
                most: MAX_LINE_BYTES,
            });
        }
        let byte = stream.read_u8().await;
        header.push(byte.map_err(|source| ProxyHeaderFault::Cut { source })?);
    }
    Ok(header)
}

async fn fill(
    stream: &mut (impl AsyncRead + Unpin),
    header: &mut [u8],
    from: usize,
) -> Result<(), ProxyHeaderFault> {
    let rest = header.get_mut(from..).unwrap_or_default();
    let filled = stream.read_exact(rest).await;
    filled
        .map(|_| ())
        .map_err(|source| ProxyHeaderFault::Cut { source })
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    /// What the client says after the header.
    const NEXT: &[u8] = b"SSH-2.0-client\r\n";

    const V4: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 22\r\n";
    const V6: &[u8] = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 22\r\n";

    fn v2(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = ppp::v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        let length = u16::try_from(payload.len()).unwrap();
        header.extend(length.to_be_bytes());
        header.extend(payload);
        header
    }

    fn v2_of(source: &str, destination: &str) -> Vec<u8> {
        let ends = [source, destination].map(|end| end.parse::<SocketAddr>().unwrap());
        let mut payload = Vec::new();
        for end in ends {
            match end.ip() {
                IpAddr::V4(ip) => payload.extend(ip.octets()),
                IpAddr::V6(ip) => payload.extend(ip.octets()),
            }
        }
        for end in ends {
            payload.extend(end.port().to_be_bytes());
        }
        v2(1, if ends[0].is_ipv4() { 0x11 } else { 0x21 }, &payload)
    }

    fn ends(source: &str, destination: &str) -> Proxied {
        Proxied {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    /// What is read of a connection that says this, in pieces of `piece` bytes, and then
    /// ends; and what is left of it.
    async fn read(
        said: &[u8],
        piece: usize,
    ) -> (Result<Option<Proxied>, ProxyHeaderFault>, Vec<u8>) {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let said = said.to_vec();
        let saying = tokio::spawn(async move {
            for piece in said.chunks(piece) {
                // Fails when we have seen enough.
                if theirs.write_all(piece).await.is_err() {
                    return;
                }
            }
        });
        let header = read_proxy_header(&mut ours).await;
        let mut rest = Vec::new();
        if header.is_ok() {
            ours.read_to_end(&mut rest).await.unwrap();
        }
        drop(ours);
        saying.await.unwrap();
        (header, rest)
    }

    #[tokio::test]
    async fn f17_both_versions_tell_both_kinds_of_addresses() {
        let v4 = ends("192.0.2.7:56324", "198.51.100.1:22");
        let v6 = ends("[2001:db8::7]:56324", "[2001:db8::1]:22");
        let mut with_more = v2_of("192.0.2.7:56324", "198.51.100.1:22");
        with_more.extend([0x04, 0, 2, 1, 2]);
        with_more[15] += 5;
        let cases = [
            (V4.to_vec(), Some(v4)),
            (V6.to_vec(), Some(v6)),
            (v2_of("192.0.2.7:56324", "198.51.100.1:22"), Some(v4)),
            (v2_of("[2001:db8::7]:56324", "[2001:db8::1]:22"), Some(v6)),
            (with_more, Some(v4)),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ff:: ff:: 1 2\r\n".to_vec(), None),
            (v2(0, 0x00, &[]), None),
            (v2(0, 0x11, &[0; 12]), None),
            (v2(1, 0x00, &[]), None),
        ];
        for (header, expected) in cases {
            for piece in [1, 5, 4096] {
                let said = [header.as_slice(), NEXT].concat();
                let (found, rest) = read(&said, piece).await;
                assert_eq!(found.unwrap(), expected, "{}", header.escape_ascii());
                assert_eq!(rest, NEXT, "not a byte more than the header");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_without_a_whole_header_is_refused() {
        let headers = [
            V4.to_vec(),
            V6.to_vec(),
            v2_of("192.0.2.7:1", "192.0.2.8:2"),
            v2_of("[2001:db8::7]:1", "[2001:db8::1]:2"),
        ];
        for header in headers {
            for end in 0..header.len() {
                let (found, _) = read(&header[..end], 4096).await;
                let is_cut = matches!(found, Err(ProxyHeaderFault::Cut { .. }));
                assert!(is_cut, "{end}: {found:?}");
            }
        }
        for other in [
            NEXT,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00".as_slice(),
            b"proxy TCP4 192.0.2.7 198.51.100.1 56324 22\r\n",
            b"PROXYTCP4 192.0.2.7 198.51.100.1 56324 22\r\n",
        ] {
            let (found, _) = read(other, 4096).await;
            let is_missing = matches!(found, Err(ProxyHeaderFault::Missing { .. }));
            assert!(is_missing, "{found:?}");
        }
        for malformed in [
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324\r\n".as_slice(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 70000\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 22\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 56324 22\r\n",
            b"PROXY TCP5 192.0.2.7 198.51.100.1 56324 22\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 22 \r\n",
            &v2(2, 0x11, &[0; 12]),
            &v2(1, 0x11, &[0; 11]),
            &v2(1, 0x21, &[0; 35]),
            &v2(1, 0x41, &[0; 12]),
            &v2(1, 0x13, &[0; 12]),
        ] {
            let (found, _) = read(malformed, 4096).await;
            let is_malformed = matches!(found, Err(ProxyHeaderFault::Malformed { .. }));
            assert!(is_malformed, "{}: {found:?}", malformed.escape_ascii());
        }
        for other in [v2(1, 0x12, &[0; 12]), v2(1, 0x31, &[0; 216])] {
            let (found, _) = read(&other, 4096).await;
            let no_tcp = matches!(found, Err(ProxyHeaderFault::NoTcp { .. }));
            assert!(no_tcp, "{found:?}");
        }
    }

    #[tokio::test]
    async fn headers_have_a_limit_just_below_and_just_above() {
        let room = MAX_HEADER_BYTES - FIXED_BYTES;
        let (found, _) = read(&v2(0, 0, &vec![0; room]), 4096).await;
        assert_eq!(found.unwrap(), None);
        let (found, _) = read(&v2(0, 0, &vec![0; room + 1]), 4096).await;
        assert!(matches!(found, Err(ProxyHeaderFault::TooLong { .. })));

        let line = |bytes: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(bytes - 16));
        let (found, _) = read(line(MAX_LINE_BYTES).as_bytes(), 4096).await;
        assert_eq!(found.unwrap(), None);
        let (found, _) = read(line(MAX_LINE_BYTES + 1).as_bytes(), 4096).await;
        assert!(matches!(found, Err(ProxyHeaderFault::TooLong { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_balancer_that_says_nothing_is_not_waited_for() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        theirs.write_all(&V4[..20]).await.unwrap();
        let since = timer::Stopwatch::start();
        let found = read_proxy_header(&mut ours).await;
        assert!(matches!(found, Err(ProxyHeaderFault::TimedOut)));
        assert_eq!(since.elapsed(), HEADER_LIMIT);
    }
}
