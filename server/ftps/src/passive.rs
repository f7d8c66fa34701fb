//! Passive ports: who gets which, and who may connect to it.
//!
//! One [`Allocator`] per process. A port is given per control peer's address:
//! each address may hold every port of the range once, so however many one takes
//! (1,001 of 31000-32000), another still gets one. Two addresses that meet at a
//! port share its listening socket, and a connection goes to the one that it
//! comes from. That is as safe as a socket for each: in both cases a
//! connection's address alone decides whether it is taken, and no address waits
//! at a port twice.
//!
//! A port whose socket somebody else holds at the operating system is passed
//! over and tried again the next time (F12).
//!
//! A load balancer passes data connections on as well: whose they are its header tells
//! (F17), which is waited for beside the socket.

mod active;
mod announced;
mod survey;

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use layover_depot::{AcceptTroubles, Acceptor, Balancers, read_proxy_header, timer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub(crate) use active::{ActiveFault, connect_active};
#[cfg(test)]
pub(crate) use announced::AnnounceFault;
pub use announced::{AnnouncedAddress, AnnouncedRule};
pub use survey::PortSurvey;

/// Connections that may wait at one port's socket until somebody looks at them
/// ([`PassiveListener::tend`]): while a command is answered strangers must not fill it.
const BACKLOG: u32 = 128;

/// A load balancer's connections whose header is awaited, in all.
const MAX_AWAITED_HEADERS: usize = 1024;

/// Hands out the ports of a range.
#[derive(Clone, Debug)]
pub(crate) struct Allocator {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ports: RangeInclusive<u16>,
    balancers: Balancers,
    taken: Mutex<Taken>,
    strangers: AtomicU64,
    awaited_headers: AtomicUsize,
    /// What all who wait at a port have told.
    troubles: AcceptTroubles,
}

#[derive(Debug, Default)]
struct Taken {
    /// Held by each control peer: while waiting and while transferring.
    by_peer: HashMap<IpAddr, HashSet<u16>>,
    sockets: HashMap<(IpAddr, u16), Weak<Socket>>,
}

/// One listening socket and the peers that wait at it.
#[derive(Debug)]
struct Socket {
    listener: TcpListener,
    waiting: Mutex<HashMap<IpAddr, Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    mailbox: Option<oneshot::Sender<TcpStream>>,
    strangers: u64,
    /// The last of them.
    stranger: Option<IpAddr>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these guard is changed in single steps, so a panic elsewhere leaves
    // nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// No port can be had: reply 425 with this text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// Each is taken: by transfers from the same address, or by other programs.
    Ports {
        /// The first port of the range.
        first: u16,
        /// The last one.
        last: u16,
        /// Ports that could not be opened because the operating system refused.
        refused: usize,
    },
    /// The process may open no more files; another port would be of no use.
    Descriptors,
}

impl std::error::Error for Exhausted {}

impl fmt::Display for Exhausted {
    /// Tells in whose way it is: nobody can end transfers that are not his.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last, refused) = match *self {
            Self::Ports {
                first,
                last,
                refused,
            } => (first, last, refused),
            Self::Descriptors => {
                return f.write_str(
                    "the server has too many files and connections open; try again soon",
                );
            }
        };
        let size = usize::from(last).saturating_sub(usize::from(first)) + 1;
        match (size.saturating_sub(refused), refused) {
            (0, _) => write!(
                f,
                "none of the {size} data ports ({first}-{last}) can be opened: \
                 the operating system or other programs of the server hold them; tell its operator"
            ),
            (_, 0) => write!(
                f,
                "all {size} data ports ({first}-{last}) are in use by connections from your \
                 address; end a transfer and try again"
            ),
            (yours, _) => write!(
                f,
                "of the {size} data ports ({first}-{last}), {yours} are in use by connections from \
                 your address and {refused} are held by other programs of the server; end a \
                 transfer and try again, or tell its operator"
            ),
        }
    }
}

impl Allocator {
    /// Hands out the ports of `ports`; `balancers` tell for whom they connect.
    pub(crate) fn new(ports: RangeInclusive<u16>, balancers: Balancers) -> Self {
        Self {
            shared: Arc::new(Shared {
                ports,
                balancers,
                awaited_headers: AtomicUsize::new(0),
                taken: Mutex::default(),
                strangers: AtomicU64::new(0),
                troubles: AcceptTroubles::default(),
            }),
        }
    }

    /// Connections from others than the control peer so far.
    #[cfg(test)]
    pub(crate) fn strangers(&self) -> u64 {
        self.shared.strangers.load(Ordering::Relaxed)
    }

