//! Proofs of who we are, against a server that asks for them in its own ways.

use russh::MethodKind;
use russh::keys::ssh_key::PublicKey;

use super::scripted_server::{Logins, Script, Scripted};
use super::*;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::sftp::Proof;

fn public(pair: &KeyPair) -> PublicKey {
    pair.key().public_key().clone()
}

async fn log_in(
    logins: Logins,
    credential: Credential,
) -> (Result<Vec<Proof>, RemoteError>, Vec<&'static str>) {
    let server = Scripted::start_with(Script::default(), logins).await;
    let mut options = server.options();
    options.credential = credential;
    let result = SftpRemote::connect(&options)
        .await
        .map(|remote| remote.proofs().to_vec());
    let tried = server.tried.lock().unwrap().clone();
    (result, tried)
}

#[tokio::test]
async fn a_password_logs_in() {
    let (proofs, tried) = log_in(Logins::default(), password("right")).await;
    assert_eq!(proofs, Ok(vec![Proof::Password]));
    assert_eq!(tried, ["password"]);
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_what_the_server_takes_is_named() {
    let (proofs, tried) = log_in(Logins::default(), password("wrong")).await;
    let error = proofs.unwrap_err();
    assert_eq!(
        (error.step, &error.fault),
        (Step::Login, &RemoteFault::LoginRefused)
    );
    assert_eq!(
        error.server_said.as_deref(),
        Some("it still takes password")
    );
    assert_eq!(tried, ["password"]);
}

#[tokio::test]
async fn a_proof_that_the_server_does_not_take_is_not_sent() {
    let logins = Logins {
        methods: vec![MethodKind::PublicKey],
        ..Logins::default()
    };
    let (proofs, tried) = log_in(logins, password("right")).await;
    assert_eq!(proofs.unwrap_err().fault, RemoteFault::LoginRefused);
    assert_eq!(tried, Vec::<&str>::new());
}

#[tokio::test]
async fn keyboard_interactive_gets_the_password_where_password_is_not_offered() {
    for questions in [
        vec![vec![("Password: ", false)]],
        // PAM closes with a question without prompts.
        vec![vec![("Password: ", false)], vec![]],
    ] {
        let logins = Logins {
            methods: vec![MethodKind::KeyboardInteractive],
            questions,
            ..Logins::default()
        };
        let (proofs, _) = log_in(logins.clone(), password("right")).await;
        assert_eq!(proofs, Ok(vec![Proof::Password]));
        let (proofs, _) = log_in(logins, password("wrong")).await;
        assert_eq!(proofs.unwrap_err().fault, RemoteFault::LoginRefused);
    }
}

#[tokio::test]
async fn a_server_that_asks_for_more_than_a_password_is_named() {
    for questions in [
        vec![
            vec![("Password: ", false)],
            vec![("One-time code: ", false)],
        ],
        vec![vec![("Password: ", false), ("Code: ", false)]],
        vec![vec![("Your name: ", true)]],
    ] {
        let logins = Logins {
            methods: vec![MethodKind::KeyboardInteractive],
            questions,
            ..Logins::default()
        };
        let (proofs, _) = log_in(logins, password("right")).await;
        let error = proofs.unwrap_err();
        assert!(
            matches!(error.fault, RemoteFault::Unsupported { .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn endless_questions_are_left() {
    let logins = Logins {
        methods: vec![MethodKind::KeyboardInteractive],
        questions: vec![Vec::new(); 20],
        ..Logins::default()
    };
    let (proofs, tried) = log_in(logins, password("right")).await;
    assert!(matches!(
        proofs.unwrap_err().fault,
        RemoteFault::OverLimit { limit: 4, .. }
    ));
    assert!(tried.len() <= 6, "{tried:?}");
}

#[tokio::test]
async fn a_server_that_wants_key_and_password_gets_both() {
    let pair = new_key();
    let logins = Logins {
        methods: vec![MethodKind::PublicKey],
        key: Some(public(&pair)),
        password_after_key: true,
        ..Logins::default()
    };
    let keys = KeyPairs {
        current: pair.clone(),
        previous: None,
    };
    let both = Credential::Both {
        keys,
        password: Zeroizing::new("right".to_owned()),
    };
    let (proofs, _) = log_in(logins.clone(), both).await;
    assert_eq!(proofs, Ok(vec![Proof::CurrentKey, Proof::Password]));

    let (proofs, _) = log_in(logins, key(&pair)).await;
    let error = proofs.unwrap_err();
    assert_eq!(error.fault, RemoteFault::LoginRefused);
    assert_eq!(
        error.server_said.as_deref(),
        Some("it still takes password")
    );
}

#[tokio::test]
async fn a_password_never_stands_in_for_a_refused_key() {
    let pair = new_key();
    let both = Credential::Both {
        keys: KeyPairs {
            current: pair.clone(),
            previous: None,
        },
        password: Zeroizing::new("right".to_owned()),
    };
    let logins = Logins {
        methods: vec![MethodKind::PublicKey, MethodKind::Password],
        ..Logins::default()
    };
    let (proofs, tried) = log_in(logins.clone(), both.clone()).await;
    assert_eq!(proofs.unwrap_err().fault, RemoteFault::LoginRefused);
    assert_eq!(tried, ["key"]);
    let no_keys = Logins {
        methods: vec![MethodKind::Password],
        ..Logins::default()
    };
    let (proofs, tried) = log_in(no_keys, both.clone()).await;
    assert_eq!(proofs.unwrap_err().fault, RemoteFault::LoginRefused);
    assert!(tried.is_empty(), "{tried:?}");
    let logins = Logins {
        key: Some(public(&pair)),
        ..logins
    };
    let (proofs, _) = log_in(logins, both).await;
    assert_eq!(proofs, Ok(vec![Proof::CurrentKey]));
}

#[tokio::test]
async fn nothing_is_sent_to_a_server_whose_host_key_changed() {
    let server = Scripted::start(Script::default()).await;
    let other = Scripted::start(Script::default()).await;
    let mut options = server.options();
    options.trust = other.trust();
    let error = SftpRemote::connect(&options).await.unwrap_err();
    let RemoteFault::HostKeyChanged { pinned, shown } = &error.fault else {
        panic!("{error}");
    };
    assert!(pinned.starts_with("SHA256:") && shown.starts_with("SHA256:"));
    assert_ne!(pinned, shown);
    assert!(server.tried.lock().unwrap().is_empty());

    options.trust = HostTrust::LearnOnFirstUse;
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert_eq!(
        error.fault,
        RemoteFault::HostKeyUnknown {
            shown: shown.clone()
        }
    );
    assert!(server.tried.lock().unwrap().is_empty());
}
