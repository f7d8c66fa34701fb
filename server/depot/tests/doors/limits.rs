//! How much an account may use at a time: sessions of all nodes together, and bytes a second
//! of those that are there.

use std::time::Duration;

use bytes::Bytes;
use layover_depot::{
    AccountChange, ByteRate, Completion, Depot, Direction, JournalKind, LimitsChange, LoginError,
    Outcome, Proof, Secret, Session, SessionLimit, UploadMode,
};

use crate::world::{PASSWORD, World, actor, at, attempt, keep, name, options, worlds};

/// Sessions that the account may have.
const MOST: u64 = 3;

async fn limit(world: &World, limits: LimitsChange) {
    let change = AccountChange {
        limits,
        ..AccountChange::default()
    };
    world
        .depot
        .registry()
        .change_account(&actor(), &name("alice"), &change)
        .await
        .unwrap();
    world.depot.refresh().await.unwrap();
}

async fn log_in(depot: &Depot) -> Result<Session, LoginError> {
    let proof = Proof::Password(Secret::new(PASSWORD));
    depot.gate().login(attempt("alice", proof)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn logins_at_the_same_time_on_two_nodes_do_not_pass_the_limit() {
    for world in worlds().await {
        let most = LimitsChange {
            max_sessions: Some(SessionLimit::new(MOST).ok()),
            ..LimitsChange::default()
        };
        limit(&world, most).await;
        let folder = tempfile::tempdir().unwrap();
        let other = match world.url.starts_with("postgres") {
            true => {
                let mut beside = options(folder.path(), &world.url, &world.clock, keep(5));
                beside.homes = world.folder.path().join("homes");
                Some(Depot::open(beside).await.unwrap())
            }
            false => None,
        };
        let nodes = [&world.depot, other.as_ref().unwrap_or(&world.depot)];
        for round in 0..5 {
            let tries = (0..8).map(|index| {
                let depot = nodes[index % 2].clone();
                tokio::spawn(async move { log_in(&depot).await })
            });
            let mut sessions = Vec::new();
            for tried in tries.collect::<Vec<_>>() {
                match tried.await.unwrap() {
                    Ok(session) => sessions.push(session),
                    Err(LoginError::Refused) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            assert_eq!(sessions.len() as u64, MOST, "round {round}, {}", world.url);
            for session in sessions {
                session.end("done").await;
            }
        }
        let refused = world.journal(JournalKind::Login).await.into_iter();
        let refused: Vec<_> = refused
            .filter(|entry| entry.outcome == Outcome::Refused)
            .collect();
        assert_eq!(refused.len(), 5 * (8 - MOST as usize));
        for entry in refused {
            assert_eq!(
                entry.detail["reason"],
                "the account has as many sessions as it may have (3)"
            );
        }
        if let Some(other) = other {
            other.close().await;
        }
        world.depot.close().await;
    }
}

/// The other direction, and other accounts, are left alone.
#[tokio::test]
async fn a_rate_counts_for_sessions_that_are_there() {
    for world in worlds().await {
        let (session, again) = (
            world.login("alice", PASSWORD).await.unwrap(),
            world.login("alice", PASSWORD).await.unwrap(),
        );
        world.add("bob", |_| {}).await;
        let stranger = world.login("bob", PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&at("/file"), mode).await.unwrap();
        let upload = permit.begin().await.unwrap();
        let piece = Bytes::from(vec![0; 1 << 20]);
        upload.write_at(0, piece.clone()).await.unwrap();
        assert!(!session.is_held_back(Direction::Upload), "no limit");
        let slow = ByteRate::new(16 * 1024).ok();
        let limited = |upload_rate| LimitsChange {
            upload_rate: Some(upload_rate),
            ..LimitsChange::default()
        };
        limit(&world, limited(slow)).await;
        upload.write_at(0, piece).await.unwrap();
        for of_account in [&session, &again] {
            assert!(of_account.is_held_back(Direction::Upload));
            assert!(!of_account.is_held_back(Direction::Download));
        }
        assert!(
            !stranger.is_held_back(Direction::Upload),
            "of another account"
        );
        assert!(!session.go_ahead_soon(Direction::Upload).await);
        limit(&world, limited(None)).await;
        let waited = layover_depot::timer::timeout(
            Duration::from_secs(60),
            session.go_ahead(Direction::Upload),
        );
        waited.await.unwrap();
        upload.interrupt().await.unwrap();
        for session in [session, again, stranger] {
            session.end("done").await;
        }
        world.depot.close().await;
    }
}

/// A checksum of a file, for one, reads all of it and sends nothing.
#[tokio::test]
async fn what_is_only_looked_at_takes_nothing_of_a_rate() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&at("/file"), mode).await.unwrap();
        let upload = permit.begin().await.unwrap();
        // A minute's worth, in one piece.
        let content = Bytes::from(vec![0; 1 << 20]);
        upload.write_at(0, content).await.unwrap();
        upload.finish(Completion::Closed).await.unwrap();
        let slow = LimitsChange {
            download_rate: Some(ByteRate::new(16 * 1024).ok()),
            ..LimitsChange::default()
        };
        limit(&world, slow).await;
        let looked_at = session.open_to_read(&at("/file")).await.unwrap();
        assert!(!looked_at.read_at(0, 1 << 20).await.unwrap().is_empty());
        assert!(!session.is_held_back(Direction::Download));
        looked_at.forget();
        let sent = session.download(&at("/file")).await.unwrap();
        sent.read_at(0, 1 << 20).await.unwrap();
        assert!(session.is_held_back(Direction::Download));
        sent.forget();
        session.end("done").await;
        world.depot.close().await;
    }
}
