//! The running appliance: depot, listeners, jobs, and their orderly end.

mod running;
mod serving;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use layover_client::Surroundings;
use layover_config::{Port, Settings};
use layover_depot::{CourierError, Depot, EndReason, OpenError, Role, VfsError, timer};
use layover_retention::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address_file::{AddressFile, Addresses, Listening};
use crate::certificate_watch::CertificateWatch;
use crate::clock::SystemClock;
use crate::clock_watch::ClockWatch;
use crate::endings::EndingBoard;
use crate::host_key::{HostKey, HostKeyError};
use crate::host_key_set::{self, HostKeySet};
use crate::host_key_watch::HostKeyWatch;
use crate::jobs::{Job, JobBoard, JobStatus, drive};
use crate::limits::raise_open_files;
use crate::listener::{BindError, Listener, Wanted};
use crate::options::{
    OptionsError, depot_options, ftps_certificate, ftps_identity, ftps_options,
    passive_port_survey, sftp_options,
};
use crate::outbound::surroundings;
use crate::public_address::{PublicAddressError, PublicAddresses};
use crate::tls_certificate::{Renewal, TlsCertificateError, TlsCertificateState};
use crate::user_ca::{self, UserCaFileError};
use crate::work::{PublicAddressWatch, SweepCounts};

/// How long running transfers may take to finish after the first stop signal.
pub const SOFT_STOP_LIMIT: Duration = Duration::from_secs(30);

/// How long those that still run then may take to tell their clients why they end: a reply
/// each, or an SSH message, and the entry of what was broken off.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);

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
    /// A name of `[ftps] public_address` says no address.
    #[error("FTPS cannot be served")]
    PublicAddress(#[from] PublicAddressError),
    /// A port cannot be had.
    #[error("a port cannot be had")]
    Bind(#[from] BindError),
    /// What an earlier life left unfinished cannot be settled.
    #[error("the files of an earlier run cannot be settled")]
    Recover(#[from] VfsError),
    /// Flows cannot use the homes.
    #[error("the homes cannot be used by flows")]
    Courier(#[from] CourierError),
    /// `addresses.json` cannot be written.
    #[error("addresses.json cannot be written")]
    AddressFile(#[source] io::Error),
}

/// A server that runs. Dropping it stops it hard.
pub struct Appliance {
    depot: Depot,
    clock: Arc<dyn Clock>,
    machine: Option<Arc<SystemClock>>,
    addresses: Addresses,
    host_key_fingerprints: Vec<String>,
    certificate_watch: Option<Arc<CertificateWatch>>,
    endings: Arc<EndingBoard>,
    /// None where SFTP is switched off.
    host_key_watch: Option<Arc<HostKeyWatch>>,
    board: Arc<JobBoard>,
    sweeps: Arc<SweepCounts>,
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

/// The bound ports; none where a listener is switched off.
struct Listeners {
    sftp: Option<Listener>,
    ftps: Option<Listener>,
    ftps_implicit: Option<Listener>,
    console: Option<Listener>,
}

impl Listeners {
    async fn bind(settings: &Settings) -> Result<Self, BindError> {
        let [sftp, explicit, implicit, console] = wanted(settings);
        Ok(Self {
            sftp: Listener::bind_wanted(sftp).await?,
            ftps: Listener::bind_wanted(explicit).await?,
            ftps_implicit: Listener::bind_wanted(implicit).await?,
            console: Listener::bind_wanted(console).await?,
        })
    }

    fn listening(&self) -> Listening {
        let address = |listener: &Option<Listener>| listener.as_ref().map(Listener::address);
        Listening {
            sftp: address(&self.sftp),
            ftps: address(&self.ftps),
            ftps_implicit: address(&self.ftps_implicit),
            console: address(&self.console),
        }
    }
}

/// The ports of SFTP, explicit and implicit FTPS and the console; none where one is
/// switched off.
fn wanted(settings: &Settings) -> [Option<Wanted>; 4] {
    let (sftp, ftps, console) = (&settings.sftp, &settings.ftps, &settings.console);
    let at = |ip, port: Port, setting| Wanted {
        address: SocketAddr::new(ip, port.get()),
        setting,
    };
    let explicit = at(
        ftps.listen,
        ftps.explicit_port,
        "[ftps] explicit_port (LAYOVER__FTPS__EXPLICIT_PORT)",
    );
    let implicit = at(
        ftps.listen,
        ftps.implicit_port,
        "[ftps] implicit_port (LAYOVER__FTPS__IMPLICIT_PORT)",
    );
    let setting = "[sftp] port (LAYOVER__SFTP__PORT)";
    [
        sftp.enabled.then(|| at(sftp.listen, sftp.port, setting)),
        ftps.explicit_enabled.then_some(explicit),
        ftps.implicit_enabled.then_some(implicit),
        console.enabled.then_some(Wanted {
            address: console.listen,
            setting: "[console] listen (LAYOVER__CONSOLE__LISTEN)",
        }),
    ]
}

/// What FTPS needs, where it is served.
struct FtpsParts {
    options: layover_ftps::Options,
    renewal: Renewal,
}

impl FtpsParts {
    fn prepare(
        settings: &Settings,
        clock: &Arc<dyn Clock>,
        public_addresses: &PublicAddresses,
    ) -> Result<Self, TlsCertificateError> {
        let identity = ftps_identity(settings, clock.as_ref())?;
        let state = TlsCertificateState::of(&identity);
        let told = public_addresses.told();
        let options = ftps_options(settings, identity, told, Arc::clone(clock));
        let tls = Arc::clone(&options.tls);
        let renewal = Renewal::new(ftps_certificate(settings), tls, state, clock.now());
        Ok(Self { options, renewal })
    }
}

/// What partners' servers and hooks are reached with; without, neither flows run nor
/// hooks are told: partners come in all the same.
fn surroundings_of(settings: &Settings, clock: &Arc<dyn Clock>) -> Option<Surroundings> {
    surroundings(&settings.outbound, Arc::clone(clock))
        .inspect_err(|error| {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "flows do not run and hooks are not told: [outbound] cannot be used"
            );
        })
        .ok()
}

/// Lets go of what this node had begun when it ended, deliveries and, where flows run,
/// their runs: others would wait for the ends of its leases.
async fn settle_cut_off(depot: &Depot, flows_run: bool) {
    if let Err(error) = depot.events().begin().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "deliveries that were cut off are sent again when their leases end"
        );
    }
    if !flows_run {
        return;
    }
    if let Err(error) = depot.flow_runs().release_own().await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "runs that were cut off are taken over when their leases end"
        );
    }
}

