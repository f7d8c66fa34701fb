//! A backup comes back as it was: on another engine, too, and into a later
//! schema.

use std::io::{self, Read};
use std::path::Path;

use bytes::Bytes;
use layover_depot::{
    BackupError, BackupReport, BackupSink, Completion, Depot, OpenError, Options, Restore, Role,
    UploadMode,
};
use layover_retention::{ChainName, Clock, Timestamp, sweep};

use crate::world::{DAY, PASSWORD, World, at, keep, name, options, worlds};

/// A backup in memory.
#[derive(Default)]
struct Memory(Vec<(String, Timestamp, Vec<u8>)>);

impl BackupSink for Memory {
    fn entry(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.0
            .push((name.to_owned(), Timestamp::from_micros(0), content.to_vec()));
        Ok(())
    }

    fn file(
        &mut self,
        name: &str,
        size_bytes: u64,
        modified_at: Timestamp,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes)?;
        assert_eq!(bytes.len() as u64, size_bytes);
        self.0.push((name.to_owned(), modified_at, bytes));
        Ok(())
    }
}

async fn backed_up(depot: &Depot, with_files: bool) -> (Memory, BackupReport) {
    let mut memory = Memory::default();
    let report = depot.backup(with_files, &mut memory).await.unwrap();
    (memory, report)
}

async fn restore(memory: &Memory, options: &Options) -> Result<BackupReport, BackupError> {
    let mut entries = memory.0.iter();
    let (first, _, manifest) = entries.next().unwrap();
    let mut restore = Restore::begin(options, first, &mut &manifest[..]).await?;
    for (name, modified_at, content) in entries {
        let size_bytes = content.len() as u64;
        assert!(
            restore
                .entry(name, size_bytes, *modified_at, &mut &content[..])
                .await?
        );
    }
    restore.finish(&crate::world::actor()).await
}

/// A place of its own for what is restored, on SQLite.
fn elsewhere(world: &World, folder: &Path) -> Options {
    let url = format!("sqlite:{}", folder.join("data/layover.db").display());
    options(folder, &url, &world.clock, keep(5))
}

async fn upload(world: &World, path: &str, content: &'static [u8]) {
    let session = world.login("alice", PASSWORD).await.unwrap();
    let mode = UploadMode::New { exclusive: false };
    let permit = session.plan_upload(&at(path), mode).await.unwrap();
    let upload = permit.begin().await.unwrap();
    upload
        .write_at(0, Bytes::from_static(content))
        .await
        .unwrap();
    upload.finish(Completion::Closed).await.unwrap();
    session.end("done").await;
}

#[tokio::test]
async fn a_restored_file_keeps_its_arrival_and_its_expiry() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        session.make_dir(&at("/in")).await.unwrap();
        session.end("done").await;
        upload(&world, "/in/a", b"content of a").await;
        world.clock.advance(DAY);
        upload(&world, "/b", b"b").await;
        let (memory, report) = backed_up(&world.depot, true).await;
        assert_eq!((report.files, report.file_bytes, report.absent), (2, 13, 0));
        world.clock.advance(DAY);
        let before = world
            .depot
            .registry()
            .list_files(&name("alice"), &at("/"))
            .await
            .unwrap();

        let folder = tempfile::tempdir().unwrap();
        let options = elsewhere(&world, folder.path());
        let restored = restore(&memory, &options).await.unwrap();
        assert_eq!(
            (restored.rows, restored.files, restored.absent),
            (report.rows, 2, 0)
        );
        let depot = Depot::open(options).await.unwrap();
        depot.recover().await.unwrap();
        let after = depot
            .registry()
            .list_files(&name("alice"), &at("/"))
            .await
            .unwrap();
        assert_eq!(after, before);
        let looked = depot.adopt_once().await.unwrap();
        assert_eq!(
            (looked.seen, looked.missing, looked.waiting),
            (2, 0, 0),
            "each is its row's"
        );
        let content = std::fs::read(folder.path().join("homes/alice/in/a")).unwrap();
        assert_eq!(content, b"content of a");

        // Neither early nor forgotten.
        world
            .clock
            .advance(3 * DAY - std::time::Duration::from_secs(1));
        let swept = sweep(depot.shelf(), world.clock.now(), 10).await.unwrap();
        assert_eq!(swept.deleted, 0);
        world.clock.advance(std::time::Duration::from_secs(1));
        let swept = sweep(depot.shelf(), world.clock.now(), 10).await.unwrap();
        assert_eq!(swept.deleted, 1);
        world.clock.advance(DAY);
        let swept = sweep(depot.shelf(), world.clock.now(), 10).await.unwrap();
        assert_eq!(swept.deleted, 1);
        depot.close().await;
    }
}

