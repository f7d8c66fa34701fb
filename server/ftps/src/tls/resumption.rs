//! How a data connection proves that it belongs to its control connection: by
//! resuming its TLS session.
//!
//! Each control connection seals its tickets with a key of its own, which lives
//! exactly as long as the connection: a ticket works for as long as its session
//! lasts, however many hours (F15), and is worthless afterwards. That is why
//! neither rustls' `Ticketer` (keys roll every six hours) nor a cache of fixed
//! size (other sessions push an entry out) is used here.
//!
//! On control connections nothing is resumed. On data connections nothing is
//! issued: otherwise a stranger's first, unproven data connection would yield a
//! ticket that makes his second one look proven.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use rustls::server::{ProducesTickets, StoresServerSessions};

use super::ControlId;

/// What clients are told at most: RFC 8446 s.4.6.1 allows no more than seven
/// days. The true limit is the life of the control connection.
pub(super) const TICKET_LIFETIME_HINT_S: u32 = 7 * 24 * 60 * 60;

/// Names the key in a ticket; random, so that a ticket does not tell how many
/// connections there were.
const KEY_NAME_LEN: usize = 16;
type KeyName = [u8; KEY_NAME_LEN];

/// The sessions of all live control connections, to be resumed on data
/// connections.
#[derive(Default)]
pub(super) struct Register {
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    by_key: HashMap<KeyName, Arc<TicketKey>>,
    /// TLS 1.2 clients without tickets (curl) name the session instead.
    by_tls12_session: HashMap<Vec<u8>, (ControlId, Vec<u8>)>,
}

impl Register {
    fn live(&self) -> MutexGuard<'_, Live> {
        // Each change below is one insertion or removal, so a panic elsewhere
        // leaves nothing half done.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, ticket: &[u8]) -> Option<(ControlId, Vec<u8>)> {
        let (name, sealed) = ticket.split_first_chunk::<KEY_NAME_LEN>()?;
        let key = self.live().by_key.get(name).cloned()?;
        Some((key.owner, key.open(sealed)?))
    }

    fn named(&self, session: &[u8]) -> Option<(ControlId, Vec<u8>)> {
        self.live().by_tls12_session.get(session).cloned()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        let live = self.live();
        (live.by_key.len(), live.by_tls12_session.len())
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Register").finish_non_exhaustive()
    }
}

struct TicketKey {
    name: KeyName,
    owner: ControlId,
    key: RandomizedNonceKey,
}

impl TicketKey {
    fn new(owner: ControlId) -> Option<Self> {
        let mut name = [0; KEY_NAME_LEN];
        aws_lc_rs::rand::fill(&mut name).ok()?;
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).ok()?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &secret).ok()?;
        Some(Self { name, owner, key })
    }

    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(&self.name), &mut sealed)
            .ok()?;
        Some([&self.name[..], nonce.as_ref(), &sealed].concat())
    }

    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let mut text = text.to_vec();
        let plain = self
            .key
            .open_in_place(Nonce::from(nonce), Aad::from(&self.name), &mut text)
            .ok()?;
        Some(plain.to_vec())
    }
}

/// The resumable sessions of one control connection; they end when this is
/// dropped.
pub(super) struct Enrolled {
    register: Arc<Register>,
    key: Arc<TicketKey>,
    tls12_session: Mutex<Option<Vec<u8>>>,
}

impl Enrolled {
    /// `None` when the operating system gives no random bytes.
    pub(super) fn new(register: &Arc<Register>, owner: ControlId) -> Option<Self> {
        let key = Arc::new(TicketKey::new(owner)?);
        register.live().by_key.insert(key.name, Arc::clone(&key));
        Some(Self {
            register: Arc::clone(register),
            key,
            tls12_session: Mutex::default(),
        })
    }

    fn keep(&self, session: Vec<u8>, value: Vec<u8>) {
        let mut own = self
            .tls12_session
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let mut live = self.register.live();
        // One handshake, one session: what a peer can grow here is one entry.
        if let Some(earlier) = own.replace(session.clone()) {
            live.by_tls12_session.remove(&earlier);
        }
        live.by_tls12_session
            .insert(session, (self.key.owner, value));
    }
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        let own = self
            .tls12_session
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let mut live = self.register.live();
        live.by_key.remove(&self.key.name);
        if let Some(session) = own {
            live.by_tls12_session.remove(&session);
        }
    }
}

/// A control connection's side: issues, never resumes.
pub(super) struct Issuing(pub(super) Arc<Enrolled>);

impl fmt::Debug for Issuing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Issuing").field(&self.0.key.owner).finish()
    }
}

impl ProducesTickets for Issuing {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        TICKET_LIFETIME_HINT_S
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.0.key.seal(plain)
    }

    fn decrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

impl StoresServerSessions for Issuing {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.keep(key, value);
        true
    }

    fn get(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn can_cache(&self) -> bool {
        true
    }
}

/// A data connection's side: resumes, as often as the client likes, records
/// whose session it was, and issues nothing.
pub(super) struct Resuming {
    register: Arc<Register>,
    seen: Mutex<Option<ControlId>>,
}

impl Resuming {
    pub(super) fn new(register: &Arc<Register>) -> Self {
        Self {
            register: Arc::clone(register),
            seen: Mutex::default(),
        }
    }

    /// Whose session was offered last. Proves nothing unless the handshake was
    /// resumed: tickets of TLS 1.2 travel in the clear.
    pub(super) fn seen(&self) -> Option<ControlId> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, found: Option<(ControlId, Vec<u8>)>) -> Option<Vec<u8>> {
        let (owner, plain) = found.unzip();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = owner;
        plain
    }
}

impl fmt::Debug for Resuming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resuming").finish_non_exhaustive()
    }
}

impl ProducesTickets for Resuming {
    /// False: rustls then offers no new ticket, still opens the ones of TLS 1.2
    /// with [`ProducesTickets::decrypt`] and asks
    /// [`StoresServerSessions::take`] for those of TLS 1.3.
    fn enabled(&self) -> bool {
        false
    }

    fn lifetime(&self) -> u32 {
        0
    }

    fn encrypt(&self, _: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.record(self.register.open(ticket))
    }
}

impl StoresServerSessions for Resuming {
    fn put(&self, _: Vec<u8>, _: Vec<u8>) -> bool {
        false
    }

    fn get(&self, session: &[u8]) -> Option<Vec<u8>> {
        self.record(self.register.named(session))
    }

    fn take(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.record(self.register.open(ticket))
    }

    fn can_cache(&self) -> bool {
        false
    }
}
