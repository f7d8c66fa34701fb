//! Recovery: what a process left behind when it died is settled, each piece
//! in exactly one way.
//!
//! | found                | the disk says              | it becomes              |
//! |----------------------|----------------------------|-------------------------|
//! | `receiving`          | hidden file is there       | `partial`               |
//! | `receiving`          | hidden file is gone        | forgotten               |
//! | `publishing`         | its file has the name      | `stored`, new clock     |
//! | `publishing`         | hidden file is there       | `partial`, or `waiting` |
//! | `publishing`         | its file is nowhere        | forgotten               |
//! | `deleting`           | its file, hidden or named  | unlinked, `ended`       |
//! | `deleting`           | its file is nowhere        | `ended`                 |
//! | claim of a move      | file is at the target      | the ledger follows      |
//! | claim of a move      | it is not                  | dropped                 |
//! | hidden file          | no row needs it, see below | unlinked                |
//! | session              | -                          | ended, with a `logout`  |
//!
//! Settled are the rows of this node and of nodes that have not been heard of
//! for [`SILENT_AFTER`]. What this process is in the middle of is left alone,
//! so recovery may run at any time, not only at the start.
//!
//! A hidden file does not tell whose it is, and an upload begins without a row. So
//! while another node lives, one without a row goes only when it has lain there
//! unchanged for [`ROWLESS_FOR`]; on a node that is alone it goes at once.

mod claims;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use claims::settle_claims;
use layover_retention::Timestamp;

use crate::holdings::{Holdings, HomeRef, LiveKey, Removed, Taken};
use crate::ledger::{EndedBy, FileRow, FileState, Publication, Staging};
use crate::session::record;
use crate::store::OwnSessions;
use crate::timer::Stopwatch;
use crate::vfs::{Entry, HiddenName, VfsError};
use crate::{AccountId, FileId, HomeId, VirtualPath};

/// A node that wrote no heartbeat for this long is dead: it writes one every
/// five seconds.
pub const SILENT_AFTER: Duration = Duration::from_secs(60);

/// How long a hidden file without a row must have lain unchanged before our eyes while
/// another node lives. A row comes within half a second; a node whose database does not
/// answer for longer than this counts as dead.
pub(crate) const ROWLESS_FOR: Duration = SILENT_AFTER;

/// Rows settled between two looks at the ledger.
const PAGE: usize = 500;

/// What recovery found and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct RecoveryReport {
    /// Uploads kept as interrupted.
    pub kept_partial: u64,
    /// Uploads of which nothing was left.
    pub forgotten: u64,
    /// Publications that were complete on disk, and are now in the ledger.
    pub published: u64,
    /// Removals carried to their end.
    pub removed: u64,
    /// Moves that the ledger now follows.
    pub moved: u64,
    /// Moves that had not happened.
    pub unmoved: u64,
    /// Hidden files that nobody needs, unlinked.
    pub orphans: u64,
    /// Homes whose sum of sizes was wrong.
    pub corrected_homes: u64,
    /// Pieces that could not be settled; the next recovery tries again.
    pub failed: u64,
}

impl RecoveryReport {
    /// Whether there was anything to do.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        *self == RecoveryReport::default()
    }
}

/// Settles everything that is unfinished and nobody works on.
pub(crate) async fn recover(holdings: &Arc<Holdings>) -> Result<RecoveryReport, VfsError> {
    let now = holdings.now();
    let silent_before = now.saturating_sub(SILENT_AFTER);
    let (store, node) = (&holdings.store, &holdings.node);
    store
        .end_dead_sessions(node, OwnSessions::Alive, silent_before, now)
        .await?;
    // On another storage nothing of it would be found, and all be forgotten.
    holdings.check_storage().await?;
    let mut report = RecoveryReport::default();
    // Moves first: rows then have the names under which their files lie.
    let former_names = settle_claims(holdings, silent_before, &mut report).await?;
    let mut after = FileId(0);
    loop {
        let node = &holdings.node;
        let rows = holdings
            .store
            .unfinished(node, silent_before, after, PAGE)
            .await?;
        let Some(last) = rows.last() else { break };
        after = last.id;
        for row in rows {
            let from = former_names.get(&row.id).unwrap_or(&row.path);
            // One that cannot be settled does not keep the others.
            if let Err(error) = settle_row(holdings, &row, from, &mut report).await {
                report.failed = report.failed.saturating_add(1);
                warn_unsettled(&row.path, &error);
            }
        }
    }
    remove_orphans(holdings, silent_before, &mut report).await?;
    report.corrected_homes = holdings.store.recompute_used().await?;
    if !report.is_clean() {
        holdings
            .store
            .append(&record::recovery(holdings, &report))
            .await?;
    }
    Ok(report)
}

