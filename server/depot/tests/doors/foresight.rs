//! What an operator can foresee: what goes, what nobody fetched, what cannot be
//! deleted; and the checksums that are there by then.

use std::time::Duration;

use bytes::Bytes;
use layover_depot::{
    Completion, Depot, ForecastAccount, ForecastQuestion, JournalKind, Session, UploadMode,
    VfsError, VirtualPath,
};
use layover_retention::{Clock, Keep, sweep};

use crate::world::{DAY, PASSWORD, World, at, worlds};

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) async fn put(
    session: &Session,
    path: &VirtualPath,
    content: &[u8],
) -> Result<(), VfsError> {
    let mode = UploadMode::New { exclusive: false };
    let upload = session.plan_upload(path, mode).await?.begin().await?;
    upload.write_at(0, Bytes::copy_from_slice(content)).await?;
    upload.finish(Completion::Closed).await.map(drop)
}

pub(crate) async fn fetch(session: &Session, path: &VirtualPath) {
    let download = session.download(path).await.unwrap();
    let bytes = download.read_at(0, 1_000).await.unwrap();
    download.finish(bytes.len() as u64, true).await.unwrap();
}

/// Whether the file system, and who we are, allow that.
fn make_immutable(file: &std::path::Path, change: &str) -> bool {
    let done = std::process::Command::new("chattr")
        .arg(change)
        .arg(file)
        .output();
    done.is_ok_and(|done| done.status.success())
}

fn within(world: &World, span: Duration) -> ForecastQuestion {
    ForecastQuestion {
        until: world.clock.now().saturating_add(span),
        if_keep: None,
    }
}

/// Paths that are forecast to go, in their order. What is held is not among them.
pub(crate) async fn forecast(depot: &Depot, question: &ForecastQuestion) -> Vec<String> {
    let mut paths = Vec::new();
    let mut held = 0;
    let mut after = None;
    loop {
        let page = depot
            .shelf()
            .forecast_files(question, after, 3)
            .await
            .unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.expires_at, last.id));
        for file in page {
            match file.held_until {
                None => {
                    assert_eq!(held, 0, "held files come last");
                    assert!(file.expires_at <= question.until);
                    paths.push(file.path.to_string());
                }
                Some(until) => {
                    assert!(until > question.until && until == file.expires_at);
                    held += 1;
                }
            }
        }
    }
    let sums = depot.shelf().forecast(question).await.unwrap();
    let sum = |files: fn(&ForecastAccount) -> u64| sums.iter().map(files).sum::<u64>();
    assert_eq!(sum(|of| of.files), paths.len() as u64);
    assert_eq!(sum(|of| of.held_files), held);
    paths
}

#[tokio::test]
async fn another_keep_can_be_tried_out_without_being_set() {
    for world in worlds().await {
        world.upload("alice", "/first").await;
        world.clock.advance(DAY);
        world.upload("alice", "/second").await;
        let if_keep = |days: u64, within| ForecastQuestion {
            until: world.clock.now().saturating_add(within),
            if_keep: Some(Keep::from_secs(days * 86_400).unwrap()),
        };
        assert_eq!(forecast(&world.depot, &within(&world, DAY)).await, [""; 0]);
        assert_eq!(forecast(&world.depot, &if_keep(2, DAY)).await, ["/first"]);
        assert_eq!(
            forecast(&world.depot, &if_keep(2, 2 * DAY)).await,
            ["/first", "/second"]
        );
        assert_eq!(forecast(&world.depot, &if_keep(9, 5 * DAY)).await, [""; 0]);
        let sums = world
            .depot
            .shelf()
            .forecast(&within(&world, 9 * DAY))
            .await
            .unwrap();
        assert_eq!(sums.len(), 1);
        assert_eq!(
            (sums[0].home.as_str(), sums[0].account.as_deref()),
            ("alice", Some("alice"))
        );
        assert_eq!((sums[0].files, sums[0].size_bytes), (2, 14));
        assert_eq!(sums[0].first_expiry.to_string(), "2026-11-26T04:00:00Z");
        assert_eq!(
            world.days("alice", "/first").await,
            5,
            "nothing was changed"
        );
    }
}

#[tokio::test]
async fn of_a_file_that_nobody_fetched_one_is_told_once() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        put(&session, &at("/fetched"), b"1").await.unwrap();
        put(&session, &at("/forgotten"), b"1").await.unwrap();
        fetch(&session, &at("/fetched")).await;
        let told = || async {
            world.depot.shelf().warn_uncollected(DAY).await.unwrap();
            let entries = world.journal(JournalKind::Retention).await;
            let told = entries
                .into_iter()
                .filter(|entry| entry.action == "uncollected");
            told.map(|entry| (entry.path.unwrap().to_string(), entry.account))
                .collect::<Vec<_>>()
        };
        world.clock.advance(4 * DAY - HOUR);
        assert_eq!(told().await, []);
        world.clock.advance(HOUR);
        let forgotten = [("/forgotten".to_owned(), Some("alice".to_owned()))];
        assert_eq!(told().await, forgotten);
        assert_eq!(told().await, forgotten, "not again");
    }
}

