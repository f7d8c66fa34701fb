//! What a client offered in its ClientHello, for the doctor: rustls tells only that it was
//! not enough. Overheard, never decided by.

use layover_depot::timer;
use rustls::CipherSuite;
use std::time::Duration;
use tokio::net::TcpStream;

/// So much of the beginning is looked at: what counts stands in the first few hundred
/// bytes, and a ClientHello is rarely longer than this.
const MAX_HEARD_BYTES: usize = 1024;

/// Suites that are repeated.
const MAX_SUITES: usize = 6;

/// RFC 8446 s.4.2.1.
const SUPPORTED_VERSIONS: u16 = 43;

/// What has come of the first flight within `limit`; it stays to be read. Empty when
/// nothing came.
pub(crate) async fn overhear(stream: &TcpStream, limit: Duration) -> Vec<u8> {
    let mut heard = vec![0; MAX_HEARD_BYTES];
    match timer::timeout(limit, stream.peek(&mut heard)).await {
        Ok(Ok(bytes)) => heard.truncate(bytes),
        _ => heard.clear(),
    }
    heard.shrink_to_fit();
    heard
}

/// What a client offers, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offered {
    /// The highest version.
    pub(crate) version: &'static str,
    /// The first suites, by their names.
    pub(crate) suites: String,
}

/// Reads a ClientHello, as far as it is there.
pub(crate) fn offered(heard: &[u8]) -> Option<Offered> {
    // Record: type, version, length; message: type, length (RFC 8446 s.5.1, s.4).
    let Some([22, _, _, _, _, 1, _, _, _, hello @ ..]) = heard.get(..) else {
        return None;
    };
    let (highest, rest) = hello.split_first_chunk()?;
    let mut highest = u16::from_be_bytes(*highest);
    let rest = rest.get(32..)?;
    let (_, rest) = counted::<1>(rest)?;
    let (suites, rest) = counted::<2>(rest)?;
    let suites: Vec<_> = words(suites)
        .filter_map(|suite| CipherSuite::from(suite).as_str())
        .take(MAX_SUITES)
        .collect();
    if let Some(versions) = versions(rest) {
        // GREASE (RFC 8701) is none.
        let real = words(versions).filter(|version| version >> 8 == 3);
        highest = real.max().unwrap_or(highest);
    }
    Some(Offered {
        version: match highest {
            0x0301 => "TLS 1.0",
            0x0302 => "TLS 1.1",
            0x0303 => "TLS 1.2",
            0x0304 => "TLS 1.3",
            version if version < 0x0301 => "SSL 3.0",
            _ => "TLS of an unknown version",
        },
        suites: match suites.is_empty() {
            true => "none that has a name".to_owned(),
            false => suites.join(", "),
        },
    })
}

/// What supported_versions lists.
fn versions(rest: &[u8]) -> Option<&[u8]> {
    let (_, rest) = counted::<1>(rest)?;
    let mut extensions = rest.get(2..)?;
    while let Some((kind, rest)) = extensions.split_first_chunk() {
        let (content, rest) = counted::<2>(rest)?;
        if u16::from_be_bytes(*kind) == SUPPORTED_VERSIONS {
            return Some(counted::<1>(content)?.0);
        }
        extensions = rest;
    }
    None
}

/// A field behind its length of `N` bytes, and what follows.
fn counted<const N: usize>(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<N>()?;
    let length = length
        .iter()
        .fold(0, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

fn words(bytes: &[u8]) -> impl Iterator<Item = u16> {
    let (pairs, _) = bytes.as_chunks();
    pairs.iter().map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(version: u16, suites: &[u16], versions: &[u16]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([7; 32]);
        body.push(0);
        body.extend(u16::try_from(suites.len() * 2).unwrap().to_be_bytes());
        body.extend(suites.iter().flat_map(|suite| suite.to_be_bytes()));
        body.extend([1, 0]);
        let mut extensions = vec![0, 23, 0, 0];
        if !versions.is_empty() {
            let length = u8::try_from(versions.len() * 2).unwrap();
            extensions.extend([0, 43, 0, length + 1, length]);
            extensions.extend(versions.iter().flat_map(|version| version.to_be_bytes()));
        }
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        let length = u16::try_from(body.len()).unwrap();
        let mut record = vec![22, 3, 1];
        record.extend((length + 4).to_be_bytes());
        record.extend([1, 0]);
        record.extend(length.to_be_bytes());
        record.extend(body);
        record
    }

    #[test]
    fn the_highest_version_and_the_first_suites_are_told() {
        for (version, versions, told) in [
            (0x0300, &[][..], "SSL 3.0"),
            (0x0301, &[], "TLS 1.0"),
            (0x0302, &[], "TLS 1.1"),
            (0x0303, &[], "TLS 1.2"),
            (0x0303, &[0x2a2a, 0x0304, 0x0303], "TLS 1.3"),
        ] {
            let offered = offered(&hello(version, &[0x2a2a, 0x002f, 0x0035], versions)).unwrap();
            assert_eq!(offered.version, told);
            assert_eq!(
                offered.suites,
                "TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_CBC_SHA"
            );
        }
        let many = hello(0x0303, &[0x002f; 100], &[]);
        let suites = offered(&many).unwrap().suites;
        assert_eq!(suites.split(", ").count(), MAX_SUITES);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_given_up(bytes: Vec<u8>, cut in 0_usize..80) {
            let _ = offered(&bytes);
            let whole = hello(0x0303, &[0x002f], &[0x0304]);
            let _ = offered(whole.get(..cut).unwrap_or_default());
        }
    }
}
