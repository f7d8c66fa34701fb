//! The one place where settings become the options of the libraries.

use std::sync::Arc;

use layover_config::{
    Algorithms, Checksum, Fsync, MinTls, Networks, SecretError, SecretRef, SessionReuse, Settings,
    Span,
};
use layover_depot::{Balancers, BanRules, GateOptions, Network, Role};
use layover_ftps::{
    ActiveMode, AnnouncedAddress, Identity, MinVersion, PortSurvey, Tls, TlsOptions,
};
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
        checksum: match settings.storage.checksum {
            Checksum::Background => layover_depot::Checksum::Background,
            Checksum::Off => layover_depot::Checksum::Off,
        },
        gate: GateOptions {
            allow: settings.gate.allow.iter().map(Network::Block).collect(),
            deny: settings.gate.deny.iter().map(Network::Block).collect(),
            max_connections: settings.gate.max_connections.get(),
            max_connections_per_address: settings.gate.max_connections_per_address.get(),
            max_connections_per_network: settings.gate.max_connections_per_network.get(),
            connection_rate: settings.gate.connection_rate.get(),
            max_half_open: settings.gate.max_half_open.get(),
            bans: BanRules {
                score: settings.gate.ban_score.get(),
                span: settings.gate.ban_for.as_duration(),
                never: settings.gate.never_ban.iter().map(Network::Block).collect(),
            },
        },
        hardened: settings.outbound.hardened,
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
#[must_use]
pub fn ftps_certificate(settings: &Settings) -> (SecretRef, SecretRef) {
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

/// How FTPS is served with these settings, this certificate and these addresses.
pub(crate) fn ftps_options(
    settings: &Settings,
    identity: Identity,
    public_addresses: Arc<AnnouncedAddress>,
    clock: Arc<dyn Clock>,
) -> layover_ftps::Options {
    let ftps = &settings.ftps;
    let tls = TlsOptions {
        min_version: match ftps.min_tls {
            MinTls::Tls12 => MinVersion::Tls12,
            MinTls::Tls13 => MinVersion::Tls13,
        },
    };
    layover_ftps::Options {
        tls: Arc::new(Tls::new(tls, identity)),
        passive_ports: ftps.passive_ports.first()..=ftps.passive_ports.last(),
        balancers: balancers_of(&ftps.proxy_protocol_from),
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
    }
}

/// Who passes connections on, from a `proxy_protocol_from`.
pub(crate) fn balancers_of(networks: &Networks) -> Balancers {
    Balancers::new(networks.iter().map(Network::Block).collect())
}

/// Which of the passive ports can be opened now.
#[must_use]
pub fn passive_port_survey(settings: &Settings) -> PortSurvey {
    let ports = settings.ftps.passive_ports;
    PortSurvey::take(settings.ftps.listen, ports.first()..=ports.last())
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
