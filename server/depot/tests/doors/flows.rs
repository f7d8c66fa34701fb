//! Flows through the door of whoever runs them: what is due, and who has it.

use std::collections::BTreeMap;

use layover_depot::{
    ClaimedRun, Depot, Doing, FlowDefinition, FlowName, FlowRules, FlowTarget, IdempotencyMode,
    Options, RUN_LEASE, RunLost, RunReport, RunSlots, RunState, WantedIntegration,
};
use layover_retention::{Clock, Timestamp};

use crate::integrations::wanted;
use crate::world::{World, actor, keep, options, worlds};

const FLOWS: usize = 1_000;

/// All of them may be of one integration.
pub(crate) const SLOTS: RunSlots = RunSlots { all: 16, free: 8 };

pub(crate) fn flow(name: &str) -> FlowDefinition {
    FlowDefinition {
        name: name.parse().unwrap(),
        direction: "upload".parse().unwrap(),
        enabled: true,
        partner: "globex".parse().unwrap(),
        target: FlowTarget::Path("/in".parse().unwrap()),
        local: "alice:/out".parse().unwrap(),
        files: Vec::new(),
        idempotency_mode: IdempotencyMode::Name,
        delete_after_upload: false,
        delete_after_download: false,
        schedule_cron: "0 0 8 * * *".parse().ok(),
        rules: FlowRules::default(),
    }
}

pub(crate) async fn apply(world: &World, flows: &[FlowDefinition]) {
    let partner: WantedIntegration = wanted("globex", "ftps");
    let (registry, actor) = (world.depot.registry(), actor());
    registry
        .apply(&actor, &[partner], flows, &[], Doing::Really)
        .await
        .unwrap();
}

/// Takes what is due, as many at a time as may, and ends it, until nothing is.
async fn work(depot: &Depot) -> Vec<ClaimedRun> {
    depot.flow_runs().plan().await.unwrap();
    let mut begun = Vec::new();
    loop {
        let claimed = take(depot, SLOTS).await;
        if claimed.is_empty() {
            return begun;
        }
        begun.extend(claimed);
    }
}

/// Takes so many of what is due, and ends them.
async fn take(depot: &Depot, slots: RunSlots) -> Vec<ClaimedRun> {
    let runs = depot.flow_runs();
    let claimed = runs.claim(slots).await.unwrap();
    for run in &claimed {
        let report = RunReport::default();
        runs.end(run, RunState::Done, report, None).await.unwrap();
    }
    claimed
}

/// A run is begun when a node has taken it: until then it waits its turn, behind what was
/// due before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_flows_that_are_due_in_one_second_are_begun_once_each() {
    for world in worlds().await {
        let flows: Vec<_> = (0..FLOWS)
            .map(|number| flow(&format!("flow-{number:04}")))
            .collect();
        apply(&world, &flows).await;
        assert_eq!(work(&world.depot).await.len(), 0, "planned, and not due");
        let due: Timestamp = "2026-11-21T08:00:00Z".parse().unwrap();
        world.clock.advance(due.duration_since(world.clock.now()));
        // An embedded database has one node.
        let second = match world.url.starts_with("sqlite") {
            true => None,
            false => Some(
                Depot::open(Options {
                    data_dir: world.folder.path().join("data-2"),
                    ..options(world.folder.path(), &world.url, &world.clock, keep(5))
                })
                .await
                .unwrap(),
            ),
        };
        let watch = layover_depot::timer::Stopwatch::start();
        let begun = match &second {
            None => vec![work(&world.depot).await],
            Some(second) => {
                // Each can do some, whichever is the quicker one then.
                second.flow_runs().plan().await.unwrap();
                let one = RunSlots { free: 1, ..SLOTS };
                let mut begun = vec![take(&world.depot, one).await, take(second, one).await];
                let (here, there) = (world.depot.clone(), second.clone());
                let both =
                    [here, there].map(|depot| tokio::spawn(async move { work(&depot).await }));
                for one in both {
                    begun.push(one.await.unwrap());
                }
                begun
            }
        };
        let took = watch.elapsed();
        println!("{}: {FLOWS} flows begun and ended in {took:?}", world.url);
        let mut times: BTreeMap<FlowName, usize> = BTreeMap::new();
        for run in begun.iter().flatten() {
            assert_eq!(run.scheduled_for, due);
            *times.entry(run.definition.name.clone()).or_default() += 1;
        }
        assert_eq!(times.len(), FLOWS);
        assert!(times.values().all(|times| *times == 1), "none twice");
        if second.is_some() {
            assert_eq!((begun[0].len(), begun[1].len()), (1, 1));
        }
        // A debug build is several times slower.
        if !cfg!(debug_assertions) {
            assert!(took.as_secs() < 10, "{took:?}");
        }
        if let Some(second) = second {
            second.close().await;
        }
    }
}

