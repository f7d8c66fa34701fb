//! What Layover is not: a shell, a tunnel, or a server for yesterday's cryptography (S04).

use layover_tests::openssh;
use layover_tests::ssh::{Ask, Offer};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Setup};

fn serve() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    layover.start();
    (layover, account)
}

#[test]
fn s04_only_the_sftp_subsystem_is_served() {
    let (layover, account) = serve();
    for ask in [
        Ask::Exec,
        Ask::Shell,
        Ask::Pty,
        Ask::Subsystem("netconf"),
        Ask::Subsystem(""),
        Ask::Agent,
        Ask::X11,
        Ask::Env,
    ] {
        let ssh = account.ssh(&layover);
        let mut channel = ssh.session().expect("session channel");
        assert!(!channel.ask(ask), "{ask:?} was granted");
    }
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
}

#[test]
fn s04_forwarding_is_refused_in_every_direction() {
    let (layover, account) = serve();
    let mut ssh = account.ssh(&layover);
    ssh.direct_tcpip(layover.sftp_address())
        .expect_err("direct-tcpip was granted");
    ssh.tcpip_forward().expect_err("tcpip-forward was granted");
    ssh.sftp().expect("the connection is still good for SFTP");
}

#[test]
fn s04_openssh_gets_no_shell_and_no_command() {
    let (layover, account) = serve();
    let login = account.by_key(&layover);
    for arguments in [&["id"][..], &[], &["scp", "-t", "/"]] {
        let ran = openssh::ssh(&login, &["-T"], arguments, PATIENCE);
        assert!(!ran.ok(), "{ran}");
        assert!(!ran.stdout.contains("uid="), "{ran}");
    }
}

#[test]
fn s04_channels_of_one_connection_are_capped_and_a_closed_one_makes_room() {
    /// As SECURITY.md says.
    const MAX_CHANNELS: usize = 8;
    let (layover, account) = serve();
    let ssh = account.ssh(&layover);
    let mut channels: Vec<_> = (0..MAX_CHANNELS)
        .map(|number| {
            ssh.session()
                .unwrap_or_else(|why| panic!("{number}: {why}"))
        })
        .collect();
    ssh.session().expect_err("one more than the limit");
    channels.pop().expect("a channel").close();
    wait::until("room for another channel", PATIENCE, || ssh.session().ok());
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put on another connection");
}

#[test]
fn s04_only_modern_algorithms_are_offered() {
    let (layover, _) = serve();
    let offer = Offer::of(layover.sftp_address());
    assert_eq!(offer.host_keys, ["ssh-ed25519"]);
    assert_eq!(
        offer.compression,
        ["none"],
        "compression before authentication"
    );
    assert!(
        offer.kex.iter().any(|name| name == "mlkem768x25519-sha256"),
        "{:?}",
        offer.kex
    );
    assert!(
        offer
            .kex
            .iter()
            .any(|name| name.starts_with("curve25519-sha256")),
        "{:?}",
        offer.kex
    );
    assert!(
        offer
            .kex
            .iter()
            .any(|name| name == "kex-strict-s-v00@openssh.com"),
        "{:?}",
        offer.kex
    );
    for name in &offer.kex {
        assert!(!name.contains("nistp") && !name.contains("sha1"), "{name}");
        assert!(!name.starts_with("diffie-hellman"), "{name}");
    }
    for name in &offer.ciphers {
        assert!(
            name.contains("gcm") || name.contains("ctr") || name.contains("chacha"),
            "{name}"
        );
    }
    for name in &offer.macs {
        assert!(name.contains("-etm@openssh.com"), "{name}");
        assert!(!name.contains("sha1") && !name.contains("md5"), "{name}");
    }
}

#[test]
fn s04_openssh_cannot_talk_the_server_into_old_algorithms() {
    let (layover, account) = serve();
    let login = account.by_key(&layover);
    for option in [
        "KexAlgorithms=diffie-hellman-group14-sha1",
        "KexAlgorithms=ecdh-sha2-nistp256",
        "Ciphers=aes128-cbc",
        "HostKeyAlgorithms=ssh-rsa",
        "HostKeyAlgorithms=ecdsa-sha2-nistp256",
    ] {
        let ran = openssh::sftp(&login, &["-o", option], "pwd\n", PATIENCE);
        assert!(!ran.ok(), "{option}: {ran}");
        assert!(ran.stderr.contains("no matching"), "{option}: {ran}");
    }
}
