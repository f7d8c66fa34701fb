//! What an account must show: policies, two proofs, certificates.

use layover_depot::{
    AccountChange, AuthPolicy, CertificateUse, FirstProof, LoginAttempt, LoginError,
    NewCertificate, NewKey, PresentedCertificate, Proof, Protocol, Secret, Session, UserCa,
    UserCertificate, parse_authorized_keys,
};
use layover_depot::{JournalEntry, JournalKind, Outcome};
use ssh_key::PrivateKey;
use ssh_key::certificate::{Builder, CertType};
use ssh_key::private::Ed25519Keypair;

use crate::world::{DAY, PASSWORD, PEER, World, actor, attempt, name, worlds};

/// `2026-11-21T04:00:00Z`, where the world's clock stands.
const NOW_S: u64 = 1_795_233_600;

fn pair(seed: u8) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&[seed; 32]))
}

/// The public half as a line, with options before it.
fn line(options: &str, seed: u8) -> NewKey {
    let public = pair(seed).public_key().to_openssh().unwrap();
    parse_authorized_keys(&format!("{options}{public}"))
        .unwrap()
        .remove(0)
}

fn password() -> Proof {
    Proof::Password(Secret::new(PASSWORD))
}

fn wrong_password() -> Proof {
    Proof::Password(Secret::new("wrong"))
}

fn key(seed: u8) -> Proof {
    Proof::Key {
        blob: line("", seed).blob,
        algorithm: "ssh-ed25519".to_owned(),
    }
}

const KEY: u8 = 1;
const OTHER_KEY: u8 = 2;
const CA: u8 = 3;
const OTHER_CA: u8 = 4;

async fn add_key(world: &World, account: &str, key: NewKey) {
    world
        .depot
        .registry()
        .add_key(&actor(), &name(account), &key)
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
}

async fn set_policy(world: &World, auth: AuthPolicy) {
    let change = AccountChange {
        auth: Some(auth),
        ..AccountChange::default()
    };
    world
        .depot
        .registry()
        .change_account(&actor(), &name("alice"), &change)
        .await
        .unwrap();
}

async fn log_in(world: &World, login: LoginAttempt) -> Result<Session, LoginError> {
    world.depot.gate().login(login).await
}

/// A TLS client certificate.
struct Certified(rcgen::Certificate);

impl Certified {
    /// From the first day of one year to that of another.
    fn new(years: (i32, i32)) -> Self {
        let mut params = rcgen::CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        Self(params.self_signed(&key).unwrap())
    }

    fn proof(&self) -> Proof {
        let chain = [self.0.der().clone()];
        Proof::ClientCertificate(PresentedCertificate::proven(&chain).unwrap())
    }

    /// Gives it to the account; returns its fingerprint.
    async fn trust(&self, world: &World, account: &str) -> String {
        let early = "2020-01-01T00:00:00Z".parse().unwrap();
        let pem = self.0.pem();
        let new = NewCertificate::from_pem(pem.as_bytes(), CertificateUse::Login, early).unwrap();
        let registry = world.depot.registry();
        registry
            .add_certificate(&actor(), &name(account), &new)
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        new.fingerprint
    }
}

fn over_ftps(user: &str, proof: Proof) -> LoginAttempt {
    LoginAttempt {
        protocol: Protocol::Ftps,
        ..attempt(user, proof)
    }
}

/// The first of two proofs.
async fn half(world: &World, proof: Proof) -> FirstProof {
    let answer = log_in(world, attempt("alice", proof)).await;
    let Err(LoginError::OneMore { first }) = answer else {
        unreachable!("{answer:?}");
    };
    *first
}

fn after(first: &FirstProof, proof: Proof) -> LoginAttempt {
    LoginAttempt {
        first: Some(first.clone()),
        ..attempt("alice", proof)
    }
}

async fn last(world: &World) -> JournalEntry {
    world.journal(JournalKind::Login).await.pop().unwrap()
}

async fn reason(world: &World) -> String {
    let entry = last(world).await;
    assert_eq!(entry.outcome, Outcome::Refused, "{entry:?}");
    entry.detail["reason"].as_str().unwrap().to_owned()
}

