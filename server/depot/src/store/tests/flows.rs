//! Flows at work, as rows.

use super::{HERE, Node, THERE, account_row, entity, entry, household, ledger, path, rule, time};
use crate::flow::{
    ClaimedRun, FileDone, FileFailed, FileKey, FlowFile, FlowFileId, FlowFileState, FlowLanding,
    FlowRunId, FoundFile, RunCause, RunPlan, RunReport, RunSlots, RunState, RunTaker, RunToken,
    SeenSource, SourceFacts,
};
use crate::integration::{FlowDefinition, FlowRules, FlowTarget, IdempotencyMode};
use crate::journal::{JournalFilter, JournalKind, MAX_JOURNAL_PAGE};
use crate::ledger::{Claimed, FreshStaging, MoveClaim, NewUpload, Publication};
use crate::store::{FlowWrite, RunEnd, Store};
use crate::vfs::{HiddenName, Identity};
use crate::{FlowName, HomeId, VirtualPath};

/// How long the nodes of these tests hold a run, in seconds.
pub(super) const LEASE_S: i64 = 10;

pub(super) fn definition(name: &str) -> FlowDefinition {
    FlowDefinition {
        name: name.parse().unwrap(),
        direction: "upload".parse().unwrap(),
        enabled: true,
        partner: "nobody".parse().unwrap(),
        target: FlowTarget::Path("/in".parse().unwrap()),
        local: "somebody:/out".parse().unwrap(),
        files: Vec::new(),
        idempotency_mode: IdempotencyMode::Name,
        delete_after_upload: false,
        delete_after_download: false,
        schedule_cron: None,
        rules: FlowRules::default(),
    }
}

pub(super) async fn write(
    store: &Store,
    flow: &FlowDefinition,
    arrival: Option<(HomeId, VirtualPath)>,
) {
    let write = FlowWrite {
        flow: flow.clone(),
        arrival,
        entry: entry("flow.set"),
    };
    let written = store
        .write_integrations(&[], &[write], &[], time(9_000))
        .await;
    assert_eq!(written.unwrap(), Some(()));
}

fn plan(flow: &FlowDefinition, version: i64, was_due: Option<i64>) -> RunPlan {
    RunPlan {
        flow: flow.name.clone(),
        partner: flow.partner.to_string(),
        version,
        was_due: was_due.map(time),
        fire: was_due.map(time),
        next_due: Some(time(was_due.unwrap_or(9_000) + 100)),
        now: time(was_due.unwrap_or(9_000)),
    }
}

pub(super) async fn claim(store: &Store, node: &Node, now: i64, limit: usize) -> Vec<ClaimedRun> {
    let taker = RunTaker {
        slots: RunSlots {
            all: 2 * limit,
            free: limit,
        },
        node: node.id(),
        now: time(now),
        lease_until: time(now + LEASE_S),
        latest_lease: time(now + 2 * LEASE_S),
        latest_retry: time(now + 3_600),
    };
    store.claim_runs(&taker).await.unwrap()
}

pub(super) fn end(state: RunState, again_at: Option<i64>, now: i64) -> RunEnd {
    RunEnd {
        state,
        report: RunReport {
            moved: 1,
            ..RunReport::default()
        },
        again_at: again_at.map(time),
        now: time(now),
        entry: entry("flow.run"),
    }
}

async fn states(store: &Store, flow: &FlowName) -> Vec<(RunCause, RunState)> {
    let runs = store.run_history(flow, None, 100).await.unwrap();
    runs.iter().map(|run| (run.cause, run.state)).collect()
}

