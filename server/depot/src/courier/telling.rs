//! What the journal says of an errand: one entry, whatever became of it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use layover_retention::Timestamp;
use serde_json::{Map, Value};

use super::{Carrying, Errand, Failure};
use crate::flow::{ClaimedRun, FlowLanding, MovedFile, RunToken};
use crate::holdings::{Direction, Holdings};
use crate::integration::IntegrationProtocol;
use crate::journal::{JournalKind, NewEntry, Outcome, bounded};
use crate::timer::Stopwatch;
use crate::vfs::HiddenName;
use crate::{AccountName, EntityName, IntegrationName, Protocol, StoreError, VirtualPath};

/// An errand under way, and what is known of it so far.
#[derive(Debug)]
pub(crate) struct Telling {
    holdings: Arc<Holdings>,
    errand: Errand,
    /// Whose home it is; none: a file of this machine.
    whose: Option<(AccountName, EntityName)>,
    running: Stopwatch,
    learned: Mutex<Learned>,
    told: AtomicBool,
}

#[derive(Debug, Default)]
struct Learned {
    path: Option<VirtualPath>,
    peer: Option<SocketAddr>,
    notes: Map<String, Value>,
    /// What the partner's server says that it holds.
    expected_bytes: Option<u64>,
    /// Of a file that is about to have its name, or to be collected.
    moved_bytes: Option<u64>,
    /// What a flow remembers of it.
    landing: Option<Landing>,
}

/// A flow's file that lands, but for its hidden name.
#[derive(Clone, Debug)]
struct Landing {
    held: RunToken,
    moved: MovedFile,
}

impl Telling {
    pub(super) fn new(
        holdings: Arc<Holdings>,
        errand: Errand,
        whose: Option<(AccountName, EntityName)>,
    ) -> Telling {
        Telling {
            holdings,
            errand,
            whose,
            running: Stopwatch::start(),
            learned: Mutex::default(),
            told: AtomicBool::new(false),
        }
    }

