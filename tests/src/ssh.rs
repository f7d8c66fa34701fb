//! A raw SSH client on russh: single authentication requests, any channel, any source address.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use russh::client::{AuthResult, Config, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{Certificate, HashAlg, PrivateKeyWithHashAlg};
use russh::{Channel, ChannelMsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;

use crate::keys::KeyPair;
use crate::sftp::Sftp;
use crate::wait::{self, PATIENCE};

/// The runtime on which all raw clients live; tests themselves are plain threads.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("start runtime")
    })
}

/// Waits for `future` on the raw clients' runtime.
///
/// # Panics
/// When it is not ready within [`PATIENCE`].
#[track_caller]
pub(crate) fn block<F: Future>(what: &str, future: F) -> F::Output {
    runtime()
        .block_on(wait::bounded(PATIENCE, future))
        .unwrap_or_else(|| panic!("no answer within {PATIENCE:?}: {what}"))
}

/// The answer to one authentication request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Logged in.
    Accepted,
    /// Refused; the methods that can go on.
    Refused {
        /// As the server lists them.
        methods: String,
        /// SSH's "partial success".
        partial: bool,
    },
    /// The server closed the connection instead.
    Closed(String),
}

impl Verdict {
    /// Makes sure that the login was accepted.
    #[track_caller]
    pub fn expect_accepted(self) {
        assert_eq!(self, Self::Accepted, "the login should have been accepted");
    }

    /// Makes sure that the login was refused in order.
    #[track_caller]
    pub fn expect_refused(self) {
        assert!(
            matches!(self, Self::Refused { .. }),
            "should have been refused: {self:?}"
        );
    }

    /// Whether the login was accepted.
    pub fn accepted(&self) -> bool {
        *self == Self::Accepted
    }
}

/// Takes every host key: the tests with OpenSSH look at that.
#[derive(Debug)]
struct AnyHost;

impl Handler for AnyHost {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        _key: &russh::keys::PublicKeyOrCertificate,
    ) -> Result<bool, Self::Error> {
        Ok(true)
    }
}

/// One SSH connection. Dropping it closes the connection.
pub struct Ssh {
    handle: Handle<AnyHost>,
}

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ssh")
            .field("closed", &self.handle.is_closed())
            .finish()
    }
}

impl Ssh {
    /// Connects from 127.0.0.1 and exchanges keys.
    pub fn connect(server: SocketAddr) -> Result<Self, String> {
        Self::connect_from(IpAddr::V4(Ipv4Addr::LOCALHOST), server)
    }

    /// Connects from the local address `from` and exchanges keys.
    pub fn connect_from(from: IpAddr, server: SocketAddr) -> Result<Self, String> {
        block("SSH connection", async {
            let socket = match from {
                IpAddr::V4(_) => TcpSocket::new_v4(),
                IpAddr::V6(_) => TcpSocket::new_v6(),
            };
            let socket = socket.map_err(|error| format!("socket: {error}"))?;
            socket
                .bind(SocketAddr::new(from, 0))
                .map_err(|error| format!("bind: {error}"))?;
            let stream = socket
                .connect(server)
                .await
                .map_err(|error| format!("connect: {error}"))?;
            stream
                .set_nodelay(true)
                .map_err(|error| format!("nodelay: {error}"))?;
            let config = Arc::new(Config {
                nodelay: true,
                ..Config::default()
            });
            let handle = russh::client::connect_stream(config, stream, AnyHost)
                .await
                .map_err(|error| format!("SSH: {error}"))?;
            Ok(Self { handle })
        })
    }

    /// Tries a password.
    pub fn password(&mut self, user: &str, password: &str) -> Verdict {
        let answer = block(
            "password",
            self.handle.authenticate_password(user, password),
        );
        verdict(answer)
    }

    /// Tries the "none" method, which lists what the server offers.
    pub fn none(&mut self, user: &str) -> Verdict {
        let answer = block("none", self.handle.authenticate_none(user));
        verdict(answer)
    }

    /// Tries a key, RSA with SHA-256.
    pub fn key(&mut self, user: &str, pair: &KeyPair) -> Verdict {
        self.key_with(user, pair, Some(HashAlg::Sha256))
    }

    /// Tries a key with the given signature hash (RSA only; `None` is SHA-1).
    pub fn key_with(&mut self, user: &str, pair: &KeyPair, hash: Option<HashAlg>) -> Verdict {
        let key = PrivateKeyWithHashAlg::new(pair.load(), hash);
        let answer = block("key", self.handle.authenticate_publickey(user, key));
        verdict(answer)
    }

