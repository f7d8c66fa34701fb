//! Against OpenSSH's sshd.

use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use super::openssh_server::OpenSsh;
use super::*;
use crate::fault::{RemoteFault, Step};
use crate::remote::{EntryKind, OnExisting, Precision, Silent};
use crate::sftp::{Fingerprint, KnownKeys, Proof};

async fn connected(server: &OpenSsh) -> SftpRemote {
    SftpRemote::connect(&server.options()).await.unwrap()
}

#[tokio::test]
async fn a_file_goes_up_and_comes_back_byte_for_byte() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    let file = path(server.remote("f"));
    for bytes in [0, 1, 255 * 1024, 255 * 1024 + 1, 20_000_000] {
        let sent = content(bytes);
        let counted = Counted::default();
        let acknowledged = remote
            .put(&file, 0, &mut sent.as_slice(), &counted)
            .await
            .unwrap();
        assert_eq!(acknowledged.bytes, bytes as u64);
        assert_eq!(counted.bytes(), bytes as u64);
        assert!(std::fs::read(server.local("f")).unwrap() == sent, "{bytes}");

        let (mut got, counted) = (Vec::new(), Counted::default());
        let received = remote.get(&file, 0, &mut got, &counted).await.unwrap();
        assert_eq!(received.bytes, bytes as u64);
        assert_eq!(counted.bytes(), bytes as u64);
        assert!(got == sent, "{bytes}");
    }
    Box::new(remote).close().await.unwrap();
}

#[tokio::test]
async fn fifty_transfers_go_over_one_connection() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    for number in 0..50 {
        let file = path(server.remote(&format!("f{number}")));
        let sent = content(1000 * number);
        remote
            .put(&file, 0, &mut sent.as_slice(), &Silent)
            .await
            .unwrap();
        let mut got = Vec::new();
        remote.get(&file, 0, &mut got, &Silent).await.unwrap();
        assert!(got == sent, "{number}");
    }
    assert_eq!(listing(&mut remote, &server.remote("")).await.len(), 50);
}

#[tokio::test]
async fn transfers_continue_at_an_offset() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    let file = path(server.remote("f"));
    let whole = content(3_000_000);
    std::fs::write(server.local("f"), &whole[..1_000_000]).unwrap();
    remote
        .put(&file, 1_000_000, &mut &whole[1_000_000..], &Silent)
        .await
        .unwrap();
    assert!(std::fs::read(server.local("f")).unwrap() == whole);

    let mut got = whole[..1_234_567].to_vec();
    let received = remote
        .get(&file, 1_234_567, &mut got, &Silent)
        .await
        .unwrap();
    assert_eq!(received.bytes, 3_000_000 - 1_234_567);
    assert!(got == whole);
}

#[tokio::test]
async fn an_upload_is_continued_at_the_files_end_and_nowhere_else() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    std::fs::write(server.local("f"), b"0123456789").unwrap();
    for offset in [9, 11] {
        let error = remote
            .put(
                &path(server.remote("f")),
                offset,
                &mut &b"more"[..],
                &Silent,
            )
            .await
            .unwrap_err();
        assert_eq!(
            error.fault,
            RemoteFault::WrongSize {
                expected: offset,
                got: 10
            }
        );
    }
    assert_eq!(std::fs::read(server.local("f")).unwrap(), b"0123456789");
}

#[tokio::test]
async fn s03_names_that_are_no_text_come_and_go_byte_for_byte() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    let raw = b"r\xe9sum\xe9 \xff.csv";
    let mut file = server.remote("");
    file.extend_from_slice(raw);
    remote
        .put(&path(&file), 0, &mut &b"x"[..], &Silent)
        .await
        .unwrap();
    let on_disk = std::fs::read_dir(server.local(""))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(on_disk.file_name().as_bytes(), raw);
    let listed = listing(&mut remote, &server.remote("")).await;
    let [Listed::Entry(entry)] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!(entry.name.as_bytes(), raw);
    remote.remove(&path(&file)).await.unwrap();
    assert!(!on_disk.path().exists());
}

