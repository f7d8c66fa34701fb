//! Logins with a TLS client certificate.

use layover_depot::{AuthPolicy, Outcome, timer};
use rustls::version::{TLS12, TLS13};

use crate::fixture::{OTHER, PASSWORD, PATIENCE, USER, World};
use crate::tls::tests::Certified;

/// What the journal says of logins: action, outcome, method, reason.
async fn logins(world: &World) -> Vec<(String, Outcome, String, Option<String>)> {
    let mut entries = world.entries("login").await;
    entries.extend(world.entries("login.first").await);
    entries.sort_by_key(|entry| entry.id);
    let word = |value: &serde_json::Value| value.as_str().map(ToOwned::to_owned);
    entries
        .iter()
        .map(|entry| {
            (
                entry.action.clone(),
                entry.outcome,
                word(&entry.detail["method"]).unwrap_or_default(),
                entry.detail.get("reason").and_then(word),
            )
        })
        .collect()
}

fn refused(method: &str, reason: &str) -> (String, Outcome, String, Option<String>) {
    let reason = Some(reason.to_owned());
    (
        "login".to_owned(),
        Outcome::Refused,
        method.to_owned(),
        reason,
    )
}

fn entered(method: &str) -> (String, Outcome, String, Option<String>) {
    ("login".to_owned(), Outcome::Ok, method.to_owned(), None)
}

#[tokio::test]
async fn a_certificate_is_enough_where_a_key_would_be() {
    for (version, auth) in [
        (&TLS12, AuthPolicy::Key),
        (&TLS13, AuthPolicy::Key),
        (&TLS13, AuthPolicy::Any),
    ] {
        let world = World::new().await;
        let certified = Certified::new("partner");
        world.trust(USER, &certified).await;
        world.set_auth(USER, auth).await;
        let mut client = world.greeted(world.tls_with(version, &certified)).await;
        let (code, text) = client.ask(&format!("USER {USER}")).await;
        assert_eq!(code, 232, "{version:?} {auth}: {text}");
        assert!(text.contains("Files are deleted"), "{text}");
        // As a client does that sends it without waiting.
        assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 202);
        assert_eq!(client.ask("PROT P").await.0, 200);
        assert_eq!(client.ask("TYPE I").await.0, 200);
        assert_eq!(client.put("STOR file", b"content").await.0, 226);
        assert_eq!(world.content("file").as_deref(), Some(&b"content"[..]));
        assert_eq!(logins(&world).await, [entered("certificate")]);
        let login = &world.entries("login").await[0].detail;
        let fingerprint = login["fingerprint"].as_str().unwrap();
        assert_eq!(fingerprint.len(), 64);
        assert_eq!(login["client_certificate"], fingerprint);
        assert_eq!(login["certificate"], "CN=partner");
        assert_eq!(world.entries("upload").await[0].detail["data"], "bound");
        // REIN forgets who it was, and the certificate names somebody again.
        assert_eq!(client.ask("REIN").await.0, 220);
        assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 503);
        assert_eq!(client.ask(&format!("USER {USER}")).await.0, 232);
    }
}

#[tokio::test]
async fn certificate_and_password_are_both_needed_where_both_are_asked_for() {
    let world = World::new().await;
    let certified = Certified::new("partner");
    world.trust(USER, &certified).await;
    world.set_auth(USER, AuthPolicy::KeyAndPassword).await;
    let with = world.tls_with(&TLS13, &certified);
    let mut client = world.greeted(with.clone()).await;
    let user = format!("USER {USER}");
    assert_eq!(client.ask(&user).await.0, 331);
    assert_eq!(client.ask("PASS wrong").await.0, 530);
    assert_eq!(client.ask(&user).await.0, 331);
    assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 230);
    let first = (
        "login.first".to_owned(),
        Outcome::Ok,
        "certificate".to_owned(),
        None,
    );
    assert_eq!(
        logins(&world).await,
        [
            first.clone(),
            refused("password", "wrong password"),
            entered("password")
        ]
    );
    assert_eq!(
        world.entries("login").await[1].detail["after"],
        "certificate"
    );
    // What the certificate has opened is not open for another name.
    let mut client = world.greeted(with).await;
    assert_eq!(client.ask(&user).await.0, 331);
    assert_eq!(client.ask(&format!("USER {OTHER}")).await.0, 331);
    world.set_auth(OTHER, AuthPolicy::KeyAndPassword).await;
    assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 530);
    // The password alone is not even looked at.
    let mut client = world.greeted(world.tls_of(&TLS13)).await;
    assert_eq!(client.ask(&user).await.0, 331);
    assert_eq!(client.ask(&format!("PASS {PASSWORD}")).await.0, 530);
    assert_eq!(
        logins(&world).await.pop().unwrap(),
        refused("password", "the account must show a certificate")
    );
}

