//! What must work against every server: one story, told for each.

use std::io::Cursor;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Context, Poll};

use layover_client::ftps::{Ftps, FtpsOptions, Security, TlsVersions, Transfer};
use layover_client::{
    EntryKind, Listed, OnExisting, Precision, Remote, RemoteError, RemoteFault, RemotePath, Silent,
};
use tokio::io::AsyncWrite;

use crate::servers::{Server, Setup, Software};
use crate::skip::skip;

/// A folder of the server's that can be written to.
const FOLDER: &str = "/files";

pub(crate) fn path(name: &[u8]) -> RemotePath {
    RemotePath::new(&[FOLDER.as_bytes(), b"/", name].concat()).unwrap()
}

/// Bytes that do not compress and differ from one `seed` to the next.
pub(crate) fn content(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect()
}

pub(crate) async fn put(ftp: &mut Ftps, to: &RemotePath, bytes: &[u8]) -> Result<u64, RemoteError> {
    ftp.put(to, 0, &mut Cursor::new(bytes), &Silent)
        .await
        .map(|sent| sent.bytes)
}

pub(crate) async fn get(ftp: &mut Ftps, from: &RemotePath) -> Result<Vec<u8>, RemoteError> {
    let mut bytes = Vec::new();
    let received = ftp.get(from, 0, &mut bytes, &Silent).await?;
    assert_eq!(received.bytes, bytes.len() as u64);
    Ok(bytes)
}

pub(crate) async fn names(
    ftp: &mut Ftps,
    folder: &RemotePath,
) -> Result<Vec<Vec<u8>>, RemoteError> {
    let mut names = Vec::new();
    ftp.list(folder, &mut |listed| {
        match listed {
            Listed::Entry(entry) => names.push(entry.name.as_bytes().to_vec()),
            Listed::Refused { raw, why } => panic!("{why}: {}", String::from_utf8_lossy(&raw)),
        }
        ControlFlow::Continue(())
    })
    .await?;
    names.sort();
    Ok(names)
}

/// A sink that breaks at the first byte.
struct Broken;

impl AsyncWrite for Broken {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Err(std::io::Error::other("the disk is full")))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The story.
async fn story(server: &Server, options: FtpsOptions) {
    let mut ftp = Ftps::connect(options.clone()).await.unwrap();
    transfers(&mut ftp).await;
    names_and_times(&mut ftp, server).await;
    renames_and_removals(&mut ftp).await;
    what_is_not_there(&mut ftp).await;
    broken_off(&mut ftp, server.software(), &options).await;
    Box::new(ftp).close().await.unwrap();
}

async fn transfers(ftp: &mut Ftps) {
    for length in [0, 1, 70_000, 3_000_001] {
        let bytes = content(length, 1);
        let file = path(b"file.bin");
        assert_eq!(put(ftp, &file, &bytes).await.unwrap(), length as u64);
        assert!(get(ftp, &file).await.unwrap() == bytes, "{length} bytes");
        let entry = ftp.stat(&file).await.unwrap().unwrap();
        assert_eq!(entry.size_bytes, Some(length as u64));
        assert_eq!(entry.kind, EntryKind::File);
        assert_eq!(entry.modified.unwrap().precision, Precision::Second);
    }
    let bytes = content(3_000_001, 1);
    let file = path(b"file.bin");
    let mut rest = Vec::new();
    ftp.get(&file, 1_000_000, &mut rest, &Silent).await.unwrap();
    assert!(
        rest == bytes[1_000_000..],
        "a download goes on where it was"
    );
    let half = path(b"half.bin");
    put(ftp, &half, &bytes[..1_000_000]).await.unwrap();
    let mut source = Cursor::new(&bytes[1_000_000..]);
    let sent = ftp
        .put(&half, 1_000_000, &mut source, &Silent)
        .await
        .unwrap();
    assert_eq!(sent.bytes, 2_000_001);
    assert!(
        get(ftp, &half).await.unwrap() == bytes,
        "an upload goes on where it was"
    );
    ftp.remove(&half).await.unwrap();
    ftp.remove(&file).await.unwrap();
}

