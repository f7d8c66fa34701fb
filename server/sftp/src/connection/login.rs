//! The login of one connection: which proofs were shown, and what is answered to each.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt as _;
use layover_depot::{
    ConnectionSlot, Depot, FirstProof, LoginAttempt, LoginError, Proof, Protocol, RefusedOffers,
    Secret, Session, UserCertificate,
};
use russh::keys::ssh_key::{Certificate, PublicKey};
use russh::server::{Auth, PublicKeyOffer, Response, VerifiedPublicKey};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::Shown;
use crate::activity::Activity;
use crate::handshake::Handshake;
use crate::transport;

/// Keys of one connection that may be signed with, and questions for a password: more than an
/// agent usually holds.
const MAX_UNPROVEN: usize = 16;

/// Who wants to come in, and how far that is.
pub(super) struct Login {
    depot: Depot,
    peer: SocketAddr,
    slot: ConnectionSlot,
    session: Option<Session>,
    /// The first of two proofs; it goes when the client names another user.
    first: Option<Box<FirstProof>>,
    entered: Option<oneshot::Sender<Session>>,
    /// Keys that were refused before a signature.
    offers: RefusedOffers,
    /// How often the client was asked for a signature or a password.
    unproven: usize,
    /// Told at the end of a connection that did not log in.
    tell: Option<oneshot::Sender<RefusedOffers>>,
    handshake: Arc<Handshake>,
    shown: Arc<Shown>,
    activity: Arc<Activity>,
}

/// What becomes of a login.
pub(super) struct Outcome {
    /// The session that it led to.
    pub(super) entered: oneshot::Receiver<Session>,
    /// At the end of a connection that did not log in: keys that were refused.
    pub(super) offers: oneshot::Receiver<RefusedOffers>,
}

impl Drop for Login {
    fn drop(&mut self) {
        if let (Some(tell), None) = (self.tell.take(), &self.session) {
            // Without a receiver the server itself is ending.
            let _ = tell.send(std::mem::take(&mut self.offers));
        }
    }
}

impl Login {
    pub(super) fn new(
        depot: Depot,
        (peer, slot): (SocketAddr, ConnectionSlot),
        handshake: Arc<Handshake>,
        shown: Arc<Shown>,
        activity: Arc<Activity>,
    ) -> (Self, Outcome) {
        let (enter, entered) = oneshot::channel();
        let (tell, offers) = oneshot::channel();
        let login = Self {
            depot,
            peer,
            slot,
            session: None,
            first: None,
            entered: Some(enter),
            offers: RefusedOffers::default(),
            unproven: 0,
            tell: Some(tell),
            handshake,
            shown,
            activity,
        };
        (login, Outcome { entered, offers })
    }

    /// Where to; `None` before it succeeded.
    pub(super) fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// RFC 4252 s.5.4: what is to be said before anybody logs in; the refusal itself
    /// carries no text.
    pub(super) fn banner(&self) -> Option<String> {
        let text = "The disk of this server is full: nobody can log in; try again later.\r\n";
        let is_full = self.depot.gate().is_out_of_room();
        is_full.then(|| text.to_owned())
    }

    /// Which methods there are.
    pub(super) fn none(&mut self, user: &str) -> Auth {
        self.speak_of(user);
        self.refused()
    }

    pub(super) async fn password(
        &mut self,
        user: &str,
        password: &str,
    ) -> Result<Auth, russh::Error> {
        self.login(user, Proof::Password(Secret::new(password)))
            .await
    }

