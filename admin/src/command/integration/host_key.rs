//! `layover integration host-key`.

use layover_depot::{HostKeyTrust, Registry};

use super::view::HostKeyView;
use crate::cli::integration::HostKeyCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table};

pub(super) async fn run(
    context: &mut Context,
    registry: &Registry,
    command: HostKeyCommand,
) -> Result<(), CliError> {
    match command {
        HostKeyCommand::List { name } => {
            let integration = registry.integration(&name).await?;
            let views: Vec<_> = integration.host_keys.iter().map(HostKeyView::new).collect();
            let mut table = Table::new(["FINGERPRINT", "KEY", "TRUST", "SEEN"]);
            for view in &views {
                let kind = view
                    .public_key
                    .as_deref()
                    .and_then(|key| key.split(' ').next());
                table.row([
                    Cell::from(view.fingerprint.as_str()),
                    Cell::or_dash(kind),
                    view.trust_cell(),
                    Cell::from(view.seen_at.to_string()),
                ]);
            }
            let nothing = format!(
                "no host keys; ask the partner for the fingerprint, then: layover integration \
                 host-key confirm {name} SHA256:..."
            );
            context.out.list(&views, &table, &nothing)?;
        }
        HostKeyCommand::Confirm { name, key } => {
            let trust = HostKeyTrust::Confirmed;
            let changes = registry
                .put_host_key(&context.actor, &name, &key, trust)
                .await?;
            let print = key.fingerprint();
            let sentence = match changes.is_empty() {
                false => format!("integration `{name}` trusts the host key {print}"),
                true => format!("integration `{name}` trusted the host key {print} already"),
            };
            let document =
                serde_json::json!({ "confirmed": print, "changed": !changes.is_empty() });
            context.out.done(&document, &sentence)?;
        }
        HostKeyCommand::Remove { name, fingerprint } => {
            registry
                .remove_host_key(&context.actor, &name, &fingerprint)
                .await?;
            context.out.done(
                &serde_json::json!({ "removed": fingerprint }),
                &format!("integration `{name}` trusts the host key {fingerprint} no more"),
            )?;
        }
    }
    Ok(())
}
