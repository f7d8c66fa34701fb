//! TLS for control and data connections, and the proof that a data connection
//! belongs to its control connection.
//!
//! One [`Tls`] per process. Each control connection asks it for a [`ControlTls`]
//! when it is accepted (implicit) or at AUTH TLS (explicit), keeps that for as
//! long as it lives, and takes a fresh [`DataTls`] from it for each data
//! connection:
//!
//! ```text
//! let control = tls.control(ClientCertificates::Ignored)?;
//! let (stream, negotiated) = control.accept(tcp, limit).await?;
//! // per transfer
//! let (stream, negotiated, binding) = control.data().accept(tcp, limit).await?;
//! ```
//!
//! Dropping the [`ControlTls`] makes its tickets worthless. A handshake that
//! fails in any way is a [`HandshakeFault`] (F04). Which [`Binding`] suffices is
//! not decided here.
//!
//! Handshakes compute inside the task that polls them. Those of control connections
//! take turns (`turns.rs`), so that a crowd of newcomers does not hold up transfers.

mod certificate;
mod client;
mod fault;
mod hello;
mod identity;
mod records;
mod request;
mod resumption;
mod stream;
mod turns;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use layover_depot::{PresentedCertificate, timer};
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

pub use certificate::Certificate;
pub(crate) use fault::HandshakeFault;
pub(crate) use hello::{offered, overhear};
pub use identity::{Identity, IdentityFault, IdentityWarning, PemFault, Validity, self_signed};
pub(crate) use records::Fault;
pub use request::{MAX_REQUEST_NAMES, fresh_key, signing_request};
pub(crate) use stream::{Halt, RecordStream};

use client::AnyClient;
use resumption::{Enrolled, Issuing, Register, Resuming};
use turns::Turns;

/// Tickets of TLS 1.3 that a control connection gets. Clients that use each only
/// once have one for the listing and one for the file; others use one for ever.
const CONTROL_TICKETS: usize = 2;

/// The lowest TLS version that is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 alone.
    Tls13,
}

/// Whether the client of a control connection is asked for a certificate. None is
/// ever required by the handshake: accounts decide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// It is not asked.
    #[default]
    Ignored,
    /// It is asked and may present none.
    Requested,
}

/// What the operator decides about TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// The lowest version.
    pub min_version: MinVersion,
}

/// A control connection, for the binding of data connections. Never used twice
/// in a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ControlId(u64);

/// TLS of all FTPS listeners of the process.
#[derive(Debug)]
pub struct Tls {
    options: TlsOptions,
    identity: ArcSwap<Identity>,
    register: Arc<Register>,
    turns: Turns,
    next_id: AtomicU64,
}

impl Tls {
    /// TLS with this certificate.
    #[must_use]
    pub fn new(options: TlsOptions, identity: Identity) -> Self {
        Self {
            options,
            identity: ArcSwap::from_pointee(identity),
            register: Arc::default(),
            turns: Turns::of_this_machine(),
            next_id: AtomicU64::new(1),
        }
    }

    /// Control connections that begin from now on present `identity`. Those that
    /// are open keep the one they have, for their data connections, too: FileZilla
    /// refuses a data connection with another certificate than the control's.
    pub fn reload(&self, identity: Identity) {
        self.identity.store(Arc::new(identity));
    }

    /// The certificate that new control connections get.
    #[cfg(test)]
    pub(crate) fn identity(&self) -> Arc<Identity> {
        self.identity.load_full()
    }

    /// TLS for one control connection, whose client is asked for a certificate or
    /// not, and for its data connections, where nobody is: those that resume carry
    /// the session's, and others prove nothing by one.
    ///
    /// # Errors
    /// [`HandshakeFault::Unable`] when the operating system gives no random
    /// bytes.
    pub(crate) fn control(
        &self,
        certificates: ClientCertificates,
    ) -> Result<ControlTls, HandshakeFault> {
        let id = ControlId(self.next_id.fetch_add(1, Ordering::Relaxed));
        let enrolled = Enrolled::new(&self.register, id).ok_or(HandshakeFault::Unable)?;
        let identity = self.identity.load();
        let mut config = base_config(self.options, &identity, certificates)?;
        let data = base_config(self.options, &identity, ClientCertificates::Ignored)?;
        let issuing = Arc::new(Issuing(Arc::new(enrolled)));
        config.session_storage = issuing.clone();
        config.ticketer = issuing;
        config.send_tls13_tickets = CONTROL_TICKETS;
        Ok(ControlTls {
            id,
            register: Arc::clone(&self.register),
            turns: self.turns.clone(),
            config: Arc::new(config),
            data,
        })
    }

    #[cfg(test)]
    fn kept(&self) -> (usize, usize) {
        self.register.len()
    }
}

/// TLS of one control connection. Keep it as long as the connection: its data
/// connections cannot prove themselves after it is dropped.
#[derive(Debug)]
pub(crate) struct ControlTls {
    id: ControlId,
    register: Arc<Register>,
    turns: Turns,
    config: Arc<ServerConfig>,
    /// What data connections begin with.
    data: ServerConfig,
}

