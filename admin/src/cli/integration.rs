//! `layover integration`, `location`, `secrets`, `apply` and `export` as types.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand};
use layover_depot::{
    EntityName, HostKeyError, HostKeyProof, IntegrationName, IntegrationProtocol,
    LocationDirection, LocationName,
};

use crate::value::{FileSource, HomePlace, Moment};

#[derive(Debug, Subcommand)]
pub(crate) enum IntegrationCommand {
    /// Tell of a partner's server that we connect to
    Add(Box<IntegrationAdd>),
    /// List integrations
    List {
        /// Only those of this entity
        #[arg(long)]
        entity: Option<EntityName>,
    },
    /// Show one integration
    Show {
        /// The integration
        name: IntegrationName,
    },
    /// Change an integration; `default` gives a field its default again
    Set(Box<IntegrationSet>),
    /// Remove our side of an integration, with its locations and secrets; nothing happens on the
    /// partner's server
    Remove {
        /// The integration
        name: IntegrationName,
    },
    /// The SSH key pair that we log in with
    #[command(subcommand)]
    Key(KeyPairCommand),
    /// PGP keys, ours and the partner's
    #[command(subcommand)]
    Pgp(PgpCommand),
    /// Host keys of an SFTP server that are trusted
    #[command(subcommand)]
    HostKey(HostKeyCommand),
    /// Try an integration step by step: name, TCP, TLS or SSH, login, data connection, each
    /// location, PGP keys; says what is wrong, why, and what to do
    Test(TestArgs),
    /// List the files of a location on the partner's server
    ListFiles {
        /// The integration
        name: IntegrationName,
        /// The location
        location: LocationName,
    },
    /// Fetch files from the partner's server now
    Get(Box<GetArgs>),
    /// Send files to the partner's server now
    Put(Box<PutArgs>),
    /// What the partner must do: firewall, allowlist, our public keys
    Kit {
        /// The integration
        name: IntegrationName,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The integration
    pub(crate) name: IntegrationName,
    /// This location alone
    #[arg(long)]
    pub(crate) location: Option<LocationName>,
    /// Write no probe file where files are put
    #[arg(long)]
    pub(crate) no_write: bool,
}

#[derive(Debug, Args)]
pub(crate) struct IntegrationAdd {
    /// The integration: its technical name
    pub(crate) name: IntegrationName,
    /// Whose server it is
    #[arg(long)]
    pub(crate) entity: EntityName,
    /// What it speaks: ftps, sftp, or ftp (unprotected)
    #[arg(long, value_name = "ftps|sftp|ftp", value_parser = words::<IntegrationProtocol>)]
    pub(crate) protocol: IntegrationProtocol,
    /// Host name or address
    #[arg(long)]
    pub(crate) host: String,
    /// Who we are there
    #[arg(long, value_name = "USER")]
    pub(crate) username: String,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
}

#[derive(Debug, Args)]
pub(crate) struct IntegrationSet {
    /// The integration
    pub(crate) name: IntegrationName,
    /// Whose server it is
    #[arg(long)]
    pub(crate) entity: Option<String>,
    /// What it speaks; settings and secrets that the new protocol does not have go
    #[arg(long, value_name = "ftps|sftp|ftp")]
    pub(crate) protocol: Option<String>,
    /// Host name or address
    #[arg(long)]
    pub(crate) host: Option<String>,
    /// Who we are there
    #[arg(long, value_name = "USER")]
    pub(crate) username: Option<String>,
    #[command(flatten)]
    pub(crate) fields: FieldArgs,
    #[command(flatten)]
    pub(crate) secrets: SecretArgs,
}

/// Fields that `add` and `set` share, in the order of the depot's table.
#[derive(Debug, Default, Args)]
pub(crate) struct FieldArgs {
    /// What people call it [default when adding: the technical name]
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    /// Port [default: 21, for implicit FTPS 990, for SFTP 22]
    #[arg(long)]
    pub(crate) port: Option<String>,
    /// FTPS: how TLS begins [default: explicit]
    #[arg(long, value_name = "explicit|implicit")]
    pub(crate) security: Option<String>,
    /// FTPS: file with the certificates of the partner's authority (PEM), or a reference to
    /// them (env:NAME, file:/path, vault:path#field) [default: the system's authorities]
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) ca_certificate: Option<String>,
    /// FTPS: SHA-256 fingerprint of the one certificate that is accepted; with a CA
    /// certificate both must hold
    #[arg(long, value_name = "SHA256")]
    pub(crate) certificate_pin: Option<String>,
    /// FTPS: file with our certificate (PEM), or a reference to it
    #[arg(long, value_name = "FILE|REF")]
    pub(crate) client_certificate: Option<String>,
    /// FTPS: take any certificate, and anybody for the partner [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) skip_verify: Option<String>,
    /// FTPS: the oldest TLS that is offered [default: 1.2]
    #[arg(long, value_name = "1.2|1.3")]
    pub(crate) min_tls: Option<String>,
    /// FTPS, FTP: who makes data connections; we do when passive [default: passive]
    #[arg(long, value_name = "passive|active")]
    pub(crate) transfer: Option<String>,
    /// FTPS, FTP: local ports of active data connections [default: any]
    #[arg(long, value_name = "FIRST-LAST")]
    pub(crate) active_ports: Option<String>,
    /// FTPS, FTP: the address that is announced for them [default: our own]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) active_address: Option<String>,
    /// FTPS, FTP: how the server writes paths and listings [default: UNIX]
    #[arg(long, value_name = "UNIX|WINDOWS")]
    pub(crate) system: Option<String>,
    /// FTPS, FTP: how the server writes dates, e.g. "yyyy-MM-dd HH:mm" [default: as ls or DOS do]
    #[arg(long, value_name = "PATTERN")]
    pub(crate) date_format: Option<String>,
    /// FTPS, FTP: the zone of times in listings, e.g. Europe/Brussels or +02:00 [default: UTC]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
    pub(crate) time_zone: Option<String>,
    /// SFTP: what proves who we are [default: password]
    #[arg(long, value_name = "password|key")]
    pub(crate) auth: Option<String>,
    /// SFTP: which SSH algorithms are offered [default: modern]
    #[arg(long, value_name = "modern|compatible")]
    pub(crate) algorithms: Option<String>,
    /// Every fetched file must be encrypted to our PGP key [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) inbound_pgp: Option<String>,
    /// And signed by the partner [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) signature_required: Option<String>,
    /// File with the public PGP key that the partner signs with, armored
    #[arg(long, value_name = "FILE")]
    pub(crate) partner_key: Option<String>,
    /// Give files a temporary suffix while they are uploaded [default: yes]
    #[arg(long, value_name = "yes|no")]
    pub(crate) partial_lock: Option<String>,
    /// That suffix [default: .part]
    #[arg(long, value_name = "SUFFIX")]
    pub(crate) partial_suffix: Option<String>,
    /// Delete the old file first where the server renames over no file [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) delete_then_rename: Option<String>,
    /// Encrypt every uploaded file with the partner's PGP key [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) outbound_pgp: Option<String>,
    /// File with that public PGP key, armored
    #[arg(long, value_name = "FILE")]
    pub(crate) recipient_key: Option<String>,
    /// And sign it with our PGP key [default: no]
    #[arg(long, value_name = "yes|no")]
    pub(crate) sign: Option<String>,
}

