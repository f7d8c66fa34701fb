//! When flows run next: what becomes of a schedule that is due, or that has changed.

use std::time::Duration;

use layover_retention::{MAX_DATABASE_DIFFERENCE, Timestamp};

use super::record::{FlowStanding, RunPlan};
use super::runs::FlowRuns;
use super::schedule::Schedule;
use crate::integration::{CatchUp, FlowDefinition};
use crate::store::StoreError;

/// A firing that is later than this was missed: a server looks each second.
pub const MISSED_AFTER: Duration = Duration::from_secs(60);

/// Flows whose schedules are put forward in one transaction.
const PLANS_AT_ONCE: usize = 500;

impl FlowRuns {
    /// Puts the schedules forward that are due, and their firings among the runs that
    /// are. Returns how many fired. Several nodes may do it at the same time.
    ///
    /// # Errors
    /// The database is away.
    pub async fn plan(&self) -> Result<u64, StoreError> {
        let mut fired: u64 = 0;
        loop {
            let now = self.holdings.now();
            let store = &self.holdings.store;
            let standing = store.flows_to_plan(now, PLANS_AT_ONCE).await?;
            let plans: Vec<_> = standing.iter().map(|flow| plan_of(flow, now)).collect();
            if plans.is_empty() {
                return Ok(fired);
            }
            fired = fired.saturating_add(store.plan_runs(&plans).await?);
            if standing.len() < PLANS_AT_ONCE {
                return Ok(fired);
            }
        }
    }

    /// Brings the next firings back that a clock which was ahead has put too far away:
    /// what is to come comes at its time. A moment that fired then does not fire again.
    /// Returns how many flows that were. It looks at every flow.
    ///
    /// # Errors
    /// The database is away.
    pub async fn bring_back(&self) -> Result<u64, StoreError> {
        let (store, now) = (&self.holdings.store, self.holdings.now());
        let standing = store.flows(None).await?;
        let far = standing.iter().filter(|flow| is_too_far(flow, now));
        let plans: Vec<_> = far.map(|flow| plan_of(flow, now)).collect();
        for some in plans.chunks(PLANS_AT_ONCE) {
            store.plan_runs(some).await?;
        }
        Ok(plans.len() as u64)
    }
}

/// Whether a schedule is due later than any node whose clock is right can have said.
fn is_too_far(standing: &FlowStanding, now: Timestamp) -> bool {
    let schedule = schedule_of(&standing.definition, standing.entity_zone.as_deref());
    let latest = schedule.and_then(|schedule| {
        let now = now.saturating_add(MAX_DATABASE_DIFFERENCE);
        schedule.next_after(now)
    });
    standing
        .next_due
        .zip(latest)
        .is_some_and(|(due, latest)| due > latest)
}

/// The schedule of a flow that runs by itself; none: it does not.
fn schedule_of(flow: &FlowDefinition, entity_zone: Option<&str>) -> Option<Schedule> {
    if !flow.enabled || flow.home().is_none() {
        return None;
    }
    let entity_zone = entity_zone.and_then(|zone| zone.parse().ok());
    let zone = flow.rules.time_zone.as_ref().or(entity_zone.as_ref());
    Some(Schedule::new(flow.schedule_cron.as_ref()?, zone))
}

/// What becomes of a flow's schedule at `now`.
fn plan_of(standing: &FlowStanding, now: Timestamp) -> RunPlan {
    let flow = &standing.definition;
    let schedule = schedule_of(flow, standing.entity_zone.as_deref());
    let due = standing.next_due.filter(|due| *due <= now);
    let fire = schedule
        .as_ref()
        .zip(due)
        .and_then(|(schedule, due)| fires(schedule, due, flow.rules.catch_up, now));
    // What is changed counts from the change on, even when nobody planned it at once;
    // the clock may have been ahead.
    let from = match (due, standing.plan_from) {
        (None, Some(from)) => from.min(now),
        _ => now,
    };
    RunPlan {
        flow: flow.name.clone(),
        partner: flow.partner.to_string(),
        version: standing.version,
        was_due: standing.next_due,
        fire,
        next_due: schedule.and_then(|schedule| schedule.next_after(from)),
        now,
    }
}

