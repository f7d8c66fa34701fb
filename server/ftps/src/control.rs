//! A control connection after its TLS handshake: one task owns all of it.
//!
//! Commands are answered in the order in which they came, also when they come
//! all at once (F08). A transfer runs inside the task; meanwhile the control
//! connection is read, so that ABOR and STAT arrive (`transfer.rs`).

mod active;
mod checksums;
mod files;
mod login;
mod told;
mod transfer;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use layover_depot::timer::{self, Stopwatch};
use layover_depot::{
    Announced, Clue, ConnectionSlot, EndReason, FirstProof, PathError, Session, Sign, VfsError,
    VirtualPath,
};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::address::{epsv_text, pasv_text};
use crate::command::{self, Checksum, Command, Epsv, Opts, Phase, Ranged, Type};
use crate::info;
use crate::listing::Facts;
use crate::passive::PassiveListener;
use crate::reply::{Reply, of_fault, quoted, size};
use crate::server::{Entry, Shared, see_stranger};
use crate::tls::{ControlTls, Negotiated};
use crate::wire::{Lost, Wire};
use checksums::Told;
use told::ToldPort;

/// Why a command has no good reply.
pub(super) enum Fault {
    Depot(VfsError),
    Reply(Reply),
}

impl From<VfsError> for Fault {
    fn from(error: VfsError) -> Self {
        Self::Depot(error)
    }
}

impl From<PathError> for Fault {
    fn from(error: PathError) -> Self {
        Self::Depot(VfsError::BadPath(error))
    }
}

pub(super) fn refuse(code: u16, text: impl Into<Vec<u8>>) -> Fault {
    Fault::Reply(Reply::new(code, text))
}

/// Where and when a connection came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) peer: SocketAddr,
    /// The address that it came to.
    pub(crate) local: IpAddr,
    /// The address that the client knows: a load balancer's, where there is one.
    pub(crate) found_at: IpAddr,
    pub(crate) since_start: Stopwatch,
    pub(crate) entry: Entry,
}

/// Where the next data connection comes from, or goes to.
#[derive(Debug, Default)]
enum DataPlace {
    #[default]
    None,
    /// With what PASV told; none by EPSV.
    Passive(PassiveListener, Option<Announced>),
    Active(SocketAddr),
}

impl DataPlace {
    /// Sees to what comes before a transfer is asked for. Never ends; may be dropped.
    async fn tend(&self) -> Infallible {
        match self {
            Self::Passive(listener, _) => listener.tend().await,
            Self::None | Self::Active(_) => std::future::pending().await,
        }
    }
}

/// How long the data connection of a refused transfer stays, at most. The next command
/// ends it: whoever sends one has read why the transfer was refused.
const DECLINED_STAYS: Duration = Duration::from_secs(10);

