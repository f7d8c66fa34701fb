//! The command line as types: what can be typed, and the help that explains it.
//!
//! Names here are a contract with scripts: add, never rename.

pub(crate) mod event;
pub(crate) mod expect;
pub(crate) mod flow;
pub(crate) mod host_key;
pub(crate) mod integration;
pub(crate) mod kit;
mod number;
pub(crate) mod retention;
pub(crate) mod server;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use layover_depot::{
    AccountName, AuthPolicy, CertificateNames, EntityName, HomeName, IntegrationName, JournalKind,
    MAX_STATISTICS_DAYS, Network, Protocols, Rights, SessionId,
};
use layover_retention::Keep;

use crate::cli::event::EventCommand;
use crate::cli::expect::ExpectCommand;
use crate::cli::flow::FlowCommand;
use crate::cli::host_key::HostKeyCommand;
use crate::cli::integration::{ApplyArgs, IntegrationCommand, LocationCommand, SecretsCommand};
use crate::cli::kit::KitArgs;
use crate::cli::retention::{OperatorCommand, RetentionCommand};
use crate::cli::server::{CompletionShell, ServerCertificateCommand};
use crate::value::{
    AccountOrPath, KeepOrDefault, KeepOrNone, Moment, NewUntil, RateOrNone, ReuseOrDefault,
    SessionsOrNone, SizeOrNone, VirtualPathArg,
};

/// Hosted FTPS/SFTP server with enforced retention.
#[derive(Debug, Parser)]
#[command(name = "layover", version, about, max_term_width = 100)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(after_help = "First minutes:  layover serve --demo\n\
    Exit codes:     0 done, 1 refused or failed (the reason is on stderr), 2 usage")]
pub(crate) struct Cli {
    /// Settings file [default: ./layover.toml, else /etc/layover/layover.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print JSON instead of a table
    #[arg(long, global = true)]
    pub(crate) json: bool,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server in the foreground
    Serve {
        /// Try it out: own data directory `demo-data`, account `demo` with a
        /// fresh password, reachable from this machine only
        #[arg(long)]
        demo: bool,
    },
    /// Say in one line each what is ready and what is not
    Check,
    /// Is a server running here, and what does it hold
    Status {
        /// Only say whether the server is healthy: exit 0 when it is, 1 when not
        #[arg(long)]
        health: bool,
    },
    /// Write a backup of a running or stopped server: database, keys, settings, and files if
    /// they are wanted
    Backup(BackupArgs),
    /// Restore a backup into an empty data directory and an empty database
    Restore(RestoreArgs),
    /// The organisations that accounts belong to
    #[command(subcommand)]
    Entity(EntityCommand),
    /// Who may log in, from where, and what they may do
    #[command(subcommand)]
    Account(AccountCommand),
    /// The SSH keys by which partners know this server, and their rotation
    #[command(subcommand)]
    HostKey(HostKeyCommand),
    /// The TLS certificate by which partners know this server
    #[command(subcommand)]
    Certificate(ServerCertificateCommand),
    /// Stored files
    #[command(subcommand)]
    File(FileCommand),
    /// People who approve holds
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// How long files stay
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Try step by step what is set up, and say what is wrong
    #[command(subcommand)]
    Doctor(DoctorCommand),
    /// Partners' own servers that we connect to
    #[command(subcommand)]
    Integration(IntegrationCommand),
    /// Folders on partners' servers
    #[command(subcommand)]
    Location(LocationCommand),
    /// What moves files between folders here and partners' servers, by itself
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Files that are to be there by a time of day, and what came of it
    #[command(subcommand)]
    Expect(ExpectCommand),
    /// What happened, as it is told to your own systems over HTTPS
    #[command(subcommand)]
    Event(EventCommand),
    /// How passwords and keys for partners' servers are kept
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Make integrations, locations, flows and expectations what a YAML file says, all of it
    /// or nothing
    Apply(ApplyArgs),
    /// Print integrations, locations, flows and expectations as YAML, as `apply` takes it
    Export,
    /// Who is logged in
    #[command(subcommand)]
    Session(SessionCommand),
    /// Who is shut out: for refused logins, or by you
    #[command(subcommand)]
    Ban(BanCommand),
    /// What happened: transfers, logins, administration, deletions
    Journal(JournalArgs),
    /// What was transferred in the last days: requests, success, volume
    #[command(subcommand)]
    Stats(StatsCommand),
    /// Print the script that completes this command line in a shell
    Completions {
        /// The shell
        shell: CompletionShell,
    },
    /// Write a manual page for each command
    Man {
        /// Directory for the pages: empty, or not there yet
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum StatsCommand {
    /// Of an account: what the partner uploaded and downloaded
    Account {
        /// The account; a removed one keeps its days as long as the journal does
        name: AccountName,
        #[command(flatten)]
        window: StatsWindow,
    },
    /// Of an integration: what we moved from and to the partner's own server
    Integration {
        /// The integration; a removed one keeps its days as long as the journal does
        name: IntegrationName,
        #[command(flatten)]
        window: StatsWindow,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatsWindow {
    /// So many days, today included, in the time zone of the entity
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        value_parser = number::between(1, MAX_STATISTICS_DAYS)
    )]
    pub(crate) days: u16,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secret").required(true).multiple(true))]
pub(crate) struct BackupArgs {
    /// The file, which must not exist yet, or `-` for standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// The partners' files, too
    #[arg(long)]
    pub(crate) files: bool,
    /// Encrypt to the passphrase in the first line of this file
    #[arg(
        long,
        value_name = "FILE",
        group = "secret",
        conflicts_with = "recipient"
    )]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Encrypt to this age recipient (age1...); repeatable
    #[arg(long, value_name = "AGE1", group = "secret")]
    pub(crate) recipient: Vec<String>,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("secret").required(true))]