// G01
#[tokio::test]
async fn g01_a_certificate_that_opens_nothing_is_answered_like_none() {
    let world = World::new().await;
    let (known, unknown) = (Certified::new("partner"), Certified::new("partner"));
    world.trust(USER, &known).await;
    world.set_auth(USER, AuthPolicy::Key).await;
    let ask = async |config, user: &str| {
        let mut client = world.greeted(config).await;
        let named = client.ask(&format!("USER {user}")).await;
        (named, client.ask(&format!("PASS {PASSWORD}")).await)
    };
    let reference = ask(world.tls_of(&TLS13), "nobody").await;
    assert_eq!((reference.0.0, reference.1.0), (331, 530));
    for (config, user, reasons) in [
        (
            world.tls_of(&TLS13),
            USER,
            &["the account must show a certificate"][..],
        ),
        (
            world.tls_with(&TLS13, &unknown),
            USER,
            &[
                "certificate not known",
                "the account must show a certificate",
            ],
        ),
        (
            world.tls_with(&TLS13, &known),
            "nobody",
            &["unknown account", "unknown account"],
        ),
    ] {
        let before = logins(&world).await.len();
        assert_eq!(ask(config, user).await, reference, "{user} {reasons:?}");
        let told: Vec<_> = logins(&world)
            .await
            .split_off(before)
            .into_iter()
            .filter_map(|(.., reason)| reason)
            .collect();
        assert_eq!(told, reasons);
    }
    // Somebody else's certificate does not keep a password from opening.
    let with = world.tls_with(&TLS13, &known);
    let (named, passed) = ask(with, OTHER).await;
    assert_eq!((named.0, passed.0), (331, 230));
    world.set_auth(OTHER, AuthPolicy::Password).await;
    world.trust(OTHER, &unknown).await;
    let (named, passed) = ask(world.tls_with(&TLS13, &unknown), OTHER).await;
    assert_eq!((named.0, passed.0), (331, 230));
    let told = logins(&world).await;
    let reason = "the account logs in by password alone";
    assert_eq!(told[told.len() - 2], refused("certificate", reason));
}

#[tokio::test]
async fn a_certificate_is_tried_for_a_few_names_and_no_more() {
    let world = World::new().await;
    world.trust(USER, &Certified::new("known")).await;
    let unknown = world.tls_with(&TLS13, &Certified::new("unknown"));
    let mut client = world.greeted(unknown).await;
    for _ in 0..5 {
        assert_eq!(client.ask(&format!("USER {USER}")).await.0, 331);
    }
    assert_eq!(client.ask(&format!("USER {USER}")).await.0, 421);
    client.expect_end().await;
}

#[tokio::test]
async fn nobody_is_asked_for_a_certificate_that_opens_nothing() {
    let world = World::new().await;
    let certified = Certified::new("partner");
    let with = || world.tls_with(&TLS13, &certified);
    world.logged_in_as(USER, with()).await;
    let login = &world.entries("login").await[0];
    assert_eq!(login.detail.get("client_certificate"), None);
    world.trust(OTHER, &certified).await;
    world.logged_in_as(USER, with()).await;
    let presented =
        |entry: &layover_depot::JournalEntry| entry.detail.contains_key("client_certificate");
    let logins = world.entries("login").await;
    assert_eq!(logins.iter().filter(|entry| presented(entry)).count(), 2);
}

#[tokio::test]
async fn a_certificate_that_no_handshake_can_use_is_in_the_journal() {
    for version in [&TLS12, &TLS13] {
        let world = World::new().await;
        world.trust(USER, &Certified::new("partner")).await;
        let stolen = Certified::stolen();
        world.refused(world.tls_with(version, &stolen)).await;
        let journalled = async {
            loop {
                let told = logins(&world).await;
                if !told.is_empty() {
                    return told;
                }
                tokio::task::yield_now().await;
            }
        };
        let told = timer::timeout(PATIENCE, journalled).await.unwrap();
        assert_eq!(told.len(), 1, "{told:?}");
        let (action, outcome, method, reason) = &told[0];
        assert_eq!((action.as_str(), *outcome), ("login", Outcome::Refused));
        assert_eq!(method, "certificate");
        let reason = reason.as_deref().unwrap();
        assert!(reason.contains("certificate cannot be used"), "{reason}");
        let entries = world.entries("login").await;
        assert!(entries[0].peer.is_some_and(|peer| peer.is_loopback()));
    }
}
