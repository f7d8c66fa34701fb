//! Webhooks: one signed HTTPS POST for each event.
//!
//! The way in is [`Webhook::prepare`], then [`Webhook::send`]. The receiver's answer is
//! its status and nothing else: its body is not kept, a redirect is not followed, and no
//! proxy is asked. It must never: go to an address that the operator did not mean
//! (`address.rs`), wait without a limit, or put into an error what was sent.

mod address;
mod signature;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use layover_depot::timer::timeout;
use layover_depot::{Credential, Event, HookAddresses, HookPlain, HookTarget, Reach, Secret};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

pub use signature::{SIGNATURE_VERSION, signature};

use crate::ftps::Now;
use crate::ftps::dial::address_from;
use crate::partner::{NoSystemRoots, Surroundings, system_authorities};
use crate::secret_ref::{SecretError, SecretRef, SecretRefError};
use crate::source::SourceAddresses;

/// For the name, TCP and TLS together: a receiver does it at once, or is not there.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// For all of it. Receivers are told to answer first and to work then.
const LIMIT: Duration = Duration::from_secs(30);
/// What of an answer's head is read, in bytes, and of its body: so that the receiver does
/// not see its connection break. Nothing of it is kept.
const MAX_HEAD_BYTES: usize = 16 * 1024;
const MAX_BODY_BYTES: usize = 16 * 1024;
/// How long that body is waited for.
const BODY_LIMIT: Duration = Duration::from_secs(2);
/// Addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;
/// A receiver that asks to be left alone is left alone for at most so long.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3_600);

