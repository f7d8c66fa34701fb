//! One SSH connection: login, channels, and its end.

mod unfinished;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use layover_depot::{
    Clue, ConnectionSlot, Depot, EndReason, FirstProof, LoginAttempt, LoginError, Proof, Protocol,
    RefusedOffers, Secret, Session, Sign, UserCertificate, timer,
};
use layover_retention::Clock;
use russh::client::GexParams;
use russh::kex::dh::groups::DhGroup;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::{Certificate, HashAlg, PublicKey};
use russh::server::{
    Auth, ChannelOpenHandle, Config, Handle, Handler, Msg, PublicKeyOffer, Response,
    Session as SshSession, VerifiedPublicKey,
};
use russh::{Channel, ChannelId, ChannelOpenFailure, Disconnect, Pty, Sig};
use serde_json::{Map, Value};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Overdue, Patience};
use crate::channel::{self, ChannelContext, Purpose};
use crate::handshake::Handshake;
use crate::stream::WatchedStream;
use crate::{Algorithms, transport};
use unfinished::tell_of_failure;

/// Channels that one connection may have open (S04). OpenSSH's multiplexing
/// allows 10 by default; each `sftp` uses one.
pub(crate) const MAX_CHANNELS: usize = 8;

/// How long a client may take to leave after it was told to.
const GOODBYE: Duration = Duration::from_secs(2);

/// Keys of one connection that may be signed with, and questions for a password: more than an
/// agent usually holds.
const MAX_UNPROVEN: usize = 16;

/// How long the channels of a connection that is gone may take to keep what
/// arrived.
const WIND_UP: Duration = Duration::from_secs(30);

/// What an SFTP server is told.
#[derive(Clone)]
pub struct Options {
    /// The keys that prove who we are; at least one.
    pub host_keys: Vec<PrivateKey>,
    /// Which SSH algorithms are offered.
    pub algorithms: Algorithms,
    /// From the first byte to the login.
    pub login_grace: Duration,
    /// Without a byte, between transfers.
    pub idle_timeout: Duration,
    /// Without a byte, while a file is open.
    pub stall_timeout: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("algorithms", &self.algorithms)
            .field("host_keys", &self.host_keys.len())
            .finish_non_exhaustive()
    }
}

/// What new connections are shown.
struct Shown {
    config: Arc<Config>,
    /// Algorithm and fingerprint of each host key.
    host_keys: Vec<(String, String)>,
}

impl Shown {
    fn new(host_keys: Vec<PrivateKey>, algorithms: Algorithms) -> Self {
        let prints = host_keys.iter().map(|key| {
            let print = key.fingerprint(HashAlg::Sha256).to_string();
            (key.algorithm().as_str().to_owned(), print)
        });
        Self {
            host_keys: prints.collect(),
            config: Arc::new(transport::config(host_keys, algorithms)),
        }
    }

    /// Of the key that signs by this name: RSA has several (RFC 8332 s.3).
    fn fingerprint(&self, name: &str) -> Option<&str> {
        let algorithm = match name {
            "rsa-sha2-256" | "rsa-sha2-512" => "ssh-rsa",
            name => name,
        };
        let mut keys = self.host_keys.iter();
        let (_, print) = keys.find(|(known, _)| known == algorithm)?;
        Some(print)
    }
}

