//! One SSH connection: from its first byte to its end, whoever ends it.

mod handler;
mod login;
mod unfinished;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use layover_depot::{Clue, ConnectionSlot, Depot, EndReason, Protocol, Session, Sign, timer};
use layover_retention::Clock;
use russh::Disconnect;
use russh::keys::PrivateKey;
use russh::keys::ssh_key::HashAlg;
use russh::server::{Config, Handle};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Overdue, Patience};
use crate::handshake::Handshake;
use crate::stream::WatchedStream;
use crate::{Algorithms, transport};
use handler::{Connection, ContextParts};
use login::{Login, Outcome};
use unfinished::tell_of_failure;

/// How long a client may take to leave after it was told to.
const GOODBYE: Duration = Duration::from_secs(2);

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
        let (login, outcome) = Login::new(
            self.depot.clone(),
            (peer, slot),
            Arc::clone(&handshake),
            Arc::clone(&shown),
            Arc::clone(&activity),
        );
        let context = ContextParts {
            clock: Arc::clone(&self.clock),
            activity: Arc::clone(&activity),
            stall_timeout: self.patience.stall,
            soft: self.soft.clone(),
            hard: cut.clone(),
        };
        let handler = Connection::new(login, channels.clone(), context);
        let Outcome {
            mut entered,
            offers,
        } = outcome;
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
                Ok(entered) = &mut entered, if session.is_none() => session = Some(entered),
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
            && let Ok(Ok(offers)) = timer::timeout(GOODBYE, offers).await
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