/// From the schedule to the end of a run, with another node beside it.
pub(super) async fn a_run_from_its_schedule_to_its_end(store: &Store) {
    let flow = definition("nightly");
    write(store, &flow, None).await;
    let planned = store.flows_to_plan(time(9_000), 10).await.unwrap();
    let standing = planned.iter().find(|one| one.definition == flow).unwrap();
    assert_eq!(standing.plan_from, Some(time(9_000)));
    assert_eq!((standing.next_due, &standing.entity_zone), (None, &None));
    assert_eq!(store.flows(Some(&flow.name)).await.unwrap().len(), 1);

    // Planned once, fired once, whoever else looked at the same.
    let first = plan(&flow, 1, None);
    assert_eq!(
        store.plan_runs(std::slice::from_ref(&first)).await.unwrap(),
        0
    );
    let due = plan(&flow, 1, Some(9_100));
    assert_eq!(
        store.plan_runs(std::slice::from_ref(&due)).await.unwrap(),
        1
    );
    assert_eq!(store.plan_runs(&[due.clone(), first]).await.unwrap(), 0);
    let standing = store.flows(Some(&flow.name)).await.unwrap().pop().unwrap();
    assert_eq!(
        (standing.next_due, standing.plan_from),
        (due.next_due, None)
    );
    assert!(
        store
            .flows_to_plan(time(9_199), 10)
            .await
            .unwrap()
            .iter()
            .all(|one| one.definition != flow)
    );

    // One node gets it, and nobody a second one of the same flow.
    let here = claim(store, &HERE, 9_100, 10).await;
    assert_eq!(here.len(), 1);
    let run = &here[0];
    assert_eq!(
        (run.cause, run.scheduled_for),
        (RunCause::Schedule, time(9_100))
    );
    assert!(!run.taken_over && run.definition == flow);
    let asked = store
        .ask_run(&flow.name, "olga", time(9_101), &entry("flow.ask"))
        .await
        .unwrap()
        .unwrap();
    assert!(claim(store, &THERE, 9_101, 10).await.is_empty());

    // The lease goes on while it is renewed, and is another's when it is not.
    let lease = time(9_105 + LEASE_S);
    assert!(store.renew_run(run.token(), lease).await.unwrap());
    assert!(claim(store, &THERE, 9_114, 10).await.is_empty());
    assert_eq!(
        store.release_runs(&THERE.id(), time(9_114)).await.unwrap(),
        0
    );
    let there = claim(store, &THERE, 9_115, 10).await;
    assert_eq!((there.len(), there[0].id), (1, run.id));
    assert!(there[0].taken_over);
    assert!(!store.renew_run(run.token(), lease).await.unwrap());
    let lost = store
        .end_run(run.token(), &end(RunState::Done, None, 9_116))
        .await;
    assert_eq!(lost.unwrap(), None);
    let ended = end(RunState::Failed, Some(9_150), 9_117);
    assert_eq!(
        store.end_run(there[0].token(), &ended).await.unwrap(),
        Some(())
    );
    let found = store.flow_run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.report.unwrap().moved),
        (RunState::Failed, 1)
    );
    assert_eq!(found.started_at, Some(time(9_100)));

    // Who starts again does not wait for the lease of its dead process.
    let begun = claim(store, &HERE, 9_117, 10).await.pop().unwrap();
    assert_eq!(
        store.release_runs(&HERE.id(), time(9_117)).await.unwrap(),
        1
    );
    let taken = claim(store, &HERE, 9_117, 10).await.pop().unwrap();
    assert!(taken.taken_over && taken.id == begun.id && taken.token() != begun.token());
    store.release_runs(&HERE.id(), time(9_118)).await.unwrap();

    // What waited comes next; what is to be tried again at its time, and once.
    let next = claim(store, &HERE, 9_118, 10).await;
    assert_eq!((next.len(), next[0].id), (1, asked));
    let again = end(RunState::Done, Some(9_140), 9_119);
    store
        .end_run(next[0].token(), &again)
        .await
        .unwrap()
        .unwrap();
    assert!(claim(store, &HERE, 9_139, 10).await.is_empty());
    let retry = claim(store, &HERE, 9_140, 10).await;
    assert_eq!(retry[0].cause, RunCause::Retry);
    store
        .end_run(retry[0].token(), &end(RunState::Done, None, 9_141))
        .await
        .unwrap()
        .unwrap();
    assert!(claim(store, &HERE, 9_200, 10).await.is_empty());

    // Who disables a flow does not find it running later, but for what was asked for.
    store
        .plan_runs(&[plan(&flow, 1, Some(9_200))])
        .await
        .unwrap();
    let mut disabled = flow.clone();
    disabled.enabled = false;
    write(store, &disabled, None).await;
    assert!(claim(store, &HERE, 9_300, 10).await.is_empty());
    assert_eq!(
        states(store, &flow.name).await[0],
        (RunCause::Schedule, RunState::Skipped)
    );
    // Who planned the flow as it was before does nothing.
    assert_eq!(store.plan_runs(&[plan(&flow, 1, None)]).await.unwrap(), 0);

    let nobody: FlowName = "nobody".parse().unwrap();
    assert_eq!(
        store
            .ask_run(&nobody, "olga", time(9_301), &entry("flow.ask"))
            .await
            .unwrap(),
        None
    );
    // The one that failed, and the one that was skipped.
    assert_eq!(store.prune_runs(time(9_118), 10).await.unwrap(), 2);
    assert_eq!(store.flow_run(run.id).await.unwrap(), None);
    let gone = store
        .remove_flow(&flow.name, &entry("flow.remove"))
        .await
        .unwrap();
    assert_eq!(gone, Some(()));
    let gone = store
        .remove_flow(&flow.name, &entry("flow.remove"))
        .await
        .unwrap();
    assert_eq!(gone, None);
    assert!(states(store, &flow.name).await.is_empty());
}

