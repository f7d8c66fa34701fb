//! Secrets in HashiCorp Vault: one GET over HTTPS for each use.
//!
//! hyper does the HTTP over the TLS that the crate has anyway; of the clients
//! considered it adds least (`ureq` and `reqwest` bring TLS, proxies, pools and
//! redirects of their own, none of which may touch a token).

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{HOST, HeaderValue, LOCATION};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::SecretRef;
use crate::fault::Permanence;
use layover_depot::Secret;
use layover_depot::timer::timeout;

/// Longest answer that is read, in bytes: Vault keeps entries of up to 1 MiB
/// with its default storage limit, and the secret itself is much shorter.
pub const MAX_VAULT_ANSWER_BYTES: usize = 1024 * 1024 + 64 * 1024;
/// Vault's own port.
const DEFAULT_PORT: u16 = 8200;

/// How to reach Vault.
#[derive(Clone, Debug)]
pub struct VaultOptions {
    /// `https://host[:port]`.
    pub address: String,
    /// Where the token is: `env:` or `file:`, read at each use, so that Vault's
    /// agent may renew it.
    pub token: SecretRef,
    /// Certificates of the authorities that may have signed Vault's, PEM. For a
    /// public authority the system's bundle.
    pub authorities_pem: Vec<u8>,
    /// Namespace, in Vault's enterprise edition.
    pub namespace: Option<String>,
    /// For all of it: connection, handshake, answer.
    pub timeout: Duration,
}

/// Why Vault did not give a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The token cannot be had.
    #[error("its token cannot be read: {source}")]
    Token {
        /// Why.
        source: Box<super::SecretError>,
    },
    /// Not `https://host[:port]`.
    #[error("its address is not of the form https://host[:port]")]
    Address,
    /// No certificate in [`VaultOptions::authorities_pem`].
    #[error("there is no certificate of an authority to check it by")]
    NoAuthority,
    /// A byte that no HTTP header may hold.
    #[error("its token or namespace holds what no header may hold")]
    Header,
    /// No connection.
    #[error("no connection: {0}")]
    Connect(#[source] io::Error),
    /// No TLS, or a certificate that is not trusted.
    #[error("no trusted TLS connection: {0}")]
    Tls(#[source] io::Error),
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
    /// 403.
    #[error(
        "permission denied: the token is not valid or its policy does not allow to read this entry"
    )]
    PermissionDenied,
    /// 503.
    #[error("Vault is sealed or in maintenance")]
    Sealed,
    /// 404.
    #[error("there is no such entry, or its newest version is deleted")]
    NoEntry,
    /// 3xx: the token goes to no other address.
    #[error("Vault sends us to `{to}`: set that as its address")]
    Redirected {
        /// Where to.
        to: String,
    },
    /// Any other answer.
    #[error("Vault answered with status {status}")]
    Refused {
        /// HTTP status.
        status: u16,
    },
    /// Not the answer of a key-value store of version 2.
    #[error("the answer is not one of a key-value store of version 2")]
    NotKeyValue,
    /// Over [`MAX_VAULT_ANSWER_BYTES`].
    #[error("the answer is longer than {MAX_VAULT_ANSWER_BYTES} bytes")]
    TooLong,
    /// The entry has no such field.
    #[error("the entry has no field of that name")]
    NoField,
    /// The field is a number, list or object.
    #[error("the field is not a text")]
    NotText,
}

impl VaultError {
    /// Whether trying again later may help.
    #[must_use]
    pub fn permanence(&self) -> Permanence {
        match self {
            Self::Connect(_) | Self::TimedOut { .. } | Self::Broken { .. } | Self::Sealed => {
                Permanence::Transient
            }
            Self::Refused { status } if *status >= 500 || *status == 429 => Permanence::Transient,
            _ => Permanence::Permanent,
        }
    }
}

/// Whether `path` can name an entry: at least a mount and a name, no part of it
/// empty or leading upwards.
pub(super) fn is_entry(path: &str) -> bool {
    path.contains('/')
        && path
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Reads a field of an entry.
pub(super) async fn read(
    options: &VaultOptions,
    token: &Secret,
    path: &str,
    field: &str,
) -> Result<Secret, VaultError> {
    match timeout(options.timeout, read_untimed(options, token, path, field)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(VaultError::TimedOut {
            after: options.timeout,
        }),
    }
}

async fn read_untimed(
    options: &VaultOptions,
    token: &Secret,
    path: &str,
    field: &str,
) -> Result<Secret, VaultError> {
    let address = Address::parse(&options.address)?;
    let request = request(&address, options, token, path)?;
    let tls = TlsConnector::from(tls_config(&options.authorities_pem)?);
    let tcp = TcpStream::connect((address.connect_host(), address.port))
        .await
        .map_err(VaultError::Connect)?;
    let stream = tls
        .connect(address.server_name.clone(), tcp)
        .await
        .map_err(VaultError::Tls)?;
    let broken = |error: hyper::Error| VaultError::Broken {
        detail: error.to_string(),
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broken)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        answer(response).await
    };
    // The connection does the work of both sides and ends with them.
    tokio::pin!(exchange);
    let body = tokio::select! {
        body = &mut exchange => body?,
        _ = connection => exchange.await?,
    };
    field_of(&body, field)
}

