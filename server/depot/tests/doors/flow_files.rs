//! What a run writes of its files, at once with the ledger or not at all.

use layover_depot::{
    CENSUS_EVERY, CENSUSES_KEPT, Carrying, ClaimedRun, FileKey, FlowFileId, FlowRuns,
    IdempotencyMode, MovedFile, RUN_LEASE, RunLost, RunReport, RunState, SeenSource, SourceFacts,
};
use layover_retention::Clock;

use crate::courier::{errand, told, visit};
use crate::flows::{SLOTS, apply, flow};
use crate::world::{DAY, World, actor, at, worlds};

/// A run of the flow that somebody asked for.
pub(crate) async fn asked_run(world: &World, flow: &str) -> ClaimedRun {
    let (registry, name) = (world.depot.registry(), flow.parse().unwrap());
    registry.ask_run(&actor(), &name).await.unwrap();
    let mut runs = world.depot.flow_runs().claim(SLOTS).await.unwrap();
    runs.retain(|run| run.definition.name == name);
    runs.pop().unwrap()
}

pub(crate) fn facts(name: &str) -> SourceFacts {
    SourceFacts {
        name: name.as_bytes().to_vec(),
        size_bytes: Some(7),
        modified_at: None,
        day_at: None,
        file: None,
    }
}

pub(crate) fn key(name: &str) -> FileKey {
    FileKey::of_listing(IdempotencyMode::Name, &facts(name)).unwrap()
}

/// A file of the run that is on its way.
pub(crate) async fn begun(runs: &FlowRuns, run: &ClaimedRun, name: &str) -> FlowFileId {
    let file = runs.find(run, &[facts(name)]).await.unwrap()[0];
    runs.begin(run, file, name.as_bytes()).await.unwrap();
    file
}

pub(crate) fn moved(file: FlowFileId, name: &str) -> MovedFile {
    MovedFile {
        file,
        target: name.as_bytes().to_vec(),
        sha256: Some([7; 32]),
        content_bytes: 7,
        keys: vec![key(name)],
        source_done: true,
        source: SeenSource::default(),
    }
}

#[tokio::test]
async fn a_delivered_file_is_told_collected_and_known_at_once_or_not_at_all() {
    for world in worlds().await {
        apply(&world, &[flow("orders")]).await;
        world.upload("alice", "/x").await;
        let runs = world.depot.flow_runs();
        let run = asked_run(&world, "orders").await;
        let file = begun(&runs, &run, "x").await;
        let visit = visit(&world.depot, "alice").await;
        let attempt = visit.attempt(errand(Carrying::Upload));
        let leaving = attempt.collect(&at("/x")).await.unwrap();
        let known = async || {
            let flow = &run.definition.name;
            let known = runs.known(flow, &[key("x")]).await.unwrap();
            (
                known == [true],
                runs.open_files(flow).await.unwrap().len(),
                world.file("alice", "/x").await.collected_at.is_some(),
                told(&world).await.len(),
            )
        };

        // Another one has the run by now.
        world.clock.advance(RUN_LEASE);
        let taken = runs.claim(SLOTS).await.unwrap().pop().unwrap();
        assert!(taken.id == run.id && taken.taken_over);
        let late = runs.delivered(&run, &moved(file, "x"), &leaving).await;
        assert!(matches!(late, Err(RunLost::Lost)));
        assert_eq!(known().await, (false, 1, false, 0));

        runs.delivered(&taken, &moved(file, "x"), &leaving)
            .await
            .unwrap();
        drop(attempt);
        assert_eq!(known().await, (true, 0, true, 1));
    }
}

#[tokio::test]
async fn a_file_is_known_until_it_was_looked_for_in_vain_for_ninety_days() {
    for world in worlds().await {
        apply(&world, &[flow("orders")]).await;
        let runs = world.depot.flow_runs();
        let run = asked_run(&world, "orders").await;
        for name in ["stays", "goes"] {
            let file = begun(&runs, &run, name).await;
            runs.moved(&run, &moved(file, name)).await.unwrap();
        }
        let end = async |run: &ClaimedRun| {
            let report = RunReport::default();
            runs.end(run, RunState::Done, report, None).await.unwrap();
        };
        end(&run).await;
        let known = async || {
            let keys = [key("stays"), key("goes")];
            runs.known(&run.definition.name, &keys).await.unwrap()
        };
        let is_due = |run: &ClaimedRun| run.is_census_due(world.clock.now());
        let gone_since = world.clock.now();
        let mut censuses = 0;
        while known().await == [true, true] {
            let run = asked_run(&world, "orders").await;
            assert!(is_due(&run));
            // A folder that shows nothing may be one that is not there.
            assert_eq!(runs.take_census(&run, &[]).await.unwrap(), 0);
            end(&run).await;
            let run = asked_run(&world, "orders").await;
            assert!(is_due(&run));
            runs.take_census(&run, &[key("stays")]).await.unwrap();
            end(&run).await;
            let run = asked_run(&world, "orders").await;
            assert!(!is_due(&run), "not again so soon");
            end(&run).await;
            censuses += 1;
            world.clock.advance(CENSUS_EVERY);
        }
        assert_eq!(known().await, [true, false]);
        assert_eq!(censuses, CENSUSES_KEPT + 1);
        let gone_for = world.clock.now().duration_since(gone_since);
        assert!(gone_for - CENSUS_EVERY > 90 * DAY, "{gone_for:?}");
    }
}