async fn names_and_times(ftp: &mut Ftps, server: &Server) {
    let mut expected: Vec<&[u8]> = vec![
        b" leading.csv",
        b"two  spaces.csv",
        b"-dash.csv",
        b"star*[1].csv",
        "d\u{e9}j\u{e0} \u{20ac}.csv".as_bytes(),
        b"a;b=c.csv",
        b"latin-\xe9.csv",
    ];
    for name in &expected {
        put(ftp, &path(name), name).await.unwrap();
        assert_eq!(get(ftp, &path(name)).await.unwrap(), *name);
    }
    let folder = RemotePath::new(FOLDER.as_bytes()).unwrap();
    expected.sort_unstable();
    assert_eq!(names(ftp, &folder).await.unwrap(), expected);
    // Relative to the folder after login, also behind a listing that went elsewhere.
    assert_eq!(
        names(ftp, &RemotePath::new(b"files").unwrap())
            .await
            .unwrap(),
        expected
    );
    for name in &expected {
        let entry = ftp.stat(&path(name)).await.unwrap().unwrap();
        assert_eq!(entry.name.as_bytes(), *name);
        ftp.remove(&path(name)).await.unwrap();
    }
    assert_eq!(std::fs::read_dir(&server.files).unwrap().count(), 0);
}

async fn renames_and_removals(ftp: &mut Ftps) {
    let (a, b) = (path(b"a"), path(b"b"));
    put(ftp, &a, b"new").await.unwrap();
    put(ftp, &b, b"old").await.unwrap();
    let taken = ftp.rename(&a, &b, OnExisting::Fail).await.unwrap_err();
    assert_eq!(taken.fault, RemoteFault::AlreadyExists);
    assert_eq!(get(ftp, &b).await.unwrap(), b"old");
    match ftp.rename(&a, &b, OnExisting::Replace).await {
        Ok(()) => {}
        Err(error) => {
            assert_eq!(error.fault, RemoteFault::AlreadyExists);
            ftp.rename(&a, &b, OnExisting::DeleteFirst).await.unwrap();
        }
    }
    assert_eq!(get(ftp, &b).await.unwrap(), b"new");
    assert_eq!(ftp.stat(&a).await.unwrap(), None);
    ftp.rename(&b, &a, OnExisting::Fail).await.unwrap();
    let folder = path(b"folder");
    ftp.make_dir(&folder).await.unwrap();
    assert_eq!(
        ftp.make_dir(&folder).await.unwrap_err().fault,
        RemoteFault::AlreadyExists
    );
    assert_eq!(
        ftp.stat(&folder).await.unwrap().unwrap().kind,
        EntryKind::Directory
    );
    assert!(names(ftp, &folder).await.unwrap().is_empty());
    if ftp.abilities().sha256 {
        let hash = ftp.sha256(&a).await.unwrap().unwrap();
        assert_eq!(
            hex::encode(hash),
            "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437"
        );
    }
    ftp.remove(&a).await.unwrap();
}

async fn what_is_not_there(ftp: &mut Ftps) {
    let missing = path(b"missing");
    let inside = path(b"missing/file");
    assert_eq!(ftp.stat(&missing).await.unwrap(), None);
    for fault in [
        get(ftp, &missing).await.unwrap_err(),
        ftp.remove(&missing).await.unwrap_err(),
        ftp.rename(&missing, &path(b"x"), OnExisting::Replace)
            .await
            .unwrap_err(),
    ] {
        assert_eq!(fault.fault, RemoteFault::NotFound, "{fault}");
    }
    for refused in [
        names(ftp, &missing).await.unwrap_err(),
        put(ftp, &inside, b"x").await.unwrap_err(),
    ] {
        assert!(!refused.ends_connection(), "{refused}");
    }
}

/// What comes after a transfer that nobody waited for. ProFTPD ends the whole session
/// now and then when TLS of a data connection breaks off; then a new one must do.
async fn get_after(
    ftp: &mut Ftps,
    software: Software,
    options: &FtpsOptions,
    from: &RemotePath,
) -> Vec<u8> {
    match get(ftp, from).await {
        Err(error)
            if software == Software::ProFtpd && error.fault == RemoteFault::ConnectionLost =>
        {
            *ftp = Ftps::connect(options.clone()).await.unwrap();
            get(ftp, from).await.unwrap()
        }
        got => got.unwrap(),
    }
}

