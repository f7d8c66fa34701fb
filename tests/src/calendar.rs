//! An appliance inside the test's own process, whose days pass when the test says so.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use layover_config::Settings;
use layover_retention::{Clock, ManualClock, Timestamp};
use layover_server::{Appliance, StartError, SystemClock};
use tokio::runtime::Runtime;

use crate::layover::Layover;
use crate::machine::Machine;
use crate::partner::Protocol;
use crate::wait::{self, PATIENCE};

/// A running appliance with a clock that stands still. Ends hard when dropped.
#[derive(Debug)]
pub struct Calendar {
    // Before the runtime on which it lives: fields are dropped in this order.
    appliance: Appliance,
    /// None on a machine of its own, whose clocks the test has.
    clock: Option<Arc<ManualClock>>,
    runtime: Runtime,
}

impl Calendar {
    /// Starts an appliance with the configuration and the accounts of `layover`, whose executable
    /// must not be running, at the time `now`.
    pub fn start(layover: &Layover, now: Timestamp) -> Self {
        let clock = Arc::new(ManualClock::new(now));
        let lent: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        Self::start_by(layover, Some(clock), |settings| {
            Appliance::start(settings, lent)
        })
    }

    /// The same on a machine whose clocks can be wrong.
    pub fn start_on(layover: &Layover, machine: &Machine) -> Self {
        let clock = Arc::new(SystemClock::with_source(Box::new(machine.clone())));
        Self::start_by(layover, None, |settings| {
            Appliance::start_watched(settings, clock)
        })
    }

    fn start_by<Start>(
        layover: &Layover,
        clock: Option<Arc<ManualClock>>,
        start: impl FnOnce(Settings) -> Start,
    ) -> Self
    where
        Start: Future<Output = Result<Appliance, StartError>>,
    {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("start runtime");
        let settings = Settings::load(Some(layover.config()), std::iter::empty());
        let settings = settings
            .unwrap_or_else(|errors| panic!("settings: {errors}"))
            .settings;
        let appliance = runtime
            .block_on(wait::bounded(PATIENCE, start(settings)))
            .expect("the appliance starts in time")
            .unwrap_or_else(|error| panic!("the appliance does not start: {error:?}"));
        Self {
            appliance,
            clock,
            runtime,
        }
    }

    /// Where it listens for partners who come by `protocol`.
    pub fn address(&self, protocol: Protocol) -> SocketAddr {
        let addresses = self.appliance.addresses();
        let address = match protocol {
            Protocol::Sftp => addresses.sftp,
            Protocol::Ftps => addresses.ftps,
        };
        address.expect("both protocols are served")
    }

    /// The appliance's time.
    pub fn now(&self) -> Timestamp {
        self.manual().now()
    }

    /// Lets `span` pass and waits for nothing.
    pub fn pass(&self, span: Duration) {
        self.manual().advance(span);
    }

    /// Lets `span` pass, and waits until a sweep that began after it has ended: what is still there
    /// then, stays.
    pub fn advance(&self, span: Duration) {
        self.manual().advance(span);
        self.sweep();
    }

    fn manual(&self) -> &ManualClock {
        self.clock.as_deref().expect("a clock that the test moves")
    }

    /// Waits until a sweep that begins from now on has ended.
    pub fn sweep(&self) {
        let sweeps = |calendar: &Self| {
            let jobs = calendar.appliance.jobs();
            jobs.iter()
                .find(|job| job.name == "sweep")
                .map_or(0, |job| job.runs)
        };
        // A run that was under way may have begun before; the second one cannot have.
        let before = sweeps(self);
        for runs in [before + 1, before + 2] {
            wait::until("a sweep", PATIENCE, || (sweeps(self) >= runs).then_some(()));
        }
    }

    /// Stops the appliance in order.
    pub fn stop(self) {
        self.appliance.soft_stop();
        let stopped = wait::bounded(PATIENCE, self.appliance.stopped());
        self.runtime
            .block_on(stopped)
            .expect("the appliance stops in time");
    }
}
