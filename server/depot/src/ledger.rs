//! The ledger: what the database knows of every file.
//!
//! A row begins as `receiving` and has exactly one state at any time; each
//! change of state is one transaction in `store/`, together with its claim,
//! its share of the quota and its journal entry. These are the values that
//! go in and out of those transactions; the SQL is in `store/body/`.
//!
//! Invariant: a home's `used_bytes` is the sum of the sizes of its rows in
//! `publishing`, `stored` and `deleting`.

use layover_retention::{
    ChainHash, ChainHead, DueCursor, Keep, KeepWish, PolicyLayers, RetentionPolicy, Timestamp,
};

use crate::flow::FlowLanding;
use crate::journal::NewEntry;
use crate::rules::{FileRule, Grounds};
use crate::store::keep_of;
use crate::vfs::{ContentOrigin, HiddenName, Identity};
use crate::{AccountId, FileId, HomeId, NodeId, VirtualPath};

/// What a row stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileState {
    /// An upload is going on.
    Receiving,
    /// An interrupted upload: hidden, resumable by its account.
    Partial,
    /// Complete, hidden until its account renames it (`publish_on_rename`).
    Waiting,
    /// Complete and safe on disk; taking its name just now.
    Publishing,
    /// Published: has an arrival and an expiry.
    Stored,
    /// Being taken away.
    Deleting,
    /// History: the file is gone or was replaced.
    Ended,
}

impl FileState {
    /// The word in the database.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            FileState::Receiving => "receiving",
            FileState::Partial => "partial",
            FileState::Waiting => "waiting",
            FileState::Publishing => "publishing",
            FileState::Stored => "stored",
            FileState::Deleting => "deleting",
            FileState::Ended => "ended",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<FileState> {
        [
            FileState::Receiving,
            FileState::Partial,
            FileState::Waiting,
            FileState::Publishing,
            FileState::Stored,
            FileState::Deleting,
            FileState::Ended,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

/// Why a stored file's row ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndedBy {
    /// Its time was over.
    Expired,
    /// Its account removed it.
    Removed,
    /// Another upload or a rename took its name.
    Replaced,
    /// It was no longer in the tree.
    Missing,
}

impl EndedBy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            EndedBy::Expired => "expired",
            EndedBy::Removed => "removed",
            EndedBy::Replaced => "replaced",
            EndedBy::Missing => "missing",
        }
    }
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct FileRow {
    pub(crate) id: FileId,
    pub(crate) home: HomeId,
    pub(crate) path: VirtualPath,
    pub(crate) state: FileState,
    pub(crate) size_bytes: u64,
    pub(crate) identity: Option<Identity>,
    pub(crate) arrived_at: Option<Timestamp>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) uploaded_by: Option<AccountId>,
    pub(crate) hidden: Option<HiddenName>,
    pub(crate) touched_at: Timestamp,
    pub(crate) inherited_arrival: Option<Timestamp>,
    pub(crate) held_until: Option<Timestamp>,
}

impl FileRow {
    /// Until when nobody may change or remove the file, if that is so at `now`.
    pub(crate) fn held(&self, now: Timestamp) -> Option<Timestamp> {
        self.held_until.filter(|until| *until > now)
    }

    /// Whether peers may see the file at `now`.
    pub(crate) fn is_visible(&self, now: Timestamp) -> bool {
        self.state == FileState::Stored && !self.is_expired(now)
    }

    /// From `expires_at` on a file is neither listed nor opened.
    pub(crate) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at
            .is_some_and(|expires_at| layover_retention::is_expired(expires_at, now))
    }

    /// Whether this row describes the file that is on disk.
    pub(crate) fn is_file(&self, identity: Identity) -> bool {
        self.identity.is_some_and(|ours| ours.same_file(identity))
    }

    /// How old its content is: its arrival, or the one that it will have when
    /// its publication, under way just now, is recorded.
    pub(crate) fn oldest_arrival(&self) -> Option<Timestamp> {
        self.arrived_at.or(self.inherited_arrival)
    }

    /// An unfinished upload that `account` may go on with: what the courier fetches
    /// into its home is not.
    pub(crate) fn is_unfinished_of(&self, account: AccountId) -> bool {
        matches!(self.state, FileState::Partial | FileState::Waiting)
            && self.uploaded_by == Some(account)
            && !self.is_of_courier()
    }

    /// Whether the courier began it, and not a partner.
    pub(crate) fn is_of_courier(&self) -> bool {
        let hidden = self.hidden.as_ref();
        hidden.is_some_and(|hidden| hidden.integration().is_some())
    }

    /// What the courier has of this content, and may go on with.
    pub(crate) fn is_unfinished_from(&self, origin: ContentOrigin) -> bool {
        let hidden = self.hidden.as_ref();
        self.state == FileState::Partial && hidden.is_some_and(|hidden| hidden.is_of(origin))
    }
}

