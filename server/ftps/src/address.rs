//! Addresses and ports as PORT, EPRT, PASV and EPSV write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::command::SyntaxFault;

const PORT_FORM: SyntaxFault = SyntaxFault::Argument("PORT takes six numbers: h1,h2,h3,h4,p1,p2");
const EPRT_FORM: SyntaxFault =
    SyntaxFault::Argument("EPRT takes |1|address|port| or |2|address|port|");

/// RFC 959 s.5.3.2: `h1,h2,h3,h4,p1,p2`.
///
/// # Errors
/// When it is not that.
pub fn parse_port(text: &[u8]) -> Result<SocketAddr, SyntaxFault> {
    let text = std::str::from_utf8(text).map_err(|_| PORT_FORM)?.trim();
    let numbers: Vec<u8> = text
        .split(',')
        .map(|number| number.trim().parse())
        .collect::<Result<_, _>>()
        .map_err(|_| PORT_FORM)?;
    match numbers.as_slice() {
        [a, b, c, d, high, low] => Ok(SocketAddr::new(
            Ipv4Addr::new(*a, *b, *c, *d).into(),
            u16::from_be_bytes([*high, *low]),
        )),
        _ => Err(PORT_FORM),
    }
}

/// RFC 2428 s.2: `|1|132.235.1.2|6275|`, with any printable delimiter.
///
/// # Errors
/// When it is not that.
pub fn parse_eprt(text: &[u8]) -> Result<SocketAddr, SyntaxFault> {
    let text = std::str::from_utf8(text).map_err(|_| EPRT_FORM)?.trim();
    let mut letters = text.chars();
    let delimiter = letters
        .next()
        .filter(char::is_ascii_punctuation)
        .ok_or(EPRT_FORM)?;
    let fields: Vec<&str> = letters.as_str().split(delimiter).collect();
    let [family, address, port, ""] = fields.as_slice() else {
        return Err(EPRT_FORM);
    };
    let ip: IpAddr = address.parse().map_err(|_| EPRT_FORM)?;
    match (*family, ip) {
        ("1", IpAddr::V4(_)) | ("2", IpAddr::V6(_)) => {}
        _ => return Err(EPRT_FORM),
    }
    Ok(SocketAddr::new(ip, port.parse().map_err(|_| EPRT_FORM)?))
}

/// The text of 227: most clients look for the brackets, some for the numbers.
#[must_use]
pub fn pasv_text(address: Ipv4Addr, port: u16) -> String {
    let [a, b, c, d] = address.octets();
    let [high, low] = port.to_be_bytes();
    format!("Entering passive mode ({a},{b},{c},{d},{high},{low})")
}

/// The text of 229 (RFC 2428 s.3).
#[must_use]
pub fn epsv_text(port: u16) -> String {
    format!("Entering extended passive mode (|||{port}|)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_and_eprt_name_addresses() {
        assert_eq!(
            parse_port(b"10,0,0,5,31,64"),
            Ok("10.0.0.5:8000".parse().unwrap())
        );
        assert_eq!(
            parse_eprt(b"|1|10.0.0.5|8000|"),
            Ok("10.0.0.5:8000".parse().unwrap())
        );
        assert_eq!(
            parse_eprt(b"|2|::1|8000|"),
            Ok("[::1]:8000".parse().unwrap())
        );
        assert_eq!(
            parse_eprt(b"!1!10.0.0.5!8000!"),
            Ok("10.0.0.5:8000".parse().unwrap())
        );
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "1,2,3,4,5",
            "1,2,3,4,5,256",
            "1,2,3,4,5,6,7",
            "a,b,c,d,e,f",
        ] {
            assert_eq!(parse_port(text.as_bytes()), Err(PORT_FORM), "{text}");
        }
        for text in [
            "",
            "|",
            "|1|::1|8000|",
            "|2|10.0.0.5|8000|",
            "|1|10.0.0.5|80000|",
            "|1|10.0.0.5|80",
            "|1|a|1|",
        ] {
            assert_eq!(parse_eprt(text.as_bytes()), Err(EPRT_FORM), "{text}");
        }
    }

    #[test]
    fn passive_replies_read_as_clients_expect() {
        let text = pasv_text(Ipv4Addr::new(192, 0, 2, 7), 31_044);
        assert!(text.ends_with("(192,0,2,7,121,68)"), "{text}");
        assert!(epsv_text(31_044).ends_with("(|||31044|)"));
    }
}
