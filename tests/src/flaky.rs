//! A line to a server that is cut, refuses, holds what it was given, or carries, as a test wants it.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Between two looks whether a line still holds.
const HELD_LOOK: Duration = Duration::from_millis(10);

/// What the line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whim {
    /// Everything goes through.
    Carry,
    /// Each connection is cut when so many bytes came from the server.
    CutAfter(u64),
    /// Each connection hangs when so many bytes came from either side, until it carries again.
    HoldAfter(u64),
    /// Whoever comes is turned away.
    Refuse,
}

#[derive(Debug)]
struct Shared {
    to: SocketAddr,
    whim: Mutex<Whim>,
    stops: AtomicBool,
    cuts: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn whim(&self) -> Whim {
        *self.whim.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A line in front of a server. Ends with the value, and everything that it carries.
#[derive(Debug)]
pub struct Flaky {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Flaky {
    /// A line to `to`, on a free port of the same address.
    pub fn before(to: SocketAddr, whim: Whim) -> Self {
        Self::listen(to.ip(), to, whim)
    }

    fn listen(ip: IpAddr, to: SocketAddr, whim: Whim) -> Self {
        let listener = TcpListener::bind((ip, 0)).expect("listen");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            to,
            whim: Mutex::new(whim),
            stops: AtomicBool::new(false),
            cuts: AtomicU64::new(0),
            open: Mutex::default(),
        });
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if all.stops.load(Ordering::Acquire) {
                    return;
                }
                carry(&all, stream);
            }
        });
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// Where it begins.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from now on, to connections that are there as well.
    pub fn becomes(&self, whim: Whim) {
        *self
            .shared
            .whim
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = whim;
    }

    /// Cuts every connection that is there.
    pub fn cut(&self) {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for stream in open.drain(..) {
            // One that ended by itself is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were cut for their bytes.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for Flaky {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Release);
        // It looks when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.cut();
    }
}

/// Carries one connection on threads of its own.
fn carry(shared: &Arc<Shared>, client: TcpStream) {
    if shared.whim() == Whim::Refuse {
        return;
    }
    let Ok(server) = TcpStream::connect(shared.to) else {
        return;
    };
    let both = [&client, &server].map(|one| one.try_clone().expect("share the connection"));
    {
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.extend(both.iter().map(|one| one.try_clone().expect("share it")));
    }
    let [their_client, their_server] = both;
    let up = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut carried = 0;
        pump(client, their_server, |count| {
            carried += count;
            held(&up, carried)
        });
    });
    let shared = Arc::clone(shared);
    std::thread::spawn(move || {
        let mut carried = 0;
        pump(server, their_client, |count| {
            carried += count;
            let goes_on = match shared.whim() {
                Whim::Carry | Whim::HoldAfter(_) => true,
                Whim::CutAfter(most) => carried <= most,
                Whim::Refuse => false,
            };
            if !goes_on {
                shared.cuts.fetch_add(1, Ordering::Relaxed);
            }
            goes_on && held(&shared, carried)
        });
    });
}

/// Comes back when the line no longer holds this; false when it ends.
fn held(shared: &Shared, carried: u64) -> bool {
    let holds = || matches!(shared.whim(), Whim::HoldAfter(most) if carried > most);
    while holds() {
        if shared.stops.load(Ordering::Acquire) {
            return false;
        }
        crate::wait::let_pass(HELD_LOOK);
    }
    true
}

/// Moves bytes until one side ends, or `goes_on` says no; then both end.
fn pump(mut from: TcpStream, mut to: TcpStream, mut goes_on: impl FnMut(u64) -> bool) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut bytes) {
        if count == 0 || !goes_on(count as u64) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // One that ended by itself is as good.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
