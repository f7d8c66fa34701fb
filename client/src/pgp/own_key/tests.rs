use super::*;

fn plan(created: &str, expires: Option<&str>) -> Result<OwnKey, OwnKeyError> {
    OwnKey::generate(&KeyPlan {
        user_id: "Layover north <north@layover.invalid>",
        created_at: created.parse().expect("a moment"),
        expires_at: expires.map(|at| at.parse().expect("a moment")),
    })
}

fn key() -> OwnKey {
    plan("2026-06-01T12:00:00Z", None).expect("make a key")
}

#[test]
fn stored_key_pairs_come_back_in_their_order() {
    let mut keys = OwnKeys::new(key());
    keys.rotate(key()).expect("rotate");
    keys.rotate(key()).expect("rotate");
    let names = |keys: &OwnKeys| -> Vec<String> { keys.iter().map(OwnKey::fingerprint).collect() };
    let back = OwnKeys::from_bytes(&keys.to_bytes().expect("bytes")).expect("read back");
    assert_eq!(names(&back), names(&keys));
    assert_eq!(back.newest().fingerprint(), names(&keys)[0]);
}

#[test]
fn there_are_at_most_eight_and_the_newest_cannot_be_retired() {
    let mut keys = OwnKeys::new(key());
    for _ in 1..MAX_OWN_KEYS {
        keys.rotate(key()).expect("up to the limit");
    }
    assert_eq!(keys.rotate(key()), Err(OwnKeyError::TooMany));
    let newest = keys.newest().fingerprint();
    assert!(!keys.retire(&newest));
    assert_eq!(keys.iter().count(), MAX_OWN_KEYS);
    let mut bytes = keys.to_bytes().expect("bytes").to_vec();
    assert!(OwnKeys::from_bytes(&bytes).is_ok());
    bytes.extend(OwnKeys::new(key()).to_bytes().expect("bytes").iter());
    assert_eq!(
        OwnKeys::from_bytes(&bytes).err(),
        Some(OwnKeyError::TooMany)
    );
}

#[test]
fn stored_bytes_that_were_altered_are_no_key_pairs() {
    let bytes = OwnKeys::new(key()).to_bytes().expect("bytes");
    assert!(matches!(
        OwnKeys::from_bytes(b""),
        Err(OwnKeyError::Stored { .. })
    ));
    for place in [12, bytes.len() / 2, bytes.len() - 5] {
        let mut altered = bytes.to_vec();
        altered[place] ^= 1;
        assert!(
            matches!(
                OwnKeys::from_bytes(&altered),
                Err(OwnKeyError::Stored { .. })
            ),
            "byte {place}"
        );
    }
}

#[test]
fn a_key_bears_the_dates_it_was_given() {
    let key = plan("2026-06-01T12:00:00Z", Some("2028-06-01T12:00:00Z")).expect("make a key");
    assert_eq!(key.created_at().to_string(), "2026-06-01T12:00:00Z");
    assert_eq!(
        key.expires_at().map(|at| at.to_string()).as_deref(),
        Some("2028-06-01T12:00:00Z")
    );
    for (created, expires) in [
        ("2026-06-01T12:00:00Z", Some("2026-06-01T12:00:00Z")),
        ("1969-12-31T23:59:59Z", None),
        ("2107-01-01T00:00:00Z", None),
        ("2026-06-01T12:00:00Z", Some("2107-01-01T00:00:00Z")),
    ] {
        assert_eq!(plan(created, expires).err(), Some(OwnKeyError::Dates));
    }
}

#[test]
fn a_private_key_is_never_shown() {
    let keys = OwnKeys::new(key());
    let shown = format!("{keys:?}");
    assert_eq!(
        shown,
        format!(
            "OwnKeys {{ newest: OwnKey({}), older: [] }}",
            keys.newest().fingerprint()
        )
    );
}
