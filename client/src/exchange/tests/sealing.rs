//! From us to the partner, encrypted.

use std::sync::Arc;

use jiff::ToSpan as _;

use super::scripted::{Scripted, Verb, Wrong};
use super::*;
use crate::fault::{Permanence, RemoteFault};
use crate::pgp::tests::gnupg::Gnupg;
use crate::pgp::tests::{as_partner, now, opened, opening_with, own_keys, sealing_to};
use crate::pgp::{
    DecryptOptions, EncryptError, EncryptOptions, KeyPlan, OwnKey, OwnKeys, PartnerKey,
    PartnerKeyError, SenderRule,
};

const SIZE: usize = 1_500_000;

fn encrypting(options: EncryptOptions) -> SendRules {
    SendRules {
        pgp: Some(options),
        ..rules()
    }
}

#[tokio::test]
async fn a_file_arrives_encrypted_and_signed() {
    let (ours, theirs) = (own_keys("layover"), own_keys("partner"));
    for bytes in [0, 1, SIZE] {
        let whole = content(bytes);
        let rules = encrypting(EncryptOptions {
            sign_with: Some(Arc::clone(&ours)),
            ..sealing_to(as_partner(&theirs))
        });
        let mut remote = Scripted::default();
        remote.abilities.sha256 = true;
        let mut attempt = Attempt::default();
        let delivered = put(
            &mut remote,
            &mut Ours::new(whole.clone()),
            &rules,
            &mut attempt,
        )
        .await
        .unwrap();
        let message = remote.content("/out/f").unwrap();
        assert_eq!(delivered.remote_bytes, message.len() as u64);
        assert_eq!(delivered.wire_bytes, message.len() as u64);
        assert_eq!(delivered.content_bytes, bytes as u64);
        assert_eq!(delivered.sha256, sha256(&whole));
        assert_eq!(delivered.verified, Verified::Sha256);
        let sealed = delivered.pgp.unwrap();
        assert_eq!(sealed.encrypted_to, theirs.newest().fingerprint());
        assert_eq!(sealed.signed_by, Some(ours.newest().fingerprint()));
        let demanding = DecryptOptions {
            sender: SenderRule::SignedBy(as_partner(&ours)),
            ..opening_with(&theirs)
        };
        assert!(opened(message, &demanding).unwrap().0 == whole);
        assert_eq!(remote.names(), ["/out/f"]);
    }
}

#[tokio::test]
async fn o05_nothing_is_sent_to_a_key_that_expired_or_was_revoked() {
    let expiring = OwnKey::generate(&KeyPlan {
        user_id: "partner",
        created_at: now(),
        expires_at: Some(now() + 24.hours()),
    })
    .unwrap();
    let expired = EncryptOptions {
        now: now() + 25.hours(),
        ..sealing_to(as_partner(&Arc::new(OwnKeys::new(expiring))))
    };
    let mut cases = vec![(expired, "expired")];
    if let Some(gnupg) = Gnupg::new() {
        let key = gnupg.make_key("revoked", "future-default", "never");
        gnupg.revoke(&key);
        let revoked = PartnerKey::read(&gnupg.export("revoked")).unwrap();
        cases.push((sealing_to(Arc::new(revoked)), "revoked"));
    }
    for (options, why) in cases {
        // With a suffix and without: neither file is even opened.
        for partial in [rules().partial, None] {
            let mut remote = Scripted::default().with("/out/f", b"old");
            let rules = SendRules {
                partial,
                ..encrypting(options.clone())
            };
            let error = put(
                &mut remote,
                &mut Ours::new(content(SIZE)),
                &rules,
                &mut Attempt::default(),
            )
            .await
            .unwrap_err();
            let ExchangeError::Unencryptable(EncryptError::Key(cause)) = &error else {
                panic!("{error}");
            };
            assert!(
                matches!(
                    (cause, why),
                    (PartnerKeyError::Expired { .. }, "expired")
                        | (PartnerKeyError::Revoked { .. }, "revoked")
                ),
                "{cause:?}"
            );
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(error.permanence(), Permanence::Permanent);
            assert_eq!(remote.content("/out/f"), Some(&b"old"[..]));
            assert_eq!(remote.names(), ["/out/f"]);
            assert_eq!(remote.calls(Verb::Put), 0);
        }
    }
}

#[tokio::test]
async fn an_encrypted_upload_that_broke_off_begins_anew() {
    let theirs = own_keys("partner");
    let whole = content(SIZE);
    let lost = Wrong::At(700_000, RemoteFault::ConnectionLost);
    let mut remote = Scripted::default().failing(Verb::Put, 0, lost);
    let rules = encrypting(sealing_to(as_partner(&theirs)));
    let mut attempt = Attempt::default();
    let mut ours = Ours::new(whole.clone());
    put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap_err();
    assert_eq!(remote.names(), ["/out/f.part"]);
    remote.reconnect();
    let delivered = put(&mut remote, &mut ours, &rules, &mut attempt)
        .await
        .unwrap();
    assert_eq!(delivered.resumed_at, 0);
    assert_eq!(remote.calls(Verb::Remove), 1);
    assert_eq!(remote.names(), ["/out/f"]);
    let message = remote.content("/out/f").unwrap();
    assert!(opened(message, &opening_with(&theirs)).unwrap().0 == whole);
}

#[tokio::test]
async fn an_encrypted_file_whose_rename_was_lost_is_not_encrypted_again() {
    let theirs = own_keys("partner");
    for wrong in [Wrong::LostBefore, Wrong::LostAfter] {
        let mut remote = Scripted::default().failing(Verb::Rename, 0, wrong);
        let rules = encrypting(sealing_to(as_partner(&theirs)));
        let mut attempt = Attempt::default();
        let mut ours = Ours::new(content(SIZE));
        put(&mut remote, &mut ours, &rules, &mut attempt)
            .await
            .unwrap_err();
        assert_eq!(attempt.stage(), Stage::Finishing);
        remote.reconnect();
        let delivered = put(&mut remote, &mut ours, &rules, &mut attempt)
            .await
            .unwrap();
        assert_eq!(remote.calls(Verb::Put), 1);
        assert_eq!(remote.names(), ["/out/f"]);
        assert_eq!(delivered.sha256, sha256(&content(SIZE)));
    }
}
