//! From the partner to us, encrypted.

use std::sync::Arc;

use super::scripted::{Scripted, Verb, Wrong};
use super::*;
use crate::fault::{Permanence, RemoteFault};
use crate::pgp::tests::{as_partner, opening_with, own_keys, sealed, sealing_to};
use crate::pgp::{
    DecryptOptions, EncryptOptions, Form, OwnKeys, Refusal, SenderRule, UNDECRYPTABLE,
};

/// Long enough that plaintext is out before the end of the message is seen.
const SIZE: usize = 1_500_000;

fn required(options: DecryptOptions) -> FetchRules {
    FetchRules {
        pgp: Some(options),
        ..FetchRules::default()
    }
}

struct Partners {
    ours: Arc<OwnKeys>,
    theirs: Arc<OwnKeys>,
    stranger: Arc<OwnKeys>,
}

impl Partners {
    fn new() -> Self {
        Self {
            ours: own_keys("layover"),
            theirs: own_keys("partner"),
            stranger: own_keys("stranger"),
        }
    }

    fn signed_by(&self, keys: &Arc<OwnKeys>) -> EncryptOptions {
        EncryptOptions {
            sign_with: Some(Arc::clone(keys)),
            ..sealing_to(as_partner(&self.ours))
        }
    }

    fn demanding_a_signature(&self) -> DecryptOptions {
        DecryptOptions {
            sender: SenderRule::SignedBy(as_partner(&self.theirs)),
            ..opening_with(&self.ours)
        }
    }
}

#[tokio::test]
async fn an_encrypted_file_lands_decrypted() {
    let partners = Partners::new();
    for (bytes, form, hashes) in [
        (0, Form::Binary, false),
        (1, Form::Armored, true),
        (SIZE, Form::Binary, true),
        (SIZE, Form::Armored, false),
    ] {
        let whole = content(bytes);
        let options = EncryptOptions {
            form,
            ..partners.signed_by(&partners.theirs)
        };
        let message = sealed(&whole, &options);
        let mut remote = Scripted::default().with("/in/f", &message);
        remote.abilities.sha256 = hashes;
        let home = Home::new();
        let rules = required(partners.demanding_a_signature());
        let fetched = get(&mut remote, &mut home.target(), &rules).await.unwrap();
        assert_eq!(fetched.sha256, sha256(&whole));
        assert_eq!(fetched.content_bytes, bytes as u64);
        assert_eq!(fetched.wire_bytes, message.len() as u64);
        let opened = fetched.pgp.unwrap();
        assert_eq!(opened.opened_by, partners.ours.newest().fingerprint());
        assert_eq!(
            opened.signed_by,
            Some(partners.theirs.newest().fingerprint())
        );
        let expected = if hashes {
            Verified::Sha256
        } else {
            Verified::Size
        };
        assert_eq!(fetched.verified, expected);
        assert!(home.files() == [("f".to_owned(), whole)]);
    }
}