#[tokio::test]
async fn a_folder_is_listed_with_kind_size_and_time() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    std::fs::write(server.local("f"), b"12345").unwrap();
    std::os::unix::fs::symlink("f", server.local("link")).unwrap();
    remote.make_dir(&path(server.remote("d"))).await.unwrap();
    let mut seen: Vec<_> = listing(&mut remote, &server.remote(""))
        .await
        .into_iter()
        .map(|listed| match listed {
            Listed::Entry(entry) => entry,
            refused @ Listed::Refused { .. } => panic!("{refused:?}"),
        })
        .collect();
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    let kinds: Vec<_> = seen
        .iter()
        .map(|entry| (entry.name.to_string(), entry.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("d".to_owned(), EntryKind::Directory),
            ("f".to_owned(), EntryKind::File),
            ("link".to_owned(), EntryKind::Other),
        ]
    );
    assert_eq!(seen[1].size_bytes, Some(5));
    assert_eq!(seen[1].modified.unwrap().precision, Precision::Second);
    for entry in &seen {
        let file = path(server.remote(&entry.name.to_string()));
        assert_eq!(remote.stat(&file).await.unwrap().as_ref(), Some(entry));
    }
}

#[tokio::test]
async fn a_long_listing_is_whole_and_can_be_left() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    for number in 0..1500 {
        std::fs::write(server.local(&format!("{number:04}")), b"").unwrap();
    }
    let mut names: Vec<_> = listing(&mut remote, &server.remote("")).await;
    assert_eq!(names.len(), 1500);
    names.dedup();
    assert_eq!(names.len(), 1500);

    let mut visited = 0;
    remote
        .list(&path(server.remote("")), &mut |_| {
            visited += 1;
            std::ops::ControlFlow::Break(())
        })
        .await
        .unwrap();
    assert_eq!(visited, 1);
    assert_eq!(listing(&mut remote, &server.remote("")).await.len(), 1500);
}

#[tokio::test]
async fn s06_a_rename_does_what_was_asked_when_the_target_exists() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    assert!(remote.abilities().replace_by_rename);
    let (from, to) = (path(server.remote("from")), path(server.remote("to")));
    std::fs::write(server.local("from"), b"new").unwrap();
    std::fs::write(server.local("to"), b"old").unwrap();
    let error = remote
        .rename(&from, &to, OnExisting::Fail)
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::AlreadyExists);
    assert_eq!(std::fs::read(server.local("to")).unwrap(), b"old");
    assert_eq!(std::fs::read(server.local("from")).unwrap(), b"new");

    for on_existing in [OnExisting::Replace, OnExisting::DeleteFirst] {
        remote.rename(&from, &to, on_existing).await.unwrap();
        assert_eq!(std::fs::read(server.local("to")).unwrap(), b"new");
        assert!(!server.local("from").exists());
        std::fs::rename(server.local("to"), server.local("from")).unwrap();
        std::fs::write(server.local("to"), b"old").unwrap();
    }
    std::fs::remove_file(server.local("to")).unwrap();
    remote.rename(&from, &to, OnExisting::Fail).await.unwrap();
    assert_eq!(std::fs::read(server.local("to")).unwrap(), b"new");
}

// A server without posix-rename: OpenSSH with that request switched off.
#[tokio::test]
async fn o02_without_replacing_renames_the_target_goes_first_only_when_allowed() {
    let Some(server) = OpenSsh::start_with("Subsystem sftp internal-sftp -P posix-rename").await
    else {
        return;
    };
    let mut remote = connected(&server).await;
    let (from, to) = (path(server.remote("from")), path(server.remote("to")));
    std::fs::write(server.local("from"), b"new").unwrap();
    std::fs::write(server.local("to"), b"old").unwrap();
    assert!(!remote.abilities().replace_by_rename);
    let error = remote
        .rename(&from, &to, OnExisting::Replace)
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::AlreadyExists);
    assert_eq!(std::fs::read(server.local("to")).unwrap(), b"old");

    remote
        .rename(&from, &to, OnExisting::DeleteFirst)
        .await
        .unwrap();
    assert_eq!(std::fs::read(server.local("to")).unwrap(), b"new");

    let error = remote
        .rename(&from, &to, OnExisting::DeleteFirst)
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::NotFound);
    assert_eq!(std::fs::read(server.local("to")).unwrap(), b"new");
}

