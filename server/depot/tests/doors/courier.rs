//! The outbound engine's door: files come and go as the appliance itself, under the same
//! rules as partners' files.

use std::sync::Arc;

use layover_depot::{
    Attempt, Carrying, ContentOrigin, CourierError, Depot, Errand, Failure, FlowTarget, Hope,
    IntegrationProtocol, JournalEntry, JournalFilter, JournalKind, OfDisabled, Outcome, Replace,
    Role, UploadMode, VfsError, Visit,
};

use crate::world::{PASSWORD, World, actor, at, keep, name, options, worlds};

const MODE: UploadMode = UploadMode::New { exclusive: false };

pub(crate) fn errand(carrying: Carrying) -> Errand {
    Errand {
        carrying,
        integration: "acme-ftps".parse().unwrap(),
        entity: "acme".parse().unwrap(),
        location: FlowTarget::Location("out".parse().unwrap()),
        protocol: IntegrationProtocol::Ftps,
        remote: "/out/report.csv".to_owned(),
        run: "run-7".to_owned(),
        actor: layover_depot::Actor::new("cli:olga"),
    }
}

fn origin(text: &str) -> ContentOrigin {
    ContentOrigin::of(&[text.as_bytes()])
}

pub(crate) async fn visit(depot: &Depot, account: &str) -> Visit {
    let courier = depot.courier().await.unwrap();
    courier
        .visit(&name(account), OfDisabled::Refuse)
        .await
        .unwrap()
}

async fn land(attempt: &Attempt, path: &str, content: &'static str) -> Result<(), VfsError> {
    let incoming = attempt
        .receive(&at(path), Replace::Refuse, origin(content))
        .await?;
    incoming.write_at(0, content.into()).await?;
    incoming.publish().await.map(drop)
}

pub(crate) async fn told(world: &World) -> Vec<JournalEntry> {
    let filter = JournalFilter {
        integration: Some("acme-ftps".parse().unwrap()),
        kind: Some(JournalKind::Transfer),
        limit: 100,
        ..JournalFilter::default()
    };
    world.depot.journal().query(&filter).await.unwrap()
}

#[tokio::test]
async fn a_file_lands_under_the_homes_rules_and_is_told_once() {
    for world in worlds().await {
        let visit = visit(&world.depot, "alice").await;
        let attempt = visit.attempt(errand(Carrying::Download));
        attempt.met("192.0.2.99:990".parse().unwrap());
        attempt.note("sha256", "abc");
        let incoming = attempt
            .receive(&at("/report.csv"), Replace::Refuse, origin("x"))
            .await
            .unwrap();
        incoming.write_at(0, "content".into()).await.unwrap();
        let partner = world.login("alice", PASSWORD).await.unwrap();
        assert!(partner.stat(&at("/report.csv")).await.is_err(), "hidden");
        incoming.publish().await.unwrap();
        drop(attempt);

        let file = world.file("alice", "/report.csv").await;
        let stays = file
            .expires_at
            .unwrap()
            .duration_since(file.arrived_at.unwrap());
        assert_eq!(stays, keep(5).as_duration());
        assert_eq!(file.collected_at, None);
        assert_eq!(
            partner.download(&at("/report.csv")).await.unwrap().size(),
            7
        );
        let told = told(&world).await;
        assert_eq!(told.len(), 1, "{told:#?}");
        let entry = &told[0];
        assert_eq!(
            (entry.action.as_str(), entry.outcome, entry.size_bytes),
            ("outbound.download", Outcome::Ok, Some(7))
        );
        assert_eq!(entry.account.as_deref(), Some("alice"));
        assert_eq!(entry.peer.unwrap().to_string(), "192.0.2.99");
        assert_eq!(entry.session, None);
        assert_eq!(entry.path, Some(at("/report.csv")));
        for (name, value) in [
            ("integration", "acme-ftps"),
            ("location", "out"),
            ("remote", "/out/report.csv"),
            ("protocol", "ftps"),
            ("peer", "192.0.2.99:990"),
            ("run", "run-7"),
            ("actor", "cli:olga"),
            ("sha256", "abc"),
        ] {
            assert_eq!(entry.detail[name], value, "{name}");
        }
        assert!(entry.detail["file_id"].is_i64());
        let sessions = world.depot.registry().list_sessions().await.unwrap();
        assert_eq!(sessions.len(), 1, "only the partner's");
        let logins = world.journal(JournalKind::Login).await;
        assert!(
            logins.iter().all(|entry| entry.session.is_some()),
            "{logins:#?}"
        );
    }
}

