//! `layover account permission`.

use layover_depot::{AccountName, PathTexts, Rights};

use super::view::PermissionView;
use crate::cli::PermissionCommand;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{Cell, Table, note};

/// Says on stderr what a read-only account's permissions are worth.
pub(super) fn warn_of_read_only(name: &AccountName) {
    note(&format!(
        "warning: account `{name}` is read-only, which wins over permissions: list and read are \
         what is left of them\n\
         next: layover account set {name} --read-only no"
    ));
}

pub(super) async fn run(context: &mut Context, command: PermissionCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        PermissionCommand::Set { name, path, rights } => {
            registry
                .set_permission(&context.actor, &name, &path.0, rights)
                .await?;
            let view = PermissionView {
                path: PathTexts::from(&path.0),
                rights,
            };
            let sentence = format!(
                "account `{name}` has in {}: {}",
                view.path,
                rights.to_word()
            );
            context.out.done(&view, &sentence)?;
            let account = registry.account(&name).await?;
            if account.read_only && rights.intersect(Rights::READ_ONLY) != rights {
                warn_of_read_only(&name);
            }
        }
        PermissionCommand::List { name } => {
            let account = registry.account(&name).await?;
            let views: Vec<_> = account
                .permissions
                .iter()
                .map(PermissionView::new)
                .collect();
            let mut table = Table::new(["PATH", "RIGHTS"]);
            for view in &views {
                table.row([
                    Cell::from(view.path.to_string()),
                    Cell::from(view.rights.to_word()),
                ]);
            }
            let nothing = if account.read_only {
                "no folder permissions: list and read everywhere (the account is read-only)"
            } else {
                "no folder permissions: every right everywhere"
            };
            context.out.list(&views, &table, nothing)?;
        }
        PermissionCommand::Remove { name, path } => {
            registry
                .remove_permission(&context.actor, &name, &path.0)
                .await?;
            let path = PathTexts::from(&path.0);
            context.out.done(
                &serde_json::json!({ "removed": path.path, "path_hex": path.path_hex }),
                &format!("the permissions of account `{name}` in {path} are removed"),
            )?;
        }
    }
    depot.close().await;
    Ok(())
}
