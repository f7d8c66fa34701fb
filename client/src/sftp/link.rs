//! What russh tells us of a connection: its host key and why it ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_key::PublicKey;
use russh::{AlgorithmKind, Channel, Disconnect, Error, Names};

use super::host_key::{Expected, Fingerprint};
use super::transport::HostKeyKind;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::witness::{ShownHostKey, Witness};

/// What the two sides agreed upon in the handshake, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// SHA-256 fingerprint of the server's host key.
    pub host_key: Fingerprint,
    /// How the host key signs.
    pub host_key_algorithm: String,
    /// How keys were exchanged.
    pub key_exchange: String,
    /// How content is encrypted.
    pub cipher: String,
}

/// What is known of a connection and its end, shared with russh's task.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Mutex<Known>>);

#[derive(Clone, Debug, Default)]
struct Known {
    fault: Option<RemoteFault>,
    words: Option<String>,
    shown: Option<(Fingerprint, Option<HostKeyKind>)>,
    agreement: Option<Agreement>,
}

impl Link {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self, fault: RemoteFault, words: Option<String>) {
        let mut known = self.known();
        // The first cause counts; what follows is its consequence.
        if known.fault.is_none() {
            known.fault = Some(fault);
            known.words = words;
        }
    }

    /// The kind of the host key that the server showed.
    pub(super) fn shown(&self) -> Option<HostKeyKind> {
        self.known().shown.and_then(|(_, kind)| kind)
    }

    /// What was agreed upon, once the handshake is done.
    pub(super) fn agreement(&self) -> Option<Agreement> {
        self.known().agreement.clone()
    }

    /// Why the connection ended; lost when nobody said.
    pub(super) fn error(&self, step: Step) -> RemoteError {
        self.error_or(step, RemoteFault::ConnectionLost)
    }

    /// The same with another fault for when nobody said.
    pub(super) fn error_or(&self, step: Step, otherwise: RemoteFault) -> RemoteError {
        let known = self.known();
        let error = RemoteError::new(step, known.fault.clone().unwrap_or(otherwise));
        match &known.words {
            Some(words) => error.with_words(words),
            None => error,
        }
    }
}

/// russh's handler: checks the host key and opens nothing that a server asks
/// for.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) expected: Expected,
    pub(super) link: Link,
    pub(super) witness: Witness,
}

impl Handler for Watcher {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        // Certificates are not offered, so a server that shows one is refused
        // by its key: no such key is known.
        let key = shown.public_key();
        self.link.known().shown = Some((Fingerprint::of(&key), HostKeyKind::of(&key.algorithm())));
        self.witness.note(|seen| {
            let line = PublicKey::from(key.key_data().clone()).to_openssh();
            seen.host_key = Some(ShownHostKey {
                fingerprint: Fingerprint::of(&key).to_string(),
                public_key: line.ok().map(|line| line.trim().to_owned()),
            });
        });
        match self.expected.check(&key) {
            Ok(()) => Ok(shown.certificate().is_none()),
            Err(fault) => {
                self.link.ended(fault, None);
                Ok(false)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        _: &mut Session,
    ) -> Result<(), Error> {
        let mut known = self.link.known();
        known.agreement = known.shown.map(|(host_key, _)| Agreement {
            host_key,
            host_key_algorithm: names.key.as_str().to_owned(),
            key_exchange: names.kex.as_ref().to_owned(),
            cipher: names.cipher.as_ref().to_owned(),
        });
        let agreement = known.agreement.clone();
        drop(known);
        self.witness.note(|seen| seen.ssh = agreement);
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Error>) -> Result<(), Error> {
        match reason {
            DisconnectReason::ReceivedDisconnect(info) => {
                let fault = match info.reason_code {
                    Disconnect::TooManyConnections => RemoteFault::TooManyConnections,
                    Disconnect::NoMoreAuthMethodsAvailable
                    | Disconnect::AuthCancelledByUser
                    | Disconnect::IllegalUserName => RemoteFault::LoginRefused,
                    // sshd ends a login with this code, too.
                    Disconnect::ProtocolError
                        if info.message.contains("authentication failures") =>
                    {
                        RemoteFault::LoginRefused
                    }
                    _ => RemoteFault::ConnectionLost,
                };
                self.link.ended(fault, Some(info.message));
                Ok(())
            }
            DisconnectReason::Error(error) => {
                self.link.ended(fault_of(&error), None);
                Err(error)
            }
        }
    }

    // A server has no business opening channels to us: each handle is dropped,
    // which refuses it.
    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_session(
        &mut self,
        _: Channel<Msg>,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }

    async fn server_channel_open_x11(
        &mut self,
        _: Channel<Msg>,
        _: &str,
        _: u32,
        _: ChannelOpenHandle,
        _: &mut Session,
    ) -> Result<(), Error> {
        Ok(())
    }
}

/// Names that a server may offer of one kind of algorithm in an error's text;
/// the rest is left out.
const MAX_OFFERED_NAMES: usize = 24;

/// What an error of russh's means.
pub(super) fn fault_of(error: &Error) -> RemoteFault {
    match error {
        Error::NoCommonAlgo { kind, theirs, .. } => RemoteFault::NoCommonAlgorithm {
            detail: format!(
                "{}: the server offers {}",
                match kind {
                    AlgorithmKind::Kex => "key exchange",
                    AlgorithmKind::Key => "host key",
                    AlgorithmKind::Cipher => "cipher",
                    AlgorithmKind::Compression => "compression",
                    AlgorithmKind::Mac => "MAC",
                },
                offered(theirs)
            ),
        },
        Error::IO(_)
        | Error::HUP
        | Error::Disconnect
        | Error::SendError
        | Error::RecvError
        | Error::ConnectionTimeout
        | Error::KeepaliveTimeout
        | Error::InactivityTimeout => RemoteFault::ConnectionLost,
        Error::Version => RemoteFault::Protocol {
            detail: "the server does not speak SSH 2".to_owned(),
        },
        other => RemoteFault::Protocol {
            detail: other.to_string(),
        },
    }
}

fn offered(names: &[String]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(MAX_OFFERED_NAMES)
        .map(|name| {
            name.chars()
                .filter(char::is_ascii_graphic)
                .take(64)
                .collect()
        })
        .collect();
    if shown.is_empty() {
        "nothing".to_owned()
    } else {
        shown.join(", ")
    }
}
