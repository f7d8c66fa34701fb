//! rustls' own client, whose bytes are cut, damaged and put together by hand.

use std::future::poll_fn;
use std::io::{Read, Write};

use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, Error, SupportedProtocolVersion};
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::tls::ClientCertificates;
use crate::tls::records::MAX_PLAIN_BYTES as RECORD_BYTES;
use crate::tls::tests::{client, connect, tls};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// More than all that a test sends in one direction.
const PIPE_BYTES: usize = 4 * 1024 * 1024;

/// A pipe's end that gives at most so many bytes to one read.
struct Cut {
    pipe: DuplexStream,
    most: usize,
}

impl AsyncRead for Cut {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut piece = vec![0; self.most.min(buffer.remaining())];
        let mut read = ReadBuf::new(&mut piece);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Cut {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = self.most.min(bytes.len());
        Pin::new(&mut self.pipe).poll_write(cx, &bytes[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// The client, in pieces.
struct Peer {
    pipe: DuplexStream,
    tls: ClientConnection,
}

impl Peer {
    /// Everything that the client wants to send, sealed.
    fn sealed(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    /// One record, or as many as `plain` needs.
    fn seal(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plain).unwrap();
        self.sealed()
    }

    fn close_notify(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.sealed()
    }

    async fn send(&mut self, bytes: &[u8]) {
        self.pipe.write_all(bytes).await.unwrap();
    }

    /// Takes bytes from the pipe until the server's end: the plaintext, and the fault.
    async fn read_all(&mut self) -> (Vec<u8>, Result<(), Error>) {
        let mut bytes = Vec::new();
        self.pipe.read_to_end(&mut bytes).await.unwrap();
        let (mut bytes, mut plain) = (&bytes[..], Vec::new());
        while !bytes.is_empty() {
            self.tls.read_tls(&mut bytes).unwrap();
            match self.tls.process_new_packets() {
                Ok(state) => {
                    let from = plain.len();
                    plain.resize(from + state.plaintext_bytes_to_read(), 0);
                    self.tls.reader().read_exact(&mut plain[from..]).unwrap();
                    if state.peer_has_closed() {
                        break;
                    }
                }
                Err(error) => return (plain, Err(error)),
            }
        }
        (plain, Ok(()))
    }
}

/// Both ends after the handshake; the server's reads and writes move at most `most`
/// bytes.
async fn pair(
    version: &'static SupportedProtocolVersion,
    most: usize,
) -> (RecordStream<Cut>, Peer) {
    let tls = tls();
    let session = tls.control(ClientCertificates::Ignored).unwrap();
    let config = session.data().config;
    let (ours, theirs) = duplex(PIPE_BYTES);
    let client = client(&tls.identity(), version);
    let ours = Cut { pipe: ours, most };
    let (served, connected) = tokio::join!(
        RecordStream::accept(config, ours, |_| ()),
        connect(&client, theirs)
    );
    let (pipe, tls) = connected.unwrap().into_inner();
    (served.unwrap().0, Peer { pipe, tls })
}

async fn fill(stream: &mut RecordStream<Cut>) -> Result<(), Halt> {
    poll_fn(|cx| stream.poll_fill(cx)).await
}

async fn read_all(stream: &mut RecordStream<Cut>) -> (Vec<u8>, Halt) {
    let mut all = Vec::new();
    loop {
        let filled = fill(stream).await;
        all.extend_from_slice(&stream.take());
        if let Err(halt) = filled {
            return (all, halt);
        }
    }
}

async fn send_all(stream: &mut RecordStream<Cut>, mut plain: &[u8]) {
    while !plain.is_empty() {
        let sent = poll_fn(|cx| stream.poll_send(cx, plain)).await.unwrap();
        plain = &plain[sent..];
    }
}

async fn end(stream: &mut RecordStream<Cut>) {
    poll_fn(|cx| stream.poll_end(cx)).await.unwrap();
}

fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at / 251) as u8).collect()
}

/// Just below and above a record's bytes, what the first read takes, and what any may.
const SIZES: [usize; 8] = [
    1,
    RECORD_BYTES - 1,
    RECORD_BYTES,
    RECORD_BYTES + 1,
    FIRST_READ_BYTES,
    MAX_SEAL_BYTES,
    MAX_READ_BYTES + 1,
    400_000,
];

#[tokio::test]
async fn bytes_come_whole_wherever_the_records_are_cut() {
    for version in VERSIONS {
        for most in [1000, RECORD_BYTES + 5, FIRST_READ_BYTES, PIPE_BYTES] {
            let (mut stream, mut peer) = pair(version, most).await;
            let mut expected = Vec::new();
            for size in SIZES {
                let sealed = peer.seal(&content(size));
                peer.send(&sealed).await;
                expected.extend(content(size));
            }
            let sealed = peer.close_notify();
            peer.send(&sealed).await;
            let (all, halt) = read_all(&mut stream).await;
            assert_eq!(halt, Halt::CloseNotify, "{version:?} {most}");
            assert!(all == expected, "{version:?} {most}");
        }
    }
}

#[tokio::test]
async fn bytes_go_whole_however_little_the_socket_takes() {
    for version in VERSIONS {
        for most in [1000, RECORD_BYTES + 5, PIPE_BYTES] {
            let (mut stream, mut peer) = pair(version, most).await;
            let mut expected = Vec::new();
            for size in SIZES {
                send_all(&mut stream, &content(size)).await;
                expected.extend(content(size));
            }
            end(&mut stream).await;
            let (all, fault) = peer.read_all().await;
            assert_eq!(fault, Ok(()), "{version:?} {most}");
            assert!(all == expected, "{version:?} {most}");
        }
    }
}

#[tokio::test]
async fn one_read_opens_all_records_in_it() {
    let (mut stream, mut peer) = pair(&TLS13, PIPE_BYTES).await;
    let sealed: Vec<u8> = (0..10).flat_map(|_| peer.seal(&content(1000))).collect();
    peer.send(&sealed).await;
    fill(&mut stream).await.unwrap();
    assert_eq!(stream.take().len(), 10_000);
}

#[tokio::test]
async fn what_a_peer_makes_it_hold_is_bounded() {
    let (mut stream, mut peer) = pair(&TLS13, PIPE_BYTES).await;
    let sealed = peer.seal(&content(1_000_000));
    peer.send(&sealed).await;
    let mut taken = 0;
    while taken < 1_000_000 {
        fill(&mut stream).await.unwrap();
        assert!(stream.opened.room.len() <= MAX_READ_BYTES);
        assert!(stream.incoming.bytes.len() <= MAX_READ_BYTES);
        taken += stream.take().len();
    }
    // It grew to that.
    assert_eq!(stream.incoming.bytes.len(), MAX_READ_BYTES);
}

#[tokio::test]
async fn an_end_in_the_same_read_comes_behind_the_bytes() {
    for version in VERSIONS {
        let (mut stream, mut peer) = pair(version, PIPE_BYTES).await;
        let sealed = [peer.seal(b"all"), peer.close_notify(), b"ignored".to_vec()].concat();
        peer.send(&sealed).await;
        assert_eq!(
            read_all(&mut stream).await,
            (b"all".to_vec(), Halt::CloseNotify)
        );
        // Again and again.
        assert_eq!(fill(&mut stream).await, Err(Halt::CloseNotify));
        // Our own direction is still open.
        send_all(&mut stream, b"more").await;
        end(&mut stream).await;
        assert_eq!(peer.read_all().await, (b"more".to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn a_fin_within_a_record_or_behind_it_is_no_proof() {
    for version in VERSIONS {
        for missing in [0, 1] {
            let (mut stream, mut peer) = pair(version, PIPE_BYTES).await;
            let mut sealed = peer.seal(b"some");
            sealed.extend(peer.seal(b"rest"));
            sealed.truncate(sealed.len() - missing);
            peer.send(&sealed).await;
            peer.pipe.shutdown().await.unwrap();
            let (all, halt) = read_all(&mut stream).await;
            assert_eq!(halt, Halt::Fin);
            assert_eq!(all.len(), if missing == 0 { 8 } else { 4 });
        }
    }
}

#[tokio::test]
async fn new_keys_of_the_client_are_followed_and_answered() {
    for answer in [&b""[..], b"answer"] {
        let (mut stream, mut peer) = pair(&TLS13, PIPE_BYTES).await;
        let mut sealed = peer.seal(b"old ");
        peer.tls.refresh_traffic_keys().unwrap();
        sealed.extend(peer.seal(b"new "));
        peer.tls.refresh_traffic_keys().unwrap();
        sealed.extend(peer.seal(b"newer"));
        sealed.extend(peer.close_notify());
        peer.send(&sealed).await;
        let (all, halt) = read_all(&mut stream).await;
        assert_eq!((&all[..], halt), (&b"old new newer"[..], Halt::CloseNotify));
        // RFC 8446 s.4.6.3: ours are new from the answer on.
        send_all(&mut stream, answer).await;
        end(&mut stream).await;
        assert_eq!(peer.read_all().await, (answer.to_vec(), Ok(())));
    }
}

#[tokio::test]
async fn bytes_that_are_not_tls_are_answered_with_an_alert() {
    let oversize = [&[0x17, 3, 3, 0x48, 1][..], &[0; 18_433]].concat();
    let forged = [&[0x17, 3, 3, 0, 40][..], &[7; 40]].concat();
    for version in VERSIONS {
        for (garbage, alert) in [
            (
                &b"STOR in the clear\r\n"[..],
                AlertDescription::UnexpectedMessage,
            ),
            (&oversize, AlertDescription::RecordOverflow),
            (&forged, AlertDescription::BadRecordMac),
        ] {
            let (mut stream, mut peer) = pair(version, PIPE_BYTES).await;
            let sealed = [&peer.seal(b"good")[..], garbage].concat();
            peer.send(&sealed).await;
            let (all, halt) = read_all(&mut stream).await;
            assert_eq!(all, b"good", "{version:?} {alert:?}");
            assert!(matches!(halt, Halt::Broken(_)), "{halt:?}");
            end(&mut stream).await;
            let told = peer.read_all().await;
            assert_eq!(told, (Vec::new(), Err(Error::AlertReceived(alert))));
        }
    }
}

#[tokio::test]
async fn an_alert_of_the_client_is_no_proper_end() {
    for version in VERSIONS {
        let (mut stream, mut peer) = pair(version, PIPE_BYTES).await;
        let sealed = peer.seal(b"some");
        peer.send(&sealed).await;
        // What makes the client give up.
        let mut garbage = &b"\x17\x03\x03\x00\x05wrong"[..];
        peer.tls.read_tls(&mut garbage).unwrap();
        peer.tls.process_new_packets().unwrap_err();
        let alert = peer.sealed();
        peer.send(&alert).await;
        let (all, halt) = read_all(&mut stream).await;
        assert_eq!(all, b"some");
        assert!(matches!(halt, Halt::Broken(Fault::Alerted(_))), "{halt:?}");
    }
}

/// F09, for TLS: a message that never becomes whole, one byte in each record.
#[tokio::test]
async fn f09_a_message_in_too_many_pieces_is_ended() {
    let header = b"\x01\x00\xff\xff";
    let piece = |byte: u8| [0x16, 3, 1, 0, 1, byte];
    let most = MAX_HANDSHAKE_BYTES / piece(0).len();
    let too_long = HandshakeFault::Broken {
        detail: "a message is too long".to_owned(),
    };
    for (pieces, expected) in [(most, HandshakeFault::Cut), (most + 1, too_long)] {
        let (ours, mut theirs) = duplex(PIPE_BYTES);
        let content = header.iter().copied().chain(std::iter::repeat(0));
        let bytes: Vec<u8> = content.take(pieces).flat_map(piece).collect();
        theirs.write_all(&bytes).await.unwrap();
        theirs.shutdown().await.unwrap();
        let tls = tls();
        let session = tls.control(ClientCertificates::Ignored).unwrap();
        let fault = RecordStream::accept(session.data().config, ours, |_| ()).await;
        assert_eq!(fault.unwrap_err(), expected);
    }
}

/// A pipe's end that puts each byte of the client's handshake into a record of its own, and
/// what comes behind it into the same read.
#[tokio::test]
async fn a_handshake_in_pieces_ends_where_it_ends() {
    for version in VERSIONS {
        for most in [1, 2, 7, 100] {
            let tls = tls();
            let session = tls.control(ClientCertificates::Ignored).unwrap();
            let mut config = client(&tls.identity(), version);
            // Header and content of a record.
            config.max_fragment_size = Some(32);
            let (ours, theirs) = duplex(PIPE_BYTES);
            let ours = Cut { pipe: ours, most };
            let sent = async {
                let mut client = connect(&config, theirs).await.unwrap();
                client
                    .write_all(b"at once, in more than one record")
                    .await
                    .unwrap();
                client.shutdown().await.unwrap();
                client
            };
            let accept = RecordStream::accept(session.data().config, ours, |_| ());
            let (served, _client) = tokio::join!(accept, sent);
            let mut stream = served.unwrap().0;
            let (all, halt) = read_all(&mut stream).await;
            assert_eq!(all, b"at once, in more than one record");
            assert_eq!(halt, Halt::CloseNotify);
        }
    }
}

/// TLS 1.3: what the client sends with its Finished, a KeyUpdate first, is for the record
/// layer alone.
#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_kept() {
    for version in VERSIONS {
        let tls = tls();
        let session = tls.control(ClientCertificates::Ignored).unwrap();
        let config = Arc::new(client(&tls.identity(), version));
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let client = ClientConnection::new(config, name).unwrap();
        let (ours, pipe) = duplex(PIPE_BYTES);
        let most = PIPE_BYTES;
        let ours = Cut { pipe: ours, most };
        let mut peer = Peer { pipe, tls: client };
        let sent = async {
            while peer.tls.is_handshaking() {
                let flight = peer.sealed();
                peer.send(&flight).await;
                let mut came = vec![0; 16_384];
                let count = peer.pipe.read(&mut came).await.unwrap();
                peer.tls.read_tls(&mut &came[..count]).unwrap();
                peer.tls.process_new_packets().unwrap();
            }
            if version == &TLS13 {
                peer.tls.refresh_traffic_keys().unwrap();
            }
            // With Finished, when that is still to be sent.
            let rest = peer.seal(b"first bytes");
            peer.send(&rest).await;
            peer
        };
        let accept = RecordStream::accept(session.data().config, ours, |_| ());
        let (served, mut peer) = tokio::join!(accept, sent);
        let mut stream = served.unwrap().0;
        let end = peer.close_notify();
        peer.send(&end).await;
        let all = read_all(&mut stream).await;
        assert_eq!(all, (b"first bytes".to_vec(), Halt::CloseNotify));
        send_all(&mut stream, b"answer").await;
        self::end(&mut stream).await;
        assert_eq!(peer.read_all().await, (b"answer".to_vec(), Ok(())));
    }
}