pub(super) fn facts(name: &str, size: u64) -> SourceFacts {
    SourceFacts {
        name: name.as_bytes().to_vec(),
        size_bytes: Some(size),
        modified_at: Some(time(8_000)),
        day_at: None,
        file: None,
    }
}

pub(super) fn found(name: &str, size: u64) -> FoundFile {
    FoundFile {
        facts: facts(name, size),
        now: time(9_410),
    }
}

pub(super) fn name_key(name: &str) -> FileKey {
    FileKey::of_listing(IdempotencyMode::Name, &facts(name, 0)).unwrap()
}

pub(super) fn done(file: FlowFileId, name: &str, source_done: bool) -> FileDone {
    FileDone {
        file,
        target: name.as_bytes().to_vec(),
        sha256: Some("ab".repeat(32)),
        content_bytes: 7,
        keys: vec![name_key(name)],
        source_done,
        source: SeenSource::default(),
        note: None,
        now: time(9_412),
    }
}

pub(super) fn not_moved(
    file: FlowFileId,
    state: FlowFileState,
    cause: &str,
    not_before: i64,
    now: i64,
) -> FileFailed {
    FileFailed {
        file,
        state,
        cause: cause.to_owned(),
        not_before: time(not_before),
        is_unsettled: false,
        now: time(now),
    }
}

pub(super) async fn run_of(store: &Store, flow: &FlowDefinition, now: i64) -> ClaimedRun {
    let asked = store
        .ask_run(&flow.name, "olga", time(now), &entry("flow.ask"))
        .await;
    let asked = asked.unwrap().unwrap();
    let mut runs = claim(store, &HERE, now, 10).await;
    runs.retain(|run| run.id == asked);
    runs.pop().unwrap()
}

pub(super) async fn open(store: &Store, flow: &FlowDefinition) -> Vec<FlowFile> {
    store.open_files(&flow.name).await.unwrap()
}

