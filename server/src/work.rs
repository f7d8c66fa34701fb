//! The appliance's background jobs.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use layover_console::SweepFacts;
use layover_depot::timer::Stopwatch;
use layover_depot::{Depot, JobRun, RoomTold};
use layover_retention::{ChainName, Clock, SweepReport, Timestamp, sweep};

use crate::certificate_watch::CertificateWatch;
use crate::clock::SystemClock;
use crate::host_key_watch::HostKeyWatch;
use crate::jobs::{Job, JobFailure, Next};
use crate::pace::Pace;
use crate::public_address::PublicAddresses;

/// How often this node says that it lives. Other nodes take over what a node
/// left unfinished when it has been silent for 60 s.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(5);

/// How often this node looks for changes made elsewhere: changes must take
/// effect within 5 s, and a look costs one small query.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// How often what dead nodes left unfinished is settled, and what a lost
/// database connection kept this one from finishing.
const RECOVER_EVERY: Duration = Duration::from_secs(60);

/// How often interrupted uploads that nobody resumes are looked for.
const PARTIAL_SWEEP_EVERY: Duration = Duration::from_secs(60);

/// How often the tree is compared with the ledger. A file is adopted when two
/// looks agree, so it is known after at most twice this time.
const ADOPT_EVERY: Duration = Duration::from_secs(30);

/// How often new entries get their place in the hash chains: until then they
/// could be changed without a trace.
const SEAL_EVERY: Duration = Duration::from_secs(1);

/// How often transfers are counted. Whoever asks in between gets them counted for him.
const ROLL_UP_EVERY: Duration = Duration::from_secs(5);

const DAY: Duration = Duration::from_secs(86_400);

/// How often the disks are asked how much room there is: the ballast must be given up
/// before a sweep fails for long.
const ROOM_EVERY: Duration = Duration::from_secs(1);

/// How often files without a checksum are looked for.
const HASH_EVERY: Duration = Duration::from_secs(1);

/// How often files that go soon are looked for.
const WARN_EVERY: Duration = Duration::from_secs(30);

/// How often old entries of the journal, and old certificates, are pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// How often what was seen of connections is written: soon enough for who asks the doctor
/// while the partner is on the telephone.
const SIGNS_EVERY: Duration = Duration::from_secs(4);

/// How often the certificate's file is read. Those who renew certificates do it days
/// before the old one ends.
const CERTIFICATE_WATCH_EVERY: Duration = Duration::from_secs(60);

/// How often the host keys are read: what `layover host-key` changes takes effect within
/// 5 s, as every change does.
const HOST_KEY_WATCH_EVERY: Duration = Duration::from_secs(4);

/// How often the names of `[ftps] public_address` are looked up: those whose address
/// changes at all live by DNS records of a few minutes.
const PUBLIC_ADDRESS_WATCH_EVERY: Duration = Duration::from_secs(300);

/// The sweep's name in the log, the status and the database.
pub const SWEEP_JOB: &str = "sweep";

/// Files that one sweep takes out before it looks whether the server stops.
pub const SWEEP_BUDGET: usize = 1000;

/// Says that the node lives.
pub(crate) struct Heartbeat(pub(crate) Depot);

impl Job for Heartbeat {
    fn name(&self) -> &'static str {
        "heartbeat"
    }

    fn period(&self) -> Duration {
        HEARTBEAT_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.0.beat().await?;
        Ok(Next::WhenDue)
    }
}

/// Takes over changes of accounts and networks, ends sessions that must end.
pub(crate) struct Refresh(pub(crate) Depot);

impl Job for Refresh {
    fn name(&self) -> &'static str {
        "refresh"
    }

    fn period(&self) -> Duration {
        REFRESH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.0.refresh().await?;
        Ok(Next::WhenDue)
    }
}

/// Settles what silent nodes, and this one, left unfinished.
pub(crate) struct Recover(pub(crate) Depot);

impl Job for Recover {
    fn name(&self) -> &'static str {
        "recover"
    }

    fn period(&self) -> Duration {
        RECOVER_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let recovered = self.0.recover().await?;
        if !recovered.is_clean() {
            tracing::warn!(?recovered, "unfinished work was settled");
        }
        Ok(Next::WhenDue)
    }
}

/// Deletes what is due.
pub(crate) struct Sweep {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    /// The machine's clock, where that is the one in use.
    pub(crate) machine: Option<Arc<SystemClock>>,
    pub(crate) every: Duration,
    /// The run so far, while more is due than fits into one sweep: when it began and
    /// what it has done.
    pub(crate) under_way: Option<(Timestamp, SweepReport)>,
    /// For metrics.
    pub(crate) counts: Arc<SweepCounts>,
}