/// A stored file whose name another one took.
#[derive(Clone, Debug)]
pub(crate) struct Replaced {
    pub(crate) file: FileId,
    pub(crate) path: VirtualPath,
    pub(crate) size_bytes: u64,
    pub(crate) arrived_at: Option<Timestamp>,
}

/// A row about to begin as `receiving`.
#[derive(Clone, Debug)]
pub(crate) struct NewUpload {
    pub(crate) home: HomeId,
    pub(crate) path: VirtualPath,
    pub(crate) account: AccountId,
    pub(crate) hidden: HiddenName,
    pub(crate) inherited_arrival: Option<Timestamp>,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
}

/// A new upload that is published before it had a row.
#[derive(Clone, Debug)]
pub(crate) struct FreshStaging<'a> {
    pub(crate) upload: &'a NewUpload,
    pub(crate) size_bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) now: Timestamp,
    /// It is a flow's.
    pub(crate) landing: Option<&'a FlowLanding>,
}

/// The claim that one node lays on names while it changes them.
#[derive(Clone, Debug)]
pub(crate) struct ClaimRow {
    pub(crate) home: HomeId,
    pub(crate) path: VirtualPath,
    pub(crate) kind: ClaimKind,
    pub(crate) file: Option<FileId>,
    pub(crate) from: Option<VirtualPath>,
    pub(crate) to: Option<VirtualPath>,
    pub(crate) identity: Option<Identity>,
}

/// What a claim is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimKind {
    /// An upload takes the name.
    Publish,
    /// A file moves between the two ends.
    Move,
    /// A directory moves, or is removed when there is no target.
    Tree,
    /// A file is taken away.
    Delete,
}

impl ClaimKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            ClaimKind::Publish => "publish",
            ClaimKind::Move => "move",
            ClaimKind::Tree => "tree",
            ClaimKind::Delete => "delete",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<ClaimKind> {
        [
            ClaimKind::Publish,
            ClaimKind::Move,
            ClaimKind::Tree,
            ClaimKind::Delete,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == word)
    }
}

/// `receiving` or `waiting` becomes `publishing`: the file is safe on disk and
/// about to take its name.
#[derive(Clone, Debug)]
pub(crate) struct Staging {
    pub(crate) file: FileId,
    pub(crate) home: HomeId,
    /// The name in the ledger before, and the name it takes.
    pub(crate) from: VirtualPath,
    pub(crate) to: VirtualPath,
    pub(crate) size_bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) quota_bytes: Option<u64>,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
    /// It is a flow's.
    pub(crate) landing: Option<FlowLanding>,
}

/// What came of a first transaction that claims names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claimed {
    /// The names are ours until the second transaction.
    Yes,
    /// Another process is changing one of them: wait and ask again.
    Busy,
    /// The row is no longer what the caller saw.
    Changed,
    /// The home's quota has no room.
    OverQuota,
    /// A hold is on the file that would be replaced.
    Held,
}

/// `publishing` becomes `stored`.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) file: FileId,
    pub(crate) home: HomeId,
    pub(crate) path: VirtualPath,
    pub(crate) account: AccountId,
    pub(crate) arrived_at: Timestamp,
    pub(crate) appliance: ApplianceKeep,
    pub(crate) now: Timestamp,
    pub(crate) entry: NewEntry,
    /// A flow remembers it by this name that it had.
    pub(crate) landed: Option<HiddenName>,
}

/// What an account and its entity wish, as the database has it: seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) entity_s: Option<i64>,
    pub(crate) account_s: Option<i64>,
    pub(crate) collected_s: Option<i64>,
    /// How often the home's own rules changed; 0: it never had any.
    pub(crate) rules_version: i64,
}

impl Wishes {
    fn entity(self) -> Option<Keep> {
        keep_of(self.entity_s)
    }

    fn account(self) -> KeepWish {
        KeepWish {
            keep: keep_of(self.account_s),
            collected_keep: keep_of(self.collected_s),
        }
    }
}

impl Publication {
    /// What holds for the file on these grounds.
    pub(crate) fn rule(&self, grounds: &Grounds) -> FileRule {
        grounds.of_new(self.appliance, &self.path, self.arrived_at, self.now)
    }
}

/// The appliance's own limits, for [`PolicyLayers`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ApplianceKeep {
    pub(crate) keep: layover_retention::Keep,
    pub(crate) max_keep: layover_retention::Keep,
}

