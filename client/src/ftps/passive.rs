//! Where the server waits for a data connection (RFC 959 PASV, RFC 2428 EPSV).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What the server said, and where we go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Where we connect to.
    pub(super) address: SocketAddr,
    /// What the server announced, when that is not where we go.
    pub(super) repaired: Option<SocketAddr>,
}

impl Place {
    /// From the text of a 229 reply: `(|||port|)`, any printable delimiter.
    pub(super) fn from_epsv(text: &[u8], peer: IpAddr) -> Option<Self> {
        let from = text.iter().position(|byte| *byte == b'(')?;
        let (delimiter, rest) = text.get(from + 1..)?.split_first()?;
        if !(33..=126).contains(delimiter) || delimiter.is_ascii_digit() {
            return None;
        }
        let mut parts = rest.split(|byte| byte == delimiter);
        // Protocol and address are empty by the RFC; what stands there is not followed.
        let (_, _) = (parts.next()?, parts.next()?);
        let port = number::<u16>(parts.next()?)?;
        // The closing delimiter.
        parts.next()?;
        (port != 0).then(|| Self {
            address: SocketAddr::new(peer, port),
            repaired: None,
        })
    }

    /// From the text of a 227 reply: six numbers, with or without parentheses.
    ///
    /// The address is always that of the control connection: servers behind
    /// address translation announce a private one (O04), and a server could
    /// send us anywhere.
    pub(super) fn from_pasv(text: &[u8], peer: IpAddr) -> Option<Self> {
        let numbers = six_numbers(text)?;
        let [a, b, c, d, high, low] = numbers;
        let port = u16::from_be_bytes([high, low]);
        if port == 0 {
            return None;
        }
        let announced = IpAddr::V4(Ipv4Addr::new(a, b, c, d));
        Some(Self {
            address: SocketAddr::new(peer, port),
            repaired: (announced != peer.to_canonical()).then(|| SocketAddr::new(announced, port)),
        })
    }
}

/// The first six numbers of 0 to 255 that are joined by commas.
fn six_numbers(text: &[u8]) -> Option<[u8; 6]> {
    text.split(|byte| !byte.is_ascii_digit() && *byte != b',')
        .find_map(|run| {
            let mut numbers = [0; 6];
            let mut parts = run.split(|byte| *byte == b',');
            for slot in &mut numbers {
                *slot = number(parts.next()?)?;
            }
            parts.next().is_none().then_some(numbers)
        })
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

    #[test]
    fn replies_to_pasv_are_read_and_their_address_repaired() {
        for (text, port, repaired) in [
            ("Entering Passive Mode (203,0,113,5,195,149).", 50_069, None),
            ("Entering Passive Mode (203,0,113,5,195,149)", 50_069, None),
            ("Entering Passive Mode. 203,0,113,5,195,149", 50_069, None),
            ("=203,0,113,5,195,149", 50_069, None),
            ("Passive (10,0,0,7,4,1)", 1_025, Some("10.0.0.7:1025")),
            ("Passive (192,168,1,2,4,1)", 1_025, Some("192.168.1.2:1025")),
            ("Passive (127,0,0,1,4,1)", 1_025, Some("127.0.0.1:1025")),
            ("Passive (0,0,0,0,4,1)", 1_025, Some("0.0.0.0:1025")),
            (
                "Passive (198,51,100,9,4,1)",
                1_025,
                Some("198.51.100.9:1025"),
            ),
        ] {
            let place = Place::from_pasv(text.as_bytes(), PEER).unwrap();
            assert_eq!(place.address, SocketAddr::new(PEER, port), "{text}");
            assert_eq!(
                place.repaired,
                repaired.map(|it| it.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn replies_to_pasv_without_six_numbers_of_a_byte_and_a_port_are_no_place() {
        for text in [
            "",
            "(1,2,3,4,5)",
            "(1,2,3,4,5,6,7)",
            "(1,2,3,4,256,1)",
            "(1,2,3,4,-1,1)",
            "(1,2,3,4,0,0)",
            "(99999999999999999999,2,3,4,5,6)",
            "(1,,3,4,5,6)",
        ] {
            assert_eq!(Place::from_pasv(text.as_bytes(), PEER), None, "{text}");
        }
    }

    #[test]
    fn replies_to_epsv_are_read() {
        for (text, port) in [
            ("Entering Extended Passive Mode (|||50069|)", Some(50_069)),
            ("(!!!1025!)", Some(1_025)),
            ("Extended (|1|198.51.100.9|1025|)", Some(1_025)),
            ("(|||65535|)", Some(65_535)),
            ("(|||65536|)", None),
            ("(|||0|)", None),
            ("(|||1025)", None),
            ("(111102511)", None),
            ("|||1025|", None),
            ("(|||", None),
        ] {
            let place = Place::from_epsv(text.as_bytes(), PEER);
            let expected = port.map(|port| SocketAddr::new(PEER, port));
            assert_eq!(place.map(|place| place.address), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nobody_sends_us_to_another_host(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            for place in [Place::from_pasv(&text, PEER), Place::from_epsv(&text, PEER)] {
                prop_assert!(place.is_none_or(|place| place.address.ip() == PEER));
            }
        }
    }
}
