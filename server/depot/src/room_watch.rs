//! Tells when the disk becomes full and when there is room again, and sees to the ballast.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::{JournalKind, NewEntry, Outcome};
use crate::timer::Stopwatch;
use crate::vfs::{DiskRoom, VfsError};
use crate::{Depot, StoreError};

/// Between two entries: who makes room and takes it again writes no more than these.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What [`Depot::watch_room`] has told.
#[derive(Debug, Default)]
pub struct RoomTold {
    /// Since the disk was full, the last entry about it.
    full: Option<Stopwatch>,
}

impl Depot {
    /// Room on each file system that something of ours lies on, each once.
    ///
    /// # Errors
    /// `Storage`: one of them cannot be asked.
    pub async fn disk_room(&self) -> Result<Vec<DiskRoom>, VfsError> {
        let room = Arc::clone(&self.holdings().room);
        let looked = tokio::task::spawn_blocking(move || room.look()).await;
        Ok(looked.map_err(std::io::Error::other)??)
    }

    /// Looks how much room there is: gives the ballast up or makes it, and tells the
    /// journal when the disk is full, once a minute how many partners were refused for
    /// it, and when there is room again. A server does so every second.
    ///
    /// # Errors
    /// `Storage`, `Database`: what was not told is told by the next look.
    pub async fn watch_room(&self, told: &mut RoomTold) -> Result<(), VfsError> {
        let room = Arc::clone(&self.holdings().room);
        let settled = tokio::task::spawn_blocking(move || room.settle_ballast()).await;
        settled.map_err(std::io::Error::other)??;
        let disks = self.disk_room().await?;
        let full = disks.iter().find(|disk| disk.at_reserve);
        let silent = told.full.is_some_and(|last| last.elapsed() < TELL_EVERY);
        match (&told.full, full) {
            (None, Some(disk)) => {
                tracing::warn!("{}", disk.warning().unwrap_or_default());
                self.tell_room("storage.full", Outcome::Failed, &disks)
                    .await?;
                told.full = Some(Stopwatch::start());
            }
            (Some(_), None) if !silent && disks.iter().all(DiskRoom::has_recovered) => {
                tracing::info!("there is room on the disk again");
                self.tell_room("storage.room", Outcome::Ok, &disks).await?;
                told.full = None;
            }
            (Some(_), _) if !silent && self.holdings().room.refused() > 0 => {
                self.tell_room("storage.full", Outcome::Failed, &disks)
                    .await?;
                told.full = Some(Stopwatch::start());
            }
            _ => {}
        }
        Ok(())
    }

    async fn tell_room(
        &self,
        action: &'static str,
        outcome: Outcome,
        disks: &[DiskRoom],
    ) -> Result<(), StoreError> {
        let holdings = self.holdings();
        let refused = holdings.room.refused();
        let mut entry = NewEntry::new(holdings.now(), JournalKind::System, action, &holdings.node)
            .outcome(outcome)
            .with("disks", serde_json::to_value(disks).unwrap_or_default());
        if refused > 0 {
            entry = entry.with("refused", refused);
        }
        holdings.store.append(&entry).await?;
        holdings.room.told_of(refused);
        Ok(())
    }
}