/// Why the connection ends.
enum Ending {
    /// Nobody is there to be told.
    Lost(Lost),
    /// At once, without a reply: the reason for the journal.
    Cut(&'static str),
    /// A last reply, and the reason for the journal.
    Told(Reply, &'static str),
}

impl From<Lost> for Ending {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

pub(crate) struct ControlConnection {
    shared: Arc<Shared>,
    arrival: Arrival,
    slot: ConnectionSlot,
    tls: ControlTls,
    negotiated: Negotiated,
    wire: Wire<TlsStream<TcpStream>>,
    /// Commands that came during a transfer.
    queue: VecDeque<Vec<u8>>,
    user: Option<String>,
    client: Option<String>,
    failed_logins: usize,
    refused_certificates: usize,
    /// The certificate was right, and the account asks for the password, too.
    first: Option<Box<FirstProof>>,
    /// The certificate let this session in, and no password was asked for.
    is_certified: bool,
    session: Option<Session>,
    /// PROT P was given.
    is_private: bool,
    cwd: VirtualPath,
    representation: Type,
    rest: u64,
    announced_bytes: Option<u64>,
    rename_from: Option<VirtualPath>,
    facts: Facts,
    data: DataPlace,
    /// Of a transfer that was refused. curl begins TLS on the data connection before it
    /// reads the answer to its STOR: were the connection gone by then, it would take its
    /// EPSV for the cause, try PASV, and take the refusal for the answer to that.
    declined: DataPlace,
    epsv_all: bool,
    told_of_ports: bool,
    /// Why PORT or EPRT was refused, until the client tries passive mode.
    active_refused: Option<Clue>,
    /// Somebody has logged in.
    was_in: bool,
}

impl ControlConnection {
    pub(crate) fn new(
        shared: Arc<Shared>,
        arrival: Arrival,
        slot: ConnectionSlot,
        tls: ControlTls,
        negotiated: Negotiated,
        wire: Wire<TlsStream<TcpStream>>,
    ) -> Self {
        Self {
            shared,
            arrival,
            slot,
            tls,
            negotiated,
            wire,
            queue: VecDeque::new(),
            user: None,
            client: None,
            failed_logins: 0,
            refused_certificates: 0,
            first: None,
            is_certified: false,
            session: None,
            // RFC 4217 s.12.6 calls for it with implicit TLS, where clients
            // often do not ask.
            is_private: arrival.entry == Entry::Implicit,
            cwd: VirtualPath::root(),
            representation: Type::default(),
            rest: 0,
            announced_bytes: None,
            rename_from: None,
            facts: Facts::default(),
            data: DataPlace::None,
            declined: DataPlace::None,
            epsv_all: false,
            told_of_ports: false,
            active_refused: None,
            was_in: false,
        }
    }

    /// Answers until the connection ends.
    pub(crate) async fn run(mut self: Box<Self>) {
        let hard = self.shared.hard.clone();
        let ending = tokio::select! {
            biased;
            // An upload in progress is kept as interrupted when it is dropped.
            () = hard.cancelled() => Ending::Cut("the server is stopping"),
            ending = self.converse() => ending,
        };
        // Apart, so that a session that waits holds no room for its end.
        Box::pin(self.end(ending)).await;
    }

    async fn end(mut self: Box<Self>, ending: Ending) {
        self.leave_data_port();
        self.leave_active_mode();
        let came_to_nothing = self.session.is_none()
            && !self.was_in
            && self.failed_logins == 0
            && self.refused_certificates == 0;
        if came_to_nothing {
            let told = match (&self.user, &self.first) {
                (None, None) => "it went before it named a user",
                _ => "it named a user and sent no password",
            };
            see_stranger(&self.shared, self.arrival.peer, Sign::NoLogin, told);
        }
        self.declined = DataPlace::None;
        self.shared.set_owner(self.tls.id(), None);
        let peer = self.arrival.peer;
        let reason = match ending {
            Ending::Told(reply, reason) => {
                if self.wire.send(&reply).await.is_ok() {
                    self.wire.close().await;
                }
                reason.to_owned()
            }
            Ending::Lost(Lost::TooLong) => {
                let text = "the command line is too long; connection closed";
                if self.wire.send(&Reply::new(500, text)).await.is_ok() {
                    self.wire.close().await;
                }
                Lost::TooLong.to_string()
            }
            Ending::Lost(Lost::TooMany) => {
                let text = "too many commands were sent during a transfer; connection closed";
                if self.wire.send(&Reply::new(421, text)).await.is_ok() {
                    self.wire.close().await;
                }
                Lost::TooMany.to_string()
            }
            Ending::Lost(lost) => match self.operators_reason().await {
                Some(reason) => reason.to_owned(),
                None => lost.to_string(),
            },
            Ending::Cut(reason) => reason.to_owned(),
        };
        tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: {reason}");
        if let Some(session) = self.session {
            session.end(&reason).await;
        }
    }

    /// Gives the port of the next data connection back. That nothing came to it, the doctor
    /// hears: many clients ask for a transfer only when they are connected.
    fn leave_data_port(&mut self) {
        let place = std::mem::take(&mut self.data);
        let (DataPlace::Passive(listener, announced), Some(session)) = (&place, &self.session)
        else {
            return;
        };
        let (has_come, stranger) = listener.arrivals();
        if !has_come {
            let ports = self.shared.passive_range();
            let told = ToldPort {
                port: listener.port(),
                ports,
                announced: *announced,
                peer: self.arrival.peer.ip(),
            };
            session.see(told.missed(stranger));
        }
    }

    /// Why the operator ended the session, if that is so: a client may be faster in closing
    /// its connection than we in telling it.
    async fn operators_reason(&self) -> Option<&'static str> {
        let session = self.session.as_ref()?;
        tokio::select! {
            biased;
            reason = session.ended() => Some(reason.as_str()),
            () = std::future::ready(()) => None,
        }
    }

    async fn converse(&mut self) -> Ending {
        if self.arrival.entry == Entry::Implicit {
            let welcome = info::welcome(&self.shared.options.public_name);
            if let Err(lost) = self.wire.send(&welcome).await {
                return Ending::Lost(lost);
            }
        }
        loop {
            let line = match self.queue.pop_front() {
                Some(line) => line,
                None => match self.next_line().await {
                    Ok(line) => line,
                    Err(ending) => return ending,
                },
            };
            self.declined = DataPlace::None;
            // Apart, so that a session that waits holds no room for what it is not doing.
            if let Err(ending) = Box::pin(self.handle(&line)).await {
                return ending;
            }
        }
    }

    async fn next_line(&mut self) -> Result<Vec<u8>, Ending> {
        let told_to_end = {
            let session = self.session.clone();
            async move {
                match session {
                    Some(session) => session.ended().await,
                    None => std::future::pending().await,
                }
            }
        };
        let (limit, overdue) = match &self.session {
            Some(_) => (self.shared.options.idle_timeout, "idle for too long"),
            None => {
                let grace = self.shared.options.login_grace;
                let left = grace.saturating_sub(self.arrival.since_start.elapsed());
                (left, "no login in time")
            }
        };
        // A line that is there already is taken before any clock is looked at.
        if limit.is_zero() {
            return Err(too_late(overdue));
        }
        let soft = self.shared.soft.clone();
        // The time is that of a whole line: a half-typed one gains nothing (F05).
        tokio::select! {
            biased;
            reason = told_to_end => Err(ended(reason)),
            () = soft.cancelled() => Err(stopping()),
            line = timer::timeout(limit, self.line_beside_data()) => match line {
                Ok(Ok(line)) => Ok(line),
                Ok(Err(lost)) => Err(lost.into()),
                Err(timer::Elapsed) => Err(too_late(overdue)),
            },
        }
    }

    /// The next line; the data port is seen to meanwhile.
    async fn line_beside_data(&mut self) -> Result<Vec<u8>, Lost> {
        let Self {
            wire,
            data,
            declined,
            ..
        } = self;
        let decline = async {
            if !matches!(declined, DataPlace::None) {
                timer::sleep(DECLINED_STAYS).await;
                *declined = DataPlace::None;
            }
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            line = wire.line() => line,
            never = data.tend() => match never {},
            never = decline => match never {},
        }
    }

    async fn handle(&mut self, line: &[u8]) -> Result<(), Ending> {
        let (verb, command) = match command::parse(line) {
            Ok(parsed) => parsed,
            Err(fault) => {
                let reply = Reply::new(fault.code(), fault.to_string());
                return Ok(self.wire.send(&reply).await?);
            }
        };
        let is_early = verb.phase == Phase::LoggedIn && self.session.is_none();
        if is_early {
            let reply = Reply::new(530, "log in first: USER and PASS");
            return Ok(self.wire.send(&reply).await?);
        }
        // RFC 959 s.4.1.3: RNTO comes right behind RNFR.
        let rename_from = self.rename_from.take();
        let answered = match command {
            Command::Quit => {
                return Err(Ending::Told(Reply::new(221, "Goodbye"), "quit"));
            }
            Command::User(name) => return self.name_user(&name).await,
            Command::Pass(password) => return self.log_in(&password).await,
            Command::Rein => {
                self.reinitialise().await;
                Ok(Reply::new(220, "ready for a new USER"))
            }
            Command::Rnto(to) => self.rename(rename_from, &to).await,
            Command::List(_)
            | Command::Nlst(_)
            | Command::Mlsd(_)
            | Command::Retr(_)
            | Command::Stor(_)
            | Command::Appe(_)
            | Command::Stou(_) => return self.transfer(command).await,
            Command::Hash(path) => {
                let whole = Ranged {
                    path,
                    start: 0,
                    end: None,
                    whole: None,
                };
                return self.checksum(Checksum::Sha256, &whole, Told::Hash).await;
            }
            Command::Checksum(algorithm, ranged) => {
                return self.checksum(algorithm, &ranged, Told::Alone).await;
            }
            Command::Stat(path) if !path.is_empty() => return self.list_in_reply(&path).await,
            command => self.answer(command).await,
        };
        let reply = answered.unwrap_or_else(|fault| self.fault_reply(fault));
        Ok(self.wire.send(&reply).await?)
    }

    fn fault_reply(&self, fault: Fault) -> Reply {
        match fault {
            Fault::Reply(reply) => reply,
            Fault::Depot(error) => self.depot_reply(&error),
        }
    }

    /// The reply to a fault; what a person must look at goes to the log.
    fn depot_reply(&self, error: &VfsError) -> Reply {
        let faults = self.shared.depot.faults();
        faults.request(self.session.as_ref(), error);
        of_fault(error)
    }

    fn session(&self) -> Result<Session, Fault> {
        self.session
            .clone()
            .ok_or_else(|| refuse(530, "log in first: USER and PASS"))
    }

    /// A path as the client means it: relative to where it is (F18).
    fn at(&self, argument: &[u8]) -> Result<VirtualPath, Fault> {
        Ok(self.cwd.resolve(argument)?)
    }

    async fn answer(&mut self, command: Command) -> Result<Reply, Fault> {
        Ok(match command {
            Command::Auth(_) => Reply::new(503, "TLS is on already"),
            Command::Ccc => Reply::new(534, "the control connection stays encrypted"),
            Command::Pbsz(_) => Reply::new(200, "PBSZ=0"),
            Command::Prot(b'P') => {
                self.is_private = true;
                Reply::new(200, "data connections are encrypted")
            }
            Command::Prot(b'C') => {
                // F02: never a moment without.
                Reply::new(534, "data connections are always encrypted: use PROT P")
            }
            Command::Prot(b'S' | b'E') => Reply::new(536, "use PROT P"),
            Command::Prot(_) => Reply::new(504, "use PROT P"),
            Command::Clnt(name) => {
                self.client = Some(String::from_utf8_lossy(&name).trim().to_owned());
                Reply::new(200, "noted")
            }
            Command::Feat => info::features(self.facts),
            Command::Opts(Opts::Mlst(facts)) => {
                self.facts = Facts::chosen(&facts);
                Reply::new(200, format!("MLST OPTS {}", self.facts.names()))
            }
            Command::Opts(Opts::Hash(algorithm)) => {
                if algorithm.is_empty() || algorithm.eq_ignore_ascii_case(b"SHA-256") {
                    Reply::new(200, "SHA-256")
                } else {
                    Reply::new(504, "HASH knows SHA-256")
                }
            }
            Command::Type(representation) => {
                self.representation = representation;
                Reply::new(
                    200,
                    match representation {
                        Type::Ascii => "TYPE A: line ends are converted",
                        Type::Image => "TYPE I: bytes as they are",
                    },
                )
            }
            Command::Mode(b'S') => Reply::new(200, "MODE S"),
            Command::Mode(_) => Reply::new(504, "this server knows MODE S"),
            Command::Stru(b'F') => Reply::new(200, "STRU F"),
            Command::Stru(_) => Reply::new(504, "this server knows STRU F"),
            Command::Allo(bytes) => self.announce(bytes)?,
            Command::Rest(at) => {
                self.rest = at;
                Reply::new(350, format!("the next transfer begins at byte {at}"))
            }
            Command::Abor => Reply::new(226, "no transfer is running"),
            Command::Pasv => self.passive(None)?,
            Command::Epsv(wish) => self.passive(Some(wish))?,
            Command::Port(target) | Command::Eprt(target) => self.active(target)?,
            Command::Stat(_) => self.status(),
            Command::Pwd => Reply::new(
                257,
                [
                    quoted(self.cwd.as_bytes()).as_slice(),
                    b" is the current folder",
                ]
                .concat(),
            ),
            Command::Noop | Command::Syst | Command::Help(_) | Command::Opts(Opts::Utf8(_)) => {
                info::answer(&command).unwrap_or_else(|| Reply::new(502, "not done"))
            }
            command => self.answer_files(command).await?,
        })
    }

    /// ALLO. Which file is meant is not told yet, and what it replaces makes room for it:
    /// here only what no file may have is refused, the rest with the upload's command.
    fn announce(&mut self, bytes: u64) -> Result<Reply, Fault> {
        self.announced_bytes = None;
        if let Some(quota_bytes) = self.session()?.quota_bytes()
            && bytes > quota_bytes
        {
            let quota = size(quota_bytes);
            let text = format!("{bytes} bytes are more than the account's quota ({quota})");
            return Err(refuse(552, text));
        }
        self.announced_bytes = (bytes > 0).then_some(bytes);
        Ok(Reply::new(
            200,
            "noted: fewer bytes will count as interrupted",
        ))
    }

    fn passive(&mut self, extended: Option<Epsv>) -> Result<Reply, Fault> {
        let (local, found_at) = (self.arrival.local, self.arrival.found_at.to_canonical());
        let peer = self.arrival.peer.ip();
        // The old port is free before a new one is looked for.
        self.leave_data_port();
        self.active_refused = None;
        match extended {
            Some(Epsv::All) => {
                self.epsv_all = true;
                return Ok(Reply::new(200, "only EPSV from now on"));
            }
            // RFC 2428 s.3: a family that the control connection does not use.
            Some(Epsv::V4) if found_at.is_ipv6() => {
                return Err(refuse(522, "another address family, use (2)"));
            }
            Some(Epsv::V6) if found_at.is_ipv4() => {
                return Err(refuse(522, "another address family, use (1)"));
            }
            Some(_) => {}
            None if self.epsv_all => return Err(only_epsv()),
            None => {}
        }
        let announced = match extended {
            Some(_) => None,
            None => Some(
                self.shared
                    .announced
                    .of(found_at, peer)
                    .map_err(|fault| refuse(425, fault.to_string()))?,
            ),
        };
        let listener = match self.shared.ports.listen(local, peer) {
            Ok(listener) => listener,
            Err(exhausted) => {
                self.note_exhaustion(&exhausted.to_string());
                return Err(refuse(425, exhausted.to_string()));
            }
        };
        let reply = match announced {
            Some(address) => Reply::new(227, pasv_text(address, listener.port())),
            None => Reply::new(229, epsv_text(listener.port())),
        };
        let announced = announced.map(|address| Announced {
            address,
            reached: found_at,
        });
        self.data = DataPlace::Passive(listener, announced);
        Ok(reply)
    }

    /// Once a connection: a client asks again and again.
    fn note_exhaustion(&mut self, text: &str) {
        if std::mem::replace(&mut self.told_of_ports, true) {
            return;
        }
        tracing::warn!(peer.addr = %self.arrival.peer, outcome = "refused", "{text}");
        let (shared, text, peer) = (Arc::clone(&self.shared), text.to_owned(), self.arrival.peer);
        let account = self
            .session
            .as_ref()
            .map(|session| session.account_name().to_string());
        // The reply does not wait for the database.
        tokio::spawn(async move {
            let mut detail = serde_json::Map::new();
            detail.insert("reason".to_owned(), text.into());
            detail.insert("peer".to_owned(), peer.ip().to_string().into());
            detail.insert("account".to_owned(), account.into());
            let noted = shared.depot.journal().note(
                shared.options.clock.now(),
                layover_depot::JournalKind::System,
                "ftps.no-data-port",
                layover_depot::Outcome::Refused,
                detail,
            );
            if let Err(error) = noted.await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the want of data ports could not be recorded"
                );
            }
        });
    }