/// What was looked for before the data were opened.
struct Found {
    /// None while another server has the ports.
    listeners: Option<Listeners>,
    /// None where FTPS is switched off.
    public_addresses: Option<PublicAddresses>,
}

impl Appliance {
    /// Opens the data, settles what an earlier run left unfinished, and serves.
    /// When this returns, clients can connect.
    ///
    /// # Errors
    /// The first thing that is not as it must be; nothing keeps running then.
    pub async fn start(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_by(settings, clock, None).await
    }

    /// The same by the machine's own clock, which is watched: what it does is journalled,
    /// and a jump deletes nothing.
    ///
    /// # Errors
    /// As [`Appliance::start`].
    pub async fn start_watched(
        settings: Settings,
        clock: Arc<SystemClock>,
    ) -> Result<Self, StartError> {
        let machine = Arc::clone(&clock);
        Self::start_by(settings, clock, Some(machine)).await
    }

    async fn start_by(
        settings: Settings,
        clock: Arc<dyn Clock>,
        machine: Option<Arc<SystemClock>>,
    ) -> Result<Self, StartError> {
        raise_open_files();
        let options = depot_options(&settings, Arc::clone(&clock), Role::Server)?;
        // What can be refused without data comes before data are made.
        let authorities = user_ca::load(&settings.sftp.trusted_user_ca_keys)?;
        if settings.sftp.enabled {
            HostKeySet::read(&settings.data_dir, &settings.sftp)?;
        }
        let public_addresses = match settings.ftps.is_served() {
            true => Some(PublicAddresses::look_up(&settings.ftps.public_address).await?),
            false => None,
        };
        if settings.ftps.is_served() && settings.ftps.certificate.is_some() {
            ftps_identity(&settings, clock.as_ref())?;
        }
        let listeners = match Listeners::bind(&settings).await {
            // The first server on this data has the ports: the depot says so.
            Err(_) if Depot::is_serving(&settings.data_dir) => None,
            bound => Some(bound?),
        };
        let depot = Depot::open(options).await?;
        depot.gate().trust(authorities);
        let found = Found {
            listeners,
            public_addresses,
        };
        let clocks = (&clock, machine);
        match Self::start_with(&settings, clocks, depot.clone(), found).await {
            Ok(appliance) => Ok(appliance),
            Err(error) => {
                depot.close().await;
                Err(error)
            }
        }
    }

