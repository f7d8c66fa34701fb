//! Settings of FTPS and FTP, as the engine takes them.

use jiff::tz::{Offset, TimeZone};
use layover_depot::{
    FtpsSecurity, IntegrationProtocol, MinTlsVersion, RemoteSystem, SecretPurpose, SecretSlot,
    TransferMode, ZoneName,
};

use super::prepare::{Preparation, Resolved};
use super::{lessons, system_roots};
use crate::ftps::{
    ClientIdentity, DatePattern, Fingerprint, FtpsOptions, ListingOptions, Security, Timeouts,
    TlsOptions, TlsVersions, Transfer, Trust,
};
use crate::path::ServerSystem;
use layover_depot::Secret;

/// Everything that a connection needs; faults are noted.
pub(super) async fn options(preparation: &mut Preparation<'_>) -> Option<FtpsOptions> {
    let spec = &preparation.integration.spec;
    let is_plain = spec.protocol == IntegrationProtocol::Ftp;
    let security = match spec.settings.tls.security {
        _ if is_plain => Security::Plain,
        FtpsSecurity::Explicit => Security::Explicit,
        FtpsSecurity::Implicit => Security::Implicit,
    };
    let listing = listing(preparation);
    let trust = match is_plain {
        true => Some(Trust::Anything),
        false => trust(preparation).await,
    };
    let identity = match is_plain {
        true => Some(None),
        false => identity(preparation).await,
    };
    let password = password(preparation).await;
    let ftp = &spec.settings.ftp;
    let transfer = match ftp.transfer {
        TransferMode::Passive => Transfer::Passive,
        TransferMode::Active => Transfer::Active {
            ports: ftp
                .active_ports
                .as_ref()
                .map_or(0..=0, |ports| ports.range()),
            announced: ftp.active_address,
        },
    };
    let waits = preparation.surroundings.waits;
    Some(FtpsOptions {
        host: spec.host.to_string(),
        port: Some(spec.port()),
        username: spec.username.to_string(),
        password: password?,
        security,
        transfer,
        tls: TlsOptions {
            versions: versions(preparation),
            trust: trust?,
            identity: identity?,
        },
        system: match ftp.system {
            RemoteSystem::Unix => ServerSystem::Unix,
            RemoteSystem::Windows => ServerSystem::Windows,
        },
        listing: listing?,
        source: preparation.surroundings.sources,
        timeouts: Timeouts {
            connect: waits.connect,
            data: waits.connect,
            reply: waits.stall,
            stall: waits.stall,
        },
        now: preparation.surroundings.now.clone(),
    })
}

/// The oldest version that the operator allows, then what was learned.
fn versions(preparation: &Preparation<'_>) -> TlsVersions {
    match preparation.integration.spec.settings.tls.min_tls {
        MinTlsVersion::Tls13 => TlsVersions::Only13,
        MinTlsVersion::Tls12 if lessons::knows_tls12_only(preparation.integration) => {
            TlsVersions::Only12
        }
        MinTlsVersion::Tls12 => TlsVersions::From12,
    }
}

fn listing(preparation: &mut Preparation<'_>) -> Option<ListingOptions> {
    let ftp = &preparation.integration.spec.settings.ftp;
    let date_format = match &ftp.date_format {
        None => None,
        Some(format) => match DatePattern::parse(format.as_str()) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                preparation.unusable("listing.date_format", error);
                return None;
            }
        },
    };
    let time_zone = match &ftp.time_zone {
        None => None,
        Some(name) => match zone(name) {
            Some(zone) => Some(zone),
            None => {
                let detail = format!("`{name}` is in no time zone database of this system");
                preparation.unusable("listing.time_zone", detail);
                return None;
            }
        },
    };
    Some(ListingOptions {
        date_format,
        time_zone,
    })
}

/// A zone by its name, or an offset (`+02:00`).
fn zone(name: &ZoneName) -> Option<TimeZone> {
    let text = name.as_str();
    let sign = match text.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => return TimeZone::get(text).ok(),
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    let offset = Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()?;
    Some(TimeZone::fixed(offset))
}

/// With a CA certificate and a pin both must hold; a pin alone suffices.
async fn trust(preparation: &mut Preparation<'_>) -> Option<Trust> {
    let tls = &preparation.integration.spec.settings.tls;
    let pin = match &tls.certificate_pin {
        None => None,
        Some(pin) => match Fingerprint::parse(pin.as_str()) {
            Some(pin) => Some(pin),
            None => {
                preparation.unusable("ftps.certificate_pin", "it is no SHA-256 fingerprint");
                return None;
            }
        },
    };
    match (&tls.ca_certificate, pin) {
        (Some(given), pin) => {
            let pem = preparation.certificates("CA certificate", given).await?;
            Some(Trust::Authorities { pem, pin })
        }
        (None, Some(pin)) => Some(Trust::Pin(pin)),
        (None, None) if tls.skip_verify => Some(Trust::Anything),
        (None, None) => match system_roots::system_authorities() {
            Ok(roots) => {
                preparation.resolved.push(Resolved {
                    what: "public authorities",
                    from: roots.path.display().to_string(),
                });
                let (pem, pin) = (roots.pem, None);
                Some(Trust::Authorities { pem, pin })
            }
            Err(error) => {
                preparation.errors.push(error.into());
                None
            }
        },
    }
}

/// Our certificate with its key: both or neither.
async fn identity(preparation: &mut Preparation<'_>) -> Option<Option<ClientIdentity>> {
    let certificate = preparation
        .integration
        .spec
        .settings
        .tls
        .client_certificate
        .clone();
    let has_key = preparation.has(SecretPurpose::ClientKey);
    let certificate = match (certificate, has_key) {
        (None, false) => return Some(None),
        (None, true) => {
            preparation.missing(
                "client certificate",
                "its key is there; give the certificate",
            );
            return None;
        }
        (Some(_), false) => {
            preparation.missing("client key", "its certificate is there; give the key");
            return None;
        }
        (Some(certificate), true) => certificate,
    };
    let errors = preparation.errors.len();
    let (key, phrase) = (SecretPurpose::ClientKey, SecretPurpose::ClientKeyPassphrase);
    let pem = preparation
        .certificates("client certificate", &certificate)
        .await;
    let key = preparation.secret(key, SecretSlot::Current).await;
    let passphrase = preparation.secret(phrase, SecretSlot::Current).await;
    if preparation.errors.len() > errors {
        return None;
    }
    Some(Some(ClientIdentity {
        certificates_pem: pem?,
        key_pem: key?,
        passphrase,
    }))
}

/// A server that knows us by our certificate may want no password; one that asks
/// for it nevertheless gets an empty one.
async fn password(preparation: &mut Preparation<'_>) -> Option<Secret> {
    let purpose = SecretPurpose::Password;
    if preparation.has(purpose) {
        return preparation.secret(purpose, SecretSlot::Current).await;
    }
    if preparation.has(SecretPurpose::ClientKey) {
        return Some(Secret::new(Vec::new()));
    }
    preparation.missing("password", "give it by reference");
    None
}
