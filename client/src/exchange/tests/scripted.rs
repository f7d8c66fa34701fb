//! A server in memory that does what a test tells it.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::path::{RemoteName, RemotePath, ServerSystem};
use crate::remote::{
    Abilities, Entry, EntryKind, Listed, Modified, OnExisting, Precision, Progress, Received,
    Remote, Sent,
};

/// How much goes over the wire at a time, in bytes.
const CHUNK_BYTES: usize = 50_000;

/// A verb, for faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Stat,
    Get,
    Put,
    Rename,
    Remove,
    Hash,
}

/// What goes wrong.
#[derive(Debug, Clone)]
pub(super) enum Wrong {
    /// The server refuses before anything happens.
    Refused(RemoteFault),
    /// The connection is lost before anything happens.
    LostBefore,
    /// The connection is lost when it has happened and before the answer came.
    LostAfter,
    /// Content moves up to here, then this happens.
    At(u64, RemoteFault),
    /// The server says that all is well and has done nothing.
    Pretended,
    /// Another file stands there afterwards: one with this content.
    ChangedTo(Vec<u8>),
    /// The file is gone afterwards.
    Gone,
    /// The answer never comes.
    Hangs,
}

/// A fault that happens once: at this call of the verb, from 0.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) verb: Verb,
    pub(super) call: usize,
    pub(super) wrong: Wrong,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredFile {
    pub(super) content: Vec<u8>,
    pub(super) modified_s: i64,
    pub(super) kind: EntryKind,
}

#[derive(Debug)]
pub(super) struct Scripted {
    pub(super) files: BTreeMap<Vec<u8>, StoredFile>,
    pub(super) abilities: Abilities,
    pub(super) faults: Vec<Fault>,
    pub(super) precision: Precision,
    pub(super) shows_sizes: bool,
    /// Every verb that was asked, with its path.
    pub(super) heard: Vec<(Verb, String)>,
    pub(super) wire_bytes: u64,
    clock_s: i64,
    is_lost: bool,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            abilities: Abilities {
                resume_download: true,
                resume_upload: true,
                replace_by_rename: true,
                sha256: false,
            },
            faults: Vec::new(),
            precision: Precision::Second,
            shows_sizes: true,
            heard: Vec::new(),
            wire_bytes: 0,
            clock_s: 1_700_000_000,
            is_lost: false,
        }
    }
}

impl Scripted {
    pub(super) fn with(mut self, path: &str, content: &[u8]) -> Self {
        self.store(path.as_bytes(), content.to_vec());
        self
    }

    pub(super) fn failing(mut self, verb: Verb, call: usize, wrong: Wrong) -> Self {
        self.faults.push(Fault { verb, call, wrong });
        self
    }

    pub(super) fn store(&mut self, path: &[u8], content: Vec<u8>) {
        self.clock_s += 10;
        let file = StoredFile {
            content,
            modified_s: self.clock_s,
            kind: EntryKind::File,
        };
        self.files.insert(path.to_vec(), file);
    }

    /// A new connection to the same server.
    pub(super) fn reconnect(&mut self) {
        self.is_lost = false;
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.is_lost
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.files
            .keys()
            .map(|name| std::str::from_utf8(name).unwrap())
            .collect()
    }

    pub(super) fn content(&self, path: &str) -> Option<&[u8]> {
        self.files
            .get(path.as_bytes())
            .map(|file| file.content.as_slice())
    }

    pub(super) fn calls(&self, verb: Verb) -> usize {
        self.heard
            .iter()
            .filter(|(heard, _)| *heard == verb)
            .count()
    }

    fn lost(&mut self, step: Step) -> RemoteError {
        self.is_lost = true;
        RemoteError::new(step, RemoteFault::ConnectionLost)
    }

    /// Takes note of a verb, and says what goes wrong with it.
    async fn begin(
        &mut self,
        verb: Verb,
        step: Step,
        path: &RemotePath,
    ) -> Result<Option<Wrong>, RemoteError> {
        if self.is_lost {
            return Err(self.lost(step));
        }
        let call = self.calls(verb);
        self.heard.push((verb, path.to_string()));
        let found = self
            .faults
            .iter()
            .find(|fault| fault.verb == verb && fault.call == call)
            .map(|fault| fault.wrong.clone());
        match found {
            Some(Wrong::Refused(fault)) => Err(RemoteError::new(step, fault)),
            Some(Wrong::LostBefore) => Err(self.lost(step)),
            Some(Wrong::Hangs) => std::future::pending().await,
            found => Ok(found),
        }
    }

