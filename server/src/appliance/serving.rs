//! Whom each listener's connections are handed to.

use std::sync::Arc;

use layover_config::{Networks, Settings};
use layover_console::{ClockFacts, Console, Facts, JobFacts};
use layover_ftps::Entry;

use super::Appliance;
use crate::clock::SystemClock;
use crate::jobs::JobStatus;
use crate::listener::{Admitted, Door, Listener};
use crate::options::balancers_of;

impl Appliance {
    /// Until the jobs end: that the server stops is told, too.
    pub(super) fn serve_console(&self, settings: &Settings, listener: Listener) {
        let (board, sweeps) = (Arc::clone(&self.board), Arc::clone(&self.sweeps));
        let (machine, watch) = (self.machine.clone(), self.certificate_watch.clone());
        let (soft, started_at) = (self.stop.soft.clone(), self.clock.now());
        let sweep_every = settings.retention.sweep_every.as_duration();
        let (endings, clock) = (Arc::clone(&self.endings), Arc::clone(&self.clock));
        let facts = move || Facts {
            version: env!("CARGO_PKG_VERSION"),
            started_at,
            stopping: soft.is_cancelled(),
            sweep_every,
            sweep: sweeps.facts(),
            jobs: board.statuses().iter().map(job_facts).collect(),
            clock: machine.as_deref().map(clock_facts).unwrap_or_default(),
            certificate_ends: watch.as_ref().map(|watch| watch.renewal.state().not_after),
            expiring: endings.expiring(clock.now()),
        };
        let console = Console::new(self.depot.clone(), Arc::clone(&self.clock), facts);
        let serving = console.serve(listener.into_socket(), self.stop.jobs.clone());
        self.stop.job_tasks.spawn(serving);
    }

    fn door(&self, balancers: &Networks) -> Door {
        Door {
            depot: self.depot.clone(),
            balancers: balancers_of(balancers),
            tasks: self.stop.connection_tasks.clone(),
        }
    }

    pub(super) fn serve_sftp(
        &self,
        settings: &Settings,
        listener: Listener,
        server: layover_sftp::Server,
    ) {
        let connections = self.stop.connection_tasks.clone();
        let door = self.door(&settings.sftp.proxy_protocol_from);
        let accept = listener.accept_until(door, self.stop.soft.clone(), move |admitted| {
            let Admitted {
                stream, peer, slot, ..
            } = admitted;
            connections.spawn(server.serve(stream, peer, slot));
        });
        self.stop.connection_tasks.spawn(accept);
    }

    pub(super) fn serve_ftps(
        &self,
        settings: &Settings,
        options: layover_ftps::Options,
        explicit: Option<Listener>,
        implicit: Option<Listener>,
    ) {
        let server = layover_ftps::Server::new(
            self.depot.clone(),
            options,
            self.stop.soft.clone(),
            self.stop.hard.clone(),
        );
        let entries = [(explicit, Entry::Explicit), (implicit, Entry::Implicit)];
        for (listener, entry) in entries {
            let Some(listener) = listener else {
                continue;
            };
            let server = server.clone();
            let connections = self.stop.connection_tasks.clone();
            let door = self.door(&settings.ftps.proxy_protocol_from);
            let accept = listener.accept_until(door, self.stop.soft.clone(), move |admitted| {
                let Admitted {
                    stream,
                    peer,
                    found_at,
                    slot,
                } = admitted;
                connections.spawn(server.serve(stream, peer, found_at, slot, entry));
            });
            self.stop.connection_tasks.spawn(accept);
        }
    }
}

fn job_facts(job: &JobStatus) -> JobFacts {
    JobFacts {
        name: job.name,
        runs: job.runs,
        failures: job.failures,
        last_started_at: job.last_started_at,
    }
}

fn clock_facts(machine: &SystemClock) -> ClockFacts {
    ClockFacts {
        in_doubt: machine.record().in_doubt(),
        ahead_of_database_us: machine.ahead_of_database(),
        differs: machine.differs(),
    }
}
