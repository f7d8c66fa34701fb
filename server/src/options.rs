//! The one place where settings become the options of the libraries.

use std::sync::Arc;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use layover_config::{
    Algorithms, Fsync, Host, MinTls, SecretError, SecretRef, SessionReuse, Settings, Span,
};
use layover_depot::{GateOptions, Network, Role};
use layover_ftps::{ActiveMode, Identity, MinVersion, Tls, TlsOptions};
use layover_retention::{Clock, Keep, KeepError};

use crate::host_key::HostKey;
use crate::tls_certificate::{self, TlsCertificateError};

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A secret that the settings point at cannot be had.
    #[error("[database] url cannot be resolved")]
    DatabaseUrl {
        /// Why.
        source: SecretError,
    },
    /// The public address for FTPS is a name that says no address.
    #[error("[ftps] public_address: `{name}` has no IPv4 address")]
    PublicAddress {
        /// The name.
        name: String,
        /// What the resolver says; none when it found other addresses only.
        source: Option<io::Error>,
    },
    /// A span is no keep time.
    #[error("[retention] {key} cannot be used")]
    Keep {
        /// The setting.
        key: &'static str,
        /// Why.
        source: KeepError,
    },
}

/// The retention rule of the appliance, from `[retention]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionRule {
    /// How long files stay where neither account nor entity say otherwise.
    pub keep: Keep,
    /// A longer keep is refused everywhere.
    pub max_keep: Keep,
    /// How long an interrupted upload can be resumed.
    pub partial_keep: Keep,
}

/// The retention rule that `settings` give.
///
/// # Errors
/// When a span is outside what a keep may be.
pub fn retention_rule(settings: &Settings) -> Result<RetentionRule, OptionsError> {
    let retention = &settings.retention;
    Ok(RetentionRule {
        keep: keep("keep", retention.keep)?,
        max_keep: keep("max_keep", retention.max_keep)?,
        partial_keep: keep("partial_keep", retention.partial_keep)?,
    })
}

fn keep(key: &'static str, span: Span) -> Result<Keep, OptionsError> {
    Keep::from_secs(span.as_secs()).map_err(|source| OptionsError::Keep { key, source })
}

/// How to open the depot with these settings, as a server or as a tool beside
/// one.
///
/// # Errors
/// When the database's URL is a secret that cannot be had.
pub fn depot_options(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    role: Role,
) -> Result<layover_depot::Options, OptionsError> {
    let url = settings
        .database
        .url
        .resolve()
        .map_err(|source| OptionsError::DatabaseUrl { source })?;
    let rule = retention_rule(settings)?;
    Ok(layover_depot::Options {
        database_url: url.to_string(),
        data_dir: settings.data_dir.clone(),
        homes: settings.storage.homes.clone(),
        fsync: match settings.storage.fsync {
            Fsync::Always => layover_depot::Fsync::Always,
            Fsync::Never => layover_depot::Fsync::Never,
        },
        keep: rule.keep,
        max_keep: rule.max_keep,
        partial_keep: rule.partial_keep,
        gate: GateOptions {
            allow: settings.gate.allow.iter().map(Network::Block).collect(),
            deny: settings.gate.deny.iter().map(Network::Block).collect(),
            max_connections: settings.gate.max_connections.get(),
            max_connections_per_address: settings.gate.max_connections_per_address.get(),
            max_half_open: settings.gate.max_half_open.get(),
        },
        clock,
        role,
    })
}

/// How SFTP is served with these settings and keys.
pub(crate) fn sftp_options(
    settings: &Settings,
    host_keys: Vec<HostKey>,
    clock: Arc<dyn Clock>,
) -> layover_sftp::Options {
    layover_sftp::Options {
        host_keys: host_keys
            .into_iter()
            .map(HostKey::into_private_key)
            .collect(),
        algorithms: match settings.sftp.algorithms {
            Algorithms::Modern => layover_sftp::Algorithms::Modern,
            Algorithms::Compatible => layover_sftp::Algorithms::Compatible,
        },
        login_grace: settings.gate.login_grace.as_duration(),
        idle_timeout: settings.gate.idle_timeout.as_duration(),
        stall_timeout: settings.gate.stall_timeout.as_duration(),
        clock,
    }
}

