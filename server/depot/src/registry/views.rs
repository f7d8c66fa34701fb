//! What operators look at: sessions, how accounts are used, retention, jobs.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use super::{Registry, RegistryError};
use crate::account::{AccountUse, Actor, JobRun, LiveSession, RetentionStatus};
use crate::depot::moving_job;
use crate::holdings::Told;
use crate::recover::SILENT_AFTER;
use crate::{AccountId, SessionId};

/// What a node told longer ago than this is nothing to go by: it tells anew every few
/// seconds.
const TOLD_FOR: Duration = Duration::from_secs(20);

impl Registry {
    /// Everybody who is logged in, on all nodes, oldest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn list_sessions(&self) -> Result<Vec<LiveSession>, RegistryError> {
        let silent_before = self.holdings.now().saturating_sub(SILENT_AFTER);
        let mut sessions = self.holdings.store.list_sessions(silent_before).await?;
        let nodes: BTreeSet<_> = sessions
            .iter()
            .map(|session| session.node.clone())
            .collect();
        for node in nodes {
            for told in self.told_by(&node).await? {
                let mut owners = sessions.iter_mut();
                if let Some(owner) = owners.find(|owner| owner.id.as_str() == told.session) {
                    owner.moving.push(told.file);
                }
            }
        }
        Ok(sessions)
    }

    /// What a node's sessions move, as it told of late.
    async fn told_by(&self, node: &str) -> Result<Vec<Told>, RegistryError> {
        let run = self.holdings.store.last_run(&moving_job(node)).await?;
        let fresh = |run: &JobRun| self.holdings.now().duration_since(run.at) < TOLD_FOR;
        // What another version wrote is not worth a failure.
        let read = |run: JobRun| serde_json::from_value(run.report).unwrap_or_default();
        Ok(run.filter(fresh).map(read).unwrap_or_default())
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

    /// How each account that is there is used.
    ///
    /// # Errors
    /// `Store`.
    pub async fn account_use(&self) -> Result<HashMap<AccountId, AccountUse>, RegistryError> {
        Ok(self.holdings.store.account_use().await?)
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