    /// Shows a certificate of the pair's key, whatever is wrong with it.
    pub fn certificate(&mut self, user: &str, pair: &KeyPair, certificate: Certificate) -> Verdict {
        let shown = self
            .handle
            .authenticate_openssh_cert(user, pair.load(), certificate);
        verdict(block("certificate", shown))
    }

    /// Answers every question of keyboard-interactive with the password.
    pub fn interactive(&mut self, user: &str, password: &str) -> Verdict {
        let handle = &mut self.handle;
        block("keyboard-interactive", async {
            let user = user.to_owned();
            let mut reply = handle
                .authenticate_keyboard_interactive_start(user, None)
                .await;
            loop {
                match reply {
                    Ok(KeyboardInteractiveAuthResponse::Success) => return Verdict::Accepted,
                    Ok(KeyboardInteractiveAuthResponse::Failure {
                        remaining_methods,
                        partial_success,
                    }) => {
                        let methods = format!("{remaining_methods:?}");
                        return Verdict::Refused {
                            methods,
                            partial: partial_success,
                        };
                    }
                    Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => {
                        let answers = vec![password.to_owned(); prompts.len()];
                        reply = handle
                            .authenticate_keyboard_interactive_respond(answers)
                            .await;
                    }
                    Err(error) => return Verdict::Closed(error.to_string()),
                }
            }
        })
    }

    /// Opens a session channel; says why not.
    pub fn session(&self) -> Result<SessionChannel, String> {
        let opened = block("session channel", self.handle.channel_open_session());
        opened
            .map(|channel| SessionChannel { channel })
            .map_err(|error| error.to_string())
    }

    /// Asks the server to connect to an address for us.
    pub fn direct_tcpip(&self, to: SocketAddr) -> Result<(), String> {
        let port = u32::from(to.port());
        let open = self
            .handle
            .channel_open_direct_tcpip(to.ip().to_string(), port, "127.0.0.1", 1);
        block("direct-tcpip", open)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Asks the server to listen for us.
    pub fn tcpip_forward(&mut self) -> Result<(), String> {
        let ask = self.handle.tcpip_forward("127.0.0.1", 0);
        block("tcpip-forward", ask)
            .map(drop)
            .map_err(|error| error.to_string())
    }

    /// Opens a channel and starts SFTP on it.
    pub fn sftp(self) -> Result<Sftp, String> {
        let channel = self.session()?;
        Sftp::start(self, channel.channel)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.handle.is_closed()
    }

    /// Waits for the server to end the connection; whether it did within `limit`.
    pub fn closed_within(&self, limit: Duration) -> bool {
        wait::within(limit, || self.is_closed().then_some(())).is_some()
    }
}

fn verdict(answer: Result<AuthResult, russh::Error>) -> Verdict {
    match answer {
        Ok(AuthResult::Success) => Verdict::Accepted,
        Ok(AuthResult::Failure {
            remaining_methods,
            partial_success,
        }) => Verdict::Refused {
            methods: format!("{remaining_methods:?}"),
            partial: partial_success,
        },
        Err(error) => Verdict::Closed(error.to_string()),
    }
}

/// A session channel on which nothing was asked for yet.
#[derive(Debug)]
pub struct SessionChannel {
    channel: Channel<russh::client::Msg>,
}

/// What can be asked of a session channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A command.
    Exec,
    /// A shell.
    Shell,
    /// A terminal.
    Pty,
    /// A subsystem that does not exist here.
    Subsystem(&'static str),
    /// Forwarding of the agent.
    Agent,
    /// Forwarding of X11.
    X11,
    /// A variable of the environment.
    Env,
}

impl SessionChannel {
    /// Closes it.
    pub fn close(self) {
        block("channel close", self.channel.close()).expect("the connection is there");
    }

