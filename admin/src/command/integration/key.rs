//! `layover integration key`: the SSH key pair that we log in with.

use layover_client::sftp::{KeyKind, KeyPair};
use layover_depot::{Existing, Registry, Secret, SecretPurpose, SecretSlot, SftpAuth};
use serde_json::json;

use super::public_key;
use crate::cli::integration::KeyPairCommand;
use crate::context::Context;
use crate::error::CliError;

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    command: KeyPairCommand,
) -> Result<(), CliError> {
    let purpose = SecretPurpose::SshKey;
    match command {
        KeyPairCommand::Show { name } => {
            let integration = registry.integration(&name).await?;
            let missing = || CliError::NoKeyPair {
                name: name.clone(),
                what: "SSH key pair",
            };
            let current = integration
                .secret(purpose, SecretSlot::Current)
                .ok_or_else(missing)?;
            let previous = integration.secret(purpose, SecretSlot::Previous);
            let public = current.public.as_deref().ok_or_else(missing)?;
            let document = json!({
                "public_key": public,
                "created_at": current.created_at,
                "confirmed": current.confirmed_at.is_some(),
                "previous_public_key": previous.and_then(|key| key.public.as_deref()),
            });
            context.out.done(&document, public)?;
        }
        KeyPairCommand::Rotate {
            name,
            rsa,
            replace_unconfirmed,
        } => {
            let before = registry.integration(&name).await?;
            let kind = if rsa {
                KeyKind::Rsa4096
            } else {
                KeyKind::Ed25519
            };
            let pair = KeyPair::generate(kind, &format!("layover {name}"))?;
            let (private, public) = (pair.to_openssh()?, pair.authorized_keys_line()?);
            let unconfirmed = match replace_unconfirmed {
                true => Existing::Change,
                false => Existing::Refuse,
            };
            let integration = registry
                .install_key(
                    &context.actor,
                    &name,
                    purpose,
                    Secret::new(private.as_bytes()),
                    &public,
                    unconfirmed,
                )
                .await?;
            let overlaps = integration.secret(purpose, SecretSlot::Previous).is_some();
            let document = json!({ "public_key": public, "overlaps": overlaps });
            context.out.done(&document, &public)?;
            if !context.out.is_json() {
                let by_key = before.spec.settings.sftp.auth == SftpAuth::Key;
                let next = match (overlaps, by_key) {
                    (true, _) => format!(
                        "The key before it is tried, too. When the partner has installed the new \
                         one: layover integration key confirm {name}"
                    ),
                    (false, true) => "The partner installs it in authorized_keys.".to_owned(),
                    (false, false) => format!(
                        "The partner installs it in authorized_keys; then: layover integration set \
                         {name} --auth key"
                    ),
                };
                crate::output::note(&next);
            }
        }
        KeyPairCommand::Confirm { name } => {
            registry.confirm_key(&context.actor, &name, purpose).await?;
            let integration = registry.integration(&name).await?;
            let public = public_key(&integration, purpose);
            context.out.done(
                &json!({ "confirmed": public }),
                // What the server itself has accepted needs no confirmation.
                &format!(
                    "integration `{name}` uses its new SSH key alone, on your word: the server \
                     has not accepted it in a login of ours yet; try it: layover integration test \
                     {name}"
                ),
            )?;
        }
    }
    Ok(())
}