/// What the sweeps of this process did.
#[derive(Debug, Default)]
pub(crate) struct SweepCounts {
    inner: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    facts: SweepFacts,
    /// Of the run under way.
    so_far: Duration,
}

impl SweepCounts {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn facts(&self) -> SweepFacts {
        self.counts().facts
    }

    fn count(&self, report: &SweepReport, duration: Duration) {
        let mut counts = self.counts();
        counts.so_far = counts.so_far.saturating_add(duration);
        let so_far = counts.so_far;
        let facts = &mut counts.facts;
        facts.deleted_files = facts.deleted_files.saturating_add(report.deleted);
        facts.deleted_bytes = facts.deleted_bytes.saturating_add(report.deleted_bytes);
        if !report.more_due {
            facts.runs = facts.runs.saturating_add(1);
            facts.failed_files = report.failed;
            facts.last_duration = so_far;
            counts.so_far = Duration::ZERO;
        }
    }
}

impl Job for Sweep {
    fn name(&self) -> &'static str {
        SWEEP_JOB
    }

    /// A tenth shorter than promised: a file that falls due just after a run
    /// started must be gone, not only noticed, within one `sweep_every`.
    fn period(&self) -> Duration {
        self.every.saturating_sub(self.every / 10)
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let started_at = self.clock.now();
        // Who does not know the time cannot know what is due. The clock's watch tells why.
        if self.machine.as_ref().is_some_and(|clock| clock.differs()) {
            return Ok(Next::WhenDue);
        }
        self.depot.shelf().end_holds(started_at).await?;
        let running = Stopwatch::start();
        let report = sweep(self.depot.shelf(), started_at, SWEEP_BUDGET).await?;
        self.counts.count(&report, running.elapsed());
        let fresh = || (started_at, SweepReport::default());
        let (began_at, mut whole) = self.under_way.take().unwrap_or_else(fresh);
        whole.add(report.clone());
        let run = JobRun {
            at: began_at,
            next_due_at: Some(self.next_due(started_at)),
            report: serde_json::to_value(&whole)?,
        };
        self.depot.registry().note_job(self.name(), &run).await?;
        if report.deleted > 0 {
            tracing::info!(
                deleted = report.deleted,
                deleted_bytes = report.deleted_bytes,
                "{} expired files deleted",
                report.deleted
            );
        }
        if report.more_due {
            self.under_way = Some((began_at, whole));
            return Ok(Next::AtOnce);
        }
        match report.first_failure {
            Some(first) => Err(SweepFailure {
                failed: report.failed,
                first,
            }
            .into()),
            None => Ok(Next::WhenDue),
        }
    }
}

/// Some due files stay; they are tried again in every sweep.
#[derive(Debug, thiserror::Error)]
#[error("{failed} due files could not be deleted; the first: {first}")]
struct SweepFailure {
    failed: u64,
    first: String,
}

/// Removes interrupted uploads that nobody resumed in time.
pub(crate) struct PartialSweep {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) machine: Option<Arc<SystemClock>>,
}

impl Job for PartialSweep {
    fn name(&self) -> &'static str {
        "partial-sweep"
    }

    fn period(&self) -> Duration {
        PARTIAL_SWEEP_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        if self.machine.as_ref().is_some_and(|clock| clock.differs()) {
            return Ok(Next::WhenDue);
        }
        self.depot.shelf().sweep_partials(self.clock.now()).await?;
        Ok(Next::WhenDue)
    }
}

/// Compares tree and ledger.
pub(crate) struct Adopt {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Job for Adopt {
    fn name(&self) -> &'static str {
        "adopt"
    }

    fn period(&self) -> Duration {
        ADOPT_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let at = self.clock.now();
        let report = self.depot.adopt_once().await?;
        let run = JobRun {
            at,
            next_due_at: Some(self.next_due(at)),
            report: serde_json::to_value(report)?,
        };
        self.depot.registry().note_job(self.name(), &run).await?;
        Ok(Next::WhenDue)
    }
}

/// Looks how much room there is on the disks.
pub(crate) struct WatchRoom {
    pub(crate) depot: Depot,
    pub(crate) told: RoomTold,
}

impl Job for WatchRoom {
    fn name(&self) -> &'static str {
        "room"
    }

    fn period(&self) -> Duration {
        ROOM_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.depot.watch_room(&mut self.told).await?;
        Ok(Next::WhenDue)
    }
}

/// Gives what happened its place in the hash chains, and signs them.
pub(crate) struct Seal(pub(crate) Depot);

impl Job for Seal {
    fn name(&self) -> &'static str {
        "seal"
    }

    fn period(&self) -> Duration {
        SEAL_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        Ok(if self.0.evidence().seal().await? {
            Next::AtOnce
        } else {
            Next::WhenDue
        })
    }
}