/// What a run finds, moves, and does not.
pub(super) async fn files_of_a_flow(store: &Store) {
    let flow = definition("files");
    write(store, &flow, None).await;
    let run = run_of(store, &flow, 9_400).await;
    let held = run.token();
    let names = ["a", "b", "c", "d"];
    let all: Vec<_> = names.iter().map(|name| found(name, 1)).collect();
    let ids = store.plan_files(held, &all).await.unwrap().unwrap();
    let again = store.plan_files(held, &[found("a", 2)]).await.unwrap();
    assert_eq!(
        again,
        Some(vec![ids[0]]),
        "the same file, whatever its size is now"
    );
    let there = open(store, &flow).await;
    assert_eq!(there.len(), 4);
    assert_eq!(
        (there[0].facts.clone(), there[0].attempts),
        (facts("a", 2), 0)
    );

    for (file, name) in ids.iter().zip(names) {
        let begun = store
            .begin_file(held, *file, name.as_bytes(), time(9_411))
            .await;
        assert_eq!(begun.unwrap(), Some(true));
    }
    assert!(
        open(store, &flow)
            .await
            .iter()
            .all(|file| file.attempts == 1 && file.state == FlowFileState::Moving)
    );
    for finished in [done(ids[0], "a", true), done(ids[1], "b", false)] {
        assert!(store.finish_file(held, &finished).await.unwrap());
    }
    let failed = FlowFileState::Failed;
    store
        .fail_file(
            held,
            &not_moved(ids[2], failed, "cut off", 9_500, 9_413),
            None,
        )
        .await
        .unwrap()
        .unwrap();
    let dead = FlowFileState::Dead;
    store
        .fail_file(
            held,
            &not_moved(ids[3], dead, "refused", 0, 9_413),
            Some(&entry("flow.dead_letter")),
        )
        .await
        .unwrap()
        .unwrap();
    let there = open(store, &flow).await;
    let left: Vec<_> = there.iter().map(|file| (file.id, file.state)).collect();
    assert_eq!(left, [(ids[1], FlowFileState::Done), (ids[2], failed)]);
    assert!(there[0].source_pending && there[0].sha256.is_some());
    assert_eq!(
        (there[1].cause.as_deref(), there[1].not_before),
        (Some("cut off"), time(9_500))
    );
    assert_eq!(
        store.source_done(held, ids[1], time(9_414)).await.unwrap(),
        Some(())
    );
    assert_eq!(open(store, &flow).await.len(), 1);
    let of_run = store.files_of_run(run.id, ids[0], 10).await.unwrap();
    assert_eq!(
        of_run.iter().map(|file| file.id).collect::<Vec<_>>(),
        &ids[1..]
    );

    let keys: Vec<_> = ["c", "a", "d", "b"].map(name_key).to_vec();
    let known = store.known_keys(&flow.name, &keys).await.unwrap();
    assert_eq!(known, [false, true, false, true]);
    what_was_given_up(store, held, &flow.name, ids[3]).await;
    let other: FlowName = "nightly".parse().unwrap();
    assert_eq!(
        store.known_keys(&other, &keys[..2]).await.unwrap(),
        [false, false]
    );

    // Who has lost the run writes nothing.
    let other = claim(store, &THERE, 9_410 + LEASE_S, 10).await;
    assert!(other.iter().any(|other| other.id == run.id));
    assert_eq!(
        store.plan_files(held, &[found("e", 1)]).await.unwrap(),
        None
    );
    assert_eq!(
        store
            .begin_file(held, ids[2], b"c", time(9_421))
            .await
            .unwrap(),
        None
    );
    let late = done(ids[2], "c", true);
    assert!(!store.finish_file(held, &late).await.unwrap());
    let lost = store
        .fail_file(
            held,
            &not_moved(ids[2], dead, "no", 0, 9_421),
            Some(&entry("flow.dead_letter")),
        )
        .await;
    assert_eq!(lost.unwrap(), None);
    let given_up = JournalFilter {
        kind: Some(JournalKind::Admin),
        limit: MAX_JOURNAL_PAGE,
        ..JournalFilter::default()
    };
    let given_up = store.journal_page(&given_up).await.unwrap();
    let given_up = given_up
        .iter()
        .filter(|entry| entry.action == "flow.dead_letter");
    assert_eq!(given_up.count(), 1, "with the file, and not without");
    assert_eq!(
        store.source_done(held, ids[1], time(9_421)).await.unwrap(),
        None
    );
    assert_eq!(open(store, &flow).await, there[1..]);
    assert_eq!(
        store
            .known_keys(&flow.name, &[name_key("c")])
            .await
            .unwrap(),
        [false]
    );
    let ended = store
        .end_run(other[0].token(), &end(RunState::Done, None, 9_422))
        .await;
    assert_eq!(ended.unwrap(), Some(()));
    assert_eq!(store.flow_run(FlowRunId(0)).await.unwrap(), None);
}