    /// Listens for one data connection from `peer`, the control connection's
    /// peer, at `local`, the address at which that peer reached us. Fails only
    /// when no port is free for that peer. Must be called inside a runtime.
    pub(crate) fn listen(&self, local: IpAddr, peer: IpAddr) -> Result<PassiveListener, Exhausted> {
        let (local, peer) = (local.to_canonical(), peer.to_canonical());
        let (first, last) = (*self.shared.ports.start(), *self.shared.ports.end());
        // A random start each time: a stranger cannot foresee the next port.
        let start = rand::random_range(self.shared.ports.clone());
        let mut refused = 0;
        let mut taken = locked(&self.shared.taken);
        for port in (start..=last).chain(first..start) {
            if taken
                .by_peer
                .get(&peer)
                .is_some_and(|held| held.contains(&port))
            {
                continue;
            }
            let socket = match taken.socket(local, port) {
                Ok(socket) => socket,
                Err(error) if has_no_descriptor(&error) => return Err(Exhausted::Descriptors),
                Err(_) => {
                    refused += 1;
                    continue;
                }
            };
            let (sender, mailbox) = oneshot::channel();
            let waiting = Waiting {
                mailbox: Some(sender),
                strangers: 0,
                stranger: None,
            };
            locked(&socket.waiting).insert(peer, waiting);
            taken.by_peer.entry(peer).or_default().insert(port);
            return Ok(PassiveListener {
                place: Place { socket, peer },
                mailbox,
                lease: PortLease {
                    shared: Arc::clone(&self.shared),
                    peer,
                    port,
                },
            });
        }
        Err(Exhausted::Ports {
            first,
            last,
            refused,
        })
    }
}

impl Taken {
    fn socket(&mut self, local: IpAddr, port: u16) -> io::Result<Arc<Socket>> {
        if let Some(socket) = self.sockets.get(&(local, port)).and_then(Weak::upgrade) {
            return Ok(socket);
        }
        let socket = Arc::new(Socket {
            listener: bind(SocketAddr::new(local, port))?,
            waiting: Mutex::default(),
        });
        self.sockets.insert((local, port), Arc::downgrade(&socket));
        Ok(socket)
    }
}

/// Linux's numbers for a process, and a system, that may open nothing more.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

fn has_no_descriptor(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code == Some(EMFILE) || code == Some(ENFILE)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // Otherwise ports of ended transfers stay unusable for a minute (F12).
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A place at a socket; left on drop.
#[derive(Debug)]
struct Place {
    socket: Arc<Socket>,
    peer: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        locked(&self.socket.waiting).remove(&self.peer);
    }
}

/// A port in use by a control peer; given back on drop. Keep it as long as the
/// transfer runs.
#[derive(Debug)]
pub(crate) struct PortLease {
    shared: Arc<Shared>,
    peer: IpAddr,
    port: u16,
}

impl Drop for PortLease {
    fn drop(&mut self) {
        let mut taken = locked(&self.shared.taken);
        if let Some(held) = taken.by_peer.get_mut(&self.peer) {
            held.remove(&self.port);
            if held.is_empty() {
                taken.by_peer.remove(&self.peer);
            }
        }
        let port = self.port;
        taken
            .sockets
            .retain(|(_, held), socket| *held != port || socket.strong_count() > 0);
    }
}

/// Waits for one data connection; gives its port back on drop.
#[derive(Debug)]
pub(crate) struct PassiveListener {
    // The order of dropping: the socket before the lease, so that the port is
    // free at the operating system before it is free here.
    place: Place,
    mailbox: oneshot::Receiver<TcpStream>,
    lease: PortLease,
}

/// A data connection from the control peer, before its TLS handshake.
#[derive(Debug)]
pub(crate) struct Accepted {
    /// The connection, without Nagle's delay (F13).
    pub(crate) stream: TcpStream,
    /// Its port's lease: keep it until the transfer ends.
    pub(crate) lease: PortLease,
    /// Connections from other addresses that were closed meanwhile (F11).
    pub(crate) strangers: u64,
}

/// Why no data connection came.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AcceptFault {
    /// The client did not connect in time.
    #[error("no data connection came to port {port} in time; does a firewall stop it?")]
    TimedOut {
        /// The port that it was told.
        port: u16,
        /// The last other address that connected meanwhile, and was closed.
        stranger: Option<IpAddr>,
    },
    /// The transfer was cancelled.
    #[error("the transfer was cancelled before a data connection came")]
    Cancelled {
        /// The port that it was told.
        port: u16,
        /// As above.
        stranger: Option<IpAddr>,
        /// How long it was waited for.
        waited: Duration,
    },
}

impl PassiveListener {
    /// The port to announce.
    pub(crate) fn port(&self) -> u16 {
        self.lease.port
    }

    /// Takes what comes while no transfer is asked for yet: the control peer's connection
    /// is kept for [`PassiveListener::accept`], others are closed at once, or they would
    /// fill the socket's queue and leave no room for it (F11). May be dropped at any time.
    pub(crate) async fn tend(&self) -> Infallible {
        let shared = &self.lease.shared;
        let mut acceptor = Acceptor::new(shared.troubles.clone());
        loop {
            let socket = &self.place.socket;
            let (stream, from) = acceptor.next(|| socket.listener.accept()).await;
            socket.receive(stream, from, shared);
        }
    }

