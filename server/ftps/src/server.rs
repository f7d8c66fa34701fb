//! The server: what all connections share, and one connection from its first
//! byte to its end.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layover_depot::timer::Stopwatch;
use layover_depot::{
    AccountId, Balancers, Clue, ConnectionSlot, Depot, HomeName, Protocol, SessionReuse, Sign,
    VirtualPath, Whose,
};
use layover_retention::Clock;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::control::{Arrival, ControlConnection};
use crate::passive::{Allocator, AnnouncedAddress};
use crate::plain;
use crate::strangers::Budget;
use crate::tls::{ClientCertificates, ControlId, HandshakeFault, Tls, offered, overhear};
use crate::wire::Wire;

/// Whether the server connects to clients (PORT, EPRT).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ActiveMode {
    /// It does not.
    #[default]
    Refused,
    /// To the address of the control connection's client, and to no other.
    Allowed,
}

/// How TLS begins on a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// With AUTH TLS (RFC 4217).
    Explicit,
    /// With the first byte.
    Implicit,
}

/// What an FTPS server is told.
pub struct Options {
    /// Certificate and versions.
    pub tls: Arc<Tls>,
    /// Ports of passive data connections.
    pub passive_ports: RangeInclusive<u16>,
    /// Who passes data connections on, with a header that says for whom.
    pub balancers: Balancers,
    /// What PASV tells clients.
    pub public_addresses: Arc<AnnouncedAddress>,
    /// The binding of data connections, where the account has no rule of its own.
    pub session_reuse: SessionReuse,
    /// PORT and EPRT.
    pub active_mode: ActiveMode,
    /// The name in the welcome.
    pub public_name: String,
    /// From the first byte to the login.
    pub login_grace: Duration,
    /// Without a command, between transfers.
    pub idle_timeout: Duration,
    /// Without a byte in a transfer, and until a data connection comes.
    pub stall_timeout: Duration,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

/// A TLS handshake takes a few round trips.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(20);

/// Serves FTPS connections. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) depot: Depot,
    pub(crate) options: Options,
    pub(crate) ports: Allocator,
    pub(crate) announced: Arc<AnnouncedAddress>,
    pub(crate) soft: CancellationToken,
    pub(crate) hard: CancellationToken,
    /// Refusals of strangers that may still be journalled.
    pub(crate) strangers: Budget,
    owners: Mutex<HashMap<ControlId, Owner>>,
    /// Names that STOU has given and that no file has yet, by home.
    reserved: Mutex<HashSet<(HomeName, VirtualPath)>>,
}

/// A name that STOU has given to one upload; free again when this is dropped.
pub(crate) struct Reserved {
    shared: Arc<Shared>,
    name: (HomeName, VirtualPath),
}

impl Reserved {
    /// `None` when somebody else has it.
    pub(crate) fn new(shared: &Arc<Shared>, home: HomeName, path: &VirtualPath) -> Option<Self> {
        let name = (home, path.clone());
        let is_first = shared.reserved().insert(name.clone());
        is_first.then(|| Self {
            shared: Arc::clone(shared),
            name,
        })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.shared.reserved().remove(&self.name);
    }
}

/// Whose a control connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) account: AccountId,
    pub(crate) peer: IpAddr,
}

impl Shared {
    fn owners(&self) -> MutexGuard<'_, HashMap<ControlId, Owner>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reserved(&self) -> MutexGuard<'_, HashSet<(HomeName, VirtualPath)>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First and last port of passive data connections.
    pub(crate) fn passive_range(&self) -> (u16, u16) {
        let ports = &self.options.passive_ports;
        (*ports.start(), *ports.end())
    }

    /// Whose a live control connection is, once it has logged in.
    pub(crate) fn owner(&self, id: ControlId) -> Option<Owner> {
        self.owners().get(&id).copied()
    }

    pub(crate) fn set_owner(&self, id: ControlId, owner: Option<Owner>) {
        match owner {
            Some(owner) => self.owners().insert(id, owner),
            None => self.owners().remove(&id),
        };
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").finish_non_exhaustive()
    }
}

impl Server {
    /// A server over `depot`. After `soft` connections without a transfer are
    /// ended and nothing new begins; after `hard` everything ends at once.
    #[must_use]
    pub fn new(
        depot: Depot,
        options: Options,
        soft: CancellationToken,
        hard: CancellationToken,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                ports: Allocator::new(options.passive_ports.clone(), options.balancers.clone()),
                announced: Arc::clone(&options.public_addresses),
                strangers: Budget::new(),
                owners: Mutex::default(),
                reserved: Mutex::default(),
                depot,
                options,
                soft,
                hard,
            }),
        }
    }

    /// Serves one connection that the gate has admitted, to its end. `found_at`: where the
    /// client found the load balancer that passed it on.
    pub fn serve(
        &self,
        stream: TcpStream,
        peer: SocketAddr,
        found_at: Option<SocketAddr>,
        slot: ConnectionSlot,
        entry: Entry,
    ) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        serve_one(shared, stream, (peer, found_at), slot, entry)
    }
}