#[tokio::test]
async fn what_is_not_there_is_named_and_the_connection_goes_on() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut remote = connected(&server).await;
    let none = path(server.remote("none"));
    assert_eq!(remote.stat(&none).await.unwrap(), None);
    let mut sink = Vec::new();
    let error = remote.get(&none, 0, &mut sink, &Silent).await.unwrap_err();
    assert_eq!(
        (error.step, error.fault.clone()),
        (Step::Download, RemoteFault::NotFound)
    );
    assert!(!error.ends_connection());
    let error = remote.remove(&none).await.unwrap_err();
    assert_eq!(error.fault, RemoteFault::NotFound);
    let error = remote
        .put(&path(server.remote("none/f")), 0, &mut &b""[..], &Silent)
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::NotFound);
    let error = remote
        .list(&none, &mut |_| std::ops::ControlFlow::Continue(()))
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::NotFound);
    let error = remote.make_dir(&path(server.remote(""))).await.unwrap_err();
    assert_eq!(error.fault, RemoteFault::AlreadyExists);
    assert_eq!(remote.sha256(&none).await.unwrap(), None);
    assert_eq!(listing(&mut remote, &server.remote("")).await, []);
}

#[tokio::test]
async fn a_host_key_is_learned_only_by_asking_first() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let mut options = server.options();
    options.trust = HostTrust::LearnOnFirstUse;
    let error = SftpRemote::connect(&options).await.unwrap_err();
    let RemoteFault::HostKeyUnknown { shown } = error.fault else {
        panic!("{error}");
    };
    assert_eq!(shown, server.fingerprint(0).to_string());
    let confirmed = Fingerprint::parse(&shown).unwrap();
    options.trust = HostTrust::Known(KnownKeys::fingerprints([confirmed]).unwrap());
    SftpRemote::connect(&options).await.unwrap();
}

#[tokio::test]
async fn what_was_agreed_upon_is_told() {
    let config = "KexAlgorithms curve25519-sha256\nCiphers aes256-gcm@openssh.com\n\
                  Subsystem sftp internal-sftp";
    let Some(server) = OpenSsh::start_with(config).await else {
        return;
    };
    let agreement = connected(&server).await.agreement().unwrap();
    assert_eq!(agreement.host_key, server.fingerprint(0));
    assert_eq!(agreement.host_key_algorithm, "ssh-ed25519");
    assert_eq!(agreement.key_exchange, "curve25519-sha256");
    assert_eq!(agreement.cipher, "aes256-gcm@openssh.com");
}

#[tokio::test]
async fn each_of_a_servers_host_keys_may_be_the_pinned_one() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    for number in 0..server.host_keys.len() {
        let mut options = server.options();
        let print = server.fingerprint(number);
        options.trust = HostTrust::Known(KnownKeys::fingerprints([print]).unwrap());
        SftpRemote::connect(&options).await.unwrap();

        let public = server.host_keys[number].public_key().to_openssh().unwrap();
        let line = format!("[127.0.0.1]:{} {public}", server.port);
        options.trust = HostTrust::Known(KnownKeys::known_hosts(&line).unwrap());
        SftpRemote::connect(&options).await.unwrap();
    }
}

