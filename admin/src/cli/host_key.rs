//! `layover host-key` as types.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use layover_server::HostKeyKind;

#[derive(Debug, Subcommand)]
pub(crate) enum HostKeyCommand {
    /// List the keys: which are shown to clients, announced in connection kits, retired
    List,
    /// Make or take over a key, and announce it: connection kits have it from then on
    Add(HostKeyAddArgs),
    /// Show a key to clients: beside keys of other algorithms, instead of one of the same
    Serve {
        /// As `host-key list` shows it (SHA256:...)
        fingerprint: String,
    },
    /// Neither show a key any more nor put it into connection kits; its file stays
    Retire {
        /// As `host-key list` shows it (SHA256:...)
        fingerprint: String,
        /// Also while accounts came by no other key: they will not find their way
        #[arg(long)]
        force: bool,
    },
    /// By which key each account came, and who would not find his way without one of them
    Readiness {
        /// The key that is to be retired [default: the oldest one]
        #[arg(long, value_name = "FINGERPRINT")]
        retiring: Option<String>,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("source").required(true))]
pub(crate) struct HostKeyAddArgs {
    /// Make one of this algorithm
    #[arg(long, value_enum, group = "source")]
    pub(crate) algorithm: Option<HostKeyAlgorithm>,
    /// Take over an OpenSSH private key without passphrase, e.g. from another server
    #[arg(long, value_name = "FILE", group = "source")]
    pub(crate) file: Option<PathBuf>,
    /// Show it to clients at once, whether they were told of it or not
    #[arg(long)]
    pub(crate) serve: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum HostKeyAlgorithm {
    /// ssh-ed25519
    Ed25519,
    /// ecdsa-sha2-nistp256
    Ecdsa,
}

impl From<HostKeyAlgorithm> for HostKeyKind {
    fn from(algorithm: HostKeyAlgorithm) -> Self {
        match algorithm {
            HostKeyAlgorithm::Ed25519 => Self::Ed25519,
            HostKeyAlgorithm::Ecdsa => Self::Ecdsa,
        }
    }
}
