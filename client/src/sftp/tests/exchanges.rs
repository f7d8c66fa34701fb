//! Whole files both ways with OpenSSH's sshd: cut, silent, full, refusing.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::cuts::cutting_proxy;
use super::openssh_server::{OpenSsh, skip};
use super::*;
use crate::exchange::{
    Attempt, ExchangeError, FetchRules, Leftovers, LocalExisting, LocalFile, LocalTarget,
    PartialSuffix, SendRules, Verified, fetch, send,
};
use crate::fault::{Permanence, RemoteFault};
use crate::remote::{OnExisting, Silent};

const FILE_BYTES: usize = 2_000_000;
/// Random places at which the connection is cut, for each direction.
const CUTS: usize = 10;

fn rules() -> SendRules {
    SendRules {
        partial: Some(PartialSuffix::new(".part").unwrap()),
        on_existing: OnExisting::Replace,
        pgp: None,
        leftovers: Leftovers::Resume,
    }
}

/// Places from within the handshake to behind the file's end.
fn places() -> Vec<u64> {
    let mut random = [0_u8; 4 * 2 * CUTS];
    getrandom::fill(&mut random).unwrap();
    random
        .chunks_exact(4)
        .map(|four| {
            let number = u32::from_le_bytes(four.try_into().unwrap());
            1_000 + u64::from(number) % (FILE_BYTES as u64 + 30_000)
        })
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

async fn ours(file: &Path) -> LocalFile {
    LocalFile::open(file.to_owned()).await.unwrap()
}

/// The server through a proxy that cuts; the server itself without a place.
async fn connect(server: &OpenSsh, cut: Option<u64>) -> Result<SftpRemote, ExchangeError> {
    let mut options = server.options();
    let Some(cut) = cut else {
        return Ok(SftpRemote::connect(&options).await?);
    };
    let (port, proxy) = cutting_proxy(server.address(), cut).await;
    options.port = port;
    let remote = SftpRemote::connect(&options).await?;
    // It lives as long as the connection that it has accepted.
    tokio::spawn(async move { proxy.await.ok() });
    Ok(remote)
}

#[tokio::test]
async fn files_that_are_cut_at_random_arrive_whole_and_once() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let whole = content(FILE_BYTES);
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ours");
    std::fs::write(&file, &whole).unwrap();
    let places = places();
    for (number, pair) in places.chunks(2).enumerate() {
        let what = format!("cut at {pair:?}");
        let name = format!("f{number}");
        let there = path(server.remote(&name));
        let cuts = || pair.iter().copied().map(Some).chain([None]);

        let (mut attempt, mut outgoing) = (Attempt::default(), ours(&file).await);
        let mut delivered = 0;
        for cut in cuts() {
            let sent = match connect(&server, cut).await {
                Ok(mut remote) => {
                    send(
                        &mut remote,
                        &mut outgoing,
                        &there,
                        &rules(),
                        &mut attempt,
                        &Silent,
                    )
                    .await
                }
                Err(error) => Err(error),
            };
            match sent {
                Ok(_) => delivered += 1,
                Err(error) => {
                    assert_eq!(error.permanence(), Permanence::Transient, "{what}: {error}")
                }
            }
            if delivered == 1 {
                break;
            }
        }
        assert_eq!(delivered, 1, "{what}");
        assert!(
            std::fs::read(server.local(&name)).unwrap() == whole,
            "{what}"
        );

        let back = home.path().join(&name);
        let mut target = LocalTarget::new(back.clone(), LocalExisting::Keep);
        let mut fetched = 0;
        for cut in cuts() {
            let got = match connect(&server, cut).await {
                Ok(mut remote) => {
                    fetch(
                        &mut remote,
                        &there,
                        &mut target,
                        &FetchRules::default(),
                        &Silent,
                    )
                    .await
                }
                Err(error) => Err(error),
            };
            match got {
                Ok(_) => fetched += 1,
                Err(error) => {
                    assert_eq!(error.permanence(), Permanence::Transient, "{what}: {error}");
                    assert!(!back.exists(), "{what}");
                }
            }
            if fetched == 1 {
                break;
            }
        }
        assert_eq!(fetched, 1, "{what}");
        assert!(std::fs::read(&back).unwrap() == whole, "{what}");
    }
    let mut expected: Vec<_> = (0..CUTS).map(|number| format!("f{number}")).collect();
    assert_eq!(
        names(&server.local("")),
        expected,
        "nothing is left over there"
    );
    expected.push("ours".to_owned());
    assert_eq!(names(home.path()), expected, "nothing is left over here");
}

