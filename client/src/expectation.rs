//! Looks for files that are expected: in homes through the depot, on partners' servers by
//! listing a folder there.
//!
//! The way in is [`Looker::look`], with a day that the depot gave to this node. What is
//! said of what was seen, and that it is told once, is the depot's to say. It must never
//! change anything on a partner's server, and never take silence for a missing file.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use layover_depot::{
    Actor, DayQuestion, Depot, ExpectationLooks, ExpectationStanding, ExpectedPlace, FlowTarget,
    IntegrationName, LOOK_LEASE, LookLost, OpenDay, RegistryError, SeenFile, Sighting, SourceFacts,
    StoreError, Verdict, timer,
};
use layover_retention::{Clock, Timestamp};
use tokio::sync::Semaphore;

use crate::fault::{RemoteError, RemoteFault, Step};
use crate::flow::{LOCKING_SUFFIXES, facts_of, is_as_exact_as_it_gets};
use crate::partner::{Partner, PartnerError, Surroundings, remote_path};
use crate::path::{RemoteName, RemoteNameError, RemotePath, RemotePathError};
use crate::remote::{EntryKind, Listed, Remote};

/// The lease is renewed so often within its time that a few words may get lost.
const RENEWALS: u32 = 4;

/// What is there so soon behind a deadline was there by then: a server's clock need not
/// say so. Later, the time of its last change tells.
const PROMPT: Duration = Duration::from_secs(15);

/// Between two looks at files that may still be written.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(2);

/// Files that are asked for one by one, for a second look and for their checksums; more
/// are listed again, and not compared by their content.
const ASKED_SINGLY: usize = 20;

/// Most files whose names fit: more are not one file that is expected.
const MAX_FITTING: usize = 1_000;

/// Partners' servers that are asked at the same time: they allow few connections, and a
/// deadline is often that of many.
const SERVERS_AT_ONCE: usize = 8;

/// Who looks for files that are expected. Clones are the same.
#[derive(Clone)]
pub struct Looker {
    depot: Depot,
    looks: ExpectationLooks,
    clock: Arc<dyn Clock>,
    /// Turns at partners' servers.
    turns: Arc<Semaphore>,
    /// None: partners' servers cannot be asked.
    surroundings: Option<Surroundings>,
}

impl std::fmt::Debug for Looker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Looker").finish_non_exhaustive()
    }
}

/// What a look would say now.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What was asked.
    pub question: DayQuestion,
    /// What is said; [`Verdict::Waits`]: whether it is the last file again is not known yet.
    pub verdict: Result<Verdict, String>,
}

