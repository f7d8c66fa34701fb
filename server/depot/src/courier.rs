//! The courier: the door for the outbound engine.
//!
//! It acts in an account's home as the appliance itself, and so that files land and
//! leave through the same [`Upload`] and [`Download`] as partners' files: hidden until
//! they are complete, within the quota, under the home's retention rules, and settled
//! by recovery when the process dies. Nobody logs in: there is no row in `session list`,
//! no network that must be allowed, and the account's own permissions (which are the
//! partner's) do not bind it.
//!
//! The way in is [`Depot::courier`]. Each file is an [`Attempt`], which has one entry in
//! the journal: of a file that was published or collected in that same transaction (the
//! place, too, for whatever else must be remembered together with it), of any other
//! when it ends. It never connects to anybody.

mod folder;
mod telling;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use tokio::task::AbortHandle;

pub(crate) use telling::Telling;

use crate::data_dir::{self, CourierMark, DataDirError};
use crate::flow::{ClaimedRun, FileDone, MovedFile, RunToken};
use crate::integration::{FlowTarget, IntegrationProtocol};
use crate::session::{Collecting, Completion, Download, Session, Upload, UploadReceipt};
use crate::vfs::{ContentOrigin, Replace, VfsError};
use crate::{
    AccountName, Actor, Depot, EntityName, FileId, IntegrationName, SessionId, StoreError,
    VirtualPath, timer,
};

/// How often a command line says that it is alive while it moves files: a node that is
/// silent for [`crate::SILENT_AFTER`] counts as dead, and its uploads are settled.
const BEAT_EVERY: Duration = Duration::from_secs(5);

/// Which way the engine carries a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrying {
    /// From the partner's server to us.
    Download,
    /// From us to the partner's server.
    Upload,
}

impl Carrying {
    /// Its word in the journal.
    #[must_use]
    pub const fn action(self) -> &'static str {
        match self {
            Self::Download => "outbound.download",
            Self::Upload => "outbound.upload",
        }
    }
}

/// One file that is about to be moved, as the journal tells of it.
#[derive(Clone, Debug)]
pub struct Errand {
    /// Which way.
    pub carrying: Carrying,
    /// Whose server.
    pub integration: IntegrationName,
    /// The integration's entity: of an errand that touches no home.
    pub entity: EntityName,
    /// The folder there: a location, or where it is none, its path.
    pub location: FlowTarget,
    /// What it speaks.
    pub protocol: IntegrationProtocol,
    /// The file there, as text.
    pub remote: String,
    /// The run that it is part of: of a command, or of a flow.
    pub run: String,
    /// Who wants it moved: an operator, or a flow.
    pub actor: Actor,
}

/// Whether the same may succeed later by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hope {
    /// It may.
    Transient,
    /// Somebody must change something first.
    Permanent,
}

impl Hope {
    /// Its word in the journal.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
        }
    }
}

/// Why a file was not moved.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What went wrong, in a sentence.
    pub cause: String,
    /// Whether trying again may help.
    pub permanence: Hope,
    /// How far it came, where that is known.
    pub moved_bytes: Option<u64>,
}

impl Failure {
    /// Whoever carried it stopped.
    #[must_use]
    pub fn interrupted() -> Failure {
        Failure {
            cause: "interrupted".to_owned(),
            permanence: Hope::Transient,
            moved_bytes: None,
        }
    }
}

/// Whether the home of a disabled account is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfDisabled {
    /// It is not: its partner is not meant to get or give anything.
    Refuse,
    /// It is: an operator said so.
    Serve,
}

/// Why the courier does nothing.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// There is no such account.
    #[error("account `{account}` does not exist")]
    UnknownAccount {
        /// Its name.
        account: AccountName,
    },
    /// It is disabled, and nobody said that its home is to be served all the same.
    #[error("account `{account}` is disabled")]
    Disabled {
        /// Its name.
        account: AccountName,
    },
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The home, or what settles what was left behind.
    #[error(transparent)]
    Files(#[from] VfsError),
}

impl From<StoreError> for CourierError {
    fn from(source: StoreError) -> Self {
        Self::Files(source.into())
    }
}

/// The door for the outbound engine. A command line counts as a living node as long as
/// it holds one.
#[derive(Debug)]
pub struct Courier {
    depot: Depot,
    /// Of a command line: tells the next one whether this one lives.
    mark: Option<CourierMark>,
    beating: Option<AbortHandle>,
}

impl Drop for Courier {
    fn drop(&mut self) {
        if let Some(beating) = &self.beating {
            beating.abort();
        }
        drop(self.mark.take());
    }
}