    /// What comes after a verb that was carried out.
    fn end(
        &mut self,
        step: Step,
        path: &RemotePath,
        wrong: Option<Wrong>,
    ) -> Result<(), RemoteError> {
        match wrong {
            Some(Wrong::LostAfter) => Err(self.lost(step)),
            Some(Wrong::ChangedTo(content)) => {
                self.store(path.as_bytes(), content);
                Ok(())
            }
            Some(Wrong::Gone) => {
                self.files.remove(path.as_bytes());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn broken(&mut self, step: Step, fault: RemoteFault) -> RemoteError {
        let error = RemoteError::new(step, fault);
        self.is_lost |= error.ends_connection();
        error
    }

    fn entry(&self, path: &RemotePath) -> Option<Entry> {
        let file = self.files.get(path.as_bytes())?;
        let name = path.as_bytes().rsplit(|byte| *byte == b'/').next()?;
        Some(Entry {
            name: RemoteName::new(ServerSystem::Unix, name).unwrap(),
            kind: file.kind,
            size_bytes: self.shows_sizes.then_some(file.content.len() as u64),
            modified: Some(Modified {
                at: Timestamp::from_second(file.modified_s).unwrap(),
                precision: self.precision,
                day_at: None,
            }),
        })
    }
}

#[async_trait]
impl Remote for Scripted {
    fn abilities(&self) -> Abilities {
        self.abilities
    }

    async fn list(
        &mut self,
        _folder: &RemotePath,
        _visit: &mut (dyn FnMut(Listed) -> ControlFlow<()> + Send),
    ) -> Result<(), RemoteError> {
        Ok(())
    }

    async fn stat(&mut self, path: &RemotePath) -> Result<Option<Entry>, RemoteError> {
        let wrong = self.begin(Verb::Stat, Step::Command, path).await?;
        let entry = self.entry(path);
        self.end(Step::Command, path, wrong)?;
        Ok(entry)
    }

    async fn get(
        &mut self,
        path: &RemotePath,
        offset: u64,
        sink: &mut (dyn AsyncWrite + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Received, RemoteError> {
        const STEP: Step = Step::Download;
        let wrong = self.begin(Verb::Get, STEP, path).await?;
        let Some(file) = self.files.get(path.as_bytes()) else {
            return Err(RemoteError::new(STEP, RemoteFault::NotFound));
        };
        let content = file.content[offset as usize..].to_vec();
        let mut moved = offset;
        for chunk in content.chunks(CHUNK_BYTES) {
            if let Some(Wrong::At(at, fault)) = &wrong
                && moved >= *at
            {
                let fault = fault.clone();
                return Err(self.broken(STEP, fault));
            }
            sink.write_all(chunk).await.map_err(|error| {
                let detail = error.to_string();
                RemoteError::new(STEP, RemoteFault::Local { detail })
            })?;
            progress.moved(chunk.len() as u64);
            moved += chunk.len() as u64;
            self.wire_bytes += chunk.len() as u64;
        }
        sink.flush().await.unwrap();
        self.end(STEP, path, wrong)?;
        Ok(Received {
            bytes: content.len() as u64,
        })
    }

    async fn put(
        &mut self,
        path: &RemotePath,
        offset: u64,
        source: &mut (dyn AsyncRead + Send + Unpin),
        progress: &dyn Progress,
    ) -> Result<Sent, RemoteError> {
        const STEP: Step = Step::Upload;
        let wrong = self.begin(Verb::Put, STEP, path).await?;
        let mut content = match (self.files.get(path.as_bytes()), offset) {
            (Some(file), 1..) if file.content.len() as u64 == offset => file.content.clone(),
            (_, 0) => Vec::new(),
            _ => panic!("continued at {offset} where nothing ends"),
        };
        self.store(path.as_bytes(), content.clone());
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            if let Some(Wrong::At(at, fault)) = &wrong
                && content.len() as u64 >= *at
            {
                let fault = fault.clone();
                return Err(self.broken(STEP, fault));
            }
            let read = source.read(&mut buffer).await.map_err(|error| {
                let detail = error.to_string();
                RemoteError::new(STEP, RemoteFault::Local { detail })
            })?;
            if read == 0 {
                break;
            }
            content.extend_from_slice(&buffer[..read]);
            progress.moved(read as u64);
            self.wire_bytes += read as u64;
            self.store(path.as_bytes(), content.clone());
        }
        if matches!(wrong, Some(Wrong::Pretended)) {
            content.pop();
            self.store(path.as_bytes(), content.clone());
            content.push(0);
        }
        let bytes = content.len() as u64 - offset;
        self.end(STEP, path, wrong)?;
        Ok(Sent { bytes })
    }

    async fn rename(
        &mut self,
        from: &RemotePath,
        to: &RemotePath,
        on_existing: OnExisting,
    ) -> Result<(), RemoteError> {
        const STEP: Step = Step::Rename;
        let wrong = self.begin(Verb::Rename, STEP, from).await?;
        let is_taken = self.files.contains_key(to.as_bytes());
        let may = match on_existing {
            OnExisting::Fail => !is_taken,
            OnExisting::Replace => !is_taken || self.abilities.replace_by_rename,
            OnExisting::DeleteFirst => true,
        };
        if !may {
            return Err(RemoteError::new(STEP, RemoteFault::AlreadyExists));
        }
        if let Some(Wrong::At(_, fault)) = &wrong {
            // Between the removal of the old file and the new name.
            self.files.remove(to.as_bytes());
            let fault = fault.clone();
            return Err(self.broken(STEP, fault));
        }
        let file = self
            .files
            .remove(from.as_bytes())
            .ok_or(RemoteError::new(STEP, RemoteFault::NotFound))?;
        self.files.insert(to.as_bytes().to_vec(), file);
        self.end(STEP, to, wrong)
    }

    async fn remove(&mut self, path: &RemotePath) -> Result<(), RemoteError> {
        const STEP: Step = Step::Remove;
        let wrong = self.begin(Verb::Remove, STEP, path).await?;
        if self.files.remove(path.as_bytes()).is_none() {
            return Err(RemoteError::new(STEP, RemoteFault::NotFound));
        }
        self.end(STEP, path, wrong)
    }

    async fn make_dir(&mut self, _path: &RemotePath) -> Result<(), RemoteError> {
        Ok(())
    }

    async fn sha256(&mut self, path: &RemotePath) -> Result<Option<[u8; 32]>, RemoteError> {
        let wrong = self.begin(Verb::Hash, Step::Command, path).await?;
        let mut hash = self
            .files
            .get(path.as_bytes())
            .map(|file| super::sha256(&file.content));
        if matches!(wrong, Some(Wrong::Pretended))
            && let Some(hash) = &mut hash
        {
            hash[0] ^= 1;
        }
        Ok(hash.filter(|_| self.abilities.sha256))
    }

    async fn close(self: Box<Self>) -> Result<(), RemoteError> {
        Ok(())
    }
}
