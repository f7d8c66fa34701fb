//! The gate: may this peer in?
//!
//! Two questions, in this order. Before the first byte of a banner:
//! [`Gate::admit`], in memory, by address and by what is free. At login:
//! [`Gate::login`], which looks at networks, account and protocol before it
//! examines a password or key. Whatever the reason of a refusal, the peer gets
//! the same answer after the same work; the journal gets the reason (G01, G03).

mod admission;
mod live;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};

use admission::Admission;
pub use admission::{AdmitRefused, ConnectionSlot, GateOptions, Occupancy};
pub(crate) use live::LiveSessions;

use crate::holdings::{Holdings, HomeRef};
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::password::Passwords;
use crate::session::Login;
use crate::store::{LoginRow, SessionStart, StoreError};
use crate::{
    Account, AccountName, Network, Protocol, Secret, Session, SessionId, VfsError, normalise_ip,
};

/// What a peer shows to prove who it is.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// A public key whose signature the front end has verified.
    Key {
        /// The key in SSH's wire form.
        blob: Vec<u8>,
        /// The signature's algorithm.
        algorithm: String,
    },
}

impl Proof {
    fn method(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Key { .. } => "publickey",
        }
    }
}

/// Somebody wants to log in.
#[derive(Clone, Debug)]
pub struct LoginAttempt {
    /// The name as the peer sent it.
    pub user: String,
    /// Where it comes from.
    pub peer: IpAddr,
    /// How it comes.
    pub protocol: Protocol,
    /// What it shows.
    pub proof: Proof,
    /// What its software says of itself.
    pub client_version: Option<String>,
    /// What the journal should know of the connection: cipher, key exchange.
    pub detail: Map<String, Value>,
}

/// Fingerprints of offered keys that one journal entry carries: more than a
/// partner's agent usually holds, and far below what a connection may try.
const MAX_TOLD_OFFERS: usize = 8;

/// Why nobody came in. The peer must not learn more than this.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// Refused; the reason is in the journal.
    #[error("login refused")]
    Refused,
    /// We cannot tell just now.
    #[error("logins cannot be checked at the moment")]
    Unavailable {
        /// Why.
        source: StoreError,
    },
    /// The account's folder cannot be made.
    #[error("the account's home cannot be used")]
    NoHome {
        /// Why.
        source: Box<VfsError>,
    },
    /// The system's random source failed.
    #[error("the system's random source failed")]
    NoRandomness,
    /// Too many logins are being checked.
    #[error("too many logins at once")]
    Overloaded,
}

/// The reasons, for the journal alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    UnknownAccount,
    Disabled,
    NetworkNotAllowed,
    ProtocolNotAllowed,
    NoPassword,
    WrongPassword,
    UnknownKey,
    KeyNotAllowedFromHere,
    KeyExpired,
    ChangedMeanwhile,
}

impl Reason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAccount => "unknown account",
            Self::Disabled => "account disabled",
            Self::NetworkNotAllowed => "network not allowed for the account",
            Self::ProtocolNotAllowed => "protocol not allowed for the account",
            Self::NoPassword => "the account has no password",
            Self::WrongPassword => "wrong password",
            Self::UnknownKey => "key not authorized",
            Self::KeyNotAllowedFromHere => "key not allowed from this address",
            Self::KeyExpired => "key expired",
            Self::ChangedMeanwhile => "account changed during the login",
        }
    }
}

/// Keys that one connection offered in vain.
#[derive(Debug, Default)]
pub struct RefusedOffers {
    /// For whom the first was offered.
    user: Option<String>,
    /// Why the last was refused.
    reason: Option<Reason>,
    count: u64,
    /// The first ones' fingerprints, at most [`MAX_TOLD_OFFERS`].
    keys: Vec<String>,
}

impl RefusedOffers {
    fn add(&mut self, user: &str, blob: &[u8], reason: Reason) {
        self.count = self.count.saturating_add(1);
        self.user.get_or_insert_with(|| user.to_owned());
        self.reason = Some(reason);
        let key = fingerprint(blob);
        if self.keys.len() < MAX_TOLD_OFFERS && !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }

    /// Whether none was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// The door for peers. Clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate {
    holdings: Arc<Holdings>,
    passwords: Passwords,
    admission: Admission,
    live: LiveSessions,
}

impl Gate {
    pub(crate) fn new(holdings: Arc<Holdings>, passwords: Passwords, options: GateOptions) -> Self {
        Self {
            holdings,
            passwords,
            admission: Admission::new(options),
            live: LiveSessions::default(),
        }
    }

    /// Whether a connection from `peer` may have a banner at all. Costs no I/O.
    ///
    /// # Errors
    /// [`AdmitRefused`]: close the connection without a byte.
    pub fn admit(&self, peer: IpAddr) -> Result<ConnectionSlot, AdmitRefused> {
        self.admission.admit(normalise_ip(peer))
    }