impl Depot {
    /// The door for the outbound engine. In a command line it first settles what command
    /// lines that died on this data directory were in the middle of, so that their files
    /// can be gone on with at once.
    ///
    /// # Errors
    /// `DataDir`, `Files` (the homes are not where they should be, the database is away).
    pub async fn courier(&self) -> Result<Courier, CourierError> {
        let holdings = self.holdings();
        holdings.check_storage().await?;
        let Some(data_dir) = self.tools_data_dir() else {
            return Ok(Courier {
                depot: self.clone(),
                mark: None,
                beating: None,
            });
        };
        let mark = data_dir::mark_courier(data_dir, &holdings.node)?;
        self.beat().await?;
        self.settle_dead_couriers(data_dir.clone()).await?;
        let depot = self.clone();
        let beating = tokio::spawn(async move {
            loop {
                timer::sleep(BEAT_EVERY).await;
                if let Err(error) = depot.beat().await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the other nodes could not be told that this one lives"
                    );
                }
            }
        });
        Ok(Courier {
            depot: self.clone(),
            mark: Some(mark),
            beating: Some(beating.abort_handle()),
        })
    }

    async fn settle_dead_couriers(&self, data_dir: PathBuf) -> Result<(), CourierError> {
        let dead = data_dir::dead_couriers(&data_dir)?;
        for (node, _) in &dead {
            self.holdings().store.end_node(node).await?;
        }
        if !dead.is_empty() {
            self.recover().await?;
        }
        // Their marks go only now: until then another command line would not begin.
        drop(dead);
        Ok(())
    }
}

impl Courier {
    /// Goes to the home of an account.
    ///
    /// # Errors
    /// `UnknownAccount`, `Disabled`, `Files`.
    pub async fn visit(
        &self,
        account: &AccountName,
        of_disabled: OfDisabled,
    ) -> Result<Visit, CourierError> {
        let row = self.depot.holdings().store.login(account.as_str()).await?;
        let row = row.ok_or_else(|| CourierError::UnknownAccount {
            account: account.clone(),
        })?;
        if !row.account.enabled && of_disabled == OfDisabled::Refuse {
            return Err(CourierError::Disabled {
                account: account.clone(),
            });
        }
        let holdings = Arc::clone(self.depot.holdings());
        let id = SessionId::random()
            .map_err(|error| VfsError::from(std::io::Error::other(error.to_string())))?;
        let session = Session::of_courier(holdings, id, row).await?;
        Ok(Visit { session })
    }

    /// Begins to move a file that is in no home.
    #[must_use]
    pub fn attempt(&self, errand: Errand) -> Attempt {
        let holdings = Arc::clone(self.depot.holdings());
        Attempt {
            telling: Arc::new(Telling::new(holdings, errand, None)),
            session: None,
        }
    }
}

/// An account's home, and the courier in it.
#[derive(Clone, Debug)]
pub struct Visit {
    session: Session,
}

impl Visit {
    /// Whose home it is.
    #[must_use]
    pub fn account(&self) -> &AccountName {
        self.session.account_name()
    }

    /// Whose account it is.
    #[must_use]
    pub fn entity(&self) -> &EntityName {
        &self.session.account().entity
    }

    /// Begins to move a file into or out of this home.
    #[must_use]
    pub fn attempt(&self, errand: Errand) -> Attempt {
        let account = self.session.account();
        let whose = Some((account.name.clone(), account.entity.clone()));
        let holdings = Arc::clone(self.session.holdings());
        Attempt {
            telling: Arc::new(Telling::new(holdings, errand, whose)),
            session: Some(self.session.clone()),
        }
    }
}

/// One file on its way. Dropped before anything was said of its end, the journal says
/// that it was interrupted.
#[derive(Debug)]
pub struct Attempt {
    telling: Arc<Telling>,
    session: Option<Session>,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        Arc::clone(&self.telling).tell_abandoned();
    }
}

impl Attempt {
    /// Adds to what its entry will say.
    pub fn note(&self, name: &str, value: impl Into<Value>) {
        self.telling.note(name, value.into());
    }

    /// The file has so many bytes: where there is no room for them, receiving it is refused
    /// before anything of it is fetched.
    pub fn expects(&self, bytes: u64) {
        self.telling.expects(bytes);
    }

    /// The file is a flow's: that it has moved is remembered in the transaction that
    /// publishes it, which is refused when somebody else has the run.
    pub fn lands_for(&self, run: &ClaimedRun, moved: MovedFile) {
        self.telling.lands_for(run, moved);
    }

    /// The partner's server, once it is known.
    pub fn met(&self, peer: SocketAddr) {
        self.telling.met(peer);
    }

    /// Begins to receive a file into the home, hidden until it is published; goes on with
    /// what an earlier attempt left of the same content ([`Incoming::size`] says where).
    /// With `Replace::Refuse` a file that has the name, now or when it is published,
    /// stays.
    ///
    /// # Errors
    /// `NotFound` (of the directory; also of an attempt without a home), `NotDirectory`,
    /// `IsDirectory`, `Held`, `AlreadyExists`, `QuotaExceeded`, `Busy`, `DiskFull`,
    /// `ReadOnlyStorage`, `Storage`, `Database`.
    pub async fn receive(
        &self,
        path: &VirtualPath,
        replace: Replace,
        origin: ContentOrigin,
    ) -> Result<Incoming, VfsError> {
        self.telling.is_at(path);
        let session = self.home(path)?;
        let upload = session
            .receive(path, replace, origin, Arc::clone(&self.telling))
            .await?;
        Ok(Incoming { upload })
    }

