//! Every field of an integration in one table: its name (on the command line with
//! dashes for dots, in YAML as a path), which protocols have it, how it is
//! read and shown. Whatever sets, shows, compares or exports integrations
//! goes through it.

use std::fmt::Display;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use super::IntegrationSpec;
use super::values::IntegrationProtocol::{self, Ftp, Ftps, Sftp};

/// Longest value that an error repeats, in characters.
const MAX_SHOWN: usize = 80;

/// A field that cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {fault}")]
pub struct FieldError {
    /// Which field.
    pub field: &'static str,
    /// Why not.
    pub fault: FieldFault,
}

/// Why a field cannot be what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FieldFault {
    /// The text is not a value of it.
    #[error("cannot be `{text}`: expected {expected}")]
    Value {
        /// The beginning of what was given.
        text: String,
        /// What would do.
        expected: &'static str,
    },
    /// It has no default.
    #[error("is needed: {expected}")]
    Missing {
        /// What would do.
        expected: &'static str,
    },
    /// Other protocols have it.
    #[error("is no field of an integration by {protocol}")]
    OtherProtocol {
        /// What the integration speaks.
        protocol: IntegrationProtocol,
    },
    /// It does not go with another field.
    #[error("{rule}")]
    Rule {
        /// What does.
        rule: &'static str,
    },
}

/// One field.
pub struct Field {
    name: &'static str,
    of: &'static [IntegrationProtocol],
    expected: &'static str,
    set: fn(&mut IntegrationSpec, Option<&str>) -> bool,
    get: fn(&IntegrationSpec) -> Option<String>,
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Field").field(&self.name).finish()
    }
}

fn required<T: FromStr>(field: &mut T, text: Option<&str>) -> bool {
    let read = text.and_then(|text| text.parse().ok());
    read.map(|value| *field = value).is_some()
}

fn optional<T: FromStr>(field: &mut Option<T>, text: Option<&str>) -> bool {
    match text.map(str::parse).transpose() {
        Ok(value) => *field = value,
        Err(_) => return false,
    }
    true
}

fn defaulted<T: FromStr + Default>(field: &mut T, text: Option<&str>) -> bool {
    match text.map(str::parse).transpose() {
        Ok(value) => *field = value.unwrap_or_default(),
        Err(_) => return false,
    }
    true
}

fn switch(field: &mut bool, default: bool, text: Option<&str>) -> bool {
    *field = match text {
        None => default,
        Some("yes" | "true" | "on") => true,
        Some("no" | "false" | "off") => false,
        Some(_) => return false,
    };
    true
}

fn unless_default<T: Default + PartialEq + Display>(field: &T) -> Option<String> {
    (*field != T::default()).then(|| field.to_string())
}

fn unless(field: bool, default: bool) -> Option<String> {
    (field != default).then(|| if field { "yes" } else { "no" }.to_owned())
}

macro_rules! field {
    (required $name:literal, $of:expr, $expected:literal, $($path:ident).+) => {
        Field {
            name: $name,
            of: $of,
            expected: $expected,
            set: |spec, text| required(&mut spec.$($path).+, text),
            get: |spec| Some(spec.$($path).+.to_string()),
        }
    };
    (optional $name:literal, $of:expr, $expected:literal, $($path:ident).+) => {
        Field {
            name: $name,
            of: $of,
            expected: $expected,
            set: |spec, text| optional(&mut spec.$($path).+, text),
            get: |spec| spec.$($path).+.as_ref().map(ToString::to_string),
        }
    };
    (defaulted $name:literal, $of:expr, $expected:literal, $($path:ident).+) => {
        Field {
            name: $name,
            of: $of,
            expected: $expected,
            set: |spec, text| defaulted(&mut spec.$($path).+, text),
            get: |spec| unless_default(&spec.$($path).+),
        }
    };
    (switch $default:literal $name:literal, $of:expr, $($path:ident).+) => {
        Field {
            name: $name,
            of: $of,
            expected: "yes or no",
            set: |spec, text| switch(&mut spec.$($path).+, $default, text),
            get: |spec| unless(spec.$($path).+, $default),
        }
    };
}

