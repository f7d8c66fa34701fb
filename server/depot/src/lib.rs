//! The depot: accounts, files and the database; everything that is kept.
//!
//! The way in is [`Depot::open`]. It has nine doors: [`Registry`] (what
//! operators change), [`Gate`] (who may come in), [`Session`] (what a partner
//! may do with files), [`Journal`] (what happened), [`Shelf`] (what the
//! retention sweep needs), [`Evidence`] (what auditors check), [`Courier`] (what the outbound
//! engine carries), [`Statistics`] (what was transferred, by days)
//! and [`Signs`] (why a partner cannot connect). SQL lives in `store/`, file-system calls on hosted
//! files in `vfs/`, and nowhere else. The depot never decides how long a file
//! stays (that is `layover-retention`) and never speaks a protocol.

mod accept;
mod account;
mod account_limits;
mod adopt;
mod agreed;
mod auth_policy;
mod authorized_key;
mod backup;
mod bandwidth;
mod certificate;
mod chain_memory;
mod client_certificate;
mod clocks;
mod content_hash;
mod courier;
mod data_dir;
mod depot;
mod doctor;
mod envelope;
mod event;
mod evidence;
mod expectation;
mod fault_log;
mod figures;
mod flow;
mod gate;
mod hold;
mod holdings;
mod integration;
mod journal;
mod ledger;
mod listings;
mod names;
mod network;
mod operator;
mod pace;
mod password;
mod path;
mod path_texts;
mod pattern;
mod proxied;
mod recover;
mod registry;
mod retries;
mod rights;
mod room_watch;
mod rules;
mod secret;
mod session;
mod session_reuse;
mod shelf;
mod shown;
mod statistics;
mod store;
pub mod timer;
mod vfs;
mod writes;

