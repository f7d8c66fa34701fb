//! The body of the store: every statement, written once. `sqlite.rs` and
//! `postgres.rs` include this file; `super` says which engine it is.
//!
//! Each function below works on a connection; [`Engine`] gives it one, and a
//! transaction where it writes.

mod accounts;
mod bans;
mod belongings;
mod certificates;
mod chain_check;
mod chains;
mod claims;
mod clocks;
mod deliveries;
mod dump;
mod entities;
mod events;
mod expectations;
mod expiry;
mod files;
mod flow_files;
mod flow_keys;
mod flows;
mod following;
mod foresight;
mod hashes;
mod holds;
mod hooks;
mod integrations;
mod jobs;
mod journal;
mod moves;
mod removals;
mod sessions;
mod signs;
mod statistics;
mod storage;
mod uploads;
mod views;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::time::Duration;

use layover_retention::{
    ChainHead, ChainName, Checkpoint, ClockRecord, Correction, DueCursor, Keep, PublicKey,
    SigningKey, Timestamp,
};

use super::super::dialect::{self, Words};
use super::super::dump::{DumpError, DumpPart, TableRows};
use super::super::steps::Step;
use super::super::{
    AccountRow, Attempt, ExpectationWrite, FlowWrite, IntegrationWrite, LoginRow, NewAccountRow,
    OwnSessions, Resealed, RunEnd, SealedRow, SessionBegun, SessionStart,
};
use super::super::{OnLoan, OpenStoreError, StoreError, store_doors};
use super::{
    BEGIN_SNAPSHOT, BEGIN_WRITE, COLUMNS_OF, Conn, DATABASE_TIME, Lease, OVERRIDING, Pool,
    SETTLED_AFTER, SNAPSHOT_SETTINGS, TABLES_THERE, Transaction, at_once, fault, insert_at_once,
    rows_in_place, run, settle_numbers_of,
};
use crate::account::{
    Account, AccountChange, AccountUse, Enabled, Entity, FailingFile, ForecastAccount,
    ForecastFile, ForecastQuestion, JobRun, LiveSession, NewEntity, NodeClock, RetentionStatus,
    StoredFile,
};
use crate::chain_memory::Expected;
use crate::doctor::{Change, OthersPlace, SeenSign, SignWrite};
use crate::event::{
    ClaimedDelivery, DeliveryId, DeliveryOutcome, DeliveryTaker, DueDelivery, DueHook, Event,
    EventDelivery, EventFilter, EventId, Hook, HookId, HookUpdate, NewEvent, NewHook, SealedHook,
    Told, Unreached,
};
use crate::expectation::{
    DayContent, DayEnd, DayKey, DayLook, ExpectationDay, ExpectationPlan, ExpectationStanding,
    FileEnd, GoneFile, ToldNames,
};
use crate::figures::LedgerFigures;
use crate::flow::{
    ClaimedRun, FileDone, FileFailed, FileKey, FlowFile, FlowFileId, FlowRun, FlowRunId,
    FlowStanding, FoundFile, LandingRun, RunPlan, RunTaker, RunToken, SourceFacts,
};
use crate::gate::{Ban, Offence};
use crate::hold::{Approving, Hold, HoldId, NewHold, Signed};
use crate::integration::{FlowDefinition, Integration};
use crate::journal::{Follower, JournalEntry, JournalFilter, JournalPlace, NewEntry};
use crate::ledger::{
    Adoption, ApplianceKeep, ChainRow, ClaimRow, Claimed, Collector, ContentHash, DueRow, EndedBy,
    FileRow, FileState, FreshStaging, MoveClaim, NewUpload, Pruned, Publication, RemovalClaim,
    RemovalEnd, Sealed, Staging, TreeClaim, Usage,
};
use crate::names::OperatorName;
use crate::operator::Operator;
use crate::rules::{FolderKeep, Grounds};
use crate::statistics::{DailySums, DaysKept, DaysWanted, Subject, TransfersOf, Zones};
use crate::vfs::{HiddenName, Identity, StorageId};
use crate::{
    AccountId, AccountName, AuthorizedKey, EntityId, EntityName, ExpectationName, FileId, FlowName,
    FolderPermission, HomeId, HomeName, HookName, IntegrationName, Network, NewCertificate,
    NewNetwork, NodeId, SessionId, VirtualPath,
};

