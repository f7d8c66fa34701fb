//! What was transferred, by days: exact, once, and current.

use std::time::Duration;

use layover_depot::timer::Stopwatch;
use layover_depot::{
    Carrying, Completion, ContentOrigin, Depot, Errand, Failure, Hope, IntegrationProtocol,
    IntegrationSettings, IntegrationSpec, OfDisabled, Options, Replace, Role, Session,
    StatisticsOf, TransferDays, TransferFigures, UploadMode, VfsError, WantedIntegration,
};
use layover_retention::Clock;
use sqlx::{Connection, Executor};

use crate::world::{DAY, PASSWORD, World, acme, actor, at, keep, name, options, worlds};

const NEW: UploadMode = UploadMode::New { exclusive: false };

async fn days(depot: &Depot, account: &str, days: u16) -> TransferDays {
    let name = name(account);
    let of = StatisticsOf::Account(&name);
    let found = depot.statistics().last_days(of, days).await.unwrap();
    found.unwrap()
}

async fn of_partner(depot: &Depot, integration: &str) -> TransferDays {
    let name = integration.parse().unwrap();
    let of = StatisticsOf::Integration(&name);
    let found = depot.statistics().last_days(of, 30).await.unwrap();
    found.unwrap()
}

/// See [`told`].
type Told = [(u64, u64); 2];

/// Requests and bytes, of those that came to their end and those that did not.
fn told(figures: TransferFigures) -> Told {
    [figures.ok, figures.failed].map(|count| (count.requests, count.size_bytes))
}

fn sums(days: &TransferDays) -> (Told, Told) {
    let (downloads, uploads) = days.sums();
    (told(downloads), told(uploads))
}

async fn settle(depot: &Depot) {
    while depot.evidence().seal().await.unwrap() {}
    while depot.statistics().roll_up().await.unwrap() {}
}

async fn broken_off(session: &Session) {
    let upload = session.plan_upload(&at("/b"), NEW).await.unwrap();
    let upload = upload.begin().await.unwrap();
    upload.write_at(0, "abc".into()).await.unwrap();
    upload.interrupt().await.unwrap();
}

/// One upload that came, one that broke off and went on, one refused, one without data
/// connection; one download that came, one cut, one of nothing, one without connection.
async fn partner(world: &World) {
    world.upload("alice", "/a").await;
    let session = world.login("alice", PASSWORD).await.unwrap();
    broken_off(&session).await;
    let rest = session
        .plan_upload(&at("/b"), UploadMode::Modify)
        .await
        .unwrap();
    let rest = rest.begin().await.unwrap();
    rest.write_at(3, "defg".into()).await.unwrap();
    rest.finish(Completion::Proven).await.unwrap();
    let exclusive = UploadMode::New { exclusive: true };
    let taken = session.plan_upload(&at("/a"), exclusive).await.map(drop);
    assert!(
        matches!(taken, Err(VfsError::AlreadyExists { .. })),
        "{taken:?}"
    );
    let permit = session.plan_upload(&at("/c"), NEW).await.unwrap();
    permit.not_begun("no connection came");
    let whole = session.download(&at("/a")).await.unwrap();
    whole.read_at(0, 7).await.unwrap();
    whole.finish(7, true).await.unwrap();
    let cut = session.download(&at("/a")).await.unwrap();
    cut.read_at(0, 2).await.unwrap();
    cut.finish(2, false).await.unwrap();
    assert!(session.download(&at("/nothing")).await.is_err());
    session
        .download(&at("/a"))
        .await
        .unwrap()
        .not_begun("no connection came");
    // Neither is a transfer.
    assert!(session.open_to_read(&at("/nothing")).await.is_err());
    let (from, to) = (at("/a"), at("/d"));
    session.rename(&from, &to, Replace::Refuse).await.unwrap();
    session.end("done").await;
}

/// Downloads, then uploads: what came to its end, then what did not.
const PARTNER: (Told, Told) = ([(1, 7), (3, 2)], [(2, 11), (3, 3)]);

