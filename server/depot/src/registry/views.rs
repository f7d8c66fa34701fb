//! What operators look at: sessions, files, retention, jobs.

use super::{Registry, RegistryError};
use crate::account::{Actor, JobRun, LiveSession, RetentionStatus, StoredFile};
use crate::recover::SILENT_AFTER;
use crate::{AccountName, FileId, SessionId, VirtualPath};

/// Files that are read from the ledger at once.
const FILES_PAGE: usize = 1000;

impl Registry {
    /// Everybody who is logged in, on all nodes, oldest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_sessions(&self) -> Result<Vec<LiveSession>, RegistryError> {
        let silent_before = self.holdings.now().saturating_sub(SILENT_AFTER);
        Ok(self.holdings.store.list_sessions(silent_before).await?)
    }

    /// Asks the node of a session to end it; it does within seconds.
    ///
    /// # Errors
    /// `UnknownSession`, `Store`.
    pub async fn kill_session(&self, actor: &Actor, id: &SessionId) -> Result<(), RegistryError> {
        let entry = self.entry(actor, "session.kill").session(id);
        self.holdings
            .store
            .kill_session(id, actor.as_str(), &entry)
            .await?
            .ok_or_else(|| RegistryError::UnknownSession { id: id.clone() })
    }

    /// The files in an account's home at and below `path`, by path; unfinished
    /// uploads are among them and say so.
    ///
    /// # Errors
    /// `UnknownAccount`, `Store`.
    pub async fn list_files(
        &self,
        name: &AccountName,
        path: &VirtualPath,
    ) -> Result<Vec<StoredFile>, RegistryError> {
        let account = self.account(name).await?;
        let Some((home, _)) = self.holdings.store.home(&account.home).await? else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        let mut after = FileId(0);
        loop {
            let page = self
                .holdings
                .store
                .list_files(home, path, after, FILES_PAGE)
                .await?;
            let Some(last) = page.last() else { break };
            after = last.id;
            files.extend(page);
        }
        files.sort_by(|one, other| one.path.cmp(&other.path).then(one.id.cmp(&other.id)));
        Ok(files)
    }

    /// How the retention rule is doing.
    ///
    /// # Errors
    /// `Store`.
    pub async fn retention_status(&self) -> Result<RetentionStatus, RegistryError> {
        Ok(self
            .holdings
            .store
            .retention_status(self.holdings.now())
            .await?)
    }

    /// Notes what a job did, for the status.
    ///
    /// # Errors
    /// `Store`.
    pub async fn note_job(&self, name: &str, run: &JobRun) -> Result<(), RegistryError> {
        Ok(self.holdings.store.note_job(name, run).await?)
    }

    /// What a job did last.
    ///
    /// # Errors
    /// `Store`.
    pub async fn last_run(&self, name: &str) -> Result<Option<JobRun>, RegistryError> {
        Ok(self.holdings.store.last_run(name).await?)
    }
}