impl ApplianceKeep {
    /// The rule under these wishes, and that of the folder.
    pub(crate) fn policy(self, wishes: Wishes, folder: KeepWish) -> RetentionPolicy {
        let layers = PolicyLayers {
            appliance: self.keep,
            max_keep: self.max_keep,
            entity: wishes.entity(),
            account: wishes.account(),
            folder,
        };
        layers.effective()
    }
}

/// A stored row whose name moves, or that a claim takes away.
#[derive(Clone, Debug)]
pub(crate) struct MoveClaim {
    pub(crate) home: HomeId,
    pub(crate) file: FileId,
    pub(crate) identity: Identity,
    pub(crate) from: VirtualPath,
    pub(crate) to: VirtualPath,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
}

/// Which removals a row must qualify for to be taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemovalCause {
    /// Its account asks.
    Account,
    /// Its time is over: refused while `expires_at` is later than `now`.
    Due,
}

/// `stored` becomes `deleting`.
#[derive(Clone, Debug)]
pub(crate) struct RemovalClaim {
    pub(crate) home: HomeId,
    pub(crate) file: FileId,
    pub(crate) path: VirtualPath,
    pub(crate) identity: Identity,
    pub(crate) hidden: HiddenName,
    pub(crate) cause: RemovalCause,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
}

/// A directory's whole subtree is claimed: it moves, or goes when `to` is
/// `None`.
#[derive(Clone, Debug)]
pub(crate) struct TreeClaim {
    pub(crate) home: HomeId,
    pub(crate) from: VirtualPath,
    pub(crate) to: Option<VirtualPath>,
    pub(crate) identity: Identity,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
}

/// Files that appeared in the tree of one home by other means.
#[derive(Clone, Debug)]
pub(crate) struct Adoption {
    pub(crate) home: HomeId,
    pub(crate) files: Vec<FoundFile>,
    pub(crate) appliance: ApplianceKeep,
    pub(crate) node: NodeId,
    pub(crate) now: Timestamp,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct FoundFile {
    pub(crate) path: VirtualPath,
    pub(crate) size_bytes: u64,
    pub(crate) identity: Identity,
    pub(crate) entry: NewEntry,
}

/// What a certificate says that the row does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateGrounds {
    pub(crate) sha256: Option<Vec<u8>>,
    pub(crate) rule: Option<String>,
    pub(crate) keep_s: Option<i64>,
    pub(crate) home: String,
    /// Whose home it is.
    pub(crate) entity: String,
    /// Who uploaded the file.
    pub(crate) account: Option<String>,
    pub(crate) account_entity: Option<String>,
}

/// The end of a removal, of a file that was looked at before.
#[derive(Clone, Debug)]
pub(crate) struct RemovalEnd<'a> {
    pub(crate) row: &'a FileRow,
    pub(crate) grounds: &'a CertificateGrounds,
    pub(crate) ended_by: EndedBy,
    pub(crate) now: Timestamp,
    pub(crate) entry: &'a NewEntry,
    pub(crate) certificate: Option<String>,
}

/// A due file, for the sweep.
#[derive(Clone, Debug)]
pub(crate) struct DueRow {
    pub(crate) cursor: DueCursor,
    pub(crate) row: FileRow,
    pub(crate) home_name: crate::HomeName,
    pub(crate) grounds: CertificateGrounds,
}

/// The content of a file.
#[derive(Clone, Debug)]
pub(crate) struct ContentHash {
    pub(crate) file: FileId,
    pub(crate) size_bytes: u64,
    pub(crate) sha256: [u8; 32],
}

/// A link of a hash chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainRow {
    pub(crate) seq: u64,
    pub(crate) hash: ChainHash,
    /// What was hashed; none when the entry is no longer there.
    pub(crate) record: Option<String>,
}

/// What came of giving entries their place in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) entries: u64,
    /// There may be more of them.
    pub(crate) more: bool,
    /// Where the chain stood before.
    pub(crate) found: ChainHead,
    /// Where it stands now.
    pub(crate) head: ChainHead,
    /// The end of what was pruned.
    pub(crate) begins: ChainHead,
    /// The greatest number of an entry that has its place.
    pub(crate) last_id: i64,
}

/// What was pruned of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pruned {
    pub(crate) entries: u64,
    /// The last of them.
    pub(crate) head: ChainHead,
}

/// Who has a file's content now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Collector {
    /// A partner that logged in.
    Account(AccountId),
    /// A partner's own server, by the outbound engine.
    Outbound,
}

/// What a home holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Published files.
    pub(crate) used_bytes: u64,
    /// Interrupted and waiting uploads.
    pub(crate) hidden_bytes: u64,
}