enum Answer {
    In,
    OneMore,
    Refused(&'static str),
}

#[tokio::test]
async fn every_policy_takes_what_it_names_and_nothing_else() {
    use Answer::{In, OneMore, Refused};
    let wanted = "the account must show a certificate";
    for (auth, protocol, by_password, by_key) in [
        (AuthPolicy::Any, Protocol::Sftp, In, In),
        (
            AuthPolicy::Password,
            Protocol::Sftp,
            In,
            Refused("the account logs in by password alone"),
        ),
        (
            AuthPolicy::Key,
            Protocol::Sftp,
            Refused("the account logs in by key alone"),
            In,
        ),
        (AuthPolicy::KeyAndPassword, Protocol::Sftp, OneMore, OneMore),
        (AuthPolicy::Any, Protocol::Ftps, In, In),
        (
            AuthPolicy::Password,
            Protocol::Ftps,
            In,
            Refused("the account logs in by password alone"),
        ),
        (AuthPolicy::Key, Protocol::Ftps, Refused(wanted), In),
        // The certificate comes first, with the handshake.
        (
            AuthPolicy::KeyAndPassword,
            Protocol::Ftps,
            Refused(wanted),
            OneMore,
        ),
    ] {
        for world in worlds().await {
            add_key(&world, "alice", line("", KEY)).await;
            set_policy(&world, auth).await;
            let certified = match protocol {
                Protocol::Sftp => key(KEY),
                Protocol::Ftps => {
                    let certificate = Certified::new((2026, 2027));
                    certificate.trust(&world, "alice").await;
                    certificate.proof()
                }
            };
            for (proof, expected) in [(password(), &by_password), (certified, &by_key)] {
                let login = LoginAttempt {
                    protocol,
                    ..attempt("alice", proof)
                };
                let answer = log_in(&world, login).await;
                match (expected, answer) {
                    (In, Ok(session)) => session.end("done").await,
                    (OneMore, Err(LoginError::OneMore { .. })) => {}
                    (Refused(expected), Err(LoginError::Refused)) => {
                        assert_eq!(reason(&world).await, *expected);
                    }
                    (_, answer) => panic!("{auth} over {protocol}: {answer:?}"),
                }
            }
            // What the policy does not want is not examined: right and wrong
            // get the same answer.
            let acceptable = world
                .depot
                .gate()
                .key_is_acceptable("alice", PEER, protocol, &line("", KEY).blob)
                .await
                .unwrap();
            assert_eq!(acceptable, !matches!(by_key, Refused(_)), "{auth}");
        }
    }
}

#[tokio::test]
async fn a_tls_certificate_opens_its_account_while_it_is_valid_and_given() {
    for world in worlds().await {
        let gate = world.depot.gate();
        world.depot.refresh().await.unwrap();
        assert!(!gate.wants_client_certificates());
        let certified = Certified::new((2026, 2027));
        let fingerprint = certified.trust(&world, "alice").await;
        assert!(gate.wants_client_certificates());
        let session = log_in(&world, over_ftps("alice", certified.proof()))
            .await
            .unwrap();
        let entered = last(&world).await;
        assert_eq!(entered.detail["method"], "certificate");
        assert_eq!(entered.detail["fingerprint"], *fingerprint);
        for (proof, expected) in [
            (
                Certified::new((2026, 2027)).proof(),
                "certificate not known",
            ),
            {
                let over = Certified::new((2024, 2026));
                over.trust(&world, "alice").await;
                (over.proof(), "certificate expired")
            },
            {
                let ahead = Certified::new((2027, 2028));
                ahead.trust(&world, "alice").await;
                (ahead.proof(), "certificate not yet valid")
            },
        ] {
            let answer = log_in(&world, over_ftps("alice", proof)).await;
            assert!(matches!(answer, Err(LoginError::Refused)), "{answer:?}");
            assert_eq!(reason(&world).await, expected);
        }
        // The networks come before it, as before everything (G01).
        let elsewhere = LoginAttempt {
            peer: "198.51.100.1".parse().unwrap(),
            ..over_ftps("alice", certified.proof())
        };
        assert!(log_in(&world, elsewhere).await.is_err());
        assert_eq!(reason(&world).await, "network not allowed for the account");
        let registry = world.depot.registry();
        let as_people_write = fingerprint.to_uppercase();
        registry
            .remove_certificate(&actor(), &name("alice"), &as_people_write)
            .await
            .unwrap();
        let answer = log_in(&world, over_ftps("alice", certified.proof())).await;
        assert!(matches!(answer, Err(LoginError::Refused)), "{answer:?}");
        assert_eq!(reason(&world).await, "certificate not known");
        // As with keys, it counts from the next login.
        world.depot.refresh().await.unwrap();
        assert!(session.stat(&crate::world::at("/")).await.is_ok());
        session.end("done").await;
    }
}

#[tokio::test]
async fn a_removed_certificate_does_not_count_for_the_second_proof_and_no_name_has_anothers() {
    for world in worlds().await {
        world.add("bob", |_| {}).await;
        set_policy(&world, AuthPolicy::KeyAndPassword).await;
        let certified = Certified::new((2026, 2027));
        let fingerprint = certified.trust(&world, "alice").await;
        let answer = log_in(&world, over_ftps("alice", certified.proof())).await;
        let Err(LoginError::OneMore { first }) = answer else {
            unreachable!("{answer:?}");
        };
        assert!(first.awaits_password());
        let second = || LoginAttempt {
            first: Some((*first).clone()),
            ..over_ftps("alice", password())
        };
        log_in(&world, second()).await.unwrap().end("done").await;
        let entered = last_login(&world).await;
        assert_eq!(entered.detail["after"], "certificate");
        let registry = world.depot.registry();
        registry
            .remove_certificate(&actor(), &name("alice"), &fingerprint)
            .await
            .unwrap();
        let answer = log_in(&world, second()).await;
        assert!(matches!(answer, Err(LoginError::Refused)), "{answer:?}");
        assert_eq!(reason(&world).await, "the account must show a certificate");
        // What was shown for alice is nothing for bob, whose policy is the same.
        let change = AccountChange {
            auth: Some(AuthPolicy::KeyAndPassword),
            ..AccountChange::default()
        };
        registry
            .change_account(&actor(), &name("bob"), &change)
            .await
            .unwrap();
        let foreign = LoginAttempt {
            user: "bob".to_owned(),
            ..second()
        };
        let answer = log_in(&world, foreign).await;
        assert!(matches!(answer, Err(LoginError::Refused)), "{answer:?}");
        assert_eq!(reason(&world).await, "the account must show a certificate");
    }
}

/// The last entry about somebody who came in.
async fn last_login(world: &World) -> JournalEntry {
    let entries = world.journal(JournalKind::Login).await;
    let entered = entries
        .into_iter()
        .rfind(|entry| entry.action == "login" && entry.outcome == Outcome::Ok);
    entered.unwrap()
}

#[tokio::test]
async fn two_proofs_open_in_either_order_and_one_kind_twice_does_not() {
    for world in worlds().await {
        add_key(&world, "alice", line("", KEY)).await;
        add_key(&world, "alice", line("", OTHER_KEY)).await;
        set_policy(&world, AuthPolicy::KeyAndPassword).await;
        for (one, other, method) in [
            (key(KEY), password(), "password"),
            (password(), key(KEY), "publickey"),
        ] {
            let first = half(&world, one.clone()).await;
            assert_eq!(first.awaits_password(), method == "password");
            assert_eq!(last(&world).await.action, "login.first");
            let before = world.journal(JournalKind::Login).await.len();
            // Again, and by the other key: still half.
            for again in [one.clone(), one] {
                let answer = log_in(&world, after(&first, again)).await;
                assert!(matches!(answer, Err(LoginError::OneMore { .. })));
            }
            assert_eq!(
                world.journal(JournalKind::Login).await.len(),
                before,
                "a proof that is repeated fills no journal"
            );
            let session = log_in(&world, after(&first, other)).await.unwrap();
            let entry = last(&world).await;
            assert_eq!(entry.action, "login");
            assert_eq!(entry.detail["method"], method);
            assert_ne!(entry.detail["after"], method);
            session.end("done").await;
        }
        let first = half(&world, key(KEY)).await;
        let answer = log_in(&world, after(&first, key(OTHER_KEY))).await;
        assert!(
            matches!(answer, Err(LoginError::OneMore { .. })),
            "two keys are one proof: {answer:?}"
        );
        let answer = log_in(&world, after(&first, wrong_password())).await;
        assert!(matches!(answer, Err(LoginError::Refused)));
        assert_eq!(reason(&world).await, "wrong password");
        assert_eq!(last(&world).await.detail["after"], "publickey");
        assert!(log_in(&world, after(&first, password())).await.is_ok());
    }
}

#[tokio::test]
async fn a_first_proof_counts_for_its_user_address_and_protocol_alone() {
    for world in worlds().await {
        world
            .add("bob", |new| new.auth = AuthPolicy::KeyAndPassword)
            .await;
        add_key(&world, "alice", line("", KEY)).await;
        add_key(&world, "bob", line("", KEY)).await;
        set_policy(&world, AuthPolicy::KeyAndPassword).await;
        let first = half(&world, key(KEY)).await;
        for login in [
            LoginAttempt {
                user: "bob".to_owned(),
                ..after(&first, password())
            },
            LoginAttempt {
                peer: "192.0.2.8".parse().unwrap(),
                ..after(&first, password())
            },
        ] {
            let answer = log_in(&world, login).await;
            assert!(
                matches!(answer, Err(LoginError::OneMore { .. })),
                "{answer:?}"
            );
        }
        assert!(log_in(&world, after(&first, password())).await.is_ok());
    }
}

#[tokio::test]
async fn a_first_proof_that_was_taken_away_meanwhile_counts_no_more() {
    for world in worlds().await {
        add_key(&world, "alice", line("", KEY)).await;
        add_key(&world, "alice", line("", OTHER_KEY)).await;
        set_policy(&world, AuthPolicy::KeyAndPassword).await;
        let by_key = half(&world, key(KEY)).await;
        let by_password = half(&world, password()).await;
        let registry = world.depot.registry();
        let gone = line("", KEY).fingerprint;
        registry
            .remove_key(&actor(), &name("alice"), &gone)
            .await
            .unwrap();
        let answer = log_in(&world, after(&by_key, password())).await;
        assert!(matches!(answer, Err(LoginError::OneMore { .. })));
        let new = Some(Secret::new("quite another"));
        registry
            .set_password(&actor(), &name("alice"), new)
            .await
            .unwrap();
        let answer = log_in(&world, after(&by_password, key(OTHER_KEY))).await;
        assert!(matches!(answer, Err(LoginError::OneMore { .. })));
    }
}

#[tokio::test]
async fn a_signature_that_is_not_taken_opens_nothing_and_is_named() {
    for world in worlds().await {
        add_key(&world, "alice", line("", KEY)).await;
        for (algorithm, expected) in [
            ("ssh-rsa", "SHA-1 signature (ssh-rsa)"),
            ("ssh-dss", "signature algorithm not accepted"),
        ] {
            let proof = Proof::WeakSignature {
                blob: line("", KEY).blob,
                algorithm: algorithm.to_owned(),
            };
            let answer = log_in(&world, attempt("alice", proof)).await;
            assert!(matches!(answer, Err(LoginError::Refused)));
            assert_eq!(reason(&world).await, expected);
            assert_eq!(last(&world).await.detail["signature"], algorithm);
        }
    }
}

/// A certificate to be.
struct Plan {
    ca: u8,
    kind: CertType,
    principals: &'static [&'static str],
    after_s: u64,
    before_s: u64,
    options: &'static [(&'static str, &'static str)],
}

