//! `/health/ready`: what must be so for the server to do its work, each with a reason
//! when it is not.

use std::time::Duration;

use layover_retention::Timestamp;
use serde::Serialize;

use crate::facts::Facts;
use crate::figures::Figures;

/// A sweep is late when the last one began this many periods ago.
const LATE_PERIODS: u32 = 3;

/// And not before that, however short the period.
const NOT_LATE_BEFORE: Duration = Duration::from_secs(60);

/// Days before its end from which a certificate is spoken of.
const CERTIFICATE_SOON_DAYS: u64 = 14;

const DAY_S: u64 = 24 * 3_600;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    pub(crate) check: &'static str,
    pub(crate) ok: bool,
    pub(crate) detail: String,
}

/// All of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Readiness {
    pub(crate) ready: bool,
    pub(crate) checks: Vec<Check>,
}

pub(crate) fn judge(facts: &Facts, figures: &Figures, now: Timestamp) -> Readiness {
    let mut checks = vec![
        check(
            "server",
            match facts.stopping {
                true => Err("it stops: running transfers may finish".to_owned()),
                false => Ok("it serves".to_owned()),
            },
        ),
        check(
            "database",
            match (&figures.ledger, &figures.writes) {
                (Ok(_), Ok(())) => Ok("it answers and takes writes".to_owned()),
                (Err(reason), _) | (Ok(_), Err(reason)) => Err(reason.clone()),
            },
        ),
        check(
            "storage",
            match &figures.storage {
                Ok(()) => Ok("it can be written".to_owned()),
                Err(reason) => Err(reason.clone()),
            },
        ),
        check("clock", clock(facts)),
        check("sweep", sweep(facts, figures, now)),
        check("evidence", Ok(evidence(figures))),
    ];
    if let Some(ends) = facts.certificate_ends {
        checks.push(check("certificate", certificate(ends, now)));
    }
    Readiness {
        ready: checks.iter().all(|check| check.ok),
        checks,
    }
}

fn check(name: &'static str, found: Result<String, String>) -> Check {
    let ok = found.is_ok();
    let (Ok(detail) | Err(detail)) = found;
    Check {
        check: name,
        ok,
        detail,
    }
}

fn clock(facts: &Facts) -> Result<String, String> {
    let clock = &facts.clock;
    if clock.differs {
        let ahead_s = clock.ahead_of_database_us.unwrap_or(0) / 1_000_000;
        return Err(format!(
            "it is {ahead_s} s ahead of the database's: nothing is deleted until one of the two \
             is set right"
        ));
    }
    match clock.in_doubt {
        Some(apart) => Err(format!(
            "it jumped by {} s and has not proven right: `layover retention clock show`",
            apart.as_secs()
        )),
        None => Ok("it is believed".to_owned()),
    }
}

fn sweep(facts: &Facts, figures: &Figures, now: Timestamp) -> Result<String, String> {
    let job = facts.jobs.iter().find(|job| job.name == "sweep");
    let last = job.map_or(facts.started_at, |job| job.last_started_at);
    let ago = now.duration_since(last);
    let limit = facts.sweep_every.saturating_mul(LATE_PERIODS);
    let limit = limit.max(NOT_LATE_BEFORE);
    // Each one that ended well is noted in the database; one that begins proves nothing.
    let noted = figures.ledger.as_ref().ok();
    let well = noted.and_then(|ledger| ledger.last_sweep.as_ref());
    let since_well = well.map(|run| now.duration_since(run.at.max(facts.started_at)));
    if let Some(since) = since_well.filter(|since| ago <= limit && *since > limit) {
        return Err(format!(
            "they fail: the last one that ended well began {} s ago",
            since.as_secs()
        ));
    }
    match ago > limit {
        true => Err(format!("the last one began {} s ago", ago.as_secs())),
        false => Ok(format!("the last one began {} s ago", ago.as_secs())),
    }
}

/// Never a reason to take a server out of service: partners are served and files deleted,
/// and whoever changed a chain would have brought it down.
fn evidence(figures: &Figures) -> String {
    let told = figures.altered.iter().map(|(chain, what)| {
        format!(
            "the hash chain of the {chain} was changed, and nothing more is signed in it: {what}"
        )
    });
    match told.collect::<Vec<_>>() {
        told if told.is_empty() => "the hash chains are the ones that were signed".to_owned(),
        told => told.join("; "),
    }
}

