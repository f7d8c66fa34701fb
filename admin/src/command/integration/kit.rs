//! `layover integration kit`: what the partner must do, in words to be sent.

use layover_depot::{
    FtpsSecurity, Integration, IntegrationName, IntegrationProtocol, LocationDirection, Registry,
    SecretPurpose, SftpAuth, TransferMode,
};
use serde::Serialize;

use super::public_key;
use crate::context::Context;
use crate::error::CliError;

#[derive(Serialize)]
struct Kit {
    integration: String,
    host: String,
    port: u16,
    username: String,
    /// Where we connect from; nothing: it is not fixed.
    source_addresses: Vec<String>,
    /// What the partner's firewall must let through, in words.
    firewall: Vec<String>,
    ssh_public_key: Option<String>,
    pgp_public_key: Option<String>,
    /// What the partner must do, step by step.
    steps: Vec<String>,
}

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    name: &IntegrationName,
) -> Result<(), CliError> {
    let integration = registry.integration(name).await?;
    let sources = context.settings.outbound.source_addresses.iter();
    let kit = kit(&integration, sources.map(ToString::to_string).collect());
    context.out.done(&kit, text(&kit).trim_end())?;
    if kit.source_addresses.is_empty() {
        crate::output::note(
            "note: [outbound] source_addresses is empty: the partner cannot be told where we \
             connect from",
        );
    }
    Ok(())
}

fn kit(integration: &Integration, source_addresses: Vec<String>) -> Kit {
    let spec = &integration.spec;
    let (port, settings) = (spec.port(), &spec.settings);
    let sources = match source_addresses.is_empty() {
        true => "our addresses (to be agreed)".to_owned(),
        false => source_addresses.join(", "),
    };
    let mut firewall = vec![format!("from {sources} to {} TCP port {port}", spec.host)];
    if spec.protocol != IntegrationProtocol::Sftp {
        firewall.push(match settings.ftp.transfer {
            TransferMode::Passive => format!(
                "from {sources} to {} the TCP ports of passive data connections, as your server is \
                 set up",
                spec.host
            ),
            TransferMode::Active => {
                let ports = settings.ftp.active_ports.as_ref();
                let ports = ports.map_or("any port above 1023", |ports| ports.as_str());
                let address = settings.ftp.active_address;
                let address = address.map_or(sources.clone(), |address| address.to_string());
                format!(
                    "from {} (port 20) to {address} TCP ports {ports}",
                    spec.host
                )
            }
        });
    }
    let ssh = public_key(integration, SecretPurpose::SshKey)
        .filter(|_| settings.sftp.auth == SftpAuth::Key)
        .map(ToOwned::to_owned);
    let inbound = settings.inbound.pgp || settings.outbound.sign;
    let pgp = public_key(integration, SecretPurpose::PgpKey)
        .filter(|_| inbound)
        .map(ToOwned::to_owned);
    let mut steps = vec![
        format!("Let us connect: add {sources} to your allowlist and firewall (below)."),
        format!(
            "Give the account `{}` the right to what is listed below.",
            spec.username
        ),
    ];
    if ssh.is_some() {
        steps.push(format!(
            "Install our SSH public key in authorized_keys of `{}`.",
            spec.username
        ));
    }
    match spec.protocol {
        IntegrationProtocol::Sftp => steps.push(format!(
            "Tell us the fingerprints of your server's host keys: ssh-keyscan -p {port} {} | \
             ssh-keygen -lf -",
            spec.host
        )),
        IntegrationProtocol::Ftps => {
            let how = match settings.tls.security {
                FtpsSecurity::Explicit => "explicit TLS (AUTH TLS)",
                FtpsSecurity::Implicit => "implicit TLS",
            };
            steps.push(format!(
                "Offer {how} with TLS {} or newer, on the data connections, too.",
                settings.tls.min_tls
            ));
        }
        IntegrationProtocol::Ftp => steps.push(
            "Consider FTPS or SFTP: plain FTP shows user name, password and files to whoever is on \
             the way."
                .to_owned(),
        ),
    }
    if settings.inbound.pgp {
        steps.push("Encrypt every file that we fetch with our PGP public key.".to_owned());
    }
    if settings.inbound.signature_required {
        steps.push("Sign those files with the PGP key that you gave us.".to_owned());
    }
    if settings.outbound.pgp {
        steps.push("Decrypt our files with the private key of the PGP key you gave us.".to_owned());
    }
    if settings.outbound.partial_lock {
        steps.push(format!(
            "Leave files that end in `{}` alone: we are still uploading them, and rename them when \
             they are complete.",
            settings.outbound.partial_suffix
        ));
    }
    for location in &integration.locations {
        steps.push(match location.direction {
            LocationDirection::Download => format!(
                "Folder {}: we list it, read files and, where agreed, delete them.",
                location.path
            ),
            LocationDirection::Upload => {
                format!(
                    "Folder {}: we list it, write, rename and delete files.",
                    location.path
                )
            }
            LocationDirection::Both => {
                format!(
                    "Folder {}: we list it, read, write, rename and delete files.",
                    location.path
                )
            }
        });
    }
    Kit {
        integration: spec.name.to_string(),
        host: spec.host.to_string(),
        port,
        username: spec.username.to_string(),
        source_addresses,
        firewall,
        ssh_public_key: ssh,
        pgp_public_key: pgp,
        steps,
    }
}

fn text(kit: &Kit) -> String {
    let mut text = format!(
        "What we need for our connection to {}:{} as `{}`\n\n",
        kit.host, kit.port, kit.username
    );
    for (number, step) in kit.steps.iter().enumerate() {
        text.push_str(&format!("{}. {step}\n", number + 1));
    }
    text.push_str("\nFirewall:\n");
    for rule in &kit.firewall {
        text.push_str(&format!("- {rule}\n"));
    }
    if let Some(key) = &kit.ssh_public_key {
        text.push_str(&format!("\nOur SSH public key:\n{key}\n"));
    }
    if let Some(key) = &kit.pgp_public_key {
        text.push_str(&format!("\nOur PGP public key:\n{key}\n"));
    }
    text
}
