//! Removal: exactly this file goes, whatever takes its name meanwhile.
//!
//! The name's lock and claim keep our own verbs away. Against everybody else
//! the file is first moved out of sight, its identity is checked where nobody
//! can exchange it, and another file is put back.

use std::io;
use std::sync::Arc;

use layover_retention::Timestamp;

use super::{Holdings, HomeRef, LiveKey};
use crate::journal::NewEntry;
use crate::ledger::{
    CertificateGrounds, Claimed, EndedBy, FileRow, FileState, RemovalCause, RemovalClaim,
    RemovalEnd,
};
use crate::store::StoreError;
use crate::store::certified::certificate;
use crate::vfs::{HiddenName, Identity, Place, Replace, Storage, VfsError};

/// Names tried for a file that has to be put back beside a newer one.
const MAX_PUT_BACK_TRIES: usize = 100;

/// What a removal did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// The file is gone, and the ledger says so.
    Removed,
    /// It was gone from the tree already; the ledger says so now.
    AlreadyGone,
    /// Another file has the name; it was not touched.
    Superseded,
}

/// What the file system found at the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Ours,
    Nothing,
    Another,
}

/// What is removed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Removed<'a> {
    pub(crate) home: &'a HomeRef,
    pub(crate) row: &'a FileRow,
    /// What its certificate says besides, where that was read with the row.
    pub(crate) grounds: Option<&'a CertificateGrounds>,
}

impl<'a> Removed<'a> {
    /// With nothing read besides.
    pub(crate) const fn of(home: &'a HomeRef, row: &'a FileRow) -> Self {
        Self {
            home,
            row,
            grounds: None,
        }
    }
}

impl Holdings {
    /// Takes the file of a `stored` row away. `entry` writes the journal
    /// entry for the moment of the removal.
    ///
    /// `Busy` when the name is being changed and stays so.
    pub(crate) async fn take_away(
        self: &Arc<Self>,
        removed: &Removed<'_>,
        cause: RemovalCause,
        ended_by: EndedBy,
        entry: impl Fn(Timestamp, Taken) -> NewEntry + Send,
    ) -> Result<Taken, VfsError> {
        let Removed { home, row, .. } = *removed;
        let _guard = self.lock(home.id, &[&row.path]).await?;
        let Some(identity) = row.identity else {
            return Ok(Taken::Superseded);
        };
        let hidden = HiddenName::fresh()?;
        let _live = self.live.enter(LiveKey::Hidden(hidden.clone()));
        let claim = RemovalClaim {
            home: home.id,
            file: row.id,
            path: row.path.clone(),
            identity,
            hidden: hidden.clone(),
            cause,
            node: self.node.clone(),
            now: self.now(),
        };
        if self.claim(&row.path, || self.claim_removal(&claim)).await? != Claimed::Yes {
            return Ok(Taken::Superseded);
        }
        self.finish_taking(removed, hidden, ended_by, Taken::AlreadyGone, entry)
            .await
    }

    async fn claim_removal(&self, claim: &RemovalClaim) -> Result<Claimed, StoreError> {
        if self.store.claim_removal_at_once(claim).await? {
            return Ok(Claimed::Yes);
        }
        // Again, to learn what is in the way.
        self.store.claim_removal(claim).await
    }