    /// Asks; whether the server agreed.
    pub fn ask(&mut self, what: Ask) -> bool {
        let channel = &mut self.channel;
        block("channel request", async {
            let sent = match what {
                Ask::Exec => channel.exec(true, "id").await,
                Ask::Shell => channel.request_shell(true).await,
                Ask::Pty => channel.request_pty(true, "xterm", 80, 24, 0, 0, &[]).await,
                Ask::Subsystem(name) => channel.request_subsystem(true, name).await,
                Ask::Agent => channel.agent_forward(true).await,
                Ask::X11 => {
                    channel
                        .request_x11(true, false, "MIT-MAGIC-COOKIE-1", "00", 0)
                        .await
                }
                Ask::Env => channel.set_env(true, "LD_PRELOAD", "/evil.so").await,
            };
            if sent.is_err() {
                return false;
            }
            loop {
                match channel.wait().await {
                    Some(ChannelMsg::Success) => return true,
                    Some(ChannelMsg::Failure | ChannelMsg::Close) | None => return false,
                    Some(_) => {}
                }
            }
        })
    }
}

/// A plain TCP connection that says nothing by itself: what a stranger sees of the server.
#[derive(Debug)]
pub struct Caller {
    stream: TcpStream,
}

impl Caller {
    /// Connects from the local address `from`.
    pub fn call(from: IpAddr, server: SocketAddr) -> Self {
        let connect = async {
            let socket = match from {
                IpAddr::V4(_) => TcpSocket::new_v4(),
                IpAddr::V6(_) => TcpSocket::new_v6(),
            }
            .expect("socket");
            socket.bind(SocketAddr::new(from, 0)).expect("bind");
            socket
                .connect(server)
                .await
                .expect("the kernel accepts connections by itself")
        };
        Self {
            stream: block("TCP connection", connect),
        }
    }

    /// The next bytes of the server: `Some` and empty when it closed the connection, `None` when
    /// it said nothing within `limit`.
    pub fn hear(&mut self, limit: Duration) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 64 * 1024];
        let read = self.stream.read(&mut bytes);
        let outcome = runtime().block_on(wait::bounded(limit, read))?;
        // A reset is an end, too.
        bytes.truncate(outcome.unwrap_or(0));
        Some(bytes)
    }

    /// Whether the server greets, as SSH or as FTP does.
    pub fn is_greeted(&mut self) -> bool {
        let heard = self.hear(PATIENCE).expect("a greeting or an end");
        assert!(
            heard.is_empty() || heard.starts_with(b"SSH-2.0-") || heard.starts_with(b"220"),
            "{}",
            heard.escape_ascii()
        );
        !heard.is_empty()
    }

    /// Sends bytes; `false` when the server is gone.
    pub fn say(&mut self, bytes: &[u8]) -> bool {
        block("room to send", self.stream.write_all(bytes)).is_ok()
    }

    /// Waits for the end of the connection, reading over what comes before; whether it came.
    pub fn ends_within(&mut self, limit: Duration) -> bool {
        let timer = wait::Timer::start();
        while let Some(left) = limit.checked_sub(timer.elapsed()) {
            match self.hear(left) {
                Some(bytes) if bytes.is_empty() => return true,
                Some(_) => {}
                None => return false,
            }
        }
        false
    }
}

/// The algorithms a server offers, from its first key exchange packet (RFC 4253 section 7.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Key exchange.
    pub kex: Vec<String>,
    /// Host keys.
    pub host_keys: Vec<String>,
    /// Ciphers, client to server.
    pub ciphers: Vec<String>,
    /// MACs, client to server.
    pub macs: Vec<String>,
    /// Compression, client to server.
    pub compression: Vec<String>,
}

impl Offer {
    /// Asks the server for its offer.
    pub fn of(server: SocketAddr) -> Self {
        let mut caller = Caller::call(IpAddr::V4(Ipv4Addr::LOCALHOST), server);
        caller.say(b"SSH-2.0-layover_test\r\n");
        let mut heard = Vec::new();
        loop {
            let news = caller.hear(PATIENCE).expect("the offer");
            assert!(!news.is_empty(), "closed after {}", heard.escape_ascii());
            heard.extend_from_slice(&news);
            if let Some(offer) = Self::parse(&heard) {
                return offer;
            }
        }
    }

    fn parse(heard: &[u8]) -> Option<Self> {
        let end = heard.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let packet = &heard[end..];
        let length = u32::from_be_bytes(packet.get(..4)?.try_into().ok()?) as usize;
        let payload = packet.get(5..4 + length)?;
        assert_eq!(
            payload.first(),
            Some(&20),
            "the first packet is the key exchange's"
        );
        let mut reader = crate::packet::Reader::new(&payload[17..]);
        let mut list = || -> Vec<String> {
            let text = String::from_utf8_lossy(reader.string()).into_owned();
            text.split(',')
                .filter(|name| !name.is_empty())
                .map(ToOwned::to_owned)
                .collect()
        };
        let (kex, host_keys, ciphers, _) = (list(), list(), list(), list());
        let (macs, _, compression) = (list(), list(), list());
        Some(Self {
            kex,
            host_keys,
            ciphers,
            macs,
            compression,
        })
    }
}
