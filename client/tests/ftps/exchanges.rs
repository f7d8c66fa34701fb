//! Whole files both ways with real servers: cut wherever it may be, refused, and behind a
//! certificate that is another one.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use layover_client::exchange::{
    Attempt, ExchangeError, FetchRules, Leftovers, LocalExisting, LocalFile, LocalTarget,
    PartialSuffix, SendRules, fetch, send,
};
use layover_client::ftps::{Ftps, Security, Trust};
use layover_client::{OnExisting, Permanence, RemoteFault, Silent};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::partners::{content, path};
use crate::servers::{PASSIVE_PORTS, Server, Setup, Software, own_address};
use crate::skip::skip;

const FILE_BYTES: usize = 1_500_000;
/// Random places at which everything is cut, for each direction.
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
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// What may still go through.
struct Budget {
    bytes: AtomicI64,
    is_gone: CancellationToken,
}

/// An address in front of the server: the control port and every data port. When so many
/// bytes went through all of them together, all are cut, and nothing goes through any more.
struct Cutting {
    address: IpAddr,
    _relaying: JoinSet<()>,
}

impl Cutting {
    async fn before(server: SocketAddr, after_bytes: u64) -> Self {
        let address = IpAddr::V4(own_address());
        let left = Arc::new(Budget {
            bytes: AtomicI64::new(after_bytes as i64),
            is_gone: CancellationToken::new(),
        });
        let mut relaying = JoinSet::new();
        for port in PASSIVE_PORTS.chain([server.port()]) {
            let listener = TcpListener::bind((address, port)).await.unwrap();
            let left = Arc::clone(&left);
            let to = SocketAddr::new(server.ip(), port);
            relaying.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(relay(client, to, Arc::clone(&left)));
                }
            });
        }
        Self {
            address,
            _relaying: relaying,
        }
    }
}

async fn relay(mut client: TcpStream, to: SocketAddr, left: Arc<Budget>) {
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
    let (mut is_up, mut is_down) = (true, true);
    while is_up || is_down {
        let moved = tokio::select! {
            biased;
            () = left.is_gone.cancelled() => return,
            read = client.read(&mut up), if is_up => match read {
                Ok(0) => { is_up = false; server.shutdown().await.map(|()| 0) }
                Ok(bytes) => server.write_all(&up[..bytes]).await.map(|()| bytes),
                Err(error) => Err(error),
            },
            read = server.read(&mut down), if is_down => match read {
                Ok(0) => { is_down = false; client.shutdown().await.map(|()| 0) }
                Ok(bytes) => client.write_all(&down[..bytes]).await.map(|()| bytes),
                Err(error) => Err(error),
            },
        };
        let Ok(bytes) = moved else { return };
        if left.bytes.fetch_sub(bytes as i64, Ordering::Relaxed) <= bytes as i64 {
            left.is_gone.cancel();
        }
    }
}

async fn connect(server: &Server, cut: Option<&Cutting>) -> Result<Ftps, ExchangeError> {
    let mut options = server.options();
    options.tls.trust = Trust::Pin(server.leaf.fingerprint());
    if let Some(cut) = cut {
        options.host = cut.address.to_string();
    }
    Ok(Ftps::connect(options).await?)
}

async fn ours(file: &Path) -> LocalFile {
    LocalFile::open(file.to_owned()).await.unwrap()
}