/// Why an event was not delivered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// The text is no reference.
    #[error("its secret is no reference to one")]
    Reference(#[from] SecretRefError),
    /// The secret cannot be had.
    #[error("its secret cannot be had: {0}")]
    Secret(#[from] SecretError),
    /// Nobody to check the receiver's certificate by.
    #[error("{0}")]
    NoSystemRoots(#[from] NoSystemRoots),
    /// What was given as authorities is none.
    #[error("its authorities are no certificates")]
    Authorities,
    /// The host is no name that a certificate can have.
    #[error("`{host}` is no name that a certificate can have")]
    ServerName {
        /// The host.
        host: String,
    },
    /// Hardened mode.
    #[error("it goes without TLS, which [outbound] hardened = true refuses")]
    NotHardened,
    /// Without TLS, and not to this machine.
    #[error("it goes without TLS to {address}, which is not this machine")]
    Plain {
        /// Where to.
        address: IpAddr,
    },
    /// An address that is refused.
    #[error("`{host}` is at {address}, {what}: refused; where that is meant: --allow-any-address")]
    Address {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
        /// What that is.
        what: &'static str,
    },
    /// No address.
    #[error("`{host}` has no address")]
    UnknownHost {
        /// The host.
        host: String,
    },
    /// No connection.
    #[error("no connection to `{host}`: {detail}")]
    Connect {
        /// The host.
        host: String,
        /// Why.
        detail: String,
    },
    /// No TLS, or a certificate that is not trusted.
    #[error("no trusted TLS connection to `{host}`: {source}")]
    Tls {
        /// The host.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer within {} s", after.as_secs())]
    TimedOut {
        /// The time-out.
        after: Duration,
    },
    /// The connection broke, or the answer is no HTTP.
    #[error("the connection failed: {detail}")]
    Broken {
        /// What happened.
        detail: String,
    },
    /// 3xx: what is signed for one receiver goes to no other.
    #[error(
        "it redirects (status {status}), which is not followed: give the hook the right address"
    )]
    Redirected {
        /// HTTP status.
        status: u16,
    },
    /// Neither 2xx nor 3xx.
    #[error("it answered with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
}

impl WebhookError {
    /// How far the request came.
    #[must_use]
    pub fn reach(&self) -> Reach {
        match self {
            Self::Redirected { status } | Self::Refused { status, .. } => {
                Reach::Answered { status: *status }
            }
            _ => Reach::Unanswered,
        }
    }

    /// How long the receiver wants to be left alone, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// How long is waited for a receiver.
#[derive(Clone, Copy, Debug)]
struct Limits {
    connect: Duration,
    all: Duration,
    body: Duration,
}

/// A hook that can be told.
#[derive(Debug)]
pub struct Webhook {
    target: HookTarget,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    secret: Secret,
    sources: Option<SourceAddresses>,
    now: Now,
    limits: Limits,
}

impl Webhook {
    /// Fetches the secret and reads whom to trust; connects to nobody.
    ///
    /// # Errors
    /// [`WebhookError`].
    pub async fn prepare(
        target: &HookTarget,
        credential: Credential,
        surroundings: &Surroundings,
    ) -> Result<Self, WebhookError> {
        if surroundings.hardened && !target.url.is_tls() {
            return Err(WebhookError::NotHardened);
        }
        let secret = match credential {
            Credential::Value(secret) => secret,
            Credential::Reference(reference) => {
                let reference: SecretRef = reference.as_str().parse()?;
                reference.resolve(&surroundings.secrets).await?
            }
        };
        let tls = match target.url.is_tls() {
            true => {
                let host = target.url.host().to_owned();
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| WebhookError::ServerName { host })?;
                Some((tls_config(target.authorities.as_deref())?, name))
            }
            false => None,
        };
        Ok(Self {
            target: target.clone(),
            tls,
            secret,
            sources: surroundings.sources,
            now: surroundings.now.clone(),
            limits: Limits {
                connect: CONNECT_LIMIT,
                all: LIMIT,
                body: BODY_LIMIT,
            },
        })
    }

    /// Sends an event once. Returns the receiver's status, which says that it has it.
    ///
    /// # Errors
    /// [`WebhookError`]: whether the receiver has it is not known.
    pub async fn send(&self, event: &Event) -> Result<u16, WebhookError> {
        let after = self.limits.all;
        match timeout(after, self.send_untimed(event)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(WebhookError::TimedOut { after }),
        }
    }

    async fn send_untimed(&self, event: &Event) -> Result<u16, WebhookError> {
        let after = self.limits.connect;
        let timed_out = |_| WebhookError::TimedOut { after };
        let request = self.request(event)?;
        match &self.tls {
            Some((config, name)) => {
                let connecting = async {
                    let tcp = self.connect().await?;
                    let connector = TlsConnector::from(Arc::clone(config));
                    let host = || self.target.url.host().to_owned();
                    let stream = connector.connect(name.clone(), tcp).await;
                    stream.map_err(|source| WebhookError::Tls {
                        host: host(),
                        source,
                    })
                };
                let stream = timeout(after, connecting).await;
                exchange(stream.map_err(timed_out)??, request, self.limits.body).await
            }
            None => {
                let stream = timeout(after, self.connect()).await;
                exchange(stream.map_err(timed_out)??, request, self.limits.body).await
            }
        }
    }

    fn request(&self, event: &Event) -> Result<Request<Full<Bytes>>, WebhookError> {
        let body = event.body();
        let at_s = self.now.tell().as_second();
        let signed = signature(self.secret.expose(), at_s, body.as_bytes());
        Request::builder()
            .method(Method::POST)
            .uri(self.target.url.path())
            .header(HOST, self.target.url.authority())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("Layover/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .header("Layover-Event-Id", event.told_id())
            .header("Layover-Timestamp", at_s)
            .header("Layover-Signature", signed)
            .body(Full::from(body))
            .map_err(|error| broken(&error))
    }

    /// The name is looked up once, and connected to is what was looked at.
    async fn connect(&self) -> Result<TcpStream, WebhookError> {
        let host = || self.target.url.host().to_owned();
        let found = lookup_host((self.target.url.host(), self.target.url.port())).await;
        let found = found.map_err(|_| WebhookError::UnknownHost { host: host() })?;
        let mut last = WebhookError::UnknownHost { host: host() };
        for address in found.take(MAX_ADDRESSES) {
            if let Err(refused) = self.check(address) {
                last = refused;
                continue;
            }
            match address_from(address, self.sources_towards(address), self.limits.connect).await {
                Ok(tcp) => return Ok(tcp),
                Err(fault) => {
                    last = WebhookError::Connect {
                        host: host(),
                        detail: fault.to_string(),
                    }
                }
            }
        }
        Err(last)
    }

    /// No firewall but our own stands before this machine.
    fn sources_towards(&self, address: SocketAddr) -> Option<SourceAddresses> {
        let is_here = address.ip().to_canonical().is_loopback();
        self.sources.filter(|_| !is_here)
    }

    fn check(&self, address: SocketAddr) -> Result<(), WebhookError> {
        let ip = address.ip().to_canonical();
        if self.tls.is_none() && self.target.plain == HookPlain::ThisMachine && !ip.is_loopback() {
            return Err(WebhookError::Plain { address: ip });
        }
        check_ip(&self.target, ip)
    }
}

/// hyper's errors tell of lengths and states, not of what was sent.
fn broken(error: &dyn std::error::Error) -> WebhookError {
    let mut detail = error.to_string();
    if let Some(source) = error.source() {
        detail = format!("{detail}: {source}");
    }
    WebhookError::Broken { detail }
}

async fn exchange<S>(
    stream: S,
    request: Request<Full<Bytes>>,
    body_limit: Duration,
) -> Result<u16, WebhookError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(MAX_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(&error))?;
    let exchange = async {
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| broken(&error))?;
        let outcome = outcome_of(&response);
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES);
        // Whatever it says, and whether it ends, the status has decided.
        let _ = timeout(body_limit, body.collect()).await;
        outcome
    };
    // The connection does the work of both sides and ends with them.
    tokio::pin!(exchange);
    tokio::select! {
        outcome = &mut exchange => outcome,
        _ = connection => exchange.await,
    }
}

