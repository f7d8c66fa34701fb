//! The running appliance: depot, listeners, jobs, and their orderly end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use layover_config::Settings;
use layover_depot::{Depot, EndReason, OpenError, Role, VfsError, timer};
use layover_ftps::Entry;
use layover_retention::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address_file::{AddressFile, Addresses, Listening};
use crate::clock::SystemClock;
use crate::host_key::{self, HostKey, HostKeyError};
use crate::jobs::{Job, JobBoard, JobStatus, drive};
use crate::limits::raise_open_files;
use crate::listener::{Admitted, BindError, Listener};
use crate::options::{
    OptionsError, depot_options, ftps_certificate, ftps_identity, ftps_options, sftp_options,
};
use crate::tls_certificate::{Renewal, TlsCertificateError};
use crate::user_ca::{self, UserCaFileError};
use crate::work::{
    Adopt, CertificateWatch, ClockWatch, Heartbeat, PartialSweep, Prune, Recover, Refresh, Sweep,
};

/// How long running transfers may take to finish after the first stop signal.
pub const SOFT_STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long connections may take to notice a hard stop; after that they are
/// abandoned, and recovery settles what they left at the next start.
const HARD_STOP_LIMIT: Duration = Duration::from_secs(5);

/// Why the appliance did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The settings cannot be used.
    #[error("the settings cannot be used")]
    Options(#[from] OptionsError),
    /// The depot cannot be opened.
    #[error("the data cannot be opened")]
    Open(#[from] OpenError),
    /// There is no usable host key.
    #[error("there is no usable SSH host key")]
    HostKey(#[from] HostKeyError),
    /// A file of `[sftp] trusted_user_ca_keys` cannot be used.
    #[error("[sftp] trusted_user_ca_keys cannot be used")]
    UserCa(#[from] UserCaFileError),
    /// There is no usable TLS certificate.
    #[error("there is no usable TLS certificate for FTPS")]
    TlsCertificate(#[from] TlsCertificateError),
    /// A port cannot be had.
    #[error("SFTP or FTPS cannot be served")]
    Bind(#[from] BindError),
    /// What an earlier life left unfinished cannot be settled.
    #[error("the files of an earlier run cannot be settled")]
    Recover(#[from] VfsError),
    /// `addresses.json` cannot be written.
    #[error("addresses.json cannot be written")]
    AddressFile(#[source] io::Error),
}

/// A server that runs. Dropping it stops it hard.
pub struct Appliance {
    depot: Depot,
    clock: Arc<dyn Clock>,
    addresses: Addresses,
    host_key_fingerprints: Vec<String>,
    tls_fingerprint: String,
    renewal: Arc<Renewal>,
    board: Arc<JobBoard>,
    stop: Stop,
}

impl fmt::Debug for Appliance {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Appliance")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// What tells the parts to end, and what waits for them.
#[derive(Clone, Debug, Default)]
struct Stop {
    /// Finish what you do, begin nothing.
    soft: CancellationToken,
    /// End now.
    hard: CancellationToken,
    /// The jobs end, after the last connection.
    jobs: CancellationToken,
    /// Everything has ended.
    done: CancellationToken,
    connection_tasks: TaskTracker,
    job_tasks: TaskTracker,
}

/// The bound ports.
struct Listeners {
    sftp: Listener,
    ftps: Listener,
    ftps_implicit: Listener,
}

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let (sftp, ftps) = (&settings.sftp, &settings.ftps);
        Ok(Self {
            sftp: Listener::bind(sftp.listen, sftp.port.get()).await?,
            ftps: Listener::bind(ftps.listen, ftps.explicit_port.get()).await?,
            ftps_implicit: Listener::bind(ftps.listen, ftps.implicit_port.get()).await?,
        })
    }
}

impl Appliance {
    /// Opens the data, settles what an earlier run left unfinished, and serves.
    /// When this returns, clients can connect.
    ///
    /// # Errors
    /// The first thing that is not as it must be; nothing keeps running then.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        raise_open_files();
        let options = depot_options(&settings, Arc::clone(&clock), Role::Server)?;
        // What can be refused without data comes before data are made.
        let authorities = user_ca::load(&settings.sftp.trusted_user_ca_keys)?;
        host_key::existing(&settings.data_dir, &settings.sftp)?;
        if settings.ftps.certificate.is_some() {
            ftps_identity(&settings, clock.as_ref())?;
        }
        let listeners = match Listeners::bind(&settings).await {
            // The first server on this data has the ports: the depot says so.
            Err(_) if Depot::is_serving(&settings.data_dir) => None,
            bound => Some(bound?),
        };
        let depot = Depot::open(options).await?;
        depot.gate().trust(authorities);
        match Self::start_with(&settings, &clock, depot.clone(), listeners).await {
            Ok(appliance) => Ok(appliance),
            Err(error) => {
                depot.close().await;
                Err(error)
            }
        }
    }

    async fn start_with(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        depot: Depot,
        listeners: Option<Listeners>,
    ) -> Result<Self, StartError> {
        let host_keys = host_key::load(&settings.data_dir, &settings.sftp)?;
        let host_key_fingerprints = host_keys.iter().map(HostKey::fingerprint).collect();
        let identity = ftps_identity(settings, clock.as_ref())?;
        let (chain, key) = ftps_certificate(settings);
        let fingerprint = identity.fingerprint().to_owned();
        let tls_fingerprint = format!("SHA256:{fingerprint}");
        let ftps = ftps_options(settings, identity, Arc::clone(clock)).await?;
        let renewal = Renewal::new(chain, key, Arc::clone(&ftps.tls), &fingerprint);
        let listeners = match listeners {
            Some(listeners) => listeners,
            // The other server has ended since.
            None => Listeners::bind(settings).await?,
        };
        let recovered = depot.recover().await?;
        if !recovered.is_clean() {
            tracing::warn!(
                ?recovered,
                "an earlier run ended early; what it left is settled"
            );
        }

        let stop = Stop::default();
        let addresses = Addresses::of_this_process(
            depot.node().to_string(),
            clock.now(),
            Listening {
                sftp: listeners.sftp.address(),
                ftps: listeners.ftps.address(),
                ftps_implicit: listeners.ftps_implicit.address(),
            },
        );
        let address_file =
            AddressFile::write(&settings.data_dir, &addresses).map_err(StartError::AddressFile)?;
        let appliance = Self {
            depot: depot.clone(),
            clock: Arc::clone(clock),
            addresses,
            host_key_fingerprints,
            tls_fingerprint,
            renewal: Arc::new(renewal),
            board: Arc::new(JobBoard::default()),
            stop,
        };
        appliance.run_jobs(settings);
        appliance.serve_sftp(settings, listeners.sftp, host_keys);
        appliance.serve_ftps(ftps, listeners.ftps, listeners.ftps_implicit);
        tokio::spawn(supervise(
            appliance.stop.clone(),
            depot,
            address_file,
            appliance.addresses.clone(),
        ));
        let at = &appliance.addresses;
        tracing::info!(
            sftp = %at.sftp,
            ftps = %at.ftps,
            ftps_implicit = %at.ftps_implicit,
            "ready: SFTP on {}, FTPS on {} (explicit) and {} (implicit)",
            at.sftp,
            at.ftps,
            at.ftps_implicit
        );
        tracing::info!(
            "the outbound engine and the console are not part of this build yet: \
             their settings are accepted and nothing listens for them"
        );
        Ok(appliance)
    }
}

impl Appliance {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// `ssh-ed25519 SHA256:...` of every host key.
    #[must_use]
    pub fn host_key_fingerprints(&self) -> &[String] {
        &self.host_key_fingerprints
    }

    /// `SHA256:...` of the TLS certificate, in hexadecimal digits.
    #[must_use]
    pub fn tls_fingerprint(&self) -> &str {
        &self.tls_fingerprint
    }

    /// The data, for whoever runs the appliance in its own process.
    #[must_use]
    pub fn depot(&self) -> &Depot {
        &self.depot
    }

    /// How the background jobs are doing.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobStatus> {
        self.board.statuses()
    }

    /// Journals what the wall clock does while the appliance runs.
    pub fn watch_clock(&self, clock: Arc<SystemClock>) {
        self.run_job(ClockWatch {
            depot: self.depot.clone(),
            clock,
        });
    }

    /// Stops accepting; running transfers may finish for [`SOFT_STOP_LIMIT`],
    /// idle sessions end. Returns at once.
    pub fn soft_stop(&self) {
        self.stop.soft.cancel();
    }

    /// Ends everything now. Returns at once.
    pub fn hard_stop(&self) {
        self.stop.soft.cancel();
        self.stop.hard.cancel();
    }

    /// Answers a SIGHUP: a renewed TLS certificate is taken over now instead of
    /// within a minute; accounts and networks are always current; settings and host
    /// keys need a restart.
    pub fn reload(&self) {
        match self.renewal.look() {
            Ok(()) => tracing::info!(
                "SIGHUP: the TLS certificate is current; restart to take over changed settings or host keys"
            ),
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                "SIGHUP: the TLS certificate cannot be read; the one in use stays"
            ),
        }
    }

    /// Waits until everything has ended; for ever, if nobody asks for a stop.
    pub async fn stopped(&self) {
        self.stop.done.cancelled().await;
    }

    fn run_jobs(&self, settings: &Settings) {
        let depot = || self.depot.clone();
        let clock = || Arc::clone(&self.clock);
        self.run_job(Heartbeat(depot()));
        self.run_job(Refresh(depot()));
        self.run_job(Recover(depot()));
        self.run_job(Sweep {
            depot: depot(),
            clock: clock(),
            every: settings.retention.sweep_every.as_duration(),
        });
        self.run_job(PartialSweep {
            depot: depot(),
            clock: clock(),
        });
        self.run_job(Adopt(depot()));
        self.run_job(CertificateWatch(Arc::clone(&self.renewal)));
        self.run_job(Prune {
            depot: depot(),
            clock: clock(),
            keep: settings.journal.keep.as_duration(),
        });
    }

    fn run_job(&self, job: impl Job) {
        let clock = Arc::clone(&self.clock);
        let board = Arc::clone(&self.board);
        self.stop
            .job_tasks
            .spawn(drive(job, clock, board, self.stop.jobs.clone()));
    }

    fn serve_sftp(&self, settings: &Settings, listener: Listener, host_keys: Vec<HostKey>) {
        let server = layover_sftp::Server::new(
            self.depot.clone(),
            sftp_options(settings, host_keys, Arc::clone(&self.clock)),
            self.stop.soft.clone(),
            self.stop.hard.clone(),
        );
        let connections = self.stop.connection_tasks.clone();
        let accept = listener.accept_until(
            self.depot.clone(),
            self.stop.soft.clone(),
            move |Admitted { stream, peer, slot }| {
                connections.spawn(server.serve(stream, peer, slot));
            },
        );
        self.stop.connection_tasks.spawn(accept);
    }

    fn serve_ftps(&self, options: layover_ftps::Options, explicit: Listener, implicit: Listener) {
        let server = layover_ftps::Server::new(
            self.depot.clone(),
            options,
            self.stop.soft.clone(),
            self.stop.hard.clone(),
        );
        for (listener, entry) in [(explicit, Entry::Explicit), (implicit, Entry::Implicit)] {
            let server = server.clone();
            let connections = self.stop.connection_tasks.clone();
            let accept = listener.accept_until(
                self.depot.clone(),
                self.stop.soft.clone(),
                move |Admitted { stream, peer, slot }| {
                    connections.spawn(server.serve(stream, peer, slot, entry));
                },
            );
            self.stop.connection_tasks.spawn(accept);
        }
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.hard_stop();
    }
}

/// Sees the appliance to its end, in order: connections, jobs, data, and last
/// the note of where it listens.
async fn supervise(stop: Stop, depot: Depot, address_file: AddressFile, addresses: Addresses) {
    stop.soft.cancelled().await;
    address_file.note_stopping(addresses);
    tracing::info!("stopping: no new connections, running transfers may finish");
    stop.connection_tasks.close();
    tokio::select! {
        () = stop.connection_tasks.wait() => {}
        () = stop.hard.cancelled() => {}
        () = timer::sleep(SOFT_STOP_LIMIT) => {
            tracing::warn!("transfers still run after {} s and are ended", SOFT_STOP_LIMIT.as_secs());
        }
    }
    stop.hard.cancel();
    depot.end_sessions(EndReason::Stopping);
    if timer::timeout(HARD_STOP_LIMIT, stop.connection_tasks.wait())
        .await
        .is_err()
    {
        tracing::error!("connections do not end and are abandoned");
    }
    // The heartbeat went on until here: other nodes must not take over what
    // this one was still finishing.
    stop.jobs.cancel();
    stop.job_tasks.close();
    if timer::timeout(HARD_STOP_LIMIT, stop.job_tasks.wait())
        .await
        .is_err()
    {
        tracing::error!("background jobs do not end and are abandoned");
    }
    depot.close().await;
    // With the last clone goes the lock on the data directory.
    drop(depot);
    drop(address_file);
    tracing::info!("stopped");
    stop.done.cancel();
}
