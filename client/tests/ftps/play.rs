//! A server that does what a test tells it: says something else, says nothing, breaks off.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use layover_client::ServerSystem;
use layover_client::ftps::{
    FtpsOptions, ListingOptions, Now, Security, Timeouts, TlsOptions, TlsVersions, Transfer, Trust,
};
use layover_depot::Secret;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::authority::{Authority, Leaf};
use crate::servers::now;

/// What is done instead of the usual answer to a command.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// These bytes are sent as they are.
    Say(Vec<u8>),
    /// Nothing is said, and the connection stays.
    Hang,
    /// The connection is closed.
    Cut,
    /// These bytes are sent, and the connection is closed.
    Leave(&'static str),
}

/// How the data of a download or a listing ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As it should.
    Whole,
    /// All bytes, but no close_notify.
    NoCloseNotify,
    /// So many bytes, then the connection is closed, and 226 all the same.
    CutAt(usize),
    /// So many bytes, then nothing more.
    HangAt(usize),
}

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Play {
    pub(crate) security: Security,
    pub(crate) features: &'static [&'static str],
    /// A command's beginning, and what is done instead of the usual.
    pub(crate) instead: Vec<(&'static str, Answer)>,
    /// What RETR, MLSD and LIST send.
    pub(crate) content: Vec<u8>,
    pub(crate) end: End,
    /// Uploads are read up to here and then broken off.
    pub(crate) upload_cut: Option<usize>,
}

impl Default for Play {
    fn default() -> Self {
        Self {
            security: Security::Plain,
            features: &[
                "SIZE",
                "MDTM",
                "REST STREAM",
                "MLST type*;size*;modify*;",
                "UTF8",
            ],
            instead: Vec::new(),
            content: Vec::new(),
            end: End::Whole,
            upload_cut: None,
        }
    }
}

impl Play {
    pub(crate) fn instead(mut self, command: &'static str, answer: Answer) -> Self {
        self.instead.push((command, answer));
        self
    }

    pub(crate) fn say(self, command: &'static str, words: &str) -> Self {
        self.instead(command, Answer::Say(format!("{words}\r\n").into_bytes()))
    }
}

/// A script that is played.
pub(crate) struct Stage {
    address: SocketAddr,
    security: Security,
    authority: Authority,
    heard: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Vec<u8>>>,
}

struct Actor {
    play: Play,
    heard: Arc<Mutex<Vec<String>>>,
    stored: Arc<Mutex<Vec<u8>>>,
    acceptor: TlsAcceptor,
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
}

impl Stage {
    pub(crate) async fn set(play: Play) -> Self {
        let authority = Authority::new("the script's authority");
        let leaf = authority.sign("127.0.0.1", |_| {});
        Self::showing(play, authority, &leaf).await
    }

    /// One that shows this certificate.
    pub(crate) async fn showing(play: Play, authority: Authority, leaf: &Leaf) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let stage = Self {
            address: listener.local_addr().unwrap(),
            security: play.security,
            authority,
            heard: Arc::default(),
            stored: Arc::default(),
        };
        let actor = Arc::new(Actor {
            play,
            heard: Arc::clone(&stage.heard),
            stored: Arc::clone(&stage.stored),
            acceptor: acceptor(leaf),
        });
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let actor = Arc::clone(&actor);
                tokio::spawn(async move { actor.act(tcp).await });
            }
        });
        stage
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The commands so far.
    pub(crate) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// What was uploaded last.
    pub(crate) fn stored(&self) -> Vec<u8> {
        self.stored.lock().unwrap().clone()
    }

    /// Options that reach it; it is waited for half a second.
    pub(crate) fn options(&self) -> FtpsOptions {
        let patience = Duration::from_millis(500);
        FtpsOptions {
            host: "127.0.0.1".to_owned(),
            port: Some(self.port()),
            username: "partner".to_owned(),
            password: Secret::new("secret"),
            security: self.security,
            transfer: Transfer::Passive,
            tls: TlsOptions {
                versions: TlsVersions::From12,
                trust: Trust::Authorities {
                    pem: self.authority.pem().into_bytes(),
                    pin: None,
                },
                identity: None,
            },
            system: ServerSystem::Unix,
            listing: ListingOptions::default(),
            source: None,
            timeouts: Timeouts {
                connect: patience,
                reply: patience,
                data: patience,
                stall: patience,
            },
            now: Now::new(now),
        }
    }
}

