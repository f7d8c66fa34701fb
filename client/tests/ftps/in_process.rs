//! libunftp, a server within the tests' own process: it is there where no other is.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use async_trait::async_trait;
use layover_client::ftps::{Ftps, FtpsOptions, Security, TlsVersions};
use layover_client::{OnExisting, Remote, RemoteFault, RemotePath};
use libunftp::ServerBuilder;
use libunftp::options::{Binder, TlsFlags};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpSocket};
use unftp_sbe_fs::Filesystem;

use crate::authority::{Authority, Leaf};
use crate::partners::{content, get, names, put};
use crate::play::{Play, Stage};

/// Data ports that are free, instead of ones drawn from a range that tests would share.
#[derive(Debug)]
struct AnyPort;

#[async_trait]
impl Binder for AnyPort {
    async fn bind(&mut self, local: IpAddr, _: RangeInclusive<u16>) -> io::Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(local, 0))?;
        Ok(socket)
    }
}

/// Its port; it ends with the test's runtime.
async fn libunftp(dir: &TempDir, leaf: &Leaf) -> u16 {
    let (certificate, key) = (dir.path().join("certificate"), dir.path().join("key"));
    std::fs::write(&certificate, leaf.pem()).unwrap();
    std::fs::write(&key, leaf.key_pem()).unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let root = root.clone();
            let files = Box::new(move || Filesystem::new(root.clone()).unwrap());
            let server = ServerBuilder::new(files)
                .ftps(&certificate, &key)
                .ftps_required(true, true)
                .ftps_tls_flags(TlsFlags::V1_2 | TlsFlags::V1_3)
                .binder(AnyPort)
                .build()
                .unwrap();
            tokio::spawn(server.service(stream));
        }
    });
    port
}

/// libunftp answers AUTH before it has stopped reading commands: on a busy machine it sometimes
/// takes the handshake for one, and is asked again.
async fn connect(options: FtpsOptions) -> Ftps {
    for _ in 0..20 {
        match Ftps::connect(options.clone()).await {
            Err(error) if matches!(error.fault, RemoteFault::TlsHandshake { .. }) => {}
            connected => return connected.unwrap(),
        }
    }
    panic!("no handshake in twenty");
}

#[tokio::test(flavor = "multi_thread")]
async fn libunftp_over_tls_12_and_13() {
    for versions in [TlsVersions::Only12, TlsVersions::Only13] {
        let dir = TempDir::new().unwrap();
        let leaf = Authority::new("the partner's").sign("127.0.0.1", |_| {});
        // The script's options fit, once they name this server.
        let stage = Stage::set(Play {
            security: Security::Explicit,
            ..Play::default()
        });
        let mut options = stage.await.options();
        options.port = Some(libunftp(&dir, &leaf).await);
        options.username = "anonymous".to_owned();
        options.tls.versions = versions;
        options.tls.trust = layover_client::ftps::Trust::Pin(leaf.fingerprint());
        options.timeouts = layover_client::ftps::Timeouts::default();
        let mut ftp = connect(options).await;
        let of = |name: &str| RemotePath::new(name.as_bytes()).unwrap();
        let bytes = content(1_000_000, 1);
        for _ in 0..5 {
            put(&mut ftp, &of("/a.part"), &bytes).await.unwrap();
            ftp.rename(&of("/a.part"), &of("/a"), OnExisting::Replace)
                .await
                .unwrap();
            assert!(get(&mut ftp, &of("/a")).await.unwrap() == bytes);
        }
        assert_eq!(names(&mut ftp, &of("/")).await.unwrap(), [b"a"]);
        let entry = ftp.stat(&of("/a")).await.unwrap().unwrap();
        assert_eq!(entry.size_bytes, Some(1_000_000));
        ftp.remove(&of("/a")).await.unwrap();
        assert_eq!(ftp.stat(&of("/a")).await.unwrap(), None);
        let error = get(&mut ftp, &of("/a")).await.unwrap_err();
        assert_eq!(error.fault, RemoteFault::NotFound, "{error}");
        Box::new(ftp).close().await.unwrap();
    }
}
