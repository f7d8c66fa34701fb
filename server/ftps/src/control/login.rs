//! USER, PASS and REIN.

use layover_depot::timer::Stopwatch;
use layover_depot::{LoginAttempt, LoginError, Proof, Protocol, Secret, VirtualPath};

use super::{ControlConnection, DataPlace, Ending, Fault, refuse};
use crate::command::Type;
use crate::listing::Facts;
use crate::reply::Reply;
use crate::server::{Entry, Owner};

/// Passwords that one connection may try: a person mistypes twice.
const MAX_FAILED_LOGINS: usize = 5;

impl ControlConnection {
    pub(super) fn name_user(&mut self, name: &[u8]) -> Result<Reply, Fault> {
        if self.session.is_some() {
            return Err(refuse(
                503,
                "you are logged in; REIN or a new connection changes the account",
            ));
        }
        self.user = Some(String::from_utf8_lossy(name).trim().to_owned());
        // The same for every name (G01).
        Ok(Reply::new(331, "password, please"))
    }

    pub(super) async fn log_in(&mut self, password: &[u8]) -> Result<(), Ending> {
        let reply = if self.session.is_some() {
            Reply::new(503, "you are logged in already")
        } else if let Some(user) = self.user.take() {
            self.check(user, password).await?
        } else {
            Reply::new(503, "USER comes first")
        };
        Ok(self.wire.send(&reply).await?)
    }

    async fn check(&mut self, user: String, password: &[u8]) -> Result<Reply, Ending> {
        let attempt = LoginAttempt {
            user,
            peer: self.arrival.peer.ip(),
            protocol: Protocol::Ftps,
            proof: Proof::Password(Secret::new(password.to_vec())),
            first: None,
            client_version: self.client.clone(),
            detail: self.agreed(),
        };
        match self.shared.depot.gate().login(attempt).await {
            Ok(session) => {
                self.slot.logged_in();
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
                Ok(Reply::lines(230, [name.into_bytes(), rule.into_bytes()]))
            }
            // One answer to every refusal (G01); an account that asks for a key
            // cannot be satisfied here.
            Err(LoginError::Refused | LoginError::OneMore { .. }) => {
                self.failed_logins = self.failed_logins.saturating_add(1);
                if self.failed_logins >= MAX_FAILED_LOGINS {
                    let text = "too many refused logins; connection closed";
                    return Err(Ending::Told(
                        Reply::new(421, text),
                        "too many refused logins",
                    ));
                }
                Ok(Reply::new(
                    530,
                    "login refused: check name and password, and with the operator your address",
                ))
            }
            Err(error) => {
                tracing::error!(
                    peer.addr = %self.arrival.peer,
                    error = &error as &dyn std::error::Error,
                    "a login could not be checked"
                );
                let text = "logins cannot be checked just now; try again in a minute";
                Err(Ending::Told(
                    Reply::new(421, text),
                    "logins cannot be checked",
                ))
            }
        }
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
        if let Some(session) = self.session.take() {
            session.end("reinitialised").await;
        }
        // The time to log in begins anew.
        self.arrival.since_start = Stopwatch::start();
        self.user = None;
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