    fn status(&self) -> Reply {
        let mut lines = vec![b"Status:".to_vec()];
        match &self.session {
            Some(session) => {
                let mut line = format!(" Logged in as {}", session.account_name());
                if let Some(peer) = session.peer() {
                    line.push_str(&format!(" from {peer}"));
                }
                lines.push(line.into_bytes());
            }
            None => lines.push(b" Not logged in".to_vec()),
        }
        lines.push(
            format!(
                " {} with {}",
                self.negotiated.version, self.negotiated.suite
            )
            .into_bytes(),
        );
        lines.push(match self.representation {
            Type::Ascii => b" TYPE A, MODE S, STRU F".to_vec(),
            Type::Image => b" TYPE I, MODE S, STRU F".to_vec(),
        });
        lines.push(b"End".to_vec());
        Reply::lines(211, lines)
    }

    fn stall(&self) -> Duration {
        self.shared.options.stall_timeout
    }
}

fn only_epsv() -> Fault {
    refuse(503, "EPSV ALL was given: only EPSV from now on")
}

/// A session that was told to end.
fn ended(reason: EndReason) -> Ending {
    let text = match reason {
        EndReason::Stopping => return stopping(),
        EndReason::AccountDisabled | EndReason::NetworkRemoved | EndReason::Killed => {
            "the operator ended this session; ask the operator"
        }
    };
    Ending::Told(Reply::new(421, text), reason.as_str())
}

fn too_late(overdue: &'static str) -> Ending {
    Ending::Told(
        Reply::new(421, format!("{overdue}: connection closed")),
        overdue,
    )
}

fn stopping() -> Ending {
    let text = "the server is stopping; try again in a minute";
    Ending::Told(Reply::new(421, text), "the server is stopping")
}

#[cfg(test)]
mod tests;