const ALL: &[IntegrationProtocol] = &[Ftps, Sftp, Ftp];
const FTP: &[IntegrationProtocol] = &[Ftps, Ftp];
const TLS: &[IntegrationProtocol] = &[Ftps];
const SSH: &[IntegrationProtocol] = &[Sftp];

const FIELDS: &[Field] = &[
    field!(required "display_name", ALL, "one line of at most 128 bytes", display_name),
    field!(required "entity", ALL, "the name of an entity", entity),
    field!(required "protocol", ALL, "ftps, sftp or ftp", protocol),
    field!(required "host", ALL, "a host name or an address", host),
    field!(optional "port", ALL, "a port from 1 to 65535", own_port),
    field!(required "username", ALL, "one line of at most 256 bytes", username),
    field!(defaulted "ftps.security", TLS, "explicit or implicit", settings.tls.security),
    field!(optional "ftps.ca_certificate", TLS, "certificates in PEM (and no private key), or a reference to them: env:NAME, file:/path, vault:path#field", settings.tls.ca_certificate),
    field!(optional "ftps.certificate_pin", TLS, "the SHA-256 fingerprint of a certificate: 64 hexadecimal digits, with or without colons", settings.tls.certificate_pin),
    field!(optional "ftps.client_certificate", TLS, "certificates in PEM (and no private key), or a reference to them: env:NAME, file:/path, vault:path#field", settings.tls.client_certificate),
    field!(switch false "ftps.skip_verify", TLS, settings.tls.skip_verify),
    field!(defaulted "ftps.min_tls", TLS, "1.2 or 1.3", settings.tls.min_tls),
    field!(defaulted "transfer.mode", FTP, "passive or active", settings.ftp.transfer),
    field!(optional "transfer.active_ports", FTP, "local ports, such as 50000-50100", settings.ftp.active_ports),
    field!(optional "transfer.active_address", FTP, "an IPv4 address", settings.ftp.active_address),
    field!(defaulted "listing.system", FTP, "UNIX or WINDOWS", settings.ftp.system),
    field!(optional "listing.date_format", FTP, "a pattern with month and day, such as yyyy-MM-dd HH:mm (letters y M d H h m s S a E; other text in single quotes)", settings.ftp.date_format),
    field!(optional "listing.time_zone", FTP, "a time zone, such as Europe/Brussels, UTC or +02:00", settings.ftp.time_zone),
    field!(defaulted "sftp.auth", SSH, "password or key", settings.sftp.auth),
    field!(defaulted "sftp.algorithms", SSH, "modern or compatible", settings.sftp.algorithms),
    field!(switch false "inbound.pgp", ALL, settings.inbound.pgp),
    field!(switch false "inbound.signature_required", ALL, settings.inbound.signature_required),
    field!(optional "inbound.partner_key", ALL, "an armored PGP public key", settings.inbound.partner_key),
    field!(switch true "outbound.partial_lock", ALL, settings.outbound.partial_lock),
    field!(defaulted "outbound.partial_suffix", ALL, "1 to 32 bytes without separators and control characters, such as .part", settings.outbound.partial_suffix),
    field!(switch false "outbound.delete_then_rename", ALL, settings.outbound.delete_then_rename),
    field!(switch false "outbound.pgp", ALL, settings.outbound.pgp),
    field!(optional "outbound.recipient_key", ALL, "an armored PGP public key", settings.outbound.recipient_key),
    field!(switch false "outbound.sign", ALL, settings.outbound.sign),
];

impl Field {
    /// All of them, in the order in which they are shown.
    pub const EACH: &[Self] = FIELDS;

