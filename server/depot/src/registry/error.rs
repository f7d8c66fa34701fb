//! Why the registry refuses, and what the operator can do about it.

use layover_retention::{KeepTooLong, Timestamp};

use super::MAX_REASON_BYTES;
use super::hooks::MIN_HOOK_SECRET_BYTES;
use crate::data_dir::DataDirError;
use crate::envelope::{EnvelopeError, MasterKeyError};
use crate::event::{MAX_HOOK_AUTHORITIES_BYTES, MAX_HOOKS};
use crate::expectation::{ExpectationFault, MAX_EXPECTATIONS};
use crate::hold::{HoldId, HoldState, MAX_HOLD_DAYS, MAX_OPEN_HOLDS};
use crate::integration::{
    Breach, FieldError, FlowDirection, FlowFault, IntegrationProtocol, LocationDirection,
    MAX_SECRET_BYTES, SecretPurpose,
};
use crate::operator::{OperatorKeyError, SignatureError};
use crate::password::PasswordError;
use crate::rules::MAX_FOLDER_KEEPS;
use crate::store::StoreError;
use crate::vfs::VfsError;
use crate::{
    AccountName, EntityName, ExpectationName, FlowName, HomeName, HookName, IntegrationName,
    LocationName, Network, OperatorName, SessionId, VirtualPath,
};

fn joined(reasons: &[impl std::fmt::Display]) -> String {
    let reasons: Vec<_> = reasons.iter().map(ToString::to_string).collect();
    reasons.join("; ")
}

