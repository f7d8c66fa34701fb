//! What a refused login costs (G03).

use std::sync::atomic::Ordering;

use super::{Gate, GateOptions, LoginAttempt, LoginError, Proof};
use crate::holdings::fixture::World;
use crate::password::Passwords;
use crate::store::NewAccountRow;
use crate::{AuthPolicy, NewNetwork, Protocol, Protocols, Secret};

const PASSWORD: &str = "correct horse";

fn from(network: &str) -> Vec<NewNetwork> {
    vec![NewNetwork {
        network: network.parse().unwrap(),
        reason: None,
        until: None,
    }]
}

fn attempt(user: &str, proof: Proof) -> LoginAttempt {
    LoginAttempt {
        user: user.to_owned(),
        peer: "192.0.2.7".parse().unwrap(),
        protocol: Protocol::Sftp,
        proof,
        first: None,
        client_version: None,
        detail: serde_json::Map::new(),
    }
}

/// Argon2 costs tens of milliseconds, so that one computation more or less is
/// what a peer could measure: each refused password costs exactly one, whatever
/// the reason, and each key none.
#[tokio::test]
async fn g03_a_refused_password_costs_one_hash_whatever_the_reason() {
    let world = World::new().await;
    let passwords = Passwords::new();
    let options = GateOptions::open(1);
    let gate = Gate::new(world.holdings.clone(), passwords.clone(), options);
    let hash = passwords.hash(Secret::new(PASSWORD)).await.unwrap();
    let add = async |name: &str, tweak: fn(&mut NewAccountRow)| {
        world.add_account(name, tweak).await;
        let name = name.parse().unwrap();
        let account = world.holdings.store.account(&name).await.unwrap();
        let id = account.unwrap().id;
        let entry = crate::journal::NewEntry::new(
            world.holdings.now(),
            crate::journal::JournalKind::Admin,
            "account.password",
            &world.holdings.node,
        );
        let set = world.holdings.store.set_password(id, Some(&hash), &entry);
        set.await.unwrap();
    };
    add("known", |row| row.networks = from("192.0.2.0/24")).await;
    add("distant", |row| row.networks = from("198.51.100.0/24")).await;
    add("keyed", |row| {
        row.networks = from("any");
        row.auth = AuthPolicy::Key;
    })
    .await;
    add("ftps", |row| {
        row.networks = from("any");
        row.protocols = Protocols::of(&[Protocol::Ftps]);
    })
    .await;
    add("both", |row| {
        row.networks = from("any");
        row.auth = AuthPolicy::KeyAndPassword;
    })
    .await;
    world
        .add_account("without", |row| row.networks = from("any"))
        .await;
    let too_long = "x".repeat(crate::MAX_PASSWORD_BYTES + 1);
    for user in [
        "known",
        "distant",
        "keyed",
        "ftps",
        "both",
        "without",
        "nobody",
        "no/such name",
        "",
    ] {
        for password in ["wrong", "", &too_long] {
            let before = passwords.checks.load(Ordering::Acquire);
            let proof = Proof::Password(Secret::new(password));
            let answer = gate.login(attempt(user, proof)).await;
            assert!(matches!(answer, Err(LoginError::Refused)), "{user}");
            let cost = passwords.checks.load(Ordering::Acquire) - before;
            assert_eq!(cost, 1, "{user:?}");
        }
        let before = passwords.checks.load(Ordering::Acquire);
        let proof = Proof::Key {
            blob: vec![1, 2, 3],
            algorithm: "ssh-ed25519".to_owned(),
        };
        let answer = gate.login(attempt(user, proof)).await;
        assert!(matches!(answer, Err(LoginError::Refused)), "{user}");
        assert_eq!(passwords.checks.load(Ordering::Acquire), before, "{user:?}");
    }
    // A right password that the policy does not want costs no more and no less.
    for user in ["distant", "keyed", "ftps"] {
        let before = passwords.checks.load(Ordering::Acquire);
        let proof = Proof::Password(Secret::new(PASSWORD));
        let answer = gate.login(attempt(user, proof)).await;
        assert!(matches!(answer, Err(LoginError::Refused)), "{user}");
        assert_eq!(passwords.checks.load(Ordering::Acquire), before + 1);
    }
}
