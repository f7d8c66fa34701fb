//! One connection that is logged in, and the agreement on data connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;

use super::active::Waiting;
use super::command::Command;
use super::control::Control;
use super::dial;
use super::faults::refused;
use super::features::Features;
use super::options::{FtpsOptions, Transfer};
use super::passive::Place;
use super::reply::Reply;
use super::trust::Tls;
use super::wire::Wire;
use crate::fault::{RemoteError, RemoteFault, Step};
use crate::witness::Witness;

/// How long a server that broke off a transfer has to say why.
const AFTERMATH: Duration = Duration::from_secs(10);

/// How long the end of the control connection may lag behind the end of a data port.
const FAREWELL: Duration = Duration::from_millis(500);

/// A control connection that is logged in.
pub(super) struct Link {
    pub(super) control: Control,
    pub(super) tls: Option<Tls>,
    pub(super) options: Arc<FtpsOptions>,
    pub(super) features: Features,
    /// The folder after login.
    pub(super) home: Option<Vec<u8>>,
    pub(super) passive: Passive,
    pub(super) is_tls13: bool,
    /// The server took a data connection whose TLS session was a new one.
    pub(super) full_handshake_accepted: bool,
    /// Where the last data connection went.
    pub(super) last_place: Option<Place>,
    pub(super) witness: Witness,
}

/// Which passive command the server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passive {
    Untried,
    Extended,
    Old,
}

/// A data connection before the transfer's command.
enum Agreed {
    Connected(TcpStream, SocketAddr),
    Waiting(Waiting),
}

/// A data connection inside a transfer.
pub(super) struct Data {
    pub(super) wire: Wire,
    /// TLS 1.3 with a session that is not the control connection's, on a server
    /// that may demand it to be.
    pub(super) is_doubtful: bool,
}

impl Data {
    /// What happens when it is dropped: the server sees it broken off, not ended.
    /// Without TLS an end is all that says that a file is complete.
    pub(super) fn break_off_on_drop(&self, is_on: bool) {
        let linger = is_on.then_some(Duration::ZERO);
        // A connection that is gone already cannot be told.
        let _ = SockRef::from(self.wire.tcp()).set_linger(linger);
    }
}

impl Link {
    /// A command and its reply, after whatever was broken off before.
    pub(super) async fn ask(
        &mut self,
        step: Step,
        command: &Command,
    ) -> Result<Reply, RemoteError> {
        let fail = |fault| RemoteError::new(step, fault);
        self.control.settle().await.map_err(fail)?;
        self.control.exchange(command).await.map_err(fail)
    }

    /// The same, where every reply but a positive one is a fault.
    pub(super) async fn demand(
        &mut self,
        step: Step,
        command: &Command,
    ) -> Result<Reply, RemoteError> {
        let reply = self.ask(step, command).await?;
        if reply.is_positive() {
            Ok(reply)
        } else {
            Err(refused(step, &reply))
        }
    }

    /// Begins a transfer: agreement, REST, command, first reply, TLS.
    pub(super) async fn begin(
        &mut self,
        step: Step,
        command: &Command,
        offset: u64,
    ) -> Result<Data, RemoteError> {
        let fail = |fault| RemoteError::new(step, fault);
        self.control.settle().await.map_err(fail)?;
        let agreed = self.agree().await?;
        if offset > 0 {
            let reply = self
                .ask(step, &Command::with("REST", &offset.to_string()))
                .await?;
            if !reply.is_intermediate() {
                let what = "beginning in the middle of a file (REST)";
                return Err(fail(RemoteFault::Unsupported { what }).with_words(&reply.words()));
            }
        }
        self.control.send(command).await.map_err(fail)?;
        let reply = self.control.first_reply().await.map_err(fail)?;
        if !reply.is_preliminary() {
            return Err(if reply.is_positive() {
                let detail = "the transfer ended before it began".to_owned();
                fail(RemoteFault::Protocol { detail }).with_words(&reply.words())
            } else {
                refused_data(step, &reply, &agreed)
            });
        }
        match self.connect(agreed).await {
            Ok(data) => Ok(data),
            Err(fault) => Err(self.aftermath(step, Step::DataConnection, fault).await),
        }
    }

    /// Where the data connection will be.
    async fn agree(&mut self) -> Result<Agreed, RemoteError> {
        match self.options.transfer.clone() {
            Transfer::Passive => self.passive().await,
            Transfer::Active { ports, announced } => {
                let step = Step::DataConnection;
                let waiting = Waiting::listen(self.control.local().ip(), &ports, announced)
                    .map_err(|fault| RemoteError::new(step, fault))?;
                let announced = Some(waiting.announced);
                self.witness.note(|seen| seen.data_address = announced);
                self.demand(step, &waiting.command()).await?;
                Ok(Agreed::Waiting(waiting))
            }
        }
    }

    async fn passive(&mut self) -> Result<Agreed, RemoteError> {
        let step = Step::DataConnection;
        let peer = self.control.peer().ip();
        let place = if self.passive == Passive::Old {
            None
        } else {
            self.epsv().await?
        };
        let place = match place {
            Some(place) => place,
            None => {
                let reply = self.demand(step, &Command::bare("PASV")).await?;
                Place::from_pasv(reply.first(), peer).ok_or_else(|| unreadable(&reply))?
            }
        };
        if let Some(announced) = place.repaired {
            tracing::debug!(%announced, used = %place.address, "the address of a data connection is repaired");
        }
        self.last_place = Some(place);
        self.witness.note(|seen| {
            seen.data_address = Some(place.address);
            seen.data_address_announced = place.repaired;
        });
        let limit = self.options.timeouts.data;
        match dial::address_from(place.address, self.options.source, limit).await {
            Ok(tcp) => Ok(Agreed::Connected(tcp, place.address)),
            Err(own @ (RemoteFault::Settings { .. } | RemoteFault::Local { .. })) => {
                Err(RemoteError::new(step, own))
            }
            Err(_) => Err(self.unreached(place.address).await),
        }
    }

