//! A raw FTPS client: single commands with their replies, data connections that resume the control
//! connection's TLS session, and every way to end them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, SignatureScheme,
    StreamOwned,
};

use tokio::net::TcpSocket;

use super::Entry;
use crate::ssh::block;
use crate::wait::{PATIENCE, Timer};

/// The TLS version a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Every data connection can resume.
    Tls12,
    /// rustls uses each ticket once, so the first two data connections resume, and later ones do not.
    Tls13,
}

/// How a client connects.
#[derive(Debug, Clone, Copy)]
pub struct Way {
    /// Its own address.
    pub from: IpAddr,
    /// How TLS begins.
    pub entry: Entry,
    /// The TLS version.
    pub version: Version,
}

impl Default for Way {
    fn default() -> Self {
        Self {
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
            entry: Entry::Explicit,
            version: Version::Tls12,
        }
    }
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its three digits.
    pub code: u16,
    /// All of its lines, Telnet's doubling undone.
    pub text: Vec<u8>,
}

impl Reply {
    /// Whether the server did it.
    pub fn is_good(&self) -> bool {
        (200..400).contains(&self.code)
    }

    /// The text, lossily.
    pub fn words(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }
}

/// The connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost;

/// Why there is no data connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoData {
    /// The server said so.
    Told(Reply),
    /// The control connection ended.
    Lost,
}

impl From<Lost> for NoData {
    fn from(_: Lost) -> Self {
        Self::Lost
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A control connection. Dropping it closes the connection without a word.
#[derive(Debug)]
pub struct Ftps {
    control: Tls,
    received: Vec<u8>,
    config: Arc<ClientConfig>,
    from: IpAddr,
    server: IpAddr,
}

impl Ftps {
    /// Connects and does the handshake; the welcome has been read.
    ///
    /// # Errors
    /// Where it went wrong.
    pub fn connect(server: SocketAddr, way: Way) -> Result<Self, String> {
        let mut stream = connected(way.from, server)?;
        let config = Arc::new(config(way.version));
        if way.entry == Entry::Explicit {
            for (said, code) in [("", "220 "), ("AUTH TLS\r\n", "234 ")] {
                let told = stream.write_all(said.as_bytes());
                let reply = told.and_then(|()| clear_reply(&mut stream));
                let reply = reply.map_err(|error| format!("in the clear: {error}"))?;
                if !reply.starts_with(code) {
                    return Err(reply);
                }
            }
        }
        let control = secure(&config, stream).map_err(|error| format!("TLS: {error}"))?;
        let mut client = Self {
            control,
            received: Vec::new(),
            config,
            from: way.from,
            server: server.ip(),
        };
        if way.entry == Entry::Implicit {
            let welcome = client.reply().map_err(|Lost| "no welcome".to_owned())?;
            if welcome.code != 220 {
                return Err(welcome.words());
            }
        }
        Ok(client)
    }

    /// Logs in, then PBSZ, PROT P and TYPE I. The last reply: 200, or the refusal.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn log_in(&mut self, user: &str, password: &str) -> Result<Reply, Lost> {
        self.ask(format!("USER {user}"))?;
        let reply = self.ask(format!("PASS {password}"))?;
        if reply.code != 230 {
            return Ok(reply);
        }
        self.ask("PBSZ 0")?;
        self.ask("PROT P")?;
        self.ask("TYPE I")
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        let sent = self.control.write_all(bytes);
        sent.and_then(|()| self.control.flush()).map_err(|_| Lost)
    }

    /// Sends a command, 255 doubled as Telnet asks, not waiting for its reply.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send(&mut self, line: impl AsRef<[u8]>) -> Result<(), Lost> {
        let mut bytes = Vec::new();
        for byte in line.as_ref() {
            bytes.extend(std::iter::repeat_n(*byte, 1 + usize::from(*byte == 255)));
        }
        bytes.extend_from_slice(b"\r\n");
        self.send_raw(&bytes)
    }

