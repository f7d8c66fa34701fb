//! Whom we trust, and one TLS configuration for each control connection.
//!
//! The configuration is shared by a control connection and its data
//! connections and by nobody else: its session store is what proves to the
//! server that they belong together.

mod identity;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, Tls12Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{ServerName, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, HandshakeKind, ProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::control::timed;
use super::options::{Fingerprint, FtpsOptions, Now, TlsOptions, TlsVersions};
use crate::fault::RemoteFault;
use crate::witness::{AgreedTls, Witness};

pub(super) use verifier::PinMismatch;

use verifier::Verifier;

/// Names whose sessions a store holds: the one of the host.
const SESSION_NAMES: usize = 1;
/// Plaintext that may wait inside TLS while it is sent.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// TLS of one control connection and its data connections.
#[derive(Clone)]
pub(super) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    witness: Witness,
}

/// What a handshake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Negotiated {
    pub(super) is_tls13: bool,
    pub(super) is_resumed: bool,
}

impl Tls {
    /// Reads certificates and keys. Nothing is sent.
    pub(super) fn prepare(
        options: &FtpsOptions,
        versions: TlsVersions,
        witness: &Witness,
    ) -> Result<Self, RemoteFault> {
        let name = ServerName::try_from(options.host.clone())
            .map_err(|_| settings("the host is neither a host name nor an address"))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = config(&options.tls, versions, provider, &options.now, witness)?;
        Ok(Self {
            config: Arc::new(config),
            name,
            witness: witness.clone(),
        })
    }

    /// The handshake over a connection that stands.
    pub(super) async fn secure(
        &self,
        tcp: TcpStream,
        limit: Duration,
    ) -> Result<(TlsStream<TcpStream>, Negotiated), RemoteFault> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let mut stream = timed(limit, connector.connect(self.name.clone(), tcp)).await?;
        let connection = stream.get_mut().1;
        connection.set_buffer_limit(Some(SEND_BUFFER_BYTES));
        let agreed = connection.negotiated_cipher_suite().map(|suite| AgreedTls {
            version: match connection.protocol_version() {
                Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
                _ => "TLS 1.2",
            },
            cipher: format!("{:?}", suite.suite()),
        });
        self.witness.note(|seen| seen.tls = agreed);
        let negotiated = Negotiated {
            is_tls13: connection.protocol_version() == Some(ProtocolVersion::TLSv1_3),
            is_resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        };
        Ok((stream, negotiated))
    }

    /// The certificate that the server showed.
    pub(super) fn shown(&self) -> Option<Fingerprint> {
        let certificate = self.witness.observed().certificate;
        certificate.map(|certificate| certificate.fingerprint)
    }
}

fn config(
    options: &TlsOptions,
    versions: TlsVersions,
    provider: Arc<CryptoProvider>,
    now: &Now,
    witness: &Witness,
) -> Result<ClientConfig, RemoteFault> {
    let versions: &[_] = match versions {
        TlsVersions::From12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersions::Only12 => &[&rustls::version::TLS12],
        TlsVersions::Only13 => &[&rustls::version::TLS13],
    };
    let verifier = Verifier::new(&options.trust, &provider, witness.clone())?;
    let builder = ClientConfig::builder_with_details(provider, Arc::new(Clock(now.clone())))
        .with_protocol_versions(versions)
        .map_err(|error| settings(&error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = identity::read(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                settings(&format!(
                    "the client certificate and its key do not go together: {error}"
                ))
            })?
        }
    };
    config.resumption = Resumption::in_memory_sessions(SESSION_NAMES)
        .tls12_resumption(Tls12Resumption::SessionIdOrTickets);
    Ok(config)
}

#[derive(Debug)]
struct Clock(Now);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.tell().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

fn settings(detail: &str) -> RemoteFault {
    RemoteFault::Settings {
        detail: detail.to_owned(),
    }
}
