//! Settings of SFTP, as the engine takes them.

use layover_depot::{PartnerHostKey, SecretPurpose, SecretSlot, SftpAuth, SshAlgorithms};
use zeroize::Zeroizing;

use super::prepare::Preparation;
use crate::sftp::{
    Algorithms, Credential, Fingerprint, HostTrust, KeyPair, KeyPairs, KnownKeys, SftpOptions,
    Timeouts, TrustError,
};
use layover_depot::Secret;

/// Everything that a connection needs; faults are noted.
pub(super) async fn options(preparation: &mut Preparation<'_>) -> Option<SftpOptions> {
    let trust = match trust(&preparation.integration.host_keys) {
        Ok(trust) => Some(trust),
        Err(error) => {
            preparation.unusable("host_keys", error);
            None
        }
    };
    let credential = credential(preparation).await;
    let spec = &preparation.integration.spec;
    let waits = preparation.surroundings.waits;
    Some(SftpOptions {
        host: spec.host.to_string(),
        port: spec.port(),
        username: spec.username.to_string(),
        credential: credential?,
        trust: trust?,
        algorithms: match spec.settings.sftp.algorithms {
            SshAlgorithms::Modern => Algorithms::Modern,
            SshAlgorithms::Compatible => Algorithms::Compatible,
        },
        source_address: preparation.surroundings.sources,
        timeouts: Timeouts {
            connect: waits.connect,
            login: waits.connect,
            request: waits.stall,
            stall: waits.stall,
        },
    })
}

/// Confirmed keys alone count. Where each is known itself, and not only by its
/// fingerprint, the server is asked for that kind of key first.
fn trust(keys: &[PartnerHostKey]) -> Result<HostTrust, TrustError> {
    let confirmed: Vec<_> = keys
        .iter()
        .filter(|key| key.confirmed_at.is_some())
        .collect();
    if confirmed.is_empty() {
        return Ok(HostTrust::LearnOnFirstUse);
    }
    let lines: Option<Vec<_>> = confirmed
        .iter()
        // They are this server's, whatever it is called.
        .map(|key| key.public_key.as_ref().map(|key| format!("* {key}")))
        .collect();
    let known = match lines {
        Some(lines) => KnownKeys::known_hosts(&lines.join("\n"))?,
        None => {
            let prints = confirmed
                .iter()
                .map(|key| Fingerprint::parse(&key.fingerprint))
                .collect::<Result<Vec<_>, _>>()?;
            KnownKeys::fingerprints(prints)?
        }
    };
    Ok(HostTrust::Known(known))
}

/// A key may have a password beside it: some servers want both.
async fn credential(preparation: &mut Preparation<'_>) -> Option<Credential> {
    let purpose = SecretPurpose::Password;
    let auth = preparation.integration.spec.settings.sftp.auth;
    let has_password = preparation.has(purpose);
    if auth == SftpAuth::Password && !has_password {
        preparation.missing("password", "give it by reference");
        return None;
    }
    let password = match has_password {
        true => {
            let password = preparation.secret(purpose, SecretSlot::Current).await?;
            match std::str::from_utf8(password.expose()) {
                Ok(text) => Some(Zeroizing::new(text.to_owned())),
                Err(_) => {
                    preparation.unusable("password", "SSH takes passwords in UTF-8 alone");
                    return None;
                }
            }
        }
        false => None,
    };
    if auth == SftpAuth::Password {
        return password.map(Credential::Password);
    }
    let keys = keys(preparation).await?;
    Some(match password {
        None => Credential::Key(keys),
        Some(password) => Credential::Both { keys, password },
    })
}

async fn keys(preparation: &mut Preparation<'_>) -> Option<KeyPairs> {
    let purpose = SecretPurpose::SshKey;
    if !preparation.has(purpose) {
        preparation.missing("SSH key", "make one");
        return None;
    }
    let current = preparation.secret(purpose, SecretSlot::Current).await?;
    let previous = preparation.secret(purpose, SecretSlot::Previous).await;
    let current = key_pair(preparation, &current)?;
    let previous = match previous {
        Some(previous) => Some(key_pair(preparation, &previous)?),
        None => None,
    };
    Some(KeyPairs { current, previous })
}

fn key_pair(preparation: &mut Preparation<'_>, secret: &Secret) -> Option<KeyPair> {
    let text = std::str::from_utf8(secret.expose()).unwrap_or_default();
    match KeyPair::from_openssh(text) {
        Ok(pair) => Some(pair),
        Err(error) => {
            preparation.unusable("ssh_key", error);
            None
        }
    }
}