/// Serves SFTP connections. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    depot: Depot,
    algorithms: Algorithms,
    shown: Arc<ArcSwap<Shown>>,
    patience: Patience,
    clock: Arc<dyn Clock>,
    soft: CancellationToken,
    hard: CancellationToken,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A server over `depot`. After `soft` connections without an open file are
    /// ended and nothing new begins; after `hard` everything ends at once.
    #[must_use]
    pub fn new(
        depot: Depot,
        options: Options,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> Self {
        Self {
            depot,
            patience: Patience {
                login_grace: options.login_grace,
                idle: options.idle_timeout,
                stall: options.stall_timeout,
            },
            algorithms: options.algorithms,
            shown: Arc::new(ArcSwap::from_pointee(Shown::new(
                options.host_keys,
                options.algorithms,
            ))),
            clock: options.clock,
            soft,
            hard,
        }
    }

    /// Connections that begin from now on are shown these host keys, at least one; those
    /// that are there keep theirs, also when they exchange keys again.
    pub fn show_host_keys(&self, host_keys: Vec<PrivateKey>) {
        let shown = Shown::new(host_keys, self.algorithms);
        self.shown.store(Arc::new(shown));
    }

    /// Serves one connection that the gate has admitted, to its end.
    pub fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
    ) -> impl Future<Output = ()> + Send + 'static {
        let server = self.clone();
        async move { server.serve_one(stream, peer, slot).await }
    }

    async fn serve_one(self, stream: TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(peer.addr = %peer, "no TCP_NODELAY: {error}");
        }
        let shown = self.shown.load_full();
        let activity = Arc::<Activity>::default();
        let handshake = Arc::<Handshake>::default();
        // Cuts this connection alone; the server's hard stop cuts it, too.
        let cut = self.hard.child_token();
        let channels = TaskTracker::new();
        let (entered, mut login) = oneshot::channel();
        let (tell, told) = oneshot::channel();
        let handler = Connection {
            depot: self.depot.clone(),
            peer,
            slot: Some(slot),
            session: None,
            first: None,
            entered: Some(entered),
            pending: HashMap::new(),
            channels: channels.clone(),
            offers: RefusedOffers::default(),
            unproven: 0,
            tell: Some(tell),
            handshake: Arc::clone(&handshake),
            shown: Arc::clone(&shown),
            context: ContextParts {
                clock: Arc::clone(&self.clock),
                activity: Arc::clone(&activity),
                stall_timeout: self.patience.stall,
                soft: self.soft.clone(),
                hard: cut.clone(),
            },
        };
        let watched = WatchedStream::new(
            stream,
            Arc::clone(&activity),
            Arc::clone(&handshake),
            cut.clone(),
        );
        let overdue = activity.overdue(self.patience);
        tokio::pin!(overdue);
        let started = tokio::select! {
            started = russh::server::run_stream(Arc::clone(&shown.config), watched, handler).boxed() => started,
            overdue = &mut overdue => {
                tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: {}", overdue.as_str());
                self.see_ended(peer, &handshake, None, false);
                return;
            }
            // Whoever has not said who he is has nothing to lose.
            () = self.soft.cancelled() => return,
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(peer.addr = %peer, "no SSH client: {error}");
                self.count_abuse(peer, &error).boxed().await;
                self.see_ended(peer, &handshake, Some(&error), false);
                return;
            }
        };
        let handle = running.handle();
        tokio::pin!(running);
        let mut session: Option<Session> = None;
        let since_start = timer::Stopwatch::start();
        let mut fault = None;
        let ended_by_us = loop {
            let told_to_end = async {
                match &session {
                    Some(session) => session.ended().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                ended = &mut running => {
                    match &ended {
                        Err(error) if !activity.is_logged_in() => {
                            tell_of_failure(peer, &handshake, error);
                            self.count_abuse(peer, error).boxed().await;
                        }
                        Err(error) => tracing::debug!(peer.addr = %peer, "connection ended: {error}"),
                        Ok(()) => {}
                    }
                    fault = ended.err();
                    break None;
                }
                overdue = &mut overdue => {
                    if overdue == Overdue::Stalled {
                        activity.stalled();
                    }
                    // A client that does not log in gets no farewell; one that
                    // stands still would not read it.
                    break Some((overdue.as_str(), overdue == Overdue::Idle));
                }
                reason = told_to_end => break Some((words(reason), true)),
                // An error means that the handler is gone, and `running` with it.
                Ok(entered) = &mut login, if session.is_none() => session = Some(entered),
                () = soft_stop(&self.soft, &activity) => break Some((words(EndReason::Stopping), true)),
            }
        };
        if let Some((reason, farewell)) = ended_by_us {
            tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: {reason}");
            if farewell {
                say_goodbye(&handle, reason, running.as_mut()).boxed().await;
            }
        }
        // What stood still the channels tell: they know what was open.
        let is_lost = activity.open() > 0 && !activity.has_stalled();
        if let (None, Some(session), true) = (ended_by_us, &session, is_lost) {
            let told = format!("after {} s", since_start.elapsed().as_secs());
            session.see(Clue::new(Sign::ConnectionLost).telling(&told));
        }
        cut.cancel();
        channels.close();
        if timer::timeout(WIND_UP, channels.wait()).await.is_err() {
            tracing::warn!(peer.addr = %peer, "the channels of a lost connection still work");
        }
        // The handler goes with the connection; a session is never told of.
        if session.is_none()
            && let Ok(Ok(offers)) = timer::timeout(GOODBYE, told).await
        {
            let is_by_client = ended_by_us.is_none();
            if !offers.was_asked() {
                self.see_ended(peer, &handshake, fault.as_ref(), is_by_client);
            }
            let noted = self
                .depot
                .gate()
                .note_offers(peer.ip(), Protocol::Sftp, offers);
            if let Err(error) = noted.boxed().await {
                let faults = self.depot.faults();
                faults.unrecorded("refused keys could not be recorded", &error);
            }
        }
        if let Some(session) = session {
            session
                .end(ended_by_us.map_or("connection closed", |(reason, _)| reason))
                .boxed()
                .await;
        }
    }
}

