//! The gate: may this peer in?
//!
//! Two questions, in this order. Before the first byte of a banner:
//! [`Gate::admit`], in memory, by address and by what is free. At login:
//! [`Gate::login`], which looks at networks, account and protocol before it
//! examines a password or key. Whatever the reason of a refusal, the peer gets
//! the same answer after the same work; the journal gets the reason (G01, G03).

mod admission;
mod bans;
mod counting;
mod examine;
mod live;
mod notes;
mod proof;
mod signs;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;
use serde_json::{Map, Value};

use admission::Admission;
pub use admission::{AdmitRefused, ConnectionSlot, GateOptions, Occupancy};
pub use bans::{Ban, BanRules};
pub(crate) use bans::{MAX_BANS, Offence, party};
pub(crate) use live::LiveSessions;
use proof::{Factor, fingerprint};
pub use proof::{FirstProof, Proof};

use crate::certificate::{CertificateFault, UserCa};
use crate::client_certificate::ClientCertificateFault;
use crate::figures::Ending;
use crate::holdings::{Holdings, HomeRef};
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::password::Passwords;
use crate::recover::SILENT_AFTER;
use crate::session::{Login, unended};
use crate::store::{LoginRow, SessionBegun, SessionStart, StoreError};
use crate::{
    AccountName, Agreed, Network, Protocol, Session, SessionId, SessionLimit, VfsError,
    normalise_ip,
};

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
    /// What the gate found right before, on the same connection.
    pub first: Option<FirstProof>,
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
    /// The proof is right, and the account asks for one more.
    #[error("one more proof is needed")]
    OneMore {
        /// To be kept, and handed back with the other.
        first: Box<FirstProof>,
    },
    /// We cannot tell just now.
    #[error("logins cannot be checked at the moment")]
    Unavailable {
        /// Why.
        source: StoreError,
    },
    /// Nobody comes in while the disk has room for deletion alone; nothing was examined.
    #[error("the disk is full")]
    DiskFull,
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
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Reason {
    #[error("unknown account")]
    UnknownAccount,
    #[error("account disabled")]
    Disabled,
    #[error("network not allowed for the account")]
    NetworkNotAllowed,
    #[error("protocol not allowed for the account")]
    ProtocolNotAllowed,
    #[error("the account must show a certificate")]
    CertificateWanted,
    #[error("the account logs in by password alone")]
    KeyNotWanted,
    #[error("{PASSWORD_NOT_WANTED}")]
    PasswordNotWanted,
    #[error("the account has no password")]
    NoPassword,
    #[error("wrong password")]
    WrongPassword,
    #[error("SHA-1 signature (ssh-rsa)")]
    Sha1Signature,
    #[error("signature algorithm not accepted")]
    WeakSignature,
    #[error("key not authorized")]
    UnknownKey,
    #[error("key not allowed from this address")]
    KeyNotAllowedFromHere,
    #[error("key expired")]
    KeyExpired,
    #[error(transparent)]
    Certificate(#[from] CertificateFault),
    #[error(transparent)]
    ClientCertificate(#[from] ClientCertificateFault),
    #[error("account changed during the login")]
    ChangedMeanwhile,
    #[error("the account has as many sessions as it may have ({0})")]
    TooManySessions(SessionLimit),
    #[error("plain FTP: the client did not ask for TLS")]
    WithoutTls,
    #[error("the address is banned")]
    Banned,
}

/// In words, for the doctor, too.
pub(crate) const PASSWORD_NOT_WANTED: &str = "the account logs in by key alone";

/// Characters of a name that the log repeats; the journal has more of it.
const MAX_LOGGED_NAME_CHARS: usize = 128;

/// A name as the log repeats it, which whoever sent it may have made as long as a packet.
fn logged(user: &str) -> String {
    let cut: String = user.chars().take(MAX_LOGGED_NAME_CHARS).collect();
    cut.escape_debug().to_string()
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
    /// A login was tried, whatever came of it.
    was_asked: bool,
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

    /// A login was tried, by whatever proof.
    pub fn note_asked(&mut self) {
        self.was_asked = true;
    }

    /// Whether any was tried, or a key offered.
    #[must_use]
    pub fn was_asked(&self) -> bool {
        self.was_asked || self.count > 0
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
    authorities: Arc<Authorities>,
    /// Whether a TLS client certificate opens some account.
    client_certificates: Arc<AtomicBool>,
}

/// Who may sign certificates.
#[derive(Debug, Default)]
struct Authorities {
    /// For every account.
    trusted: ArcSwap<Vec<UserCa>>,
    /// Whether some account has one of its own.
    of_accounts: AtomicBool,
}

impl Gate {
    pub(crate) fn new(holdings: Arc<Holdings>, passwords: Passwords, options: GateOptions) -> Self {
        Self {
            holdings,
            passwords,
            admission: Admission::new(options),
            live: LiveSessions::default(),
            authorities: Arc::default(),
            client_certificates: Arc::default(),
        }
    }

    /// Whether a connection from `peer` may have a banner at all. Costs no I/O.
    ///
    /// # Errors
    /// [`AdmitRefused`]: close the connection without a byte.
    pub fn admit(&self, peer: IpAddr) -> Result<ConnectionSlot, AdmitRefused> {
        let now = self.holdings.now();
        let admitted = self.admission.admit(normalise_ip(peer), now);
        if let Err(why) = &admitted {
            self.holdings.counters.refused_connection(*why);
            self.note_address_refused(peer, *why);
        }
        admitted
    }

    /// Whether nobody can log in because the disk is full.
    #[must_use]
    pub fn is_out_of_room(&self) -> bool {
        self.holdings.room.is_scarce()
    }

    /// How many connections there are.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        self.admission.occupancy(self.holdings.now())
    }

    /// What the accounts' networks are from now on.
    pub(crate) fn set_networks(&self, networks: Vec<Network>) {
        self.admission.set_networks(networks);
    }

    /// Whose certificates open every account that they name, from now on.
    pub fn trust(&self, authorities: Vec<UserCa>) {
        self.authorities.trusted.store(Arc::new(authorities));
    }

    /// Whether some account has an authority of its own, from now on.
    pub(crate) fn set_account_authorities(&self, some: bool) {
        self.authorities.of_accounts.store(some, Ordering::Release);
    }

    /// Whether a TLS client certificate opens some account, from now on.
    pub(crate) fn set_client_certificates(&self, some: bool) {
        self.client_certificates.store(some, Ordering::Release);
    }

    /// Whether TLS clients are to be asked for a certificate: where none opens any
    /// account, not even a client that stumbles over the question is asked.
    #[must_use]
    pub fn wants_client_certificates(&self) -> bool {
        self.client_certificates.load(Ordering::Acquire)
    }

    fn takes_certificates(&self) -> bool {
        self.authorities.of_accounts.load(Ordering::Acquire)
            || !self.authorities.trusted.load().is_empty()
    }

    pub(crate) fn live(&self) -> &LiveSessions {
        &self.live
    }

    /// Whether a signature by this key would open the account: what SSH asks
    /// before it makes the client sign (RFC 4252 s.7).
    ///
    /// The front end cannot tell a certificate's offer from that of its key. So
    /// where certificates may open some account, every offer is worth a
    /// signature, whoever the user is: an answer that depended on the account
    /// would tell which accounts have an authority.
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
        if let Err(reason) = self.not_banned(peer) {
            return Ok(Err(reason));
        }
        if self.takes_certificates() {
            return Ok(Ok(()));
        }
        let row = self.look_up(user).await?;
        let admitted = self.standing(row.as_ref(), peer, protocol, Factor::Key);
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

    /// Lets a peer in, or does not. A login and its refusal are both in the
    /// journal before the answer is given.
    ///
    /// # Errors
    /// `DiskFull` for everybody; `Refused` for every reason that the peer could do something about;
    /// `OneMore` when the proof is right and the account asks for two.
    pub async fn login(&self, attempt: LoginAttempt) -> Result<Session, LoginError> {
        let (protocol, method) = (attempt.protocol, attempt.proof.method());
        let result = match self.holdings.room.refuses() {
            true => Err(LoginError::DiskFull),
            false => self.judge(attempt).await,
        };
        let ending = match &result {
            Ok(_) => Some(Ending::Ok),
            Err(LoginError::Refused) => Some(Ending::Refused),
            // The login goes on.
            Err(LoginError::OneMore { .. }) => None,
            Err(_) => Some(Ending::Failed),
        };
        if let Some(ending) = ending {
            self.holdings.counters.login(protocol, method, ending);
        }
        result
    }

    async fn judge(&self, attempt: LoginAttempt) -> Result<Session, LoginError> {
        let peer = normalise_ip(attempt.peer);
        let row = self.look_up(&attempt.user).await?;
        // Networks come first: a password or key is examined only for a peer
        // that could log in with it, but the work is the same for all (G01).
        let factor = attempt.proof.factor();
        let admitted = self
            .not_banned(peer)
            .and_then(|()| self.standing(row.as_ref(), peer, attempt.protocol, factor))
            .and_then(|()| self.certificate_came_first(row.as_ref(), &attempt, peer));
        let known = if admitted.is_ok() { row.as_ref() } else { None };
        let examined = self.examine(known, peer, &attempt.proof).await?;
        // Those who guess at the same time wait for the same processors.
        let examined = examined.and_then(|shown| self.not_banned(peer).map(|()| shown));
        match (admitted.and(examined), row) {
            (Ok(shown), Some(row)) => {
                let mut attempt = attempt;
                if let Some(authority) = shown.authority() {
                    let detail = &mut attempt.detail;
                    detail.insert("authority".to_owned(), authority.into());
                }
                match self.still_missing(&attempt, peer, &row, shown) {
                    None => self.enter(&attempt, peer, row).await,
                    Some(first) => self.ask_for_more(&attempt, peer, &row, first).await,
                }
            }
            (Ok(_), None) => {
                self.refuse(&attempt, peer, None, Reason::UnknownAccount)
                    .await
            }
            (Err(reason), row) => self.refuse(&attempt, peer, row.as_ref(), reason).await,
        }
    }

    async fn ask_for_more(
        &self,
        attempt: &LoginAttempt,
        peer: IpAddr,
        row: &LoginRow,
        first: FirstProof,
    ) -> Result<Session, LoginError> {
        // Once a proof: a peer may repeat it as often as it likes.
        let is_news = attempt.first.as_ref().is_none_or(|known| {
            known.user != first.user || known.shown.factor() != first.shown.factor()
        });
        if is_news {
            let mut entry = self.entry(attempt, peer).entity(&row.account.entity);
            entry.action = "login.first";
            self.holdings
                .store
                .append(&entry)
                .await
                .map_err(|source| LoginError::Unavailable { source })?;
        }
        Err(LoginError::OneMore {
            first: Box::new(first),
        })
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
        if let Some(first) = &attempt.first
            && first.user == attempt.user
        {
            entry = entry.with("after", first.shown.method());
        }
        match &attempt.proof {
            Proof::Password(_) => entry,
            Proof::Key { blob, algorithm } | Proof::WeakSignature { blob, algorithm } => entry
                .with("fingerprint", fingerprint(blob))
                .with("signature", algorithm.as_str()),
            Proof::Certificate(certificate) => entry
                .with("fingerprint", certificate.fingerprint())
                .with("authority", certificate.authority_fingerprint())
                .with("certificate", certificate.key_id())
                .with("serial", certificate.serial()),
            Proof::ClientCertificate(certificate) => entry
                .with("fingerprint", certificate.fingerprint())
                .with("certificate", certificate.subject()),
        }
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
            agreed: Agreed::among(&attempt.detail),
            is_counted: row.account.limits.max_sessions.is_some(),
            silent_before: self.holdings.now().saturating_sub(SILENT_AFTER),
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
            .map_err(|source| {
                // It may have been done, and only the answer be lost.
                self.holdings.unended.add(id.clone(), Vec::new());
                unavailable(source)
            })?;
        let refused = match (begun, row.account.limits.max_sessions) {
            (SessionBegun::Yes, _) => None,
            (SessionBegun::TooMany, Some(limit)) => Some(Reason::TooManySessions(limit)),
            // One that had no limit when it was looked up.
            (SessionBegun::TooMany, None) | (SessionBegun::AccountGone, _) => {
                Some(Reason::ChangedMeanwhile)
            }
        };
        if let Some(reason) = refused {
            return self.refuse(attempt, peer, Some(&row), reason).await;
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
                unended::end(&self.holdings, id, vec![entry]).await;
                return Err(LoginError::NoHome {
                    source: Box::new(error),
                });
            }
        };
        self.live.add(&session, attempt.protocol, peer);
        self.note_login(attempt, peer, session.account_name());
        self.admission.know(peer, self.holdings.now());
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
            .with("reason", reason.to_string());
        if let Some(row) = row {
            entry = entry.entity(&row.account.entity);
        }
        self.note_refused_login(attempt, peer, row, &reason);
        tracing::info!(
            account.name = %logged(&attempt.user),
            peer.addr = %peer,
            outcome = "refused",
            reason = %reason,
            "login refused"
        );
        self.count(peer, bans::weight(&reason), Some(&entry))
            .await
            .map_err(|source| LoginError::Unavailable { source })?;
        Err(LoginError::Refused)
    }
}

#[cfg(test)]
mod tests;