async fn answer(
    response: Response<hyper::body::Incoming>,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    match response.status() {
        StatusCode::OK => {}
        StatusCode::FORBIDDEN => return Err(VaultError::PermissionDenied),
        StatusCode::NOT_FOUND => return Err(VaultError::NoEntry),
        StatusCode::SERVICE_UNAVAILABLE => return Err(VaultError::Sealed),
        status if status.is_redirection() => {
            let to = response.headers().get(LOCATION);
            let to = to.map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
            return Err(VaultError::Redirected {
                to: to.unwrap_or_default().chars().take(200).collect(),
            });
        }
        status => {
            return Err(VaultError::Refused {
                status: status.as_u16(),
            });
        }
    }
    let mut body = Limited::new(response.into_body(), MAX_VAULT_ANSWER_BYTES);
    let mut content = Zeroizing::new(Vec::with_capacity(MAX_VAULT_ANSWER_BYTES));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            if error.is::<http_body_util::LengthLimitError>() {
                VaultError::TooLong
            } else {
                VaultError::Broken {
                    detail: error.to_string(),
                }
            }
        })?;
        if let Ok(data) = frame.into_data() {
            content.extend_from_slice(data.chunk());
        }
    }
    Ok(content)
}

fn field_of(body: &[u8], field: &str) -> Result<Secret, VaultError> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        data: Entry<'a>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        data: BTreeMap<String, &'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| VaultError::NotKeyValue)?;
    let value = answer.data.data.get(field).ok_or(VaultError::NoField)?;
    let text: String = serde_json::from_str(value.get()).map_err(|_| VaultError::NotText)?;
    Ok(Secret::new(text))
}

fn request(
    address: &Address,
    options: &VaultOptions,
    token: &Secret,
    path: &str,
) -> Result<Request<Empty<Bytes>>, VaultError> {
    let mut secret = HeaderValue::from_bytes(token.expose()).map_err(|_| VaultError::Header)?;
    secret.set_sensitive(true);
    let mut request = Request::builder()
        .method(Method::GET)
        .uri(api_path(path))
        .header(HOST, &address.authority)
        .header("X-Vault-Request", "true")
        .header("X-Vault-Token", secret);
    if let Some(namespace) = &options.namespace {
        request = request.header("X-Vault-Namespace", namespace);
    }
    request.body(Empty::new()).map_err(|_| VaultError::Header)
}

/// `mount/entry` becomes `/v1/mount/data/entry`, as version 2 of the store
/// wants it; a path that has its `data` already stays.
fn api_path(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').collect();
    if !parts.iter().skip(1).any(|part| *part == "data") {
        parts.insert(1, "data");
    }
    let mut encoded = String::from("/v1");
    for part in parts {
        encoded.push('/');
        for byte in part.bytes() {
            // RFC 3986 s.2.3: unreserved characters stand for themselves.
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                encoded.push(char::from(byte));
            } else {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

struct Address {
    authority: String,
    host: String,
    port: u16,
    server_name: ServerName<'static>,
}

impl Address {
    fn parse(text: &str) -> Result<Self, VaultError> {
        let uri: Uri = text.parse().map_err(|_| VaultError::Address)?;
        let authority = uri.authority().ok_or(VaultError::Address)?;
        if uri.scheme_str() != Some("https")
            || !matches!(uri.path(), "" | "/")
            || uri.query().is_some()
            || authority.as_str().contains('@')
        {
            return Err(VaultError::Address);
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        Ok(Self {
            authority: authority.as_str().to_owned(),
            port: authority.port_u16().unwrap_or(DEFAULT_PORT),
            server_name: ServerName::try_from(host.clone()).map_err(|_| VaultError::Address)?,
            host,
        })
    }

    fn connect_host(&self) -> &str {
        &self.host
    }
}

fn tls_config(authorities_pem: &[u8]) -> Result<Arc<ClientConfig>, VaultError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities_pem) {
        let certificate = certificate.map_err(|_| VaultError::NoAuthority)?;
        roots
            .add(certificate)
            .map_err(|_| VaultError::NoAuthority)?;
    }
    if roots.is_empty() {
        return Err(VaultError::NoAuthority);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| VaultError::Tls(io::Error::other(error)))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