/// Counts what was transferred, by days.
pub(crate) struct RollUp {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    /// Days are kept as long as the journal.
    pub(crate) keep: Duration,
    pub(crate) pruned_at: Option<Timestamp>,
}

impl RollUp {
    /// Forgets old days, once a day: every sum is looked at for it.
    async fn prune(&mut self) -> Result<(), JobFailure> {
        let now = self.clock.now();
        if let Some(pruned_at) = self.pruned_at
            && now.duration_since(pruned_at) < DAY
        {
            return Ok(());
        }
        let statistics = self.depot.statistics();
        statistics.prune(now.saturating_sub(self.keep)).await?;
        self.pruned_at = Some(now);
        Ok(())
    }
}

impl Job for RollUp {
    fn name(&self) -> &'static str {
        "statistics"
    }

    fn period(&self) -> Duration {
        ROLL_UP_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.prune().await?;
        Ok(match self.depot.statistics().roll_up().await? {
            true => Next::AtOnce,
            false => Next::WhenDue,
        })
    }
}

/// Computes checksums of what was published.
pub(crate) struct HashContents(pub(crate) Depot);

impl Job for HashContents {
    fn name(&self) -> &'static str {
        "checksums"
    }

    fn period(&self) -> Duration {
        HASH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let report = self.0.hash_contents().await?;
        Ok(if report.more {
            Next::AtOnce
        } else {
            Next::WhenDue
        })
    }
}

/// Tells of files that go soon and that nobody has collected.
pub(crate) struct WarnUncollected {
    pub(crate) depot: Depot,
    pub(crate) ahead: Duration,
}

impl Job for WarnUncollected {
    fn name(&self) -> &'static str {
        "warn-uncollected"
    }

    fn period(&self) -> Duration {
        WARN_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let told = self.depot.shelf().warn_uncollected(self.ahead).await?;
        Ok(if told > 0 {
            Next::AtOnce
        } else {
            Next::WhenDue
        })
    }
}

/// Prunes entries of a chain that are older than its keep.
pub(crate) struct Prune {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chain: ChainName,
    pub(crate) keep: Duration,
}

impl Job for Prune {
    fn name(&self) -> &'static str {
        match self.chain {
            ChainName::Journal => "journal-prune",
            ChainName::Certificates => "certificates-prune",
        }
    }

    fn period(&self) -> Duration {
        PRUNE_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let before = self.clock.now().saturating_sub(self.keep);
        let pruned = self.depot.evidence().prune(self.chain, before).await?;
        // One call removes a bounded number: repeat until nothing is left.
        Ok(if pruned > 0 {
            Next::AtOnce
        } else {
            Next::WhenDue
        })
    }
}

/// Writes what was seen of connections, for the doctor.
pub(crate) struct WriteSigns {
    pub(crate) depot: Depot,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keep: Duration,
    pub(crate) forgetting: Pace,
}

/// How often those are forgotten that are too old.
pub(crate) const FORGET_SIGNS_EVERY: Duration = Duration::from_secs(3600);

impl Job for WriteSigns {
    fn name(&self) -> &'static str {
        "connection-signs"
    }

    fn period(&self) -> Duration {
        SIGNS_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        let signs = self.depot.signs();
        signs.write().await?;
        let now = self.clock.now();
        if self.forgetting.is_due(now) {
            signs.forget(self.keep).await?;
            self.forgetting.done(now);
        }
        Ok(Next::WhenDue)
    }
}

/// Looks whether the TLS certificate was renewed.
pub(crate) struct WatchCertificate(pub(crate) Arc<CertificateWatch>);

impl Job for WatchCertificate {
    fn name(&self) -> &'static str {
        "certificate-watch"
    }

    fn period(&self) -> Duration {
        CERTIFICATE_WATCH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.0.look().await?;
        Ok(Next::WhenDue)
    }
}

/// Looks whether the host keys are others.
pub(crate) struct WatchHostKeys(pub(crate) Arc<HostKeyWatch>);

impl Job for WatchHostKeys {
    fn name(&self) -> &'static str {
        "host-key-watch"
    }

    fn period(&self) -> Duration {
        HOST_KEY_WATCH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.0.look().await?;
        Ok(Next::WhenDue)
    }
}

/// Looks whether a name of `[ftps] public_address` has another address now.
pub(crate) struct PublicAddressWatch(pub(crate) PublicAddresses);

impl Job for PublicAddressWatch {
    fn name(&self) -> &'static str {
        "public-address-watch"
    }

    fn period(&self) -> Duration {
        PUBLIC_ADDRESS_WATCH_EVERY
    }

    async fn run_once(&mut self) -> Result<Next, JobFailure> {
        self.0.look_again().await?;
        Ok(Next::WhenDue)
    }
}