/// Sends and fetches, cut at each place of `pair` and then not at all.
async fn cut_both_ways(server: &Server, home: &Path, number: usize, pair: &[u64]) {
    let whole = content(FILE_BYTES, 5);
    let file = home.join("ours");
    let what = format!("cut at {pair:?}");
    let name = format!("f{number}");
    let there = path(name.as_bytes());
    let address = server.address();

    let (mut attempt, mut outgoing) = (Attempt::default(), ours(&file).await);
    let mut delivered = 0;
    for cut in pair.iter().map(Some).chain([None]) {
        let cutting = match cut {
            Some(cut) => Some(Cutting::before(address, *cut).await),
            None => None,
        };
        let sent = match connect(server, cutting.as_ref()).await {
            Ok(mut ftp) => {
                send(
                    &mut ftp,
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
            Err(error) => assert_eq!(error.permanence(), Permanence::Transient, "{what}: {error}"),
        }
        if delivered == 1 {
            break;
        }
    }
    assert_eq!(delivered, 1, "{what}");
    assert!(
        fs::read(server.files.join(&name)).unwrap() == whole,
        "{what}"
    );

    let back = home.join(&name);
    let mut target = LocalTarget::new(back.clone(), LocalExisting::Keep);
    let mut fetched = 0;
    for cut in pair.iter().map(Some).chain([None]) {
        let cutting = match cut {
            Some(cut) => Some(Cutting::before(address, *cut).await),
            None => None,
        };
        let got = match connect(server, cutting.as_ref()).await {
            Ok(mut ftp) => {
                fetch(
                    &mut ftp,
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
    assert!(fs::read(&back).unwrap() == whole, "{what}");
}

async fn files_that_are_cut_at_random_arrive_whole_and_once(software: Software) {
    let setup = Setup {
        has_passive_range: true,
        ..Setup::new(software, Security::Explicit)
    };
    let server = match Server::start(setup) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("ours"), content(FILE_BYTES, 5)).unwrap();
    for (number, pair) in places().chunks(2).enumerate() {
        cut_both_ways(&server, home.path(), number, pair).await;
    }
    let mut expected: Vec<_> = (0..CUTS).map(|number| format!("f{number}")).collect();
    assert_eq!(names(&server.files), expected, "nothing is left over there");
    expected.push("ours".to_owned());
    assert_eq!(names(home.path()), expected, "nothing is left over here");
}

#[tokio::test(flavor = "multi_thread")]
async fn vsftpd_cut_at_random() {
    files_that_are_cut_at_random_arrive_whole_and_once(Software::Vsftpd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proftpd_cut_at_random() {
    files_that_are_cut_at_random_arrive_whole_and_once(Software::ProFtpd).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: pure-ftpd takes seconds for each of some sixty connections"]
async fn pure_ftpd_cut_at_random() {
    files_that_are_cut_at_random_arrive_whole_and_once(Software::PureFtpd).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o02_vsftpd_that_denies_renaming_keeps_the_old_file() {
    let setup = Setup {
        overwrites: false,
        ..Setup::new(Software::Vsftpd, Security::Explicit)
    };
    let server = match Server::start(setup) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let home = TempDir::new().unwrap();
    let file = home.path().join("ours");
    fs::write(&file, content(FILE_BYTES, 5)).unwrap();
    fs::write(server.files.join("f"), "old").unwrap();
    let mut ftp = connect(&server, None).await.unwrap();
    let error = send(
        &mut ftp,
        &mut ours(&file).await,
        &path(b"f"),
        &rules(),
        &mut Attempt::default(),
        &Silent,
    )
    .await
    .unwrap_err();
    let is_told = matches!(
        error,
        ExchangeError::RenameRefused { .. } | ExchangeError::CannotReplace { .. }
    );
    assert!(is_told, "{error}");
    assert_eq!(error.permanence(), Permanence::Permanent);
    assert!(error.remedy().is_some());
    assert_eq!(fs::read_to_string(server.files.join("f")).unwrap(), "old");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_another_certificate_gets_nothing() {
    let setup = Setup::new(Software::PureFtpd, Security::Explicit);
    let (server, stranger) = match (Server::start(setup), Server::start(setup)) {
        (Ok(server), Ok(stranger)) => (server, stranger),
        (Err(reason), _) | (_, Err(reason)) => return skip(&reason),
    };
    let mut options = stranger.options();
    options.tls.trust = Trust::Pin(server.leaf.fingerprint());
    let error = Ftps::connect(options).await.err().unwrap();
    assert!(
        matches!(error.fault, RemoteFault::CertificatePin { .. }),
        "{error}"
    );
    assert_eq!(error.permanence(), Permanence::Permanent);
    let mut options = stranger.options();
    options.tls.trust = server.options().tls.trust;
    let error = Ftps::connect(options).await.err().unwrap();
    let is_told = matches!(
        error.fault,
        RemoteFault::CertificateUntrusted | RemoteFault::CertificateInvalid { .. }
    );
    assert!(is_told, "{error}");
    assert_eq!(error.permanence(), Permanence::Permanent);
    assert!(names(&stranger.files).is_empty());
}