/// What the client and the journal are told of a session that must end.
fn words(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Stopping => "the server is stopping",
        EndReason::AccountDisabled | EndReason::NetworkRemoved | EndReason::Killed => {
            reason.as_str()
        }
    }
}

/// Returns when the server stops and this connection has nothing open, nor an answer to get.
async fn soft_stop(soft: &CancellationToken, activity: &Activity) {
    /// How often a connection that still transfers is looked at.
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    soft.cancelled().await;
    while activity.is_logged_in() && !activity.close_if_settled() {
        timer::sleep(LOOK_EVERY).await;
    }
}

async fn say_goodbye(
    handle: &Handle,
    reason: &str,
    running: impl Future<Output = Result<(), russh::Error>>,
) {
    let goodbye = async {
        let told = handle
            .disconnect(
                Disconnect::ByApplication,
                reason.to_owned(),
                "en".to_owned(),
            )
            .await;
        if told.is_ok() {
            let _ = running.await;
        }
    };
    // Whoever does not leave is cut off.
    let _ = timer::timeout(GOODBYE, goodbye).await;
}

struct ContextParts {
    clock: Arc<dyn Clock>,
    activity: Arc<Activity>,
    stall_timeout: Duration,
    soft: CancellationToken,
    hard: CancellationToken,
}

/// The handler of one connection.
struct Connection {
    depot: Depot,
    peer: SocketAddr,
    slot: Option<ConnectionSlot>,
    session: Option<Session>,
    /// The first of two proofs; it goes when the client names another user.
    first: Option<Box<FirstProof>>,
    entered: Option<oneshot::Sender<Session>>,
    /// What each open channel is for; its task waits for the word.
    pending: HashMap<ChannelId, watch::Sender<Purpose>>,
    channels: TaskTracker,
    /// Keys that were refused before a signature.
    offers: RefusedOffers,
    /// How often the client was asked for a signature or a password.
    unproven: usize,
    /// Told at the end of a connection that did not log in.
    tell: Option<oneshot::Sender<RefusedOffers>>,
    handshake: Arc<Handshake>,
    shown: Arc<Shown>,
    context: ContextParts,
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(tell), None) = (self.tell.take(), &self.session) {
            // Without a receiver the server itself is ending.
            let _ = tell.send(std::mem::take(&mut self.offers));
        }
    }
}

impl Connection {
    /// The one answer to every refused login (G01), whoever it is and whatever
    /// the account asks for: before a proof was right, the same three methods;
    /// after the first of two, what is missing. russh would otherwise take the
    /// method that failed off the list.
    fn refused(&self) -> Auth {
        Auth::Reject {
            proceed_with_methods: Some(match &self.first {
                None => transport::methods(),
                Some(first) => transport::methods_after(first),
            }),
            partial_success: false,
        }
    }

