//! A control connection spoken by hand, to say what no client at hand says: an old one's sequence
//! of commands, or an end in the middle.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::ftps::{Entry, FtpsLogin, Tls};
use crate::wait::PATIENCE;

type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// A reply of one or several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Its code.
    pub code: u16,
    /// All its lines.
    pub text: String,
}

/// Whether data connections resume the control connection's TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resumption {
    /// As modern clients do.
    Yes,
    /// As old ones do.
    No,
}

/// A control connection.
#[derive(Debug)]
pub struct Control {
    wire: Wire,
    tls: Arc<ClientConfig>,
    server: SocketAddr,
    read: Vec<u8>,
}

#[derive(Debug)]
enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
    /// While the one becomes the other.
    Gone,
}

/// A data connection.
#[derive(Debug)]
pub struct Data(TlsStream);

impl Control {
    /// Connects; the greeting is the first [`Control::reply`].
    pub fn connect(login: &FtpsLogin<'_>, tls: Tls, resumption: Resumption) -> Self {
        let server = login.layover.ftps_address(login.entry);
        let tls = Arc::new(config(login, tls, resumption));
        let stream = connect(server);
        let wire = match login.entry {
            Entry::Explicit => Wire::Plain(stream),
            Entry::Implicit => Wire::Tls(Box::new(handshake(&tls, server.ip(), stream))),
        };
        Self {
            wire,
            tls,
            server,
            read: Vec::new(),
        }
    }

    /// Connects and logs in, with PROT P and TYPE I.
    pub fn log_in(login: &FtpsLogin<'_>, tls: Tls, resumption: Resumption) -> Self {
        let mut control = Self::connect(login, tls, resumption);
        assert_eq!(control.reply().code, 220);
        if login.entry == Entry::Explicit {
            control.begin_tls();
        }
        for (line, code) in [
            (format!("USER {}", login.account.name), 331),
            (format!("PASS {}", login.password()), 230),
            ("PBSZ 0".to_owned(), 200),
            ("PROT P".to_owned(), 200),
            ("TYPE I".to_owned(), 200),
        ] {
            let reply = control.ask(&line);
            assert_eq!(reply.code, code, "{line}: {}", reply.text);
        }
        control
    }

    /// AUTH TLS, and the handshake behind it.
    pub fn begin_tls(&mut self) {
        let reply = self.ask("AUTH TLS");
        assert_eq!(reply.code, 234, "{}", reply.text);
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            panic!("TLS has begun already");
        };
        let stream = handshake(&self.tls, self.server.ip(), stream);
        self.wire = Wire::Tls(Box::new(stream));
    }

    /// Sends a command and takes its reply.
    pub fn ask(&mut self, line: &str) -> Reply {
        self.send(format!("{line}\r\n").as_bytes());
        self.reply()
    }

    /// Sends these bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        let sent = match &mut self.wire {
            Wire::Plain(stream) => stream.write_all(bytes),
            Wire::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Wire::Gone => unreachable!("the connection is gone"),
        };
        sent.expect("send");
    }

    /// Takes the next reply.
    pub fn reply(&mut self) -> Reply {
        let mut text = String::new();
        loop {
            let line = self.line();
            text.push_str(&line);
            // RFC 959 s.4.2: the last line has a space behind the code.
            let (code, rest) = line.split_at(line.len().min(3));
            if let (Ok(code), true) = (code.parse(), rest.starts_with(' ')) {
                return Reply { code, text };
            }
        }
    }

    fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=at).collect();
                return String::from_utf8_lossy(&line).into_owned();
            }
            let mut buffer = [0; 4096];
            let count = match &mut self.wire {
                Wire::Plain(stream) => stream.read(&mut buffer),
                Wire::Tls(stream) => stream.read(&mut buffer),
                Wire::Gone => unreachable!("the connection is gone"),
            };
            let count = count.expect("a reply");
            assert!(count > 0, "the server has ended the connection");
            self.read.extend_from_slice(&buffer[..count]);
        }
    }

    /// Asks for a data port with PASV or EPSV, and connects to it.
    #[track_caller]
    pub fn data_socket(&mut self, command: &str) -> TcpStream {
        let reply = self.ask(command);
        let port = match reply.code {
            227 => pasv_port(&reply.text),
            229 => reply.text.rsplit('|').nth(1).and_then(|it| it.parse().ok()),
            _ => None,
        };
        let port = port.unwrap_or_else(|| panic!("{command}: {}", reply.text));
        connect(SocketAddr::new(self.server.ip(), port))
    }

    /// Does TLS on a data connection, which the server begins behind its 150.
    pub fn secure(&self, socket: TcpStream) -> Data {
        Data(handshake(&self.tls, self.server.ip(), socket))
    }

    /// Gives a command with a data connection, up to its handshake.
    #[track_caller]
    pub fn begin(&mut self, passive: &str, line: &str) -> Data {
        let socket = self.data_socket(passive);
        let reply = self.ask(line);
        assert_eq!(reply.code, 150, "{line}: {}", reply.text);
        self.secure(socket)
    }
}

impl Data {
    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("send data");
        self.0.flush().expect("send data");
    }

    /// Takes at most so many bytes, at least one.
    pub fn some(&mut self, at_most: usize) -> usize {
        let mut buffer = vec![0; at_most];
        self.0.read(&mut buffer).expect("receive data")
    }

    /// Takes all that comes up to the server's close_notify, without which it is no end.
    pub fn all(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("data with an end");
        self.finish();
        bytes
    }

    /// Ends it with close_notify.
    pub fn finish(mut self) {
        self.0.conn.send_close_notify();
        self.0.flush().expect("send close_notify");
    }

    /// Ends it as a process does that is killed: with a FIN and nothing else.
    pub fn break_off(self) {
        self.0.sock.shutdown(Shutdown::Both).expect("shut down");
    }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).expect("connect");
    stream.set_nodelay(true).expect("set TCP_NODELAY");
    for set in [TcpStream::set_read_timeout, TcpStream::set_write_timeout] {
        set(&stream, Some(PATIENCE)).expect("set a time-out");
    }
    stream
}

fn handshake(tls: &Arc<ClientConfig>, server: IpAddr, stream: TcpStream) -> TlsStream {
    let name = ServerName::from(server);
    let connection = ClientConnection::new(Arc::clone(tls), name).expect("begin TLS");
    let mut stream = StreamOwned::new(connection, stream);
    while stream.conn.is_handshaking() {
        let StreamOwned { conn, sock } = &mut stream;
        conn.complete_io(sock).expect("TLS handshake");
    }
    stream
}

/// Trusts the one certificate that the server made for itself.
fn config(login: &FtpsLogin<'_>, tls: Tls, resumption: Resumption) -> ClientConfig {
    let pem = login.layover.data_dir().join("keys/ftps.pem");
    let certificate = CertificateDer::from_pem_file(pem).expect("read the server's certificate");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("trust the certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let version = match tls {
        Tls::V12 => &rustls::version::TLS12,
        Tls::V13 => &rustls::version::TLS13,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("TLS versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    if resumption == Resumption::No {
        config.resumption = rustls::client::Resumption::disabled();
    }
    config
}

/// The port in `227 ... (h1,h2,h3,h4,p1,p2)`.
fn pasv_port(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once('(')?;
    let numbers: Vec<u16> = rest
        .split_once(')')?
        .0
        .split(',')
        .filter_map(|number| number.parse().ok())
        .collect();
    match numbers[..] {
        [_, _, _, _, high, low] => Some(high * 256 + low),
        _ => None,
    }
}