#[tokio::test]
async fn a_server_with_another_host_key_gets_nothing_and_the_right_one_goes_on() {
    let (Some(server), Some(stranger)) = (OpenSsh::start().await, OpenSsh::start().await) else {
        return;
    };
    let file = server.local("../ours");
    std::fs::write(&file, content(FILE_BYTES)).unwrap();
    let there = path(server.remote("f"));
    let (mut attempt, mut outgoing) = (Attempt::default(), ours(&file).await);
    let mut remote = connect(&server, Some(1_500_000)).await.unwrap();
    let cut = send(
        &mut remote,
        &mut outgoing,
        &there,
        &rules(),
        &mut attempt,
        &Silent,
    )
    .await
    .unwrap_err();

    let mut options = server.options();
    options.port = stranger.port;
    let error = SftpRemote::connect(&options).await.unwrap_err();
    assert!(
        matches!(error.fault, RemoteFault::HostKeyChanged { .. }),
        "{error}"
    );
    assert_eq!(error.permanence(), Permanence::Permanent);
    assert!(names(&stranger.local("")).is_empty());

    let mut remote = connect(&server, None).await.unwrap();
    let delivered = send(
        &mut remote,
        &mut outgoing,
        &there,
        &rules(),
        &mut attempt,
        &Silent,
    )
    .await
    .unwrap();
    let ExchangeError::Remote(cut) = cut else {
        panic!("{cut:?}");
    };
    let arrived_to = cut.arrived_to.expect("an upload that was cut");
    // What else had arrived is compared before it goes on behind it.
    assert!(
        (arrived_to..=1_500_000).contains(&delivered.resumed_at),
        "it goes on where it was cut: {delivered:?}"
    );
    assert_eq!(delivered.verified, Verified::Size);
    assert!(std::fs::read(server.local("f")).unwrap() == content(FILE_BYTES));
    assert_eq!(names(&server.local("")), ["f"]);
}

#[tokio::test]
async fn o02_a_server_that_denies_renaming_keeps_the_old_file_and_nothing_of_ours() {
    let subsystem = "Subsystem sftp internal-sftp -P rename,posix-rename";
    let Some(server) = OpenSsh::start_with(subsystem).await else {
        return;
    };
    let file = server.local("../ours");
    std::fs::write(&file, content(FILE_BYTES)).unwrap();
    let there = path(server.remote("f"));
    for old in [None, Some("old")] {
        if let Some(old) = old {
            std::fs::write(server.local("f"), old).unwrap();
        }
        for on_existing in [OnExisting::Fail, OnExisting::Replace] {
            if old.is_some() && on_existing == OnExisting::Fail {
                continue;
            }
            let rules = SendRules {
                on_existing,
                ..rules()
            };
            let mut remote = connect(&server, None).await.unwrap();
            let mut attempt = Attempt::default();
            let error = send(
                &mut remote,
                &mut ours(&file).await,
                &there,
                &rules,
                &mut attempt,
                &Silent,
            )
            .await
            .unwrap_err();
            assert!(
                matches!(
                    error,
                    ExchangeError::RenameRefused { .. } | ExchangeError::CannotReplace { .. }
                ),
                "{error}"
            );
            assert_eq!(error.permanence(), Permanence::Permanent);
            let kept = std::fs::read_to_string(server.local("f")).ok();
            assert_eq!(kept.as_deref(), old, "{on_existing:?}");
            assert!(!server.local("f.part").exists(), "{on_existing:?}");
        }
    }
}

/// A file system of 1 MiB; it is gone with the value.
struct Small(std::path::PathBuf);

impl Small {
    fn at(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder.to_owned()));
        }
        skip("a small file system cannot be mounted: root is needed");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().ok();
    }
}

#[tokio::test]
async fn a_server_that_is_full_keeps_what_it_had_and_says_so() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let Some(_small) = Small::at(&server.local("")) else {
        return;
    };
    std::fs::write(server.local("f"), "old").unwrap();
    let file = server.local("../ours");
    std::fs::write(&file, content(FILE_BYTES)).unwrap();
    let there = path(server.remote("f"));
    let rules = SendRules {
        leftovers: Leftovers::Remove,
        ..rules()
    };
    let mut remote = connect(&server, None).await.unwrap();
    let mut attempt = Attempt::default();
    let error = send(
        &mut remote,
        &mut ours(&file).await,
        &there,
        &rules,
        &mut attempt,
        &Silent,
    )
    .await
    .unwrap_err();
    // SFTP has no status for it in version 3: OpenSSH says "Failure".
    assert!(error.to_string().starts_with("uploading failed"), "{error}");
    assert_eq!(names(&server.local("")), ["f"]);
    assert_eq!(std::fs::read_to_string(server.local("f")).unwrap(), "old");
    // The connection is as good as before.
    std::fs::write(&file, "small").unwrap();
    send(
        &mut remote,
        &mut ours(&file).await,
        &there,
        &rules,
        &mut attempt,
        &Silent,
    )
    .await
    .unwrap();
    assert_eq!(std::fs::read_to_string(server.local("f")).unwrap(), "small");
}

