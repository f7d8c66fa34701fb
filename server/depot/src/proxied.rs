//! Who is really at the other end of a connection that a load balancer passed on
//! (the PROXY protocol, versions 1 and 2; <https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>).
//!
//! A header is believed from the balancers' own networks only, and from those it must
//! come: a connection without one is closed, because guessing would let whoever reaches
//! the balancer say where he comes from. From everybody else none is read: what looks
//! like one is what a peer said first, and no protocol of ours begins so (F17).

mod header;

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncReadExt as _};

pub use self::header::{MAX_HEADER_BYTES, Proxied, ProxyHeaderFault};

use self::header::{HEADER_LIMIT, missing_bytes, parse};
use crate::Network;
use crate::timer;

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
    let header = timer::timeout(HEADER_LIMIT, whole_header(stream));
    let header = header
        .await
        .map_err(|timer::Elapsed| ProxyHeaderFault::TimedOut)??;
    parse(&header)
}

/// The bytes of one header.
async fn whole_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>, ProxyHeaderFault> {
    let mut header = Vec::new();
    loop {
        let missing = missing_bytes(&header)?;
        if missing == 0 {
            return Ok(header);
        }
        let came = header.len();
        header.resize(came.saturating_add(missing), 0);
        let rest = header.get_mut(came..).unwrap_or_default();
        let filled = stream.read_exact(rest).await;
        filled.map_err(|source| ProxyHeaderFault::Cut { source })?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::AsyncWriteExt as _;

    use super::header::{FIXED_BYTES, MAX_LINE_BYTES};
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