fn acceptor(leaf: &Leaf) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let chain = vec![CertificateDer::from_pem_slice(leaf.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

trait Both: tokio::io::AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

impl Actor {
    async fn act(&self, tcp: TcpStream) {
        // What goes wrong here is what the test is about.
        let _ = self.perform(tcp).await;
    }

    async fn perform(&self, mut tcp: TcpStream) -> io::Result<()> {
        if self.play.security == Security::Implicit {
            let tls = self.acceptor.accept(tcp).await?;
            return self.converse(BufReader::new(Box::new(tls)), true).await;
        }
        if self.play.security == Security::Plain {
            return self.converse(BufReader::new(Box::new(tcp)), true).await;
        }
        self.greet(&mut tcp).await?;
        let mut line = Vec::new();
        while tcp.read_u8().await.inspect(|byte| line.push(*byte))? != b'\n' {}
        self.hear(&line);
        match self.answer("AUTH TLS") {
            Some(answer) => self.give(&mut tcp, &answer).await?,
            None => tcp.write_all(b"234 go on\r\n").await?,
        }
        let tls = self.acceptor.accept(tcp).await?;
        self.converse(BufReader::new(Box::new(tls)), false).await
    }

    fn hear(&self, line: &[u8]) -> String {
        let line = String::from_utf8_lossy(line).trim_end().to_owned();
        self.heard.lock().unwrap().push(line.clone());
        line
    }

    fn answer(&self, line: &str) -> Option<Answer> {
        let known = self
            .play
            .instead
            .iter()
            .find(|(command, _)| line.starts_with(command));
        known.map(|(_, answer)| answer.clone())
    }

    async fn give(&self, to: &mut (dyn Both + '_), answer: &Answer) -> io::Result<()> {
        match answer {
            Answer::Say(words) => {
                to.write_all(words).await?;
                to.flush().await
            }
            Answer::Hang => std::future::pending().await,
            Answer::Cut => Err(io::Error::other("cut")),
            Answer::Leave(words) => {
                to.write_all(words.as_bytes()).await?;
                to.flush().await?;
                Err(io::Error::other("left"))
            }
        }
    }

    async fn greet(&self, to: &mut (dyn Both + '_)) -> io::Result<()> {
        let usual = Answer::Say(b"220 ready\r\n".to_vec());
        let greeting = self.answer("greeting").unwrap_or(usual);
        self.give(to, &greeting).await
    }

    async fn converse(
        &self,
        mut control: BufReader<Box<dyn Both>>,
        greets: bool,
    ) -> io::Result<()> {
        if greets {
            self.greet(control.get_mut().as_mut()).await?;
        }
        let (mut data, mut offset) = (None, 0);
        loop {
            let mut line = Vec::new();
            if control.read_until(b'\n', &mut line).await? == 0 {
                return Ok(());
            }
            let line = self.hear(&line);
            let to = control.get_mut();
            if let Some(answer) = self.answer(&line) {
                self.give(to.as_mut(), &answer).await?;
                continue;
            }
            let verb = line.split(' ').next().unwrap_or_default();
            let reply = match verb {
                "USER" => "331 and the password".to_owned(),
                "PASS" => "230 welcome".to_owned(),
                "FEAT" => {
                    let features: String = self
                        .play
                        .features
                        .iter()
                        .map(|it| format!(" {it}\r\n"))
                        .collect();
                    format!("211-Features:\r\n{features}211 End")
                }
                "PBSZ" | "PROT" | "OPTS" | "TYPE" | "CWD" | "NOOP" | "DELE" => {
                    "200 done".to_owned()
                }
                "PWD" => "257 \"/\" is where you are".to_owned(),
                "ABOR" => "226 nothing to abort".to_owned(),
                "QUIT" => "221 goodbye".to_owned(),
                "EPSV" | "PASV" => {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
                    let port = listener.local_addr()?.port();
                    data = Some(listener);
                    if verb == "EPSV" {
                        format!("229 here (|||{port}|)")
                    } else {
                        // A private address that nobody can reach.
                        let [high, low] = port.to_be_bytes();
                        format!("227 here (10,99,99,99,{high},{low})")
                    }
                }
                "SIZE" => format!("213 {}", self.stored.lock().unwrap().len()),
                "REST" => {
                    offset = line
                        .split(' ')
                        .nth(1)
                        .and_then(|it| it.parse().ok())
                        .unwrap_or(0);
                    "350 go on".to_owned()
                }
                "RETR" | "MLSD" | "LIST" | "STOR" | "APPE" => {
                    let Some(listener) = data.take() else {
                        return Ok(());
                    };
                    to.write_all(b"150 here it comes\r\n").await?;
                    to.flush().await?;
                    self.transfer(verb, listener, std::mem::take(&mut offset))
                        .await?
                }
                _ => "502 what?".to_owned(),
            };
            to.write_all(format!("{reply}\r\n").as_bytes()).await?;
            to.flush().await?;
        }
    }

    async fn transfer(
        &self,
        verb: &str,
        listener: TcpListener,
        offset: usize,
    ) -> io::Result<String> {
        let (tcp, _) = listener.accept().await?;
        let mut socket = if self.play.security == Security::Plain {
            Socket::Plain(tcp)
        } else {
            Socket::Tls(Box::new(self.acceptor.accept(tcp).await?))
        };
        let stream: &mut dyn Both = match &mut socket {
            Socket::Plain(tcp) => tcp,
            Socket::Tls(tls) => tls.as_mut(),
        };
        if matches!(verb, "STOR" | "APPE") {
            return Ok(self.receive(verb, stream, offset).await);
        }
        let content = self.play.content.get(offset..).unwrap_or_default();
        let length = match self.play.end {
            End::CutAt(length) | End::HangAt(length) => length.min(content.len()),
            End::Whole | End::NoCloseNotify => content.len(),
        };
        stream.write_all(&content[..length]).await?;
        stream.flush().await?;
        match self.play.end {
            End::Whole => stream.shutdown().await?,
            End::HangAt(_) => std::future::pending::<()>().await,
            End::NoCloseNotify | End::CutAt(_) => {}
        }
        drop(socket);
        Ok(self.after())
    }

    async fn receive(&self, verb: &str, stream: &mut dyn Both, offset: usize) -> String {
        let mut came = Vec::new();
        let read = match self.play.upload_cut {
            Some(limit) => {
                came.resize(limit, 0);
                let read = stream.read_exact(&mut came).await;
                return match read {
                    Ok(_) => "552 no room".to_owned(),
                    Err(_) => "426 broken off".to_owned(),
                };
            }
            None => stream.read_to_end(&mut came).await,
        };
        let mut stored = self.stored.lock().unwrap();
        match verb {
            "APPE" => {}
            _ => stored.truncate(offset),
        }
        stored.extend_from_slice(&came);
        match read {
            Ok(_) => self.after(),
            Err(_) => "426 broken off".to_owned(),
        }
    }

    /// What is said behind a transfer.
    fn after(&self) -> String {
        match self.answer("after") {
            Some(Answer::Say(words)) => String::from_utf8_lossy(&words).trim_end().to_owned(),
            _ => "226 complete".to_owned(),
        }
    }
}