    fn learned(&self) -> MutexGuard<'_, Learned> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn integration(&self) -> &IntegrationName {
        &self.errand.integration
    }

    pub(crate) fn is_at(&self, path: &VirtualPath) {
        self.learned().path = Some(path.clone());
    }

    pub(super) fn met(&self, peer: SocketAddr) {
        self.learned().peer = Some(peer);
    }

    pub(super) fn expects(&self, bytes: u64) {
        self.learned().expected_bytes = Some(bytes);
    }

    pub(crate) fn expected_bytes(&self) -> Option<u64> {
        self.learned().expected_bytes
    }

    pub(super) fn note(&self, name: &str, value: Value) {
        let value = match value {
            Value::String(text) => Value::String(bounded(text)),
            other => other,
        };
        self.learned().notes.insert(name.to_owned(), value);
    }

    /// It is a flow's, and what that remembers is written together with the publication.
    pub(super) fn lands_for(&self, run: &ClaimedRun, moved: MovedFile) {
        let held = run.token();
        self.learned().landing = Some(Landing { held, moved });
    }

    /// What a flow remembers of the file with this hidden name.
    pub(crate) fn landing(&self, hidden: &HiddenName) -> Option<FlowLanding> {
        let Landing { held, moved } = self.learned().landing.clone()?;
        Some(FlowLanding {
            held,
            file: moved.file,
            hidden: hidden.clone(),
            keys: moved.keys,
            sha256: moved.sha256.map(hex::encode).unwrap_or_default(),
            content_bytes: moved.content_bytes,
            source_done: moved.source_done,
            source: moved.source,
        })
    }

    /// Its entry is in the journal, or will be without it.
    pub(crate) fn told(&self) {
        if !self.told.swap(true, Ordering::AcqRel)
            && let Some(bytes) = self.learned().moved_bytes
        {
            self.count(true, bytes);
        }
    }

    fn count(&self, ok: bool, bytes: u64) {
        let direction = match self.errand.carrying {
            Carrying::Download => Direction::Download,
            Carrying::Upload => Direction::Upload,
        };
        let integration = self.errand.integration.as_str();
        let counters = &self.holdings.counters;
        counters.outbound(integration, direction, ok, bytes);
    }

    /// A file came, and has its name: part of the transaction that makes it `stored`.
    pub(crate) fn received(
        &self,
        path: &VirtualPath,
        size_bytes: u64,
        received_bytes: u64,
        now: Timestamp,
    ) -> NewEntry {
        self.learned().moved_bytes = Some(received_bytes);
        let entry = self
            .entry(Outcome::Ok, now)
            .path(path)
            .size_bytes(size_bytes);
        // A resumed file: most of it did not come just now.
        if received_bytes == size_bytes {
            entry
        } else {
            entry.with("received_bytes", received_bytes)
        }
    }

    /// A file of a home went, and the partner's server has it: part of the transaction
    /// that makes it collected.
    pub(crate) fn delivered(
        &self,
        path: &VirtualPath,
        size_bytes: u64,
        now: Timestamp,
    ) -> NewEntry {
        self.learned().moved_bytes = Some(size_bytes);
        self.entry(Outcome::Ok, now)
            .path(path)
            .size_bytes(size_bytes)
    }

    /// A file of this machine came or went.
    pub(super) async fn tell_done(&self, size_bytes: u64) -> Result<(), StoreError> {
        let entry = self.entry(Outcome::Ok, self.holdings.now());
        self.tell(entry.size_bytes(size_bytes)).await
    }

    /// It did not come to its end.
    pub(super) async fn tell_failed(&self, failure: &Failure) -> Result<(), StoreError> {
        self.tell(self.failed(failure)).await
    }

    /// Nobody said what became of it: whoever carried it is gone.
    pub(super) fn tell_abandoned(self: Arc<Self>) {
        if self.told.load(Ordering::Acquire) {
            return;
        }
        // Without a runtime the process is ending, and nobody is there to write.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let tasks = self.holdings.tasks.clone();
        tasks.spawn_on(
            async move {
                if let Err(error) = self.tell_failed(&Failure::interrupted()).await {
                    tracing::error!(
                        integration.name = %self.errand.integration,
                        error = &error as &dyn std::error::Error,
                        "an interrupted transfer could not be recorded"
                    );
                }
            },
            &runtime,
        );
    }

    async fn tell(&self, entry: NewEntry) -> Result<(), StoreError> {
        if self.told.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let told = self.holdings.store.append(&entry).await;
        match &told {
            Ok(()) => {
                let bytes = entry.size_bytes.unwrap_or(0);
                self.count(entry.outcome == Outcome::Ok, bytes);
            }
            Err(_) => self.told.store(false, Ordering::Release),
        }
        told
    }

    fn failed(&self, failure: &Failure) -> NewEntry {
        let entry = self.entry(Outcome::Failed, self.holdings.now());
        let entry = entry
            .with("cause", failure.cause.as_str())
            .with("permanence", failure.permanence.as_str());
        match failure.moved_bytes {
            Some(bytes) => entry.size_bytes(bytes),
            None => entry,
        }
    }

    fn entry(&self, outcome: Outcome, now: Timestamp) -> NewEntry {
        let errand = &self.errand;
        let learned = self.learned();
        let mut entry = NewEntry::new(
            now,
            JournalKind::Transfer,
            errand.carrying.action(),
            &self.holdings.node,
        )
        .outcome(outcome)
        .duration_ms(self.running.elapsed_ms());
        entry = match &self.whose {
            Some((account, entity)) => entry.account(account).entity(entity),
            None => entry.entity(&errand.entity),
        };
        if let Some(path) = &learned.path {
            entry = entry.path(path);
        }
        match errand.protocol {
            IntegrationProtocol::Ftps => entry = entry.protocol(Protocol::Ftps),
            IntegrationProtocol::Sftp => entry = entry.protocol(Protocol::Sftp),
            // The column knows what partners may come with, and that is not among it.
            IntegrationProtocol::Ftp => {}
        }
        entry = entry
            .with("integration", errand.integration.as_str())
            .with("location", errand.location.as_str())
            .with("remote", errand.remote.as_str())
            .with("protocol", errand.protocol.as_str())
            .with("run", errand.run.as_str())
            .with("actor", errand.actor.as_str());
        if let Some(peer) = learned.peer {
            entry = entry.peer(peer.ip()).with("peer", peer.to_string());
        }
        entry.detail.extend(learned.notes.clone());
        entry
    }
}