    /// Why nobody listens at `address`: a server that is gone takes its data ports
    /// along, and then it is the whole connection that is lost.
    async fn unreached(&mut self, address: SocketAddr) -> RemoteError {
        let step = Step::DataConnection;
        let address = address.to_string();
        let own = RemoteError::new(step, RemoteFault::DataConnectionFailed { address });
        match self.control.final_reply_within(FAREWELL).await {
            Ok(reply) if reply.code == 421 => refused(step, &reply),
            Ok(reply) => own.with_words(&reply.words()),
            Err(fault @ RemoteFault::ConnectionLost) => RemoteError::new(step, fault),
            Err(_) => own,
        }
    }

    /// EPSV; `None` when the server does not know it and PASV can be tried.
    async fn epsv(&mut self) -> Result<Option<Place>, RemoteError> {
        let step = Step::DataConnection;
        let peer = self.control.peer().ip();
        let reply = self.ask(step, &Command::bare("EPSV")).await?;
        if reply.is_positive() {
            if let Some(place) = Place::from_epsv(reply.first(), peer) {
                self.passive = Passive::Extended;
                return Ok(Some(place));
            }
            if peer.to_canonical().is_ipv6() {
                return Err(unreadable(&reply));
            }
        } else if self.passive == Passive::Extended
            || peer.to_canonical().is_ipv6()
            || reply.code == 421
        {
            return Err(refused(step, &reply));
        }
        self.passive = Passive::Old;
        Ok(None)
    }

    async fn connect(&mut self, agreed: Agreed) -> Result<Data, RemoteFault> {
        let limit = self.options.timeouts.data;
        let (tcp, address) = match agreed {
            Agreed::Connected(tcp, address) => (tcp, address.to_string()),
            Agreed::Waiting(waiting) => {
                let tcp = waiting.accept(self.control.peer().ip(), limit).await?;
                (tcp, waiting.announced.to_string())
            }
        };
        let Some(tls) = &self.tls else {
            let wire = Wire::Plain(tcp);
            return Ok(Data {
                wire,
                is_doubtful: false,
            });
        };
        let (stream, negotiated) = tls.secure(tcp, limit).await.map_err(|fault| match fault {
            RemoteFault::ConnectionLost | RemoteFault::TimedOut { .. } => {
                RemoteFault::DataConnectionFailed { address }
            }
            other => other,
        })?;
        tracing::debug!(resumed = negotiated.is_resumed, "TLS on a data connection");
        Ok(Data {
            wire: Wire::Tls(Box::new(stream)),
            is_doubtful: negotiated.is_tls13
                && !negotiated.is_resumed
                && !self.full_handshake_accepted,
        })
    }

    /// What a transfer that broke off is put down to. The server's reason says
    /// more than that the connection is gone. The data connection is to be
    /// dropped before.
    pub(super) async fn aftermath(
        &mut self,
        step: Step,
        at: Step,
        fault: RemoteFault,
    ) -> RemoteError {
        let fault = match fault {
            // It was the data connection's, and the control connection may live.
            RemoteFault::ConnectionLost => RemoteFault::Truncated,
            other => other,
        };
        let own = RemoteError::new(at, fault);
        match self.control.final_reply_within(AFTERMATH).await {
            Ok(reply) if reply.is_positive() => own,
            Ok(reply) => {
                let theirs = refused(step, &reply);
                match theirs.fault {
                    // Theirs says no more than "it broke".
                    RemoteFault::Truncated
                    | RemoteFault::Busy
                    | RemoteFault::Refused
                    | RemoteFault::DataConnectionFailed { .. } => own.with_words(&reply.words()),
                    _ => theirs,
                }
            }
            Err(RemoteFault::TimedOut { .. }) => own,
            Err(fault) => RemoteError::new(at, fault),
        }
    }

    /// Breaks a transfer off from our side; the connection stays usable.
    pub(super) async fn abort(&mut self, data: Data, step: Step) -> Result<(), RemoteError> {
        data.break_off_on_drop(true);
        drop(data);
        self.control
            .settle()
            .await
            .map_err(|fault| RemoteError::new(step, fault))
    }
}

fn unreadable(reply: &Reply) -> RemoteError {
    let detail = "the reply to EPSV or PASV names no port".to_owned();
    RemoteError::new(Step::DataConnection, RemoteFault::Protocol { detail })
        .with_words(&reply.words())
}

fn refused_data(step: Step, reply: &Reply, agreed: &Agreed) -> RemoteError {
    let mut error = refused(step, reply);
    if let RemoteFault::DataConnectionFailed { address } = &mut error.fault {
        error.step = Step::DataConnection;
        match agreed {
            Agreed::Connected(_, place) => *address = place.to_string(),
            Agreed::Waiting(waiting) => {
                error.fault = RemoteFault::DataConnectionMissing {
                    address: waiting.announced.to_string(),
                };
            }
        }
    }
    error
}