    /// How many connections there are.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.admission.occupancy()
    }

    /// What the accounts' networks are from now on.
    pub(crate) fn set_networks(&self, networks: Vec<Network>) {
        self.admission.set_networks(networks);
    }

    pub(crate) fn live(&self) -> &LiveSessions {
        &self.live
    }

    /// Whether a signature by this key would open the account: what SSH asks
    /// before it makes the client sign (RFC 4252 s.7).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn key_is_acceptable(
        &self,
        user: &str,
        peer: IpAddr,
        protocol: Protocol,
        blob: &[u8],
    ) -> Result<bool, LoginError> {
        Ok(self.judge_key(user, peer, protocol, blob).await?.is_ok())
    }

    async fn judge_key(
        &self,
        user: &str,
        peer: IpAddr,
        protocol: Protocol,
        blob: &[u8],
    ) -> Result<Result<(), Reason>, LoginError> {
        let peer = normalise_ip(peer);
        let row = self.look_up(user).await?;
        let admitted = self.standing(row.as_ref(), peer, protocol);
        Ok(match (&row, admitted) {
            (Some(row), Ok(())) => self.check_key(&row.account, peer, blob),
            (_, Err(reason)) => Err(reason),
            (None, Ok(())) => Err(Reason::UnknownAccount),
        })
    }

    /// As [`Gate::key_is_acceptable`], and remembers what was not: a client
    /// whose key is refused here never signs, so that no login is refused.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn consider_key(
        &self,
        user: &str,
        peer: IpAddr,
        protocol: Protocol,
        blob: &[u8],
        offers: &mut RefusedOffers,
    ) -> Result<bool, LoginError> {
        match self.judge_key(user, peer, protocol, blob).await? {
            Ok(()) => Ok(true),
            Err(reason) => {
                offers.add(user, blob, reason);
                Ok(false)
            }
        }
    }

    /// Tells the journal which keys a connection offered in vain that ended
    /// without a login; nothing when it offered none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_offers(
        &self,
        peer: IpAddr,
        protocol: Protocol,
        offers: RefusedOffers,
    ) -> Result<(), LoginError> {
        let Some(user) = offers.user else {
            return Ok(());
        };
        let peer = normalise_ip(peer);
        let now = self.holdings.now();
        let row = self.look_up(&user).await?;
        let mut entry = NewEntry::new(now, JournalKind::Login, "login", &self.holdings.node)
            .outcome(Outcome::Refused)
            .account(&user)
            .peer(peer)
            .protocol(protocol)
            .with("method", "publickey")
            .with("offered", offers.count)
            .with("keys", offers.keys);
        if let Some(reason) = offers.reason {
            entry = entry.with("reason", reason.as_str());
        }
        if let Some(row) = row {
            entry = entry.entity(&row.account.entity);
        }
        tracing::info!(
            account.name = %user.escape_debug(),
            peer.addr = %peer,
            outcome = "refused",
            reason = offers.reason.map(Reason::as_str),
            "no key that was offered is accepted"
        );
        let appended = self.holdings.store.append(&entry).await;
        appended.map_err(|source| LoginError::Unavailable { source })
    }

    /// Lets a peer in, or does not. A login and its refusal are both in the
    /// journal before the answer is given.
    ///
    /// # Errors
    /// `Refused` for every reason that the peer could do something about.
    pub async fn login(&self, attempt: LoginAttempt) -> Result<Session, LoginError> {
        let peer = normalise_ip(attempt.peer);
        let row = self.look_up(&attempt.user).await?;
        // Networks come first: a password or key is examined only for a peer
        // that could log in with it, but the work is the same for all (G01).
        let admitted = self.standing(row.as_ref(), peer, attempt.protocol);
        let known = if admitted.is_ok() { row.as_ref() } else { None };
        let proven = match &attempt.proof {
            Proof::Password(password) => self.check_password(known, password).await?,
            Proof::Key { blob, .. } => match known {
                Some(row) => self.check_key(&row.account, peer, blob),
                None => Err(Reason::UnknownKey),
            },
        };
        let verdict = admitted.and(proven);
        match (verdict, row) {
            (Ok(()), Some(row)) => self.enter(&attempt, peer, row).await,
            (Ok(()), None) => {
                self.refuse(&attempt, peer, None, Reason::UnknownAccount)
                    .await
            }
            (Err(reason), row) => self.refuse(&attempt, peer, row.as_ref(), reason).await,
        }
    }

    async fn look_up(&self, user: &str) -> Result<Option<LoginRow>, LoginError> {
        // No account's name: the same query, for a name that nobody has.
        let name = if user.parse::<AccountName>().is_ok() {
            user
        } else {
            ""
        };
        self.holdings
            .store
            .login(name)
            .await
            .map_err(|source| LoginError::Unavailable { source })
    }

    /// Whether this account may come from here in this way at all.
    fn standing(
        &self,
        row: Option<&LoginRow>,
        peer: IpAddr,
        protocol: Protocol,
    ) -> Result<(), Reason> {
        let Some(LoginRow { account, .. }) = row else {
            return Err(Reason::UnknownAccount);
        };
        let now = self.holdings.now();
        if !account.enabled {
            Err(Reason::Disabled)
        } else if !account
            .networks
            .iter()
            .any(|network| network.admits(peer, now))
        {
            Err(Reason::NetworkNotAllowed)
        } else if !account.protocols.contains(protocol) {
            Err(Reason::ProtocolNotAllowed)
        } else {
            Ok(())
        }
    }

    async fn check_password(
        &self,
        row: Option<&LoginRow>,
        password: &Secret,
    ) -> Result<Result<(), Reason>, LoginError> {
        let hash = row.and_then(|row| row.password_hash.clone());
        let has_password = hash.is_some();
        let right = self
            .passwords
            .verify(hash, password.clone())
            .await
            .map_err(|_| LoginError::Overloaded)?;
        Ok(match (right, has_password) {
            (true, _) => Ok(()),
            (false, true) => Err(Reason::WrongPassword),
            (false, false) => Err(Reason::NoPassword),
        })
    }

    fn check_key(&self, account: &Account, peer: IpAddr, blob: &[u8]) -> Result<(), Reason> {
        let now = self.holdings.now();
        let key = account
            .keys
            .iter()
            .find(|key| key.blob == blob)
            .ok_or(Reason::UnknownKey)?;
        if key.admits(peer, now) {
            Ok(())
        } else if key.expires_at.is_some_and(|expires_at| expires_at <= now) {
            Err(Reason::KeyExpired)
        } else {
            Err(Reason::KeyNotAllowedFromHere)
        }
    }

    fn entry(&self, attempt: &LoginAttempt, peer: IpAddr) -> NewEntry {
        let mut entry = NewEntry::new(
            self.holdings.now(),
            JournalKind::Login,
            "login",
            &self.holdings.node,
        )
        .account(&attempt.user)
        .peer(peer)
        .protocol(attempt.protocol)
        .with("method", attempt.proof.method());
        entry.detail.extend(attempt.detail.clone());
        if let Some(client) = &attempt.client_version {
            entry = entry.with("client", client.as_str());
        }
        if let Proof::Key { blob, algorithm } = &attempt.proof {
            entry = entry
                .with("fingerprint", fingerprint(blob))
                .with("signature", algorithm.as_str());
        }
        entry
    }

    async fn enter(
        &self,
        attempt: &LoginAttempt,
        peer: IpAddr,
        row: LoginRow,
    ) -> Result<Session, LoginError> {
        let unavailable = |source| LoginError::Unavailable { source };
        let id = SessionId::random().map_err(|_| LoginError::NoRandomness)?;
        let start = SessionStart {
            id: id.clone(),
            node: self.holdings.node.clone(),
            account: row.account.id,
            protocol: attempt.protocol,
            peer,
            since: self.holdings.now(),
        };
        let entry = self
            .entry(attempt, peer)
            .entity(&row.account.entity)
            .session(&id);
        let begun = self
            .holdings
            .store
            .begin_session(&start, &entry)
            .await
            .map_err(unavailable)?;
        if begun.is_none() {
            return self
                .refuse(attempt, peer, Some(&row), Reason::ChangedMeanwhile)
                .await;
        }
        let home = HomeRef {
            id: row.home,
            name: row.account.home.clone(),
        };
        let login = Login {
            id: id.clone(),
            account: row.account,
            home,
            protocol: attempt.protocol,
            peer,
        };
        let session = match Session::open(Arc::clone(&self.holdings), login).await {
            Ok(session) => session,
            Err(error) => {
                // The login is in the journal: its end must be, too.
                let entry = self
                    .entry(attempt, peer)
                    .outcome(Outcome::Failed)
                    .session(&id);
                let entry = entry.with("reason", error.to_string());
                self.holdings
                    .store
                    .end_session(&id, &[entry])
                    .await
                    .map_err(unavailable)?;
                return Err(LoginError::NoHome {
                    source: Box::new(error),
                });
            }
        };
        self.live.add(&session);
        Ok(session)
    }

    async fn refuse(
        &self,
        attempt: &LoginAttempt,
        peer: IpAddr,
        row: Option<&LoginRow>,
        reason: Reason,
    ) -> Result<Session, LoginError> {
        let mut entry = self
            .entry(attempt, peer)
            .outcome(Outcome::Refused)
            .with("reason", reason.as_str());
        if let Some(row) = row {
            entry = entry.entity(&row.account.entity);
        }
        tracing::info!(
            account.name = %attempt.user.escape_debug(),
            peer.addr = %peer,
            outcome = "refused",
            reason = reason.as_str(),
            "login refused"
        );
        self.holdings
            .store
            .append(&entry)
            .await
            .map_err(|source| LoginError::Unavailable { source })?;
        Err(LoginError::Refused)
    }
}

/// As `ssh-keygen -l` prints it.
fn fingerprint(blob: &[u8]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(blob);
    format!(
        "SHA256:{}",
        base64::engine::general_purpose::STANDARD_NO_PAD.encode(digest)
    )
}