    /// Whether a connection of the control peer is there, and who else came. Takes what has
    /// come; never waits.
    pub(crate) fn arrivals(&self) -> (bool, Option<IpAddr>) {
        for _ in 0..BACKLOG {
            let mut at_once = Context::from_waker(Waker::noop());
            match self.place.socket.listener.poll_accept(&mut at_once) {
                Poll::Ready(Ok((stream, from))) => {
                    self.place.socket.receive(stream, from, &self.lease.shared);
                }
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        let waiting = locked(&self.place.socket.waiting);
        waiting
            .get(&self.place.peer)
            .map_or((true, None), |own| (own.mailbox.is_none(), own.stranger))
    }

    /// Takes the first connection from the control peer, within `limit`; closes
    /// those from others at once. The port accepts no second one afterwards.
    pub(crate) async fn accept(
        self,
        limit: Duration,
        cancel: &CancellationToken,
    ) -> Result<Accepted, AcceptFault> {
        // Bound in this order so that the place is left before the lease ends.
        let Self {
            lease,
            mut mailbox,
            place,
        } = self;
        let mut acceptor = Acceptor::new(lease.shared.troubles.clone());
        let arrival = async {
            loop {
                tokio::select! {
                    biased;
                    Ok(stream) = &mut mailbox => return stream,
                    // A connection that ended before it was taken, or no file
                    // descriptor left: neither ends the waiting.
                    (stream, from) = acceptor.next(|| place.socket.listener.accept()) => {
                        place.socket.receive(stream, from, &lease.shared);
                    }
                }
            }
        };
        let port = lease.port;
        let since = timer::Stopwatch::start();
        let stream = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                return Err(AcceptFault::Cancelled {
                    port,
                    stranger: place.seen().1,
                    waited: since.elapsed(),
                });
            }
            stream = timer::timeout(limit, arrival) => stream,
        };
        let (strangers, stranger) = place.seen();
        let stream = stream.map_err(|timer::Elapsed| AcceptFault::TimedOut { port, stranger })?;
        // Only speed is lost where it cannot be set.
        let _ = stream.set_nodelay(true);
        Ok(Accepted {
            stream,
            lease,
            strangers,
        })
    }
}

impl Place {
    /// Connections of others, and the last one's address.
    fn seen(&self) -> (u64, Option<IpAddr>) {
        locked(&self.socket.waiting)
            .get(&self.peer)
            .map_or((0, None), |waiting| (waiting.strangers, waiting.stranger))
    }
}

/// A connection whose header is awaited, among all of them.
struct Awaited(Arc<Shared>);

impl Awaited {
    fn new(shared: &Arc<Shared>) -> Option<Self> {
        let before = shared.awaited_headers.fetch_add(1, Ordering::Relaxed);
        let awaited = Self(Arc::clone(shared));
        (before < MAX_AWAITED_HEADERS).then_some(awaited)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited_headers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Socket {
    /// Takes a connection: at once, or when a load balancer has said whose it is.
    fn receive(self: &Arc<Self>, mut stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) {
        if !shared.balancers.contains(from.ip()) {
            return self.hand_over(stream, from.ip(), shared);
        }
        let Some(awaited) = Awaited::new(shared) else {
            tracing::warn!(peer.addr = %from, outcome = "refused", "a load balancer has {MAX_AWAITED_HEADERS} data connections without a PROXY header");
            return;
        };
        // The port is given back although a header is still awaited.
        let socket = Arc::downgrade(self);
        tokio::spawn(async move {
            match read_proxy_header(&mut stream).await {
                Ok(proxied) => {
                    let peer = proxied.map_or(from, |proxied| proxied.source);
                    if let Some(socket) = socket.upgrade() {
                        socket.hand_over(stream, peer.ip(), &awaited.0);
                    }
                }
                Err(fault) => {
                    tracing::warn!(peer.addr = %from, outcome = "refused", "a load balancer's data connection: {fault}");
                }
            }
        });
    }

    /// Gives `stream` to the peer that it comes from, or closes it.
    fn hand_over(&self, stream: TcpStream, from: IpAddr, shared: &Shared) {
        let mut waiting = locked(&self.waiting);
        if let Some(waiting) = waiting.get_mut(&from.to_canonical()) {
            // A second connection of the same peer finds no mailbox: closed.
            if let Some(mailbox) = waiting.mailbox.take() {
                // Fails only when that peer's transfer has just ended: closed.
                let _ = mailbox.send(stream);
            }
            return;
        }
        shared.strangers.fetch_add(1, Ordering::Relaxed);
        for waiting in waiting.values_mut() {
            waiting.strangers += 1;
            waiting.stranger = Some(from.to_canonical());
        }
    }
}

#[cfg(test)]
mod tests;
