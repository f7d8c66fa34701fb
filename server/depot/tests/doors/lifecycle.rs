//! Opening, locking, closing; a tool beside a server.

use std::os::unix::fs::PermissionsExt;

use std::time::Duration;

use layover_depot::{
    DataDirError, Depot, Enabled, JournalFilter, JournalKind, OpenError, Options, Role,
    SILENT_AFTER, SessionId,
};

use crate::world::{PASSWORD, PEER, World, actor, keep, name, options, worlds};

fn tool(world: &World) -> Options {
    Options {
        role: Role::Tool,
        ..options(world.folder.path(), &world.url, &world.clock, keep(5))
    }
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_why() {
    for world in worlds().await {
        let second = options(world.folder.path(), &world.url, &world.clock, keep(5));
        let refused = Depot::open(second.clone()).await.unwrap_err();
        assert!(
            matches!(
                refused,
                OpenError::DataDir(DataDirError::AlreadyServing { .. })
            ),
            "{refused:?}"
        );
        let World { depot, folder, .. } = world;
        assert!(Depot::is_serving(&folder.path().join("data")));
        depot.close().await;
        drop(depot);
        assert!(!Depot::is_serving(&folder.path().join("data")));
        Depot::open(second).await.unwrap();
    }
}

#[tokio::test]
async fn only_the_service_can_read_what_is_kept() {
    for world in worlds().await {
        let data = std::fs::metadata(world.folder.path().join("data")).unwrap();
        assert_eq!(data.permissions().mode() & 0o777, 0o700);
        let node = std::fs::metadata(world.folder.path().join("data/node-id")).unwrap();
        assert_eq!(node.permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn what_a_tool_changes_the_server_notices_at_its_next_refresh() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let tool = Depot::open(tool(&world)).await.unwrap();
        tool.registry()
            .set_enabled(&actor(), &name("alice"), Enabled::No)
            .await
            .unwrap();
        tool.close().await;
        assert!(world.depot.gate().admit(PEER).is_ok(), "not yet");
        let refresh = world.depot.refresh().await.unwrap();
        assert!(refresh.changed);
        assert_eq!(refresh.ended_sessions, 1);
        assert!(world.depot.gate().admit(PEER).is_err());
        session.ended().await;
    }
}

#[tokio::test]
async fn a_tools_goodbye_leaves_the_servers_sessions_alone() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let tool = Depot::open(tool(&world)).await.unwrap();
        tool.beat().await.unwrap();
        let seen = tool.registry().list_sessions().await.unwrap();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].id, *session.id());
        tool.close().await;
        assert_eq!(
            world.depot.registry().list_sessions().await.unwrap().len(),
            1
        );
    }
}

#[tokio::test]
async fn sessions_of_an_earlier_life_end_at_the_start_with_a_logout() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let id = session.id().clone();
        // Died without a word: the row stays.
        std::mem::forget(session);
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        depot.close().await;
        drop(depot);
        let depot = Depot::open(options(folder.path(), &url, &clock, keep(5)))
            .await
            .unwrap();
        assert_eq!(depot.registry().list_sessions().await.unwrap(), []);
        assert_eq!(ended_by_death(&depot).await, [id]);
    }
}

#[tokio::test]
async fn sessions_of_a_server_that_fell_silent_end_once_with_a_logout_and_others_go_on() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        let other = Options {
            data_dir: world.folder.path().join("data-2"),
            ..options(world.folder.path(), &world.url, &world.clock, keep(5))
        };
        let other = Depot::open(other).await.unwrap();
        other.recover().await.unwrap();
        assert_eq!(ended_by_death(&other).await, [], "it lives");
        // What this server is itself in the middle of never counts as dead.
        world.clock.advance(SILENT_AFTER + Duration::from_secs(1));
        world.depot.recover().await.unwrap();
        assert_eq!(ended_by_death(&other).await, []);
        other.beat().await.unwrap();
        for _ in 0..2 {
            other.recover().await.unwrap();
            assert_eq!(ended_by_death(&other).await, [session.id().clone()]);
        }
        other.close().await;
    }
}

/// The sessions whose server died, as the journal tells.
async fn ended_by_death(depot: &Depot) -> Vec<SessionId> {
    let filter = JournalFilter {
        kind: Some(JournalKind::Login),
        limit: 100,
        ..JournalFilter::default()
    };
    let told = depot.journal().query(&filter).await.unwrap();
    let dead = told
        .into_iter()
        .filter(|entry| entry.action == "logout" && entry.detail["reason"] == "server died");
    dead.map(|entry| {
        assert_eq!(entry.account.as_deref(), Some("alice"));
        assert_eq!(entry.entity.as_deref(), Some("acme"));
        assert_eq!(entry.peer, Some(PEER));
        entry.session.unwrap()
    })
    .collect()
}
