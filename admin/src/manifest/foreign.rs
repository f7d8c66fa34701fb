//! Xferity's partner files: one partner a document, with `id` at its top.

use layover_depot::SecretPurpose;

use super::read::{Builder, Fields, Needed};
use super::{Given, Mistake, ReadIntegration};

/// Fields that are one of ours under another name; an empty one is none.
const TLS: &[(&str, &str)] = &[
    ("mode", "ftps.security"),
    ("ca_cert", "ftps.ca_certificate"),
    ("client_cert", "ftps.client_certificate"),
    ("server_cert_fingerprint", "ftps.certificate_pin"),
    ("insecure_skip_verify", "ftps.skip_verify"),
];

const TLS_SECRETS: &[(&str, SecretPurpose)] = &[
    ("client_private_key", SecretPurpose::ClientKey),
    ("client_key_passphrase", SecretPurpose::ClientKeyPassphrase),
];

pub(super) fn integration(
    mut top: Fields<'_>,
    line: usize,
    given: Given<'_>,
    mistakes: &mut Vec<Mistake>,
) -> Option<ReadIntegration> {
    let expected = "a technical name: 1 to 64 of a-z 0-9 . _ -, beginning with a letter or digit";
    let name = top.needed("id", expected, line, mistakes);
    let display_name = top.text("display_name", mistakes);
    let entity = top.text("entity", mistakes);
    let protocol = top.text("protocol", mistakes);
    let ftps = top.below("ftps", mistakes);
    top.end(mistakes);
    if let Some((word, line)) = protocol
        && word != "ftps"
    {
        let text = "`protocol` of a partner file must be ftps; other protocols: `integrations:`";
        mistakes.push(Mistake::new(line, text));
        return None;
    }
    let Some(mut ftps) = ftps else {
        mistakes.push(Mistake::new(
            line,
            "`ftps` is needed: connection, auth and tls",
        ));
        return None;
    };
    let mut connection = ftps.below("connection", mistakes);
    let mut auth = ftps.below("auth", mistakes);
    let mut tls = ftps.below("tls", mistakes);
    ftps.end(mistakes);
    let needed = Needed {
        path: String::new(),
        entity,
        protocol,
        host_name: "ftps.connection.host",
        host: connection
            .as_mut()
            .and_then(|part| part.text("host", mistakes)),
        username_name: "ftps.auth.username",
        username: auth
            .as_mut()
            .and_then(|part| part.text("username", mistakes)),
    };
    let mut builder = Builder::begin(name, needed, line, given, mistakes)?;
    if let Some(found) = display_name {
        builder.set("display_name", "display_name", found, mistakes);
    }
    if let Some(mut part) = connection {
        if let Some(found) = part.text("port", mistakes) {
            builder.set("port", "ftps.connection.port", found, mistakes);
        }
        if !part.switch("passive", true, mistakes) {
            builder.set(
                "transfer.mode",
                "ftps.connection.passive",
                ("active", line),
                mistakes,
            );
        }
        part.end(mistakes);
    }
    if let Some(mut part) = auth {
        if let Some(found) = part
            .text("password", mistakes)
            .filter(|found| !found.0.is_empty())
        {
            builder.secret(
                SecretPurpose::Password,
                "ftps.auth.password",
                found,
                mistakes,
            );
        }
        part.end(mistakes);
    }
    if let Some(part) = &mut tls {
        for (theirs, ours) in TLS {
            if let Some(found) = part
                .text(theirs, mistakes)
                .filter(|found| !found.0.is_empty())
            {
                builder.set(ours, &format!("ftps.tls.{theirs}"), found, mistakes);
            }
        }
        for (theirs, purpose) in TLS_SECRETS {
            if let Some(found) = part
                .text(theirs, mistakes)
                .filter(|found| !found.0.is_empty())
            {
                builder.secret(*purpose, &format!("ftps.tls.{theirs}"), found, mistakes);
            }
        }
    }
    if let Some(part) = tls {
        part.end(mistakes);
    }
    builder.end(None, None, mistakes)
}
