//! Integrations: partners' own servers, what we know of them, and how we come
//! there. Values only: who connects is `layover-client`, who keeps them is the
//! registry.

mod fields;
mod flow;
mod host_key;
mod location;
mod reference;
mod rules;
mod secrets;
mod settings;
mod values;

use std::num::NonZeroU16;

use layover_retention::Timestamp;
use serde_json::{Map, Value};

pub use fields::{Field, FieldError, FieldFault};
pub use flow::{
    AfterSuccess, FlowDefinition, FlowFault, FlowRules, FlowTarget, HomeFolder, MAX_FLOW_FILES,
    MAX_PARALLEL_FILES, MAX_RETRIES, MAX_RETRY_AFTER_S,
};
pub use host_key::{HostKeyError, HostKeyProof, PartnerHostKey};
pub use location::{Location, LocationPath, LocationPathError, MAX_LOCATION_PATH_BYTES};
pub use reference::{MAX_REFERENCE_BYTES, NotAReference, SecretReference};
pub use rules::{Breach, Caution};
pub use secrets::{
    Credential, GivenSecret, KeptSecret, MAX_SECRET_BYTES, SecretForm, SecretPurpose, SecretSlot,
};
pub use settings::{
    FtpSettings, InboundPolicy, IntegrationSettings, OutboundPolicy, SftpSettings, TlsSettings,
};
pub use values::{
    ActivePorts, CatchUp, CertificatePin, Certificates, CronFault, CronSchedule, DateFormat,
    DisplayName, FilePattern, FlowDirection, FlowFolder, FtpsSecurity, IdempotencyMode,
    IntegrationProtocol, LocationDirection, MAX_DATE_FORMAT_BYTES, MAX_DISPLAY_NAME_BYTES,
    MAX_HOST_BYTES, MAX_KEY_TEXT_BYTES, MAX_REMOTE_USER_BYTES, MAX_SUFFIX_BYTES, MinTlsVersion,
    NotAValue, PartialSuffix, PgpPublicKeys, RemoteHost, RemoteSystem, RemoteUser, SftpAuth,
    SshAlgorithms, TransferMode, ZoneName,
};
pub(crate) use values::{DAYS, MONTHS, cron_part};

use crate::{EntityName, IntegrationId, IntegrationName, LocationName};

/// Most locations of an integration.
pub const MAX_LOCATIONS: usize = 1000;
/// Most host keys of an integration: a server has one for each algorithm, and new ones
/// beside the old ones while they change.
pub const MAX_HOST_KEYS: usize = 16;

/// What an operator says of a partner's server, secrets aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntegrationSpec {
    /// The technical name.
    pub name: IntegrationName,
    /// What people call it.
    pub display_name: DisplayName,
    /// Whose server it is.
    pub entity: EntityName,
    /// What it speaks.
    pub protocol: IntegrationProtocol,
    /// Where it is.
    pub host: RemoteHost,
    /// Its port; none: [`IntegrationSpec::port`].
    pub own_port: Option<NonZeroU16>,
    /// Who we are there.
    pub username: RemoteUser,
    /// Everything else.
    pub settings: IntegrationSettings,
}

impl IntegrationSpec {
    /// The port that we connect to.
    #[must_use]
    pub fn port(&self) -> u16 {
        let usual = match (self.protocol, self.settings.tls.security) {
            (IntegrationProtocol::Ftps, FtpsSecurity::Implicit) => 990,
            (IntegrationProtocol::Ftps | IntegrationProtocol::Ftp, _) => 21,
            (IntegrationProtocol::Sftp, _) => 22,
        };
        self.own_port.map_or(usual, NonZeroU16::get)
    }
}

/// A partner's server, with everything that hangs on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Integration {
    /// Its row.
    pub id: IntegrationId,
    /// Counts its changes.
    pub(crate) version: i64,
    /// What an operator says of it.
    pub spec: IntegrationSpec,
    /// Its folders, by name.
    pub locations: Vec<Location>,
    /// Its host keys, by fingerprint.
    pub host_keys: Vec<PartnerHostKey>,
    /// What proves who we are: never the values.
    pub secrets: Vec<KeptSecret>,
    /// What connections taught us.
    pub learned: Map<String, Value>,
    /// When the operator created it.
    pub created_at: Timestamp,
}

impl Integration {
    /// The secret for this purpose, if there is one.
    #[must_use]
    pub fn secret(&self, purpose: SecretPurpose, slot: SecretSlot) -> Option<&KeptSecret> {
        let mut secrets = self.secrets.iter();
        secrets.find(|secret| secret.purpose == purpose && secret.slot == slot)
    }

    /// The location of this name, if there is one.
    #[must_use]
    pub fn location(&self, name: &LocationName) -> Option<&Location> {
        self.locations
            .iter()
            .find(|location| location.name == *name)
    }
}

/// An integration as it is to be.
#[derive(Clone, Debug)]
pub struct WantedIntegration {
    /// Everything that is not secret.
    pub spec: IntegrationSpec,
    /// Its secrets; those that are not among them stay as they are.
    pub secrets: Vec<GivenSecret>,
    /// All its locations; none: they stay as they are.
    pub locations: Option<Vec<WantedLocation>>,
    /// All its trusted host keys; none: they stay as they are.
    pub host_keys: Option<Vec<HostKeyProof>>,
}

/// A location as it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedLocation {
    /// Its name with us.
    pub name: LocationName,
    /// Where it is.
    pub path: LocationPath,
    /// What it is for.
    pub direction: LocationDirection,
}

/// One field that is, or would be, another than before.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// Which: `ftps.security`, `locations.claims`, `password`.
    pub field: String,
    /// What it was; never a secret.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
}