#[tokio::test]
async fn every_attempt_counts_once_whether_it_was_rolled_up_or_not() {
    for world in worlds().await {
        partner(&world).await;
        // As told at once, with places, half rolled up, and rolled up.
        assert_eq!(sums(&days(&world.depot, "alice", 30).await), PARTNER);
        while world.depot.evidence().seal().await.unwrap() {}
        assert_eq!(sums(&days(&world.depot, "alice", 30).await), PARTNER);
        settle(&world.depot).await;
        settle(&world.depot).await;
        let of_alice = days(&world.depot, "alice", 30).await;
        assert_eq!(sums(&of_alice), PARTNER);
        assert_eq!(of_alice.uncounted_entries, 0);
        assert_eq!((of_alice.days.len(), of_alice.removed_at), (30, None));
        assert_eq!(of_alice.days[0].day, "2026-10-23");
        assert_eq!(of_alice.days[29].day, "2026-11-21");
        assert_eq!(told(of_alice.days[29].uploads), PARTNER.1);
        partner_again(&world).await;
    }
}

/// What comes behind a cursor that stands is added.
async fn partner_again(world: &World) {
    world.upload("alice", "/again").await;
    let expected = [(3, 18), (3, 3)];
    assert_eq!(sums(&days(&world.depot, "alice", 30).await).1, expected);
    settle(&world.depot).await;
    assert_eq!(sums(&days(&world.depot, "alice", 30).await).1, expected);
}

#[tokio::test]
async fn refusals_that_the_journal_does_not_name_are_counted() {
    for world in worlds().await {
        let session = world.login("alice", PASSWORD).await.unwrap();
        for _ in 0..103 {
            assert!(session.download(&at("/nothing")).await.is_err());
        }
        assert!(session.plan_upload(&at("/no/folder"), NEW).await.is_err());
        session.end("done").await;
        settle(&world.depot).await;
        let of_alice = days(&world.depot, "alice", 1).await;
        assert_eq!(sums(&of_alice), ([(0, 0), (103, 0)], [(0, 0), (1, 0)]));
    }
}

fn errand(carrying: Carrying) -> Errand {
    Errand {
        carrying,
        integration: "crm".parse().unwrap(),
        entity: acme(),
        location: layover_depot::FlowTarget::Location("out".parse().unwrap()),
        protocol: IntegrationProtocol::Sftp,
        remote: "/out/report.csv".to_owned(),
        run: "run-7".to_owned(),
        actor: actor(),
    }
}

#[tokio::test]
async fn what_our_engine_moves_counts_for_the_integration() {
    for world in worlds().await {
        let spec = IntegrationSpec {
            name: "crm".parse().unwrap(),
            display_name: "A partner".parse().unwrap(),
            entity: acme(),
            protocol: IntegrationProtocol::Sftp,
            host: "sftp.example.com".parse().unwrap(),
            own_port: None,
            username: "us".parse().unwrap(),
            settings: IntegrationSettings::default(),
        };
        let wanted = WantedIntegration {
            spec,
            secrets: Vec::new(),
            locations: None,
            host_keys: None,
        };
        let registry = world.depot.registry();
        registry.add_integration(&actor(), &wanted).await.unwrap();
        let courier = world.depot.courier().await.unwrap();
        let visit = courier
            .visit(&name("alice"), OfDisabled::Refuse)
            .await
            .unwrap();
        let attempt = visit.attempt(errand(Carrying::Download));
        let origin = ContentOrigin::of(&[b"x"]);
        let incoming = attempt
            .receive(&at("/r"), Replace::Refuse, origin)
            .await
            .unwrap();
        incoming.write_at(0, "content".into()).await.unwrap();
        incoming.publish().await.unwrap();
        drop(attempt);
        for moved_bytes in [Some(3), None] {
            let failure = Failure {
                cause: "the connection is lost".to_owned(),
                permanence: Hope::Transient,
                moved_bytes,
            };
            visit
                .attempt(errand(Carrying::Upload))
                .failed(&failure)
                .await
                .unwrap();
        }
        let expected = ([(1, 7), (0, 0)], [(0, 0), (2, 3)]);
        assert_eq!(sums(&of_partner(&world.depot, "crm").await), expected);
        settle(&world.depot).await;
        assert_eq!(sums(&of_partner(&world.depot, "crm").await), expected);
        let of_alice = days(&world.depot, "alice", 30).await;
        assert_eq!(
            sums(&of_alice),
            Default::default(),
            "none of the partner's own"
        );
        // Whoever is removed keeps his days.
        let crm = "crm".parse().unwrap();
        registry.remove_integration(&actor(), &crm).await.unwrap();
        let removed = of_partner(&world.depot, "crm").await;
        assert_eq!(sums(&removed), expected);
        assert!(removed.removed_at.is_some());
        let nobody = "nobody".parse().unwrap();
        let of = StatisticsOf::Integration(&nobody);
        assert_eq!(
            world.depot.statistics().last_days(of, 30).await.unwrap(),
            None
        );
    }
}