const GOOD: Plan = Plan {
    ca: CA,
    kind: CertType::User,
    principals: &["somebody", "alice"],
    after_s: NOW_S,
    before_s: NOW_S + 1,
    options: &[],
};

impl Plan {
    fn proof(&self) -> Proof {
        let public = pair(KEY).public_key().clone();
        let mut builder = Builder::new([7; 16], public, self.after_s, self.before_s).unwrap();
        builder.key_id("the id").unwrap();
        builder.serial(42).unwrap();
        builder.cert_type(self.kind).unwrap();
        if self.principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        for principal in self.principals {
            builder.valid_principal(*principal).unwrap();
        }
        for (option, value) in self.options {
            builder.critical_option(*option, *value).unwrap();
        }
        let wire = builder.sign(&pair(self.ca)).unwrap().to_bytes().unwrap();
        Proof::Certificate(UserCertificate::verified(&wire).unwrap())
    }
}

fn trusted() -> Vec<UserCa> {
    vec![UserCa::try_from(line("", CA)).unwrap()]
}

#[tokio::test]
async fn a_certificate_opens_the_account_that_it_names_while_it_is_valid() {
    let cases: [(Plan, Option<&str>); 16] = [
        (GOOD, None),
        (
            Plan {
                ca: OTHER_CA,
                ..GOOD
            },
            Some("certificate of an authority that is not trusted"),
        ),
        (
            Plan {
                kind: CertType::Host,
                ..GOOD
            },
            Some("certificate is for hosts, not for users"),
        ),
        (
            Plan {
                principals: &["somebody"],
                ..GOOD
            },
            Some("certificate does not name the account"),
        ),
        (
            Plan {
                principals: &["Alice", "alice ", "ali*"],
                ..GOOD
            },
            Some("certificate does not name the account"),
        ),
        (
            Plan {
                principals: &[],
                ..GOOD
            },
            Some("certificate names nobody"),
        ),
        (
            Plan {
                after_s: NOW_S + 1,
                before_s: NOW_S + 2,
                ..GOOD
            },
            Some("certificate not yet valid"),
        ),
        (
            Plan {
                after_s: NOW_S - 9,
                before_s: NOW_S,
                ..GOOD
            },
            Some("certificate expired"),
        ),
        (
            Plan {
                after_s: 0,
                before_s: i64::MAX.cast_unsigned(),
                ..GOOD
            },
            None,
        ),
        (
            Plan {
                options: &[("source-address", "192.0.2.0/24")],
                ..GOOD
            },
            None,
        ),
        (
            Plan {
                options: &[(
                    "source-address",
                    "198.51.100.1,2001:db8::/32,::ffff:192.0.2.7",
                )],
                ..GOOD
            },
            None,
        ),
        (
            Plan {
                options: &[("source-address", "198.51.100.0/24,2001:db8::/32")],
                ..GOOD
            },
            Some("certificate not allowed from this address"),
        ),
        (
            Plan {
                options: &[("source-address", "host.example")],
                ..GOOD
            },
            Some("certificate's source-address cannot be read"),
        ),
        (
            Plan {
                options: &[("force-command", "internal-sftp")],
                ..GOOD
            },
            Some("certificate demands `force-command`, which is not enforced here"),
        ),
        (
            Plan {
                options: &[("verify-required", "")],
                ..GOOD
            },
            Some("certificate demands `verify-required`, which is not enforced here"),
        ),
        (
            Plan {
                options: &[("a\u{1b}[31m", "x")],
                ..GOOD
            },
            Some("certificate demands `a[31m`, which is not enforced here"),
        ),
    ];
    for world in worlds().await {
        world.depot.gate().trust(trusted());
        for (plan, expected) in &cases {
            let answer = log_in(&world, attempt("alice", plan.proof())).await;
            match (expected, answer) {
                (None, Ok(session)) => {
                    let entry = last(&world).await;
                    assert_eq!(entry.detail["certificate"], "the id");
                    assert_eq!(entry.detail["serial"], 42);
                    assert_eq!(entry.detail["authority"], line("", CA).fingerprint);
                    assert_eq!(entry.detail["fingerprint"], line("", KEY).fingerprint);
                    session.end("done").await;
                }
                (Some(expected), Err(LoginError::Refused)) => {
                    assert_eq!(reason(&world).await, *expected);
                }
                (expected, answer) => panic!("{expected:?}: {answer:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_source_address_covers_a_mapped_ipv4_peer_and_an_ipv6_one() {
    for (peer, options, allowed) in [
        ("::ffff:192.0.2.7", &[("source-address", "192.0.2.7")], true),
        ("2001:db8::7", &[("source-address", "2001:db8::/64")], true),
        (
            "2001:db8:0:1::7",
            &[("source-address", "2001:db8::/64")],
            false,
        ),
    ] {
        for world in worlds().await {
            world.depot.gate().trust(trusted());
            world
                .add("carol", |new| {
                    new.networks = vec![crate::world::network("any")];
                })
                .await;
            let plan = Plan {
                principals: &["carol"],
                options,
                ..GOOD
            };
            let login = LoginAttempt {
                peer: peer.parse().unwrap(),
                ..attempt("carol", plan.proof())
            };
            assert_eq!(log_in(&world, login).await.is_ok(), allowed, "{peer}");
        }
    }
}

#[tokio::test]
async fn an_accounts_own_authority_vouches_for_the_names_of_its_line_and_no_other_account() {
    for (options, plan, expected) in [
        ("cert-authority ", GOOD, None),
        ("cert-authority,principals=\"x,somebody\" ", GOOD, None),
        (
            "cert-authority,principals=\"x\" ",
            GOOD,
            Some("certificate does not name the account"),
        ),
        (
            "cert-authority,from=\"198.51.100.0/24\" ",
            GOOD,
            Some("the authority's key is not allowed from this address"),
        ),
        (
            "cert-authority,expiry-time=\"20261121\" ",
            GOOD,
            Some("the authority's key has expired"),
        ),
        (
            "",
            GOOD,
            Some("certificate of an authority that is not trusted"),
        ),
    ] {
        for world in worlds().await {
            world.add("bob", |_| {}).await;
            add_key(&world, "alice", line(options, CA)).await;
            let answer = log_in(&world, attempt("alice", plan.proof())).await;
            assert_eq!(answer.is_ok(), expected.is_none(), "{options}: {answer:?}");
            if let Some(expected) = expected {
                assert_eq!(reason(&world).await, expected, "{options}");
            }
            let of_bob = Plan {
                principals: &["bob", "x"],
                ..GOOD
            };
            let answer = log_in(&world, attempt("bob", of_bob.proof())).await;
            assert!(matches!(answer, Err(LoginError::Refused)));
        }
    }
}

#[tokio::test]
async fn an_authoritys_key_itself_opens_nothing() {
    for world in worlds().await {
        add_key(&world, "alice", line("cert-authority ", CA)).await;
        let answer = log_in(&world, attempt("alice", key(CA))).await;
        assert!(matches!(answer, Err(LoginError::Refused)));
        assert_eq!(reason(&world).await, "key not authorized");
    }
}

#[tokio::test]
async fn a_certificate_is_a_key_to_every_policy() {
    for (auth, expected) in [
        (AuthPolicy::Any, true),
        (AuthPolicy::Key, true),
        (AuthPolicy::Password, false),
    ] {
        for world in worlds().await {
            world.depot.gate().trust(trusted());
            set_policy(&world, auth).await;
            let answer = log_in(&world, attempt("alice", GOOD.proof())).await;
            assert_eq!(answer.is_ok(), expected, "{auth}");
        }
    }
    for world in worlds().await {
        world.depot.gate().trust(trusted());
        set_policy(&world, AuthPolicy::KeyAndPassword).await;
        let first = half(&world, GOOD.proof()).await;
        assert!(log_in(&world, after(&first, password())).await.is_ok());
        let first = half(&world, GOOD.proof()).await;
        world.clock.advance(DAY);
        let answer = log_in(&world, after(&first, password())).await;
        assert!(
            matches!(answer, Err(LoginError::OneMore { .. })),
            "the certificate is over by now"
        );
    }
}

// G03: which keys a client is made to sign with tells neither accounts nor
// which of them have an authority.
#[tokio::test]
async fn g03_where_certificates_count_every_offer_is_worth_a_signature() {
    for world in worlds().await {
        let blob = line("", OTHER_KEY).blob;
        let offers = async || {
            let mut answers = Vec::new();
            for user in ["alice", "nobody", "no/such name\n"] {
                let gate = world.depot.gate();
                let offer = gate.key_is_acceptable(user, PEER, Protocol::Sftp, &blob);
                answers.push(offer.await.unwrap());
            }
            answers
        };
        assert_eq!(offers().await, [false; 3]);
        add_key(&world, "alice", line("cert-authority ", CA)).await;
        assert_eq!(offers().await, [true; 3]);
        let gone = line("", CA).fingerprint;
        world
            .depot
            .registry()
            .remove_key(&actor(), &name("alice"), &gone)
            .await
            .unwrap();
        world.depot.refresh().await.unwrap();
        assert_eq!(offers().await, [false; 3]);
        world.depot.gate().trust(trusted());
        assert_eq!(offers().await, [true; 3]);
        assert!(
            log_in(&world, attempt("alice", key(OTHER_KEY)))
                .await
                .is_err()
        );
    }
}

#[test]
fn bytes_that_are_no_certificate_are_refused() {
    for bytes in [&b""[..], b"\0\0\0\x0bssh-ed25519", &[0xff; 64]] {
        assert!(UserCertificate::verified(bytes).is_err());
    }
}