/// How long closing waits for statements that are under way.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// One engine's connections.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(super) writer: Pool,
    pub(super) reader: Pool,
}

impl Engine {
    /// Whether a schema was ever set up here; `tables` counts its mark.
    pub(super) async fn is_set_up(&self, tables: &'static str) -> Result<bool, OpenStoreError> {
        let refused = |source| OpenStoreError::Connect {
            source: fault(source),
        };
        let mut lease = self.writer.acquire().await.map_err(refused)?;
        let found: i64 = sqlx::query_scalar(tables)
            .fetch_one(lease.conn().map_err(refused)?)
            .await
            .map_err(refused)?;
        Ok(found > 0)
    }

    /// Takes the schema as it is, or says that it is not ours.
    pub(super) async fn refuse_other_steps(&self) -> Result<(), OpenStoreError> {
        let refused = |source| OpenStoreError::Connect {
            source: fault(source),
        };
        let mut lease = self.writer.acquire().await.map_err(refused)?;
        let step: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM _sqlx_migrations")
            .fetch_one(lease.conn().map_err(refused)?)
            .await
            .map_err(refused)?;
        let (found, wanted) = (step.unwrap_or(0), dialect::last_step());
        match found.cmp(&wanted) {
            Ordering::Less => Err(OpenStoreError::Older { found, wanted }),
            Ordering::Equal => Ok(()),
            Ordering::Greater => Err(OpenStoreError::Newer { step: found }),
        }
    }

    /// Brings the schema up to date; refuses one that is newer than ours.
    pub(super) async fn bring_up_to_date(self, words: &Words) -> Result<Self, OpenStoreError> {
        super::migrate(&self.writer, &dialect::migrator(words)).await?;
        Ok(self)
    }

    /// Sets up the schema as it was at an earlier step, where there is none.
    pub(super) async fn make_up_to(
        self,
        tables: &'static str,
        words: &Words,
        step: i64,
    ) -> Result<Self, OpenStoreError> {
        let wanted = dialect::last_step();
        if step > wanted {
            return Err(OpenStoreError::Newer { step });
        }
        if self.is_set_up(tables).await? {
            return Err(OpenStoreError::NotEmpty);
        }
        super::migrate(&self.writer, &dialect::migrator_up_to(words, step)).await?;
        Ok(self)
    }

    /// Every row of every table, as they are at one moment.
    pub(in crate::store) async fn dump(
        &self,
        take: &mut dyn FnMut(DumpPart) -> std::io::Result<()>,
    ) -> Result<(), DumpError> {
        let snapshot = self.reader.begin_with(BEGIN_SNAPSHOT).await;
        let mut snapshot = snapshot.map_err(fault)?;
        dump::dump(snapshot.conn()?, take).await?;
        Ok(snapshot.rollback().await?)
    }

    pub(in crate::store) async fn close(&self) {
        let closing = async {
            self.reader.close().await;
            self.writer.close().await;
        };
        // Whoever still holds a connection after that is cut off by the
        // process' end; the database itself is safe at any moment.
        let _ = crate::timer::timeout(CLOSE_WAIT, closing).await;
    }

    async fn read(&self) -> Result<Lease, StoreError> {
        self.reader.acquire().await.map_err(fault)
    }

    async fn write(&self) -> Result<Transaction, StoreError> {
        self.writer.begin_with(BEGIN_WRITE).await.map_err(fault)
    }
}

/// Whether a transaction that ended without an error is to be kept.
trait Verdict {
    fn is_kept(&self) -> bool;
}