fn names(expectations: &[ExpectationName]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = expectations
        .iter()
        .take(SHOWN)
        .map(|name| format!("expectation `{name}`"))
        .collect();
    match expectations.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn lines(errors: &[RegistryError]) -> String {
    let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
    errors.join("\n")
}

/// Why the registry refuses.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No entity of this name.
    #[error("there is no entity `{name}`; create it: layover entity add {name}")]
    UnknownEntity {
        /// The name.
        name: EntityName,
    },
    /// The name is taken.
    #[error("there is an entity `{name}` already")]
    EntityExists {
        /// The name.
        name: EntityName,
    },
    /// It still has accounts, or files that must expire.
    #[error(
        "entity `{name}` still has accounts, integrations or files; remove its accounts and integrations first, and its files go when their time is over"
    )]
    EntityInUse {
        /// The name.
        name: EntityName,
    },
    /// No account of this name.
    #[error("there is no account `{name}`; see: layover account list")]
    UnknownAccount {
        /// The name.
        name: AccountName,
    },
    /// The name is taken.
    #[error("there is an account `{name}` already")]
    AccountExists {
        /// The name.
        name: AccountName,
    },
    /// The home belongs to another entity.
    #[error("home `{home}` belongs to entity `{owner}`; only its accounts can share it")]
    HomeOfAnother {
        /// The home.
        home: HomeName,
        /// Whose it is.
        owner: EntityName,
    },
    /// The home that the account would get holds somebody's files.
    #[error(
        "home `{home}` holds files already (see: layover file list --home {home}); to hand them over: --home {home}; for an empty home: --home with a new name"
    )]
    HomeHoldsFiles {
        /// The home.
        home: HomeName,
    },
    /// No home of this name.
    #[error("there is no home `{home}`; `layover account list` shows the accounts' homes")]
    UnknownHome {
        /// The name.
        home: HomeName,
    },
    /// Neither the ledger nor the tree has it.
    #[error("there is no `{path}` in home `{home}`; see: layover file list --home {home}")]
    UnknownPath {
        /// The home.
        home: HomeName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// No stored file has the name.
    #[error(
        "there is no stored file `{path}` in home `{home}`; see: layover file list --home {home}"
    )]
    NotStored {
        /// The home.
        home: HomeName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// No stored file, but an unfinished upload has the name.
    #[error(
        "there is no stored file `{path}` in home `{home}`, but an unfinished upload; it goes with: --partial"
    )]
    OnlyUnfinished {
        /// The home.
        home: HomeName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// No unfinished upload has the name.
    #[error(
        "there is no unfinished upload `{path}` in home `{home}`; see: layover file list --home {home}"
    )]
    NotUnfinished {
        /// The home.
        home: HomeName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// Its content is coming in just now.
    #[error("`{path}` is being uploaded just now; end the session first: layover session list")]
    BeingUploaded {
        /// What was asked for.
        path: VirtualPath,
    },
    /// The file could not be taken away, or looked for.
    #[error(transparent)]
    Files(#[from] VfsError),
    /// A keep beyond the appliance's maximum.
    #[error(transparent)]
    KeepTooLong(#[from] KeepTooLong),
    /// An account that may use no protocol is disabled, not changed.
    #[error(
        "an account needs at least one protocol; to lock it out: layover account disable {name}"
    )]
    NoProtocol {
        /// The account.
        name: AccountName,
    },
    /// The password cannot be stored.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The account has this key.
    #[error("account `{name}` has the key {fingerprint} already")]
    KeyExists {
        /// The account.
        name: AccountName,
        /// The key.
        fingerprint: String,
    },
    /// The account has no such key.
    #[error("account `{name}` has no key {fingerprint}; see: layover account key list {name}")]
    UnknownKey {
        /// The account.
        name: AccountName,
        /// What was asked for.
        fingerprint: String,
    },
    /// The account has this certificate.
    #[error("account `{name}` has the certificate {fingerprint} already")]
    CertificateExists {
        /// The account.
        name: AccountName,
        /// The certificate.
        fingerprint: String,
    },
    /// The account has no such certificate.
    #[error(
        "account `{name}` has no certificate {fingerprint}; see: layover account certificate list {name}"
    )]
    UnknownCertificate {
        /// The account.
        name: AccountName,
        /// What was asked for.
        fingerprint: String,
    },
    /// The account has this network.
    #[error("account `{name}` is allowed from {network} already")]
    NetworkExists {
        /// The account.
        name: AccountName,
        /// The network.
        network: Network,
    },
    /// The account has no such network.
    #[error("account `{name}` has no network {network}; see: layover account allow list {name}")]
    UnknownNetwork {
        /// The account.
        name: AccountName,
        /// What was asked for.
        network: Network,
    },
    /// The account has no permission of its own there.
    #[error(
        "account `{name}` has no permission set at {path}; see: layover account permission list {name}"
    )]
    UnknownPermission {
        /// The account.
        name: AccountName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// A list of the account is full.
    #[error("account `{name}` has {limit} {what} already, which is the most")]
    TooMany {
        /// The account.
        name: AccountName,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A rule that changes what happens to files needs a reason.
    #[error("say why: the journal keeps the reason")]
    NoReason,
    /// The home has rules for as many folders as it may.
    #[error("home `{home}` has rules for {MAX_FOLDER_KEEPS} folders already, which is the most")]
    TooManyFolders {
        /// The home.
        home: HomeName,
    },
    /// The folder has no rule.
    #[error(
        "folder `{path}` of home `{home}` has no rule; see: layover retention folder list --home {home}"
    )]
    UnknownFolder {
        /// The home.
        home: HomeName,
        /// What was asked for.
        path: VirtualPath,
    },
    /// The key cannot be an operator's.
    #[error(transparent)]
    OperatorKey(#[from] OperatorKeyError),
    /// The name or the key is another operator's.
    #[error(
        "there is an operator `{name}` already, or one with the key {fingerprint}; see: layover operator list"
    )]
    OperatorExists {
        /// The name.
        name: OperatorName,
        /// The key.
        fingerprint: String,
    },
    /// No operator of this name.
    #[error("there is no operator `{name}`; see: layover operator list")]
    UnknownOperator {
        /// The name.
        name: OperatorName,
    },
    /// No hold of this number.
    #[error("there is no hold {id}; see: layover retention hold list")]
    UnknownHold {
        /// What was asked for.
        id: HoldId,
    },
    /// A hold that would end before it begins, or in far too long a time.
    #[error("a hold ends in the future, and within {MAX_HOLD_DAYS} days; {until} is not that")]
    HoldEnd {
        /// What was asked for.
        until: Timestamp,
    },
    /// The home has as many holds as it may.
    #[error("home `{home}` has {MAX_OPEN_HOLDS} holds that have not ended, which is the most")]
    TooManyHolds {
        /// The home.
        home: HomeName,
    },
    /// The signature approves nothing.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A hold needs two people.
    #[error("operator `{operator}` has signed hold {id} already; another operator must sign it")]
    SignedTwice {
        /// The hold.
        id: HoldId,
        /// Who signed.
        operator: OperatorName,
    },
    /// It waits for no signature.
    #[error("hold {id} is {} and waits for no such signature", state.as_str())]
    HoldOver {
        /// The hold.
        id: HoldId,
        /// How far it had come.
        state: HoldState,
    },
    /// Its files are being changed without a pause.
    #[error("files that hold {id} would hold are being changed just now; try again")]
    HoldBusy {
        /// The hold.
        id: HoldId,
    },
    /// The reason is too long.
    #[error("a reason has at most {MAX_REASON_BYTES} bytes and no control characters")]
    BadReason,
    /// Nobody would get in.
    #[error("`any` would keep everybody out; name the network")]
    BanOfAll,
    /// There is no such ban, and many may be meant.
    #[error(
        "nothing was lifted: no ban is of `any`; lift each by its own network, as `layover ban list` shows it"
    )]
    NoBanOfAll,
    /// The network is not banned.
    #[error("{network} is not banned; see: layover ban list")]
    UnknownBan {
        /// What was asked for.
        network: Network,
    },
    /// It is not banned by itself.
    #[error("{network} is banned as a part of {wider}: layover ban lift {wider}")]
    BannedWithin {
        /// What was asked for.
        network: Network,
        /// What is banned.
        wider: Network,
    },
    /// Nobody is logged in under this number.
    #[error("there is no session {id}; see: layover session list")]
    UnknownSession {
        /// What was asked for.
        id: SessionId,
    },
    /// No integration of this name.
    #[error("there is no integration `{name}`; see: layover integration list")]
    UnknownIntegration {
        /// The name.
        name: IntegrationName,
    },
    /// The name is taken.
    #[error("there is an integration `{name}` already")]
    IntegrationExists {
        /// The name.
        name: IntegrationName,
    },
    /// Somebody else was quicker.
    #[error("somebody else has changed `{name}` just now; look at it and try again")]
    IntegrationChanged {
        /// The integration, or all that were to change.
        name: String,
    },
    /// Fields that cannot be what was asked for, all of them.
    #[error("integration `{name}`: {}", joined(.errors))]
    Fields {
        /// The integration.
        name: IntegrationName,
        /// What is wrong.
        errors: Vec<FieldError>,
    },
    /// The appliance is hardened.
    #[error(
        "[outbound] hardened = true refuses this of integration `{name}`: {}",
        joined(.breaches)
    )]
    Hardened {
        /// The integration.
        name: IntegrationName,
        /// What is refused.
        breaches: Vec<Breach>,
    },
    /// The protocol has no such secret.
    #[error("integration `{name}` speaks {protocol}, which has no {purpose}")]
    NoSuchSecret {
        /// The integration.
        name: IntegrationName,
        /// What it speaks.
        protocol: IntegrationProtocol,
        /// What was given.
        purpose: SecretPurpose,
    },
    /// The secret is empty or too long.
    #[error("a {purpose} has 1 to {MAX_SECRET_BYTES} bytes")]
    SecretSize {
        /// What was given.
        purpose: SecretPurpose,
    },
    /// There is no key to confirm.
    #[error("integration `{name}` has no {purpose} that waits for confirmation")]
    NothingToConfirm {
        /// The integration.
        name: IntegrationName,
        /// Which key.
        purpose: SecretPurpose,
    },
    /// A rotation is under way.
    #[error(
        "integration `{name}` has a new {purpose} already, which is not confirmed: the one before it is still tried; confirm it first, or say that the new one is to be replaced"
    )]
    RotationUnderWay {
        /// The integration.
        name: IntegrationName,
        /// Which key.
        purpose: SecretPurpose,
    },
    /// The name is taken.
    #[error("integration `{name}` has a location `{location}` already")]
    LocationExists {
        /// The integration.
        name: IntegrationName,
        /// The location.
        location: LocationName,
    },
    /// No location of this name.
    #[error("integration `{name}` has no location `{location}`; see: layover location list {name}")]
    UnknownLocation {
        /// The integration.
        name: IntegrationName,
        /// The location.
        location: LocationName,
    },
    /// A list of the integration is full.
    #[error("integration `{name}` would have {count} {what}, and {limit} is the most")]
    TooManyOfIntegration {
        /// The integration.
        name: IntegrationName,
        /// Of what.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// The host key is not among those that were seen or given.
    #[error(
        "integration `{name}` has no host key {fingerprint}; see: layover integration host-key list {name}"
    )]
    UnknownHostKey {
        /// The integration.
        name: IntegrationName,
        /// What was asked for.
        fingerprint: String,
    },
    /// Several things at once.
    #[error("{}", lines(.0))]
    Several(Vec<RegistryError>),
    /// Only SFTP servers have host keys.
    #[error("integration `{name}` speaks {protocol}: only SFTP servers have host keys")]
    NoHostKeys {
        /// The integration.
        name: IntegrationName,
        /// What it speaks.
        protocol: IntegrationProtocol,
    },
    /// A flow's location is for the other way.
    #[error(
        "flow `{flow}` is {article} {direction}, and the location `{location}` of `{partner}` is for {is_for}s alone; \
         another location, or: layover location set {partner} {location} --direction both",
        article = if *direction == FlowDirection::Upload { "an" } else { "a" }
    )]
    FlowDirection {
        /// The flow.
        flow: FlowName,
        /// Its direction.
        direction: FlowDirection,
        /// The integration.
        partner: IntegrationName,
        /// The location.
        location: LocationName,
        /// What that is for.
        is_for: LocationDirection,
    },
    /// A flow would move files between two entities, and nobody said that it is meant.
    #[error(
        "flow `{flow}` moves files between a home of entity `{entity}` and the integration \
         `{partner}` of entity `{other}`: an account of that entity, or --other-entity yes if this is meant"
    )]
    FlowOtherEntity {
        /// The flow.
        flow: FlowName,
        /// The home's entity.
        entity: EntityName,
        /// The integration.
        partner: IntegrationName,
        /// The integration's entity.
        other: EntityName,
    },
    /// A flow needs what is to be removed.
    #[error(
        "{what} is needed by these flows: {}; change or remove them first (layover flow list)",
        joined(flows)
    )]
    NeededByFlows {
        /// What was to be removed.
        what: String,
        /// By which, at most a few.
        flows: Vec<FlowName>,
    },
    /// A flow names an integration that is not there.
    #[error("flow `{flow}` names the integration `{partner}`, which is not there")]
    FlowPartner {
        /// The flow.
        flow: FlowName,
        /// What it names.
        partner: IntegrationName,
    },
    /// There is no such flow.
    #[error("flow `{name}` does not exist; see: layover flow list")]
    UnknownFlow {
        /// Its name.
        name: FlowName,
    },
    /// There is one already.
    #[error("flow `{name}` exists already; to change it: layover flow set {name} ...")]
    FlowExists {
        /// Its name.
        name: FlowName,
    },
    /// What it says does not go together.
    #[error("flow `{name}`: {fault}")]
    Flow {
        /// Its name.
        name: FlowName,
        /// What.
        fault: FlowFault,
    },
    /// Files have nowhere to go.
    #[error(
        "flow `{name}` names the folder `{local}`, which is in no account's home; say which: layover flow set {name} --home ACCOUNT:/folder"
    )]
    FlowWithoutHome {
        /// Its name.
        name: FlowName,
        /// What it says.
        local: String,
    },
    /// There is no such expectation.
    #[error("expectation `{name}` does not exist; see: layover expect list")]
    UnknownExpectation {
        /// Its name.
        name: ExpectationName,
    },
    /// There is one already.
    #[error("expectation `{name}` exists already; to change it: layover expect set {name} ...")]
    ExpectationExists {
        /// Its name.
        name: ExpectationName,
    },
    /// What it says does not go together.
    #[error("expectation `{name}`: {fault}")]
    Expectation {
        /// Its name.
        name: ExpectationName,
        /// What.
        fault: ExpectationFault,
    },
    /// It names an integration that is not there.
    #[error("expectation `{expectation}` names the integration `{partner}`, which is not there")]
    ExpectationPartner {
        /// The expectation.
        expectation: ExpectationName,
        /// What it names.
        partner: IntegrationName,
    },
    /// As many as may be.
    #[error("there would be more than {MAX_EXPECTATIONS} expectations, which is the most")]
    TooManyExpectations,
    /// Files are expected there.
    #[error(
        "files are expected at {place}, by {}; remove that first: layover expect remove {}",
        names(.expectations),
        .expectations.first().map_or("NAME", ExpectationName::as_str)
    )]
    Expected {
        /// What was to be removed.
        place: String,
        /// What uses it.
        expectations: Vec<ExpectationName>,
    },
    /// There is no such hook.
    #[error("hook `{name}` does not exist; see: layover event hook list")]
    UnknownHook {
        /// Its name.
        name: HookName,
    },
    /// There is one already.
    #[error("hook `{name}` exists already; to change it: layover event hook set {name} ...")]
    HookExists {
        /// Its name.
        name: HookName,
    },
    /// Somebody else was quicker.
    #[error("somebody else has changed hook `{name}` just now; look at it and try again")]
    HookChanged {
        /// Its name.
        name: HookName,
    },
    /// As many as may be.
    #[error("there are {MAX_HOOKS} hooks, which is the most")]
    TooManyHooks,
    /// A request in the clear.
    #[error(
        "hook `{name}` goes to {origin} without TLS: anybody on the way reads what it tells; give an https address, or say so: --allow-plain"
    )]
    HookWithoutTls {
        /// Its name.
        name: HookName,
        /// Where to.
        origin: String,
    },
    /// The appliance is hardened.
    #[error("hook `{name}` goes to {origin} without TLS, which [outbound] hardened = true refuses")]
    HookNotHardened {
        /// Its name.
        name: HookName,
        /// Where to.
        origin: String,
    },
    /// Everybody could guess it.
    #[error("the secret of a hook has {MIN_HOOK_SECRET_BYTES} to {MAX_SECRET_BYTES} bytes")]
    HookSecretSize,
    /// Over the limit.
    #[error("the authorities of a hook have at most {MAX_HOOK_AUTHORITIES_BYTES} bytes")]
    HookAuthorities,
    /// A secret cannot be sealed or opened.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Another process is about it.
    #[error("the master keys are being rotated just now; see: layover secrets list")]
    RotatingAlready,
    /// The master keys cannot be had.
    #[error(transparent)]
    MasterKeys(#[from] MasterKeyError),
    /// Nor the directory that they lie in.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Values are sealed, and this node has no master keys.
    #[error(
        "secrets in the database are sealed with master keys that this node does not have: copy keys/master_keys in data_dir from the node that sealed them, or from a backup"
    )]
    NoMasterKeys,
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}