    /// RFC 4256: one question, for the password.
    pub(super) async fn questions(
        &mut self,
        user: &str,
        response: Option<Response<'_>>,
    ) -> Result<Auth, russh::Error> {
        let Some(mut response) = response else {
            self.speak_of(user);
            self.count_unproven().await?;
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: vec![("Password: ".into(), false)].into(),
            });
        };
        let password = Secret::new(response.next().unwrap_or_default().to_vec());
        self.login(user, Proof::Password(password)).await
    }

    /// Whether this key may be signed with.
    pub(super) async fn offered(
        &mut self,
        user: &str,
        offer: PublicKeyOffer<'_>,
    ) -> Result<Auth, russh::Error> {
        self.speak_of(user);
        if !transport::is_accepted(offer.algorithm) {
            let proof = Proof::WeakSignature {
                blob: blob(offer.public_key),
                algorithm: offer.algorithm.as_str().to_owned(),
            };
            return self.login(user, proof).await;
        }
        self.asked();
        let considered = self
            .depot
            .gate()
            .consider_key(
                user,
                self.peer.ip(),
                Protocol::Sftp,
                &blob(offer.public_key),
                &mut self.offers,
            )
            .boxed()
            .await;
        match considered {
            Ok(true) => self.await_signature().await,
            Ok(false) => Ok(self.refused()),
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    pub(super) async fn key(
        &mut self,
        user: &str,
        key: VerifiedPublicKey<'_>,
    ) -> Result<Auth, russh::Error> {
        if !transport::is_accepted(key.algorithm) {
            return Ok(self.refused());
        }
        let proof = Proof::Key {
            blob: blob(key.public_key),
            algorithm: key.algorithm.as_str().to_owned(),
        };
        self.login(user, proof).await
    }

    pub(super) async fn certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, russh::Error> {
        // russh has verified both signatures; that of the certified key's
        // algorithm was looked at when it was offered.
        let wire = certificate.to_bytes().unwrap_or_default();
        match UserCertificate::verified(&wire) {
            Ok(certificate) => self.login(user, Proof::Certificate(certificate)).await,
            // What one reader of the same bytes took, the other must take.
            Err(_) => Ok(self.refused()),
        }
    }

    /// The one answer to every refused login (G01), whoever it is and whatever
    /// the account asks for: before a proof was right, the same three methods;
    /// after the first of two, what is missing. russh would otherwise take the
    /// method that failed off the list.
    fn refused(&self) -> Auth {
        Auth::Reject {
            proceed_with_methods: Some(match &self.first {
                None => transport::methods(),
                Some(first) => transport::methods_after(first),
            }),
            partial_success: false,
        }
    }

    /// What the handshake led to, for the journal, and by which of our keys: operators see
    /// by it who knows a new one.
    fn agreed(&self) -> Map<String, Value> {
        let mut agreed = self.handshake.agreed();
        let name = agreed.get("host_key").and_then(Value::as_str);
        if let Some(print) = name.and_then(|name| self.shown.fingerprint(name)) {
            let print = Value::from(print);
            agreed.insert("host_key_fingerprint".to_owned(), print);
        }
        agreed
    }

    /// From here on its outcome counts, and no longer its time.
    fn asked(&mut self) {
        self.slot.asked();
    }

    /// A key may be signed with.
    async fn await_signature(&mut self) -> Result<Auth, russh::Error> {
        self.count_unproven().await?;
        // Who never signs holds a place for nothing.
        self.slot.answered();
        Ok(Auth::Accept)
    }

    /// russh counts signatures and passwords, and not what is answered by asking for them.
    async fn count_unproven(&mut self) -> Result<(), russh::Error> {
        self.unproven += 1;
        if self.unproven <= MAX_UNPROVEN {
            return Ok(());
        }
        tracing::info!(peer.addr = %self.peer, "more keys offered, and none signed with, than anybody has");
        if let Err(error) = self.depot.gate().note_abuse(self.peer.ip()).await {
            self.depot.faults().login(self.peer.ip(), &error);
        }
        Err(russh::Error::Disconnect)
    }

    /// A proof counts for the user that it was shown for (RFC 4252 s.5).
    fn speak_of(&mut self, user: &str) {
        self.first.take_if(|first| first.user() != user);
    }

    async fn login(&mut self, user: &str, proof: Proof) -> Result<Auth, russh::Error> {
        self.speak_of(user);
        self.asked();
        self.offers.note_asked();
        let attempt = LoginAttempt {
            user: user.to_owned(),
            peer: self.peer.ip(),
            protocol: Protocol::Sftp,
            proof,
            first: self.first.as_deref().cloned(),
            client_version: self.handshake.client_version().map(ToOwned::to_owned),
            detail: self.agreed(),
        };
        // Boxed, as all that happens once: russh keeps the largest of these futures,
        // twice, as long as the connection lasts.
        match self.depot.gate().login(attempt).boxed().await {
            Ok(session) => {
                self.session = Some(session.clone());
                self.activity.logged_in();
                self.slot.logged_in();
                if let Some(entered) = self.entered.take() {
                    // Without a receiver the connection is ending already.
                    let _ = entered.send(session);
                }
                Ok(Auth::Accept)
            }
            Err(LoginError::Refused) => Ok(self.refused()),
            Err(LoginError::OneMore { first }) => {
                let methods = transport::methods_after(&first);
                self.first = Some(first);
                // RFC 4252 s.5.1: right, but not enough.
                Ok(Auth::Reject {
                    proceed_with_methods: Some(methods),
                    partial_success: true,
                })
            }
            Err(error) => Err(self.unavailable(&error)),
        }
    }

    /// Nobody comes in while logins cannot be checked (G02). The connection ends
    /// without an answer, because a refusal would say that the proof was wrong, and
    /// russh takes no farewell from here.
    fn unavailable(&self, error: &LoginError) -> russh::Error {
        self.depot.faults().login(self.peer.ip(), error);
        russh::Error::Disconnect
    }
}

fn blob(key: &PublicKey) -> Vec<u8> {
    // An empty blob is nobody's key.
    key.to_bytes().unwrap_or_default()
}
