//! `layover certificate` and `layover completions` as types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCertificateCommand {
    /// Write a signing request (PKCS #10) for the key in use, for an authority of your own
    Csr(CsrArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CsrArgs {
    /// The file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Name or address that the certificate is to bear; repeatable [default: [server]
    /// public_name, and names of [ftps] public_address]
    #[arg(long, value_name = "DNS")]
    pub(crate) name: Vec<String>,
}
