//! Which storage the homes lie on: what another tree does not hold is not gone.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use layover_depot::{
    Completion, Depot, JournalKind, OpenError, Options, Outcome, UploadMode, VfsError,
};
use layover_retention::{Clock, sweep};

use crate::foresight::put;
use crate::world::{DAY, PASSWORD, World, at, keep, name, options, worlds};

/// Another node on the same database.
fn second_node(world: &World, homes: &str) -> Options {
    Options {
        data_dir: world.folder.path().join("data-2"),
        homes: world.folder.path().join(homes),
        ..options(world.folder.path(), &world.url, &world.clock, keep(5))
    }
}

fn homes(world: &World) -> PathBuf {
    world.folder.path().join("homes")
}

async fn stored(depot: &Depot) -> usize {
    let files = depot.registry().list_files(&name("alice"), &at("/")).await;
    files.unwrap().len()
}

async fn restart(world: World) -> (World, Result<Depot, OpenError>) {
    world.depot.close().await;
    let World {
        folder,
        url,
        clock,
        depot,
    } = world;
    drop(depot);
    let reopened = Depot::open(options(folder.path(), &url, &clock, keep(5))).await;
    let depot = match &reopened {
        Ok(depot) => depot.clone(),
        // The world needs a depot; a tool is one that may always open.
        Err(_) => {
            std::fs::create_dir_all(folder.path().join("homes")).unwrap();
            let tool = Options {
                role: layover_depot::Role::Tool,
                ..options(folder.path(), &url, &clock, keep(5))
            };
            Depot::open(tool).await.unwrap()
        }
    };
    let world = World {
        folder,
        url,
        clock,
        depot,
    };
    (world, reopened)
}

#[tokio::test]
async fn a_second_server_with_a_tree_of_its_own_is_refused_and_told_what_to_do() {
    for world in worlds().await {
        let refused = Depot::open(second_node(&world, "homes-2")).await;
        let Err(refused @ OpenError::HomesElsewhere { found: None, .. }) = refused else {
            panic!("{refused:?}");
        };
        let text = refused.to_string();
        assert!(text.contains("mount that same storage"), "{text}");
        let same = Depot::open(second_node(&world, "homes")).await.unwrap();
        same.close().await;
    }
}

