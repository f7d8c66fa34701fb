//! What a run writes of its files, at once with the ledger or not at all.

use layover_depot::{
    Carrying, ClaimedRun, FileKey, FlowFileId, FlowRuns, IdempotencyMode, MovedFile, RUN_LEASE,
    RunLost, SourceFacts,
};

use crate::courier::{errand, told, visit};
use crate::flows::{apply, flow};
use crate::world::{World, actor, at, worlds};

/// A run of the flow that somebody asked for.
pub(crate) async fn asked_run(world: &World, flow: &str) -> ClaimedRun {
    let (registry, name) = (world.depot.registry(), flow.parse().unwrap());
    registry.ask_run(&actor(), &name).await.unwrap();
    let mut runs = world.depot.flow_runs().claim(8).await.unwrap();
    runs.retain(|run| run.definition.name == name);
    runs.pop().unwrap()
}

pub(crate) fn facts(name: &str) -> SourceFacts {
    SourceFacts {
        name: name.as_bytes().to_vec(),
        size_bytes: Some(7),
        modified_at: None,
        day_at: None,
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
        let taken = runs.claim(8).await.unwrap().pop().unwrap();
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