pub(crate) struct RestoreArgs {
    /// The backup, or `-` for standard input
    pub(crate) file: PathBuf,
    /// The passphrase is in the first line of this file
    #[arg(long, value_name = "FILE", group = "secret")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// File with the age identity (AGE-SECRET-KEY-1...) of a recipient
    #[arg(long, value_name = "FILE", group = "secret")]
    pub(crate) identity: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum EntityCommand {
    /// Create an entity
    Add {
        /// The entity
        name: EntityName,
        /// How long files of its accounts stay, e.g. 5d, 36h [default: [retention] keep]
        #[arg(long)]
        keep: Option<Keep>,
    },
    /// List entities
    List,
    /// Show one entity
    Show {
        /// The entity
        name: EntityName,
    },
    /// Change an entity; the expiry of files that are stored already moves with it
    Set {
        /// The entity
        name: EntityName,
        /// How long files of its accounts stay, e.g. 5d, 36h; `default` is [retention] keep
        #[arg(long, value_name = "KEEP")]
        keep: Option<KeepOrDefault>,
        /// The zone of its days and of its flows' schedules, e.g. Europe/Brussels; `UTC`
        #[arg(long, value_name = "ZONE", allow_hyphen_values = true)]
        time_zone: Option<String>,
        /// Why, for the journal
        #[arg(long)]
        reason: Option<String>,
    },
    /// Remove an entity that has no accounts
    Remove {
        /// The entity
        name: EntityName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Create an account
    Add(Box<AccountAdd>),
    /// List accounts
    List {
        /// Only the accounts of this entity
        #[arg(long)]
        entity: Option<EntityName>,
    },
    /// Show one account
    Show {
        /// The account
        name: AccountName,
    },
    /// Change an account
    Set(Box<AccountSet>),
    /// Let nobody log in as the account and end its sessions
    Disable {
        /// The account
        name: AccountName,
    },
    /// Let the account log in again
    Enable {
        /// The account
        name: AccountName,
    },
    /// Remove an account; its files stay until they expire
    Remove {
        /// The account
        name: AccountName,
    },
    /// Set the account's password
    #[command(group = ArgGroup::new("source").required(true))]
    Password {
        /// The account
        name: AccountName,
        /// Make a password and print it once
        #[arg(long, group = "source")]
        generate: bool,
        /// Read the password from the first line of standard input
        #[arg(long, group = "source")]
        stdin: bool,
        /// Remove the password: the account can log in by key only
        #[arg(long, group = "source")]
        remove: bool,
    },
    /// SSH public keys of an account
    #[command(subcommand)]
    Key(KeyCommand),
    /// TLS client certificates that open an account over FTPS
    #[command(subcommand)]
    Certificate(CertificateCommand),
    /// Networks an account may log in from
    #[command(subcommand)]
    Allow(AllowCommand),
    /// What an account may do in which folder
    #[command(subcommand)]
    Permission(PermissionCommand),
    /// Write what the partner needs to connect: words, settings of clients, fingerprints
    Kit(KitArgs),
}

#[derive(Debug, Args)]
pub(crate) struct AccountAdd {
    /// The account
    pub(crate) name: AccountName,
    /// The entity it belongs to
    #[arg(long)]
    pub(crate) entity: EntityName,
    /// Create the entity, too, when there is none of that name
    #[arg(long)]
    pub(crate) new_entity: bool,
    /// Network it may log in from, e.g. 192.0.2.0/24, 2001:db8::7 or `any`; repeatable
    #[arg(long, value_name = "CIDR")]
    pub(crate) allow: Vec<Network>,
    /// File with SSH public keys, as in authorized_keys; repeatable
    #[arg(long, value_name = "FILE")]
    pub(crate) authorized_key: Vec<PathBuf>,
    /// File with a TLS client certificate in PEM form, which opens the account over FTPS;
    /// repeatable. An authority's: `account certificate add --authority`
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Vec<PathBuf>,
    /// Make a password and print it once
    #[arg(long, conflicts_with = "password_stdin")]
    pub(crate) generate_password: bool,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Share this home with other accounts of the entity, or take over the files of a
    /// removed account [default: a home of its own, named as the account]
    #[arg(long)]
    pub(crate) home: Option<HomeName>,
    #[command(flatten)]
    pub(crate) traits: AccountTraits,
    /// The account can fetch and list, but change nothing
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Publish FTPS uploads that end without TLS close_notify
    #[arg(long)]
    pub(crate) tolerant_completion: bool,
    /// Publish SFTP uploads only when renamed from a temporary suffix
    #[arg(long)]
    pub(crate) publish_on_rename: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AccountTraits {
    /// Protocols it may use [default when adding: ftps,sftp]
    #[arg(long, value_name = "ftps,sftp")]
    pub(crate) protocols: Option<Protocols>,
    /// What it must show to log in [default when adding: any]
    #[arg(long, value_name = "password|key|key+password|any")]
    pub(crate) auth: Option<AuthPolicy>,
    /// How long its files stay, e.g. 5d, 36h; `default` is the entity's keep, else the
    /// appliance's
    #[arg(long, value_name = "KEEP")]
    pub(crate) keep: Option<KeepOrDefault>,
    /// Delete its files so long after they were first downloaded completely, e.g. 12h, if
    /// that is sooner; `none` leaves them their whole keep
    #[arg(long, value_name = "KEEP")]
    pub(crate) collected_keep: Option<KeepOrNone>,
    /// Most bytes its home may hold, e.g. 10GiB, or `none`
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<SizeOrNone>,
    /// Most sessions it may have at a time, on all servers together, or `none`; who is
    /// there stays
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    pub(crate) max_sessions: Option<SessionsOrNone>,
    /// Most bytes a second that it may upload, all its sessions on one server together,
    /// e.g. 10MiB, or `none`; counts for uploads that run, too
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) upload_rate: Option<RateOrNone>,
    /// Most bytes a second that it may download, likewise
    #[arg(long, value_name = "SIZE", allow_hyphen_values = true)]
    pub(crate) download_rate: Option<RateOrNone>,
    /// Must its FTPS data connections resume the TLS session of their control
    /// connection; `default` is [ftps] session_reuse
    #[arg(long, value_name = "auto|require|off|default")]
    pub(crate) session_reuse: Option<ReuseOrDefault>,
}

#[derive(Debug, Args)]
pub(crate) struct AccountSet {
    /// The account
    pub(crate) name: AccountName,
    #[command(flatten)]
    pub(crate) traits: AccountTraits,
    /// The same as `--keep default`
    #[arg(long, conflicts_with = "keep")]
    pub(crate) default_keep: bool,
    /// The same as `--quota none`
    #[arg(long, conflicts_with = "quota")]
    pub(crate) no_quota: bool,
    /// Fetch and list only
    #[arg(long, value_name = "yes|no")]
    pub(crate) read_only: Option<YesNo>,
    /// Publish FTPS uploads that end without TLS close_notify
    #[arg(long, value_name = "yes|no")]
    pub(crate) tolerant_completion: Option<YesNo>,
    /// Publish SFTP uploads only when renamed from a temporary suffix
    #[arg(long, value_name = "yes|no")]
    pub(crate) publish_on_rename: Option<YesNo>,
    /// Why, for the journal
    #[arg(long)]
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum YesNo {
    Yes,
    No,
}

impl From<YesNo> for bool {
    fn from(value: YesNo) -> Self {
        value == YesNo::Yes
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Add the public keys of a file (`-` reads standard input)
    Add {
        /// The account
        name: AccountName,
        /// File with SSH public keys, or `-`
        file: PathBuf,
    },
    /// List public keys
    List {
        /// The account
        name: AccountName,
    },
    /// Remove a public key by its fingerprint (SHA256:...)
    Remove {
        /// The account
        name: AccountName,
        /// As `account key list` shows it
        fingerprint: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum CertificateCommand {
    /// Add the certificate of a PEM file (`-` reads standard input)
    Add {
        /// The account
        name: AccountName,
        /// File with one certificate in PEM form, or `-`
        file: PathBuf,
        /// The certificate is an authority's: certificates that it signed open the account
        #[arg(long, requires = "names")]
        authority: bool,
        /// Names of which such a certificate must bear one, as its subject's common name, a
        /// DNS name or an e-mail address
        #[arg(long, value_name = "NAME,NAME", requires = "authority")]
        names: Option<CertificateNames>,
    },
    /// List certificates
    List {
        /// The account
        name: AccountName,
    },
    /// Remove a certificate by its fingerprint (SHA-256)
    Remove {
        /// The account
        name: AccountName,
        /// As `account certificate list` or `openssl x509 -fingerprint -sha256` shows it
        fingerprint: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum AllowCommand {
    /// Let the account log in from a network, or change the reason or end of one
    Add {
        /// The account
        name: AccountName,
        /// e.g. 192.0.2.0/24, 2001:db8::7 or `any`
        #[arg(value_name = "CIDR")]
        network: Network,
        /// Why, e.g. a ticket number
        #[arg(long)]
        reason: Option<String>,
        /// Until when: 30d (from now), 2027-01-31 (the end of that day, UTC) or
        /// 2027-01-31T18:00:00Z; `never` takes an end away
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<NewUntil>,
    },
    /// List allowed networks
    List {
        /// The account
        name: AccountName,
    },
    /// Take a network away; sessions from it end
    Remove {
        /// The account
        name: AccountName,
        /// As `account allow list` shows it
        #[arg(value_name = "CIDR")]
        network: Network,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PermissionCommand {
    /// Give rights in a folder and all below it (the most specific folder decides)
    Set {
        /// The account
        name: AccountName,
        /// The folder, from the root of the home: /in
        path: VirtualPathArg,
        /// Any of list,read,write,overwrite,delete,rename,mkdir, or `none`
        #[arg(value_name = "RIGHTS")]
        rights: Rights,
    },
    /// List folder permissions
    List {
        /// The account
        name: AccountName,
    },
    /// Remove the permissions of a folder
    Remove {
        /// The account
        name: AccountName,
        /// The folder, from the root of the home: /in
        path: VirtualPathArg,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum FileCommand {
    /// List files with size, arrival, expiry and collection
    #[command(
        override_usage = "layover file list ACCOUNT [PATH]\n       layover file list --home HOME [PATH]"
    )]
    List {
        #[command(flatten)]
        of: FilesOf,
    },
    /// Remove a stored file before its time
    #[command(
        override_usage = "layover file remove ACCOUNT PATH [--partial]\n       layover file remove --home HOME PATH [--partial]"
    )]
    Remove {
        #[command(flatten)]
        of: FilesOf,
        /// Remove the unfinished uploads of this name instead
        #[arg(long)]
        partial: bool,
    },
}

/// Which files: those of an account's home, or of a home by its name.
#[derive(Debug, Args)]
pub(crate) struct FilesOf {
    /// The account whose home is meant; with `--home`, the path
    #[arg(value_name = "ACCOUNT", required_unless_present = "home")]
    pub(crate) first: Option<AccountOrPath>,
    /// Where in the home
    #[arg(conflicts_with = "home")]
    pub(crate) path: Option<VirtualPathArg>,
    /// A home by its name, also when its last account was removed
    #[arg(long)]
    pub(crate) home: Option<HomeName>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DoctorCommand {
    /// As `layover integration test`
    Integration(integration::TestArgs),
    /// Why a partner cannot connect to us: what was seen of the account's connections, and
    /// what to write to the partner
    Account {
        /// The account
        name: AccountName,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// List live sessions
    List,
    /// End a session
    Kill {
        /// As `session list` shows it
        id: SessionId,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanCommand {
    /// List who is banned
    List,
    /// Shut an address or network out; sessions that are logged in go on
    Add {
        /// e.g. 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64
        #[arg(value_name = "CIDR")]
        network: Network,
        /// Why, e.g. a ticket number
        #[arg(long)]
        reason: String,
        /// Until when: 30d (from now), 2027-01-31 (the end of that day, UTC) or
        /// 2027-01-31T18:00:00Z [default: until it is lifted]
        #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
        until: Option<Moment>,
    },
    /// Lift a ban, whoever made it, and forget the refused logins behind it
    Lift {
        /// As `ban list` shows it
        #[arg(value_name = "CIDR")]
        network: Network,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Check that no entry was changed, removed or slipped in
    Verify {
        /// A public key that you noted earlier, or a file with such keys; repeatable
        /// [default: the keys in the database]
        #[arg(long, value_name = "KEY|FILE")]
        public_key: Vec<String>,
    },
    /// Write the journal to a file, as lines of JSON with their hash chain
    Export {
        /// The file, which must not exist yet, or `-` for standard output
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    pub(crate) command: Option<JournalCommand>,
    /// Only this account
    #[arg(long)]
    pub(crate) account: Option<AccountName>,
    /// Only since then: 1h or 30d (ago), 2027-01-31 (the start of that day, UTC) or
    /// 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<Moment>,
    /// Only until then: 1h or 30d (ago), 2027-01-31 (the end of that day, UTC) or
    /// 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<Moment>,
    /// Only of the accounts and files of this home
    #[arg(long)]
    pub(crate) home: Option<HomeName>,
    /// Only of this integration: its transfers, and what was changed of it
    #[arg(long, value_name = "NAME")]
    pub(crate) integration: Option<IntegrationName>,
    /// Only about this file or folder and what is below it
    #[arg(long, value_name = "PREFIX")]
    pub(crate) path: Option<VirtualPathArg>,
    /// Only this kind: transfer, login, admin, retention, system
    #[arg(long)]
    pub(crate) kind: Option<JournalKind>,
    /// Only the newest N entries; 0 is all [default: 100, with --follow 10, with --since all]
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        allow_negative_numbers = true,
        value_parser = number::from(0_u64)
    )]
    pub(crate) limit: Option<u64>,
    /// Keep printing what happens, until Ctrl-C
    #[arg(long, short)]
    pub(crate) follow: bool,
}