async fn broken_off(ftp: &mut Ftps, software: Software, options: &FtpsOptions) {
    let (big, small) = (path(b"big"), path(b"small"));
    let bytes = content(8_000_000, 2);
    put(ftp, &big, &bytes).await.unwrap();
    put(ftp, &small, b"small").await.unwrap();
    let error = ftp.get(&big, 0, &mut Broken, &Silent).await.unwrap_err();
    assert!(matches!(error.fault, RemoteFault::Local { .. }), "{error}");
    assert_eq!(
        get_after(ftp, software, options, &small).await,
        b"small",
        "after a broken sink"
    );
    let folder = RemotePath::new(FOLDER.as_bytes()).unwrap();
    ftp.list(&folder, &mut |_| ControlFlow::Break(()))
        .await
        .unwrap();
    assert_eq!(
        get_after(ftp, software, options, &small).await,
        b"small",
        "after half a listing"
    );
    // Dropped in the middle: nobody waits for it any more.
    let (mut sink, mut reader) = tokio::io::duplex(1024);
    {
        let mut getting = ftp.get(&big, 0, &mut sink, &Silent);
        let mut first = [0; 1024];
        tokio::select! {
            ended = &mut getting => panic!("{ended:?}"),
            read = tokio::io::AsyncReadExt::read_exact(&mut reader, &mut first) => { read.unwrap(); }
        }
    }
    assert_eq!(
        get_after(ftp, software, options, &small).await,
        b"small",
        "after a dropped download"
    );
    let (mut source, mut writer) = tokio::io::duplex(1024);
    {
        let upload = path(b"upload");
        let mut putting = ftp.put(&upload, 0, &mut source, &Silent);
        tokio::select! {
            ended = &mut putting => panic!("{ended:?}"),
            wrote = tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes[..600_000]) => wrote.unwrap(),
        }
    }
    assert_eq!(
        get_after(ftp, software, options, &small).await,
        b"small",
        "after a dropped upload"
    );
    ftp.remove(&big).await.unwrap();
    ftp.remove(&small).await.unwrap();
}

fn active() -> Transfer {
    Transfer::Active {
        ports: 0..=0,
        announced: None,
    }
}

macro_rules! stories {
    ($($name:ident: $software:ident $security:ident $versions:ident $transfer:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            let setup = Setup::new(Software::$software, Security::$security);
            let server = match Server::start(setup) {
                Ok(server) => server,
                Err(reason) => return skip(&reason),
            };
            let mut options = server.options();
            options.tls.versions = TlsVersions::$versions;
            options.transfer = $transfer;
            story(&server, options).await;
        }
    )*};
}

stories! {
    vsftpd_explicit_passive_any: Vsftpd Explicit From12 Transfer::Passive;
    vsftpd_explicit_passive_12: Vsftpd Explicit Only12 Transfer::Passive;
    vsftpd_explicit_active_12: Vsftpd Explicit Only12 active();
    vsftpd_explicit_active_any: Vsftpd Explicit From12 active();
    vsftpd_implicit_passive_any: Vsftpd Implicit From12 Transfer::Passive;
    vsftpd_implicit_active_12: Vsftpd Implicit Only12 active();
    vsftpd_plain_passive: Vsftpd Plain From12 Transfer::Passive;
    vsftpd_plain_active: Vsftpd Plain From12 active();
    proftpd_explicit_passive_any: ProFtpd Explicit From12 Transfer::Passive;
    proftpd_explicit_passive_12: ProFtpd Explicit Only12 Transfer::Passive;
    proftpd_explicit_active_any: ProFtpd Explicit From12 active();
    proftpd_implicit_passive_any: ProFtpd Implicit From12 Transfer::Passive;
    proftpd_implicit_active_12: ProFtpd Implicit Only12 active();
    proftpd_plain_passive: ProFtpd Plain From12 Transfer::Passive;
    pure_ftpd_explicit_passive_any: PureFtpd Explicit From12 Transfer::Passive;
    pure_ftpd_explicit_passive_12: PureFtpd Explicit Only12 Transfer::Passive;
    pure_ftpd_explicit_passive_13: PureFtpd Explicit Only13 Transfer::Passive;
    pure_ftpd_explicit_active_any: PureFtpd Explicit From12 active();
    pure_ftpd_plain_passive: PureFtpd Plain From12 Transfer::Passive;
}
