//! `layover account certificate`.

use std::path::Path;

use layover_depot::{CertificateUse, NewCertificate};
use layover_retention::Timestamp;

use super::key::text_of_file;
use super::view::CertificateView;
use crate::cli::CertificateCommand;
use crate::context::Context;
use crate::credentials::Credentials;
use crate::error::CliError;
use crate::output::{Cell, Table};

pub(super) async fn run(
    context: &mut Context,
    command: CertificateCommand,
) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let registry = depot.registry();
    match command {
        CertificateCommand::Add {
            name,
            file,
            authority: _,
            names,
        } => {
            let used_for = names.map_or(CertificateUse::Login, |names| CertificateUse::Authority {
                names,
            });
            let certificate = certificate_from_file(&file, used_for, context.clock.now())?;
            registry
                .add_certificate(&context.actor, &name, &certificate)
                .await?;
            let fingerprint = &certificate.fingerprint;
            let sentence = match &certificate.used_for {
                CertificateUse::Login => {
                    format!("account `{name}` has the certificate {fingerprint}")
                }
                CertificateUse::Authority { names } => format!(
                    "account `{name}` is opened by certificates of {fingerprint} that bear one of: {names}"
                ),
            };
            let document = serde_json::json!({ "added": [fingerprint] });
            context.out.done(&document, &sentence)?;
        }
        CertificateCommand::List { name } => {
            let account = registry.account(&name).await?;
            let views: Vec<_> = account
                .certificates
                .iter()
                .map(CertificateView::new)
                .collect();
            let mut table = Table::new(["FINGERPRINT", "SUBJECT", "VALID FROM", "EXPIRES", "USE"]);
            for view in &views {
                table.row([
                    Cell::from(view.fingerprint.as_str()),
                    Cell::from(view.subject.as_str()),
                    Cell::from(view.not_before.to_string()),
                    Cell::from(view.not_after.to_string()),
                    Cell::from(view.used_for()),
                ]);
            }
            let nothing =
                format!("no certificates; add one: layover account certificate add {name} FILE");
            context.out.list(&views, &table, &nothing)?;
        }
        CertificateCommand::Remove { name, fingerprint } => {
            let fingerprint = registry
                .remove_certificate(&context.actor, &name, &fingerprint)
                .await?;
            context.out.done(
                &serde_json::json!({ "removed": fingerprint }),
                &format!("certificate {fingerprint} of account `{name}` removed"),
            )?;
            Credentials::warn_if_closed(&registry.account(&name).await?, &context.settings);
        }
    }
    depot.close().await;
    Ok(())
}

/// Reads a certificate; `-` means standard input.
pub(super) fn certificate_from_file(
    file: &Path,
    used_for: CertificateUse,
    now: Timestamp,
) -> Result<NewCertificate, CliError> {
    let text = text_of_file(file)?;
    if text.contains("PRIVATE KEY-----") {
        return Err(CliError::PrivateKeyBeside {
            file: file.to_owned(),
        });
    }
    NewCertificate::from_pem(text.as_bytes(), used_for, now).map_err(|source| {
        CliError::Certificate {
            file: file.to_owned(),
            source,
        }
    })
}
