//! Journal entries for what happens to files: one place for their words.

use std::time::Duration;

use layover_retention::Timestamp;

use super::download::End;
use super::refusals::Unnamed;
use super::{Caller, SessionInner};
use crate::courier::Carrying;
use crate::flow::LandingRun;
use crate::holdings::{Direction, Holdings, HomeRef, Taken};
use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::ledger::{CertificateGrounds, FileRow};
use crate::recover::RecoveryReport;
use crate::statistics::{MORE_REFUSALS, UNNAMED_DOWNLOADS, UNNAMED_UPLOADS};
use crate::vfs::VfsError;
use crate::{AccountName, EntityName, HomeName, StoreError, VirtualPath};

/// An entry about something a session did.
fn by_session(
    inner: &SessionInner,
    kind: JournalKind,
    action: &'static str,
    now: Timestamp,
) -> NewEntry {
    let entry = NewEntry::new(now, kind, action, &inner.holdings.node)
        .account(&inner.account.name)
        .entity(&inner.account.entity);
    match inner.caller {
        Caller::Partner { protocol, peer } => {
            entry.peer(peer).protocol(protocol).session(&inner.id)
        }
        Caller::Courier => entry,
    }
}

fn transfer(
    inner: &SessionInner,
    action: &'static str,
    path: &VirtualPath,
    now: Timestamp,
) -> NewEntry {
    by_session(inner, JournalKind::Transfer, action, now).path(path)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The end of a session: what has not been told yet, and the logout.
pub(super) fn ending(inner: &SessionInner, reason: &str) -> Vec<NewEntry> {
    let now = inner.holdings.now();
    let logout = by_session(inner, JournalKind::Login, "logout", now)
        .duration_ms(inner.open_for.elapsed_ms())
        .with("reason", reason);
    let mut entries = inner.refusals.rest();
    let unnamed = inner.refusals.unnamed();
    if unnamed.all > 0 {
        entries.push(more_refused(inner, unnamed, now));
    }
    entries.push(logout);
    entries
}

pub(super) fn upload(
    inner: &SessionInner,
    path: &VirtualPath,
    size_bytes: u64,
    received_bytes: u64,
    duration: Duration,
    now: Timestamp,
) -> NewEntry {
    let entry = transfer(inner, "upload", path, now)
        .size_bytes(size_bytes)
        .duration_ms(millis(duration));
    // A resumed or changed file: most of it did not come just now.
    if received_bytes == size_bytes {
        entry
    } else {
        entry.with("received_bytes", received_bytes)
    }
}

/// Of a file that holds what was copied from `source` on the server.
pub(super) fn with_source(entry: NewEntry, source: &VirtualPath) -> NewEntry {
    entry.with("copied_from", source.to_string())
}

pub(super) fn upload_waits(
    inner: &SessionInner,
    path: &VirtualPath,
    size_bytes: u64,
    duration: Duration,
    now: Timestamp,
) -> NewEntry {
    transfer(inner, "upload", path, now)
        .size_bytes(size_bytes)
        .duration_ms(millis(duration))
        .with("awaits", "rename")
}

pub(super) fn published_by_rename(
    inner: &SessionInner,
    from: &VirtualPath,
    to: &VirtualPath,
    size_bytes: u64,
    now: Timestamp,
) -> NewEntry {
    transfer(inner, "publish", to, now)
        .size_bytes(size_bytes)
        .with("from", from.to_string())
}

pub(super) fn upload_stopped(
    inner: &SessionInner,
    path: &VirtualPath,
    why: &'static str,
    kept_bytes: u64,
    duration: Duration,
    now: Timestamp,
) -> NewEntry {
    transfer(inner, "upload", path, now)
        .outcome(Outcome::Failed)
        .size_bytes(kept_bytes)
        .duration_ms(millis(duration))
        .with("why", why)
}

pub(super) fn upload_given_up(inner: &SessionInner, row: &FileRow, now: Timestamp) -> NewEntry {
    transfer(inner, "discard", &row.path, now).size_bytes(row.size_bytes)
}

pub(super) fn download(inner: &SessionInner, end: &End, now: Timestamp) -> NewEntry {
    let outcome = if end.whole {
        Outcome::Ok
    } else {
        Outcome::Failed
    };
    let entry = transfer(inner, "download", &end.path, now)
        .outcome(outcome)
        .size_bytes(end.bytes_sent)
        .duration_ms(millis(end.duration));
    if end.whole && end.from == 0 {
        return entry;
    }
    let entry = entry.with("file_size_bytes", end.size_bytes);
    match end.from {
        0 => entry,
        from => entry.with("from_byte", from),
    }
}

pub(super) fn renamed(
    inner: &SessionInner,
    from: &VirtualPath,
    to: &VirtualPath,
    size_bytes: Option<u64>,
    now: Timestamp,
) -> NewEntry {
    let entry = transfer(inner, "rename", to, now).with("from", from.to_string());
    match size_bytes {
        Some(size_bytes) => entry.size_bytes(size_bytes),
        None => entry.with("directory", true),
    }
}

pub(super) fn removed(
    inner: &SessionInner,
    row: &FileRow,
    taken: Taken,
    now: Timestamp,
) -> NewEntry {
    let entry = transfer(inner, "delete", &row.path, now)
        .size_bytes(row.size_bytes)
        .with("file_id", row.id.0);
    found(entry, taken)
}

/// A verb that a rule of ours forbade, or that the storage failed. The sentence names
/// what was asked for and the rule.
pub(super) fn refused(
    inner: &SessionInner,
    verb: &'static str,
    path: &VirtualPath,
    fault: &VfsError,
    now: Timestamp,
) -> NewEntry {
    let outcome = if fault.is_refusal() {
        Outcome::Refused
    } else {
        Outcome::Failed
    };
    transfer(inner, verb, path, now)
        .outcome(outcome)
        .with("why", fault.word())
        .with("reason", fault.to_string())
}

/// A transfer of a name that is no path.
pub(super) fn refused_name(
    inner: &SessionInner,
    direction: Direction,
    shown: &dyn std::fmt::Display,
    fault: &VfsError,
    now: Timestamp,
) -> NewEntry {
    by_session(inner, JournalKind::Transfer, direction.as_str(), now)
        .outcome(Outcome::Refused)
        .with("name", shown.to_string())
        .with("why", fault.word())
        .with("reason", fault.reason())
}

/// A data connection that did not prove whose it is.
pub(super) fn refused_connection(inner: &SessionInner, reason: &str, now: Timestamp) -> NewEntry {
    by_session(inner, JournalKind::Transfer, "data-connection", now)
        .outcome(Outcome::Refused)
        .with("reason", reason)
}

/// A transfer that was let in and did not begin.
pub(super) fn not_begun(
    inner: &SessionInner,
    direction: Direction,
    path: &VirtualPath,
    reason: &str,
    now: Timestamp,
) -> NewEntry {
    transfer(inner, direction.as_str(), path, now)
        .outcome(Outcome::Failed)
        .with("why", "not-begun")
        .with("reason", reason)
}

/// Refusals beyond those that the journal names one by one.
fn more_refused(inner: &SessionInner, unnamed: Unnamed, now: Timestamp) -> NewEntry {
    let mut entry = by_session(inner, JournalKind::Transfer, MORE_REFUSALS, now)
        .outcome(Outcome::Refused)
        .with("refusals", unnamed.all);
    for (name, count) in [
        (UNNAMED_UPLOADS, unnamed.uploads),
        (UNNAMED_DOWNLOADS, unnamed.downloads),
    ] {
        if count > 0 {
            entry = entry.with(name, count);
        }
    }
    entry
}

/// What was found where the file should have been.
fn found(entry: NewEntry, taken: Taken) -> NewEntry {
    match taken {
        Taken::Removed => entry,
        Taken::AlreadyGone => entry.outcome(Outcome::Missing).with("found", "nothing"),
        Taken::Superseded => entry
            .outcome(Outcome::Missing)
            .with("found", "another file"),
    }
}

pub(super) fn directory(
    inner: &SessionInner,
    action: &'static str,
    path: &VirtualPath,
    now: Timestamp,
) -> NewEntry {
    transfer(inner, action, path, now)
}

/// Whose files an entry is about that no session wrote: the account that
/// uploaded the file, removed though it may be, and its entity. Nobody is
/// known of a file that was adopted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whose(Option<(AccountName, EntityName)>);

impl Whose {
    /// Of the file that `row` describes.
    pub(crate) async fn of(holdings: &Holdings, row: &FileRow) -> Result<Whose, StoreError> {
        Ok(Whose(match row.uploaded_by {
            Some(account) => Some(holdings.store.account_names(account).await?),
            None => None,
        }))
    }

    /// What was read with the file.
    pub(super) fn known(grounds: &CertificateGrounds) -> Whose {
        let named =
            |account: &str, entity: &str| Some((account.parse().ok()?, entity.parse().ok()?));
        let (account, entity) = (&grounds.account, &grounds.account_entity);
        let both = account.as_deref().zip(entity.as_deref());
        Whose(both.and_then(|(account, entity)| named(account, entity)))
    }

    fn name(&self, entry: NewEntry) -> NewEntry {
        match &self.0 {
            Some((account, entity)) => entry.account(account).entity(entity),
            None => entry,
        }
    }
}

/// A file's time was over.
pub(crate) fn expired(
    holdings: &Holdings,
    home: &HomeRef,
    whose: &Whose,
    row: &FileRow,
    taken: Taken,
    now: Timestamp,
) -> NewEntry {
    let entry = about(holdings, home, JournalKind::Retention, "expire", row, now);
    let entry = whose.name(entry);
    let entry = match row.arrived_at {
        Some(arrived_at) => entry.with("arrived_at", arrived_at.to_string()),
        None => entry,
    };
    found(entry, taken)
}

/// An unfinished upload that nobody went on with.
pub(crate) fn partial_expired(
    holdings: &Holdings,
    home: &HomeName,
    whose: &Whose,
    row: &FileRow,
    now: Timestamp,
) -> NewEntry {
    let entry = NewEntry::new(
        now,
        JournalKind::Retention,
        "expire-partial",
        &holdings.node,
    );
    whose
        .name(entry)
        .path(&row.path)
        .size_bytes(row.size_bytes)
        .with("home", home.as_str())
}

/// A file goes soon, and nobody has collected it.
pub(crate) fn uncollected(
    holdings: &Holdings,
    home: &HomeName,
    whose: &Whose,
    row: &FileRow,
    now: Timestamp,
) -> NewEntry {
    let entry = NewEntry::new(now, JournalKind::Retention, "uncollected", &holdings.node);
    let entry = whose
        .name(entry)
        .path(&row.path)
        .size_bytes(row.size_bytes)
        .with("home", home.as_str())
        .with("file_id", row.id.0);
    match row.expires_at {
        Some(expires_at) => entry.with("expires_at", expires_at.to_string()),
        None => entry,
    }
}

/// A file that came into the tree by other means.
pub(crate) fn adopted(
    holdings: &Holdings,
    home: &HomeRef,
    path: &VirtualPath,
    size_bytes: u64,
    now: Timestamp,
) -> NewEntry {
    NewEntry::new(now, JournalKind::Retention, "adopt", &holdings.node)
        .path(path)
        .size_bytes(size_bytes)
        .with("home", home.name.as_str())
}

/// A stored file that is no longer in the tree, or is another one there.
pub(crate) fn missing(
    holdings: &Holdings,
    home: &HomeRef,
    whose: &Whose,
    row: &FileRow,
    now: Timestamp,
) -> NewEntry {
    let entry = about(holdings, home, JournalKind::Retention, "missing", row, now);
    whose.name(entry).outcome(Outcome::Failed)
}

/// Recovery completed an upload whose server died before it could answer.
pub(crate) fn upload_recovered(
    holdings: &Holdings,
    home: &HomeRef,
    whose: &Whose,
    row: &FileRow,
    flow: Option<&LandingRun>,
    now: Timestamp,
) -> NewEntry {
    let hidden = row.hidden.as_ref();
    let entry = match hidden.and_then(|hidden| hidden.integration()) {
        // Of a command line's, the rest of what its errand knew died with the process.
        Some(integration) => {
            let action = Carrying::Download.action();
            let entry = about(holdings, home, JournalKind::Transfer, action, row, now)
                .with("integration", integration);
            match flow {
                Some(flow) => of_flow(entry, flow),
                None => entry,
            }
        }
        None => about(holdings, home, JournalKind::Transfer, "upload", row, now),
    };
    whose.name(entry).with("recovered", true)
}

/// What a flow remembers of a file of its own.
fn of_flow(entry: NewEntry, landing: &LandingRun) -> NewEntry {
    let flow = &landing.definition;
    entry
        .with("flow", flow.name.as_str())
        .with("run", format!("{}/{}", flow.name, landing.run.0))
        .with("actor", format!("flow:{}", flow.name))
        .with("location", flow.target.as_str())
        .with("file", String::from_utf8_lossy(&landing.name).into_owned())
}

/// Recovery completed a removal. Who asked for it died with its process: the
/// account is the one whose file it was.
pub(crate) fn removal_recovered(
    holdings: &Holdings,
    home: &HomeRef,
    whose: &Whose,
    row: &FileRow,
    now: Timestamp,
) -> NewEntry {
    let entry = about(holdings, home, JournalKind::Transfer, "delete", row, now);
    whose.name(entry).with("recovered", true)
}

/// Recovery completed a move: of a file with `whose` it is, of a folder of
/// nobody in particular.
pub(crate) fn move_recovered(
    holdings: &Holdings,
    home: &HomeRef,
    whose: &Whose,
    from: &VirtualPath,
    to: &VirtualPath,
) -> NewEntry {
    let entry = NewEntry::new(
        holdings.now(),
        JournalKind::Transfer,
        "rename",
        &holdings.node,
    );
    whose
        .name(entry)
        .path(to)
        .with("home", home.name.as_str())
        .with("from", from.to_string())
        .with("recovered", true)
}

/// What a recovery did, in one entry.
pub(crate) fn recovery(holdings: &Holdings, report: &RecoveryReport) -> NewEntry {
    let entry = NewEntry::new(
        holdings.now(),
        JournalKind::System,
        "recover",
        &holdings.node,
    );
    match serde_json::to_value(report) {
        Ok(serde_json::Value::Object(counts)) => NewEntry {
            detail: counts,
            ..entry
        },
        _ => entry,
    }
}

fn about(
    holdings: &Holdings,
    home: &HomeRef,
    kind: JournalKind,
    action: &'static str,
    row: &FileRow,
    now: Timestamp,
) -> NewEntry {
    NewEntry::new(now, kind, action, &holdings.node)
        .path(&row.path)
        .size_bytes(row.size_bytes)
        .with("home", home.name.as_str())
        .with("file_id", row.id.0)
}