    /// What the handshake led to, for the journal, and by which of our keys: operators see
    /// by it who knows a new one.
    fn agreed(&self) -> Map<String, Value> {
        let mut agreed = self.handshake.agreed();
        let name = agreed.get("host_key").and_then(Value::as_str);
        if let Some(print) = name.and_then(|name| self.shown.fingerprint(name)) {
            let print = Value::from(print);
            agreed.insert("host_key_fingerprint".to_owned(), print);
        }
        agreed
    }

    /// From here on its outcome counts, and no longer its time.
    fn asked(&mut self) {
        if let Some(slot) = &mut self.slot {
            slot.asked();
        }
    }

    /// A key may be signed with.
    async fn await_signature(&mut self) -> Result<Auth, russh::Error> {
        self.count_unproven().await?;
        // Who never signs holds a place for nothing.
        if let Some(slot) = &mut self.slot {
            slot.answered();
        }
        Ok(Auth::Accept)
    }

    /// russh counts signatures and passwords, and not what is answered by asking for them.
    async fn count_unproven(&mut self) -> Result<(), russh::Error> {
        self.unproven += 1;
        if self.unproven <= MAX_UNPROVEN {
            return Ok(());
        }
        tracing::info!(peer.addr = %self.peer, "more keys offered, and none signed with, than anybody has");
        if let Err(error) = self.depot.gate().note_abuse(self.peer.ip()).await {
            self.depot.faults().login(self.peer.ip(), &error);
        }
        Err(russh::Error::Disconnect)
    }

    /// A proof counts for the user that it was shown for (RFC 4252 s.5).
    fn speak_of(&mut self, user: &str) {
        self.first.take_if(|first| first.user() != user);
    }