impl ControlTls {
    /// Which control connection this is.
    pub(crate) fn id(&self) -> ControlId {
        self.id
    }

    /// Does the handshake on the control connection, within `limit`.
    pub(crate) async fn accept<S>(
        &self,
        stream: S,
        limit: Duration,
    ) -> Result<(TlsStream<S>, Negotiated), HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = TlsAcceptor::from(Arc::clone(&self.config)).accept(stream);
        let handshake = self.turns.take(timer::timeout(limit, handshake));
        let stream = handshake
            .await
            .map_err(|timer::Elapsed| HandshakeFault::TimedOut)?
            .map_err(|error| HandshakeFault::of(&error))?;
        let negotiated = Negotiated::of(stream.get_ref().1);
        Ok((stream, negotiated))
    }

    /// TLS for one data connection.
    pub(crate) fn data(&self) -> DataTls {
        let resuming = Arc::new(Resuming::new(&self.register));
        let mut config = self.data.clone();
        config.session_storage = resuming.clone();
        config.ticketer = resuming.clone();
        // A client that closes with a ticket unread resets the connection, and
        // the tail of its upload is lost.
        config.send_tls13_tickets = 0;
        // For our own record layer.
        config.enable_secret_extraction = true;
        DataTls {
            id: self.id,
            resuming,
            config: Arc::new(config),
        }
    }
}

/// TLS of one data connection.
#[derive(Debug)]
pub(crate) struct DataTls {
    id: ControlId,
    resuming: Arc<Resuming>,
    config: Arc<ServerConfig>,
}

impl DataTls {
    /// Does the handshake on the data connection, within `limit`, and tells
    /// whose it is. We are the TLS server in active mode, too (RFC 4217 s.7).
    pub(crate) async fn accept<S>(
        self,
        stream: S,
        limit: Duration,
    ) -> Result<(RecordStream<S>, Negotiated, Binding), HandshakeFault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = RecordStream::accept(self.config, stream, Negotiated::of);
        let (stream, negotiated) = timer::timeout(limit, handshake)
            .await
            .map_err(|timer::Elapsed| HandshakeFault::TimedOut)??;
        let binding = match self.resuming.seen() {
            // A ticket alone proves nothing: only who resumes holds its secret.
            Some(owner) if negotiated.resumed && owner == self.id => Binding::Bound,
            Some(owner) if negotiated.resumed => Binding::OtherSession(owner),
            _ => Binding::Fresh,
        };
        Ok((stream, negotiated, binding))
    }
}

/// Whose a data connection is, as its TLS handshake proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It resumed the TLS session of its own control connection.
    Bound,
    /// It resumed that of another control connection that is still open.
    OtherSession(ControlId),
    /// It resumed nothing, so it proves nothing.
    Fresh,
}

/// What a handshake agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Negotiated {
    /// `TLS 1.2` or `TLS 1.3`.
    pub(crate) version: &'static str,
    /// The cipher suite's IANA name.
    pub(crate) suite: &'static str,
    /// Whether an earlier TLS session was resumed.
    pub(crate) resumed: bool,
    /// The certificate that the client presented and whose key it holds; in a
    /// resumed session that of the first handshake.
    pub(crate) client_certificate: Option<PresentedCertificate>,
}

impl Negotiated {
    fn of(connection: &CommonState) -> Self {
        let suite = connection.negotiated_cipher_suite();
        Self {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS 1.2",
            },
            // rustls spells those of TLS 1.3 `TLS13_...`, IANA `TLS_...`.
            suite: suite
                .and_then(|suite| suite.suite().as_str())
                .unwrap_or("?"),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
            client_certificate: connection
                .peer_certificates()
                .and_then(PresentedCertificate::proven),
        }
    }
}

/// The cryptography: aws-lc. rustls knows only suites with ephemeral keys and
/// authenticated encryption.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    Arc::clone(&PROVIDER)
}

fn base_config(
    options: TlsOptions,
    identity: &Identity,
    certificates: ClientCertificates,
) -> Result<ServerConfig, HandshakeFault> {
    let provider = provider();
    let versions: &[_] = match options.min_version {
        MinVersion::Tls12 => &[&TLS13, &TLS12],
        MinVersion::Tls13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|_| HandshakeFault::Unable)?;
    let builder = match certificates {
        ClientCertificates::Ignored => builder.with_no_client_auth(),
        ClientCertificates::Requested => {
            builder.with_client_cert_verifier(Arc::new(AnyClient::new(provider)))
        }
    };
    let certificate = Only(Arc::clone(&identity.key));
    let mut config = builder.with_cert_resolver(Arc::new(certificate));
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // Our order counts (AES-256-GCM first), whatever a client lists first.
    config.ignore_client_order = true;
    Ok(config)
}

/// The one certificate, whatever name the client asks for.
#[derive(Debug)]
struct Only(Arc<CertifiedKey>);

impl ResolvesServerCert for Only {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[cfg(test)]
pub(crate) mod tests;
