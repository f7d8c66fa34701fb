//! A web server that is told of events, within the tests' process: TLS with a certificate
//! of its own, one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use serde_json::Value;

use crate::wait::{self, PATIENCE};

/// In place of a status: the connection ends without an answer.
const SILENT: u16 = 0;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// Head and body.
    text: String,
}

impl Received {
    /// What stands behind the head.
    pub fn body(&self) -> &str {
        self.text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }

    /// The body as a document.
    pub fn event(&self) -> Value {
        serde_json::from_str(self.body()).expect("a body in JSON")
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.text, name)
    }
}

fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    headers
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// A receiver that listens as long as the process lives.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    authority: PathBuf,
    received: Arc<Mutex<Vec<Received>>>,
    status: Arc<AtomicU16>,
    is_slow: Arc<AtomicBool>,
}

impl Receiver {
    /// Starts one that takes everything; its certificate is written into `folder`.
    pub fn start(folder: &Path) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let authority = folder.join("receiver.pem");
        std::fs::write(&authority, made.cert.pem()).expect("write the certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let receiver = Self {
            address: listener.local_addr().expect("an address"),
            authority,
            received: Arc::default(),
            status: Arc::new(AtomicU16::new(200)),
            is_slow: Arc::default(),
        };
        let (received, status) = (Arc::clone(&receiver.received), Arc::clone(&receiver.status));
        let is_slow = Arc::clone(&receiver.is_slow);
        std::thread::spawn(move || {
            for tcp in listener.incoming().filter_map(Result::ok) {
                let (config, received) = (Arc::clone(&config), Arc::clone(&received));
                let (status, is_slow) = (Arc::clone(&status), Arc::clone(&is_slow));
                std::thread::spawn(move || take(tcp, config, &received, &status, &is_slow));
            }
        });
        receiver
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("https://localhost:{}/events", self.address.port())
    }

    /// The file with its certificate.
    pub fn authority(&self) -> &str {
        self.authority.to_str().expect("text")
    }

    /// Answers with this status from now on.
    pub fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// Ends connections without an answer from now on.
    pub fn fall_silent(&self) {
        self.answer(SILENT);
    }

    /// From now on, takes requests and does not say so, until it [goes on](Self::go_on).
    pub fn pause(&self) {
        self.is_slow.store(true, Ordering::SeqCst);
    }

    /// Says so at once again, also of what waits for its answer.
    pub fn go_on(&self) {
        self.is_slow.store(false, Ordering::SeqCst);
    }

    /// What it took so far: what was, or is to be, answered with 2xx.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().expect("not poisoned").clone()
    }
}

/// One request, and its answer.
fn take(
    tcp: TcpStream,
    config: Arc<ServerConfig>,
    received: &Mutex<Vec<Received>>,
    status: &AtomicU16,
    is_slow: &AtomicBool,
) {
    let _ = tcp.set_read_timeout(Some(PATIENCE));
    let Ok(connection) = ServerConnection::new(config) else {
        return;
    };
    let mut stream = StreamOwned::new(connection, tcp);
    let Some(text) = request(&mut stream) else {
        return;
    };
    let status = status.load(Ordering::SeqCst);
    if status == SILENT {
        return;
    }
    if (200..300).contains(&status) {
        received
            .lock()
            .expect("not poisoned")
            .push(Received { text });
    }
    wait::within(PATIENCE, || (!is_slow.load(Ordering::SeqCst)).then_some(()));
    let answer = format!("HTTP/1.1 {status} Answered\r\ncontent-length: 0\r\n\r\n");
    let _ = stream.write_all(answer.as_bytes());
    stream.conn.send_close_notify();
    let _ = stream.flush();
}

fn request(stream: &mut impl Read) -> Option<String> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(piece.get(..read)?);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let length = header(&text, "content-length").and_then(|length| length.parse().ok());
        let body = text.split_once("\r\n\r\n").map(|(_, body)| body.len());
        if body.is_some_and(|body| length.is_some_and(|length: usize| body >= length)) {
            return Some(text);
        }
    }
}
