//! An SSH server in this process whose logins and answers a test dictates.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use russh::keys::ssh_key::{Algorithm, HashAlg, PrivateKey, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handler, Msg, Response, Session, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelMsg, Error, MethodKind, MethodSet};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{options, password};
use crate::sftp::codec::Frames;
use crate::sftp::{Fingerprint, HostTrust, KnownKeys, SftpOptions, SftpRemote};
use layover_depot::timer::timeout;

/// Which proofs the server takes.
#[derive(Clone)]
pub(super) struct Logins {
    pub(super) methods: Vec<MethodKind>,
    pub(super) password: &'static str,
    pub(super) key: Option<PublicKey>,
    /// The key alone is not enough.
    pub(super) password_after_key: bool,
    /// What keyboard-interactive asks, question by question.
    pub(super) questions: Vec<Vec<(&'static str, bool)>>,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            methods: vec![MethodKind::Password],
            password: "right",
            key: None,
            password_after_key: false,
            questions: Vec::new(),
        }
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: u8,
    pub(super) id: u32,
    pub(super) fields: Bytes,
}

impl Request {
    fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.fields.split_to(4).as_ref().try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        u64::from_be_bytes(self.fields.split_to(8).as_ref().try_into().unwrap())
    }

    fn string(&mut self) -> Bytes {
        let length = self.u32() as usize;
        self.fields.split_to(length)
    }
}

/// What the server does with a request.
pub(super) enum Reaction {
    /// As a server should.
    Usual,
    /// Sends these bytes.
    Say(Vec<u8>),
    Silence,
    HangUp,
}

type React = Box<dyn Fn(&Request) -> Reaction + Send + Sync>;

/// What the server has and how it behaves.
pub(super) struct Script {
    pub(super) version: u32,
    pub(super) extensions: Vec<&'static str>,
    /// Packet, read, write.
    pub(super) limits: [u64; 3],
    pub(super) file: Mutex<Vec<u8>>,
    /// The size that it says its file has.
    pub(super) size: Option<u64>,
    /// Most that it gives at once.
    pub(super) most_read: usize,
    /// Waits until no more requests come and answers the last one first.
    pub(super) reversed: bool,
    /// Packets of names, one after the other.
    pub(super) names: Mutex<VecDeque<Vec<u8>>>,
    pub(super) react: React,
    /// Kinds of the requests that came.
    pub(super) seen: Mutex<Vec<u8>>,
    /// Longest content of a READ that was asked for.
    pub(super) longest_read: Mutex<u32>,
    /// Longest content of a WRITE that came.
    pub(super) longest_write: Mutex<usize>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            version: 3,
            extensions: Vec::new(),
            limits: [0; 3],
            file: Mutex::default(),
            size: None,
            most_read: usize::MAX,
            reversed: false,
            names: Mutex::default(),
            react: Box::new(|_| Reaction::Usual),
            seen: Mutex::default(),
            longest_read: Mutex::default(),
            longest_write: Mutex::default(),
        }
    }
}

pub(super) fn string(text: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(text);
    out
}

pub(super) fn packet(kind: u8, id: u32, fields: &[&[u8]]) -> Vec<u8> {
    let mut out = BytesMut::new();
    let length = 5 + fields.iter().map(|field| field.len()).sum::<usize>();
    out.put_u32(u32::try_from(length).unwrap());
    out.put_u8(kind);
    out.put_u32(id);
    for field in fields {
        out.put_slice(field);
    }
    out.to_vec()
}

pub(super) fn status(id: u32, code: u32, words: &str) -> Vec<u8> {
    packet(
        101,
        id,
        &[&code.to_be_bytes(), &string(words.as_bytes()), &string(b"")],
    )
}

/// The fields of a packet of names, each a regular file of one byte.
pub(super) fn names(names: &[&[u8]]) -> Vec<u8> {
    let mut out = u32::try_from(names.len()).unwrap().to_be_bytes().to_vec();
    for name in names {
        out.extend_from_slice(&string(name));
        out.extend_from_slice(&string(b"-rw-r--r--"));
        out.extend_from_slice(&attrs(1));
    }
    out
}

fn attrs(size: u64) -> Vec<u8> {
    let mut out = 5_u32.to_be_bytes().to_vec();
    out.extend_from_slice(&size.to_be_bytes());
    out.extend_from_slice(&0o100_644_u32.to_be_bytes());
    out
}

impl Script {
    fn greet(&self) -> Vec<u8> {
        let pairs: Vec<u8> = self
            .extensions
            .iter()
            .flat_map(|name| [string(name.as_bytes()), string(b"1")].concat())
            .collect();
        packet(2, self.version, &[&pairs])
    }