#[tokio::test]
async fn a_tree_that_belongs_to_another_database_is_refused() {
    let mut others = worlds().await;
    for world in worlds().await {
        let other = others.remove(0);
        let options = Options {
            homes: homes(&other),
            ..second_node(&world, "homes")
        };
        let refused = Depot::open(options).await.unwrap_err();
        assert!(
            matches!(refused, OpenError::HomesElsewhere { found: Some(_), .. }),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn homes_that_are_not_mounted_at_the_start_are_refused_and_no_row_ends() {
    for world in worlds().await {
        world.upload("alice", "/file").await;
        let aside = world.folder.path().join("aside");
        std::fs::rename(homes(&world), &aside).unwrap();
        let (world, refused) = restart(world).await;
        assert!(
            matches!(refused, Err(OpenError::HomesElsewhere { found: None, .. })),
            "{refused:?}"
        );
        assert_eq!(stored(&world.depot).await, 1);
        std::fs::remove_dir(homes(&world)).unwrap();
        std::fs::rename(&aside, homes(&world)).unwrap();
        let (_world, opened) = restart(world).await;
        opened.unwrap();
    }
}

#[tokio::test]
async fn a_refused_server_leaves_nothing_where_the_homes_should_be() {
    for world in worlds().await {
        world.upload("alice", "/file").await;
        let refused = Depot::open(second_node(&world, "absent")).await;
        assert!(
            matches!(refused, Err(OpenError::HomesElsewhere { found: None, .. })),
            "{refused:?}"
        );
        assert!(!world.folder.path().join("absent").exists());

        let mount_point = world.folder.path().join("mount-point");
        std::fs::create_dir(&mount_point).unwrap();
        let refused = Depot::open(second_node(&world, "mount-point")).await;
        assert!(
            matches!(refused, Err(OpenError::HomesElsewhere { found: None, .. })),
            "{refused:?}"
        );
        assert_eq!(std::fs::read_dir(&mount_point).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn homes_unmounted_under_a_running_server_stop_sweep_and_adoption_and_end_no_row() {
    for world in worlds().await {
        world.upload("alice", "/due").await;
        let aside = world.folder.path().join("aside");
        std::fs::rename(homes(&world), &aside).unwrap();
        std::fs::create_dir(homes(&world)).unwrap();
        world.clock.advance(6 * DAY);
        let now = world.clock.now();

        let swept = sweep(world.depot.shelf(), now, 10).await;
        assert!(swept.is_err_and(|error| error.to_string().contains("not mounted")));
        assert!(world.depot.adopt_once().await.is_err());
        assert!(world.depot.recover().await.is_err());
        assert_eq!(stored(&world.depot).await, 1);
        assert!(aside.join("alice/due").exists());

        std::fs::remove_dir(homes(&world)).unwrap();
        std::fs::rename(&aside, homes(&world)).unwrap();
        assert_eq!(
            sweep(world.depot.shelf(), now, 10).await.unwrap().deleted,
            1
        );
        assert!(!homes(&world).join("alice/due").exists());
    }
}

#[tokio::test]
async fn a_new_database_beside_homes_that_were_used_adopts_their_files_and_says_so() {
    for world in worlds().await {
        world.upload("alice", "/old").await;
        let url = format!("sqlite:{}", world.folder.path().join("new.db").display());
        let options = Options {
            database_url: url.clone(),
            ..second_node(&world, "homes")
        };
        let depot = Depot::open(options).await.unwrap();
        let filter = layover_depot::JournalFilter {
            kind: Some(JournalKind::System),
            limit: 10,
            ..Default::default()
        };
        let told = depot.journal().query(&filter).await.unwrap();
        let told = told.iter().find(|entry| entry.action == "homes.storage");
        assert_eq!(told.unwrap().detail["used_before"], true);
    }
}

#[tokio::test]
async fn homes_that_were_emptied_are_taken_again_when_no_file_was_in_them() {
    for world in worlds().await {
        std::fs::remove_dir_all(homes(&world)).unwrap();
        let (world, opened) = restart(world).await;
        opened.unwrap();
        world.upload("alice", "/file").await;
    }
}

#[tokio::test]
async fn an_operators_line_makes_a_restored_tree_the_databases_again() {
    for world in worlds().await {
        world.upload("alice", "/file").await;
        std::fs::remove_dir_all(homes(&world).join(".layover")).unwrap();
        let (world, refused) = restart(world).await;
        let Err(OpenError::HomesElsewhere { expected, .. }) = refused else {
            panic!("{refused:?}");
        };
        let marker = homes(&world).join(".layover/storage-id");
        std::fs::create_dir(homes(&world).join(".layover")).unwrap();
        std::fs::write(marker, format!("{expected}\n")).unwrap();
        let (_world, opened) = restart(world).await;
        opened.unwrap();
    }
}

#[tokio::test]
async fn a_due_file_that_somebody_else_took_is_told_as_missing_and_counted() {
    for world in worlds().await {
        world.upload("alice", "/gone").await;
        world.upload("alice", "/kept").await;
        std::fs::remove_file(homes(&world).join("alice/gone")).unwrap();
        world.clock.advance(6 * DAY);
        sweep(world.depot.shelf(), world.clock.now(), 10)
            .await
            .unwrap();
        let told = world.journal(JournalKind::Retention).await;
        let outcome = |path: &str| {
            let of_path = |entry: &&layover_depot::JournalEntry| entry.path == Some(at(path));
            told.iter().find(of_path).unwrap().outcome
        };
        assert_eq!(outcome("/gone"), Outcome::Missing);
        assert_eq!(outcome("/kept"), Outcome::Ok);
        let status = world.depot.registry().retention_status().await.unwrap();
        assert_eq!(status.missing_files, 1);
    }
}

#[tokio::test]
async fn the_homes_folder_is_closed_to_others() {
    for world in worlds().await {
        let mode = std::fs::metadata(homes(&world))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0, "{mode:o}");
    }
}

/// A small memory file system, unmounted when dropped.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where that is not allowed.
    fn mount(size_mib: u32) -> Option<Self> {
        let at = tempfile::tempdir().unwrap();
        let size = format!("size={size_mib}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "layover-test"]);
        let ran = mount.arg(at.path()).output().ok()?;
        ran.status.success().then_some(Self(at))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        drop(umount.arg("--lazy").arg(self.0.path()).status());
    }
}

fn free_bytes(at: &Path) -> u64 {
    let stat = rustix::fs::statvfs(at).unwrap();
    stat.f_bavail * stat.f_frsize
}

#[tokio::test]
async fn a_partner_who_fills_the_disk_leaves_room_for_what_empties_it() {
    const MIB: u64 = 1 << 20;
    // Tiny: a twentieth of it is what partners never get.
    let Some(disk) = Tmpfs::mount(64) else {
        return;
    };
    let folder = tempfile::tempdir_in(disk.0.path()).unwrap();
    let url = format!("sqlite:{}", folder.path().join("layover.db").display());
    let world = World::open(folder, url).await;
    let session = world.login("alice", PASSWORD).await.unwrap();
    let piece = Bytes::from(vec![7; usize::try_from(MIB).unwrap()]);
    let mut stored = 0;
    let fault = loop {
        let name = at(&format!("/{stored}"));
        let mode = UploadMode::New { exclusive: false };
        let upload = session.plan_upload(&name, mode).await.unwrap();
        let upload = upload.begin().await.unwrap();
        if let Err(fault) = upload.write_at(0, piece.clone()).await {
            upload.interrupt().await.unwrap();
            break fault;
        }
        upload.finish(Completion::Closed).await.unwrap();
        stored += 1;
        assert!(stored < 64, "the disk is no larger");
    };
    assert!(matches!(fault, VfsError::DiskFull), "{fault:?}");
    assert!(stored > 40, "{stored}");
    // There is still room for a piece, and more: what is left is not for partners.
    assert!(free_bytes(disk.0.path()) > MIB);
    let space = session.space().await.unwrap();
    assert!(space.free_bytes < MIB, "what partners are told: {space:?}");
    session.end("done").await;
    let told = world.journal(JournalKind::Transfer).await;
    assert!(
        told.iter().any(|entry| entry
            .detail
            .get("why")
            .is_some_and(|why| why == "disk-full")),
        "{told:?}"
    );

    world.clock.advance(5 * DAY);
    let now = world.clock.now();
    let swept = sweep(world.depot.shelf(), now, 1_000).await.unwrap();
    assert_eq!((swept.deleted, swept.failed), (stored, 0));
    let session = world.login("alice", PASSWORD).await.unwrap();
    put(&session, &at("/again"), &piece).await.unwrap();
    session.end("done").await;
    world.depot.close().await;
}
