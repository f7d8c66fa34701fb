//! `layover integration pgp`: PGP keys, ours and the partner's.

use std::path::Path;

use layover_client::pgp::{KeyPlan, OwnKey, OwnKeyError, OwnKeys};
use layover_depot::{
    Existing, Field, IntegrationName, IntegrationSpec, Registry, Secret, SecretPurpose, SecretSlot,
};
use layover_retention::Timestamp;
use serde_json::json;

use super::super::key::text_of_file;
use super::{public_key, told};
use crate::cli::integration::PgpCommand;
use crate::context::Context;
use crate::error::CliError;

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    command: PgpCommand,
) -> Result<(), CliError> {
    let purpose = SecretPurpose::PgpKey;
    match command {
        PgpCommand::Show { name } => {
            let integration = registry.integration(&name).await?;
            let public = public_key(&integration, purpose).ok_or_else(|| CliError::NoKeyPair {
                name: name.clone(),
                what: "PGP key pair",
            })?;
            context
                .out
                .done(&json!({ "public_key": public }), public.trim_end())?;
        }
        PgpCommand::Rotate {
            name,
            replace_unconfirmed,
            until,
        } => {
            registry.integration(&name).await?;
            let now = context.clock.now();
            let ends = until.map(|until| dated(until.end_to_come(now)));
            let made = OwnKey::generate(&KeyPlan {
                user_id: &format!("Layover {name}"),
                created_at: dated(now)?,
                expires_at: ends.transpose()?,
            })?;
            let public = made.public_armored()?;
            let private = Secret::new(OwnKeys::new(made).to_bytes()?.as_slice());
            let unconfirmed = match replace_unconfirmed {
                true => Existing::Change,
                false => Existing::Refuse,
            };
            let integration = registry
                .install_key(
                    &context.actor,
                    &name,
                    purpose,
                    private,
                    &public,
                    unconfirmed,
                )
                .await?;
            let overlaps = integration.secret(purpose, SecretSlot::Previous).is_some();
            let document = json!({ "public_key": public, "overlaps": overlaps });
            context.out.done(&document, public.trim_end())?;
            if overlaps && !context.out.is_json() {
                crate::output::note(&format!(
                    "The key before it still decrypts. When the partner uses the new one: layover \
                     integration pgp confirm {name}"
                ));
            }
        }
        PgpCommand::SetRecipient { name, file } => {
            let what = "files for the partner are encrypted with";
            set_key(
                context,
                registry,
                &name,
                &file,
                "outbound.recipient_key",
                what,
            )
            .await?;
        }
        PgpCommand::SetPartner { name, file } => {
            let what = "signatures of the partner are checked with";
            set_key(context, registry, &name, &file, "inbound.partner_key", what).await?;
        }
        PgpCommand::Confirm { name } => {
            registry.confirm_key(&context.actor, &name, purpose).await?;
            context.out.done(
                &json!({ "confirmed": name.to_string() }),
                &format!("integration `{name}` uses its new PGP key alone"),
            )?;
        }
    }
    Ok(())
}

/// As keys are dated.
fn dated(at: Timestamp) -> Result<jiff::Timestamp, OwnKeyError> {
    jiff::Timestamp::from_microsecond(at.as_micros()).map_err(|_| OwnKeyError::Dates)
}

/// Puts a public key of the partner's into its field.
async fn set_key(
    context: &mut Context,
    registry: &Registry,
    name: &IntegrationName,
    file: &Path,
    field: &'static str,
    what: &str,
) -> Result<(), CliError> {
    let text = match file == Path::new("none") {
        true => None,
        false => Some(text_of_file(file)?),
    };
    let change = |spec: &mut IntegrationSpec| {
        let set = Field::of_name(field).map(|field| field.set(spec, text.as_deref()));
        set.and_then(Result::err).into_iter().collect()
    };
    let changes = registry
        .change_integration(&context.actor, name, change, &[])
        .await?;
    let sentence = match told(&changes) {
        Some(told) => format!("integration `{name}`: {what} the key given: {told}"),
        None => format!("integration `{name}` had that key already"),
    };
    context
        .out
        .done(&json!({ "changes": changes }), &sentence)?;
    Ok(())
}
