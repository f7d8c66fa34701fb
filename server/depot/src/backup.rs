//! A backup: the database as it stood at one moment, and files if they are
//! wanted; and the way back onto an empty directory.
//!
//! A backup is a sequence of named entries (`manifest.json` first, then
//! `database/...`, then `files/NUMBER`); what holds them, and encrypts them, is
//! the caller's business. Rows know no engine: a backup of SQLite can be
//! restored into PostgreSQL.
//!
//! What a restored file is to the ledger is decided by its number: the row gets
//! the identity of the file that was written for it, so that arrival and expiry
//! stay what they were.

use std::io::{self, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use layover_retention::{ChainName, Clock, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::account::{Actor, JobRun};
use crate::data_dir;
use crate::depot::{Depot, Options};
use crate::journal::{JournalKind, NewEntry};
use crate::ledger::{FileRow, FileState};
use crate::store::{
    Column, Connect, DumpError, DumpPart, Kind, Missing, OpenStoreError, Store, TableRows, Value,
};
use crate::vfs::{
    FileKind, HiddenName, Identity, LocalStorage, MAX_IO_BYTES, OpenFile, Place, Replace, Storage,
    StorageId,
};
use crate::{FileId, HomeName, NodeId, OpenError, StoreError, VfsError};

/// The form that this version writes and reads.
const FORMAT: u32 = 1;

/// The first entry.
const MANIFEST: &str = "manifest.json";
const DATABASE: &str = "database/";
const FILES: &str = "files/";

/// The note of a restore that is not complete: no server works on it.
pub(crate) const RESTORING: &str = "restore";

/// Bytes of one entry of rows, and of the manifest, that are read at most.
const MAX_ROWS_BYTES: u64 = 256 * 1024 * 1024;

/// Rows looked up at once.
const PAGE: usize = 500;

/// Takes the entries of a backup, one after the other.
pub trait BackupSink {
    /// A small entry.
    ///
    /// # Errors
    /// When it cannot be written; the backup ends then.
    fn entry(&mut self, name: &str, content: &[u8]) -> io::Result<()>;

    /// A file of a partner's: exactly `size_bytes` from `content`.
    ///
    /// # Errors
    /// As above.
    fn file(
        &mut self,
        name: &str,
        size_bytes: u64,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> io::Result<()>;
}

/// Why there is no backup, or why it could not be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The database is away.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be set up.
    #[error(transparent)]
    Open(#[from] OpenStoreError),
    /// The depot cannot be opened.
    #[error(transparent)]
    Depot(#[from] Box<OpenError>),
    /// The files cannot be read or written.
    #[error(transparent)]
    Files(#[from] VfsError),
    /// The backup cannot be written.
    #[error("the backup cannot be written")]
    Sink(#[source] io::Error),
    /// The backup cannot be read.
    #[error("the backup cannot be read")]
    Source(#[source] io::Error),
    /// It is not what it should be.
    #[error("the backup is damaged: {entry}: {what}")]
    Damaged {
        /// Where.
        entry: String,
        /// What is wrong.
        what: String,
    },
    /// It has another form.
    #[error("the backup has form {0}, and this version reads form {FORMAT}")]
    Format(u32),
    /// There is something already.
    #[error("`{}` is not empty: a backup is restored into an empty directory and an empty database", .0.display())]
    NotEmpty(std::path::PathBuf),
    /// The homes are another database's.
    #[error(
        "the homes are storage `{found}`, and the backup speaks of `{expected}`: restore it beside those homes, or into an empty directory"
    )]
    OtherHomes {
        /// What the backup speaks of.
        expected: String,
        /// What is there.
        found: String,
    },
}

impl From<DumpError> for BackupError {
    fn from(error: DumpError) -> Self {
        match error {
            DumpError::Store(error) => Self::Store(error),
            DumpError::Sink(error) => Self::Sink(error),
        }
    }
}

/// What is in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BackupManifest {
    /// The form of the backup.
    pub format: u32,
    /// Which version of Layover wrote it.
    pub version: String,
    /// When.
    pub created_at: Timestamp,
    /// The last schema step of the database.
    pub schema_step: i64,
    /// Which storage the homes are on.
    pub storage: Option<String>,
    /// Whether files are in it.
    pub files: bool,
}

/// What a backup, or a restore, did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Rows of the database.
    pub rows: u64,
    /// Stored files that are in it.
    pub files: u64,
    /// Their bytes.
    pub file_bytes: u64,
    /// Stored files that were gone or replaced before they could be read; in a
    /// restore, stored files whose content is neither in the backup nor in the
    /// homes.
    pub absent: u64,
}

/// The content of an open file, from its beginning.
struct Content {
    file: Arc<dyn OpenFile>,
    at: u64,
    end: u64,
}

impl Read for Content {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left).min(MAX_IO_BYTES);
        let bytes = self.file.read_at(self.at, wanted)?;
        for (to, from) in buffer.iter_mut().zip(&bytes) {
            *to = *from;
        }
        self.at = self.at.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    table: String,
    columns: Vec<(String, String)>,
}

/// Rows as lines of JSON: what they are, then one array for each.
fn lines_of(part: &TableRows) -> Result<Vec<u8>, serde_json::Error> {
    let columns = part.columns.iter();
    let head = Head {
        table: part.table.clone(),
        columns: columns
            .map(|column| (column.name.clone(), column.kind.as_str().to_owned()))
            .collect(),
    };
    let mut lines = serde_json::to_vec(&head)?;
    for row in &part.rows {
        let row: Vec<_> = row
            .iter()
            .map(|value| match value {
                Value::Int(value) => Json::from(*value),
                Value::Text(value) => Json::from(value.clone()),
                Value::Bytes(value) => Json::from(value.as_ref().map(|it| STANDARD.encode(it))),
            })
            .collect();
        lines.push(b'\n');
        serde_json::to_writer(&mut lines, &row)?;
    }
    Ok(lines)
}

fn rows_of(entry: &str, text: &[u8]) -> Result<TableRows, BackupError> {
    let damaged = |what: String| BackupError::Damaged {
        entry: entry.to_owned(),
        what,
    };
    let mut lines = text.split(|byte| *byte == b'\n');
    let head = lines.next().unwrap_or_default();
    let head: Head = serde_json::from_slice(head).map_err(|error| damaged(error.to_string()))?;
    let mut columns = Vec::with_capacity(head.columns.len());
    for (name, kind) in head.columns {
        let kind = Kind::parse(&kind).ok_or_else(|| damaged(format!("a column of `{kind}`")))?;
        columns.push(Column { name, kind });
    }
    let mut rows = Vec::new();
    for line in lines {
        let row: Vec<Json> =
            serde_json::from_slice(line).map_err(|error| damaged(error.to_string()))?;
        if row.len() != columns.len() {
            return Err(damaged(format!("a row of {} columns", row.len())));
        }
        let mut values = Vec::with_capacity(row.len());
        for (value, column) in row.into_iter().zip(&columns) {
            let value = match (column.kind, value) {
                (Kind::Int, Json::Null) => Value::Int(None),
                (Kind::Int, Json::Number(number)) => Value::Int(number.as_i64()),
                (Kind::Text, Json::Null) => Value::Text(None),
                (Kind::Text, Json::String(text)) => Value::Text(Some(text)),
                (Kind::Bytes, Json::Null) => Value::Bytes(None),
                (Kind::Bytes, Json::String(text)) => {
                    let bytes = STANDARD.decode(text);
                    Value::Bytes(Some(bytes.map_err(|error| damaged(error.to_string()))?))
                }
                (_, other) => return Err(damaged(format!("{other} in column {}", column.name))),
            };
            values.push(value);
        }
        rows.push(values);
    }
    Ok(TableRows {
        table: head.table,
        columns,
        rows,
    })
}

impl Depot {
    /// Writes a backup: of the database as it stands at this moment, whatever
    /// partners do meanwhile; and, `with_files`, of every stored file that is
    /// still there when its turn comes. Interrupted uploads are not in it.
    ///
    /// # Errors
    /// What was written by then is no backup.
    pub async fn backup(
        &self,
        with_files: bool,
        sink: &mut dyn BackupSink,
    ) -> Result<BackupReport, BackupError> {
        let holdings = self.holdings();
        let created_at = holdings.now();
        let mut report = BackupReport::default();
        let mut number = 0_u64;
        let mut take = |part: DumpPart| match part {
            DumpPart::Beginning { step, storage } => {
                let manifest = BackupManifest {
                    format: FORMAT,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    created_at,
                    schema_step: step,
                    storage,
                    files: with_files,
                };
                sink.entry(MANIFEST, &serde_json::to_vec_pretty(&manifest)?)
            }
            DumpPart::Rows(part) => {
                number = number.saturating_add(1);
                report.rows = report.rows.saturating_add(part.rows.len() as u64);
                let name = format!("{DATABASE}{number:08}-{}.jsonl", part.table);
                sink.entry(&name, &lines_of(&part)?)
            }
        };
        holdings.store.dump(&mut take).await?;
        if with_files {
            self.backup_files(sink, &mut report).await?;
        }
        Ok(report)
    }

    async fn backup_files(
        &self,
        sink: &mut dyn BackupSink,
        report: &mut BackupReport,
    ) -> Result<(), BackupError> {
        let holdings = self.holdings();
        holdings.check_storage().await?;
        let mut after = FileId(0);
        loop {
            let rows = holdings.store.stored_after(after, PAGE).await?;
            let found = rows.len();
            for row in rows {
                after = row.id;
                let place = Place::new(&holdings.store.home_name(row.home).await?, &row.path);
                let opened = holdings.vfs.run(move |storage| storage.open(&place)).await;
                let (file, entry) = match opened {
                    Ok((file, entry)) if row.is_file(entry.identity) => (file, entry),
                    Ok(_) => {
                        report.absent = report.absent.saturating_add(1);
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        report.absent = report.absent.saturating_add(1);
                        continue;
                    }
                    Err(error) => return Err(VfsError::at(&row.path, error).into()),
                };
                let size_bytes = entry.size_bytes;
                let mut content = Content {
                    file,
                    at: 0,
                    end: size_bytes,
                };
                let modified_at = Timestamp::from_micros(entry.modified_us);
                let name = format!("{FILES}{}", row.id);
                sink.file(&name, size_bytes, modified_at, &mut content)
                    .map_err(BackupError::Sink)?;
                report.files = report.files.saturating_add(1);
                report.file_bytes = report.file_bytes.saturating_add(size_bytes);
            }
            if found < PAGE {
                return Ok(());
            }
        }
    }
}

/// A backup on its way back.
pub struct Restore {
    store: Store,
    storage: LocalStorage,
    connect: Connect,
    clock: Arc<dyn Clock>,
    data_dir: std::path::PathBuf,
    manifest: BackupManifest,
    report: BackupReport,
    /// The database is complete, and at the newest schema step.
    settled: bool,
}

impl std::fmt::Debug for Restore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Restore")
            .field("manifest", &self.manifest)
            .field("report", &self.report)
            .finish_non_exhaustive()
    }
}

