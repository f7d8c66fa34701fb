//! What russh tells us of a connection: its host key and why it ended.

use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::{AlgorithmKind, Channel, Disconnect, Error};

use super::host_key::Expected;
use super::transport::HostKeyKind;
use crate::fault::{RemoteError, RemoteFault, Step};

/// What is known of a connection's end, shared with russh's task.
#[derive(Clone, Debug, Default)]
pub(super) struct Link(Arc<Mutex<Ending>>);

#[derive(Clone, Debug, Default)]
struct Ending {
    fault: Option<RemoteFault>,
    words: Option<String>,
    shown: Option<HostKeyKind>,
}

impl Link {
    fn ended(&self, fault: RemoteFault, words: Option<String>) {
        let mut ending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The first cause counts; what follows is its consequence.
        if ending.fault.is_none() {
            ending.fault = Some(fault);
            ending.words = words;
        }
    }

    fn show(&self, kind: Option<HostKeyKind>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shown = kind;
    }

    /// The kind of the host key that the server showed.
    pub(super) fn shown(&self) -> Option<HostKeyKind> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shown
    }

    /// Why the connection ended; lost when nobody said.
    pub(super) fn error(&self, step: Step) -> RemoteError {
        self.error_or(step, RemoteFault::ConnectionLost)
    }

    /// The same with another fault for when nobody said.
    pub(super) fn error_or(&self, step: Step, otherwise: RemoteFault) -> RemoteError {
        let ending = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let error = RemoteError::new(step, ending.fault.unwrap_or(otherwise));
        match ending.words {
            Some(words) => error.with_words(&words),
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
}

impl Handler for Watcher {
    type Error = Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Error> {
        // Certificates are not offered, so a server that shows one is refused
        // by its key: no such key is known.
        let key = shown.public_key();
        self.link.show(HostKeyKind::of(&key.algorithm()));
        match self.expected.check(&key) {
            Ok(()) => Ok(shown.certificate().is_none()),
            Err(fault) => {
                self.link.ended(fault, None);
                Ok(false)
            }
        }
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