/// Where the certificate for FTPS and its key lie.
pub(crate) fn ftps_certificate(settings: &Settings) -> (SecretRef, SecretRef) {
    match (&settings.ftps.certificate, &settings.ftps.private_key) {
        (Some(chain), Some(key)) => (SecretRef::File(chain.clone()), key.reference().clone()),
        _ => {
            let generated = SecretRef::File(tls_certificate::generated_path(&settings.data_dir));
            (generated.clone(), generated)
        }
    }
}

/// The certificate for FTPS: the operator's, or our own, which is made when it is
/// not there.
pub(crate) fn ftps_identity(
    settings: &Settings,
    clock: &dyn Clock,
) -> Result<Identity, TlsCertificateError> {
    match (&settings.ftps.certificate, &settings.ftps.private_key) {
        (Some(chain), Some(key)) => {
            tls_certificate::read(&SecretRef::File(chain.clone()), key.reference())
        }
        _ => tls_certificate::load(
            &settings.data_dir,
            &settings.server.public_name.to_string(),
            clock.now(),
        ),
    }
}

/// How FTPS is served with these settings and this certificate. Looks the public
/// address up when it is a name.
pub(crate) async fn ftps_options(
    settings: &Settings,
    identity: Identity,
    clock: Arc<dyn Clock>,
) -> Result<layover_ftps::Options, OptionsError> {
    let ftps = &settings.ftps;
    let mut public_addresses = Vec::new();
    for rule in ftps.public_address.rules() {
        let address = ipv4_of(&rule.address).await?;
        public_addresses.extend(rule.from.iter().map(|network| (network, address)));
    }
    let tls = TlsOptions {
        min_version: match ftps.min_tls {
            MinTls::Tls12 => MinVersion::Tls12,
            MinTls::Tls13 => MinVersion::Tls13,
        },
    };
    Ok(layover_ftps::Options {
        tls: Arc::new(Tls::new(tls, identity)),
        passive_ports: ftps.passive_ports.first()..=ftps.passive_ports.last(),
        public_addresses,
        session_reuse: session_reuse(settings),
        active_mode: if ftps.active_mode {
            ActiveMode::Allowed
        } else {
            ActiveMode::Refused
        },
        public_name: settings.server.public_name.to_string(),
        login_grace: settings.gate.login_grace.as_duration(),
        idle_timeout: settings.gate.idle_timeout.as_duration(),
        stall_timeout: settings.gate.stall_timeout.as_duration(),
        clock,
    })
}

/// What FTPS data connections must prove where the account has no rule of its own.
#[must_use]
pub fn session_reuse(settings: &Settings) -> layover_depot::SessionReuse {
    match settings.ftps.session_reuse {
        SessionReuse::Auto => layover_depot::SessionReuse::Auto,
        SessionReuse::Require => layover_depot::SessionReuse::Require,
        SessionReuse::Off => layover_depot::SessionReuse::Off,
    }
}

/// PASV tells IPv4 addresses alone; with another one, clients use EPSV.
async fn ipv4_of(host: &Host) -> Result<Option<Ipv4Addr>, OptionsError> {
    let name = match host {
        Host::Address(IpAddr::V4(address)) => return Ok(Some(*address)),
        Host::Address(IpAddr::V6(_)) => return Ok(None),
        Host::Name(name) => name,
    };
    let failed = |source| OptionsError::PublicAddress {
        name: name.clone(),
        source,
    };
    let found = tokio::net::lookup_host((name.as_str(), 0)).await;
    let found = found.map_err(|source| failed(Some(source)))?;
    let mut ipv4 = found.filter_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    ipv4.next().map(Some).ok_or_else(|| failed(None))
}