/// Tells the doctor what was seen of a connection that nobody has logged in on.
pub(crate) fn see_stranger(shared: &Shared, peer: SocketAddr, sign: Sign, told: &str) {
    let whose = Whose::stranger(peer.ip(), Protocol::Ftps);
    let signs = shared.depot.signs();
    signs.see(&whose, Clue::new(sign).telling(told));
}

/// The same of a handshake that failed; `heard` is what the client began with.
fn see_failed_handshake(
    shared: &Shared,
    peer: SocketAddr,
    entry: Entry,
    fault: &HandshakeFault,
    heard: &[u8],
) {
    let offered = offered(heard);
    let (sign, told) = match fault {
        HandshakeFault::Unable => return,
        HandshakeFault::NoCommonVersion => {
            let version = offered.map(|offered| offered.version);
            (
                Sign::TlsVersion,
                version.unwrap_or("only older versions").to_owned(),
            )
        }
        HandshakeFault::NoCommonSuite { detail } => {
            let suites = offered.map(|offered| offered.suites);
            (Sign::TlsSuite, suites.unwrap_or_else(|| detail.clone()))
        }
        HandshakeFault::Distrusted { alert } => {
            (Sign::CertificateRefused, format!("alert {alert}"))
        }
        HandshakeFault::ClientCertificate { detail } => (Sign::ClientCertificate, detail.clone()),
        HandshakeFault::Plaintext if entry == Entry::Implicit => {
            (Sign::PlainOnImplicit, fault.to_string())
        }
        // Who connects, says nothing and goes may be anybody; a client of explicit FTPS waits.
        HandshakeFault::TimedOut if entry == Entry::Implicit && heard.is_empty() => {
            let told = "nothing was sent until the time was over".to_owned();
            (Sign::SilentOnImplicit, told)
        }
        HandshakeFault::TimedOut | HandshakeFault::Cut
            if entry == Entry::Implicit && heard.is_empty() =>
        {
            (Sign::NoLogin, "nothing was sent".to_owned())
        }
        HandshakeFault::TimedOut | HandshakeFault::Cut => (Sign::NoHandshake, fault.to_string()),
        HandshakeFault::Plaintext
        | HandshakeFault::Refused { .. }
        | HandshakeFault::Broken { .. } => (Sign::TlsBroken, fault.to_string()),
    };
    see_stranger(shared, peer, sign, &told);
}

/// Whose client never comes to the login because of TLS sees little more than that it
/// fails: why, the journal tells. Nobody has proved anything, so what strangers can have
/// written is bounded.
pub(crate) async fn journal_stranger(shared: &Shared, peer: SocketAddr, fault: Stranger<'_>) {
    let (gate, ip) = (shared.depot.gate(), peer.ip());
    let noted = match fault.told() {
        None if fault.is_abuse() => gate.note_abuse(ip).await,
        None => return,
        // Counted all the same.
        Some(_) if !shared.strangers.take(ip) => gate.note_abuse(ip).await,
        Some((true, reason)) => {
            let noted = gate.note_unusable_certificate(ip, Protocol::Ftps, &reason);
            noted.await
        }
        Some((false, reason)) => gate.note_failed_tls(ip, Protocol::Ftps, &reason).await,
    };
    if let Err(error) = noted {
        let faults = shared.depot.faults();
        faults.unrecorded("a failed TLS handshake could not be journalled", &error);
    }
}

/// What kept a stranger from coming to the login.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stranger<'a> {
    /// TLS from the first byte, on the port where AUTH TLS is expected.
    ImplicitOnExplicit,
    /// Lines that are no commands, and no AUTH TLS behind them.
    NoFtp,
    /// The TLS handshake failed.
    Handshake(&'a HandshakeFault),
}

