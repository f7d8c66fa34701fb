//! Claims that nobody will release: moves that happened or did not.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use layover_retention::Timestamp;

use super::{RecoveryReport, home_of, named_entry, warn_unsettled};
use crate::holdings::{Holdings, HomeRef, LiveKey};
use crate::ledger::{ClaimKind, ClaimRow, FileState, MoveClaim};
use crate::session::record;
use crate::vfs::{FileKind, VfsError};
use crate::{FileId, VirtualPath};

/// Settles moves; returns the names that publications had before.
pub(super) async fn settle_claims(
    holdings: &Arc<Holdings>,
    silent_before: Timestamp,
    report: &mut RecoveryReport,
) -> Result<HashMap<FileId, VirtualPath>, VfsError> {
    let mut former_names = HashMap::new();
    for claim in holdings
        .store
        .abandoned_claims(&holdings.node, silent_before)
        .await?
    {
        if let Err(error) = settle_claim(holdings, &claim, report).await {
            report.failed = report.failed.saturating_add(1);
            warn_unsettled(&claim.path, &error);
        }
        if let (ClaimKind::Publish, Some(file), Some(from)) = (claim.kind, claim.file, claim.from) {
            former_names.insert(file, from);
        }
    }
    Ok(former_names)
}

async fn settle_claim(
    holdings: &Arc<Holdings>,
    claim: &ClaimRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let live = match claim.file {
        Some(file) => holdings.live.contains(&LiveKey::File(file)),
        None => holdings.live.contains(&LiveKey::Tree(claim.home)),
    };
    match claim.kind {
        _ if live => Ok(()),
        ClaimKind::Move => settle_move(holdings, claim, report).await,
        ClaimKind::Tree => settle_tree(holdings, claim, report).await,
        // Settled with its row; without a row there is nothing to settle.
        ClaimKind::Publish | ClaimKind::Delete => drop_if_rowless(holdings, claim).await,
    }
}

async fn drop_if_rowless(holdings: &Arc<Holdings>, claim: &ClaimRow) -> Result<(), VfsError> {
    let in_progress =
        match claim.file {
            Some(file) => holdings.store.row(file).await?.is_some_and(|row| {
                matches!(row.state, FileState::Publishing | FileState::Deleting)
            }),
            None => false,
        };
    if !in_progress {
        holdings
            .store
            .release(claim.home, &[&claim.path], claim.file)
            .await?;
    }
    Ok(())
}

async fn settle_move(
    holdings: &Arc<Holdings>,
    claim: &ClaimRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let (Some(file), Some(from), Some(to), Some(identity)) =
        (claim.file, &claim.from, &claim.to, claim.identity)
    else {
        return drop_if_rowless(holdings, claim).await;
    };
    // Both ends carry the claim; one of them settles it.
    if claim.path != *to {
        return Ok(());
    }
    let home = home_of(holdings, claim.home).await?;
    let _guard = holdings.lock(home.id, &[from, to]).await?;
    let at_target = named_entry(holdings, &home, to)
        .await?
        .is_some_and(|entry| entry.identity.same_file(identity));
    if !at_target {
        holdings
            .store
            .release(claim.home, &[from, to], claim.file)
            .await?;
        report.unmoved = report.unmoved.saturating_add(1);
        return Ok(());
    }
    sync_ends(holdings, &home, from, to).await?;
    let moved = MoveClaim {
        home: claim.home,
        file,
        identity,
        from: from.clone(),
        to: to.clone(),
        node: holdings.node.clone(),
        now: holdings.now(),
    };
    let whose = match holdings.store.row(file).await? {
        Some(row) => record::Whose::of(holdings, &row).await?,
        None => record::Whose::default(),
    };
    let entry = record::move_recovered(holdings, &home, &whose, from, to);
    holdings
        .store
        .finish_move(&moved, holdings.appliance, &entry)
        .await?;
    report.moved = report.moved.saturating_add(1);
    Ok(())
}

async fn settle_tree(
    holdings: &Arc<Holdings>,
    claim: &ClaimRow,
    report: &mut RecoveryReport,
) -> Result<(), VfsError> {
    let home = home_of(holdings, claim.home).await?;
    let busy = |_| VfsError::Busy {
        path: claim.path.clone(),
    };
    let _guard = holdings.locks.whole_home(home.id).await.map_err(busy)?;
    if let (Some(from), Some(to), Some(identity)) = (&claim.from, &claim.to, claim.identity) {
        let at_target = named_entry(holdings, &home, to)
            .await?
            .is_some_and(|entry| {
                entry.kind == FileKind::Directory && entry.identity.same_file(identity)
            });
        if at_target {
            sync_ends(holdings, &home, from, to).await?;
            let entry =
                record::move_recovered(holdings, &home, &record::Whose::default(), from, to);
            holdings
                .store
                .finish_tree_move(
                    home.id,
                    from,
                    to,
                    holdings.appliance,
                    holdings.now(),
                    Some(&entry),
                )
                .await?;
            report.moved = report.moved.saturating_add(1);
            return Ok(());
        }
        report.unmoved = report.unmoved.saturating_add(1);
    }
    // Not moved; or a directory that was being removed: it is gone or not,
    // and nothing of the ledger was in it.
    holdings
        .store
        .release(claim.home, &[&claim.path], None)
        .await?;
    Ok(())
}

async fn sync_ends(
    holdings: &Holdings,
    home: &HomeRef,
    from: &VirtualPath,
    to: &VirtualPath,
) -> Result<(), VfsError> {
    let (source, target) = (home.place(from).dir(), home.place(to).dir());
    let synchronised = holdings
        .vfs
        .run(move |storage| {
            storage.sync_dir(&target)?;
            match storage.sync_dir(&source) {
                // The old directory may itself be gone by now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                done => done,
            }
        })
        .await;
    synchronised.map_err(|error| VfsError::at(to, error))
}