#[tokio::test]
async fn what_sqlite_gave_postgresql_takes_and_the_other_way_round() {
    let worlds = worlds().await;
    let [from, to] = &worlds[..] else {
        eprintln!("skipped: no PostgreSQL");
        return;
    };
    for (from, to) in [(from, to), (to, from)] {
        upload(from, "/file", b"content").await;
        let (memory, _) = backed_up(&from.depot, true).await;
        let folder = tempfile::tempdir().unwrap();
        let target = if to.url.starts_with("sqlite:") {
            elsewhere(to, folder.path())
        } else {
            let url = crate::world::postgres_database().await.unwrap();
            options(folder.path(), &url, &to.clock, keep(5))
        };
        restore(&memory, &target).await.unwrap();
        let depot = Depot::open(target).await.unwrap();
        let (again, _) = backed_up(&depot, true).await;
        // All but what the new server has written since: what was there is there.
        let rows = |memory: &Memory, table: &str| {
            let of_table = memory
                .0
                .iter()
                .filter(|(name, ..)| name.ends_with(&format!("-{table}.jsonl")));
            let text: Vec<u8> = of_table.flat_map(|(.., content)| content.clone()).collect();
            String::from_utf8(text)
                .unwrap()
                .lines()
                .skip(1)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        for table in [
            "entities",
            "homes",
            "accounts",
            "account_networks",
            "homes_storage",
        ] {
            assert_eq!(rows(&again, table), rows(&memory, table), "{table}");
            assert!(!rows(&again, table).is_empty(), "{table}");
        }
        // Numbers go on behind the last.
        let journal = rows(&memory, "journal");
        assert!(rows(&again, "journal").len() >= journal.len());
        assert_eq!(rows(&again, "journal")[..journal.len()], journal);
        depot.close().await;
    }
}

#[tokio::test]
async fn homes_that_outlived_the_database_are_known_again() {
    for world in worlds().await {
        upload(&world, "/kept", b"content").await;
        upload(&world, "/changed", b"content").await;
        let (memory, report) = backed_up(&world.depot, false).await;
        assert_eq!(report.files, 0);
        world.depot.close().await;
        let homes = world.folder.path().join("homes");
        // As a copy would: another inode, the same name and size.
        let copy = homes.join("alice/copy");
        std::fs::copy(homes.join("alice/kept"), &copy).unwrap();
        std::fs::rename(&copy, homes.join("alice/kept")).unwrap();
        std::fs::remove_file(homes.join("alice/changed")).unwrap();
        std::fs::write(homes.join("alice/changed"), "of another size").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut options = elsewhere(&world, folder.path());
        options.homes = homes;
        let restored = restore(&memory, &options).await.unwrap();
        assert_eq!((restored.files, restored.absent), (0, 1));
        let depot = Depot::open(options).await.unwrap();
        let looked = depot.adopt_once().await.unwrap();
        assert_eq!((looked.seen, looked.missing), (2, 1));
        depot.close().await;
    }
}

#[tokio::test]
async fn a_backup_goes_only_where_nothing_is() {
    for world in worlds().await {
        let (memory, _) = backed_up(&world.depot, false).await;
        let here = options(world.folder.path(), &world.url, &world.clock, keep(5));
        let refused = restore(&memory, &here).await;
        assert!(
            matches!(refused, Err(BackupError::NotEmpty(_))),
            "{refused:?}"
        );
        let mut beside = here.clone();
        beside.data_dir = world.folder.path().join("another");
        let refused = restore(&memory, &beside).await;
        assert!(matches!(refused, Err(BackupError::Open(_))), "{refused:?}");

        let folder = tempfile::tempdir().unwrap();
        let mut foreign = elsewhere(&world, folder.path());
        foreign.homes = worlds().await[0].folder.path().join("homes");
        std::fs::create_dir_all(foreign.homes.join(".layover")).unwrap();
        let id = "0123456789abcdef0123456789abcdef\n";
        std::fs::write(foreign.homes.join(".layover/storage-id"), id).unwrap();
        let refused = restore(&memory, &foreign).await;
        assert!(
            matches!(refused, Err(BackupError::OtherHomes { .. })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn a_restore_that_was_broken_off_before_it_had_a_database_is_never_served_either() {
    for world in worlds().await {
        let (memory, _) = backed_up(&world.depot, false).await;
        let folder = tempfile::tempdir().unwrap();
        let options = || elsewhere(&world, folder.path());
        let (first, _, manifest) = &memory.0[0];
        // Its end comes before the database, as a kill would.
        std::fs::write(folder.path().join("file"), b"").unwrap();
        let nowhere = Options {
            database_url: format!("sqlite:{}", folder.path().join("file/x.db").display()),
            ..options()
        };
        let broken = Restore::begin(&nowhere, first, &mut &manifest[..]).await;
        assert!(broken.is_err());
        for role in [Role::Server, Role::Tool, Role::Visitor] {
            let refused = Depot::open(Options { role, ..options() }).await;
            assert!(
                matches!(refused, Err(OpenError::HalfRestored)),
                "{refused:?}"
            );
        }
        restore(&memory, &options()).await.unwrap();
        let served = Depot::open(options()).await.unwrap();
        served.close().await;
    }
}

#[tokio::test]
async fn a_restore_that_was_broken_off_is_never_served() {
    for world in worlds().await {
        let (memory, _) = backed_up(&world.depot, false).await;
        let folder = tempfile::tempdir().unwrap();
        let options = elsewhere(&world, folder.path());
        let (first, _, manifest) = &memory.0[0];
        let mut begun = Restore::begin(&options, first, &mut &manifest[..])
            .await
            .unwrap();
        let (name, at, content) = &memory.0[1];
        begun
            .entry(name, content.len() as u64, *at, &mut &content[..])
            .await
            .unwrap();
        drop(begun);
        let refused = Depot::open(Options {
            role: Role::Tool,
            ..options
        })
        .await;
        assert!(
            matches!(refused, Err(OpenError::HalfRestored)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_backup_is_refused_and_named() {
    let worlds = worlds().await;
    let world = &worlds[0];
    let (memory, _) = backed_up(&world.depot, false).await;
    let manifest = String::from_utf8(memory.0[0].2.clone()).unwrap();
    for (name, text, what) in [
        ("other.json", manifest.clone(), "another beginning"),
        ("manifest.json", "{}".to_owned(), "no manifest"),
        (
            "manifest.json",
            manifest.replace("\"format\": 1", "\"format\": 9"),
            "another form",
        ),
        (
            "manifest.json",
            manifest.replace("\"schema_step\": ", "\"schema_step\": 99"),
            "a newer one",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = elsewhere(world, folder.path());
        let refused = Restore::begin(&options, name, &mut text.as_bytes()).await;
        assert!(refused.is_err(), "{what}");
        assert!(
            !folder.path().join("data").exists(),
            "{what} left something"
        );
    }
    for text in [
        "",
        "{}",
        "{\"table\":\"files\",\"columns\":[[\"id\",\"int\"]]}\n[1,2]",
        "{\"table\":\"files\",\"columns\":[[\"nothing\",\"int\"]]}\n[1]",
        "{\"table\":\"nowhere\",\"columns\":[]}\n[]",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = elsewhere(world, folder.path());
        let (first, _, manifest) = &memory.0[0];
        let mut begun = Restore::begin(&options, first, &mut &manifest[..])
            .await
            .unwrap();
        let at = Timestamp::from_micros(0);
        let refused = begun
            .entry(
                "database/1-files.jsonl",
                text.len() as u64,
                at,
                &mut text.as_bytes(),
            )
            .await;
        assert!(refused.is_err(), "{text}");
    }
}

#[tokio::test]
async fn an_interrupted_upload_ends_with_the_restore_and_can_be_begun_again() {
    for world in worlds().await {
        upload(&world, "/whole", b"x").await;
        let session = world.login("alice", PASSWORD).await.unwrap();
        let mode = UploadMode::New { exclusive: false };
        let permit = session.plan_upload(&at("/half"), mode).await.unwrap();
        let begun = permit.begin().await.unwrap();
        begun
            .write_at(0, Bytes::from_static(b"half"))
            .await
            .unwrap();
        begun.interrupt().await.unwrap();
        let half = world.file("alice", "/half").await;
        assert_eq!(half.state, layover_depot::FileState::Partial);
        let (memory, _) = backed_up(&world.depot, true).await;

        let folder = tempfile::tempdir().unwrap();
        let options = elsewhere(&world, folder.path());
        restore(&memory, &options).await.unwrap();
        let depot = Depot::open(options).await.unwrap();
        assert!(depot.recover().await.unwrap().is_clean());
        let files = depot.registry().list_files(&name("alice"), &at("/")).await;
        let paths: Vec<_> = files.unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(paths, [at("/whole")]);
        let told = depot
            .journal()
            .query(&layover_depot::JournalFilter {
                kind: Some(layover_depot::JournalKind::Retention),
                limit: 10,
                ..layover_depot::JournalFilter::default()
            })
            .await
            .unwrap();
        let told: Vec<_> = told.iter().map(|entry| entry.action.as_str()).collect();
        assert_eq!(told, ["expire-partial"]);
    }
}

#[tokio::test]
async fn the_journal_tells_of_a_restore_and_the_chains_go_on() {
    for world in worlds().await {
        upload(&world, "/file", b"content").await;
        crate::evidence::seal(&world.depot).await;
        let journal = crate::evidence::verified(&world.depot, ChainName::Journal)
            .await
            .unwrap();
        let (memory, _) = backed_up(&world.depot, true).await;
        let taken_at = world.clock.now().to_string();
        world.clock.advance(DAY);
        let folder = tempfile::tempdir().unwrap();
        let target = if world.url.starts_with("sqlite:") {
            elsewhere(&world, folder.path())
        } else {
            let url = crate::world::postgres_database().await.unwrap();
            options(folder.path(), &url, &world.clock, keep(5))
        };
        restore(&memory, &target).await.unwrap();
        let depot = Depot::open(target).await.unwrap();
        let filter = layover_depot::JournalFilter {
            limit: 1000,
            ..layover_depot::JournalFilter::default()
        };
        let entries = depot.journal().query(&filter).await.unwrap();
        let told: Vec<_> = entries
            .iter()
            .filter(|entry| entry.action == "restore")
            .collect();
        assert_eq!(told.len(), 1);
        let detail = &told[0].detail;
        assert_eq!(detail["backup_at"], taken_at);
        assert_eq!(detail["actor"], "operator");
        assert_eq!(detail["journal_seq"], journal.last_seq);
        assert_eq!(detail["certificates_seq"], 0);
        assert_eq!(detail["journal_hash"].as_str().unwrap().len(), 64);
        crate::evidence::seal(&depot).await;
        let after = crate::evidence::verified(&depot, ChainName::Journal)
            .await
            .unwrap();
        assert!(after.last_seq > journal.last_seq);
        depot.close().await;
    }
}
