//! O02, and servers that allow less.

use std::io::Cursor;
use std::os::unix::ffi::OsStrExt;

use layover_client::ftps::{Ftps, Security};
use layover_client::{OnExisting, Remote, RemoteFault, RemotePath, Silent};

use crate::partners::{content, get, names, path, put};
use crate::play::{Play, Stage};
use crate::servers::{Server, Setup, Software};
use crate::skip::skip;

/// A server that replaces nothing, and a connection to it.
async fn strict(software: Software) -> Option<(Server, Ftps)> {
    let mut setup = Setup::new(software, Security::Explicit);
    setup.overwrites = false;
    match Server::start(setup) {
        Ok(server) => {
            let ftp = Ftps::connect(server.options()).await.unwrap();
            Some((server, ftp))
        }
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o02_proftpd_without_overwriting_renames_only_behind_a_removal() {
    let Some((_server, mut ftp)) = strict(Software::ProFtpd).await else {
        return;
    };
    let (a, b) = (path(b"a.part"), path(b"a"));
    put(&mut ftp, &a, b"new").await.unwrap();
    put(&mut ftp, &b, b"old").await.unwrap();
    for on_existing in [OnExisting::Fail, OnExisting::Replace] {
        let error = ftp.rename(&a, &b, on_existing).await.unwrap_err();
        assert_eq!(
            error.fault,
            RemoteFault::AlreadyExists,
            "{on_existing:?} {error}"
        );
        assert_eq!(get(&mut ftp, &a).await.unwrap(), b"new");
        assert_eq!(get(&mut ftp, &b).await.unwrap(), b"old");
    }
    ftp.rename(&a, &b, OnExisting::DeleteFirst).await.unwrap();
    assert_eq!(get(&mut ftp, &b).await.unwrap(), b"new");
    assert_eq!(ftp.stat(&a).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_or_resumption_leaves_what_is_there() {
    let Some((_server, mut ftp)) = strict(Software::ProFtpd).await else {
        return;
    };
    let bytes = content(100_000, 1);
    let file = path(b"file");
    put(&mut ftp, &file, &bytes[..50_000]).await.unwrap();
    assert!(put(&mut ftp, &file, b"other").await.is_err());
    let mut rest = Cursor::new(&bytes[50_000..]);
    let resumed = ftp.put(&file, 50_000, &mut rest, &Silent).await;
    let there = get(&mut ftp, &file).await.unwrap();
    match resumed {
        Ok(_) => assert!(there == bytes),
        Err(_) => assert!(there == bytes[..50_000]),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_denies_renaming_and_removing_keeps_both_files() {
    let Some((_server, mut ftp)) = strict(Software::Vsftpd).await else {
        return;
    };
    let (a, b) = (path(b"a"), path(b"b"));
    put(&mut ftp, &a, b"new").await.unwrap();
    for error in [
        ftp.rename(&a, &b, OnExisting::Replace).await.unwrap_err(),
        ftp.rename(&a, &b, OnExisting::DeleteFirst)
            .await
            .unwrap_err(),
        ftp.remove(&a).await.unwrap_err(),
    ] {
        assert_eq!(error.fault, RemoteFault::NotPermitted, "{error}");
    }
    assert_eq!(get(&mut ftp, &a).await.unwrap(), b"new");
}

#[tokio::test]
async fn delete_first_deletes_nothing_for_a_source_that_is_not_there() {
    let play = Play::default()
        .say("RNFR", "550 cannot")
        .say("MLST /a", "550 no such file")
        .say("MLST /b", "250-here\r\n type=file;size=1; /b\r\n250 end");
    let stage = Stage::set(play).await;
    let mut ftp = Ftps::connect(stage.options()).await.unwrap();
    let of = |name: &[u8]| RemotePath::new(name).unwrap();
    let error = ftp
        .rename(&of(b"/a"), &of(b"/b"), OnExisting::DeleteFirst)
        .await
        .unwrap_err();
    assert_eq!(error.fault, RemoteFault::NotFound);
    assert!(!stage.heard().iter().any(|line| line.starts_with("DELE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_with_telnets_escape_byte_comes_back() {
    let server = match Server::start(Setup::new(Software::ProFtpd, Security::Explicit)) {
        Ok(server) => server,
        Err(reason) => return skip(&reason),
    };
    let mut ftp = Ftps::connect(server.options()).await.unwrap();
    let file = path(b"y-\xff");
    put(&mut ftp, &file, b"x").await.unwrap();
    let there = server.files.join(std::ffi::OsStr::from_bytes(b"y-\xff"));
    assert_eq!(std::fs::read(there).unwrap(), b"x");
    let folder = RemotePath::new(b"/files").unwrap();
    assert_eq!(names(&mut ftp, &folder).await.unwrap(), [b"y-\xff"]);
    assert_eq!(get(&mut ftp, &file).await.unwrap(), b"x");
}
