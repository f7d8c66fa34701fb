//! `layover certificate` and `layover completions` as types.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use layover_config::Host;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CompletionShell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCertificateCommand {
    /// Write a signing request (PKCS #10) for an authority of your own
    Csr(CsrArgs),
    /// Take over what the authority gave back, in the place of the server's own certificate
    Install {
        /// The certificate and its chain (PEM)
        file: PathBuf,
        /// Also one that has expired: clients that check certificates will refuse it
        #[arg(long)]
        force: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CsrArgs {
    /// The file, which must not exist yet
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Host name or address that the certificate is to bear; repeatable [default: [server]
    /// public_name, and names of [ftps] public_address]
    #[arg(long, value_name = "HOST")]
    pub(crate) name: Vec<Host>,
    /// For a new key, which waits in the data directory until its certificate is installed;
    /// otherwise for the key in use
    #[arg(long)]
    pub(crate) new_key: bool,
}