/// Each of its runs may take as long as three files that are stalled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_one_integration_take_half_of_the_slots_and_at_least_one() {
    for world in worlds().await {
        let integrations = ["globex", "initech"].map(|name| wanted(name, "ftps"));
        let of = |partner: &str, number: u32| {
            let mut flow = flow(&format!("{partner}-{number}"));
            flow.partner = partner.parse().unwrap();
            flow
        };
        let each = (1..=5).flat_map(|number| [of("globex", number), of("initech", number)]);
        let flows: Vec<_> = each.collect();
        let registry = world.depot.registry();
        registry
            .apply(&actor(), &integrations, &flows, &[], Doing::Really)
            .await
            .unwrap();
        // Those of one of them are due before all of the other's.
        for partner in ["globex", "initech"] {
            for number in 1..=5 {
                let name = of(partner, number).name;
                registry.ask_run(&actor(), &name).await.unwrap();
            }
            world.clock.advance(std::time::Duration::from_secs(1));
        }
        let runs = world.depot.flow_runs();
        let claim = async |free| {
            let claimed = runs.claim(RunSlots { all: 5, free }).await.unwrap();
            let of = |name: &str| {
                let own = claimed.iter();
                own.filter(|run| run.definition.partner.as_str() == name)
                    .count()
            };
            let counts = (of("globex"), of("initech"));
            (counts, claimed)
        };
        let (first, globex) = claim(5).await;
        assert_eq!(first, (2, 0));
        assert_eq!(claim(3).await.0, (0, 2));
        assert_eq!(claim(1).await.0, (0, 0), "both have their share");
        let report = RunReport::default();
        let ended = runs.end(&globex[0], RunState::Done, report, None).await;
        ended.unwrap();
        assert_eq!(claim(2).await.0, (1, 0));
        assert_eq!(RunSlots { all: 1, free: 1 }.of_one_integration(), 1);
    }
}

/// Who looks into the log must not be sent to look for another server when an operator took
/// the flow away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_lost_says_to_whom() {
    for world in worlds().await {
        let names: Vec<_> = ["ended", "kept", "removed", "taken"].map(flow).into();
        apply(&world, &names).await;
        let runs = world.depot.flow_runs();
        let registry = world.depot.registry();
        let actor = actor();
        for flow in &names {
            registry.ask_run(&actor, &flow.name).await.unwrap();
        }
        let claimed = runs.claim(SLOTS).await.unwrap();
        let run = |name: &str| {
            let mut each = claimed.iter();
            each.find(|run| run.definition.name.as_str() == name)
                .unwrap()
        };
        // A run that is under way comes to its end, whatever is switched off meanwhile.
        let mut disabled = flow("kept");
        disabled.enabled = false;
        let existing = layover_depot::Existing::Change;
        registry
            .put_flow(&actor, &disabled, existing)
            .await
            .unwrap();
        runs.renew(run("kept")).await.unwrap();
        assert!(!runs.is_stopped(run("kept")).await.unwrap(), "asked for");

        let removed = run("removed");
        let name = &removed.definition.name;
        registry.remove_flow(&actor, name).await.unwrap();
        let (done, report) = (RunState::Done, RunReport::default());
        let ended = run("ended");
        runs.end(ended, done, report, None).await.unwrap();
        world.clock.advance(RUN_LEASE);
        runs.renew(run("kept")).await.unwrap();
        let again = runs.claim(SLOTS).await.unwrap();
        assert_eq!(again.len(), 1, "{again:?}");
        let taken = run("taken");
        for (lost, told) in [
            (removed, "its flow was removed".to_owned()),
            (
                taken,
                format!("node {} has taken it over", world.depot.node()),
            ),
            (ended, "it is done by now".to_owned()),
        ] {
            assert!(matches!(runs.renew(lost).await, Err(RunLost::Lost)));
            assert_eq!(runs.why_lost(lost).await.unwrap().to_string(), told);
        }
    }
}
