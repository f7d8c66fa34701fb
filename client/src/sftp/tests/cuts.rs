//! The connection is cut: nothing is lost, nothing counts as complete.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::openssh_server::OpenSsh;
use super::*;
use crate::fault::RemoteFault;
use crate::remote::Silent;

/// Relays and cuts after so many bytes in either direction together.
pub(super) async fn cutting_proxy(
    target: SocketAddr,
    after_bytes: u64,
) -> (u16, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let relaying = tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(target).await.unwrap();
            let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
            let mut left = after_bytes;
            while left > 0 {
                let moved = tokio::select! {
                    read = client.read(&mut up) => match read {
                        Ok(1..) => {
                            let bytes = read.unwrap();
                            server.write_all(&up[..bytes]).await.map(|()| bytes)
                        }
                        _ => break,
                    },
                    read = server.read(&mut down) => match read {
                        Ok(1..) => {
                            let bytes = read.unwrap();
                            client.write_all(&down[..bytes]).await.map(|()| bytes)
                        }
                        _ => break,
                    },
                };
                let Ok(bytes) = moved else { break };
                left = left.saturating_sub(bytes as u64);
            }
        }
    });
    (port, AbortOnDropHandle::new(relaying))
}

const FILE_BYTES: usize = 2_000_000;

/// Ten places: in the handshake, at login, in the content, near its end.
const CUTS: [u64; 10] = [
    1, 500, 2_500, 4_000, 6_000, 20_000, 300_000, 900_000, 1_500_000, 1_990_000,
];

#[tokio::test]
async fn a_download_that_is_cut_anywhere_is_no_download_and_continues() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let whole = content(FILE_BYTES);
    std::fs::write(server.local("f"), &whole).unwrap();
    let file = path(server.remote("f"));
    for cut in CUTS {
        let (port, _proxy) = cutting_proxy(server.address(), cut).await;
        let mut options = server.options();
        options.port = port;
        let mut got = Vec::new();
        let error = match SftpRemote::connect(&options).await {
            Ok(mut remote) => remote.get(&file, 0, &mut got, &Silent).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.fault, RemoteFault::ConnectionLost, "{cut}: {error}");
        assert!(whole.starts_with(&got), "{cut}");
        let mut remote = SftpRemote::connect(&server.options()).await.unwrap();
        let offset = got.len() as u64;
        remote.get(&file, offset, &mut got, &Silent).await.unwrap();
        assert!(got == whole, "{cut}");
    }
}

#[tokio::test]
async fn an_upload_that_is_cut_anywhere_is_no_upload_and_continues() {
    let Some(server) = OpenSsh::start().await else {
        return;
    };
    let whole = content(FILE_BYTES);
    for (number, cut) in CUTS.into_iter().enumerate() {
        let name = format!("f{number}");
        let file = path(server.remote(&name));
        let (port, _proxy) = cutting_proxy(server.address(), cut).await;
        let mut options = server.options();
        options.port = port;
        let error = match SftpRemote::connect(&options).await {
            Ok(mut remote) => remote
                .put(&file, 0, &mut whole.as_slice(), &Silent)
                .await
                .unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.fault, RemoteFault::ConnectionLost, "{cut}: {error}");
        let arrived = error.arrived_to.unwrap_or_default();
        let mut remote = SftpRemote::connect(&server.options()).await.unwrap();
        let there = remote
            .stat(&file)
            .await
            .unwrap()
            .and_then(|entry| entry.size_bytes)
            .unwrap_or_default();
        assert!(
            arrived <= there,
            "{cut}: {arrived} acknowledged, {there} there"
        );
        let on_disk = std::fs::read(server.local(&name)).unwrap_or_default();
        assert!(
            on_disk[..arrived as usize] == whole[..arrived as usize],
            "{cut}"
        );
    }
}