fn outcome_of<B>(response: &Response<B>) -> Result<u16, WebhookError> {
    let status = response.status();
    let number = status.as_u16();
    if status.is_success() {
        return Ok(number);
    }
    if status.is_redirection() {
        return Err(WebhookError::Redirected { status: number });
    }
    // RFC 9110 s.10.2.3; a date instead of seconds is not looked at.
    let seconds = response.headers().get(RETRY_AFTER);
    let seconds: Option<u64> = seconds.and_then(|value| value.to_str().ok()?.trim().parse().ok());
    Err(WebhookError::Refused {
        status: number,
        retry_after: seconds.map(|seconds| Duration::from_secs(seconds).min(MAX_RETRY_AFTER)),
    })
}

fn tls_config(authorities: Option<&str>) -> Result<Arc<ClientConfig>, WebhookError> {
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|_| WebhookError::Authorities)?;
                roots
                    .add(certificate)
                    .map_err(|_| WebhookError::Authorities)?;
            }
            if roots.is_empty() {
                return Err(WebhookError::Authorities);
            }
        }
        None => {
            let found = CertificateDer::pem_slice_iter(&system_authorities()?.pem)
                .filter_map(Result::ok)
                .collect::<Vec<_>>();
            // Bundles hold old ones that rustls does not take.
            roots.add_parsable_certificates(found);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| broken(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Whether a hook may go to the address that it has in place of a name. A name is looked at
/// with each request, for what it means then.
///
/// # Errors
/// `Address`.
pub fn check_address(target: &HookTarget) -> Result<(), WebhookError> {
    match target.url.host().parse() {
        Ok(address) => check_ip(target, address),
        Err(_) => Ok(()),
    }
}

fn check_ip(target: &HookTarget, ip: IpAddr) -> Result<(), WebhookError> {
    match address::refused(ip) {
        Some(what) if target.addresses == HookAddresses::Usual => Err(WebhookError::Address {
            host: target.url.host().to_owned(),
            address: ip,
            what,
        }),
        _ => Ok(()),
    }
}

/// Whether these are certificates of authorities, PEM.
///
/// # Errors
/// `Authorities`.
pub fn check_authorities(pem: &str) -> Result<(), WebhookError> {
    tls_config(Some(pem)).map(drop)
}

#[cfg(test)]
mod tests;