#[tokio::test]
async fn a_file_for_which_there_is_no_room_is_refused_before_anything_of_it_is_fetched() {
    for world in worlds().await {
        world
            .add("small", |account| account.quota_bytes = Some(10))
            .await;
        let (small, alice) = (
            visit(&world.depot, "small").await,
            visit(&world.depot, "alice").await,
        );
        for (visit, bytes) in [(&small, 11), (&alice, u64::MAX / 2)] {
            let attempt = visit.attempt(errand(Carrying::Download));
            attempt.expects(bytes);
            let (path, origin) = (at("/large"), origin("large"));
            let looked = attempt.check_receive(&path, Replace::Allow, origin).await;
            let begun = attempt.receive(&path, Replace::Allow, origin).await;
            for refused in [looked.err(), begun.err()] {
                let is_quota = matches!(refused, Some(VfsError::QuotaExceeded { quota_bytes: 10 }));
                let is_disk = matches!(refused, Some(VfsError::DiskFull));
                assert_eq!(
                    (is_quota, is_disk),
                    (bytes == 11, bytes > 11),
                    "{refused:?}"
                );
            }
            attempt.forget();
        }
        // Just enough is enough, also of what was begun before.
        for _ in 0..2 {
            let attempt = small.attempt(errand(Carrying::Download));
            attempt.expects(10);
            let incoming = attempt
                .receive(&at("/large"), Replace::Allow, origin("large"))
                .await
                .unwrap();
            incoming.write_at(0, "seven b".into()).await.unwrap();
            incoming.interrupt().await.unwrap();
            attempt.forget();
        }
    }
}

#[tokio::test]
async fn rules_of_the_home_refuse_and_each_refusal_is_told_once() {
    for world in worlds().await {
        world
            .add("small", |account| account.quota_bytes = Some(10))
            .await;
        let small = visit(&world.depot, "small").await;
        let alice = visit(&world.depot, "alice").await;
        world.upload("alice", "/there").await;
        for (visit, path, content) in [
            (&small, "/big", "more than ten bytes"),
            (&alice, "/there", "another"),
            (&alice, "/no/such/folder", "lost"),
        ] {
            let attempt = visit.attempt(errand(Carrying::Download));
            let fault = land(&attempt, path, content).await.unwrap_err();
            let failure = Failure {
                cause: fault.to_string(),
                permanence: Hope::Permanent,
                moved_bytes: Some(0),
            };
            attempt.failed(&failure).await.unwrap();
            let told = told(&world).await;
            let told: Vec<_> = told.iter().filter(|e| e.path == Some(at(path))).collect();
            assert_eq!(told.len(), 1, "{path}: {told:#?}");
            assert_eq!(told[0].outcome, Outcome::Failed);
            assert_eq!(told[0].detail["cause"], fault.to_string());
            assert_eq!(told[0].detail["permanence"], "permanent");
        }
        let all = world.journal(JournalKind::Transfer).await;
        assert!(
            !all.iter().any(|entry| entry.outcome == Outcome::Refused),
            "{all:#?}"
        );
        let used = small.attempt(errand(Carrying::Download));
        land(&used, "/fits", "0123456789").await.unwrap();
        let partner = world.login("alice", PASSWORD).await.unwrap();
        assert_eq!(
            partner.download(&at("/there")).await.unwrap().size(),
            7,
            "as it was"
        );
    }
}

#[tokio::test]
async fn a_file_that_takes_the_name_meanwhile_stays() {
    for world in worlds().await {
        let visit = visit(&world.depot, "alice").await;
        let attempt = visit.attempt(errand(Carrying::Download));
        let incoming = attempt
            .receive(&at("/x"), Replace::Refuse, origin("ours"))
            .await
            .unwrap();
        incoming.write_at(0, "ours!".into()).await.unwrap();
        world.upload("alice", "/x").await;
        let refused = incoming.publish().await;
        assert!(
            matches!(refused, Err(VfsError::AlreadyExists { .. })),
            "{refused:?}"
        );
        attempt.failed(&Failure::interrupted()).await.unwrap();
        let partner = world.login("alice", PASSWORD).await.unwrap();
        let there = async || partner.stat(&at("/x")).await.unwrap().size_bytes;
        assert_eq!(there().await, 7, "the partner's");

        let attempt = visit.attempt(errand(Carrying::Download));
        let told_to = attempt
            .receive(&at("/x"), Replace::Allow, origin("ours"))
            .await;
        let incoming = told_to.unwrap();
        assert_eq!(incoming.size(), 5, "what came is not fetched again");
        incoming.publish().await.unwrap();
        assert_eq!(there().await, 5);
    }
}

