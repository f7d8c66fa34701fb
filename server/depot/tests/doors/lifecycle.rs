//! Opening, locking, closing; a tool beside a server.

use std::os::unix::fs::PermissionsExt;

use layover_depot::{DataDirError, Depot, Enabled, OpenError, Options, Role};

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
async fn sessions_of_an_earlier_life_are_gone_after_the_start() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
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
    }
}
