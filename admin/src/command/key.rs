//! `layover account key`.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use layover_depot::{NewKey, parse_authorized_keys};

use super::view::KeyView;
use crate::cli::KeyCommand;
use crate::context::Context;
use crate::credentials::Credentials;
use crate::error::CliError;
use crate::output::{Cell, Table};

/// A larger file of public keys is refused: it is not one.
const MAX_KEY_FILE_BYTES: u64 = 1024 * 1024;

pub(super) async fn run(context: &mut Context, command: KeyCommand) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        KeyCommand::Add { name, file } => {
            let keys = keys_from_file(&file)?;
            let mut fingerprints = Vec::with_capacity(keys.len());
            for key in &keys {
                registry.add_key(&context.actor, &name, key).await?;
                fingerprints.push(key.fingerprint.clone());
            }
            let sentence = format!(
                "account `{name}` has the key {}",
                fingerprints.join(" and ")
            );
            context
                .out
                .done(&serde_json::json!({ "added": fingerprints }), &sentence)?;
        }
        KeyCommand::List { name } => {
            let account = registry.account(&name).await?;
            let views: Vec<_> = account.keys.iter().map(KeyView::new).collect();
            let mut table = Table::new([
                "FINGERPRINT",
                "ALGORITHM",
                "COMMENT",
                "FROM",
                "EXPIRES",
                "USE",
            ]);
            for view in &views {
                table.row([
                    Cell::from(view.fingerprint.as_str()),
                    Cell::from(view.algorithm.as_str()),
                    Cell::from(view.comment.as_str()),
                    Cell::from(view.from.join(",")),
                    Cell::or_dash(view.expires_at),
                    Cell::from(view.used_for()),
                ]);
            }
            let nothing = format!("no keys; add one: layover account key add {name} FILE");
            context.out.list(&views, &table, &nothing)?;
        }
        KeyCommand::Remove { name, fingerprint } => {
            registry
                .remove_key(&context.actor, &name, &fingerprint)
                .await?;
            context.out.done(
                &serde_json::json!({ "removed": fingerprint }),
                &format!("key {fingerprint} of account `{name}` removed"),
            )?;
            Credentials::warn_if_closed(&registry.account(&name).await?, &context.settings);
        }
    }
    depot.close().await;
    Ok(())
}

/// Reads public keys; `-` means standard input.
pub(super) fn keys_from_file(file: &Path) -> Result<Vec<NewKey>, CliError> {
    let text = text_of_file(file)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(CliError::PrivateKey {
            file: file.to_owned(),
        });
    }
    let keys = parse_authorized_keys(&text).map_err(|source| CliError::Key {
        file: file.to_owned(),
        source,
    })?;
    if keys.is_empty() {
        return Err(CliError::NoKey {
            file: file.to_owned(),
        });
    }
    Ok(keys)
}

/// The text of a file of public keys, certificates or a signature; `-` means standard input.
pub(super) fn text_of_file(file: &Path) -> Result<String, CliError> {
    let unreadable = |source| CliError::KeyFileUnreadable {
        file: file.to_owned(),
        source,
    };
    let mut text = String::new();
    let most = MAX_KEY_FILE_BYTES + 1;
    if file == Path::new("-") {
        io::stdin()
            .lock()
            .take(most)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    } else {
        let opened = File::open(file).map_err(unreadable)?;
        opened
            .take(most)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    }
    if u64::try_from(text.len()).is_ok_and(|length| length > MAX_KEY_FILE_BYTES) {
        return Err(CliError::KeyFileTooLarge {
            file: file.to_owned(),
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_not_taken_for_a_public_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id_ed25519");
        std::fs::write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        assert!(matches!(
            keys_from_file(&file),
            Err(CliError::PrivateKey { .. })
        ));
    }

    #[test]
    fn a_file_beyond_the_limit_and_an_empty_one_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("keys");
        let most = usize::try_from(MAX_KEY_FILE_BYTES).unwrap();
        std::fs::write(&file, "#".repeat(most)).unwrap();
        assert!(matches!(keys_from_file(&file), Err(CliError::NoKey { .. })));
        std::fs::write(&file, "#".repeat(most + 1)).unwrap();
        assert!(matches!(
            keys_from_file(&file),
            Err(CliError::KeyFileTooLarge { .. })
        ));
    }
}
