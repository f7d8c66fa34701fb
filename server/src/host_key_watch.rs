//! Looks whether the SSH host keys are others now, and hands them to whoever connects from
//! then on. Those who are connected go on.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layover_config::Sftp;
use layover_depot::{Depot, Outcome, StoreError};
use layover_retention::Clock;
use layover_sftp::Server;
use serde_json::{Map, Value};

use crate::host_key::{HostKey, HostKeyError};
use crate::host_key_set::HostKeySet;
use crate::jobs::chain as with_causes;
use crate::unwritten::{Note, Notes};

/// The entry of other keys, or of some that cannot be used.
const ACTION: &str = "host-key.reload";

/// The watch over the host keys.
pub(crate) struct HostKeyWatch {
    data_dir: PathBuf,
    settings: Sftp,
    server: Server,
    clock: Arc<dyn Clock>,
    notes: Notes,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The keys in use, as `ssh-ed25519 SHA256:...`.
    in_use: Vec<String>,
    /// Why what lies there cannot be used.
    fault: Option<String>,
}

impl HostKeyWatch {
    /// Over the keys that `server` has, which it was given at the start.
    pub(crate) fn new(
        (data_dir, settings): (PathBuf, Sftp),
        server: Server,
        in_use: Vec<String>,
        depot: Depot,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            data_dir,
            settings,
            server,
            clock,
            notes: Notes::new(depot, ACTION),
            seen: Mutex::new(Seen {
                in_use,
                fault: None,
            }),
        }
    }

    /// One look. What is wrong with the keys is told here and is no error.
    ///
    /// # Errors
    /// When the journal cannot be written; the next look tries again.
    pub(crate) async fn look(&self) -> Result<(), StoreError> {
        let looked = self.compare(self.read());
        let note = looked.map(|(outcome, detail)| Note {
            at: self.clock.now(),
            outcome,
            detail,
        });
        self.notes.write(note).await
    }

    fn read(&self) -> Result<Vec<HostKey>, String> {
        let set = HostKeySet::read(&self.data_dir, &self.settings)
            .map_err(|error: HostKeyError| with_causes(&error))?;
        if let Some(path) = set.missing().first() {
            return Err(format!("the host key {} is gone", path.display()));
        }
        Ok(set.served().cloned().collect())
    }

    /// Takes other keys over; returns what is news.
    fn compare(&self, read: Result<Vec<HostKey>, String>) -> Option<(Outcome, Map<String, Value>)> {
        let mut seen = self.seen();
        let mut detail = Map::new();
        match read {
            Err(reason) => {
                let is_news = seen.fault.as_ref() != Some(&reason);
                seen.fault = Some(reason.clone());
                if !is_news {
                    return None;
                }
                tracing::error!("{reason}; the SSH host keys in use stay");
                detail.insert("reason".to_owned(), reason.into());
                detail.insert("in_use".to_owned(), seen.in_use.clone().into());
                Some((Outcome::Failed, detail))
            }
            Ok(keys) => {
                let found: Vec<_> = keys.iter().map(HostKey::fingerprint).collect();
                if found == seen.in_use {
                    if seen.fault.take().is_some() {
                        tracing::info!("the SSH host keys can be used again");
                    }
                    return None;
                }
                seen.fault = None;
                keys.iter().for_each(HostKey::warn);
                self.server
                    .show_host_keys(keys.into_iter().map(HostKey::into_private_key).collect());
                tracing::info!("other SSH host keys are in use: {}", found.join(", "));
                let before = std::mem::replace(&mut seen.in_use, found.clone());
                detail.insert("from".to_owned(), before.into());
                detail.insert("to".to_owned(), found.into());
                Some((Outcome::Ok, detail))
            }
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