/// Relays, and hands on nothing of the server's any more after so many bytes.
async fn silent_proxy(target: SocketAddr, after_bytes: u64) -> (u16, AbortOnDropHandle<()>) {
    use tokio::io::AsyncReadExt;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let relaying = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(target).await.unwrap();
            let (mut from_client, mut to_client) = client.split();
            let (from_server, mut to_server) = server.split();
            let mut from_server = from_server.take(after_bytes);
            let up = copy(&mut from_client, &mut to_server);
            let down = async {
                copy(&mut from_server, &mut to_client).await.ok();
                std::future::pending::<()>().await;
            };
            tokio::select! { _ = up => {}, () = down => {} }
        }
    });
    (port, AbortOnDropHandle::new(relaying))
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_in_time_and_tried_again() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let whole = content(FILE_BYTES);
    std::fs::write(server.local("f"), &whole).unwrap();
    let there = path(server.remote("f"));
    let (port, _proxy) = silent_proxy(server.address(), 1_000_000).await;
    let mut options = server.options();
    options.port = port;
    options.timeouts.stall = Duration::from_secs(1);
    options.timeouts.request = Duration::from_secs(1);
    let mut remote = SftpRemote::connect(&options).await.unwrap();
    let back = server.local("../back");
    let mut target = LocalTarget::new(back.clone(), LocalExisting::Keep);
    let rules = FetchRules::default();
    let error = fetch(&mut remote, &there, &mut target, &rules, &Silent)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, ExchangeError::Remote(error)
            if matches!(error.fault, RemoteFault::TimedOut { .. })),
        "{error}"
    );
    assert_eq!(error.permanence(), Permanence::Transient);
    assert!(!back.exists());
    let mut remote = connect(&server, None).await.unwrap();
    let fetched = fetch(&mut remote, &there, &mut target, &rules, &Silent)
        .await
        .unwrap();
    assert!(fetched.resumed_at > 0);
    assert!(std::fs::read(&back).unwrap() == whole);
}

#[tokio::test]
async fn names_go_both_ways_byte_for_byte() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("ours");
    for name in [
        &b"a file"[..],
        b" leading",
        b"-rf",
        b"\xc3\xa9t\xc3\xa9",
        b"\xff\xfe",
        b"a\\b",
        b"\"quoted\"",
        b"*?[x]",
        b"e\x1b[31m",
    ] {
        std::fs::write(&file, name).unwrap();
        let local = server.local("").join(std::ffi::OsStr::from_bytes(name));
        let there = path(local.as_os_str().as_bytes());
        let mut remote = connect(&server, None).await.unwrap();
        let mut attempt = Attempt::default();
        send(
            &mut remote,
            &mut ours(&file).await,
            &there,
            &rules(),
            &mut attempt,
            &Silent,
        )
        .await
        .unwrap();
        assert_eq!(std::fs::read(&local).unwrap(), name);
        let name = crate::path::RemoteName::new(crate::path::ServerSystem::Unix, name).unwrap();
        let mut target = LocalTarget::in_folder(home.path(), &name, LocalExisting::Keep);
        fetch(
            &mut remote,
            &there,
            &mut target,
            &FetchRules::default(),
            &Silent,
        )
        .await
        .unwrap();
        assert_eq!(std::fs::read(target.path()).unwrap(), name.as_bytes());
    }
    assert_eq!(names(home.path()).len(), 10);
    assert_eq!(names(&server.local("")).len(), 9);
}

const LONG_BYTES: u64 = 2 << 30;
/// What a transfer may take above what the process had before it, in bytes.
const MOST_MEMORY_BYTES: u64 = 64 << 20;

/// The most memory that this process ever had, in bytes.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// In a process of its own: what other tests took would count as idle.
const ALONE: &str = "LAYOVER_TEST_ALONE";

#[tokio::test]
#[ignore = "long: moves 2 GiB each way"]
async fn two_gibibytes_take_little_memory() {
    if std::env::var_os(ALONE).is_none() {
        let this = std::thread::current().name().unwrap().to_owned();
        let alone = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &this, "--ignored", "--nocapture"])
            .env(ALONE, "yes")
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success(), "{told}");
        assert!(told.contains("1 passed"), "{told}");
        return print!("{told}");
    }
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (file, back) = (home.path().join("ours"), home.path().join("back"));
    std::fs::File::create(&file)
        .unwrap()
        .set_len(LONG_BYTES)
        .unwrap();
    let there = path(server.remote("f"));
    let mut remote = connect(&server, None).await.unwrap();
    let idle = peak_bytes();
    let mut attempt = Attempt::default();
    let delivered = send(
        &mut remote,
        &mut ours(&file).await,
        &there,
        &rules(),
        &mut attempt,
        &Silent,
    )
    .await
    .unwrap();
    let sent = peak_bytes();
    let mut target = LocalTarget::new(back, LocalExisting::Keep);
    let fetched = fetch(
        &mut remote,
        &there,
        &mut target,
        &FetchRules::default(),
        &Silent,
    )
    .await
    .unwrap();
    let got = peak_bytes();
    println!("VmHWM: {idle} idle, {sent} after the upload, {got} after the download");
    assert_eq!(delivered.sha256, fetched.sha256);
    assert_eq!(fetched.content_bytes, LONG_BYTES);
    assert!(got - idle <= MOST_MEMORY_BYTES, "{} bytes more", got - idle);
}
