//! How each kind of end looks from here, on loopback, both TLS versions.

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::tls::ClientCertificates;
use crate::tls::tests::{client, connect, tls};

const LIMIT: Duration = Duration::from_secs(20);

type Client = tokio_rustls::client::TlsStream<TcpStream>;

async fn pair(version: &'static SupportedProtocolVersion) -> (DataStream<TcpStream>, Client) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    secured(version, ours, theirs).await
}

async fn secured<S: AsyncRead + AsyncWrite + Unpin>(
    version: &'static SupportedProtocolVersion,
    ours: S,
    theirs: S,
) -> (DataStream<S>, tokio_rustls::client::TlsStream<S>) {
    let tls = tls();
    let session = tls.control(ClientCertificates::Ignored).unwrap();
    let config: ClientConfig = client(&tls.identity(), version);
    let (served, connected) =
        tokio::join!(session.data().accept(ours, LIMIT), connect(&config, theirs));
    let stream = DataStream::new(served.unwrap().0, LIMIT, CancellationToken::new());
    (stream, connected.unwrap())
}

async fn received(stream: &mut DataStream<TcpStream>) -> (usize, End) {
    let mut size = 0;
    loop {
        match stream.receive().await {
            Ok(bytes) => size += bytes.len(),
            Err(end) => return (size, end),
        }
    }
}

const SIZE: usize = 1_000_000;

async fn upload(client: &mut Client) {
    client.write_all(&vec![7; SIZE]).await.unwrap();
    client.flush().await.unwrap();
}

#[tokio::test]
async fn an_upload_tells_how_it_ended() {
    for version in [&TLS12, &TLS13] {
        for expected in [End::CloseNotify, End::BareFin, End::Reset] {
            let (mut stream, mut client) = pair(version).await;
            let sent = async {
                upload(&mut client).await;
                match expected {
                    End::CloseNotify => client.shutdown().await.unwrap(),
                    End::BareFin => client.get_mut().0.shutdown().await.unwrap(),
                    _ => client.get_ref().0.set_zero_linger().unwrap(),
                }
                (expected != End::Reset).then_some(client)
            };
            let (_client, (size, end)) = tokio::join!(sent, received(&mut stream));
            assert_eq!(end, expected, "{version:?}");
            assert!(size == SIZE || expected == End::Reset);
        }
    }
}

#[tokio::test]
async fn f10_our_end_comes_with_close_notify() {
    // F10
    for version in [&TLS12, &TLS13] {
        let (mut stream, mut client) = pair(version).await;
        let served = async {
            stream.send(&vec![7; SIZE]).await.unwrap();
            stream.end_ours().await.unwrap();
            stream.linger(LIMIT).await
        };
        let read = async {
            let mut all = Vec::new();
            // Without close_notify, rustls fails this with UnexpectedEof.
            client.read_to_end(&mut all).await.unwrap();
            client.shutdown().await.unwrap();
            all.len()
        };
        let (end, size) = tokio::join!(served, read);
        assert_eq!((end, size), (End::CloseNotify, SIZE), "{version:?}");
    }
}

#[tokio::test]
async fn a_cut_download_has_no_close_notify() {
    let (mut stream, mut client) = pair(&TLS13).await;
    stream.send(b"part").await.unwrap();
    stream.cut().await;
    let failed = client.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(failed.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test(start_paused = true)]
async fn f05_silence_stalls_and_cancelling_ends_at_once() {
    let (ours, theirs) = tokio::io::duplex(65_536);
    let (mut stream, _client) = secured(&TLS13, ours, theirs).await;
    assert_eq!(stream.receive().await.unwrap_err(), End::Stalled);
    let (ours, theirs) = tokio::io::duplex(65_536);
    let (mut stream, _client) = secured(&TLS13, ours, theirs).await;
    // More than the pipe and both buffers hold, and nobody reads.
    let sent = stream.send(&vec![7; SIZE]).await;
    assert_eq!(sent.unwrap_err(), End::Stalled);
    let (ours, theirs) = tokio::io::duplex(65_536);
    let (mut stream, _client) = secured(&TLS13, ours, theirs).await;
    stream.cancel.cancel();
    assert_eq!(stream.receive().await.unwrap_err(), End::Cancelled);
}