#[tokio::test]
async fn days_are_those_of_the_entity_and_another_zone_counts_from_then_on() {
    for world in worlds().await {
        // 04:00 of the 21st in UTC.
        world.upload("alice", "/a").await;
        settle(&world.depot).await;
        let zone = "America/New_York".parse().unwrap();
        let registry = world.depot.registry();
        registry
            .set_entity_zone(&actor(), &acme(), Some(&zone))
            .await
            .unwrap();
        world.upload("alice", "/b").await;
        settle(&world.depot).await;
        // There it is the evening of the 20th still.
        let of_alice = days(&world.depot, "alice", 2).await;
        assert_eq!(of_alice.time_zone, "America/New_York");
        let shown: Vec<_> = of_alice.days.iter().map(|day| day.day.as_str()).collect();
        assert_eq!(shown, ["2026-11-19", "2026-11-20"]);
        assert_eq!(told(of_alice.days[1].uploads)[0], (1, 7));
        world.clock.advance(Duration::from_secs(3_600));
        let of_alice = days(&world.depot, "alice", 2).await;
        assert_eq!(of_alice.days[1].day, "2026-11-21");
        assert_eq!(
            told(of_alice.days[1].uploads)[0],
            (1, 7),
            "of the first zone"
        );
        assert_eq!(told(of_alice.days[0].uploads)[0], (1, 7));
    }
}

#[tokio::test]
async fn old_days_go_and_never_those_of_the_last_month() {
    for world in worlds().await {
        world.upload("alice", "/a").await;
        settle(&world.depot).await;
        world.clock.advance(20 * DAY);
        let statistics = world.depot.statistics();
        assert_eq!(statistics.prune(world.clock.now()).await.unwrap(), 0);
        assert_eq!(sums(&days(&world.depot, "alice", 30).await).1[0], (1, 7));
        world.clock.advance(14 * DAY);
        assert_eq!(statistics.prune(world.clock.now()).await.unwrap(), 1);
        assert_eq!(sums(&days(&world.depot, "alice", 400).await).1[0], (0, 0));
    }
}

#[tokio::test]
async fn nodes_that_roll_up_at_once_count_each_transfer_once() {
    for world in worlds().await {
        partner(&world).await;
        while world.depot.evidence().seal().await.unwrap() {}
        let other = Options {
            role: Role::Visitor,
            ..options(world.folder.path(), &world.url, &world.clock, keep(5))
        };
        let other = Depot::open(other).await.unwrap();
        let (here, there) = (world.depot.statistics(), other.statistics());
        let (one, two) = tokio::join!(here.roll_up(), there.roll_up());
        one.unwrap();
        two.unwrap();
        settle(&world.depot).await;
        assert_eq!(sums(&days(&world.depot, "alice", 30).await), PARTNER);
        other.close().await;
    }
}

