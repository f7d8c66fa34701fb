//! What shows a receiver that a request is ours, and when it was made; pure.

use aws_lc_rs::hmac;

/// Which signature it is: another way of signing gets another word.
pub const SIGNATURE_VERSION: &str = "v1";

/// `v1=` and the HMAC-SHA256, in hexadecimal digits, of the seconds since 1970, a dot and
/// the body. The time is signed, too, so that nobody can send an old request as a new one.
#[must_use]
pub fn signature(secret: &[u8], at_s: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    let mut context = hmac::Context::with_key(&key);
    context.update(at_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    format!("{SIGNATURE_VERSION}={}", hex::encode(context.sign()))
}

#[cfg(test)]
mod tests {
    use super::*;

    // printf '1800000000.{"id":"1"}' | openssl dgst -sha256 -hmac 0123456789abcdef
    #[test]
    fn it_is_what_openssl_computes() {
        let signed = signature(b"0123456789abcdef", 1_800_000_000, br#"{"id":"1"}"#);
        assert_eq!(
            signed,
            "v1=c8e2c3e0d17518c9ae2f78d38c97afc3e4f4638998dcf5b5142cb55fe124e345"
        );
    }

    #[test]
    fn time_body_and_secret_all_count() {
        let signed = signature(b"0123456789abcdef", 1, b"x");
        for (secret, at_s, body) in [
            (&b"0123456789abcdeg"[..], 1, &b"x"[..]),
            (b"0123456789abcdef", 2, b"x"),
            (b"0123456789abcdef", 1, b"y"),
        ] {
            assert_ne!(signature(secret, at_s, body), signed);
        }
    }
}