pub use accept::{AcceptTroubles, Acceptor};
pub use account::{
    Account, AccountChange, AccountUse, Actor, Enabled, Entity, FailingFile, FilesRemoved,
    ForecastAccount, ForecastFile, ForecastQuestion, JobRun, LiveSession, NetworkAdded, NewAccount,
    NewEntity, NodeClock, RemovedWhat, RetentionStatus, StoredFile,
};
pub use account_limits::{
    AccountLimits, ByteRate, ByteRateError, LimitsChange, MAX_BYTE_RATE, MAX_SESSION_LIMIT,
    MIN_BYTE_RATE, SessionLimit, SessionLimitError,
};
pub use adopt::AdoptReport;
pub use agreed::Agreed;
pub use auth_policy::{AuthPolicy, AuthPolicyError};
pub use authorized_key::{
    AuthorizedKey, KeyError, KeyFault, KeyUse, MAX_FROM_PATTERNS, MAX_KEYS_PER_ACCOUNT,
    MAX_PRINCIPALS, MAX_RSA_BITS, MIN_RSA_BITS, NewKey, parse_authorized_keys,
};
pub use backup::{BackupError, BackupManifest, BackupReport, BackupSink, Restore};
pub use certificate::{NotACertificate, UserCa, UserCaError, UserCertificate};
pub use client_certificate::{
    AuthorizedCertificate, CertificateError, CertificateNames, CertificateNamesError,
    CertificateUse, MAX_CERTIFICATE_BYTES, MAX_CERTIFICATE_NAMES, MAX_CERTIFICATES_PER_ACCOUNT,
    NewCertificate, PresentedCertificate,
};
pub use clocks::ClockEntry;
pub use content_hash::{Checksum, HashReport};
pub use courier::{
    Attempt, Carrying, Courier, CourierError, Errand, Failure, Hope, Incoming, Leaving, OfDisabled,
    Visit,
};
pub use data_dir::DataDirError;
pub use depot::{Depot, Fsync, OpenError, Options, Refresh, Role};
pub use doctor::{
    Announced, Change, Chart, Clue, Condition, Diagnosis, Examined, Finding, OthersPlace, OurSide,
    PortPart, PortTally, Repeated, SIGNS_KEEP, SeenSign, Side, Sign, SignDetail, Signs, Sureness,
    Whose, diagnose,
};
pub use envelope::{
    EnvelopeError, MAX_KEY_ID_BYTES, MAX_MASTER_KEY_FILE_BYTES, MAX_MASTER_KEYS,
    MAX_SEALED_VALUE_BYTES, MasterKeyError, MasterKeys, Place, master_key_of,
};
pub use event::{
    ClaimedDelivery, DELIVERY_LEASE, DeliveryFailure, DeliveryId, DeliveryOutcome, DeliveryState,
    DueHook, Event, EventDelivery, EventFilter, EventId, EventKind, Events, GIVE_UP_AFTER, Hook,
    HookAddresses, HookChange, HookId, HookPlain, HookTarget, HookUrl, HookUrlError,
    MAX_EVENT_PAGE, MAX_HOOK_AUTHORITIES_BYTES, MAX_HOOK_URL_BYTES, MAX_HOOKS, News, Reach,
    WantedHook,
};
pub use evidence::{Evidence, EvidenceError, Shard};
pub use expectation::{
    DayContent, DayFault, DayQuestion, DayState, ExpectationDay, ExpectationDefinition,
    ExpectationFault, ExpectationLooks, ExpectationRules, ExpectationStanding, ExpectedDays,
    ExpectedFile, ExpectedFileError, ExpectedPlace, LOOK_LEASE, LookLost, MAX_DATE_OFFSET_DAYS,
    MAX_EXPECTATIONS, MAX_EXPECTED_FILE_BYTES, OpenDay, SeenFile, Sighting, TimeOfDay, Verdict,
};
pub use fault_log::FaultLog;
pub use figures::{
    AccountTransfers, Counted, DURATION_BOUNDS_S, Ending, ExpectationFigures, FlowFigures,
    Histogram, LedgerFigures, MAX_COUNTED_ACCOUNTS, MAX_COUNTED_FLOWS, OTHER_ACCOUNTS,
    SIZE_BOUNDS_BYTES, TransferKind, Transfers,
};
pub use flow::{
    CENSUS_EVERY, CENSUSES_KEPT, ClaimedRun, FileKey, FlowFile, FlowFileId, FlowFileState, FlowRun,
    FlowRunId, FlowRuns, FlowStanding, LONGEST_RETRY_WAIT, MISSED_AFTER, MovedFile, NotMoved,
    RUN_LEASE, RunCause, RunLost, RunReport, RunSlots, RunState, Schedule, SeenSource, SourceFacts,
    UnmovedFile, WhyLost,
};
pub use gate::{
    AdmitRefused, Ban, BanRules, ConnectionSlot, FirstProof, Gate, GateOptions, LoginAttempt,
    LoginError, Occupancy, Proof, RefusedOffers,
};
pub use hold::{Hold, HoldApproval, HoldId, HoldScope, HoldState, MAX_HOLD_DAYS};
pub use holdings::{Direction, Moving};
pub use integration::{
    ActivePorts, AfterSuccess, Breach, CatchUp, Caution, CertificatePin, Certificates, Credential,
    CronFault, CronSchedule, DateFormat, Difference, DisplayName, Field, FieldError, FieldFault,
    FilePattern, FlowDefinition, FlowDirection, FlowFault, FlowFolder, FlowRules, FlowTarget,
    FtpSettings, FtpsSecurity, GivenSecret, HomeFolder, HostKeyError, HostKeyProof,
    IdempotencyMode, InboundPolicy, Integration, IntegrationProtocol, IntegrationSettings,
    IntegrationSpec, KeptSecret, Location, LocationDirection, LocationPath, LocationPathError,
    MAX_DATE_FORMAT_BYTES, MAX_DISPLAY_NAME_BYTES, MAX_FLOW_FILES, MAX_HOST_BYTES, MAX_HOST_KEYS,
    MAX_KEY_TEXT_BYTES, MAX_LOCATION_PATH_BYTES, MAX_LOCATIONS, MAX_PARALLEL_FILES,
    MAX_REFERENCE_BYTES, MAX_REMOTE_USER_BYTES, MAX_RETRIES, MAX_RETRY_AFTER_S, MAX_SECRET_BYTES,
    MAX_SUFFIX_BYTES, MinTlsVersion, NotAReference, NotAValue, OutboundPolicy, PartialSuffix,
    PartnerHostKey, PgpPublicKeys, RemoteHost, RemoteSystem, RemoteUser, SecretForm, SecretPurpose,
    SecretReference, SecretSlot, SftpAuth, SftpSettings, SshAlgorithms, TlsSettings, TransferMode,
    WantedIntegration, WantedLocation, ZoneName,
};
pub use journal::{
    Follower, Journal, JournalEntry, JournalFilter, JournalKind, JournalPlace, MAX_JOURNAL_PAGE,
    MAX_LAST_LOGINS, Outcome, UnknownWord,
};
pub use ledger::FileState;
pub use names::{
    AccountId, AccountName, EntityId, EntityName, ExpectationName, FileId, FlowName, HomeId,
    HomeName, HookName, IntegrationId, IntegrationName, LocationName, MAX_IDENTIFIER_BYTES,
    NameError, NodeId, OperatorName, SessionId,
};
pub use network::{AllowedNetwork, FromPattern, Network, NetworkError, NewNetwork, normalise_ip};
pub use operator::{
    MAX_SIGNATURE_BYTES, Operator, OperatorKeyError, SIGNATURE_NAMESPACE, SignatureError,
};
pub use password::{MAX_PASSWORD_BYTES, PasswordError};
pub use path::{MAX_DEPTH, MAX_NAME_BYTES, MAX_PATH_BYTES, PathError, VirtualPath};
pub use path_texts::PathTexts;
pub use pattern::Pattern;
pub use proxied::{Balancers, MAX_HEADER_BYTES, Proxied, ProxyHeaderFault, read_proxy_header};
pub use recover::{RecoveryReport, SILENT_AFTER};
pub use registry::{
    Applied, Approved, Doing, Existing, FolderRule, HostKeyTrust, Refusal, Registry, RegistryError,
    RotationReport, SecretNote,
};
pub use rights::{
    FolderPermission, Protocol, Protocols, ProtocolsError, Right, Rights, RightsError,
};
pub use room_watch::RoomTold;
pub use rules::FolderKeep;
pub use secret::Secret;
pub use session::{
    Completion, CopySource, DirectoryListing, Download, EndReason, FileInfo, Listing,
    MAX_COPY_BYTES, MAX_LISTING, Session, Space, Upload, UploadMode, UploadOutcome, UploadPermit,
    UploadReceipt,
};
pub use session_reuse::{SessionReuse, SessionReuseError};
pub use shelf::{DueFile, PartialSweep, Shelf};
pub use shown::ShownCertificate;
pub use statistics::{
    DayOfTransfers, MAX_STATISTICS_DAYS, MIN_KEPT_DAYS, Statistics, StatisticsOf, TransferCount,
    TransferDays, TransferFigures, TransfersOf,
};
pub use store::{OpenStoreError, StoreError};
pub use vfs::{
    ContentOrigin, CopyRange, DiskRoom, FileKind, MAX_FILE_BYTES, MAX_IO_BYTES, Replace, StorageId,
    VfsError,
};
pub use writes::NotWritable;
