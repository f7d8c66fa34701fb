//! What is set of an integration besides where it is: nothing of it is secret.
//! It is kept as JSON, with a version, in one column.

use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

use super::values::{
    ActivePorts, CertificatePin, Certificates, DateFormat, FtpsSecurity, MinTlsVersion,
    PartialSuffix, PgpPublicKeys, RemoteSystem, SftpAuth, SshAlgorithms, TransferMode, ZoneName,
};

/// The form that this version writes and reads.
const FORM: u32 = 1;

/// All of it. What the protocol does not have keeps its default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegrationSettings {
    /// FTP, with and without TLS.
    pub ftp: FtpSettings,
    /// The TLS of FTPS.
    pub tls: TlsSettings,
    /// SFTP.
    pub sftp: SftpSettings,
    /// What holds for files that are fetched.
    pub inbound: InboundPolicy,
    /// What holds for files that are put there.
    pub outbound: OutboundPolicy,
}

/// How FTP is spoken, with and without TLS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FtpSettings {
    /// Who makes data connections.
    pub transfer: TransferMode,
    /// Local ports of active data connections; none: any.
    pub active_ports: Option<ActivePorts>,
    /// The address that we announce for them; none: our own.
    pub active_address: Option<Ipv4Addr>,
    /// How the server writes paths and listings.
    pub system: RemoteSystem,
    /// How it writes dates, where that is neither as `ls` nor as DOS does.
    pub date_format: Option<DateFormat>,
    /// The zone of the times in its listings; none: UTC.
    pub time_zone: Option<ZoneName>,
}

/// How FTPS is protected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// How the connection begins.
    pub security: FtpsSecurity,
    /// Authorities whose certificates are trusted; none: the system's.
    pub ca_certificate: Option<Certificates>,
    /// The one certificate that is accepted.
    pub certificate_pin: Option<CertificatePin>,
    /// Our certificate, for servers that ask for one.
    pub client_certificate: Option<Certificates>,
    /// The server's certificate is not looked at.
    pub skip_verify: bool,
    /// The oldest TLS that is offered.
    pub min_tls: MinTlsVersion,
}

/// How SFTP is spoken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SftpSettings {
    /// What proves who we are.
    pub auth: SftpAuth,
    /// Which SSH algorithms are offered.
    pub algorithms: SshAlgorithms,
}

/// What holds for files that are fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InboundPolicy {
    /// Every file must be encrypted to our PGP key.
    pub pgp: bool,
    /// And signed by the partner.
    pub signature_required: bool,
    /// With one of these keys.
    pub partner_key: Option<PgpPublicKeys>,
}

/// What holds for files that are put there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutboundPolicy {
    /// A file has another name until it is complete.
    pub partial_lock: bool,
    /// What stands behind its name until then.
    pub partial_suffix: PartialSuffix,
    /// Where the server renames over no file, that file may be deleted first.
    pub delete_then_rename: bool,
    /// Every file is encrypted.
    pub pgp: bool,
    /// To these keys.
    pub recipient_key: Option<PgpPublicKeys>,
    /// And signed with our PGP key.
    pub sign: bool,
}

impl Default for OutboundPolicy {
    /// Locked while it is partial: nobody fetches half a file.
    fn default() -> Self {
        Self {
            partial_lock: true,
            partial_suffix: PartialSuffix::default(),
            delete_then_rename: false,
            pgp: false,
            recipient_key: None,
            sign: false,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    settings: IntegrationSettings,
}

impl IntegrationSettings {
    /// As the database keeps them.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!({ "version": FORM, "settings": self }).to_string()
    }

    /// What the database keeps; `None` for what this version never wrote.
    pub(crate) fn from_json(text: &str) -> Option<Self> {
        let kept: Kept = serde_json::from_str(text).ok()?;
        (kept.version == FORM).then_some(kept.settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_another_form_does_not() {
        let settings = IntegrationSettings {
            tls: TlsSettings {
                security: FtpsSecurity::Implicit,
                skip_verify: true,
                ..TlsSettings::default()
            },
            ..IntegrationSettings::default()
        };
        let text = settings.to_json();
        assert_eq!(IntegrationSettings::from_json(&text), Some(settings));
        for other in [
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("skip_verify", "skip_everything"),
            text.replace("implicit", "sometimes"),
        ] {
            assert_ne!(other, text);
            assert_eq!(IntegrationSettings::from_json(&other), None, "{other}");
        }
    }
}