impl Restore {
    /// Begins with the first entry, `manifest.json`: refuses a data directory or
    /// database that holds anything, and homes of another database.
    ///
    /// # Errors
    /// `NotEmpty`, `OtherHomes`, `Format`, `Damaged`; no data were changed then, though
    /// an empty data directory may have been made.
    pub async fn begin(
        options: &Options,
        name: &str,
        manifest: &mut dyn Read,
    ) -> Result<Self, BackupError> {
        let damaged = |what: String| BackupError::Damaged {
            entry: name.to_owned(),
            what,
        };
        if name != MANIFEST {
            return Err(damaged(format!("a backup begins with {MANIFEST}")));
        }
        let text = small(manifest)?;
        let manifest: BackupManifest =
            serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(BackupError::Format(manifest.format));
        }
        if manifest.schema_step > Store::last_step() {
            let step = manifest.schema_step;
            return Err(OpenStoreError::Newer { step }.into());
        }
        let made = |error: OpenError| BackupError::Depot(Box::new(error));
        if !data_dir::is_unused(&options.data_dir) {
            return Err(BackupError::NotEmpty(options.data_dir.clone()));
        }
        data_dir::make_private(&options.data_dir).map_err(|error| made(error.into()))?;
        let homes = options.homes.clone();
        let storage = LocalStorage::open(&homes, options.fsync).map_err(|source| {
            made(OpenError::Homes {
                path: homes,
                source,
            })
        })?;
        let ours = manifest.storage.as_deref().and_then(StorageId::parse);
        let found = storage.storage_id().map_err(BackupError::Source)?;
        if let (Some(expected), Some(found)) = (&ours, &found)
            && expected != found
        {
            return Err(BackupError::OtherHomes {
                expected: expected.to_string(),
                found: found.to_string(),
            });
        }
        let connect = Connect {
            url: options.database_url.clone(),
            fsync: options.fsync,
            missing: Missing::MakeUpTo(manifest.schema_step),
        };
        data_dir::mark_restoring(&options.data_dir).map_err(|error| made(error.into()))?;
        let store = Store::open(&connect).await?;
        store.clear().await?;
        let now = options.clock.now();
        let note = JobRun {
            at: now,
            next_due_at: None,
            report: Json::from("not complete"),
        };
        store.note_job(RESTORING, &note).await?;
        if let Some(ours) = &ours {
            storage.mark_storage(ours).map_err(BackupError::Source)?;
        }
        Ok(Self {
            store,
            storage,
            connect,
            clock: Arc::clone(&options.clock),
            data_dir: options.data_dir.clone(),
            manifest,
            report: BackupReport::default(),
            settled: false,
        })
    }

    /// What the backup says of itself.
    #[must_use]
    pub fn manifest(&self) -> &BackupManifest {
        &self.manifest
    }

    /// Takes the next entry of the database or of the files; false for any other,
    /// which is the caller's.
    ///
    /// # Errors
    /// The restore cannot go on: what is there by now must be removed.
    pub async fn entry(
        &mut self,
        name: &str,
        size_bytes: u64,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> Result<bool, BackupError> {
        if name.starts_with(DATABASE) {
            let part = rows_of(name, &small(content)?)?;
            self.report.rows = self.report.rows.saturating_add(part.rows.len() as u64);
            for rows in part.rows.chunks(PAGE) {
                let part = TableRows {
                    table: part.table.clone(),
                    columns: part.columns.clone(),
                    rows: rows.to_vec(),
                };
                self.store.load(&part).await?;
            }
            return Ok(true);
        }
        let Some(number) = name.strip_prefix(FILES) else {
            return Ok(false);
        };
        self.settle_database().await?;
        let number = number.parse().map_err(|_| BackupError::Damaged {
            entry: name.to_owned(),
            what: "no number".to_owned(),
        })?;
        // A file that came after the database was read has no row.
        let Some(row) = self.store.row(FileId(number)).await? else {
            return Ok(true);
        };
        if row.state == FileState::Stored && row.size_bytes == size_bytes {
            self.write(&row, modified_at, content).await?;
            self.report.files = self.report.files.saturating_add(1);
            self.report.file_bytes = self.report.file_bytes.saturating_add(size_bytes);
        }
        Ok(true)
    }

    /// The last entry was taken: rows and files are made to belong together, and
    /// a server may work on them. The journal says who put which moment back.
    ///
    /// # Errors
    /// As [`Restore::entry`].
    pub async fn finish(mut self, actor: &Actor) -> Result<BackupReport, BackupError> {
        self.settle_database().await?;
        let mut after = FileId(0);
        loop {
            let rows = self.store.stored_after(after, PAGE).await?;
            let found = rows.len();
            for row in rows {
                after = row.id;
                self.find_again(&row).await?;
            }
            if found < PAGE {
                break;
            }
        }
        self.end_lost_uploads().await?;
        self.tell(actor).await?;
        self.store.forget_job(RESTORING).await?;
        self.store.close().await;
        data_dir::unmark_restoring(&self.data_dir)
            .map_err(|error| BackupError::Depot(Box::new(error.into())))?;
        Ok(self.report)
    }

    /// A restore puts the hash chains back, too: where they stand is written down in
    /// the journal that goes on from there.
    async fn tell(&self, actor: &Actor) -> Result<(), BackupError> {
        let node = NodeId("restore".to_owned());
        let mut entry = NewEntry::admin(self.clock.now(), "restore", &node, actor)
            .with("backup_at", self.manifest.created_at.to_string())
            .with("backup_version", self.manifest.version.as_str());
        for (chain, seq, hash) in [
            (
                ChainName::Certificates,
                "certificates_seq",
                "certificates_hash",
            ),
            (ChainName::Journal, "journal_seq", "journal_hash"),
        ] {
            let head = self.store.chain_head(chain).await?;
            entry = entry.with(seq, head.seq).with(hash, head.hash.to_string());
        }
        self.store.append(&entry).await?;
        Ok(())
    }

    /// A backup holds no interrupted uploads: their rows end, except where the homes
    /// have been there all the time and the hidden file still is.
    async fn end_lost_uploads(&self) -> Result<(), BackupError> {
        let node = NodeId("restore".to_owned());
        // They are few, a day's worth at most.
        let rows = self.store.stale_uploads(Timestamp::MAX, usize::MAX).await?;
        for row in rows {
            let hidden = row.hidden.as_ref();
            let found = hidden.map(|hidden| self.storage.stat_hidden(hidden));
            match found {
                Some(Ok(_)) => continue,
                Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(BackupError::Source(error));
                }
                Some(Err(_)) | None => {}
            }
            let kind = JournalKind::Retention;
            let mut entry = NewEntry::new(self.clock.now(), kind, "expire-partial", &node)
                .path(&row.path)
                .size_bytes(row.size_bytes)
                .with("home", self.store.home_name(row.home).await?.as_str())
                .with("reason", "restored without its content");
            if let Some(account) = row.uploaded_by {
                let (account, entity) = self.store.account_names(account).await?;
                entry = entry.account(account).entity(entity);
            }
            self.store
                .forget_upload(row.id, row.state, Some(&entry))
                .await?;
        }
        Ok(())
    }

    /// The database is loaded: numbers go on, and later schema steps follow.
    async fn settle_database(&mut self) -> Result<(), BackupError> {
        if self.settled {
            return Ok(());
        }
        self.store.settle_numbers().await?;
        self.store.close().await;
        self.store = Store::open(&Connect {
            missing: Missing::Make,
            ..self.connect.clone()
        })
        .await?;
        let note = JobRun {
            at: self.clock.now(),
            next_due_at: None,
            report: Json::from("not complete"),
        };
        self.store.note_job(RESTORING, &note).await?;
        // Clocks that were looked at long ago, perhaps on other machines, say nothing of
        // this one.
        self.store.forget_clocks().await?;
        self.settled = true;
        Ok(())
    }

    /// A row's content, in its place.
    async fn write(
        &self,
        row: &FileRow,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> Result<(), BackupError> {
        let home = self.store.home_name(row.home).await?;
        let identity = self
            .place(&home, row, modified_at, content)
            .map_err(|error| VfsError::at(&row.path, error))?;
        self.store.set_identity(row.id, identity).await?;
        Ok(())
    }

    fn place(
        &self,
        home: &HomeName,
        row: &FileRow,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> io::Result<Identity> {
        let place = Place::new(home, &row.path);
        self.storage.make_home(home)?;
        self.make_dirs(home, row)?;
        let hidden = HiddenName::fresh()?;
        let file = self.storage.create_hidden(&hidden)?;
        let mut buffer = vec![0; MAX_IO_BYTES];
        let mut at = 0_u64;
        loop {
            let read = content.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
                break;
            };
            file.write_at(at, bytes)?;
            at = at.saturating_add(bytes.len() as u64);
        }
        if at != row.size_bytes {
            self.storage.unlink_hidden(&hidden)?;
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.set_modified(modified_at.as_micros())?;
        file.sync()?;
        self.storage.publish(&hidden, &place, Replace::Allow)?;
        self.storage.sync_dir(&place.dir())?;
        Ok(self.storage.stat(&place)?.identity)
    }

    fn make_dirs(&self, home: &HomeName, row: &FileRow) -> io::Result<()> {
        let mut above = Vec::new();
        let mut dir = row.path.dir();
        while !dir.is_root() {
            above.push(dir.clone());
            dir = dir.dir();
        }
        for dir in above.into_iter().rev() {
            match self.storage.make_dir(&Place::new(home, &dir)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Homes that outlived the database, or were copied by other means: a file of
    /// the row's name and size is the row's file.
    async fn find_again(&mut self, row: &FileRow) -> Result<(), BackupError> {
        let home = self.store.home_name(row.home).await?;
        match self.storage.stat(&Place::new(&home, &row.path)) {
            Ok(entry) if row.is_file(entry.identity) => Ok(()),
            Ok(entry) if entry.kind == FileKind::File && entry.size_bytes == row.size_bytes => {
                Ok(self.store.set_identity(row.id, entry.identity).await?)
            }
            _ => {
                self.report.absent = self.report.absent.saturating_add(1);
                Ok(())
            }
        }
    }
}

/// An entry that is read whole.
fn small(content: &mut dyn Read) -> Result<Vec<u8>, BackupError> {
    let mut text = Vec::new();
    content
        .take(MAX_ROWS_BYTES)
        .read_to_end(&mut text)
        .map_err(BackupError::Source)?;
    Ok(text)
}

/// Whether a restored database is still incomplete.
pub(crate) async fn is_incomplete(store: &Store) -> Result<bool, StoreError> {
    Ok(store.last_run(RESTORING).await?.is_some())
}