    fn answer(&self, mut request: Request) -> Vec<u8> {
        let id = request.id;
        match request.kind {
            3 | 11 => packet(102, id, &[&string(b"h")]),
            5 => {
                drop(request.string());
                let offset = usize::try_from(request.u64()).unwrap();
                let length = request.u32();
                let mut longest = self.longest_read.lock().unwrap();
                *longest = (*longest).max(length);
                let file = self.file.lock().unwrap();
                let end = file
                    .len()
                    .min(offset.saturating_add((length as usize).min(self.most_read)));
                if offset >= file.len() {
                    return status(id, 1, "end of file");
                }
                packet(103, id, &[&string(&file[offset..end])])
            }
            6 => {
                drop(request.string());
                let offset = usize::try_from(request.u64()).unwrap();
                let data = request.string();
                let mut longest = self.longest_write.lock().unwrap();
                *longest = (*longest).max(data.len());
                let mut file = self.file.lock().unwrap();
                let end = offset + data.len();
                if file.len() < end {
                    file.resize(end, 0);
                }
                file[offset..end].copy_from_slice(&data);
                status(id, 0, "")
            }
            7 | 8 => {
                let real = self.file.lock().unwrap().len() as u64;
                packet(105, id, &[&attrs(self.size.unwrap_or(real))])
            }
            12 => match self.names.lock().unwrap().pop_front() {
                Some(names) => packet(104, id, &[&names]),
                None => status(id, 1, ""),
            },
            4 | 13 | 14 | 18 => status(id, 0, ""),
            200 => match request.string().as_ref() {
                b"limits@openssh.com" => {
                    let said: Vec<u8> = self
                        .limits
                        .iter()
                        .chain(&[0])
                        .flat_map(|limit| limit.to_be_bytes())
                        .collect();
                    packet(201, id, &[&said])
                }
                b"check-file-name" => {
                    let hash = Sha256::digest(self.file.lock().unwrap().as_slice());
                    packet(201, id, &[&string(b"sha256"), &hash])
                }
                _ => status(id, 8, ""),
            },
            _ => status(id, 8, ""),
        }
    }

    async fn serve(&self, mut channel: Channel<Msg>) {
        let mut frames = Frames::default();
        let mut waiting = Vec::new();
        loop {
            let quiet = Duration::from_millis(20);
            let message = if waiting.is_empty() {
                channel.wait().await
            } else {
                match timeout(quiet, channel.wait()).await {
                    Ok(message) => message,
                    Err(_) => {
                        waiting.reverse();
                        for answer in waiting.drain(..) {
                            send(&channel, answer).await;
                        }
                        continue;
                    }
                }
            };
            match message {
                Some(ChannelMsg::Data { data }) => frames.push(data),
                Some(_) => continue,
                None => return,
            }
            while let Some(mut packet) = frames.next_packet().unwrap() {
                let kind = packet.split_to(1)[0];
                let id = u32::from_be_bytes(packet.split_to(4).as_ref().try_into().unwrap());
                self.seen.lock().unwrap().push(kind);
                let request = Request {
                    kind,
                    id,
                    fields: packet,
                };
                let answer = match (self.react)(&request) {
                    Reaction::Usual if kind == 1 => self.greet(),
                    Reaction::Usual => self.answer(request),
                    Reaction::Say(bytes) => bytes,
                    Reaction::Silence => continue,
                    Reaction::HangUp => {
                        channel.close().await.unwrap();
                        return;
                    }
                };
                if self.reversed {
                    waiting.push(answer);
                } else {
                    send(&channel, answer).await;
                }
            }
        }
    }
}

async fn send(channel: &Channel<Msg>, bytes: Vec<u8>) {
    // The client may have gone.
    channel.data_bytes(bytes).await.ok();
}

struct Connection {
    logins: Logins,
    script: Arc<Script>,
    tried: Arc<Mutex<Vec<&'static str>>>,
    asked: usize,
    key_accepted: bool,
    /// Whether a channel that the server opened was accepted.
    opened: Arc<Mutex<Option<bool>>>,
    channel: Option<Channel<Msg>>,
    serving: Option<AbortOnDropHandle<()>>,
}

impl Connection {
    fn refuse(&self) -> Auth {
        Auth::Reject {
            proceed_with_methods: Some(MethodSet::from(self.logins.methods.as_slice())),
            partial_success: false,
        }
    }

    fn try_password(&self, given: &[u8]) -> Auth {
        let enough = self.key_accepted || !self.logins.password_after_key;
        if given == self.logins.password.as_bytes() && enough {
            Auth::Accept
        } else {
            self.refuse()
        }
    }
}