#[tokio::test]
async fn o05_a_refused_file_is_not_published_stays_there_and_sounds_like_any_other() {
    let partners = Partners::new();
    let whole = content(SIZE);
    let good = sealed(&whole, &partners.signed_by(&partners.theirs));
    let flipped = |place: usize| {
        let mut message = good.clone();
        message[place] ^= 1;
        message
    };
    let unsigned = sealed(&whole, &sealing_to(as_partner(&partners.ours)));
    let not_for_us = sealed(&whole, &sealing_to(as_partner(&partners.stranger)));
    let by_a_stranger = sealed(&whole, &partners.signed_by(&partners.stranger));
    let mut prolonged = good.clone();
    prolonged.extend_from_slice(b"more");
    for (what, message, is_cause) in [
        (
            "a byte of the content flipped",
            flipped(good.len() / 2),
            (|cause| matches!(cause, Refusal::Altered { .. })) as fn(&Refusal) -> bool,
        ),
        ("its last byte flipped", flipped(good.len() - 1), |cause| {
            matches!(cause, Refusal::Altered { .. })
        }),
        (
            "cut in its middle",
            good[..good.len() / 2].to_vec(),
            |cause| matches!(cause, Refusal::Altered { .. }),
        ),
        (
            "cut by one byte",
            good[..good.len() - 1].to_vec(),
            |cause| matches!(cause, Refusal::Altered { .. }),
        ),
        ("with something behind it", prolonged, |cause| {
            matches!(
                cause,
                Refusal::Altered { .. } | Refusal::TooManyPackets | Refusal::NotOpenPgp { .. }
            )
        }),
        ("no PGP", whole.clone(), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("text", b"name;amount\n".repeat(1000), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("nothing", Vec::new(), |cause| {
            matches!(cause, Refusal::NotOpenPgp { .. })
        }),
        ("not signed", unsigned, |cause| {
            matches!(cause, Refusal::NotSigned)
        }),
        ("signed by somebody else", by_a_stranger, |cause| {
            matches!(cause, Refusal::WrongSignature)
        }),
        ("for somebody else", not_for_us, |cause| {
            matches!(cause, Refusal::NotForUs { .. })
        }),
    ] {
        let mut remote = Scripted::default().with("/in/f", &message);
        let home = Home::new();
        let mut target = home.target();
        let rules = required(partners.demanding_a_signature());
        let error = get(&mut remote, &mut target, &rules).await.unwrap_err();
        let ExchangeError::Undecryptable { cause } = &error else {
            panic!("{what}: {error}");
        };
        assert!(is_cause(cause), "{what}: {cause:?}");
        assert_eq!(error.to_string(), UNDECRYPTABLE, "{what}");
        assert!(error.for_operator().contains(&cause.to_string()), "{what}");
        let about_signing = what.contains("signed by") || what.contains("not signed");
        let remedy = error.remedy().unwrap();
        assert_eq!(
            remedy.contains("set-partner"),
            about_signing,
            "{what}: {remedy}"
        );
        assert_eq!(error.permanence(), Permanence::Permanent, "{what}");
        assert!(home.files().iter().all(|(name, _)| name != "f"), "{what}");
        drop(target);
        assert!(home.files().is_empty(), "{what}: plaintext is left");
        assert_eq!(remote.content("/in/f"), Some(&message[..]), "{what}");
        assert_eq!(remote.calls(Verb::Remove), 0, "{what}");
    }
}

#[tokio::test]
async fn half_a_message_of_a_partner_who_still_writes_is_no_refusal() {
    let partners = Partners::new();
    let message = sealed(&content(SIZE), &sealing_to(as_partner(&partners.ours)));
    let half = &message[..message.len() / 2];
    let mut remote = Scripted::default().with("/in/f", half).failing(
        Verb::Get,
        0,
        Wrong::ChangedTo(message.clone()),
    );
    let home = Home::new();
    let mut target = home.target();
    let rules = required(opening_with(&partners.ours));
    let error = get(&mut remote, &mut target, &rules).await.unwrap_err();
    assert!(
        matches!(error, ExchangeError::SourceChanged { .. }),
        "{error}"
    );
    assert_eq!(error.permanence(), Permanence::Transient);
    // The next attempt finds all of it, and begins anew.
    let fetched = get(&mut remote, &mut target, &rules).await.unwrap();
    assert_eq!(
        (fetched.resumed_at, fetched.content_bytes),
        (0, SIZE as u64)
    );
    assert!(home.files() == [("f".to_owned(), content(SIZE))]);
}

#[tokio::test]
async fn a_lost_connection_is_told_as_that_whatever_was_decrypted() {
    let partners = Partners::new();
    let message = sealed(&content(SIZE), &sealing_to(as_partner(&partners.ours)));
    for at in [0, 50_000, 1_000_000] {
        let lost = Wrong::At(at, RemoteFault::ConnectionLost);
        let mut remote = Scripted::default()
            .with("/in/f", &message)
            .failing(Verb::Get, 0, lost);
        let home = Home::new();
        let mut target = home.target();
        let rules = required(opening_with(&partners.ours));
        let error = get(&mut remote, &mut target, &rules).await.unwrap_err();
        assert!(error.ends_connection(), "{at}: {error}");
        assert!(home.files().iter().all(|(name, _)| name != "f"));
        remote.reconnect();
        get(&mut remote, &mut target, &rules).await.unwrap();
        assert!(home.files() == [("f".to_owned(), content(SIZE))], "{at}");
    }
}
