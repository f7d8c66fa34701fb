//! Which background jobs run, and with what.

use std::sync::Arc;

use layover_client::Surroundings;
use layover_client::expectation::Looker;
use layover_client::flow::Engine;
use layover_client::secret_ref::SecretSources;
use layover_config::{Checksum, Settings};
use layover_depot::{Courier, RoomTold};
use layover_retention::ChainName;
use tokio::sync::Semaphore;

use super::Appliance;
use crate::endings::Endings;
use crate::events::{EventMaker, HookSender};
use crate::expectations::{ExpectationWatch, LOOKS_AT_ONCE};
use crate::flows::{BRING_BACK_EVERY, FlowRunner, PRUNE_EVERY};
use crate::pace::Pace;
use crate::work::{
    Adopt, FORGET_SIGNS_EVERY, HashContents, Heartbeat, PartialSweep, Prune, Recover, Refresh,
    RollUp, Seal, Sweep, WarnUncollected, WatchCertificate, WatchHostKeys, WatchRoom, WriteSigns,
};

impl Appliance {
    pub(super) fn run_jobs(&self, settings: &Settings) {
        let depot = || self.depot.clone();
        let clock = || Arc::clone(&self.clock);
        self.run_job(Heartbeat(depot()));
        self.run_job(Refresh(depot()));
        self.run_job(Recover(depot()));
        self.run_job(WatchRoom {
            depot: depot(),
            told: RoomTold::default(),
        });
        self.run_job(Sweep {
            depot: depot(),
            clock: clock(),
            machine: self.machine.clone(),
            every: settings.retention.sweep_every.as_duration(),
            under_way: None,
            counts: Arc::clone(&self.sweeps),
        });
        self.run_job(PartialSweep {
            depot: depot(),
            clock: clock(),
            machine: self.machine.clone(),
        });
        let evidence = self.depot.evidence();
        let keep = settings.journal.keep.as_duration();
        evidence.keep(ChainName::Journal, keep);
        if let Some(keep) = settings.retention.certificates_keep {
            let keep = keep.as_duration();
            evidence.keep(ChainName::Certificates, keep);
        }
        self.run_job(Seal(depot()));
        if settings.storage.checksum == Checksum::Background {
            self.run_job(HashContents(depot()));
        }
        self.run_job(WarnUncollected {
            depot: depot(),
            ahead: settings.retention.warn_before.as_duration(),
        });
        self.run_job(Adopt {
            depot: depot(),
            clock: clock(),
        });
        self.run_job(WriteSigns {
            depot: depot(),
            clock: clock(),
            keep: settings.journal.keep.as_duration(),
            forgetting: Pace::new(FORGET_SIGNS_EVERY),
        });
        if let Some(watch) = &self.certificate_watch {
            self.run_job(WatchCertificate(Arc::clone(watch)));
        }
        if let Some(watch) = &self.host_key_watch {
            self.run_job(WatchHostKeys(Arc::clone(watch)));
        }
        self.run_job(Prune {
            depot: depot(),
            clock: clock(),
            chain: ChainName::Journal,
            keep: settings.journal.keep.as_duration(),
        });
        self.run_job(RollUp {
            depot: depot(),
            clock: clock(),
            keep: settings.journal.keep.as_duration(),
            pruned_at: None,
        });
        if let Some(keep) = settings.retention.certificates_keep {
            self.run_job(Prune {
                depot: depot(),
                clock: clock(),
                chain: ChainName::Certificates,
                keep: keep.as_duration(),
            });
        }
    }

    pub(super) fn run_events(&self, settings: &Settings, sources: SecretSources) {
        self.run_job(EventMaker {
            events: self.depot.events(),
            clock: Arc::clone(&self.clock),
            keep: settings.journal.keep.as_duration(),
            pruned_at: None,
        });
        self.run_job(Endings {
            depot: self.depot.clone(),
            clock: Arc::clone(&self.clock),
            watch: self.certificate_watch.clone(),
            sources,
            board: Arc::clone(&self.endings),
        });
    }

    pub(super) fn run_hooks(&self, surroundings: Surroundings) {
        self.run_job(HookSender::new(
            self.depot.clone(),
            surroundings,
            Arc::clone(&self.clock),
            self.stop.job_tasks.clone(),
            self.stop.jobs.clone(),
        ));
    }

    pub(super) fn run_flows(
        &self,
        settings: &Settings,
        surroundings: Surroundings,
        courier: Arc<Courier>,
    ) {
        let clock = Arc::clone(&self.clock);
        let depot = self.depot.clone();
        let most = settings.outbound.max_concurrent.get();
        self.run_job(FlowRunner {
            runs: self.depot.flow_runs(),
            engine: Engine::new(depot, courier, Arc::clone(&clock), surroundings),
            clock,
            slots: Arc::new(Semaphore::new(most)),
            most,
            ended: Arc::default(),
            tasks: self.stop.job_tasks.clone(),
            stop: self.stop.jobs.clone(),
            keep: settings.journal.keep.as_duration(),
            prunings: Pace::new(PRUNE_EVERY),
            returns: Pace::new(BRING_BACK_EVERY),
        });
    }

    /// Homes are looked at whether partners' servers can be asked or not.
    pub(super) fn run_expectations(&self, settings: &Settings, surroundings: Option<Surroundings>) {
        let clock = Arc::clone(&self.clock);
        self.run_job(ExpectationWatch {
            looks: self.depot.expectation_looks(),
            looker: Looker::new(self.depot.clone(), Arc::clone(&clock), surroundings),
            clock,
            slots: Arc::new(Semaphore::new(LOOKS_AT_ONCE)),
            tasks: self.stop.job_tasks.clone(),
            stop: self.stop.jobs.clone(),
            keep: settings.journal.keep.as_duration(),
            prunings: Pace::new(PRUNE_EVERY),
            returns: Pace::new(BRING_BACK_EVERY),
        });
    }
}