fn certificate(ends: Timestamp, now: Timestamp) -> Result<String, String> {
    let days = ends.duration_since(now).as_secs() / DAY_S;
    if ends <= now {
        Err(format!("it ended at {ends}: partners refuse it"))
    } else if days < CERTIFICATE_SOON_DAYS {
        Ok(format!("{days} days left: renew it"))
    } else {
        Ok(format!("{days} days left"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ClockFacts, JobFacts, SweepFacts};

    const NOW: Timestamp = Timestamp::from_micros(10_000_000_000_000);

    fn before(span_s: u64) -> Timestamp {
        NOW.saturating_sub(Duration::from_secs(span_s))
    }

    fn facts() -> Facts {
        Facts {
            version: "1",
            started_at: before(1_000),
            stopping: false,
            sweep_every: Duration::from_secs(60),
            sweep: SweepFacts::default(),
            jobs: vec![JobFacts {
                name: "sweep",
                runs: 1,
                failures: 0,
                last_started_at: before(180),
            }],
            clock: ClockFacts::default(),
            certificate_ends: Some(NOW.saturating_add(Duration::from_secs(DAY_S * 20))),
            expiring: None,
        }
    }

    fn figures() -> Figures {
        Figures {
            ledger: Ok(layover_depot::LedgerFigures::default()),
            writes: Ok(()),
            stored_files: Some(0),
            storage: Ok(()),
            altered: Vec::new(),
        }
    }

    /// Makes one thing wrong.
    type Change = fn(&mut Facts, &mut Figures);

    /// The checks that fail.
    fn failing(facts: &Facts, figures: &Figures) -> Vec<&'static str> {
        let readiness = judge(facts, figures, NOW);
        let failing = readiness.checks.iter().filter(|check| !check.ok);
        let failing: Vec<_> = failing.map(|check| check.check).collect();
        assert_eq!(readiness.ready, failing.is_empty());
        failing
    }

    #[test]
    fn a_changed_chain_is_told_and_takes_no_server_out_of_service() {
        let mut figures = figures();
        let told = |figures: &Figures| {
            let readiness = judge(&facts(), figures, NOW);
            assert!(readiness.ready);
            let mut checks = readiness.checks.into_iter();
            checks
                .find(|check| check.check == "evidence")
                .unwrap()
                .detail
        };
        assert_eq!(
            told(&figures),
            "the hash chains are the ones that were signed"
        );
        let what = "entry 2 is gone".to_owned();
        figures
            .altered
            .push((layover_retention::ChainName::Journal, what));
        let detail = told(&figures);
        assert!(
            detail.contains("journal") && detail.contains("entry 2 is gone"),
            "{detail}"
        );
    }

    #[test]
    fn each_thing_that_is_wrong_is_named_and_nothing_else() {
        let none: [&str; 0] = [];
        assert_eq!(failing(&facts(), &figures()), none);
        let cases: [(&str, Change); 8] = [
            ("server", |facts, _| facts.stopping = true),
            ("database", |_, figures| {
                figures.ledger = Err("away".to_owned())
            }),
            ("database", |_, figures| {
                figures.writes = Err("locked".to_owned())
            }),
            ("storage", |_, figures| {
                figures.storage = Err("full".to_owned())
            }),
            ("clock", |facts, _| {
                facts.clock.in_doubt = Some(Duration::from_secs(4_000))
            }),
            ("clock", |facts, _| facts.clock.differs = true),
            ("sweep", |facts, _| {
                facts.jobs[0].last_started_at = before(181)
            }),
            ("certificate", |facts, _| facts.certificate_ends = Some(NOW)),
        ];
        for (name, change) in cases {
            let (mut facts, mut figures) = (facts(), figures());
            change(&mut facts, &mut figures);
            assert_eq!(failing(&facts, &figures), [name]);
        }
    }

    #[test]
    fn sweeps_that_begin_and_fail_are_told_of() {
        let swept = |ago_s| {
            let mut figures = figures();
            if let Ok(ledger) = &mut figures.ledger {
                ledger.last_sweep = Some(layover_depot::JobRun {
                    at: before(ago_s),
                    next_due_at: None,
                    report: serde_json::Value::Null,
                });
            }
            failing(&facts(), &figures)
        };
        assert_eq!(swept(180), Vec::<&str>::new());
        assert_eq!(swept(181), ["sweep"]);
    }

    #[test]
    fn a_server_that_never_swept_is_late_only_after_a_while() {
        let mut facts = facts();
        facts.jobs.clear();
        facts.sweep_every = Duration::from_secs(1);
        for (since, expected) in [(60, vec![]), (61, vec!["sweep"])] {
            facts.started_at = before(since);
            assert_eq!(failing(&facts, &figures()), expected);
        }
    }

    #[test]
    fn a_certificate_that_ends_soon_is_spoken_of_and_where_there_is_none_nothing_is_said() {
        let mut facts = facts();
        let detail = |facts: &Facts| {
            let checks = judge(facts, &figures(), NOW).checks;
            let found = checks
                .into_iter()
                .find(|check| check.check == "certificate");
            found.map(|check| check.detail)
        };
        assert_eq!(detail(&facts).as_deref(), Some("20 days left"));
        facts.certificate_ends = Some(NOW.saturating_add(Duration::from_secs(DAY_S * 14 - 1)));
        assert_eq!(detail(&facts).as_deref(), Some("13 days left: renew it"));
        facts.certificate_ends = None;
        assert_eq!(detail(&facts), None);
    }
}