impl Verdict for crate::ledger::Claimed {
    fn is_kept(&self) -> bool {
        *self == Self::Yes
    }
}

impl Verdict for Approving {
    fn is_kept(&self) -> bool {
        matches!(self, Self::Noted | Self::Active { .. })
    }
}

impl Verdict for SessionBegun {
    fn is_kept(&self) -> bool {
        *self == Self::Yes
    }
}

impl<T> Verdict for Option<T> {
    fn is_kept(&self) -> bool {
        self.is_some()
    }
}

/// How often a transaction is tried that PostgreSQL breaks off because it and another one
/// waited for each other (after `deadlock_timeout`, 1 s by default).
const DEADLOCK_TRIES: u32 = 5;

macro_rules! engine_door {
    (read $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut lease = self.read().await?;
            let out = $module::$name(lease.conn()?, $($arg),*).await;
            if let Err(error) = &out {
                lease.close_if_gone(error);
            }
            out
        }
    };
    // Several statements that see one state of the database.
    (snapshot $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut snapshot = self.reader.begin_with(BEGIN_SNAPSHOT).await.map_err(fault)?;
            let out = $module::$name(snapshot.conn()?, $($arg),*).await?;
            snapshot.rollback().await?;
            Ok(out)
        }
    };
    // Its rows, as columns, are asked for in place first.
    (glance $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            if let Some(rows) = rows_in_place(&self.writer, &$module::rows_at_step($($arg),*)) {
                return $module::file_rows(rows);
            }
            let mut lease = self.read().await?;
            let out = $module::$name(lease.conn()?, $($arg),*).await;
            if let Err(error) = &out {
                lease.close_if_gone(error);
            }
            out
        }
    };
    (single $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut lease = self.writer.acquire().await.map_err(fault)?;
            let out = $module::$name(lease.conn()?, $($arg),*).await;
            if let Err(error) = &out {
                lease.close_if_gone(error);
            }
            out
        }
    };
    (script $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut tries = 1;
            loop {
                match at_once(&self.writer, $module::$name($($arg),*)).await {
                    Err(error) if error.is_broken_off() && tries < DEADLOCK_TRIES => tries += 1,
                    done => return done,
                }
            }
        }
    };
    (insert $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let id = insert_at_once(&self.writer, $module::$name($($arg),*)).await?;
            Ok(id.map(FileId))
        }
    };
    (write $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut tries = 1;
            loop {
                let mut transaction = self.write().await?;
                match $module::$name(transaction.conn()?, $($arg),*).await {
                    Ok(out) => {
                        transaction.commit().await?;
                        return Ok(out);
                    }
                    Err(error) if error.is_broken_off() && tries < DEADLOCK_TRIES => {
                        transaction.rollback().await?;
                        tries += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    };
    (judge $module:ident $name:ident ($($arg:ident : $ty:ty),*) -> $out:ty) => {
        pub(in crate::store) async fn $name(&self, $($arg: $ty),*) -> Result<$out, StoreError> {
            let mut tries = 1;
            loop {
                let mut transaction = self.write().await?;
                match $module::$name(transaction.conn()?, $($arg),*).await {
                    Ok(out) if out.is_kept() => {
                        transaction.commit().await?;
                        return Ok(out);
                    }
                    Ok(out) => {
                        transaction.rollback().await?;
                        return Ok(out);
                    }
                    Err(error) if error.is_broken_off() && tries < DEADLOCK_TRIES => {
                        transaction.rollback().await?;
                        tries += 1;
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    };
}

macro_rules! engine_doors {
    ($($kind:ident $module:ident::$name:ident ($($arg:ident : $ty:ty),*) -> $out:ty;)*) => {
        impl Engine {
            $(engine_door!($kind $module $name ($($arg: $ty),*) -> $out);)*
        }
    };
}

store_doors!(engine_doors);
