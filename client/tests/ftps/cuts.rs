//! A control connection that is cut, wherever that is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use layover_client::ftps::{Ftps, Security};
use layover_client::{OnExisting, Remote, RemoteError, RemoteFault, RemotePath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::partners::{content, get, names, put};
use crate::play::{Play, Stage};

/// Places of the server's side of the conversation at which it is cut.
const PLACES: usize = 12;
/// Lines of the listing.
const ENTRIES: usize = 5_000;

/// Hands on what both sides say, and cuts after so many bytes of the server's.
async fn proxy(to: SocketAddr, cut_at: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let said = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&said);
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let server = TcpStream::connect(to).await.unwrap();
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let up = async {
            let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
        };
        let down = async {
            let mut buffer = [0; 4096];
            let mut left = cut_at;
            while left > 0 {
                let room = left.min(buffer.len());
                let Ok(count @ 1..) = from_server.read(&mut buffer[..room]).await else {
                    break;
                };
                left -= count;
                counter.fetch_add(count, Ordering::Relaxed);
                if to_client.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
        };
        // The first that ends ends both.
        tokio::select! { () = up => {}, () = down => {} }
    });
    (port, said)
}

/// What the script sends for a download and for a listing.
fn listing() -> Vec<u8> {
    b"type=file;size=1; a name\r\n".repeat(ENTRIES)
}

/// What is done; each step needs the control connection.
async fn work(stage: &Stage, port: u16, bytes: &[u8]) -> Result<(), RemoteError> {
    let mut options = stage.options();
    options.port = Some(port);
    options.timeouts.reply = Duration::from_secs(5);
    let mut ftp = Ftps::connect(options).await?;
    let file = RemotePath::new(b"/file").unwrap();
    put(&mut ftp, &file, bytes).await?;
    assert!(
        stage.stored() == bytes,
        "an upload that is acknowledged is whole"
    );
    assert!(
        get(&mut ftp, &file).await? == listing(),
        "a download without an error is whole"
    );
    assert_eq!(
        names(&mut ftp, &RemotePath::new(b"/folder").unwrap())
            .await?
            .len(),
        ENTRIES
    );
    let gone = ftp
        .rename(&file, &RemotePath::new(b"/x").unwrap(), OnExisting::Replace)
        .await;
    if let Err(error) = gone
        && error.ends_connection()
    {
        return Err(error);
    }
    ftp.remove(&file).await?;
    Box::new(ftp).close().await
}

#[tokio::test(flavor = "multi_thread")]
async fn wherever_the_control_connection_is_cut_an_error_says_so() {
    let bytes = content(300_000, 7);
    for security in [Security::Plain, Security::Explicit, Security::Implicit] {
        let play = || Play {
            security,
            content: listing(),
            ..Play::default()
        };
        let stage = Stage::set(play()).await;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.port()));
        let (port, said) = proxy(address, usize::MAX).await;
        work(&stage, port, &bytes).await.expect("nothing is cut");
        let whole = said.load(Ordering::Relaxed);
        for place in 0..PLACES {
            // Never at the very end, behind the farewell.
            let cut_at = whole * place / (PLACES + 1);
            let stage = Stage::set(play()).await;
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, stage.port()));
            let (port, _) = proxy(address, cut_at).await;
            let error = work(&stage, port, &bytes).await.expect_err("it is cut");
            assert_eq!(
                error.fault,
                RemoteFault::ConnectionLost,
                "{security:?} at {cut_at} of {whole}: {error}"
            );
        }
    }
}