/// Which of the moments from `due` to `now` fires: the last of them, once.
fn fires(
    schedule: &Schedule,
    due: Timestamp,
    catch_up: CatchUp,
    now: Timestamp,
) -> Option<Timestamp> {
    // The schedule may have changed its zone since: what was due is due.
    let last = schedule.last_until(due, now).unwrap_or(due);
    let missed = last < now.saturating_sub(MISSED_AFTER);
    (catch_up == CatchUp::Once || !missed).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn standing(change: impl FnOnce(&mut FlowDefinition)) -> FlowStanding {
        let mut definition = FlowDefinition::from_json(
            r#"{"flow":{"delete_after_download":false,"delete_after_upload":false,
            "direction":"download","enabled":true,"files":[],"idempotency_mode":"name",
            "local":"alice:/in","name":"claims","partner":"globex","path":"/in",
            "schedule_cron":"0 0 8 * * *"},"version":1}"#,
        )
        .unwrap();
        change(&mut definition);
        FlowStanding {
            definition,
            version: 1,
            plan_from: None,
            next_due: Some(at("2026-11-20T08:00:00Z")),
            next_retry: None,
            entity_zone: None,
        }
    }

    #[test]
    fn a_firing_that_is_due_fires_and_the_next_one_is_planned() {
        let plan = plan_of(&standing(|_| {}), at("2026-11-20T08:00:00Z"));
        assert_eq!(plan.fire, Some(at("2026-11-20T08:00:00Z")));
        assert_eq!(plan.next_due, Some(at("2026-11-21T08:00:00Z")));
    }

    #[test]
    fn missed_firings_are_caught_up_once_or_not_at_all() {
        let now = at("2026-11-22T10:00:00Z");
        let once = plan_of(&standing(|_| {}), now);
        assert_eq!(once.fire, Some(at("2026-11-22T08:00:00Z")));
        let skip = |flow: &mut FlowDefinition| flow.rules.catch_up = CatchUp::Skip;
        let skipped = plan_of(&standing(skip), now);
        assert_eq!(skipped.fire, None);
        assert_eq!(skipped.next_due, Some(at("2026-11-23T08:00:00Z")));
        // A moment late is not missed.
        let late = plan_of(&standing(skip), at("2026-11-22T08:01:00Z"));
        assert_eq!(late.fire, Some(at("2026-11-22T08:00:00Z")));
    }

    #[test]
    fn a_changed_schedule_counts_from_its_change_on() {
        let changed = FlowStanding {
            plan_from: Some(at("2026-11-22T07:59:59Z")),
            next_due: None,
            ..standing(|_| {})
        };
        let plan = plan_of(&changed, at("2026-11-22T08:00:03Z"));
        assert_eq!(plan.fire, None);
        assert_eq!(plan.next_due, Some(at("2026-11-22T08:00:00Z")));
    }

    #[test]
    fn a_change_by_a_clock_that_was_ahead_counts_from_now_on() {
        let changed = FlowStanding {
            plan_from: Some(at("2026-11-28T07:00:00Z")),
            next_due: None,
            ..standing(|_| {})
        };
        let plan = plan_of(&changed, at("2026-11-22T07:00:00Z"));
        assert_eq!(plan.next_due, Some(at("2026-11-22T08:00:00Z")));
    }

    #[test]
    fn a_firing_is_too_far_away_when_no_clock_that_is_right_can_have_planned_it() {
        let now = at("2026-11-22T07:58:59Z");
        for (due, too_far) in [
            ("2026-11-22T08:00:00Z", false),
            ("2026-11-23T08:00:00Z", true),
        ] {
            let standing = FlowStanding {
                next_due: Some(at(due)),
                ..standing(|_| {})
            };
            assert_eq!(is_too_far(&standing, now), too_far, "{due}");
        }
        // Another node may be as far ahead as this, and has let it fire.
        let fired = FlowStanding {
            next_due: Some(at("2026-11-23T08:00:00Z")),
            ..standing(|_| {})
        };
        assert!(!is_too_far(&fired, at("2026-11-22T07:59:00Z")));
        assert!(!is_too_far(
            &standing(|flow| flow.schedule_cron = None),
            now
        ));
    }

    #[test]
    fn another_zone_of_the_entity_takes_nothing_away_that_was_due() {
        let moved = FlowStanding {
            plan_from: Some(at("2026-11-20T08:00:01Z")),
            entity_zone: Some("Asia/Tokyo".to_owned()),
            ..standing(|_| {})
        };
        let plan = plan_of(&moved, at("2026-11-20T08:00:02Z"));
        assert_eq!(plan.fire, Some(at("2026-11-20T08:00:00Z")));
        assert_eq!(plan.next_due, Some(at("2026-11-20T23:00:00Z")));
    }

    #[test]
    fn a_flow_that_is_disabled_or_has_no_account_is_not_due() {
        for change in [
            (|flow: &mut FlowDefinition| flow.enabled = false) as fn(&mut FlowDefinition),
            |flow| flow.local = "./storage/in".parse().unwrap(),
            |flow| flow.schedule_cron = None,
        ] {
            let plan = plan_of(&standing(change), at("2026-11-22T10:00:00Z"));
            assert_eq!((plan.fire, plan.next_due), (None, None));
        }
    }
}