#[tokio::test]
async fn what_is_left_is_gone_on_with_for_the_same_content_and_by_nobody_else() {
    for world in worlds().await {
        let partner = world.login("alice", PASSWORD).await.unwrap();
        let upload = partner.plan_upload(&at("/x"), MODE).await.unwrap();
        let upload = upload.begin().await.unwrap();
        upload.write_at(0, "partner's".into()).await.unwrap();
        upload.interrupt().await.unwrap();

        let visit = visit(&world.depot, "alice").await;
        let receive = async |content: &str| {
            let attempt = visit.attempt(errand(Carrying::Download));
            let incoming = attempt
                .receive(&at("/x"), Replace::Refuse, origin(content))
                .await
                .unwrap();
            let there = incoming.size();
            incoming.write_at(there, "12".into()).await.unwrap();
            incoming.interrupt().await.unwrap();
            attempt.failed(&Failure::interrupted()).await.unwrap();
            there
        };
        assert_eq!(receive("one").await, 0, "the partner's is not ours");
        assert_eq!(receive("one").await, 2);
        assert_eq!(receive("another").await, 0);
        assert_eq!(
            receive("one").await,
            0,
            "the file there was another one meanwhile"
        );
        assert_eq!(partner.stat(&at("/x")).await.unwrap().size_bytes, 9);
        assert_eq!(told(&world).await.len(), 4);
    }
}

#[tokio::test]
async fn what_binds_the_partner_does_not_bind_the_courier() {
    for world in worlds().await {
        world
            .add("reader", |account| account.read_only = true)
            .await;
        world
            .add("careful", |account| account.publish_on_rename = true)
            .await;
        for (account, path) in [("reader", "/report"), ("careful", "/report.part")] {
            let visit = visit(&world.depot, account).await;
            let attempt = visit.attempt(errand(Carrying::Download));
            land(&attempt, path, "for you").await.unwrap();
            assert_eq!(world.file(account, path).await.size_bytes, 7);
        }
        let registry = world.depot.registry();
        let alice = name("alice");
        let off = layover_depot::Enabled::No;
        registry.set_enabled(&actor(), &alice, off).await.unwrap();
        let courier = world.depot.courier().await.unwrap();
        let refused = courier.visit(&alice, OfDisabled::Refuse).await;
        assert!(matches!(refused, Err(CourierError::Disabled { .. })));
        let visit = courier.visit(&alice, OfDisabled::Serve).await.unwrap();
        land(&visit.attempt(errand(Carrying::Download)), "/x", "told so")
            .await
            .unwrap();
        let unknown = courier.visit(&name("nobody"), OfDisabled::Serve).await;
        assert!(matches!(unknown, Err(CourierError::UnknownAccount { .. })));
    }
}

#[tokio::test]
async fn a_delivered_file_counts_as_collected_and_one_that_was_not_does_not() {
    for world in worlds().await {
        world
            .add("twin", |account| {
                account.home = Some("alice".parse().unwrap())
            })
            .await;
        world.upload("alice", "/x").await;
        let visit = visit(&world.depot, "alice").await;
        let attempt = visit.attempt(errand(Carrying::Upload));
        let leaving = attempt.collect(&at("/x")).await.unwrap();
        assert_eq!(leaving.file().read_at(0, 100).await.unwrap(), "content");
        drop(leaving);
        let failure = Failure {
            cause: "the server has no room left".to_owned(),
            permanence: Hope::Transient,
            moved_bytes: Some(7),
        };
        attempt.failed(&failure).await.unwrap();
        assert_eq!(world.file("alice", "/x").await.collected_at, None);

        let attempt = visit.attempt(errand(Carrying::Upload));
        let leaving = attempt.collect(&at("/x")).await.unwrap();
        assert_eq!(leaving.file().read_at(0, 100).await.unwrap(), "content");
        leaving.delivered().await.unwrap();
        drop(attempt);
        let file = world.file("alice", "/x").await;
        assert!(
            file.collected_at.is_some(),
            "though its uploader's home is shared"
        );
        assert_eq!(file.collected_by, None, "by no account");
        let told = told(&world).await;
        let outcomes: Vec<_> = told
            .iter()
            .map(|e| (e.action.as_str(), e.outcome))
            .collect();
        assert_eq!(
            outcomes,
            [
                ("outbound.upload", Outcome::Failed),
                ("outbound.upload", Outcome::Ok)
            ]
        );
        let all = world.journal(JournalKind::Transfer).await;
        assert!(!all.iter().any(|entry| entry.action == "download"));
    }
}