/// How the text of an option becomes the text of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextOf {
    /// It is.
    Itself,
    /// It is a reference, or names a file with the text.
    FileOrReference,
    /// It names a file with the text.
    File,
}

impl FieldArgs {
    /// Every option with the field that it sets.
    pub(crate) fn each(&self) -> [(&'static str, TextOf, Option<&String>); 25] {
        use TextOf::{File, FileOrReference, Itself};
        [
            ("display_name", Itself, self.display_name.as_ref()),
            ("port", Itself, self.port.as_ref()),
            ("ftps.security", Itself, self.security.as_ref()),
            (
                "ftps.ca_certificate",
                FileOrReference,
                self.ca_certificate.as_ref(),
            ),
            (
                "ftps.certificate_pin",
                Itself,
                self.certificate_pin.as_ref(),
            ),
            (
                "ftps.client_certificate",
                FileOrReference,
                self.client_certificate.as_ref(),
            ),
            ("ftps.skip_verify", Itself, self.skip_verify.as_ref()),
            ("ftps.min_tls", Itself, self.min_tls.as_ref()),
            ("transfer.mode", Itself, self.transfer.as_ref()),
            ("transfer.active_ports", Itself, self.active_ports.as_ref()),
            (
                "transfer.active_address",
                Itself,
                self.active_address.as_ref(),
            ),
            ("listing.system", Itself, self.system.as_ref()),
            ("listing.date_format", Itself, self.date_format.as_ref()),
            ("listing.time_zone", Itself, self.time_zone.as_ref()),
            ("sftp.auth", Itself, self.auth.as_ref()),
            ("sftp.algorithms", Itself, self.algorithms.as_ref()),
            ("inbound.pgp", Itself, self.inbound_pgp.as_ref()),
            (
                "inbound.signature_required",
                Itself,
                self.signature_required.as_ref(),
            ),
            ("inbound.partner_key", File, self.partner_key.as_ref()),
            ("outbound.partial_lock", Itself, self.partial_lock.as_ref()),
            (
                "outbound.partial_suffix",
                Itself,
                self.partial_suffix.as_ref(),
            ),
            (
                "outbound.delete_then_rename",
                Itself,
                self.delete_then_rename.as_ref(),
            ),
            ("outbound.pgp", Itself, self.outbound_pgp.as_ref()),
            ("outbound.recipient_key", File, self.recipient_key.as_ref()),
            ("outbound.sign", Itself, self.sign.as_ref()),
        ]
    }
}

/// Secrets: by reference, or read from standard input; never as arguments, which every
/// user of the machine can see.
#[derive(Debug, Default, Args)]
pub(crate) struct SecretArgs {
    /// Where the password is: env:NAME, file:/path, vault:path#field; `none` takes it away
    #[arg(long, value_name = "REF", conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from the first line of standard input, and keep it sealed
    #[arg(long, group = "stdin")]
    pub(crate) password_stdin: bool,
    /// FTPS: where the key of our certificate is (PEM); `none` takes it away
    #[arg(long, value_name = "REF", conflicts_with = "client_key_stdin")]
    pub(crate) client_key: Option<String>,
    /// FTPS: read that key from standard input, and keep it sealed
    #[arg(long, group = "stdin")]
    pub(crate) client_key_stdin: bool,
    /// FTPS: where the passphrase of that key is; `none` takes it away
    #[arg(
        long,
        value_name = "REF",
        conflicts_with = "client_key_passphrase_stdin"
    )]
    pub(crate) client_key_passphrase: Option<String>,
    /// FTPS: read that passphrase from the first line of standard input, and keep it sealed
    #[arg(long, group = "stdin")]
    pub(crate) client_key_passphrase_stdin: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("to_where").required(true))]