impl Stranger<'_> {
    /// Whether it spoke something else than the protocol; of that nobody is told.
    fn is_abuse(self) -> bool {
        match self {
            Self::NoFtp => true,
            Self::ImplicitOnExplicit => false,
            Self::Handshake(fault) => matches!(
                fault,
                HandshakeFault::Plaintext | HandshakeFault::Broken { .. }
            ),
        }
    }

    /// Whether it is about the peer's certificate, and the words for the journal; nothing
    /// of those who may just have gone, or never meant to speak TLS.
    fn told(self) -> Option<(bool, String)> {
        match self {
            Self::NoFtp => None,
            Self::ImplicitOnExplicit => Some((false, IMPLICIT_ON_EXPLICIT.to_owned())),
            Self::Handshake(fault) => match fault {
                HandshakeFault::ClientCertificate { .. } => Some((true, fault.to_string())),
                HandshakeFault::NoCommonVersion
                | HandshakeFault::NoCommonSuite { .. }
                | HandshakeFault::Distrusted { .. } => Some((false, fault.to_string())),
                HandshakeFault::TimedOut
                | HandshakeFault::Cut
                | HandshakeFault::Plaintext
                | HandshakeFault::Refused { .. }
                | HandshakeFault::Broken { .. }
                | HandshakeFault::Unable => None,
            },
        }
    }
}

/// See [`Stranger::ImplicitOnExplicit`].
pub(crate) const IMPLICIT_ON_EXPLICIT: &str = "the client began TLS at once on the port for \
    explicit FTPS: it is set to implicit FTPS, which has a port of its own; give it that port, \
    or set it to explicit FTPS (AUTH TLS)";

async fn serve_one(
    shared: Arc<Shared>,
    stream: TcpStream,
    (peer, found_at): (SocketAddr, Option<SocketAddr>),
    slot: ConnectionSlot,
    entry: Entry,
) {
    // F13: 44 ms for each small file without it.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(peer.addr = %peer, "no TCP_NODELAY: {error}");
    }
    // F03: the urgent byte of a Telnet DM is one of the stream, or the TLS
    // record that it belongs to would lack it.
    if let Err(error) = socket2::SockRef::from(&stream).set_out_of_band_inline(true) {
        tracing::debug!(peer.addr = %peer, "no SO_OOBINLINE: {error}");
    }
    let Ok(local) = stream.local_addr() else {
        return;
    };
    let since_start = Stopwatch::start();
    let grace = shared.options.login_grace;
    // In a room of its own, which is given back: the handshake's is several KiB, and a
    // session may wait for hours behind it.
    let secured = Box::pin(async {
        let stream = match entry {
            Entry::Explicit => plain::until_auth_tls(stream, peer, &shared).await?,
            Entry::Implicit => stream,
        };
        let certificates = if shared.depot.gate().wants_client_certificates() {
            ClientCertificates::Requested
        } else {
            ClientCertificates::Ignored
        };
        let control = match shared.options.tls.control(certificates) {
            Ok(control) => control,
            Err(fault) => {
                tracing::error!(peer.addr = %peer, "TLS cannot begin: {fault}");
                return None;
            }
        };
        // F05: AUTH TLS, then silence.
        let left = grace.saturating_sub(since_start.elapsed());
        let (limit, since_begun) = (HANDSHAKE_LIMIT.min(left), Stopwatch::start());
        let heard = overhear(&stream, limit).await;
        let limit = limit.saturating_sub(since_begun.elapsed());
        match control.accept(stream, limit).await {
            Ok((stream, negotiated)) => {
                let arrival = Arrival {
                    peer,
                    local: local.ip(),
                    found_at: found_at.unwrap_or(local).ip(),
                    since_start,
                    entry,
                };
                let (shared, wire) = (Arc::clone(&shared), Wire::new(stream));
                let control =
                    ControlConnection::new(shared, arrival, slot, control, negotiated, wire);
                Some(Box::new(control))
            }
            Err(fault) => {
                tracing::info!(peer.addr = %peer, outcome = "ended", "connection ended: {fault}");
                see_failed_handshake(&shared, peer, entry, &fault, &heard);
                journal_stranger(&shared, peer, Stranger::Handshake(&fault)).await;
                None
            }
        }
    });
    // Whoever has not said who he is has nothing to lose.
    let secured = tokio::select! {
        biased;
        () = shared.soft.cancelled() => return,
        () = shared.hard.cancelled() => return,
        secured = secured => secured,
    };
    if let Some(control) = secured {
        Box::pin(control.run()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of the future that `begin` makes.
    fn future_bytes<A, F: Future>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// What a connection needs for a handshake, a command, a transfer or its end, it gives
    /// back: thousands may wait.
    #[test]
    fn a_session_that_waits_holds_little() {
        let task = future_bytes(|(shared, stream, peer, slot, entry)| {
            serve_one(shared, stream, peer, slot, entry)
        });
        let conversation = future_bytes(ControlConnection::run);
        let state = size_of::<ControlConnection>();
        let all = [task, conversation, state];
        assert!(all.iter().sum::<usize>() <= 6 * 1024, "{all:?}");
    }
}