#[tokio::test]
async fn a_new_key_pair_is_tried_first_and_the_old_one_until_it_is_installed() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let (old, new) = (server.key.clone(), new_key());
    let mut options = server.options();
    options.credential = Credential::Key(KeyPairs {
        current: new.clone(),
        previous: Some(old.clone()),
    });
    let remote = SftpRemote::connect(&options).await.unwrap();
    assert_eq!(remote.proofs(), [Proof::PreviousKey]);

    server.authorize(&[&old, &new]);
    let remote = SftpRemote::connect(&options).await.unwrap();
    assert_eq!(remote.proofs(), [Proof::CurrentKey]);

    server.authorize(&[]);
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert_eq!(
        (error.step, error.fault),
        (Step::Login, RemoteFault::LoginRefused)
    );
    assert_eq!(
        error.server_said.as_deref(),
        Some("it still takes publickey")
    );
}

#[tokio::test]
async fn an_rsa_key_logs_in_with_sha_2() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let rsa = KeyPair::generate(KeyKind::Rsa4096, "layover").unwrap();
    server.authorize(&[&rsa]);
    let mut options = server.options();
    options.credential = key(&rsa);
    let remote = SftpRemote::connect(&options).await.unwrap();
    assert_eq!(remote.proofs(), [Proof::CurrentKey]);
}

#[tokio::test]
async fn algorithms_that_are_not_common_are_named() {
    for (offer, kind, compatible_too) in [
        (
            "KexAlgorithms diffie-hellman-group14-sha1",
            "key exchange",
            false,
        ),
        ("Ciphers aes128-cbc", "cipher", false),
        (
            "KexAlgorithms diffie-hellman-group14-sha256",
            "key exchange",
            true,
        ),
        ("KexAlgorithms ecdh-sha2-nistp256", "key exchange", true),
    ] {
        let config = format!("{offer}\nSubsystem sftp internal-sftp");
        let Some(server) = OpenSsh::start_with(&config).await else {
            return;
        };
        let mut options = server.options();
        let error = SftpRemote::connect(&options).await.unwrap_err();
        let RemoteFault::NoCommonAlgorithm { detail } = &error.fault else {
            panic!("{offer}: {error}");
        };
        assert!(detail.starts_with(kind), "{detail}");
        let offered = offer.split(' ').nth(1).unwrap();
        assert!(detail.contains(offered), "{detail}");
        options.algorithms = Algorithms::Compatible;
        let connected = SftpRemote::connect(&options).await.is_ok();
        assert_eq!(connected, compatible_too, "{offer}");
    }
}

#[tokio::test]
async fn nothing_listening_and_no_such_source_address_are_named() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let mut options = options(closed, "u", password("p"), HostTrust::LearnOnFirstUse);
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert_eq!(
        (error.step, error.fault),
        (Step::Connect, RemoteFault::ConnectionRefused)
    );
    options.source_address = Some(IpAddr::from([203, 0, 113, 7]).into());
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert!(
        matches!(error.fault, RemoteFault::Settings { .. }),
        "{error}"
    );
    options.source_address = Some(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]).into());
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert!(
        matches!(error.fault, RemoteFault::Settings { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn the_source_address_is_the_one_that_was_asked_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options(port, "u", password("p"), HostTrust::LearnOnFirstUse);
    options.source_address = Some(IpAddr::from([127, 0, 0, 9]).into());
    let connecting = tokio::spawn(async move { SftpRemote::connect(&options).await.map(drop) });
    let (stream, from) = listener.accept().await.unwrap();
    assert_eq!(from.ip().to_string(), "127.0.0.9");
    drop(stream);
    let error = connecting.await.unwrap().unwrap_err();
    assert_eq!(
        (error.step, error.fault),
        (Step::Handshake, RemoteFault::ConnectionLost)
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut options = options(port, "u", password("p"), HostTrust::LearnOnFirstUse);
    options.timeouts.login = Duration::from_millis(200);
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert_eq!(
        (error.step, error.fault),
        (
            Step::Handshake,
            RemoteFault::TimedOut {
                after: Duration::from_millis(200)
            }
        )
    );
}