/// Accounts of the generator, and days of each.
const MANY_ACCOUNTS: i64 = 1_000;
const TRANSFERS_A_ROW: i64 = 125;

/// As if ten million transfers lay behind: 1,000 accounts, 20 days, four sums a day.
async fn ten_million_transfers(url: &str) {
    let first = 20_778 - 20;
    let statement = format!(
        "INSERT INTO daily_transfers (of_what, name, day, direction, outcome, requests, \
         size_bytes, duration_ms) WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 \
         FROM n WHERE n < {rows} - 1) SELECT 'account', 'a' || (n / 80), {first} + n % 20, \
         CASE n / 20 % 2 WHEN 0 THEN 'upload' ELSE 'download' END, \
         CASE n / 40 % 2 WHEN 0 THEN 'ok' ELSE 'failed' END, {TRANSFERS_A_ROW}, 1000, 10 FROM n",
        rows = MANY_ACCOUNTS * 80,
    );
    // The journal of the last days, with its places: what must not be walked through.
    let entries = 500_000;
    let journal = format!(
        "INSERT INTO journal (at_us, kind, action, outcome, account, entity, size_bytes, \
         duration_ms, node_id, detail) WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 \
         FROM n WHERE n < {entries} - 1) SELECT 1795233600000000 + n, 'transfer', 'upload', 'ok', \
         'a' || (n % 1000), 'acme', 1000, 10, 'generated', '{{}}' FROM n"
    );
    let places = "INSERT INTO chain_links (chain, seq, entry_id, hash) SELECT 'journal', id + \
         1000000, id, node_id_bytes FROM (SELECT id, CAST('x' AS BYTES) AS node_id_bytes FROM \
         journal WHERE node_id = 'generated') AS generated";
    let head = "UPDATE chain_heads SET seq = (SELECT MAX(seq) FROM chain_links), last_id = \
         (SELECT MAX(id) FROM journal) WHERE chain = 'journal'";
    let cursor = "UPDATE rolled_up SET seq = (SELECT MAX(seq) FROM chain_links)";
    let bytes = if url.starts_with("sqlite:") {
        "BLOB"
    } else {
        "BYTEA"
    };
    let places = places.replace("BYTES", bytes);
    let statements = [
        statement.as_str(),
        journal.as_str(),
        places.as_str(),
        head,
        cursor,
    ];
    if url.starts_with("sqlite:") {
        let mut connection = sqlx::SqliteConnection::connect(url).await.unwrap();
        for statement in statements {
            let statement = sqlx::AssertSqlSafe(statement.to_owned());
            connection.execute(statement).await.unwrap();
        }
    } else {
        let mut connection = sqlx::PgConnection::connect(url).await.unwrap();
        for statement in statements {
            let statement = sqlx::AssertSqlSafe(statement.to_owned());
            connection.execute(statement).await.unwrap();
        }
        connection.execute("ANALYZE").await.unwrap();
    }
}

#[tokio::test]
#[ignore = "long: makes ten million transfers, in sums and half a million entries"]
async fn ten_million_transfers_are_told_of_within_50_ms() {
    for world in worlds().await {
        world.add("a7", |_| {}).await;
        settle(&world.depot).await;
        ten_million_transfers(&world.url).await;
        // What is not counted yet, as much as comes within some seconds.
        for n in 0..50 {
            world.upload("alice", &format!("/{n}")).await;
        }
        let mut times = Vec::new();
        for _ in 0..20 {
            let asked = Stopwatch::start();
            let of_a7 = days(&world.depot, "a7", 30).await;
            times.push(asked.elapsed());
            let (downloads, uploads) = of_a7.sums();
            let all = downloads.all().requests + uploads.all().requests;
            assert_eq!((all, of_a7.uncounted_entries), (10_000, 0));
        }
        times.sort();
        println!(
            "{}: median {:?}, worst {:?}",
            world.url, times[10], times[19]
        );
        assert!(times[10] < Duration::from_millis(50), "{times:?}");
    }
}
