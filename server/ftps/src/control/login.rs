//! USER, PASS and REIN.

use layover_depot::timer::Stopwatch;
use layover_depot::{
    LoginAttempt, LoginError, PresentedCertificate, Proof, Protocol, Secret, Session, VirtualPath,
};

use super::{ControlConnection, DataPlace, Ending};
use crate::command::Type;
use crate::listing::Facts;
use crate::reply::Reply;
use crate::server::{Entry, Owner};

/// Passwords that one connection may try: a person mistypes twice. As often it may
/// name somebody whom its certificate does not open.
const MAX_FAILED_LOGINS: usize = 5;

impl ControlConnection {
    /// A client that presented a certificate may be in with its name alone
    /// (RFC 4217 s.9); every other is asked for the password, whoever it is (G01).
    pub(super) async fn name_user(&mut self, name: &[u8]) -> Result<(), Ending> {
        let reply = if self.session.is_some() {
            let text = "you are logged in; REIN or a new connection changes the account";
            Reply::new(503, text)
        } else {
            let user = String::from_utf8_lossy(name).trim().to_owned();
            self.user = Some(user.clone());
            let certificate = self.negotiated.client_certificate.clone();
            match certificate {
                Some(certificate) => self.check_certificate(user, certificate).await?,
                None => password_please(),
            }
        };
        Ok(self.wire.send(&reply).await?)
    }

    pub(super) async fn log_in(&mut self, password: &[u8]) -> Result<(), Ending> {
        let reply = if self.session.is_some() && self.is_certified {
            // Some clients send PASS without waiting for the answer to USER.
            Reply::new(202, "no password is needed: your certificate let you in")
        } else if self.session.is_some() {
            Reply::new(503, "you are logged in already")
        } else if let Some(user) = self.user.take() {
            self.check_password(user, password).await?
        } else {
            Reply::new(503, "USER comes first")
        };
        Ok(self.wire.send(&reply).await?)
    }

    async fn check_certificate(
        &mut self,
        user: String,
        certificate: PresentedCertificate,
    ) -> Result<Reply, Ending> {
        match self
            .login(user, Proof::ClientCertificate(certificate))
            .await
        {
            Ok(session) => {
                self.is_certified = true;
                self.user = None;
                Ok(self.enter(session, 232).await)
            }
            Err(LoginError::OneMore { first }) => {
                self.first = Some(first);
                Ok(password_please())
            }
            Err(LoginError::Refused) => {
                self.refused_certificates = self.refused_certificates.saturating_add(1);
                if self.refused_certificates > MAX_FAILED_LOGINS {
                    return Err(too_many());
                }
                Ok(password_please())
            }
            Err(error) => Err(self.cannot_be_checked(&error)),
        }
    }

    async fn check_password(&mut self, user: String, password: &[u8]) -> Result<Reply, Ending> {
        let proof = Proof::Password(Secret::new(password.to_vec()));
        match self.login(user, proof).await {
            Ok(session) => Ok(self.enter(session, 230).await),
            // One answer to every refusal (G01).
            Err(LoginError::Refused | LoginError::OneMore { .. }) => {
                self.failed_logins = self.failed_logins.saturating_add(1);
                if self.failed_logins >= MAX_FAILED_LOGINS {
                    return Err(too_many());
                }
                Ok(Reply::new(
                    530,
                    "login refused: check name and password, and with the operator your address",
                ))
            }
            Err(error) => Err(self.cannot_be_checked(&error)),
        }
    }

    async fn login(&mut self, user: String, proof: Proof) -> Result<Session, LoginError> {
        let attempt = LoginAttempt {
            user,
            peer: self.arrival.peer.ip(),
            protocol: Protocol::Ftps,
            proof,
            first: self.first.as_deref().cloned(),
            client_version: self.client.clone(),
            detail: self.agreed(),
        };
        // From here on its outcome counts, and no longer its time.
        self.slot.asked();
        self.shared.depot.gate().login(attempt).await
    }

    /// Somebody is in: the greeting, with this code.
    async fn enter(&mut self, session: Session, code: u16) -> Reply {
        self.slot.logged_in();
        self.wire.logged_in();
        self.was_in = true;
        self.first = None;
        let owner = Owner {
            account: session.account().id,
            peer: self.arrival.peer.ip().to_canonical(),
        };
        self.shared.set_owner(self.tls.id(), Some(owner));
        let keep = session.keep().await;
        let name = format!("Welcome, {}.", session.account_name());
        self.session = Some(session);
        let rule = match keep {
            Ok(keep) => format!("Files are deleted {keep} after they have arrived."),
            Err(error) => {
                self.depot_reply(&error);
                "Files are deleted a fixed time after they have arrived.".to_owned()
            }
        };
        Reply::lines(code, [name.into_bytes(), rule.into_bytes()])
    }

    fn cannot_be_checked(&self, error: &LoginError) -> Ending {
        let peer = self.arrival.peer.ip();
        self.shared.depot.faults().login(peer, error);
        if matches!(error, LoginError::DiskFull) {
            let text = "the disk of this server is full: nobody can log in; try again later";
            return Ending::Told(Reply::new(421, text), "the disk is full");
        }
        let text = "logins cannot be checked just now; try again in a minute";
        Ending::Told(Reply::new(421, text), "logins cannot be checked")
    }

    /// What the journal should know of the connection.
    fn agreed(&self) -> serde_json::Map<String, serde_json::Value> {
        let mut detail = serde_json::Map::new();
        detail.insert("tls".to_owned(), self.negotiated.version.into());
        detail.insert("suite".to_owned(), self.negotiated.suite.into());
        let entry = match self.arrival.entry {
            Entry::Explicit => "explicit",
            Entry::Implicit => "implicit",
        };
        detail.insert("entry".to_owned(), entry.into());
        if let Some(certificate) = &self.negotiated.client_certificate {
            detail.insert(
                "client_certificate".to_owned(),
                certificate.fingerprint().into(),
            );
        }
        detail
    }

    /// RFC 959 s.4.1.1: as after the connection began. TLS stays: nothing is
    /// ever said in the clear here.
    pub(super) async fn reinitialise(&mut self) {
        self.shared.set_owner(self.tls.id(), None);
        self.leave_active_mode();
        if let Some(session) = self.session.take() {
            session.end("reinitialised").await;
            // The time to log in begins anew; who never did has no more of it (G04).
            self.arrival.since_start = Stopwatch::start();
        }
        self.user = None;
        self.first = None;
        self.is_certified = false;
        self.cwd = VirtualPath::root();
        self.representation = Type::default();
        self.rest = 0;
        self.announced_bytes = None;
        self.facts = Facts::default();
        self.data = DataPlace::None;
        self.epsv_all = false;
        self.is_private = self.arrival.entry == Entry::Implicit;
    }
}

/// The same for every name (G01).
fn password_please() -> Reply {
    Reply::new(331, "password, please")
}

fn too_many() -> Ending {
    let text = "too many refused logins; connection closed";
    Ending::Told(Reply::new(421, text), "too many refused logins")
}