    async fn start_with(
        settings: &Settings,
        (clock, machine): (&Arc<dyn Clock>, Option<Arc<SystemClock>>),
        depot: Depot,
        found: Found,
    ) -> Result<Self, StartError> {
        let Found {
            listeners,
            public_addresses,
        } = found;
        let host_keys = match settings.sftp.enabled {
            true => host_key_set::load(&settings.data_dir, &settings.sftp)?,
            false => Vec::new(),
        };
        let host_key_fingerprints: Vec<_> = host_keys.iter().map(HostKey::fingerprint).collect();
        let ftps = public_addresses
            .as_ref()
            .map(|addresses| FtpsParts::prepare(settings, clock, addresses))
            .transpose()?;
        let listeners = match listeners {
            Some(listeners) => listeners,
            // The other server has ended since.
            None => Listeners::bind(settings).await?,
        };
        let clock_watch = match &machine {
            Some(machine) => {
                let begun = ClockWatch::begin(depot.clone(), Arc::clone(machine)).await;
                Some(begun.map_err(VfsError::from)?)
            }
            None => None,
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
            listeners.listening(),
            ftps.as_ref().map(|ftps| ftps.renewal.state()),
        );
        // Before anybody is told where we listen: what may fail, and what takes
        // descriptors of its own.
        if settings.ftps.is_served() {
            warn_of_refused_ports(settings);
        }
        let surroundings = surroundings_of(settings, clock);
        let courier = match &surroundings {
            Some(_) => Some(Arc::new(depot.courier().await?)),
            None => None,
        };
        settle_cut_off(&depot, courier.is_some()).await;
        let address_file =
            AddressFile::write(&settings.data_dir, &addresses).map_err(StartError::AddressFile)?;
        let address_file = Arc::new(address_file);
        let (ftps, renewal) = ftps.map(|ftps| (ftps.options, ftps.renewal)).unzip();
        let watch = renewal.map(|renewal| {
            let (depot, clock) = (depot.clone(), Arc::clone(clock));
            CertificateWatch::new(renewal, depot, clock, Arc::clone(&address_file))
        });
        let sftp = listeners.sftp.map(|listener| {
            let options = sftp_options(settings, host_keys, Arc::clone(clock));
            let (soft, hard) = (stop.soft.clone(), stop.hard.clone());
            let server = layover_sftp::Server::new(depot.clone(), options, soft, hard);
            (listener, server)
        });
        let host_key_watch = sftp.as_ref().map(|(_, server)| {
            Arc::new(HostKeyWatch::new(
                (settings.data_dir.clone(), settings.sftp.clone()),
                server.clone(),
                host_key_fingerprints.clone(),
                depot.clone(),
                Arc::clone(clock),
            ))
        });
        let appliance = Self {
            depot: depot.clone(),
            clock: Arc::clone(clock),
            machine,
            addresses,
            host_key_fingerprints,
            certificate_watch: watch.map(Arc::new),
            endings: Arc::default(),
            host_key_watch,
            board: Arc::new(JobBoard::default()),
            sweeps: Arc::default(),
            stop,
        };
        appliance.run_jobs(settings);
        let sources = surroundings.as_ref().map(|found| found.secrets.clone());
        appliance.run_events(settings, sources.unwrap_or_default());
        appliance.run_expectations(settings, surroundings.clone());
        if let Some((surroundings, courier)) = surroundings.zip(courier) {
            appliance.run_hooks(surroundings.clone());
            appliance.run_flows(settings, surroundings, courier);
        }
        if let Some(watch) = clock_watch {
            appliance.run_job(watch);
        }
        if let Some(addresses) = public_addresses.filter(PublicAddresses::has_names) {
            appliance.run_job(PublicAddressWatch(addresses));
        }
        if let Some((listener, server)) = sftp {
            appliance.serve_sftp(settings, listener, server);
        }
        if let Some(listener) = listeners.console {
            appliance.serve_console(settings, listener);
        }
        if let Some(options) = ftps {
            appliance.serve_ftps(settings, options, listeners.ftps, listeners.ftps_implicit);
        }
        tokio::spawn(supervise(appliance.stop.clone(), depot, address_file));
        let at = &appliance.addresses;
        let shown = |address: Option<_>| address.map(tracing::field::display);
        tracing::info!(
            sftp = shown(at.sftp),
            ftps = shown(at.ftps),
            ftps_implicit = shown(at.ftps_implicit),
            console = shown(at.console),
            "{}",
            at.ready_line()
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

    /// `SHA256:...` of the TLS certificate at the start, in hexadecimal digits;
    /// `None` where FTPS is switched off.
    #[must_use]
    pub fn tls_fingerprint(&self) -> Option<&str> {
        let certificate = self.addresses.tls_certificate.as_ref()?;
        Some(&certificate.fingerprint)
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

    /// Answers a SIGHUP: a renewed TLS certificate and other SSH host keys are taken over
    /// now instead of at the next look; accounts and networks are always current; settings
    /// need a restart.
    pub async fn reload(&self) {
        tracing::info!(
            "SIGHUP: the TLS certificate and the SSH host keys are looked at; restart to take over \
             changed settings"
        );
        if let Some(watch) = &self.host_key_watch
            && let Err(error) = watch.look().await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "SIGHUP: the look at the SSH host keys cannot be journalled yet"
            );
        }
        if let Some(watch) = &self.certificate_watch
            && let Err(error) = watch.look().await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "SIGHUP: the look at the TLS certificate cannot be journalled yet"
            );
        }
    }

    /// Waits until everything has ended; for ever, if nobody asks for a stop.
    pub async fn stopped(&self) {
        self.stop.done.cancelled().await;
    }

    fn run_job(&self, job: impl Job) {
        let clock = Arc::clone(&self.clock);
        let board = Arc::clone(&self.board);
        self.stop
            .job_tasks
            .spawn(drive(job, clock, board, self.stop.jobs.clone()));
    }
}

