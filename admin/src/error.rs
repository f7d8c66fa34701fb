//! What a command can fail with, and what the reader can do about it.

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use layover_client::doctor::Diagnosis;
use layover_client::exchange::PartialSuffixError;
use layover_client::pgp::OwnKeyError;
use layover_client::sftp::KeyPairError;
use layover_client::{PartnerError, RemoteNameError, RemotePathError};
use layover_config::ConfigErrors;
use layover_depot::{
    AccountName, BackupError, CertificateError, CourierError, DataDirError, EntityName,
    EvidenceError, FieldError, IntegrationName, KeyError, LocationName, LocationPathError,
    NameError, NetworkError, OpenError, OpenStoreError, PathError, RegistryError, StoreError,
    VfsError,
};
use layover_retention::{Flaw, Timestamp};
use layover_server::{
    BindError, HostKeyError, LogStartError, OptionsError, OutboundError, PublicAddressError,
    SandboxError, StartError, TlsCertificateError,
};

use crate::manifest::Mistake;
use crate::output::printable;
use crate::password::PasswordError;
use crate::value::VirtualPathArgError;

/// Why a command did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    #[error(transparent)]
    Settings(#[from] ConfigErrors),
    #[error("the settings cannot be used")]
    Options(#[from] OptionsError),
    #[error("[outbound] cannot be used")]
    Outbound(#[from] OutboundError),
    #[error("{option} `{text}`: expected {expected}")]
    FlowValue {
        option: &'static str,
        text: String,
        expected: &'static str,
    },
    #[error(
        "--schedule `{text}`: {}",
        .fault.as_ref().map_or_else(|| "not a schedule".to_owned(), ToString::to_string)
    )]
    FlowSchedule {
        text: String,
        fault: Option<layover_depot::CronFault>,
    },
    #[error("there is no {of} `{name}`{nearest}")]
    NoFigures {
        of: &'static str,
        name: String,
        nearest: String,
    },
    #[error("--url cannot be used")]
    HookUrl { source: layover_depot::HookUrlError },
    #[error("`{kind}` is never kept: it is what `layover event hook test` sends")]
    HookKind { kind: layover_depot::EventKind },
    #[error("`{}` holds no certificates (PEM)", file.display())]
    HookAuthorities { file: PathBuf },
    #[error("--url goes where no hook goes")]
    HookAddress {
        source: layover_client::webhook::WebhookError,
    },
    #[error("hook `{name}` does not have it")]
    HookTest {
        name: layover_depot::HookName,
        source: layover_client::webhook::WebhookError,
    },
    #[error(
        "an expectation needs a place: --account NAME and --folder /FOLDER, or --integration NAME \
         and --location NAME (or --path PATH)"
    )]
    ExpectationWithoutPlace,
    #[error("expectation `{name}` is not met: {reason}")]
    NotAsExpected {
        name: layover_depot::ExpectationName,
        reason: String,
    },
    #[error("a flow needs a folder on the partner's server: --location NAME, or --path PATH")]
    FlowWithoutTarget,
    #[error("flow `{flow}` has no run {run}; see: layover flow history {flow}")]
    UnknownRun {
        flow: layover_depot::FlowName,
        run: i64,
    },
    #[error("what flow `{flow}` would move cannot be said")]
    FlowPreview {
        flow: layover_depot::FlowName,
        source: layover_client::flow::NoPreview,
    },
    #[error("the data cannot be opened")]
    Open(#[from] OpenError),
    #[error("no Layover data at {place} ({key} of {origin})")]
    NoData {
        place: String,
        key: &'static str,
        origin: String,
    },
    #[error(
        "{} belongs to the user with number {owner}, and you are number {me}: what you write there \
         the server could not read",
        data_dir.display()
    )]
    OtherUser {
        data_dir: PathBuf,
        owner: u32,
        me: u32,
    },
    #[error("the server did not start")]
    Start(#[from] StartError),
    #[error("the server did not start")]
    Sandbox(#[from] SandboxError),
    #[error("the demo did not start")]
    DemoPort(#[source] BindError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("the database cannot be read")]
    Database(#[from] StoreError),
    #[error("the stored files cannot be read")]
    Shelf(#[from] VfsError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("the working directory cannot be determined")]
    WorkingDirectory { source: io::Error },
    #[error("addresses.json in {} cannot be read", data_dir.display())]
    AddressFile {
        data_dir: PathBuf,
        source: io::Error,
    },
    #[error(transparent)]
    Password(#[from] PasswordError),
    #[error("`{}` cannot be read", file.display())]
    KeyFileUnreadable { file: PathBuf, source: io::Error },
    #[error("`{}` cannot be read", file.display())]
    ManifestUnreadable { file: PathBuf, source: io::Error },
    #[error("`{}` is too large for a file of public keys or certificates", file.display())]
    KeyFileTooLarge { file: PathBuf },
    #[error("`{}` is a private key; it stays with its owner", file.display())]
    PrivateKey { file: PathBuf },
    #[error("`{}` cannot be used", file.display())]
    Key { file: PathBuf, source: KeyError },
    #[error("`{}` contains a private key; it stays with its owner", file.display())]
    PrivateKeyBeside { file: PathBuf },
    #[error("`{}` cannot be used", file.display())]
    Certificate {
        file: PathBuf,
        source: CertificateError,
    },
    #[error("`{}` contains more than one public key", file.display())]
    MoreThanOneKey { file: PathBuf },
    #[error("`{}` contains no public key", file.display())]
    NoKey { file: PathBuf },
    #[error("{until} is past: it would never count")]
    UntilIsPast { until: Timestamp },
    #[error("account `{account}` does not exist, and the journal has nothing of it")]
    NothingOfAccount { account: AccountName },
    #[error("a path was given, but not whose")]
    WhoseFiles,
    #[error("no path was given")]
    WhichFile,
    #[error(transparent)]
    Path(#[from] PathError),
    #[error(transparent)]
    PathArgument(#[from] VirtualPathArgError),
    #[error("nothing to change was given")]
    NothingToChange,
    #[error("no rule for the folder was given")]
    NoFolderRule,
    #[error("{failed} due files could not be deleted; the first: {first}")]
    SweepFailed { failed: u64, first: String },
    #[error(
        "{}; `layover retention clock show` tells of every node",
        match node {
            Some(node) => format!("the clock of node `{node}` is not in doubt"),
            None => "no clock is in doubt".to_owned(),
        }
    )]
    NoClockInDoubt { node: Option<String> },
    #[error(
        "this machine's clock is more than a minute away from the database's: nothing is \
         deleted by it; set the clock, then try again"
    )]
    ClockDiffers,
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error("`{}` cannot be read", file.display())]
    BackupFile { file: PathBuf, source: io::Error },
    #[error("`{}` is no backup, or is not encrypted to what was given", file.display())]
    BackupLocked {
        file: PathBuf,
        source: age::DecryptError,
    },
    #[error("`{text}` is no age recipient: {reason}")]
    Recipient { text: String, reason: &'static str },
    #[error("`{}` holds no age identity", file.display())]
    Identity { file: PathBuf, source: io::Error },
    #[error("`{}` holds no passphrase: its first line is empty", file.display())]
    NoPassphrase { file: PathBuf },
    #[error("no server has made a signing key yet")]
    NoSigningKey,
    #[error("`{}` cannot be written", file.display())]
    ExportFile { file: PathBuf, source: io::Error },
    #[error("`{}` cannot be read", file.display())]
    VerifyFile { file: PathBuf, source: io::Error },
    #[error("`{}` is no public key, and no file with public keys", file.display())]
    PublicKeyFile { file: PathBuf, source: io::Error },
    #[error("this is not what was signed: {flaw}")]
    Broken { flaw: Flaw },
    #[error("{} entries of the journal were not written by Layover: {}", ids.len(), listed(ids))]
    SlippedIn { ids: Vec<i64> },
    #[error("{}", listed_fields(.errors))]
    Fields { errors: Vec<FieldError> },
    #[error("`{option}` takes a reference: env:NAME, file:/path, vault:path#field or none")]
    NotAReference { option: &'static str },
    #[error("`{}` cannot be applied; nothing was changed\n{}", file.display(), lines(.mistakes))]
    Manifest {
        file: PathBuf,
        mistakes: Vec<Mistake>,
    },
    #[error(transparent)]
    LocationPath(#[from] LocationPathError),
    #[error("integration `{name}` has no {what} yet")]
    NoKeyPair {
        name: IntegrationName,
        what: &'static str,
    },
    #[error(transparent)]
    Partner(#[from] PartnerError),
    #[error("{}", diagnosis.fault)]
    Remote { diagnosis: Diagnosis },
    #[error("integration `{name}` does not work: {failed} failed")]
    Ill {
        name: IntegrationName,
        failed: String,
    },
    #[error("the key pair could not be made")]
    KeyPair(#[from] KeyPairError),
    #[error(transparent)]
    PgpKey(#[from] OwnKeyError),
    #[error("integration `{integration}` has no location `{location}`{}", known(.locations))]
    UnknownLocation {
        integration: IntegrationName,
        location: LocationName,
        locations: Vec<LocationName>,
    },
    #[error("location `{location}` of integration `{integration}` is for {is_for} only")]
    WrongDirection {
        integration: IntegrationName,
        location: LocationName,
        is_for: &'static str,
    },
    #[error("`{name}` cannot be the name of a file on the partner's server")]
    RemoteName {
        name: String,
        source: RemoteNameError,
    },
    #[error(transparent)]
    RemotePath(#[from] RemotePathError),
    #[error("the temporary suffix of the integration cannot be used")]
    PartialSuffix(#[from] PartialSuffixError),
    #[error("`{file}` was moved, and that could not be recorded")]
    NotRecorded {
        file: String,
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("`--as` names one file, and there are several")]
    OneNameForMany,
    #[error(
        "account `{account}` is of entity `{entity}`, and integration `{integration}` of `{other}`"
    )]
    OtherEntity {
        account: AccountName,
        entity: EntityName,
        integration: IntegrationName,
        other: EntityName,
    },
    #[error("`{given}` names no file")]
    NoFileName { given: String },
    #[error(transparent)]
    Courier(#[from] CourierError),
    #[error("{failed} of {of} files were not moved")]
    NotMoved { failed: usize, of: usize },
    #[error("interrupted: {stays}")]
    Interrupted { stays: String },
    #[error(transparent)]
    HostKey(#[from] HostKeyError),
    #[error(
        "{} came by no other host key than {sha256}",
        listed_accounts(accounts)
    )]
    HostKeyInUse {
        sha256: String,
        accounts: Vec<AccountName>,
    },
    #[error("[sftp] host_keys names several host keys, and not which of them is to go")]
    WhichHostKey,
    #[error(transparent)]
    TlsCertificate(#[from] TlsCertificateError),
    #[error(transparent)]
    PublicAddress(#[from] PublicAddressError),
    #[error("nothing that account `{account}` may use is served: {protocols}")]
    NothingServed {
        account: AccountName,
        protocols: layover_depot::Protocols,
    },
    #[error("the port of {what} is any free one, and no server runs here")]
    PortUnknown {
        what: &'static str,
        option: &'static str,
    },
    #[error("there is no {what} yet")]
    NotMadeYet { what: &'static str },
    #[error("partners could not check the {which} certificate: its chain ends in an authority")]
    AuthorityUnknown { which: &'static str },
    #[error("`{}` is not empty", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("the certificate in {} expired at {at}: nothing was installed", file.display())]
    CertificateExpired { file: PathBuf, at: Timestamp },
    #[error("not everything is ready")]
    NotReady,
    #[error("the server is not healthy: {reason}")]
    NotHealthy { reason: String },
    #[error("logging cannot be started")]
    Log(#[from] LogStartError),
    #[error("signals cannot be taken over")]
    Signals { source: io::Error },
    #[error("the runtime cannot be started")]
    Runtime { source: io::Error },
    #[error("the result cannot be printed")]
    Output {
        #[from]
        source: io::Error,
    },
}

impl CliError {
    /// Prints the reason with its causes, and the next step where there is one.
    pub(crate) fn explain(&self, to: &mut impl Write) {
        let mut text = format!("error: {}", with_causes(self));
        if let Some(step) = self.next_step() {
            text.push_str("\nnext: ");
            text.push_str(&step);
        }
        // When stderr is closed nobody is there to be told.
        let _ = writeln!(to, "{}", printable(&text));
    }

    /// A file is where it was to go, and the journal does not know.
    pub(crate) fn not_recorded(
        file: &str,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::NotRecorded {
            file: file.to_owned(),
            source: source.into(),
        }
    }

    /// Whether the command line itself was wrong.
    pub(crate) fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::NothingToChange
                | Self::Fields { .. }
                | Self::NotAReference { .. }
                | Self::OneNameForMany
                | Self::NoFileName { .. }
                | Self::NoFolderRule
                | Self::WhoseFiles
                | Self::WhichFile
        )
    }

    /// What the reader can do about it, where that is not plain.
    fn next_step(&self) -> Option<String> {
        let step = match self {
            Self::Start(StartError::Bind(error)) => {
                return Some(format!(
                    "stop the program that has the port, or take another: {}",
                    error.setting
                ));
            }
            Self::DemoPort(error) => {
                return Some(format!(
                    "stop the program that has the port (another demo?), or take another: {}; any \
                     free ports: LAYOVER__SFTP__PORT=0 LAYOVER__FTPS__EXPLICIT_PORT=0 \
                     LAYOVER__FTPS__IMPLICIT_PORT=0 LAYOVER__CONSOLE__LISTEN=127.0.0.1:0 \
                     layover serve --demo",
                    error.setting
                ));
            }
            Self::Start(StartError::Open(OpenError::DataDir(DataDirError::AlreadyServing {
                ..
            }))) => {
                "`layover status` shows the running server; another one needs a data_dir of its own \
                 (LAYOVER__DATA_DIR)"
            }
            Self::Start(StartError::PublicAddress(_)) => {
                "correct [ftps] public_address (LAYOVER__FTPS__PUBLIC_ADDRESS), or the name's \
                 records; `layover check` looks it up as the server does"
            }
            Self::NoData { .. } => {
                "change to the directory of your layover.toml, or name it with --config FILE; \
                 `layover serve` or `layover entity add NAME` sets up new data here"
            }
            Self::OtherUser { owner, .. } => {
                return Some(format!(
                    "run it as that user: sudo -u '#{owner}' layover ..."
                ));
            }
            Self::Open(error) | Self::Start(StartError::Open(error)) => step_of_open(error),
            Self::Database(_) | Self::Registry(RegistryError::Store(_)) => {
                "look into the database's own log and `layover check`, then repeat the command"
            }
            Self::Sandbox(_) => {
                "correct it, or set [server] sandbox (LAYOVER__SERVER__SANDBOX) to \"auto\", which \
                 takes what there is; `layover check` says how that stands"
            }
            Self::Shelf(_) | Self::Start(_) | Self::Log(_) => {
                "`layover check` says what is not as it must be"
            }
            Self::Options(_) => "`layover check` shows every setting that is not as it must be",
            Self::PrivateKey { .. } => "give the file that ends in .pub",
            Self::PrivateKeyBeside { file } => {
                return Some(format!(
                    "give a file with the certificate alone: openssl x509 -in {}",
                    file.display()
                ));
            }
            Self::MoreThanOneKey { .. } => "an operator has one key: give a file with it alone",
            Self::Registry(RegistryError::Signature(_)) => {
                "sign exactly what `layover retention hold statement` writes: \
                 ssh-keygen -Y sign -n layover-hold -f KEY FILE"
            }
            Self::NoKey { .. } => {
                "one key a line, as in ~/.ssh/authorized_keys or an id_*.pub file"
            }
            Self::ManifestUnreadable { .. } => {
                "name a YAML file of integrations, as `layover export` prints it, or `-` to read \
                 it from standard input"
            }
            Self::KeyFileUnreadable { .. } => {
                "name a file with what is to be added, or `-` to read it from standard input"
            }
            Self::NothingOfAccount { .. } => {
                "`layover account list` shows who there is; a refused login is filed under the \
                 name that was sent"
            }
            Self::WhoseFiles => "name the account before the path, or the home: --home HOME",
            Self::WhichFile => "name the file, as `layover file list` shows it",
            Self::NothingToChange => "`--help` lists what can be changed",
            Self::NotAReference { .. } => {
                "a value itself is read from standard input (`--password-stdin` and the like) or, in \
                 YAML, from the file: arguments are seen by every user of the machine"
            }
            Self::Registry(RegistryError::Hardened { .. }) => {
                "give what hardened mode takes, or set [outbound] hardened = false"
            }
            Self::NoKeyPair { name, what } => {
                let noun = if what.starts_with("SSH") {
                    "key"
                } else {
                    "pgp"
                };
                return Some(format!("layover integration {noun} rotate {name}"));
            }
            Self::Partner(error) => return Some(error.remedy()),
            Self::Remote { diagnosis } => {
                return Some(format!(
                    "{}\n(most likely: {})",
                    diagnosis.what_to_do, diagnosis.likely_cause
                ));
            }
            Self::Ill { .. } => "do what the lines above say, then test again",
            Self::Outbound(_) => "correct [outbound] in the settings, or the variable",
            Self::UnknownLocation { .. } => {
                "`layover location list INTEGRATION` shows them; `layover location add` makes one"
            }
            Self::WrongDirection { .. } => {
                "`layover location set INTEGRATION NAME --direction both`, if that is meant"
            }
            Self::OneNameForMany => "move them one by one",
            Self::OtherEntity { .. } => {
                "name an account of the integration's entity, or say --other-entity if this one is \
                 meant"
            }
            Self::Courier(CourierError::Disabled { .. }) => {
                "`layover account enable NAME`, or say --even-disabled"
            }
            Self::Courier(CourierError::UnknownAccount { .. }) => {
                "`layover account list` shows who there is"
            }
            Self::NotMoved { .. } => "each of them is named above, with what to do",
            Self::Interrupted { .. } => "the same command goes on with what is left",
            Self::NoFolderRule => "give --keep, --collected-keep, or both",
            Self::NotReady => "do what the lines above say, then check again",
            Self::NotAsExpected { .. } => {
                "what it asks for: layover expect show NAME; what came of its days: layover expect \
                 history NAME"
            }
            Self::CertificateExpired { .. } => {
                "ask the authority for one that is valid; --force installs it all the same"
            }
            Self::NotHealthy { .. } => "`layover check`, and the log of `layover serve`",
            Self::UntilIsPast { .. } => "give a date to come",
            Self::NoSigningKey | Self::NotMadeYet { .. } => "start `layover serve` once",
            Self::HostKey(HostKeyError::Last { .. }) => {
                "serve another first: one that is announced (layover host-key list), or add one of another algorithm, and announce it to partners before you serve it"
            }
            Self::HostKey(HostKeyError::Unknown { .. }) => "`layover host-key list` shows them",
            Self::HostKey(HostKeyError::ListUnusable { .. }) => {
                "restore it from a backup, or remove it: the keys that the settings need are used then"
            }
            Self::HostKey(HostKeyError::TooMany { .. }) => {
                "delete the files of retired keys (`layover host-key list` shows them), then try again"
            }
            Self::TlsCertificate(TlsCertificateError::NamedBySettings { chain, key }) => {
                return Some(format!(
                    "put the chain into `{}` and its key into `{key}`: a running server takes both \
                     over within a minute, or at SIGHUP",
                    chain.display()
                ));
            }
            Self::TlsCertificate(TlsCertificateError::ForNoKey { .. }) => {
                "give the authority a request for one of them: layover certificate csr --out FILE"
            }
            Self::HostKeyInUse { .. } => {
                "see `layover host-key readiness` and send them new kits (layover account kit NAME \
                 --out DIR); --force retires it although they will not find their way"
            }
            Self::WhichHostKey => "say it: --retiring FINGERPRINT",
            Self::HostKey(HostKeyError::NamedBySettings) => {
                "put the new key's file behind the old one in [sftp] host_keys: of one algorithm the \
                 first is shown, and kits have both"
            }
            Self::NothingServed { .. } => {
                "layover account set NAME --protocols ftps,sftp, or switch it on ([ftps] \
                 explicit_enabled, implicit_enabled; [sftp] enabled)"
            }
            Self::PortUnknown { option, .. } => {
                return Some(format!("start `layover serve`, or say it: {option} PORT"));
            }
            Self::AuthorityUnknown { .. } => "give the authority's certificate, too: --ca FILE",
            Self::NotEmpty { .. } => "name a directory that is empty, or not there yet",
            Self::PublicAddress(_) => {
                "correct [ftps] public_address (LAYOVER__FTPS__PUBLIC_ADDRESS), or the name's records"
            }
            Self::Backup(BackupError::NotEmpty(_)) => {
                "name another data_dir (and database) in layover.toml, or move the old one aside"
            }
            Self::BackupLocked { .. } => {
                "give the --passphrase-file or --identity that belongs to the backup"
            }
            Self::PublicKeyFile { .. } => {
                "give `ed25519:` and 64 hexadecimal digits, as `layover retention public-key` \
                 prints them, or a file with such lines"
            }
            Self::Broken { .. } | Self::SlippedIn { .. } => {
                "keep the file and the database as they are, and compare them with an earlier \
                 export or backup: everything before that place still holds"
            }
            _ => return None,
        };
        Some(step.to_owned())
    }
}

/// What to do about data that cannot be opened.
pub(crate) const fn step_of_open(error: &OpenError) -> &'static str {
    match error {
        OpenError::Store(OpenStoreError::Newer { .. }) => "install the newer Layover again",
        OpenError::Store(OpenStoreError::Older { .. }) => {
            "start `layover serve` of this version, or use the version of the running server"
        }
        OpenError::Store(OpenStoreError::Connect { .. }) | OpenError::Database(_) => {
            "see that the database runs and that user, password and name in [database] url \
             (LAYOVER__DATABASE__URL) are right; `layover check` tries it again"
        }
        OpenError::Store(_) => {
            "correct [database] url (LAYOVER__DATABASE__URL), then `layover check`"
        }
        OpenError::HalfRestored => "`layover restore FILE` into an empty directory",
        OpenError::HomesOverlap { .. } => "give [storage] homes a directory of its own",
        OpenError::Homes { .. } => {
            "mount or make the directory, or correct [storage] homes; then `layover check`"
        }
        OpenError::HomesElsewhere { .. } => {
            "mount the storage that the database's files are on, or correct [storage] homes"
        }
        OpenError::HomesUnknown(_) => {
            "see that the directory of [storage] homes can be read, then `layover check`"
        }
        OpenError::DataDir(_) => "correct data_dir or who owns it, then `layover check`",
    }
}

fn known(locations: &[LocationName]) -> String {
    if locations.is_empty() {
        return "; it has none".to_owned();
    }
    let names: Vec<_> = locations.iter().map(LocationName::as_str).collect();
    format!("; it has {}", names.join(", "))
}

/// Names of accounts that a sentence has.
const ACCOUNTS_NAMED: usize = 10;

fn listed_accounts(accounts: &[AccountName]) -> String {
    let named = accounts
        .iter()
        .take(ACCOUNTS_NAMED)
        .map(AccountName::as_str);
    let named = named.collect::<Vec<_>>().join(", ");
    match accounts.len().saturating_sub(ACCOUNTS_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn listed_fields(errors: &[FieldError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("; ")
}

fn lines(mistakes: &[Mistake]) -> String {
    let lines: Vec<_> = mistakes.iter().map(|one| format!("  {one}")).collect();
    lines.join("\n")
}

fn listed(ids: &[i64]) -> String {
    let ids: Vec<_> = ids.iter().map(|id| format!("entry {id}")).collect();
    ids.join(", ")
}

/// An error and its causes on one line, each text once: some drivers repeat
/// their cause in their own text.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = error.source();
    }
    text
}