pub(crate) struct GetArgs {
    /// The integration
    pub(crate) name: IntegrationName,
    /// The folder there, by its name with us
    pub(crate) location: LocationName,
    /// Names of files in that folder
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<OsString>,
    /// Into a folder of an account's home, as its partner's own uploads; ACCOUNT alone is its top
    #[arg(long, value_name = "ACCOUNT[:/FOLDER]", group = "to_where")]
    pub(crate) to: Option<HomePlace>,
    /// Into a folder of this machine
    #[arg(long, value_name = "DIR", group = "to_where")]
    pub(crate) out: Option<PathBuf>,
    /// The name that it gets with us; for one file [default: the name that it has there]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) new_name: Option<OsString>,
    /// A file that has the name already is replaced [default: it stays, and this fails]
    #[arg(long)]
    pub(crate) replace: bool,
    /// Also where the account is disabled
    #[arg(long, requires = "to")]
    pub(crate) even_disabled: bool,
    /// Also where the account is of another entity than the integration
    #[arg(long, requires = "to")]
    pub(crate) other_entity: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    /// The integration
    pub(crate) name: IntegrationName,
    /// The folder there, by its name with us
    pub(crate) location: LocationName,
    /// Files of accounts' homes (ACCOUNT:/path) or of this machine (a path; one with a
    /// colon is written ./x:y)
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<FileSource>,
    /// The name that it gets there; for one source [default: the name that it has]
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) new_name: Option<OsString>,
    /// A file that has the name already is replaced [default: it stays, and this fails]
    #[arg(long)]
    pub(crate) replace: bool,
    /// Also where the account is disabled
    #[arg(long)]
    pub(crate) even_disabled: bool,
    /// Also where an account is of another entity than the integration
    #[arg(long)]
    pub(crate) other_entity: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyPairCommand {
    /// Print our public key in the form of authorized_keys
    Show {
        /// The integration
        name: IntegrationName,
    },
    /// Make a new key pair; the one before it is tried, too, until the new one is confirmed
    Rotate {
        /// The integration
        name: IntegrationName,
        /// RSA of 4096 bits, for servers that know nothing newer [default: ed25519]
        #[arg(long)]
        rsa: bool,
        /// Replace a new key pair that was never confirmed
        #[arg(long)]
        replace_unconfirmed: bool,
    },
    /// The partner has installed the new key: forget the one before it
    Confirm {
        /// The integration
        name: IntegrationName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PgpCommand {
    /// Print our public PGP key, armored
    Show {
        /// The integration
        name: IntegrationName,
    },
    /// Make a new PGP key pair; the one before it still decrypts until the new one is confirmed
    Rotate {
        /// The integration
        name: IntegrationName,
        /// Replace a new key pair that was never confirmed
        #[arg(long)]
        replace_unconfirmed: bool,
        /// When partners' programs stop using it: 730d (from now), 2028-01-31 (the end of that
        /// day, UTC) or 2028-01-31T18:00:00Z [default: never]
        #[arg(long, value_name = "TIME")]
        until: Option<Moment>,
    },
    /// Give the public key that files for the partner are encrypted with
    SetRecipient {
        /// The integration
        name: IntegrationName,
        /// File with the armored public key, `-` for standard input, or `none`
        file: PathBuf,
    },
    /// Give the public key that the partner's signatures are checked with
    SetPartner {
        /// The integration
        name: IntegrationName,
        /// File with the armored public key, `-` for standard input, or `none`
        file: PathBuf,
    },
    /// The partner has our new PGP key: forget the one before it
    Confirm {
        /// The integration
        name: IntegrationName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HostKeyCommand {
    /// List host keys, seen and confirmed
    List {
        /// The integration
        name: IntegrationName,
    },
    /// Trust a host key: one that was seen, or one that the partner told
    Confirm {
        /// The integration
        name: IntegrationName,
        /// Its fingerprint (SHA256:...), or a line of known_hosts
        #[arg(value_name = "FINGERPRINT|LINE", value_parser = host_key)]
        key: HostKeyProof,
    },
    /// Trust a host key no more
    Remove {
        /// The integration
        name: IntegrationName,
        /// As `host-key list` shows it
        fingerprint: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum LocationCommand {
    /// Name a folder on the partner's server
    Add {
        /// The integration
        integration: IntegrationName,
        /// The location
        name: LocationName,
        /// The folder, as the partner's server writes it
        path: String,
        /// What it is for
        #[arg(long, value_name = "download|upload|both", default_value = "both", value_parser = words::<LocationDirection>)]
        direction: LocationDirection,
    },
    /// List the locations of an integration
    List {
        /// The integration
        integration: IntegrationName,
    },
    /// Change a location
    Set {
        /// The integration
        integration: IntegrationName,
        /// The location
        name: LocationName,
        /// The folder, as the partner's server writes it
        #[arg(long)]
        path: Option<String>,
        /// What it is for
        #[arg(long, value_name = "download|upload|both", value_parser = words::<LocationDirection>)]
        direction: Option<LocationDirection>,
    },
    /// Forget a location; nothing happens on the partner's server
    Remove {
        /// The integration
        integration: IntegrationName,
        /// The location
        name: LocationName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// List what secrets are kept, and how; never their values
    List,
    /// Make a new master key and seal every secret with it
    Rotate,
}

#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// File with integrations, locations and flows as YAML (`-` reads standard input)
    pub(crate) file: PathBuf,
    /// Entity of integrations that name none
    #[arg(long)]
    pub(crate) entity: Option<EntityName>,
    /// Only say what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(super) fn words<T: std::str::FromStr>(text: &str) -> Result<T, &'static str> {
    text.parse()
        .map_err(|_| "write one of the words in the angle brackets")
}

fn host_key(text: &str) -> Result<HostKeyProof, HostKeyError> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use layover_depot::Field;

    use super::*;

    #[test]
    fn every_field_has_an_option() {
        let with_option: Vec<_> = FieldArgs::default().each().map(|(name, ..)| name).to_vec();
        // Options of `add` and `set` themselves.
        let own = ["entity", "protocol", "host", "username"];
        for field in Field::EACH {
            let name = field.name();
            assert!(own.contains(&name) || with_option.contains(&name), "{name}");
        }
        assert!(
            with_option
                .iter()
                .all(|name| Field::of_name(name).is_some())
        );
    }
}