    /// The field of this name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<&'static Self> {
        FIELDS.iter().find(|field| field.name == name)
    }

    /// Its name: `host`, `ftps.security`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// What it takes, in words.
    #[must_use]
    pub const fn expected(&self) -> &'static str {
        self.expected
    }

    /// Whether integrations that speak `protocol` have it.
    #[must_use]
    pub fn is_of(&self, protocol: IntegrationProtocol) -> bool {
        self.of.contains(&protocol)
    }

    /// Its value as [`Field::set`] takes it; `None` while it has its default.
    #[must_use]
    pub fn get(&self, spec: &IntegrationSpec) -> Option<String> {
        (self.get)(spec)
    }

    /// Its value for people and the journal: a long text by its digest.
    #[must_use]
    pub fn shown(&self, spec: &IntegrationSpec) -> Option<String> {
        self.get(spec).map(|text| shown(&text))
    }

    /// Sets it; `None` is its default. Where the protocol changes, fields that the
    /// new one does not have get their defaults.
    ///
    /// # Errors
    /// The field keeps its value.
    pub fn set(&self, spec: &mut IntegrationSpec, text: Option<&str>) -> Result<(), FieldError> {
        let refused = |fault| FieldError {
            field: self.name,
            fault,
        };
        if !self.is_of(spec.protocol) {
            return Err(refused(FieldFault::OtherProtocol {
                protocol: spec.protocol,
            }));
        }
        if !(self.set)(spec, text) {
            return Err(refused(self.fault(text)));
        }
        if self.name == "protocol" {
            let protocol = spec.protocol;
            for field in FIELDS.iter().filter(|field| !field.is_of(protocol)) {
                (field.set)(spec, None);
            }
        }
        Ok(())
    }

    /// What is wrong with a text that is not a value of it.
    fn fault(&self, text: Option<&str>) -> FieldFault {
        let expected = self.expected;
        match text {
            None => FieldFault::Missing { expected },
            Some(text) => FieldFault::Value {
                // Not the lines of what may be a private key.
                text: text
                    .lines()
                    .next()
                    .unwrap_or("")
                    .chars()
                    .take(MAX_SHOWN)
                    .collect(),
                expected,
            },
        }
    }
}

/// A text on one line, a longer one by its digest.
fn shown(text: &str) -> String {
    if text.lines().nth(1).is_none() {
        return text.trim_end().to_owned();
    }
    let digest = hex::encode(Sha256::digest(text.as_bytes()));
    let digest: String = digest.chars().take(16).collect();
    format!("{} lines, SHA-256 {digest}...", text.lines().count())
}

impl IntegrationSpec {
    /// What does not go together.
    #[must_use]
    pub fn contradictions(&self) -> Vec<FieldError> {
        let (ftp, tls) = (&self.settings.ftp, &self.settings.tls);
        let (inbound, outbound) = (&self.settings.inbound, &self.settings.outbound);
        let active = ftp.transfer == super::TransferMode::Active;
        let rules = [
            (
                tls.skip_verify && (tls.ca_certificate.is_some() || tls.certificate_pin.is_some()),
                "ftps.skip_verify",
                "cannot be yes where a CA certificate or a certificate pin says what is trusted",
            ),
            (
                !active && ftp.active_ports.is_some(),
                "transfer.active_ports",
                "needs transfer.mode active",
            ),
            (
                !active && ftp.active_address.is_some(),
                "transfer.active_address",
                "needs transfer.mode active",
            ),
            (
                inbound.signature_required && !(inbound.pgp && inbound.partner_key.is_some()),
                "inbound.signature_required",
                "needs inbound.pgp and the partner's public key in inbound.partner_key",
            ),
            (
                outbound.pgp && outbound.recipient_key.is_none(),
                "outbound.pgp",
                "needs the partner's public key first: layover integration pgp set-recipient NAME FILE (outbound.recipient_key)",
            ),
            (
                outbound.sign && !outbound.pgp,
                "outbound.sign",
                "needs outbound.pgp",
            ),
        ];
        let broken = rules.into_iter().filter(|(broken, ..)| *broken);
        broken
            .map(|(_, field, rule)| FieldError {
                field,
                fault: FieldFault::Rule { rule },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