fn warn_unsettled(path: &VirtualPath, error: &VfsError) {
    tracing::warn!(
        file.path = %path,
        error = error as &dyn std::error::Error,
        "something that a crash left behind could not be settled"
    );
}

fn is_live(holdings: &Holdings, row: &FileRow) -> bool {
    holdings.live.contains(&LiveKey::File(row.id))
        || row
            .hidden
            .as_ref()
            .is_some_and(|hidden| holdings.live.contains(&LiveKey::Hidden(hidden.clone())))
}

async fn home_of(holdings: &Holdings, home: HomeId) -> Result<HomeRef, VfsError> {
    Ok(HomeRef {
        id: home,
        name: holdings.store.home_name(home).await?,
    })
}

async fn settle_row(
    holdings: &Arc<Holdings>,
    row: &FileRow,
    from: &VirtualPath,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let home = home_of(holdings, row.home).await?;
    let _guard = holdings.lock(home.id, &[&row.path]).await?;
    // Under the lock, the row may have been settled by its own process.
    let Some(now) = holdings.store.row(row.id).await? else {
        return Ok(());
    };
    if now.state != row.state || now.path != row.path || is_live(holdings, &now) {
        return Ok(());
    }
    match now.state {
        FileState::Receiving => settle_receiving(holdings, &now, report).await,
        FileState::Publishing => settle_publishing(holdings, &home, &now, from, report).await,
        FileState::Deleting => settle_deleting(holdings, &home, &now, report).await,
        FileState::Partial | FileState::Waiting | FileState::Stored | FileState::Ended => Ok(()),
    }
}

async fn settle_receiving(
    holdings: &Arc<Holdings>,
    row: &FileRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    match hidden_entry(holdings, row).await? {
        // Row first, then file: a row without a file had received nothing.
        Some(entry) if entry.size_bytes > 0 => {
            let (state, now) = (FileState::Partial, holdings.arriving_at());
            holdings
                .store
                .park_upload(row.id, state, entry.size_bytes, now, None)
                .await?;
            report.kept_partial = report.kept_partial.saturating_add(1);
        }
        _ => forget(holdings, row, report).await?,
    }
    Ok(())
}

async fn forget(
    holdings: &Arc<Holdings>,
    row: &FileRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    if holdings
        .store
        .forget_upload(row.id, FileState::Receiving, None)
        .await?
    {
        report.forgotten = report.forgotten.saturating_add(1);
        if let Some(hidden) = row.hidden.clone() {
            holdings.discard_hidden(hidden).await?;
        }
    }
    Ok(())
}

async fn settle_publishing(
    holdings: &Arc<Holdings>,
    home: &HomeRef,
    row: &FileRow,
    from: &VirtualPath,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let named = named_entry(holdings, home, &row.path).await?;
    let has_name = named.is_some_and(|entry| row.is_file(entry.identity));
    match (has_name, row.uploaded_by) {
        (true, Some(account)) => publish(holdings, home, row, account, report).await,
        _ => unpublish(holdings, row, from, report).await,
    }
}

async fn publish(
    holdings: &Arc<Holdings>,
    home: &HomeRef,
    row: &FileRow,
    account: AccountId,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let dir = home.place(&row.path).dir();
    let synchronised = holdings
        .vfs
        .run(move |storage| storage.sync_dir(&dir))
        .await;
    synchronised.map_err(|error| VfsError::at(&row.path, error))?;
    let now = holdings.arriving_at();
    let whose = record::Whose::of(holdings, row).await?;
    let landed = row.hidden.clone().filter(|_| row.is_of_courier());
    let flow = match &landed {
        Some(hidden) => holdings.store.landing_run(hidden).await?,
        None => None,
    };
    let publication = Publication {
        file: row.id,
        home: row.home,
        path: row.path.clone(),
        account,
        arrived_at: row.inherited_arrival.unwrap_or(now),
        appliance: holdings.appliance,
        now,
        entry: record::upload_recovered(holdings, home, &whose, row, flow.as_ref(), now),
        landed,
    };
    if holdings.store.publish(&publication).await?.is_some() {
        report.published = report.published.saturating_add(1);
    }
    Ok(())
}

async fn unpublish(
    holdings: &Arc<Holdings>,
    row: &FileRow,
    from: &VirtualPath,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let Some(identity) = row.identity else {
        return Ok(());
    };
    let staging = Staging {
        file: row.id,
        home: row.home,
        from: from.clone(),
        to: row.path.clone(),
        size_bytes: row.size_bytes,
        identity,
        quota_bytes: None,
        node: holdings.node.clone(),
        now: holdings.now(),
        landing: None,
    };
    match hidden_entry(holdings, row).await? {
        Some(_) => {
            // Only a rename gives a hidden upload another name: it was complete.
            let state = if *from == row.path {
                FileState::Partial
            } else {
                FileState::Waiting
            };
            holdings.store.unstage(&staging, state, None).await?;
            report.kept_partial = report.kept_partial.saturating_add(1);
        }
        None => {
            holdings
                .store
                .unstage(&staging, FileState::Receiving, None)
                .await?;
            forget(holdings, row, report).await?;
        }
    }
    Ok(())
}

