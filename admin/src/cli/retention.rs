//! Words of `layover retention` and `layover operator`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use layover_depot::{AccountName, HomeName, OperatorName};
use layover_retention::Keep;

use crate::cli::{FilesOf, number};
use crate::value::{KeepOrDefault, KeepOrNone, Moment};

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// What is stored, what is due, when the last sweep ran
    Status,
    /// What will go, by home and account
    Forecast {
        /// How far to look ahead, e.g. 24h, 3d
        #[arg(long, value_name = "SPAN", default_value = "24h")]
        within: Keep,
        /// As if every file stayed so long after its arrival, e.g. 3d
        #[arg(long, value_name = "KEEP")]
        if_keep: Option<Keep>,
        /// Each file, the first to go first and held ones last, instead of sums
        #[arg(long)]
        files: bool,
    },
    /// Which time retention goes by, when a machine's clock jumped
    #[command(subcommand)]
    Clock(ClockCommand),
    /// Rules for folders, over those of accounts
    #[command(subcommand)]
    Folder(FolderCommand),
    /// Keep files beyond their time, approved by two operators
    #[command(subcommand)]
    Hold(HoldCommand),
    /// Proof of what was deleted
    #[command(subcommand)]
    Certificates(CertificatesCommand),
    /// Check exported certificates, or an exported journal, with nothing but the public key
    Verify {
        /// What `certificates export` or `journal export` wrote (`-` reads standard input)
        file: PathBuf,
        /// The public key, or a file with one a line, as `retention public-key` printed it;
        /// repeatable
        #[arg(long, value_name = "KEY|FILE", required = true)]
        public_key: Vec<String>,
    },
    /// Print the public keys that certificates and journal are signed with
    PublicKey,
    /// Delete what is due now
    Sweep {
        /// Only say what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Let a person approve holds, by an SSH key (`-` reads standard input)
    Add {
        /// The person
        name: OperatorName,
        /// File with one SSH public key, or `-`
        file: PathBuf,
    },
    /// List operators
    List,
    /// Take the right away; holds that are active stay so
    Remove {
        /// As `operator list` shows it
        name: OperatorName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// What each server thinks of its machine's clock
    Show,
    /// Say that the clock is right although it jumped: deletion goes on by it at once
    Confirm {
        /// Why, for the journal
        #[arg(long)]
        reason: String,
        /// The node whose clock is meant, as `clock show` names it [default: every one that
        /// is in doubt]
        #[arg(long)]
        node: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum HoldCommand {
    /// Propose a hold on a home, a folder or a stored file, and write the statement that two
    /// operators must sign
    #[command(
        override_usage = "layover retention hold add ACCOUNT [PATH] --reason TEXT --until TIME [--out FILE]\n       layover retention hold add --home HOME [PATH] --reason TEXT --until TIME [--out FILE]"
    )]
    Add {
        #[command(flatten)]
        of: FilesOf,
        /// Why
        #[arg(long)]
        reason: String,
        /// Until when: 90d (from now), 2027-01-31 (the end of that day, UTC) or
        /// 2027-01-31T18:00:00Z; may be beyond [retention] max_keep
        #[arg(long, value_name = "TIME")]
        until: Moment,
        /// Write the statement to this file, which must not exist yet, instead of standard
        /// output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Write the statement to sign: ssh-keygen -Y sign -n layover-hold -f KEY FILE
    Statement {
        /// As `hold list` shows it
        #[arg(value_parser = number::from(1_i64))]
        id: i64,
        /// The statement that releases the hold
        #[arg(long, requires = "reason")]
        release: bool,
        /// Why it is released
        #[arg(long, requires = "release")]
        reason: Option<String>,
        /// Write it to this file, which must not exist yet, instead of standard output
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Approve a hold with an operator's signature; the second operator's makes it active
    Approve {
        /// As `hold list` shows it
        #[arg(value_parser = number::from(1_i64))]
        id: i64,
        /// What `ssh-keygen -Y sign` wrote (`-` reads standard input)
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
    },
    /// List holds, ended ones too
    List {
        /// Only those on the home of this account
        account: Option<AccountName>,
        /// Only those on this home
        #[arg(long, conflicts_with = "account")]
        home: Option<HomeName>,
    },
    /// End a hold before its time, or withdraw a proposal, with one operator's signature of
    /// `hold statement --release`
    Release {
        /// As `hold list` shows it
        #[arg(value_parser = number::from(1_i64))]
        id: i64,
        /// Why, exactly as in the statement
        #[arg(long)]
        reason: String,
        /// What `ssh-keygen -Y sign` wrote (`-` reads standard input)
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FolderCommand {
    /// Say how long files in a folder and all below it stay, whoever uploads them (the most
    /// specific folder decides); the expiry of files that are stored already moves with it
    #[command(
        override_usage = "layover retention folder set ACCOUNT PATH [OPTIONS] --reason TEXT\n       layover retention folder set --home HOME PATH [OPTIONS] --reason TEXT"
    )]
    Set {
        #[command(flatten)]
        of: FilesOf,
        /// How long files stay, e.g. 2d; `default` is what the folder above or the account says
        #[arg(long, value_name = "KEEP")]
        keep: Option<KeepOrDefault>,
        /// Delete files so long after they were first downloaded completely, e.g. 6h, if that
        /// is sooner; with `none` the folder above or the account decides
        #[arg(long, value_name = "KEEP")]
        collected_keep: Option<KeepOrNone>,
        /// Why, for the journal
        #[arg(long)]
        reason: String,
    },
    /// List the rules for the folders of a home
    List {
        #[command(flatten)]
        of: HomeOf,
    },
    /// Take the rule of a folder away
    #[command(
        override_usage = "layover retention folder remove ACCOUNT PATH --reason TEXT\n       layover retention folder remove --home HOME PATH --reason TEXT"
    )]
    Remove {
        #[command(flatten)]
        of: FilesOf,
        /// Why, for the journal
        #[arg(long)]
        reason: String,
    },
}

/// Which home: an account's, or one by its name.
#[derive(Debug, Args)]
pub(crate) struct HomeOf {
    /// The account whose home is meant
    #[arg(
        value_name = "ACCOUNT",
        required_unless_present = "home",
        conflicts_with = "home"
    )]
    pub(crate) account: Option<AccountName>,
    /// A home by its name, also when its last account was removed
    #[arg(long)]
    pub(crate) home: Option<HomeName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertificatesCommand {
    /// Write all deletion certificates to a file, as lines of JSON with their hash chain
    Export {
        /// The file, which must not exist yet, or `-` for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}