    /// The rest of a removal whose row is `deleting`: also what recovery does.
    /// The caller holds the name's lock, and says what it means when no file
    /// is found: for a resumed removal that the work was done before.
    pub(crate) async fn finish_taking(
        self: &Arc<Self>,
        removed: &Removed<'_>,
        hidden: HiddenName,
        ended_by: EndedBy,
        when_absent: Taken,
        entry: impl Fn(Timestamp, Taken) -> NewEntry + Send,
    ) -> Result<Taken, VfsError> {
        let Removed { home, row, grounds } = *removed;
        let place = home.place(&row.path);
        let identity = row.identity;
        let found = self
            .vfs
            .run(move |storage| take(storage, &place, &hidden, identity))
            .await;
        if matches!(found, Ok(Found::Nothing | Found::Another))
            && let Err(fault) = self.check_storage().await
        {
            // Nothing can be said of the file: its row stays what it was. A
            // removal that was resumed may have moved it out of sight.
            if when_absent == Taken::AlreadyGone {
                self.store.undo_removal(home.id, row.id, &row.path).await?;
            }
            return Err(fault);
        }
        let taken = match found {
            Ok(Found::Ours) => Taken::Removed,
            Ok(Found::Nothing) => when_absent,
            Ok(Found::Another) => Taken::Superseded,
            Err(error) => {
                // The file may still be out of sight: then the row stays
                // `deleting`, and recovery finishes what was begun.
                self.undo_if_in_place(home, row).await?;
                return Err(VfsError::at(&row.path, error));
            }
        };
        let now = self.now();
        let ended_by = match taken {
            Taken::Removed => ended_by,
            Taken::AlreadyGone | Taken::Superseded => EndedBy::Missing,
        };
        let entry = entry(now, taken);
        if let Some(grounds) = grounds {
            let end = RemovalEnd {
                row,
                grounds,
                ended_by,
                now,
                entry: &entry,
                certificate: certificate(row, grounds, ended_by, &entry.node, now)?,
            };
            if self.store.finish_removal_at_once(&end).await? {
                return Ok(taken);
            }
        }
        // Somebody has settled it, or the row says something else by now: its checksum.
        self.store
            .finish_removal(row, ended_by, now, &entry)
            .await?;
        Ok(taken)
    }

    async fn undo_if_in_place(&self, home: &HomeRef, row: &FileRow) -> Result<(), VfsError> {
        let place = home.place(&row.path);
        let in_place = self
            .vfs
            .run(move |storage| Ok::<_, io::Error>(storage.stat(&place).is_ok()))
            .await?;
        if in_place && matches!(row.state, FileState::Stored | FileState::Deleting) {
            self.store.undo_removal(home.id, row.id, &row.path).await?;
        }
        Ok(())
    }
}

/// Unlinks the file called `place` if it is the one with `identity`. May be
/// repeated after a crash: looks at the hidden folder first.
fn take(
    storage: &dyn Storage,
    place: &Place,
    hidden: &HiddenName,
    identity: Option<Identity>,
) -> io::Result<Found> {
    let is_ours = |found: Identity| identity.is_some_and(|ours| ours.same_file(found));
    let out_of_sight = match storage.stat_hidden(hidden) {
        Ok(entry) => Some(entry),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let hidden_entry = match out_of_sight {
        Some(entry) => entry,
        None => {
            match storage.stat(place) {
                // Another file took the name: it is never touched.
                Ok(entry) if !is_ours(entry.identity) => return Ok(Found::Another),
                Ok(_) => {}
                Err(error) if is_absence(&error) => return Ok(Found::Nothing),
                Err(error) => return Err(error),
            }
            match storage.hide(place, hidden) {
                Ok(()) => {}
                Err(error) if is_absence(&error) => return Ok(Found::Nothing),
                Err(error) => return Err(error),
            }
            storage.stat_hidden(hidden)?
        }
    };
    if !is_ours(hidden_entry.identity) {
        put_back(storage, place, hidden)?;
        return Ok(Found::Another);
    }
    storage.sync_dir(&place.dir())?;
    storage.unlink_hidden(hidden)?;
    storage.sync_hidden()?;
    Ok(Found::Ours)
}

/// Nothing of ours can be at that name: it, or its directory, is gone.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
    )
}

/// Puts a file back that was exchanged between the look and the move; beside
/// its name when that has been taken again.
fn put_back(storage: &dyn Storage, place: &Place, hidden: &HiddenName) -> io::Result<()> {
    let mut target = place.clone();
    for attempt in 1..=MAX_PUT_BACK_TRIES {
        match storage.publish(hidden, &target, Replace::Refuse) {
            Ok(()) => return storage.sync_dir(&target.dir()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let name = format!("put-back-{attempt}-{}", hidden.as_str());
                target.path = place
                    .path
                    .dir()
                    .join(name.as_bytes())
                    .map_err(|error| io::Error::other(error.to_string()))?;
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::from(io::ErrorKind::AlreadyExists))
}
