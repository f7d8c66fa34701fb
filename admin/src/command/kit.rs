//! `layover account kit`: a directory with what a partner needs to connect, and no secret.

mod clients;
mod facts;
mod readme;

use serde::Serialize;

use self::facts::Kit;
use crate::cli::kit::KitArgs;
use crate::client_line::Entry;
use crate::context::Context;
use crate::error::CliError;
use crate::new_folder::{self, NewText};

#[derive(Debug, Serialize)]
struct KitView {
    account: String,
    directory: String,
    files: Vec<String>,
    host: String,
    /// These are `null` where the account cannot come that way.
    sftp_port: Option<u16>,
    ftps_port: Option<u16>,
    ftps_implicit_port: Option<u16>,
    host_keys: Vec<HostKeyView>,
    tls_certificate: Option<String>,
    /// The one that comes next.
    next_tls_certificate: Option<String>,
}

#[derive(Debug, Serialize)]
struct HostKeyView {
    algorithm: String,
    fingerprint: String,
    /// Whether clients are shown it now, or are going to be.
    shown: bool,
}

pub(super) async fn run(context: &mut Context, arguments: KitArgs) -> Result<(), CliError> {
    let depot = context.depot().await?;
    let gathered = Kit::gather(context, depot.registry(), &arguments).await;
    depot.close().await;
    let kit = gathered?;
    let mut files = vec![readme::file(&kit)];
    files.extend(clients::files(&kit));
    new_folder::write(&arguments.out, &files)?;
    let view = view(&kit, &arguments, &files);
    let sentence = format!(
        "connection kit of account `{}` written to {}: {}",
        view.account,
        view.directory,
        view.files.join(", ")
    );
    context.out.done(&view, &sentence)?;
    Ok(())
}

fn view(kit: &Kit, arguments: &KitArgs, files: &[NewText]) -> KitView {
    let port = |entry| kit.door(entry).map(|one| one.door.port);
    let print = |fingerprint: &String| format!("SHA256:{fingerprint}");
    let next = kit.tls.as_ref().and_then(|tls| tls.next.as_ref());
    KitView {
        account: kit.account.name.to_string(),
        directory: arguments.out.display().to_string(),
        files: files.iter().map(|file| file.name.clone()).collect(),
        host: kit.host.clone(),
        sftp_port: port(Entry::Sftp),
        ftps_port: port(Entry::Explicit),
        ftps_implicit_port: port(Entry::Implicit),
        host_keys: kit
            .host_keys
            .iter()
            .map(|key| HostKeyView {
                algorithm: key.algorithm.clone(),
                fingerprint: key.sha256.clone(),
                shown: key.is_shown,
            })
            .collect(),
        tls_certificate: kit.tls.as_ref().map(|tls| print(&tls.fingerprint)),
        next_tls_certificate: next.map(|(fingerprint, _)| print(fingerprint)),
    }
}
