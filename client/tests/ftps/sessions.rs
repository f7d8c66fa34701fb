//! O01: servers that want the control connection's TLS session on every data connection.

use layover_client::ftps::{Ftps, Security, TlsVersions};
use layover_client::{Remote, RemoteFault};

use crate::partners::{content, get, path, put};
use crate::servers::{Server, Setup, Software};
use crate::skip::skip;

const TRANSFERS: u64 = 50;

fn server(software: Software) -> Option<Server> {
    match Server::start(Setup::new(software, Security::Explicit)) {
        Ok(server) => Some(server),
        Err(reason) => {
            skip(&reason);
            None
        }
    }
}

/// Uploads, longer than what can be sent again, and downloads in turn.
async fn transfers(ftp: &mut Ftps) {
    for number in 0..TRANSFERS {
        let bytes = content(if number % 10 == 0 { 600_000 } else { 3_000 }, number);
        let file = path(b"file");
        assert_eq!(
            put(ftp, &file, &bytes).await.unwrap(),
            bytes.len() as u64,
            "upload {number}"
        );
        assert!(get(ftp, &file).await.unwrap() == bytes, "download {number}");
    }
    ftp.remove(&path(b"file")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn o01_fifty_uploads_and_downloads_on_one_control_connection() {
    for software in [Software::Vsftpd, Software::ProFtpd, Software::PureFtpd] {
        let Some(server) = server(software) else {
            return;
        };
        for versions in [TlsVersions::From12, TlsVersions::Only12] {
            let mut options = server.options();
            options.tls.versions = versions;
            let mut ftp = Ftps::connect(options).await.unwrap();
            transfers(&mut ftp).await;
            // ProFTPD gives two tickets at login and none later, vsftpd one with each data
            // connection, and pure-ftpd demands nothing.
            let steps_down = versions == TlsVersions::From12 && software == Software::ProFtpd;
            assert_eq!(
                ftp.learned().tls12_only,
                steps_down,
                "{software:?} {versions:?}"
            );
            let is_tls13 = versions == TlsVersions::From12 && !steps_down;
            assert_eq!(
                ftp.facts().is_tls13,
                Some(is_tls13),
                "{software:?} {versions:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn o01_a_demand_that_tls_13_alone_cannot_meet_is_named() {
    let Some(server) = server(Software::ProFtpd) else {
        return;
    };
    let mut options = server.options();
    options.tls.versions = TlsVersions::Only13;
    let mut ftp = Ftps::connect(options).await.unwrap();
    let mut last = Ok(0);
    for _ in 0..TRANSFERS {
        last = put(&mut ftp, &path(b"file"), &content(600_000, 1)).await;
        if last.is_err() {
            break;
        }
    }
    let error = last.expect_err("its tickets are used up");
    assert_eq!(error.fault, RemoteFault::SessionReuseDemanded, "{error}");
    assert!(!ftp.learned().tls12_only);
}
