//! What becomes of an expectation whose deadline has come, or that has changed; pure.

use layover_retention::{MAX_DATABASE_DIFFERENCE, Timestamp};

use super::record::{ExpectationPlan, ExpectationStanding};

/// What becomes of an expectation at `now`: of several deadlines that nobody was there
/// for, the last is looked at.
pub(super) fn plan_of(standing: &ExpectationStanding, now: Timestamp) -> ExpectationPlan {
    let definition = &standing.definition;
    let deadlines = standing
        .definition
        .deadlines(standing.entity_zone.as_deref());
    let due = standing.next_due.filter(|due| *due <= now);
    let fires = due.filter(|_| definition.enabled).map(|due| {
        // The zone may have changed since: what was due is due.
        let last = deadlines.last_until(now).filter(|last| last.at >= due);
        last.map_or_else(|| (deadlines.date_at(due), due), |last| (last.day, last.at))
    });
    // What is changed counts from the change on, even when nobody planned it at once; the
    // clock may have been ahead.
    let from = match (due, standing.plan_from) {
        (None, Some(from)) => from.min(now),
        _ => now,
    };
    ExpectationPlan {
        name: definition.name.clone(),
        version: standing.version,
        was_due: standing.next_due,
        fires,
        next_due: definition
            .enabled
            .then(|| deadlines.next_after(from))
            .flatten()
            .map(|next| next.at),
    }
}

/// Whether its next deadline is a later one than any node whose clock is right can have
/// planned.
pub(super) fn is_too_far(standing: &ExpectationStanding, now: Timestamp) -> bool {
    let deadlines = standing
        .definition
        .deadlines(standing.entity_zone.as_deref());
    let latest = deadlines.next_after(now.saturating_add(MAX_DATABASE_DIFFERENCE));
    standing
        .next_due
        .zip(latest)
        .is_some_and(|(due, latest)| due > latest.at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expectation::ExpectationDefinition;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn standing(change: impl FnOnce(&mut ExpectationDefinition)) -> ExpectationStanding {
        let mut definition = ExpectationDefinition::from_json(
            r#"{"expectation":{"by":"06:00","enabled":true,"file":"crm_$yyyyMMdd.csv",
            "home":"alice:/in","name":"crm"},"version":1}"#,
        )
        .unwrap();
        change(&mut definition);
        ExpectationStanding {
            definition,
            version: 1,
            plan_from: None,
            next_due: Some(at("2026-11-20T06:00:00Z")),
            entity: "acme".parse().unwrap(),
            entity_zone: None,
            last: None,
        }
    }

    #[test]
    fn of_deadlines_that_nobody_was_there_for_the_last_is_looked_at() {
        for (now, due, next) in [
            (
                "2026-11-20T06:00:00Z",
                "2026-11-20T06:00:00Z",
                "2026-11-21T06:00:00Z",
            ),
            (
                "2026-11-23T05:59:59Z",
                "2026-11-22T06:00:00Z",
                "2026-11-23T06:00:00Z",
            ),
        ] {
            let plan = plan_of(&standing(|_| {}), at(now));
            assert_eq!(plan.fires.map(|(_, at)| at), Some(at(due)));
            assert_eq!(plan.next_due, Some(at(next)));
        }
    }

    #[test]
    fn one_that_is_disabled_or_changed_is_not_looked_at_for_what_was() {
        let now = at("2026-11-20T07:00:00Z");
        let disabled = plan_of(&standing(|one| one.enabled = false), now);
        assert_eq!((disabled.fires, disabled.next_due), (None, None));
        let changed = ExpectationStanding {
            plan_from: Some(at("2026-11-20T05:59:00Z")),
            next_due: None,
            ..standing(|_| {})
        };
        let plan = plan_of(&changed, at("2026-11-20T06:00:02Z"));
        assert_eq!(plan.fires, None);
        assert_eq!(plan.next_due, Some(at("2026-11-20T06:00:00Z")));
    }

    #[test]
    fn a_deadline_is_too_far_away_when_no_clock_that_is_right_can_have_planned_it() {
        let due = |text| ExpectationStanding {
            next_due: Some(at(text)),
            ..standing(|_| {})
        };
        let now = at("2026-11-20T05:58:59Z");
        assert!(!is_too_far(&due("2026-11-20T06:00:00Z"), now));
        assert!(is_too_far(&due("2026-11-21T06:00:00Z"), now));
        // Another node may be as far ahead as this.
        let now = at("2026-11-20T05:59:00Z");
        assert!(!is_too_far(&due("2026-11-21T06:00:00Z"), now));
    }

    #[test]
    fn another_zone_of_the_entity_takes_no_look_away_that_was_due() {
        let moved = ExpectationStanding {
            plan_from: Some(at("2026-11-20T06:00:01Z")),
            entity_zone: Some("America/New_York".to_owned()),
            ..standing(|_| {})
        };
        let plan = plan_of(&moved, at("2026-11-20T06:00:02Z"));
        let due = at("2026-11-20T06:00:00Z");
        assert_eq!(plan.fires, Some((jiff::civil::date(2026, 11, 20), due)));
        assert_eq!(plan.next_due, Some(at("2026-11-20T11:00:00Z")));
    }
}