/// Why a partner's server could not be asked.
#[derive(Debug, thiserror::Error)]
enum LookFault {
    #[error("integration `{partner}` has no location `{location}`")]
    NoLocation { partner: String, location: String },
    #[error("[outbound] cannot be used; see the server's log")]
    NoSurroundings,
    #[error("the folder there cannot be a path: {0}")]
    Path(#[from] RemotePathError),
    #[error("a name there cannot be one: {0}")]
    Name(#[from] RemoteNameError),
    #[error("{0}")]
    Partner(#[from] PartnerError),
    #[error("{0}")]
    Remote(#[from] RemoteError),
    #[error("{0}")]
    Registry(#[from] RegistryError),
}

impl Looker {
    /// Looks on this depot; without surroundings at homes only.
    #[must_use]
    pub fn new(depot: Depot, clock: Arc<dyn Clock>, surroundings: Option<Surroundings>) -> Self {
        Self {
            looks: depot.expectation_looks(),
            depot,
            clock,
            turns: Arc::new(Semaphore::new(SERVERS_AT_ONCE)),
            surroundings,
        }
    }

    /// Looks at a day, and says what is to be said; keeps its lease meanwhile. Dropped, it
    /// stops at once, and whoever takes the day over looks again.
    ///
    /// # Errors
    /// Somebody else has the day; the database is away.
    pub async fn look(&self, day: &OpenDay) -> Result<(), LookLost> {
        let sighting = tokio::select! {
            seen = self.see(&day.question) => seen?,
            lost = self.keep_lease(day) => return Err(lost),
        };
        self.looks.end(day, sighting).await
    }

    /// What a look would say now: of the day that is over or, where none has been over
    /// today, of the next one. Tells nobody; `None`: it is never due.
    ///
    /// # Errors
    /// The database is away.
    pub async fn check(
        &self,
        standing: &ExpectationStanding,
    ) -> Result<Option<Checked>, StoreError> {
        let Some(question) = self.looks.question_now(standing) else {
            return Ok(None);
        };
        let verdict = match self.see(&question).await? {
            Sighting::Unreachable { why } => Err(why),
            Sighting::Files(files) => Ok(self.looks.verdict_now(&question, &files).await?),
        };
        Ok(Some(Checked { question, verdict }))
    }

    /// Comes back only when the day is lost.
    async fn keep_lease(&self, day: &OpenDay) -> LookLost {
        loop {
            timer::sleep_by(&*self.clock, LOOK_LEASE / RENEWALS).await;
            match self.looks.renew(day).await {
                Ok(()) => {}
                Err(LookLost::Lost) => return LookLost::Lost,
                // The lease has some time left; the next word may get through.
                Err(LookLost::Store(error)) => tracing::warn!(
                    expectation = %day.question.definition.name,
                    error = &error as &dyn std::error::Error,
                    "the lease of a look could not be renewed"
                ),
            }
        }
    }

    async fn see(&self, question: &DayQuestion) -> Result<Sighting, StoreError> {
        let (partner, target) = match &question.definition.place {
            ExpectedPlace::Here { home } => return self.looks.see_here(question, home).await,
            ExpectedPlace::There { partner, target } => (partner, target),
        };
        match self.see_there(question, partner, target).await {
            Ok(files) => Ok(Sighting::Files(files)),
            Err(LookFault::Registry(RegistryError::Store(error))) => Err(error),
            Err(fault) => {
                let why = fault.to_string();
                tracing::warn!(
                    expectation = %question.definition.name,
                    integration = %partner,
                    cause = %why,
                    "a file that is expected could not be looked for: {why}"
                );
                Ok(Sighting::Unreachable { why })
            }
        }
    }

    async fn see_there(
        &self,
        question: &DayQuestion,
        name: &IntegrationName,
        target: &FlowTarget,
    ) -> Result<Vec<SeenFile>, LookFault> {
        // It is never closed.
        let _turn = self.turns.acquire().await.ok();
        let registry = self.depot.registry();
        let surroundings = self.surroundings.as_ref();
        let surroundings = surroundings.ok_or(LookFault::NoSurroundings)?;
        let integration = registry.integration(name).await?;
        let folder = match target {
            FlowTarget::Path(path) => RemotePath::new(path.as_str().as_bytes())?,
            FlowTarget::Location(location) => {
                let found = integration.location(location);
                let found = found.ok_or_else(|| LookFault::NoLocation {
                    partner: name.to_string(),
                    location: location.to_string(),
                })?;
                remote_path(&found.path)?
            }
        };
        let partner = Partner::prepare(registry, integration, surroundings).await?;
        let seen = self.see_folder(question, &partner, &folder).await;
        let actor = Actor::new("expectations");
        if let Err(error) = partner.settle(registry, &actor).await {
            tracing::warn!(
                integration = %name,
                error = &error as &dyn std::error::Error,
                "what a connection taught could not be kept"
            );
        }
        seen
    }

    async fn see_folder(
        &self,
        question: &DayQuestion,
        partner: &Partner,
        folder: &RemotePath,
    ) -> Result<Vec<SeenFile>, LookFault> {
        let mut connection = partner.connect().await?;
        let remote = connection.remote();
        let there = |name: &[u8]| -> Result<RemotePath, LookFault> {
            let name = RemoteName::new(partner.system(), name)?;
            Ok(folder.join(partner.system(), &name)?)
        };
        let first = fitting(question, partner, remote, folder).await?;
        if first.is_empty() {
            let _ = connection.close().await;
            return Ok(Vec::new());
        }
        // What somebody is still writing is not there yet.
        timer::sleep_by(&*self.clock, SECOND_LOOK_AFTER).await;
        let mut second = HashMap::new();
        if first.len() > ASKED_SINGLY {
            let again = fitting(question, partner, remote, folder).await?;
            second.extend(again.into_iter().map(|facts| (facts.name.clone(), facts)));
        } else {
            for facts in &first {
                if let Some(entry) = remote.stat(&there(&facts.name)?).await? {
                    second.insert(facts.name.clone(), facts_of(&entry));
                }
            }
        }
        let rules = &question.definition.rules;
        let has_limits = rules.min_size_bytes.is_some() || rules.max_size_bytes.is_some();
        let now = self.clock.now();
        let mut files = Vec::new();
        for facts in first {
            let Some(again) = second.get(&facts.name) else {
                continue;
            };
            if !is_as_exact_as_it_gets(&facts, again) {
                continue;
            }
            let size_bytes = facts.size_bytes.or(again.size_bytes);
            if size_bytes.is_none() && has_limits {
                let what = "telling a file's size";
                let fault = RemoteFault::Unsupported { what };
                return Err(RemoteError::new(Step::List, fault).into());
            }
            files.push(SeenFile {
                size_bytes,
                came_at: came_at(question, facts.modified_at, now),
                // As a listing tells it: so it compares with the next day's.
                modified_at: facts.modified_at,
                name: facts.name,
                sha256: None,
                hash_to_come: false,
            });
        }
        if !rules.allow_same && files.len() <= ASKED_SINGLY && remote.abilities().sha256 {
            for file in &mut files {
                // A server that cannot after all is one that never could.
                let digest = remote.sha256(&there(&file.name)?).await.ok().flatten();
                file.sha256 = digest.map(hex::encode);
            }
        }
        let _ = connection.close().await;
        Ok(files)
    }
}

/// When a file there came; none: in time.
fn came_at(
    question: &DayQuestion,
    modified_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Timestamp> {
    let is_prompt = now <= question.due_at.saturating_add(PROMPT);
    match question.was_missing() || !is_prompt {
        true => modified_at,
        false => None,
    }
}

/// Files of the folder there whose names fit, and that are not unfinished by their names.
async fn fitting(
    question: &DayQuestion,
    partner: &Partner,
    remote: &mut dyn Remote,
    folder: &RemotePath,
) -> Result<Vec<SourceFacts>, RemoteError> {
    let pattern = question.pattern();
    let outbound = &partner.integration().spec.settings.outbound;
    let own = outbound
        .partial_lock
        .then(|| outbound.partial_suffix.as_str());
    let locking: Vec<_> = LOCKING_SUFFIXES
        .iter()
        .copied()
        .chain(own)
        .map(str::to_ascii_lowercase)
        .collect();
    let mut found = Vec::new();
    let visit = &mut |listed: Listed| {
        let Listed::Entry(entry) = listed else {
            return ControlFlow::Continue(());
        };
        let small = entry.name.as_bytes().to_ascii_lowercase();
        let is_locked = locking.iter().any(|end| small.ends_with(end.as_bytes()));
        if entry.kind != EntryKind::File || is_locked || !pattern.fits(entry.name.as_bytes()) {
            return ControlFlow::Continue(());
        }
        let facts = facts_of(&entry);
        if facts.modified_at.is_none_or(|at| question.is_of_day(at)) {
            found.push(facts);
        }
        match found.len() < MAX_FITTING {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    };
    remote.list(folder, visit).await?;
    Ok(found)
}