#[tokio::test]
async fn of_a_file_that_stays_shortly_one_is_told_after_half_its_time() {
    for world in worlds().await {
        world
            .set_keep("alice", Some(Keep::from_secs(7_200).unwrap()))
            .await;
        world.upload("alice", "/short").await;
        world.clock.advance(HOUR - Duration::from_secs(1));
        assert_eq!(world.depot.shelf().warn_uncollected(DAY).await.unwrap(), 0);
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.depot.shelf().warn_uncollected(DAY).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn contents_get_their_checksums_and_what_went_keeps_it() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        put(&session, &at("/abc"), b"abc").await.unwrap();
        put(&session, &at("/gone"), b"abc").await.unwrap();
        session.remove(&at("/gone")).await.unwrap();
        // At first it is left alone: somebody may be putting many.
        assert_eq!(world.depot.hash_contents().await.unwrap().files, 0);
        world.clock.advance(Duration::from_secs(2));
        let report = world.depot.hash_contents().await.unwrap();
        assert_eq!(
            (report.files, report.bytes, report.failed, report.more),
            (1, 3, 0, false)
        );
        assert_eq!(
            world.depot.hash_contents().await.unwrap().files,
            0,
            "each once"
        );
        // FIPS 180-2, B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            world.file("alice", "/abc").await.sha256.as_deref(),
            Some(abc)
        );
        let download = session.download(&at("/abc")).await.unwrap();
        let known = download.known_sha256().await.unwrap().unwrap();
        assert_eq!(known.len(), 32);
        download.forget();
        put(&session, &at("/abc"), b"other").await.unwrap();
        assert_eq!(world.file("alice", "/abc").await.sha256, None);
    }
}

#[tokio::test]
async fn what_cannot_be_deleted_is_named_and_tried_at_longer_and_longer_intervals() {
    for world in worlds().await {
        world.upload("alice", "/stuck").await;
        world.clock.advance(6 * DAY);
        let file = world.folder.path().join("homes/alice/stuck");
        if !make_immutable(&file, "+i") {
            eprintln!("skipped: files cannot be made immutable here");
            return;
        }
        let mut tries = Vec::new();
        for second in 0..200_u64 {
            let report = sweep(world.depot.shelf(), world.clock.now(), 10)
                .await
                .unwrap();
            if report.failed > 0 {
                tries.push(second);
            }
            world.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 127]);
        let failing = world.depot.shelf().failing(10).await.unwrap();
        assert_eq!(failing.len(), 1);
        assert_eq!(
            (failing[0].path.to_string().as_str(), failing[0].failures),
            ("/stuck", 8)
        );
        assert!(!failing[0].cause.is_empty());
        assert!(make_immutable(&file, "-i"));
        world.depot.shelf().retry_failures().await.unwrap();
        let report = sweep(world.depot.shelf(), world.clock.now(), 10)
            .await
            .unwrap();
        assert_eq!(report.deleted, 1);
        assert_eq!(world.depot.shelf().failing(10).await.unwrap(), []);
    }
}

// A partner whose platform collects with the same account has the home for itself; where
// accounts share one, who looks at what it has sent has not collected it.
#[tokio::test]
async fn an_uploaders_own_download_collects_only_where_nobody_shares_the_home() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let collected = async |name: &str| {
            let alice = crate::world::name("alice");
            let files = world.depot.registry().list_files(&alice, &at("/")).await;
            let mut files = files.unwrap().into_iter();
            let found = files.find(|file| file.path == at(name)).unwrap();
            found.collected_by.map(|name| name.to_string())
        };
        put(&session, &at("/alone"), b"x").await.unwrap();
        fetch(&session, &at("/alone")).await;
        assert_eq!(collected("/alone").await.as_deref(), Some("alice"));

        world
            .add("collector", |new| new.home = Some("alice".parse().unwrap()))
            .await;
        put(&session, &at("/shared"), b"x").await.unwrap();
        fetch(&session, &at("/shared")).await;
        assert_eq!(collected("/shared").await, None);
        let other = world.login("collector", PASSWORD).await.unwrap();
        fetch(&other, &at("/shared")).await;
        assert_eq!(collected("/shared").await.as_deref(), Some("collector"));
    }
}