    /// Whether [`Attempt::receive`] would be refused already now: asked before anything
    /// is fetched.
    ///
    /// # Errors
    /// As [`Attempt::receive`].
    pub async fn check_receive(
        &self,
        path: &VirtualPath,
        replace: Replace,
        origin: ContentOrigin,
    ) -> Result<(), VfsError> {
        self.telling.is_at(path);
        let session = self.home(path)?;
        session
            .check_receive(path, replace, origin, Arc::clone(&self.telling))
            .await
    }

    /// Opens a file of the home that goes to the partner.
    ///
    /// # Errors
    /// `NotFound` (also of an attempt without a home), `IsDirectory`, `Busy`, `Storage`,
    /// `Database`.
    pub async fn collect(&self, path: &VirtualPath) -> Result<Leaving, VfsError> {
        self.telling.is_at(path);
        let session = self.home(path)?;
        let collecting = session.collect(path, Arc::clone(&self.telling)).await?;
        Ok(Leaving {
            collecting: Arc::new(collecting),
        })
    }

    /// A file that is in no home came, or went.
    ///
    /// # Errors
    /// The database is away.
    pub async fn done(self, size_bytes: u64) -> Result<(), StoreError> {
        self.telling.tell_done(size_bytes).await
    }

    /// Nothing was attempted after all: the journal says nothing.
    pub fn forget(self) {
        self.telling.told();
    }

    /// The file did not come to its end. Says nothing when it did after all.
    ///
    /// # Errors
    /// The database is away.
    pub async fn failed(self, failure: &Failure) -> Result<(), StoreError> {
        self.telling.tell_failed(failure).await
    }

    fn home(&self, path: &VirtualPath) -> Result<&Session, VfsError> {
        let session = self.session.as_ref();
        session.ok_or_else(|| VfsError::NotFound { path: path.clone() })
    }
}

/// A file that is being received into a home. Dropped, what has arrived without a gap
/// stays hidden for the next attempt.
#[derive(Debug)]
pub struct Incoming {
    upload: Upload,
}

impl Incoming {
    /// What is there already, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.upload.size()
    }

    /// Writes all of `bytes` (at most [`crate::MAX_IO_BYTES`]) at `offset`.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn write_at(&self, offset: u64, bytes: Bytes) -> Result<(), VfsError> {
        self.upload.write_at(offset, bytes).await
    }

    /// Up to `len` bytes of what is there; empty at the end.
    ///
    /// # Errors
    /// `Storage`.
    pub async fn read_at(&self, offset: u64, len: usize) -> Result<Bytes, VfsError> {
        self.upload.read_at(offset, len).await
    }

    /// Begins anew: nothing of what is there counts.
    ///
    /// # Errors
    /// As [`Upload::set_len`].
    pub async fn restart(&self) -> Result<(), VfsError> {
        self.upload.set_len(0).await
    }

    /// The file takes its name, and the journal tells of it, in one transaction.
    ///
    /// # Errors
    /// As [`Upload::finish`], and `AlreadyExists`.
    pub async fn publish(self) -> Result<UploadReceipt, VfsError> {
        self.upload.finish(Completion::Closed).await
    }

    /// Stops: what has arrived without a gap stays hidden for the next attempt.
    ///
    /// # Errors
    /// `Storage`, `Database`; recovery will do it then.
    pub async fn interrupt(self) -> Result<(), VfsError> {
        self.upload.interrupt().await
    }

    /// Stops, and nothing of it stays: it is not needed.
    ///
    /// # Errors
    /// `Storage`, `Database`; recovery will do it then.
    pub async fn discard(self) -> Result<(), VfsError> {
        self.upload.discard().await
    }
}

/// A file of a home that goes to the partner: whole as it was when it was opened. Copies
/// are the same file.
#[derive(Clone, Debug)]
pub struct Leaving {
    collecting: Arc<Collecting>,
}

impl Leaving {
    /// The file.
    #[must_use]
    pub fn file(&self) -> &Download {
        self.collecting.file()
    }

    /// Its number: another content of the name has another one.
    #[must_use]
    pub fn file_id(&self) -> FileId {
        self.collecting.file().id()
    }

    /// The partner has all of it: the file counts as collected, and the journal tells of
    /// it, in one transaction.
    ///
    /// # Errors
    /// `Database`.
    pub async fn delivered(&self) -> Result<(), VfsError> {
        Ok(self.collecting.delivered().await?)
    }

    /// The same of a flow's file, which the flow remembers in that transaction; false:
    /// somebody else has the run, and nothing was done.
    pub(crate) async fn delivered_for(
        &self,
        held: RunToken,
        done: &FileDone,
    ) -> Result<bool, StoreError> {
        self.collecting.delivered_for(held, done).await
    }
}
