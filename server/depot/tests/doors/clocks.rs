//! A machine's clock was ahead, and is put right: what is to come comes at its time, what
//! happened is not repeated, and nobody waits for the time that was wrong.

use std::time::Duration;

use layover_depot::{
    ClaimedRun, DayFault, DayState, FlowDefinition, LONGEST_RETRY_WAIT, NotMoved, RUN_LEASE,
    RunCause, RunReport, RunState, UnmovedFile,
};
use layover_retention::{Clock, Timestamp};

use crate::expectations::{crm, expect, look, told, upload};
use crate::flow_files::{asked_run, begun};
use crate::flows::{SLOTS, apply, flow};
use crate::world::{DAY, PASSWORD, World, actor, at, worlds};

const HOUR: Duration = Duration::from_secs(3_600);

/// The worlds begin at 04:00 on the 21st of November 2026.
fn november(day: u32, time: &str) -> Timestamp {
    format!("2026-11-{day:02}T{time}:00Z").parse().unwrap()
}

async fn next_due(world: &World, name: &str) -> Option<Timestamp> {
    let flow = world.depot.registry().flow(&name.parse().unwrap()).await;
    flow.unwrap().next_due
}

/// Begins and ends what is due.
async fn work(world: &World) -> Vec<ClaimedRun> {
    let runs = world.depot.flow_runs();
    runs.plan().await.unwrap();
    let claimed = runs.claim(SLOTS).await.unwrap();
    for run in &claimed {
        let report = RunReport::default();
        runs.end(run, RunState::Done, report, None).await.unwrap();
    }
    claimed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flows_run_at_their_times_after_a_clock_was_ahead_and_at_none_of_them_twice() {
    for world in worlds().await {
        apply(&world, &[flow("daily")]).await;
        assert_eq!(work(&world).await.len(), 0, "planned, and not due");
        world.clock.advance(6 * DAY);
        let mut begun: Vec<_> = work(&world).await;
        assert_eq!(begun[0].scheduled_for, november(26, "08:00"));
        // Changed while the clock was ahead, and planned when it is right.
        let other = flow("other");
        let registry = world.depot.registry();
        let refuse = layover_depot::Existing::Refuse;
        registry.put_flow(&actor(), &other, refuse).await.unwrap();

        world.clock.set(november(21, "05:00"));
        let runs = world.depot.flow_runs();
        assert_eq!(runs.bring_back().await.unwrap(), 1);
        assert_eq!(runs.bring_back().await.unwrap(), 0, "once is enough");
        assert_eq!(work(&world).await.len(), 0);
        for flow in ["daily", "other"] {
            assert_eq!(next_due(&world, flow).await, Some(november(21, "08:00")));
        }
        for day in 21..=27 {
            world.clock.set(november(day, "08:00"));
            begun.extend(work(&world).await);
        }
        let of = |name: &str| {
            let own = begun
                .iter()
                .filter(|run| run.definition.name.as_str() == name);
            let mut moments: Vec<_> = own.map(|run| run.scheduled_for).collect();
            moments.sort_unstable();
            moments
        };
        let days: Vec<_> = (21..=27).map(|day| november(day, "08:00")).collect();
        assert_eq!(of("daily"), days, "each moment once, the 26th among them");
        assert_eq!(of("other"), days);
    }
}

fn on_arrival(name: &str) -> FlowDefinition {
    let mut flow = flow(name);
    flow.schedule_cron = None;
    flow.rules.on_arrival = true;
    flow
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_or_arrived_by_a_clock_that_was_ahead_is_begun_at_once() {
    for world in worlds().await {
        apply(&world, &[flow("asked"), on_arrival("relay")]).await;
        work(&world).await;
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.make_dir(&at("/out")).await.unwrap();
        session.end("done").await;
        world.clock.advance(6 * DAY);
        let (registry, asked) = (world.depot.registry(), "asked".parse().unwrap());
        registry.ask_run(&actor(), &asked).await.unwrap();
        world.upload("alice", "/out/file").await;
        world.clock.set(november(21, "05:00"));
        let begun = work(&world).await;
        let mut causes: Vec<_> = begun.iter().map(|run| run.cause).collect();
        causes.sort_unstable_by_key(|cause| cause.as_str());
        assert_eq!(causes, [RunCause::Arrival, RunCause::Manual]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_to_be_tried_again_waits_no_longer_than_anything_may() {
    for world in worlds().await {
        apply(&world, &[flow("orders")]).await;
        let runs = world.depot.flow_runs();
        for (ahead, waits) in [(Duration::ZERO, true), (6 * DAY, false)] {
            let began = world.clock.now();
            world.clock.advance(ahead);
            let run = asked_run(&world, "orders").await;
            let file = begun(&runs, &run, "x").await;
            let again = world.clock.now().saturating_add(LONGEST_RETRY_WAIT);
            let unmoved = UnmovedFile {
                file,
                name: b"x",
                what: NotMoved::Again(again),
                cause: "the server is away",
                is_unsettled: false,
            };
            runs.not_moved(&run, &unmoved).await.unwrap();
            let (failed, report) = (RunState::Failed, RunReport::default());
            runs.end(&run, failed, report, Some(again)).await.unwrap();
            world.clock.set(began);
            let flow = &run.definition.name;
            let open = runs.open_files(flow).await.unwrap().remove(0);
            assert_eq!(open.waits(world.clock.now()), waits);
            let claimed = runs.claim(SLOTS).await.unwrap();
            assert_eq!(claimed.is_empty(), waits, "{claimed:?}");
            if waits {
                world.clock.set(again);
                assert!(!open.waits(again));
                let again = work(&world).await;
                assert_eq!(
                    again.iter().map(|run| run.cause).next(),
                    Some(RunCause::Retry)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_a_clock_ahead_has_lent_is_taken_over_after_a_lease_unless_it_is_renewed() {
    for world in worlds().await {
        apply(&world, &[flow("alive"), flow("dead")]).await;
        world.clock.advance(6 * DAY);
        let alive = asked_run(&world, "alive").await;
        let dead = asked_run(&world, "dead").await;
        world.clock.set(november(21, "05:00"));
        let runs = world.depot.flow_runs();
        assert_eq!(
            runs.claim(SLOTS).await.unwrap().len(),
            0,
            "they may be at work"
        );
        runs.renew(&alive).await.unwrap();
        world.clock.advance(RUN_LEASE - Duration::from_secs(1));
        runs.renew(&alive).await.unwrap();
        assert_eq!(runs.claim(SLOTS).await.unwrap().len(), 0);
        world.clock.advance(Duration::from_secs(1));
        let taken = runs.claim(SLOTS).await.unwrap();
        assert_eq!(taken.len(), 1);
        assert!(taken[0].taken_over && taken[0].id == dead.id);
        runs.renew(&alive).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn days_of_expectations_that_have_not_come_are_looked_at_when_they_come() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        world.clock.advance(6 * DAY);
        // The day that seemed to be over, and the one that came while the clock was ahead.
        assert_eq!(look(&world.depot).await, 1);
        world.clock.advance(3 * HOUR);
        assert!(look(&world.depot).await >= 1);
        let false_alarms = told(&world).await.len();
        assert_eq!(false_alarms, 2);

        world.clock.set(november(21, "05:00"));
        let looks = world.depot.expectation_looks();
        assert_eq!(looks.bring_back().await.unwrap(), 2);
        assert_eq!(looks.bring_back().await.unwrap(), 0);
        assert_eq!(look(&world.depot).await, 0, "nothing is due");
        for day in 21..=27 {
            world.clock.set(november(day, "05:30"));
            let content = format!("of the {day}th");
            upload(&world, &format!("/crm_202611{day}.csv"), content.as_bytes()).await;
            world.clock.advance(Duration::from_secs(3));
            world.depot.hash_contents().await.unwrap();
            world.clock.set(november(day, "06:00"));
            assert_eq!(look(&world.depot).await, 1, "day {day}");
        }
        let registry = world.depot.registry();
        let days = registry.expectation_history(&crm().name, 10).await.unwrap();
        assert_eq!(days.len(), 7);
        let well = |state, fault: Option<DayFault>| state == DayState::Done && fault.is_none();
        assert!(
            days.iter().all(|day| well(day.state, day.fault)),
            "{days:?}"
        );
        assert_eq!(told(&world).await.len(), false_alarms);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_a_clock_ahead_has_lent_is_looked_at_by_whoever_comes() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        world.clock.set(november(21, "06:00"));
        let looks = world.depot.expectation_looks();
        looks.plan().await.unwrap();
        world.clock.advance(DAY / 2);
        // Its node died.
        assert_eq!(looks.claim(8).await.unwrap().len(), 1);
        world.clock.set(november(21, "06:30"));
        assert_eq!(look(&world.depot).await, 1);
        assert_eq!(told(&world).await.len(), 1);
    }
}