impl Handler for Connection {
    type Error = Error;

    async fn auth_none(&mut self, _: &str) -> Result<Auth, Error> {
        Ok(self.refuse())
    }

    async fn auth_password(&mut self, _: &str, password: &str) -> Result<Auth, Error> {
        self.tried.lock().unwrap().push("password");
        Ok(self.try_password(password.as_bytes()))
    }

    async fn auth_publickey(&mut self, _: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Error> {
        self.tried.lock().unwrap().push("key");
        let right = self
            .logins
            .key
            .as_ref()
            .is_some_and(|known| known.key_data() == key.public_key.key_data());
        if !right {
            return Ok(self.refuse());
        }
        self.key_accepted = true;
        Ok(if self.logins.password_after_key {
            Auth::Reject {
                proceed_with_methods: Some(MethodSet::from(&[MethodKind::Password][..])),
                partial_success: true,
            }
        } else {
            Auth::Accept
        })
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _: &str,
        _: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Error> {
        self.tried.lock().unwrap().push("question");
        if let Some(mut response) = response
            && let Some(given) = response.next()
            && matches!(self.try_password(&given), Auth::Reject { .. })
        {
            return Ok(self.refuse());
        }
        let Some(prompts) = self.logins.questions.get(self.asked) else {
            return Ok(Auth::Accept);
        };
        self.asked += 1;
        Ok(Auth::Partial {
            name: "".into(),
            instructions: "".into(),
            prompts: prompts
                .iter()
                .map(|&(prompt, echo)| (prompt.into(), echo))
                .collect::<Vec<_>>()
                .into(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        self.channel = Some(channel);
        reply.accept().await;
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        id: ChannelId,
        name: &str,
        session: &mut Session,
    ) -> Result<(), Error> {
        assert_eq!(name, "sftp");
        let (handle, opened) = (session.handle(), Arc::clone(&self.opened));
        tokio::spawn(async move {
            let channel = handle
                .channel_open_forwarded_tcpip("localhost", 22, "localhost", 1)
                .await;
            *opened.lock().unwrap() = Some(channel.is_ok());
        });
        let channel = self.channel.take().unwrap();
        let script = Arc::clone(&self.script);
        self.serving = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            script.serve(channel).await;
        })));
        session.channel_success(id)
    }
}

pub(super) struct Scripted {
    pub(super) port: u16,
    pub(super) script: Arc<Script>,
    pub(super) tried: Arc<Mutex<Vec<&'static str>>>,
    /// Whether a channel that the server opened was accepted; unknown while
    /// unanswered.
    pub(super) opened: Arc<Mutex<Option<bool>>>,
    fingerprint: Fingerprint,
    _accepting: AbortOnDropHandle<()>,
}

impl Scripted {
    pub(super) async fn start(script: Script) -> Self {
        Self::start_with(script, Logins::default()).await
    }

    pub(super) async fn start_with(script: Script, logins: Logins) -> Self {
        let mut random = russh::keys::key::safe_rng();
        let host_key = PrivateKey::random(&mut random, Algorithm::Ed25519).unwrap();
        let text = host_key.fingerprint(HashAlg::Sha256).to_string();
        let fingerprint = Fingerprint::parse(&text).unwrap();
        let config = Arc::new(Config {
            keys: vec![host_key],
            methods: MethodSet::from(logins.methods.as_slice()),
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            ..Config::default()
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, tried) = (Arc::new(script), Arc::new(Mutex::default()));
        let (script_of, tried_of) = (Arc::clone(&script), Arc::clone(&tried));
        let opened = Arc::new(Mutex::default());
        let opened_of = Arc::clone(&opened);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let connection = Connection {
                    logins: logins.clone(),
                    script: Arc::clone(&script_of),
                    tried: Arc::clone(&tried_of),
                    asked: 0,
                    key_accepted: false,
                    opened: Arc::clone(&opened_of),
                    channel: None,
                    serving: None,
                };
                let config = Arc::clone(&config);
                tokio::spawn(async move {
                    if let Ok(running) = russh::server::run_stream(config, stream, connection).await
                    {
                        running.await.ok();
                    }
                });
            }
        });
        Self {
            port,
            script,
            tried,
            opened,
            fingerprint,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    pub(super) fn trust(&self) -> HostTrust {
        HostTrust::Known(KnownKeys::fingerprints([self.fingerprint]).unwrap())
    }

    pub(super) fn options(&self) -> SftpOptions {
        options(self.port, "acme", password("right"), self.trust())
    }

    pub(super) async fn connect(&self) -> SftpRemote {
        SftpRemote::connect(&self.options()).await.unwrap()
    }
}
