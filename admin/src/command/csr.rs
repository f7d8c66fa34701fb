//! `layover certificate csr`: what an authority needs to sign a certificate for the key in
//! use.

use std::io::Write as _;

use layover_config::{Host, Settings};
use layover_server::{certificate_request, ftps_certificate, generated_tls_certificate_path};

use crate::cli::server::{CsrArgs, ServerCertificateCommand};
use crate::context::Context;
use crate::error::CliError;
use crate::new_file::NewFile;
use crate::output::note;

pub(super) fn run(
    context: &mut Context,
    command: ServerCertificateCommand,
) -> Result<(), CliError> {
    match command {
        ServerCertificateCommand::Csr(arguments) => csr(context, arguments),
    }
}

fn csr(context: &mut Context, arguments: CsrArgs) -> Result<(), CliError> {
    let settings = &context.settings;
    let generated = generated_tls_certificate_path(&settings.data_dir);
    if settings.ftps.certificate.is_none() && !generated.exists() {
        let what = "TLS certificate";
        return Err(CliError::NotMadeYet { what });
    }
    let names = match arguments.name.is_empty() {
        true => names(settings),
        false => arguments.name,
    };
    let (_, key) = ftps_certificate(settings);
    let request = certificate_request(&key, &names)?;
    let mut file = NewFile::begin(&arguments.out)?;
    file.write_all(request.as_bytes())?;
    file.finish()?;
    let out = arguments.out.display().to_string();
    let document = serde_json::json!({
        "file": out,
        "key": key.to_string(),
        "names": names,
    });
    let sentence = format!(
        "signing request for {} written to {out}; the key stays at {key}",
        names.join(", ")
    );
    context.out.done(&document, &sentence)?;
    if settings.ftps.certificate.is_none() {
        note(&format!(
            "next: put the certificate that the authority gives back, with its chain, into a file, \
             and set [ftps] certificate to it and private_key = \"{}\"",
            generated.display()
        ));
    }
    Ok(())
}

/// What partners are told to connect to.
fn names(settings: &Settings) -> Vec<String> {
    let mut names = vec![settings.server.public_name.to_string()];
    for rule in settings.ftps.public_address.rules() {
        if let Host::Name(name) = &rule.address
            && !names.contains(name)
        {
            names.push(name.clone());
        }
    }
    names
}