    async fn login(&mut self, user: &str, proof: Proof) -> Result<Auth, russh::Error> {
        self.speak_of(user);
        self.asked();
        self.offers.note_asked();
        let attempt = LoginAttempt {
            user: user.to_owned(),
            peer: self.peer.ip(),
            protocol: Protocol::Sftp,
            proof,
            first: self.first.as_deref().cloned(),
            client_version: self.handshake.client_version().map(ToOwned::to_owned),
            detail: self.agreed(),
        };
        // Boxed, as all that happens once: russh keeps the largest of these futures,
        // twice, as long as the connection lasts.
        match self.depot.gate().login(attempt).boxed().await {
            Ok(session) => {
                self.session = Some(session.clone());
                self.context.activity.logged_in();
                if let Some(slot) = &mut self.slot {
                    slot.logged_in();
                }
                if let Some(entered) = self.entered.take() {
                    // Without a receiver the connection is ending already.
                    let _ = entered.send(session);
                }
                Ok(Auth::Accept)
            }
            Err(LoginError::Refused) => Ok(self.refused()),
            Err(LoginError::OneMore { first }) => {
                let methods = transport::methods_after(&first);
                self.first = Some(first);
                // RFC 4252 s.5.1: right, but not enough.
                Ok(Auth::Reject {
                    proceed_with_methods: Some(methods),
                    partial_success: true,
                })
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// Nobody comes in while logins cannot be checked (G02). The connection ends
    /// without an answer, because a refusal would say that the proof was wrong, and
    /// russh takes no farewell from here.
    fn unavailable(&self, error: &LoginError) -> russh::Error {
        self.depot.faults().login(self.peer.ip(), error);
        russh::Error::Disconnect
    }

    fn refuse_request(
        &self,
        channel: ChannelId,
        what: &'static str,
        ssh: &mut SshSession,
    ) -> Result<(), russh::Error> {
        tracing::info!(peer.addr = %self.peer, outcome = "refused", "{what} refused: this server does sftp alone");
        ssh.channel_failure(channel)
    }
}

async fn reject(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply
        .reject(ChannelOpenFailure::AdministrativelyProhibited)
        .await;
    Ok(())
}

fn blob(key: &PublicKey) -> Vec<u8> {
    // An empty blob is nobody's key.
    key.to_bytes().unwrap_or_default()
}

impl Handler for Connection {
    type Error = russh::Error;

    // RFC 4252 s.5.4: what is to be said before anybody logs in; the refusal itself
    // carries no text.
    async fn authentication_banner(&mut self) -> Result<Option<String>, Self::Error> {
        let text = "The disk of this server is full: nobody can log in; try again later.\r\n";
        let is_full = self.depot.gate().is_out_of_room();
        Ok(is_full.then(|| text.to_owned()))
    }

    async fn auth_none(&mut self, user: &str) -> Result<Auth, Self::Error> {
        self.speak_of(user);
        Ok(self.refused())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Result<Auth, Self::Error> {
        self.login(user, Proof::Password(Secret::new(password)))
            .await
    }

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, Self::Error> {
        let Some(mut response) = response else {
            self.speak_of(user);
            self.count_unproven().await?;
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let password = Secret::new(response.next().unwrap_or_default().to_vec());
        self.login(user, Proof::Password(password)).await
    }

    async fn auth_publickey_offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, Self::Error> {
        self.speak_of(user);
        if !transport::is_accepted(offer.algorithm) {
            let proof = Proof::WeakSignature {
                blob: blob(offer.public_key),
                algorithm: offer.algorithm.as_str().to_owned(),
            };
            return self.login(user, proof).await;
        }
        self.asked();
        let considered = self
            .depot
            .gate()
            .consider_key(
                user,
                self.peer.ip(),
                Protocol::Sftp,
                &blob(offer.public_key),
                &mut self.offers,
            )
            .boxed()
            .await;
        match considered {
            Ok(true) => self.await_signature().await,
            Ok(false) => Ok(self.refused()),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    async fn auth_publickey(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, Self::Error> {
        if !transport::is_accepted(key.algorithm) {
            return Ok(self.refused());
        }
        let proof = Proof::Key {
            blob: blob(key.public_key),
            algorithm: key.algorithm.as_str().to_owned(),
        };
        self.login(user, proof).await
    }

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        // russh has verified both signatures; that of the certified key's
        // algorithm was looked at when it was offered.
        let wire = certificate.to_bytes().unwrap_or_default();
        match UserCertificate::verified(&wire) {
            Ok(certificate) => self.login(user, Proof::Certificate(certificate)).await,
            // What one reader of the same bytes took, the other must take.
            Err(_) => Ok(self.refused()),
        }
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        let Some(session) = self.session.clone() else {
            return reject(reply).await;
        };
        self.pending.retain(|_, purpose| !purpose.is_closed());
        if self.pending.len() >= MAX_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let (say, purpose) = watch::channel(Purpose::Unknown);
        self.pending.insert(channel.id(), say);
        let context = ChannelContext {
            session,
            clock: Arc::clone(&self.context.clock),
            activity: Arc::clone(&self.context.activity),
            stall_timeout: self.context.stall_timeout,
            soft: self.context.soft.clone(),
            hard: self.context.hard.clone(),
        };
        let (from_client, to_client) = channel.split();
        self.channels
            .spawn(channel::serve(context, from_client, to_client, purpose));
        reply.accept().await;
        Ok(())
    }

    async fn lookup_dh_gex_group(
        &mut self,
        wish: &GexParams,
    ) -> Result<Option<DhGroup>, Self::Error> {
        Ok(transport::group_for(wish))
    }

    async fn channel_close(
        &mut self,
        channel: ChannelId,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.pending.remove(&channel);
        Ok(())
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        match self.pending.get(&channel) {
            Some(purpose) if name == "sftp" && *purpose.borrow() == Purpose::Unknown => {
                purpose.send_replace(Purpose::Sftp);
                Ok(ssh.channel_success(channel)?)
            }
            _ => self.refuse_request(channel, "another subsystem", ssh),
        }
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        _data: &[u8],
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a command", ssh)
    }

    async fn shell_request(
        &mut self,
        channel: ChannelId,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a shell", ssh)
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "a terminal", ssh)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        self.refuse_request(channel, "X11 forwarding", ssh)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        // OpenSSH sends LANG with every session: no word of it in the log.
        ssh.channel_failure(channel)
    }

    async fn signal(
        &mut self,
        _channel: ChannelId,
        _signal: Sig,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        Ok(())
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _path: &str,
        reply: ChannelOpenHandle,
        _ssh: &mut SshSession,
    ) -> Result<(), Self::Error> {
        reject(reply).await
    }
}
