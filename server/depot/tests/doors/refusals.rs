//! What a session may not change, and what it replaces, is in the journal.

use bytes::Bytes;
use layover_depot::{
    Completion, JournalEntry, JournalKind, Outcome, Replace, Session, UploadMode, VfsError,
};

use crate::world::{PASSWORD, World, at, worlds};

/// Refusals that are named one by one in a session; the rest is a count.
const MAX_NAMED: u64 = 100;

const NEW: UploadMode = UploadMode::New { exclusive: false };

async fn transfers(world: &World, session: Session) -> Vec<JournalEntry> {
    session.end("done").await;
    world.journal(JournalKind::Transfer).await
}

async fn put(session: &Session, path: &str, content: &'static [u8]) -> Result<(), VfsError> {
    let upload = session.plan_upload(&at(path), NEW).await?.begin().await?;
    let wrote = upload.write_at(0, Bytes::from_static(content)).await;
    let finished = upload.finish(Completion::Closed).await.map(drop);
    wrote.map(drop).and(finished)
}

#[tokio::test]
async fn each_refused_change_is_told_with_its_verb_its_path_and_why() {
    for world in worlds().await {
        world
            .add("reader", |account| account.read_only = true)
            .await;
        let session = world.login("reader", PASSWORD).await.unwrap();
        assert!(put(&session, "/new", b"x").await.is_err());
        assert!(session.remove(&at("/a")).await.is_err());
        assert!(session.make_dir(&at("/dir")).await.is_err());
        assert!(session.remove_dir(&at("/dir")).await.is_err());
        let renamed = session.rename(&at("/a"), &at("/b"), Replace::Allow).await;
        assert!(renamed.is_err());
        // Nothing was forbidden here: it does not exist.
        assert!(session.stat(&at("/a")).await.is_err());

        let told = transfers(&world, session).await;
        let verbs: Vec<_> = told
            .iter()
            .map(|entry| (entry.action.as_str(), entry.path.clone().unwrap()))
            .collect();
        let expected = [
            ("upload", at("/new")),
            ("delete", at("/a")),
            ("mkdir", at("/dir")),
            ("rmdir", at("/dir")),
            ("rename", at("/b")),
        ];
        assert_eq!(verbs, expected);
        for entry in told {
            assert_eq!(entry.outcome, Outcome::Refused);
            assert_eq!(entry.detail["why"], "permission");
        }
    }
}

#[tokio::test]
async fn a_peer_cannot_fill_the_journal_with_refusals() {
    for beyond in [0, 1, 7] {
        for world in worlds().await {
            world
                .add("reader", |account| account.read_only = true)
                .await;
            let session = world.login("reader", PASSWORD).await.unwrap();
            for _ in 0..MAX_NAMED + beyond {
                assert!(session.make_dir(&at("/dir")).await.is_err());
            }
            let told = transfers(&world, session).await;
            let named = told.iter().filter(|entry| entry.action == "mkdir").count();
            assert_eq!(named as u64, MAX_NAMED);
            let more: Vec<_> = told
                .iter()
                .filter(|entry| entry.action == "more-refusals")
                .map(|entry| entry.detail["refusals"].as_u64().unwrap())
                .collect();
            assert_eq!(more, if beyond == 0 { vec![] } else { vec![beyond] });
        }
    }
}

#[tokio::test]
async fn a_quota_that_is_used_up_has_its_name_in_the_answer_and_in_the_journal() {
    for world in worlds().await {
        world
            .add("small", |account| account.quota_bytes = Some(1024))
            .await;
        let session = world.login("small", PASSWORD).await.unwrap();
        let refused = put(&session, "/large", &[1; 1025]).await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "quota of the account is used up (1 KiB)"
        );
        put(&session, "/fits", &[1; 1024]).await.unwrap();
        assert!(session.plan_upload(&at("/more"), NEW).await.is_err());

        let space = session.space().await.unwrap();
        assert_eq!((space.total_bytes, space.free_bytes), (1024, 0));
        let told = transfers(&world, session).await;
        let why = |path: &str| {
            let entry = told.iter().find(|entry| entry.path == Some(at(path)));
            let entry = entry.unwrap();
            (entry.outcome, entry.detail.get("why").cloned())
        };
        assert_eq!(why("/large"), (Outcome::Failed, Some("quota".into())));
        assert_eq!(why("/more"), (Outcome::Refused, Some("quota".into())));
        assert_eq!(why("/fits"), (Outcome::Ok, None));
    }
}

#[tokio::test]
async fn the_end_of_each_stored_file_is_told_exactly_once_also_when_it_is_replaced() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        put(&session, "/a", b"first").await.unwrap();
        put(&session, "/a", b"second one").await.unwrap();
        put(&session, "/b", b"third").await.unwrap();
        session
            .rename(&at("/b"), &at("/a"), Replace::Allow)
            .await
            .unwrap();
        session.remove(&at("/a")).await.unwrap();

        let told = transfers(&world, session).await;
        let begun: Vec<_> = told
            .iter()
            .filter(|entry| entry.action == "upload")
            .map(|entry| entry.detail["file_id"].as_i64().unwrap())
            .collect();
        let ended: Vec<_> = told
            .iter()
            .filter(|entry| ["replace", "delete"].contains(&entry.action.as_str()))
            .map(|entry| {
                assert_eq!(entry.path, Some(at("/a")));
                let id = entry.detail["file_id"].as_i64().unwrap();
                let by = entry.detail.get("by").cloned();
                (id, entry.size_bytes.unwrap(), by)
            })
            .collect();
        let expected = [
            (begun[0], 5, Some("upload".into())),
            (begun[1], 10, Some("rename".into())),
            (begun[2], 5, None),
        ];
        assert_eq!(ended, expected);
        let replaced = told.iter().find(|entry| entry.action == "replace").unwrap();
        assert!(replaced.detail["arrived_at"].is_string());
        assert_eq!(replaced.account.as_deref(), Some("alice"));
    }
}

#[tokio::test]
async fn a_rename_into_a_folder_that_is_not_there_names_the_target() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        put(&session, "/a", b"a").await.unwrap();
        session.make_dir(&at("/d")).await.unwrap();
        for (from, to, named) in [
            ("/a", "/missing/a", "/missing/a"),
            ("/d", "/missing/d", "/missing/d"),
            ("/none", "/missing/x", "/none"),
        ] {
            let refused = session.rename(&at(from), &at(to), Replace::Refuse).await;
            let Err(VfsError::NotFound { path }) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(path, at(named), "{from} to {to}");
        }
    }
}