#[tokio::test]
async fn a_file_that_has_another_ones_name_by_now_is_neither_removed_nor_put_aside() {
    for world in worlds().await {
        let visit = visit(&world.depot, "alice").await;
        let folder = at("/sent");
        world.upload("alice", "/x").await;
        let first = world.file("alice", "/x").await.id;
        // Uploaded anew, it is another file.
        world.upload("alice", "/x").await;
        let second = world.file("alice", "/x").await.id;
        assert_ne!(first, second);
        visit.remove(&at("/x"), first).await.unwrap();
        visit.move_to(&at("/x"), first, &folder).await.unwrap();
        assert_eq!(world.file("alice", "/x").await.id, second);

        visit.move_to(&at("/x"), second, &folder).await.unwrap();
        assert_eq!(world.file("alice", "/sent/x").await.id, second);
        // Its number is not enough where its name is another's.
        world.upload("alice", "/x").await;
        visit.remove(&at("/x"), second).await.unwrap();
        visit.remove(&at("/sent/x"), second).await.unwrap();
        let registry = world.depot.registry();
        let files = registry.list_files(&name("alice"), &at("/")).await.unwrap();
        let paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
        assert_eq!(paths, [at("/x")]);
    }
}

#[tokio::test]
async fn an_attempt_that_nobody_ended_was_interrupted_and_local_files_are_told_too() {
    for world in worlds().await {
        let courier = world.depot.courier().await.unwrap();
        drop(courier.attempt(errand(Carrying::Upload)));
        let local = courier.attempt(errand(Carrying::Download));
        local.note("local", "/srv/report.csv");
        local.done(12).await.unwrap();
        let World {
            folder,
            url,
            clock,
            depot,
        } = world;
        depot.close().await;
        drop((courier, depot));
        let depot = Depot::open(options(folder.path(), &url, &clock, keep(5)));
        let world = World {
            depot: depot.await.unwrap(),
            folder,
            url,
            clock,
        };
        let told = told(&world).await;
        assert_eq!(told.len(), 2, "{told:#?}");
        let of = |outcome| told.iter().find(|entry| entry.outcome == outcome).unwrap();
        let (ok, failed) = (of(Outcome::Ok), of(Outcome::Failed));
        assert_eq!(
            (ok.account.as_deref(), ok.entity.as_deref()),
            (None, Some("acme"))
        );
        assert_eq!(
            (ok.size_bytes, &ok.detail["local"]),
            (Some(12), &"/srv/report.csv".into())
        );
        assert_eq!(failed.detail["cause"], "interrupted");
    }
}

#[tokio::test]
async fn a_command_line_that_died_leaves_its_file_to_the_next_at_once() {
    for world in worlds().await {
        let tool = async || {
            let mut options = options(world.folder.path(), &world.url, &world.clock, keep(5));
            options.role = Role::Tool;
            Depot::open(options).await.unwrap()
        };
        let first = tool().await;
        let courier = first.courier().await.unwrap();
        let visit = courier
            .visit(&name("alice"), OfDisabled::Refuse)
            .await
            .unwrap();
        let attempt = visit.attempt(errand(Carrying::Download));
        let incoming = attempt
            .receive(&at("/x"), Replace::Refuse, origin("one"))
            .await
            .unwrap();
        incoming.write_at(0, "1234".into()).await.unwrap();
        // Somebody looks: now it has its row.
        let twin = first.courier().await.unwrap();
        let other = twin
            .visit(&name("alice"), OfDisabled::Refuse)
            .await
            .unwrap();
        let looked = other.attempt(errand(Carrying::Download));
        looked
            .check_receive(&at("/x"), Replace::Refuse, origin("one"))
            .await
            .unwrap();
        looked.failed(&Failure::interrupted()).await.unwrap();

        let second = tool().await;
        let alive = second.courier().await.unwrap();
        let visitor = alive
            .visit(&name("alice"), OfDisabled::Refuse)
            .await
            .unwrap();
        let beside = visitor.attempt(errand(Carrying::Download));
        let fresh = beside
            .receive(&at("/x"), Replace::Refuse, origin("one"))
            .await;
        assert_eq!(fresh.unwrap().size(), 0, "the first one lives");

        // As a kill leaves it: nothing said, and nobody holds the mark.
        let mark = world
            .folder
            .path()
            .join("data/couriers")
            .join(first.node().as_str());
        assert!(mark.exists());
        std::mem::forget((incoming, attempt));
        drop((courier, twin));
        std::fs::write(&mark, b"").unwrap();
        let third = tool().await;
        let courier = third.courier().await.unwrap();
        let visit = courier
            .visit(&name("alice"), OfDisabled::Refuse)
            .await
            .unwrap();
        let attempt = visit.attempt(errand(Carrying::Download));
        let again = attempt
            .receive(&at("/x"), Replace::Refuse, origin("one"))
            .await
            .unwrap();
        assert_eq!(again.size(), 4);
        assert!(!mark.exists(), "settled");
        drop(Arc::new(courier));
    }
}