async fn settle_deleting(
    holdings: &Arc<Holdings>,
    home: &HomeRef,
    row: &FileRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    // Why it was being deleted is in no column: what was due has expired.
    let now = holdings.now();
    let ended_by = if row.is_expired(now) {
        EndedBy::Expired
    } else {
        EndedBy::Removed
    };
    let whose = record::Whose::of(holdings, row).await?;
    let entry = |now: Timestamp, taken: Taken| match ended_by {
        EndedBy::Expired => record::expired(holdings, home, &whose, row, taken, now),
        _ => record::removal_recovered(holdings, home, &whose, row, now),
    };
    match row.hidden.clone() {
        Some(hidden) => {
            holdings
                .finish_taking(
                    &Removed::of(home, row),
                    hidden,
                    ended_by,
                    Taken::Removed,
                    entry,
                )
                .await?;
        }
        // Claimed, and nothing done: it is still what it was.
        None => {
            holdings
                .store
                .undo_removal(row.home, row.id, &row.path)
                .await?
        }
    }
    report.removed = report.removed.saturating_add(1);
    Ok(())
}

async fn remove_orphans(
    holdings: &Arc<Holdings>,
    silent_before: Timestamp,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    // The list first, the ledger second: a row is hardly younger than its file.
    let names = holdings.vfs.run(|storage| storage.list_hidden()).await?;
    let mut rowless = Vec::new();
    for name in names {
        let live = holdings.live.contains(&LiveKey::Hidden(name.clone()));
        if !live && !holdings.store.hidden_is_known(&name).await? {
            rowless.push(name);
        }
    }
    let others_live = holdings
        .store
        .others_live(&holdings.node, silent_before)
        .await?;
    let mut seen_before = suspects_of(holdings).clone();
    let mut suspects = HashMap::new();
    for name in rowless {
        if others_live {
            let Some(changed_us) = changed_us(holdings, &name).await? else {
                continue;
            };
            let suspect = seen_before
                .remove(&name)
                .filter(|seen| seen.changed_us == changed_us)
                .unwrap_or_else(|| Suspect::new(changed_us));
            if suspect.since.elapsed() < ROWLESS_FOR {
                suspects.insert(name, suspect);
                continue;
            }
        }
        holdings.discard_hidden(name).await?;
        report.orphans = report.orphans.saturating_add(1);
    }
    *suspects_of(holdings) = suspects;
    Ok(())
}

/// A hidden file without a row, as recovery first saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspect {
    /// What the file system says of its last change: compared, never read as a time.
    changed_us: i64,
    since: Stopwatch,
}

impl Suspect {
    fn new(changed_us: i64) -> Self {
        Self {
            changed_us,
            since: Stopwatch::start(),
        }
    }
}

fn suspects_of(holdings: &Holdings) -> MutexGuard<'_, HashMap<HiddenName, Suspect>> {
    holdings
        .rowless
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
}

/// When a hidden file was last changed; none when it is gone.
async fn changed_us(holdings: &Holdings, name: &HiddenName) -> Result<Option<i64>, VfsError> {
    let name = name.clone();
    let found = holdings
        .vfs
        .run(move |storage| storage.stat_hidden(&name))
        .await;
    let entry = absent_as_none(&VirtualPath::root(), found)?;
    Ok(entry.map(|entry| entry.changed_us))
}

async fn hidden_entry(holdings: &Holdings, row: &FileRow) -> Result<Option<Entry>, VfsError> {
    let Some(hidden) = row.hidden.clone() else {
        return Ok(None);
    };
    let found = holdings
        .vfs
        .run(move |storage| storage.stat_hidden(&hidden))
        .await;
    absent_as_none(&row.path, found)
}

async fn named_entry(
    holdings: &Holdings,
    home: &HomeRef,
    path: &VirtualPath,
) -> Result<Option<Entry>, VfsError> {
    let place = home.place(path);
    let found = holdings.vfs.run(move |storage| storage.stat(&place)).await;
    absent_as_none(path, found)
}

fn absent_as_none(path: &VirtualPath, found: io::Result<Entry>) -> Result<Option<Entry>, VfsError> {
    match found {
        Ok(entry) => Ok(Some(entry)),
        Err(error) => match VfsError::at(path, error) {
            VfsError::NotFound { .. } | VfsError::NotDirectory { .. } => Ok(None),
            fault => Err(fault),
        },
    }
}

#[cfg(test)]
mod tests;
