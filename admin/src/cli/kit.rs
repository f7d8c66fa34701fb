//! `layover account kit` as types.

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::Args;
use layover_depot::AccountName;

#[derive(Debug, Args)]
pub(crate) struct KitArgs {
    /// The account
    pub(crate) name: AccountName,
    /// Directory for the files: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// SFTP's port as partners see it, where a firewall or a container maps it
    #[arg(long, value_name = "PORT")]
    pub(crate) sftp_port: Option<NonZeroU16>,
    /// The same of explicit FTPS
    #[arg(long, value_name = "PORT")]
    pub(crate) ftps_port: Option<NonZeroU16>,
    /// The same of implicit FTPS
    #[arg(long, value_name = "PORT")]
    pub(crate) implicit_port: Option<NonZeroU16>,
    /// Certificate (PEM) of the authority that issued the server's TLS certificate, where
    /// partners' systems do not know it
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Certificate (PEM) that the server is going to show next: partners trust both meanwhile
    #[arg(long, value_name = "FILE")]
    pub(crate) next_certificate: Option<PathBuf>,
}