impl Drop for Appliance {
    fn drop(&mut self) {
        self.hard_stop();
    }
}

/// Ports of the passive range that others hold are passed over by every transfer;
/// the operator should know.
fn warn_of_refused_ports(settings: &Settings) {
    let survey = passive_port_survey(settings);
    if let (Some(port), Some(error)) = (survey.refused.first(), survey.fault) {
        tracing::warn!(
            "{} of the {} ports of [ftps] passive_ports ({}) cannot be opened and are passed over; \
             the first is {port}: {error}",
            survey.refused.len(),
            survey.ports,
            settings.ftps.passive_ports
        );
    }
}

/// Sees the appliance to its end, in order: connections, jobs, data, and last
/// the note of where it listens.
async fn supervise(stop: Stop, depot: Depot, address_file: Arc<AddressFile>) {
    stop.soft.cancelled().await;
    address_file.change(|addresses| addresses.stopping = true);
    tracing::info!("stopping: no new connections, running transfers may finish");
    stop.connection_tasks.close();
    tokio::select! {
        () = stop.connection_tasks.wait() => {}
        () = stop.hard.cancelled() => {}
        () = timer::sleep(SOFT_STOP_LIMIT) => {
            tracing::warn!("transfers still run after {} s and are ended", SOFT_STOP_LIMIT.as_secs());
            // Cut at once, their clients would see a broken line and could not tell why.
            depot.end_sessions(EndReason::Stopping);
            tokio::select! {
                () = stop.connection_tasks.wait() => {}
                () = stop.hard.cancelled() => {}
                () = timer::sleep(FAREWELL_LIMIT) => {}
            }
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
    address_file.remove();
    tracing::info!("stopped");
    stop.done.cancel();
}