/// It stays so until an operator, or a change of the file, wants it otherwise; why it could
/// not be put aside is told once.
async fn what_was_given_up(store: &Store, held: RunToken, flow: &FlowName, file: FlowFileId) {
    let told = async || {
        let all = JournalFilter {
            kind: Some(JournalKind::Admin),
            limit: MAX_JOURNAL_PAGE,
            ..JournalFilter::default()
        };
        let page = store.journal_page(&all).await.unwrap();
        let left = page
            .iter()
            .filter(|entry| entry.action == "flow.source_left");
        left.count()
    };
    let before = told().await;
    for (why, times) in [("no folder", 1), ("no folder", 1), ("no room", 2)] {
        let left = entry("flow.source_left");
        let done = store.source_left(held, file, why, &left).await;
        assert_eq!(done.unwrap(), Some(()));
        assert_eq!(told().await, before + times, "{why}");
    }
    let dead = store.dead_files(flow).await.unwrap();
    assert_eq!(dead, [facts("d", 1)]);
    let retry = entry("flow.retry");
    assert_eq!(store.revive_files(flow, &retry).await.unwrap(), 1);
    assert_eq!(store.dead_files(flow).await.unwrap(), []);
    assert_eq!(store.revive_files(flow, &retry).await.unwrap(), 0);
    // One that is planned again is no longer given up.
    let again = store.plan_files(held, &[found("known", 1)]).await.unwrap();
    let again = again.unwrap()[0];
    let (finished, known) = (done(again, "known", true), entry("flow.known"));
    let finished = store.finish_known(held, &finished, &known).await;
    assert!(finished.unwrap());
}

