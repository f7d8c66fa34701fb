//! `layover certificate`: the server's own TLS certificate, by an authority.

use std::io::Write as _;
use std::path::Path;

use layover_config::{Host, Settings};
use layover_depot::{Depot, JournalKind, Outcome};
use layover_retention::Timestamp;
use layover_server::{
    CertificateRequest, CertifiedKey, Installed, generated_tls_certificate_path,
    install_certificate, read_certificates, request_certificate,
};
use serde::Serialize;
use serde_json::{Map, Value};

use super::status::valid_for;
use crate::cli::server::{CsrArgs, ServerCertificateCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::new_file::NewFile;
use crate::output::note;

pub(super) async fn run(
    context: &mut Context,
    command: ServerCertificateCommand,
) -> Result<(), CliError> {
    match command {
        ServerCertificateCommand::Csr(arguments) => csr(context, &arguments),
        ServerCertificateCommand::Install { file, force } => {
            if !force {
                refuse_expired(&file, context.clock.now())?;
            }
            let depot = context.depot().await?;
            let done = install(context, &depot, &file).await;
            depot.close().await;
            done
        }
    }
}

fn csr(context: &mut Context, arguments: &CsrArgs) -> Result<(), CliError> {
    let settings = &context.settings;
    let generated = generated_tls_certificate_path(&settings.data_dir);
    let is_named = settings.ftps.certificate.is_some();
    let key = match arguments.new_key {
        true => {
            context.own_data()?;
            CertifiedKey::Next
        }
        false if !is_named && !generated.exists() => {
            let what = "TLS certificate";
            return Err(CliError::NotMadeYet { what });
        }
        false => CertifiedKey::InUse,
    };
    let mut names: Vec<_> = match arguments.name.is_empty() {
        true => names(settings).into_iter().map(|(_, name)| name).collect(),
        false => arguments.name.iter().map(Host::to_string).collect(),
    };
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    let CertificateRequest { pem, key: place } = request_certificate(settings, key, &names)?;
    let mut file = NewFile::begin(&arguments.out)?;
    file.write_all(pem.as_bytes())
        .map_err(|source| CliError::ExportFile {
            file: arguments.out.clone(),
            source,
        })?;
    file.finish()?;
    let out = arguments.out.display().to_string();
    let document = serde_json::json!({
        "file": out,
        "key": place.to_string(),
        "names": names,
    });
    let sentence = format!(
        "signing request for {} written to {out}; its key stays at {place}",
        names.join(", ")
    );
    context.out.done(&document, &sentence)?;
    note(match is_named {
        true => {
            "next: put what the authority gives back, with its chain and the key, into the files of \
                 [ftps] certificate and private_key: new connections get it within a minute"
        }
        false => {
            "next: layover certificate install FILE, with what the authority gives back and its chain"
        }
    });
    Ok(())
}

/// What partners are told to connect to, and where it is set.
pub(super) fn names(settings: &Settings) -> Vec<(&'static str, String)> {
    let mut names = vec![(
        "[server] public_name",
        settings.server.public_name.to_string(),
    )];
    for rule in settings.ftps.public_address.rules() {
        if let Host::Name(name) = &rule.address
            && !names.iter().any(|(_, known)| known == name)
        {
            names.push(("[ftps] public_address", name.clone()));
        }
    }
    names
}

#[derive(Debug, Serialize)]
struct InstalledView {
    fingerprint: String,
    not_before: Timestamp,
    not_after: Timestamp,
    /// Whether it is for the key that waited for it.
    new_key: bool,
    /// Where the one before lies now; `null`: there was none.
    before: Option<String>,
}

/// What is no certificate at all is told by the installation.
fn refuse_expired(file: &Path, now: Timestamp) -> Result<(), CliError> {
    let chain = read_certificates(file).unwrap_or_default();
    match chain.first().map(|own| own.validity().not_after) {
        Some(at) if at <= now => Err(CliError::CertificateExpired {
            file: file.to_owned(),
            at,
        }),
        _ => Ok(()),
    }
}

async fn install(context: &mut Context, depot: &Depot, file: &Path) -> Result<(), CliError> {
    let installed = install_certificate(&context.settings, file)?;
    let (state, now) = (installed.state(), context.clock.now());
    let view = view(&installed);
    let mut detail = Map::new();
    detail.insert("actor".to_owned(), context.actor.as_str().into());
    detail.insert("fingerprint".to_owned(), state.fingerprint.clone().into());
    detail.insert("new_key".to_owned(), Value::from(view.new_key));
    let (kind, action) = (JournalKind::Admin, "certificate.install");
    let journal = depot.journal();
    journal.note(now, kind, action, Outcome::Ok, detail).await?;
    let sentence = format!(
        "certificate {}, {}, is the server's own; a running server shows it within a minute",
        state.fingerprint,
        valid_for(&state, now)
    );
    context.out.done(&view, &sentence)?;
    if let Some(warning) = state.warning(now) {
        note(&format!("warning: {warning}"));
    }
    for (setting, name) in names(&context.settings) {
        if !installed.identity.bears(&name) {
            note(&format!(
                "warning: it does not bear the name `{name}` ({setting}): clients that check names \
                 refuse it"
            ));
        }
    }
    Ok(())
}

fn view(installed: &Installed) -> InstalledView {
    let state = installed.state();
    let before = installed.before.as_ref();
    InstalledView {
        fingerprint: state.fingerprint,
        not_before: state.not_before,
        not_after: state.not_after,
        new_key: installed.key == CertifiedKey::Next,
        before: before.map(|path| path.display().to_string()),
    }
}
