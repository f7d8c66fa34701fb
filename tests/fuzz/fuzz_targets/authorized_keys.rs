//! Any text as an operator's authorized_keys: refused with its line, or keys within
//! their limits that are read again from what was kept of them.
#![no_main]

use libfuzzer_sys::fuzz_target;

// The files themselves, not their crate: instrumented and built in seconds, without
// SSH and databases.
#[path = "../../../server/depot/src/authorized_key.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
#[rustfmt::skip]
mod authorized_key;
#[path = "../../../server/depot/src/network.rs"]
#[expect(dead_code, reason = "the server uses the rest")]
#[rustfmt::skip]
mod network;

use authorized_key::{
    KeyUse, MAX_FROM_PATTERNS, MAX_PRINCIPALS, NewKey, check_strength, parse_authorized_keys,
};
use network::FromPattern;
use ssh_key::{HashAlg, PublicKey};

fuzz_target!(|text: &str| {
    let lines = text.lines().count();
    match parse_authorized_keys(text) {
        Ok(keys) => {
            assert!(keys.len() <= lines);
            for key in &keys {
                check(key);
            }
        }
        Err(refused) => {
            assert!((1..=lines).contains(&refused.line));
            // What the operator reads of it is one line of bounded length.
            assert!(refused.to_string().chars().count() < 1024);
        }
    }
});

fn check(key: &NewKey) {
    let public = PublicKey::from_bytes(&key.blob).expect("the blob is a key");
    assert!(check_strength(public.key_data()).is_ok());
    let fingerprint = public.fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(fingerprint, key.fingerprint);
    assert!(key.comment.chars().all(|c| !c.is_control()));
    assert!(key.from.len() <= MAX_FROM_PATTERNS);
    for pattern in &key.from {
        // As the database keeps it.
        let again = pattern.to_string().parse::<FromPattern>();
        assert_eq!(again.as_ref(), Ok(pattern));
    }
    if let KeyUse::Authority { principals } = &key.used_for {
        assert!(principals.len() <= MAX_PRINCIPALS);
        assert!(
            principals
                .iter()
                .all(|name| !name.is_empty() && !name.contains(','))
        );
    }
}