    /// Sends a command and waits for its reply.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn ask(&mut self, line: impl AsRef<[u8]>) -> Result<Reply, Lost> {
        self.send(line)?;
        self.reply()
    }

    /// The next reply.
    ///
    /// # Errors
    /// When the connection ends.
    pub fn reply(&mut self) -> Result<Reply, Lost> {
        let mut text = Vec::new();
        loop {
            let line = self.line()?;
            text.extend_from_slice(&line);
            if let [a, b, c, b' ', ..] = line[..]
                && [a, b, c].iter().all(u8::is_ascii_digit)
            {
                let code = [a, b, c]
                    .iter()
                    .fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
                return Ok(Reply { code, text });
            }
        }
    }

    fn line(&mut self) -> Result<Vec<u8>, Lost> {
        loop {
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                let mut line: Vec<u8> = self.received.drain(..=end).collect();
                let mut at = 0;
                while at + 1 < line.len() {
                    if line[at..at + 2] == [255, 255] {
                        line.remove(at);
                    }
                    at += 1;
                }
                return Ok(line);
            }
            let mut buffer = [0; 4096];
            match self.control.read(&mut buffer) {
                Ok(0) => return Err(Lost),
                Ok(count) => self.received.extend_from_slice(&buffer[..count]),
                Err(error) => {
                    // A server that hangs is a fault of its own, not an end.
                    assert!(!is_time_out(&error), "no reply within {PATIENCE:?}");
                    return Err(Lost);
                }
            }
        }
    }

    /// Waits for the server to end the connection; whether it did within `limit`. Replies that come
    /// before are thrown away.
    pub fn closed_within(&mut self, limit: Duration) -> bool {
        let since = Timer::start();
        let mut buffer = [0; 4096];
        let closed = loop {
            let Some(left) = limit.checked_sub(since.elapsed()) else {
                break false;
            };
            let wait = left.max(Duration::from_millis(1));
            self.control
                .sock
                .set_read_timeout(Some(wait))
                .expect("set time-out");
            match self.control.read(&mut buffer) {
                Ok(0) => break true,
                Ok(_) => {}
                Err(error) if is_time_out(&error) => {}
                Err(_) => break true,
            }
        };
        self.control
            .sock
            .set_read_timeout(Some(PATIENCE))
            .expect("set time-out");
        closed
    }

    /// Asks for a data port.
    ///
    /// # Errors
    /// The refusal.
    pub fn passive(&mut self) -> Result<SocketAddr, NoData> {
        let reply = self.ask("EPSV")?;
        if reply.code != 229 {
            return Err(NoData::Told(reply));
        }
        let port = reply
            .words()
            .rsplit('|')
            .nth(1)
            .and_then(|port| port.parse().ok());
        let port = port.unwrap_or_else(|| panic!("no port: {}", reply.words()));
        Ok(SocketAddr::new(self.server, port))
    }

    /// Asks for a data port, connects to it, sends the command, and does the handshake on the data
    /// connection.
    ///
    /// # Errors
    /// The refusal, whenever it came.
    pub fn begin(&mut self, line: impl AsRef<[u8]>) -> Result<Data, NoData> {
        let at = self.passive()?;
        let Ok(stream) = connected(self.from, at) else {
            // The server is gone, or it is a fault that its reply should have told.
            return match self.ask("NOOP") {
                Ok(reply) => panic!("port {at} was announced and refuses: {}", reply.words()),
                Err(Lost) => Err(NoData::Lost),
            };
        };
        let reply = self.ask(line)?;
        if !(100..200).contains(&reply.code) {
            return Err(NoData::Told(reply));
        }
        match secure(&self.config, stream) {
            Ok(stream) => Ok(Data { stream }),
            Err(_) => Err(NoData::Told(self.reply()?)),
        }
    }
}

/// A data connection. Dropping it ends it with a bare FIN.
#[derive(Debug)]
pub struct Data {
    stream: Tls,
}

impl Data {
    /// Whether it resumed a TLS session.
    pub fn is_resumed(&self) -> bool {
        self.stream.conn.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Sends bytes; `false` when the server takes no more. Its reply says why.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = self.stream.write_all(bytes);
        sent.and_then(|()| self.stream.flush()).is_ok()
    }

    /// Reads exactly so many bytes.
    ///
    /// # Errors
    /// As the connection's end.
    pub fn read_exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads up to the server's end and answers it; an end without close_notify is an error (F10).
    ///
    /// # Errors
    /// As the connection's end.
    pub fn read_to_end(mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes)?;
        self.end();
        Ok(bytes)
    }

    /// Ends it as TLS asks, close_notify first, and waits for the server's end.
    pub fn end(mut self) {
        self.stream.conn.send_close_notify();
        // Whether the server took it, its reply says.
        let _ = self.stream.flush();
        let _ = self.stream.sock.shutdown(std::net::Shutdown::Write);
        let _ = self.stream.read_to_end(&mut Vec::new());
    }

    /// Ends it with a bare FIN.
    pub fn cut(self) {
        drop(self);
    }
}

/// Opens a connection from an address.
fn connected(from: IpAddr, to: SocketAddr) -> Result<TcpStream, String> {
    let opened = block("connection", async {
        let socket = TcpSocket::new_v4()?;
        // Bound to nothing, connections may share the port of one that has ended.
        if from != Way::default().from {
            socket.bind(SocketAddr::new(from, 0))?;
        }
        socket.connect(to).await?.into_std()
    });
    let ready = opened.and_then(|stream| {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    });
    ready.map_err(|error| format!("connect to {to}: {error}"))
}

/// The last line of a reply before TLS: byte for byte, because what comes behind it belongs to TLS.
fn clear_reply(stream: &mut TcpStream) -> io::Result<String> {
    loop {
        let mut line = String::new();
        while !line.ends_with('\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(char::from(byte[0]));
        }
        if line.as_bytes().get(3) == Some(&b' ') && line.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(line);
        }
    }
}

fn is_time_out(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn secure(config: &Arc<ClientConfig>, stream: TcpStream) -> io::Result<Tls> {
    let name = ServerName::try_from("localhost").expect("a name");
    let conn = ClientConnection::new(Arc::clone(config), name).expect("a configuration");
    let mut tls = StreamOwned::new(conn, stream);
    while tls.conn.is_handshaking() {
        tls.conn.complete_io(&mut tls.sock)?;
    }
    Ok(tls)
}

/// With a memory for sessions of its own.
fn config(version: Version) -> ClientConfig {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    let version = match version {
        Version::Tls12 => &TLS12,
        Version::Tls13 => &TLS13,
    };
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_protocol_versions(&[version])
        .expect("a version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer(Arc::clone(&PROVIDER))))
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(4);
    config
}

/// Takes every certificate: the tests with real clients look at that.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