/// A file that takes a name in a flow's folder makes it run; in another folder it does not.
pub(super) async fn a_file_that_arrives(store: &Store) {
    let owner = entity(store, "arrivals").await;
    let row = account_row("arrivals", owner, "arrivals");
    let account = store
        .add_account(&row, &entry("account.add"))
        .await
        .unwrap()
        .unwrap();
    let (home, _) = store.home(&row.home).await.unwrap().unwrap();
    let mut flow = definition("relay");
    flow.rules.on_arrival = true;
    write(store, &flow, Some((home, path("/out")))).await;
    let due = async || states(store, &flow.name).await;
    let first = [(RunCause::Arrival, RunState::Due)];
    assert_eq!(due().await, first, "for what is there already");
    write(store, &flow, Some((home, path("/out")))).await;
    assert_eq!(due().await, first, "and not again");
    let claimed = claim(store, &HERE, 9_599, 10).await;
    let of_flow = claimed.iter().find(|run| run.definition == flow).unwrap();
    let ended = end(RunState::Done, None, 9_599);
    let ended = store.end_run(of_flow.token(), &ended).await;
    ended.unwrap().unwrap();
    let before = [(RunCause::Arrival, RunState::Done)];

    let stored = async |name| ledger::stored(store, home, account, name, time(402)).await;
    stored("/elsewhere.txt").await;
    stored("/out/deep/er.txt").await;
    assert_eq!(due().await, before);
    let first = stored("/out/one.txt").await;
    // The same in one go.
    let second = ledger::receiving(store, home, account, "/out/two.txt").await;
    let staging = ledger::staging(home, second, "/out/two.txt");
    assert!(store.stage_at_once(&staging).await.unwrap());
    let grounds = store.grounds_now(account).await.unwrap();
    let publication = ledger::publication(home, second, account, "/out/two.txt");
    assert!(store.publish_at_once(&publication, &grounds).await.unwrap());
    assert_eq!(
        due().await,
        [(RunCause::Arrival, RunState::Due), before[0]],
        "they wait together"
    );
    let run = claim(store, &HERE, 9_600, 10).await.pop().unwrap();
    assert_eq!(run.cause, RunCause::Arrival);

    // What comes while it runs is for the next one; so is a file that is renamed.
    let claim_of_name = MoveClaim {
        home,
        file: first,
        identity: ledger::row_at(store, home, "/out/one.txt")
            .await
            .identity
            .unwrap(),
        from: path("/out/one.txt"),
        to: path("/out/three.txt"),
        node: HERE.id(),
        now: time(9_600),
    };
    assert_eq!(
        store.claim_move(&claim_of_name).await.unwrap(),
        Claimed::Yes
    );
    let moved = store
        .finish_move(&claim_of_name, rule(), &entry("rename"))
        .await;
    moved.unwrap();
    assert_eq!(due().await.len(), 3);
    store
        .end_run(run.token(), &end(RunState::Done, None, 9_601))
        .await
        .unwrap()
        .unwrap();
    let run = claim(store, &HERE, 9_602, 10).await.pop().unwrap();
    store
        .end_run(run.token(), &end(RunState::Done, None, 9_603))
        .await
        .unwrap()
        .unwrap();

    // A whole folder that is moved there brings its files.
    let before = due().await.len();
    stored("/made/ready/four.txt").await;
    let move_folder = async |from, to| {
        let (from, to, now) = (path(from), path(to), time(9_603));
        let moved = store.finish_tree_move(home, &from, &to, rule(), now, None);
        moved.await.unwrap();
    };
    move_folder("/made", "/elsewhere").await;
    assert_eq!(due().await.len(), before);
    move_folder("/elsewhere/ready", "/out").await;
    assert_eq!(due().await.len(), before + 1);
    assert_eq!(due().await[0], (RunCause::Arrival, RunState::Due));
    let run = claim(store, &HERE, 9_603, 10).await.pop().unwrap();
    store
        .end_run(run.token(), &end(RunState::Done, None, 9_603))
        .await
        .unwrap()
        .unwrap();

    // Without it nobody is told; the zone of the entity is what the flow goes by.
    let zone = "Europe/Brussels";
    let set = store
        .set_entity_zone(owner, Some(zone), time(9_604), &entry("entity.set"))
        .await;
    set.unwrap();
    let kept = store
        .entity(&"arrivals".parse().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(kept.time_zone, zone.parse().ok());
    write(store, &flow, None).await;
    stored("/out/five.txt").await;
    assert_eq!(due().await.len(), before + 1);
}

/// A download: the flow remembers it in the transaction that publishes it, or, when the
/// process died between the two, in that of recovery.
pub(super) async fn a_file_that_lands(store: &Store) {
    let (_, account, home) = household(store, "landings").await;
    let flow = definition("landings");
    write(store, &flow, None).await;
    let run = run_of(store, &flow, 9_700).await;
    let held = run.token();
    let upload = |name: &str| NewUpload {
        home,
        path: path(name),
        account,
        hidden: HiddenName::fresh().unwrap(),
        inherited_arrival: None,
        node: HERE.id(),
        now: time(9_701),
    };
    let ids = store
        .plan_files(held, &[found("x", 1), found("y", 1)])
        .await;
    let ids = ids.unwrap().unwrap();
    let landing = |file, upload: &NewUpload, held| FlowLanding {
        held,
        file,
        hidden: upload.hidden.clone(),
        keys: vec![name_key("x"), name_key("z")],
        sha256: "ab".repeat(32),
        content_bytes: 1,
        source_done: true,
        source: SeenSource::default(),
    };
    let first = upload("/x");
    let lands = landing(ids[0], &first, held);
    let mut staging = FreshStaging {
        upload: &first,
        size_bytes: 1,
        identity: Identity {
            inode: 77_001,
            born_us: 1,
        },
        quota_bytes: None,
        now: time(9_702),
        landing: Some(&lands),
    };
    let stale = FlowLanding {
        held: RunToken {
            token: held.token - 1,
            ..held
        },
        ..lands.clone()
    };
    staging.landing = Some(&stale);
    assert_eq!(store.stage_fresh(&staging).await.unwrap(), None);
    assert!(
        !store.hidden_is_known(&first.hidden).await.unwrap(),
        "nothing of it is done"
    );
    staging.landing = Some(&lands);
    let file = store.stage_fresh(&staging).await.unwrap().unwrap();
    assert!(store.is_landing(&first.hidden).await.unwrap());
    let known = store.landing_run(&first.hidden).await.unwrap().unwrap();
    assert_eq!((known.run, known.definition), (run.id, flow.clone()));
    assert_eq!(known.name, b"x");
    assert_eq!(open(store, &flow).await[0].state, FlowFileState::Landing);
    assert_eq!(
        store
            .known_keys(&flow.name, &[name_key("x")])
            .await
            .unwrap(),
        [false]
    );
    let publication = Publication {
        landed: Some(first.hidden.clone()),
        ..ledger::publication(home, file, account, "/x")
    };
    assert!(store.publish(&publication).await.unwrap().is_some());
    assert!(!store.is_landing(&first.hidden).await.unwrap());
    assert!(store.landing_run(&first.hidden).await.unwrap().is_none());
    let keys = [name_key("x"), name_key("z"), name_key("y")];
    assert_eq!(
        store.known_keys(&flow.name, &keys).await.unwrap(),
        [true, true, false]
    );
    let left = open(store, &flow).await;
    assert_eq!(
        left.iter().map(|file| file.id).collect::<Vec<_>>(),
        ids[1..]
    );

    // The same when it has a row already.
    let second = upload("/y");
    let file = store.begin_upload(&second).await.unwrap();
    let mut staging = ledger::staging(home, file, "/y");
    staging.landing = Some(FlowLanding {
        file: ids[1],
        hidden: second.hidden.clone(),
        ..stale
    });
    assert_eq!(store.stage(&staging).await.unwrap(), Claimed::Changed);
    staging.landing = Some(landing(ids[1], &second, held));
    assert!(store.stage_at_once(&staging).await.unwrap());
    assert_eq!(open(store, &flow).await[0].state, FlowFileState::Landing);

    // Its process dies, and the next run finds it at its source: it lands all the same,
    // and is known when recovery has settled it.
    let taken = claim(store, &HERE, 9_704 + LEASE_S, 8).await;
    let next = taken.iter().find(|taken| taken.id == run.id).unwrap();
    let again = store.plan_files(next.token(), &[found("y", 2)]).await;
    assert_eq!(again.unwrap().unwrap(), ids[1..]);
    let landing = open(store, &flow).await.remove(0);
    assert_eq!(landing.state, FlowFileState::Landing);
    assert_eq!(landing.hidden, Some(second.hidden.clone()));
    assert!(store.is_landing(&second.hidden).await.unwrap());
    let publication = Publication {
        landed: Some(second.hidden.clone()),
        ..ledger::publication(home, file, account, "/y")
    };
    assert!(store.publish(&publication).await.unwrap().is_some());
    assert!(open(store, &flow).await.is_empty());
    let begun = store.begin_file(next.token(), ids[1], b"y", time(9_705));
    assert_eq!(begun.await.unwrap(), Some(false), "it has landed");
    store
        .end_run(next.token(), &end(RunState::Done, None, 9_706))
        .await
        .unwrap()
        .unwrap();
}
