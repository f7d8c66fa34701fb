//! Files that are expected, through the door of whoever looks: what is said of a day, and
//! that it is said once.

use std::time::Duration;

use layover_depot::{
    DayFault, DayState, Depot, Doing, Event, EventFilter, EventKind, Existing,
    ExpectationDefinition, ExpectationRules, ExpectedPlace, FlowTarget, JournalKind, LOOK_LEASE,
    LookLost, OpenDay, Options, Replace, Sighting,
};
use layover_retention::{Clock, Timestamp};

use crate::foresight::put;
use crate::integrations::{location, wanted};
use crate::world::{DAY, PASSWORD, World, actor, at, keep, options, worlds};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// By 06:00 in alice's home; the worlds begin at 04:00 on the 21st of November 2026.
pub(crate) fn crm() -> ExpectationDefinition {
    ExpectationDefinition {
        name: "crm".parse().unwrap(),
        enabled: true,
        place: ExpectedPlace::Here {
            home: "alice:/".parse().unwrap(),
        },
        file: "crm_$yyyyMMdd.csv".parse().unwrap(),
        by: "06:00".parse().unwrap(),
        rules: ExpectationRules::default(),
    }
}

pub(crate) async fn expect(world: &World, definition: &ExpectationDefinition) {
    let registry = world.depot.registry();
    registry
        .put_expectation(&actor(), definition, Existing::Refuse)
        .await
        .unwrap();
    world.depot.expectation_looks().plan().await.unwrap();
}

async fn sight(depot: &Depot, day: &OpenDay) -> Sighting {
    let home = match &day.question.definition.place {
        ExpectedPlace::Here { home } => Some(home),
        ExpectedPlace::There { .. } => None,
    };
    let looks = depot.expectation_looks();
    looks.see_here(&day.question, home.unwrap()).await.unwrap()
}

/// Looks at what is due until nothing is; says how many looks that were.
pub(crate) async fn look(depot: &Depot) -> usize {
    let looks = depot.expectation_looks();
    looks.plan().await.unwrap();
    let mut done = 0;
    loop {
        let claimed = looks.claim(8).await.unwrap();
        if claimed.is_empty() {
            return done;
        }
        for day in claimed {
            let sighting = sight(depot, &day).await;
            looks.end(&day, sighting).await.unwrap();
            done += 1;
        }
    }
}

pub(crate) async fn told(world: &World) -> Vec<Event> {
    let filter = EventFilter {
        limit: 1_000,
        ..EventFilter::default()
    };
    world.depot.events().query(&filter).await.unwrap()
}

/// Kinds and faults of what was told, in order.
async fn faults(world: &World) -> Vec<(EventKind, String)> {
    let events = told(world).await.into_iter();
    let fault = |event: &Event| event.detail["fault"].as_str().unwrap().to_owned();
    events.map(|event| (event.kind, fault(&event))).collect()
}

fn failed(fault: &str) -> (EventKind, String) {
    (EventKind::ExpectationFailed, fault.to_owned())
}

pub(crate) async fn upload(world: &World, path: &str, content: &[u8]) {
    let session = world.login("alice", PASSWORD).await.unwrap();
    put(&session, &at(path), content).await.unwrap();
    session.end("done").await;
}

/// Computes the checksums of what was uploaded.
async fn hash(world: &World) {
    world.clock.advance(Duration::from_secs(3));
    world.depot.hash_contents().await.unwrap();
}

pub(crate) fn advance_to(world: &World, moment: &str) {
    let moment: Timestamp = moment.parse().unwrap();
    world
        .clock
        .advance(moment.duration_since(world.clock.now()));
}

pub(crate) const TODAY: &str = "/crm_20261121.csv";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_told_once_although_two_nodes_look_and_what_came_is_not() {
    const EACH: usize = 20;
    for world in worlds().await {
        let second = match world.url.starts_with("sqlite") {
            // An embedded database has one node.
            true => world.depot.clone(),
            false => Depot::open(Options {
                data_dir: world.folder.path().join("data-2"),
                ..options(world.folder.path(), &world.url, &world.clock, keep(5))
            })
            .await
            .unwrap(),
        };
        for number in 0..EACH {
            for kind in ["come", "gone"] {
                let definition = ExpectationDefinition {
                    name: format!("{kind}-{number}").parse().unwrap(),
                    file: format!("{kind}-{number}_$yyyyMMdd").parse().unwrap(),
                    rules: ExpectationRules {
                        allow_same: true,
                        ..ExpectationRules::default()
                    },
                    ..crm()
                };
                expect(&world, &definition).await;
            }
            upload(&world, &format!("/come-{number}_20261121"), b"x").await;
        }
        advance_to(&world, "2026-11-21T05:59:59Z");
        assert_eq!(look(&world.depot).await, 0, "nothing is due yet");
        advance_to(&world, "2026-11-21T06:00:00Z");
        let looked = [world.depot.clone(), second.clone()]
            .map(|depot| tokio::spawn(async move { look(&depot).await }));
        let [here, there] = looked;
        assert_eq!(here.await.unwrap() + there.await.unwrap(), 2 * EACH);
        let events = told(&world).await;
        assert_eq!(events.len(), EACH);
        let mut names: Vec<_> = events.iter().map(|one| one.subject.clone()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), EACH);
        assert!(
            names
                .iter()
                .all(|name| name.starts_with("expectation:gone-"))
        );
        let journal = world.journal(JournalKind::System).await;
        let entries = journal
            .iter()
            .filter(|one| one.action == "expectation.failed");
        assert_eq!(entries.count(), EACH);
        if !world.url.starts_with("sqlite") {
            second.close().await;
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_was_found() {
    for world in worlds().await {
        let small = ExpectationDefinition {
            name: "small".parse().unwrap(),
            rules: ExpectationRules {
                min_size_bytes: Some(8),
                ..ExpectationRules::default()
            },
            ..crm()
        };
        let large = ExpectationDefinition {
            name: "large".parse().unwrap(),
            rules: ExpectationRules {
                max_size_bytes: Some(6),
                ..ExpectationRules::default()
            },
            ..crm()
        };
        let fits = ExpectationDefinition {
            rules: ExpectationRules {
                min_size_bytes: Some(7),
                max_size_bytes: Some(7),
                ..ExpectationRules::default()
            },
            ..crm()
        };
        for one in [&small, &large, &fits] {
            expect(&world, one).await;
        }
        upload(&world, TODAY, b"content").await;
        hash(&world).await;
        advance_to(&world, "2026-11-21T06:00:01Z");
        assert_eq!(look(&world.depot).await, 3);
        let mut events = told(&world).await;
        events.sort_by(|one, other| other.subject.cmp(&one.subject));
        let [small, large] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!(small.subject, "expectation:small");
        assert_eq!(small.entity, Some("acme".parse().unwrap()));
        for (name, value) in [
            ("fault", "too_small"),
            ("day", "2026-11-21"),
            ("due_at", "2026-11-21T06:00:00Z"),
            ("place", "alice:/"),
            ("file", "crm_20261121.csv"),
            ("account", "alice"),
        ] {
            assert_eq!(small.detail[name], value, "{name}");
        }
        assert_eq!(small.detail["size_bytes"], 7);
        assert_eq!(small.detail["min_size_bytes"], 8);
        assert_eq!(large.detail["fault"], "too_large");
        let days = world
            .depot
            .registry()
            .expectation_history(&fits.name, 10)
            .await;
        let day = days.unwrap().remove(0);
        assert_eq!(
            (day.state, day.fault, day.size_bytes),
            (DayState::Done, None, Some(7))
        );
        assert!(day.sha256.is_some());
    }
}

#[tokio::test]
async fn the_file_of_the_last_time_under_another_name_is_told_unless_it_may_be() {
    for world in worlds().await {
        let free = ExpectationDefinition {
            name: "free".parse().unwrap(),
            rules: ExpectationRules {
                allow_same: true,
                ..ExpectationRules::default()
            },
            ..crm()
        };
        for one in [&crm(), &free] {
            expect(&world, one).await;
        }
        for (day, content) in [(21, &b"one"[..]), (22, b"two"), (23, b"two"), (25, b"two")] {
            upload(&world, &format!("/crm_202611{day}.csv"), content).await;
        }
        hash(&world).await;
        for day in 21..26 {
            advance_to(&world, &format!("2026-11-{day}T06:00:01Z"));
            look(&world.depot).await;
        }
        let events = told(&world).await.into_iter();
        let of_crm: Vec<_> = events
            .filter(|event| event.subject == "expectation:crm")
            .map(|event| (event.detail["day"].clone(), event.detail["fault"].clone()))
            .collect();
        let expected = [
            ("2026-11-23", "same_content"),
            ("2026-11-24", "missing"),
            // Of the last day that had one.
            ("2026-11-25", "same_content"),
        ];
        let expected: Vec<_> = expected
            .map(|(day, fault)| (day.into(), fault.into()))
            .to_vec();
        assert_eq!(of_crm, expected);
        assert_eq!(
            faults(&world).await.len(),
            4,
            "and that of the other one's missing day"
        );
    }
}

#[tokio::test]
async fn a_look_that_was_cut_off_is_repeated_when_its_lease_ends_and_told_once() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        let looks = world.depot.expectation_looks();
        assert_eq!(looks.plan().await.unwrap(), 1);
        assert_eq!(looks.plan().await.unwrap(), 0);
        let lost = looks.claim(8).await.unwrap().remove(0);
        assert!(looks.claim(8).await.unwrap().is_empty());
        world.clock.advance(LOOK_LEASE / 2);
        looks.renew(&lost).await.unwrap();
        world.clock.advance(LOOK_LEASE / 2);
        assert!(looks.claim(8).await.unwrap().is_empty(), "it was renewed");
        // Whoever had it is gone, and comes back too late.
        world.clock.advance(LOOK_LEASE / 2);
        let taken = looks.claim(8).await.unwrap().remove(0);
        let late = looks.end(&lost, Sighting::Files(Vec::new())).await;
        assert!(matches!(late, Err(LookLost::Lost)), "{late:?}");
        assert!(matches!(looks.renew(&lost).await, Err(LookLost::Lost)));
        assert!(told(&world).await.is_empty());
        let sighting = sight(&world.depot, &taken).await;
        looks.end(&taken, sighting).await.unwrap();
        assert_eq!(faults(&world).await, [failed("missing")]);
        // One that is given back is taken at once.
        world.clock.advance(MINUTE);
        let given = looks.claim(8).await.unwrap().remove(0);
        looks.give_back(&given).await.unwrap();
        assert_eq!(looks.claim(8).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_deadline_that_nobody_was_there_for_is_caught_up_by_what_ledger_and_journal_know() {
    for world in worlds().await {
        let named = |name: &str| ExpectationDefinition {
            name: name.parse().unwrap(),
            file: format!("{name}_$yyyyMMdd").parse().unwrap(),
            ..crm()
        };
        let names = [
            "stays", "deleted", "moved", "replaced", "renamed", "late", "never", "small",
        ];
        for name in names {
            let mut one = named(name);
            one.rules.min_size_bytes = Some(3);
            expect(&world, &one).await;
        }
        let session = world.login("alice", PASSWORD).await.unwrap();
        let of = |name: &str| at(&format!("/{name}_20261121"));
        for name in ["stays", "deleted", "moved", "replaced"] {
            put(&session, &of(name), name.as_bytes()).await.unwrap();
        }
        put(&session, &at("/upload.tmp"), b"renamed").await.unwrap();
        session
            .rename(&at("/upload.tmp"), &of("renamed"), Replace::Refuse)
            .await
            .unwrap();
        put(&session, &of("small"), b"large enough").await.unwrap();
        hash(&world).await;
        put(&session, &of("small"), b"x").await.unwrap();
        session.remove(&of("deleted")).await.unwrap();
        session.remove(&of("renamed")).await.unwrap();
        session.make_dir(&at("/done")).await.unwrap();
        let done = at("/done/moved_20261121");
        session
            .rename(&of("moved"), &done, Replace::Refuse)
            .await
            .unwrap();
        advance_to(&world, "2026-11-21T07:00:00Z");
        put(&session, &of("replaced"), b"x").await.unwrap();
        put(&session, &of("late"), b"later").await.unwrap();
        hash(&world).await;
        session.end("done").await;

        advance_to(&world, "2026-11-21T09:00:00Z");
        assert_eq!(look(&world.depot).await, names.len());
        let events = told(&world).await.into_iter();
        let mut found: Vec<_> = events
            .map(|event| {
                (
                    event.subject,
                    event.detail["fault"].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        found.sort_unstable();
        let expected = [
            ("expectation:late", "late"),
            ("expectation:never", "missing"),
            ("expectation:small", "too_small"),
        ];
        let expected = expected.map(|(one, fault)| (one.to_owned(), fault.to_owned()));
        assert_eq!(found, expected);
        assert_eq!(look(&world.depot).await, 0, "caught up once");
    }
}

#[tokio::test]
async fn of_several_deadlines_that_nobody_was_there_for_the_last_is_looked_at() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        world.clock.advance(3 * DAY);
        assert_eq!(look(&world.depot).await, 1);
        let events = told(&world).await;
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].detail["day"], "2026-11-23");
    }
}

#[tokio::test]
async fn a_missing_file_that_comes_is_told_once_and_not_after_the_next_deadline() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        look(&world.depot).await;
        assert_eq!(faults(&world).await, [failed("missing")]);
        world.clock.advance(HOUR);
        assert_eq!(look(&world.depot).await, 1, "it may still come");
        upload(&world, TODAY, b"content").await;
        let came_at = world.clock.now();
        world.clock.advance(MINUTE);
        assert_eq!(look(&world.depot).await, 1);
        let late = (EventKind::ExpectationLate, "late".to_owned());
        assert_eq!(faults(&world).await, [failed("missing"), late.clone()]);
        let event = told(&world).await.pop().unwrap();
        assert_eq!(event.detail["came_at"], came_at.to_string());
        assert_eq!(event.detail["file"], "crm_20261121.csv");
        world.clock.advance(HOUR);
        assert_eq!(look(&world.depot).await, 0, "nobody looks any more");

        // The next day's does not come before the one behind it.
        advance_to(&world, "2026-11-22T06:00:00Z");
        look(&world.depot).await;
        advance_to(&world, "2026-11-23T06:00:01Z");
        upload(&world, "/crm_20261122.csv", b"two").await;
        upload(&world, "/crm_20261123.csv", b"three").await;
        hash(&world).await;
        look(&world.depot).await;
        world.clock.advance(HOUR);
        look(&world.depot).await;
        let expected = [failed("missing"), late, failed("missing"), failed("late")];
        assert_eq!(faults(&world).await, expected);
        let days = world
            .depot
            .registry()
            .expectation_history(&crm().name, 10)
            .await;
        let days: Vec<_> = days
            .unwrap()
            .iter()
            .map(|one| (one.state, one.fault))
            .collect();
        let done = |fault| (DayState::Done, Some(fault));
        assert_eq!(
            days,
            [
                done(DayFault::Late),
                done(DayFault::Missing),
                done(DayFault::Late)
            ]
        );
    }
}

#[tokio::test]
async fn a_late_file_that_is_collected_and_deleted_at_once_is_told_all_the_same() {
    for world in worlds().await {
        let small = ExpectationDefinition {
            rules: ExpectationRules {
                min_size_bytes: Some(100),
                ..ExpectationRules::default()
            },
            ..crm()
        };
        expect(&world, &small).await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        look(&world.depot).await;
        advance_to(&world, "2026-11-21T06:00:30Z");
        let session = world.login("alice", PASSWORD).await.unwrap();
        put(&session, &at(TODAY), b"content").await.unwrap();
        session.remove(&at(TODAY)).await.unwrap();
        session.end("done").await;
        world.clock.advance(MINUTE);
        look(&world.depot).await;
        let late = (EventKind::ExpectationLate, "late".to_owned());
        assert_eq!(faults(&world).await, [failed("missing"), late]);
        let event = told(&world).await.pop().unwrap();
        assert_eq!(event.detail["also"], "too_small");
    }
}

#[tokio::test]
async fn a_file_without_a_date_in_its_name_is_of_the_day_that_it_came_on() {
    for world in worlds().await {
        let plain = ExpectationDefinition {
            file: "crm.csv".parse().unwrap(),
            ..crm()
        };
        expect(&world, &plain).await;
        upload(&world, "/crm.csv", b"one").await;
        hash(&world).await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        look(&world.depot).await;
        advance_to(&world, "2026-11-22T06:00:00Z");
        look(&world.depot).await;
        assert_eq!(
            faults(&world).await,
            [failed("missing")],
            "it is yesterday's"
        );
        advance_to(&world, "2026-11-22T06:00:01Z");
        upload(&world, "/crm.csv", b"two").await;
        hash(&world).await;
        advance_to(&world, "2026-11-23T06:00:00Z");
        look(&world.depot).await;
        // Late for one day, it is not the next one's.
        let late = (EventKind::ExpectationLate, "late".to_owned());
        let expected = [failed("missing"), late, failed("same_content")];
        assert_eq!(faults(&world).await, expected);
        advance_to(&world, "2026-11-23T07:00:00Z");
        upload(&world, "/crm.csv", b"three").await;
        hash(&world).await;
        advance_to(&world, "2026-11-24T06:00:00Z");
        look(&world.depot).await;
        assert_eq!(faults(&world).await.len(), 3);
    }
}

#[tokio::test]
async fn a_checksum_is_waited_for_and_not_for_ever() {
    for world in worlds().await {
        expect(&world, &crm()).await;
        advance_to(&world, "2026-11-21T05:59:59Z");
        upload(&world, TODAY, b"content").await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        assert_eq!(look(&world.depot).await, 1);
        let last = async || {
            let standing = world.depot.registry().expectation(&crm().name).await;
            standing.unwrap().last.unwrap()
        };
        assert_eq!(
            (last().await.state, last().await.fault),
            (DayState::Waiting, None)
        );
        hash(&world).await;
        world.clock.advance(Duration::from_secs(5));
        look(&world.depot).await;
        assert_eq!(
            (last().await.state, last().await.fault),
            (DayState::Done, None)
        );
        assert!(last().await.sha256.is_some());

        advance_to(&world, "2026-11-22T05:59:59Z");
        upload(&world, "/crm_20261122.csv", b"content").await;
        advance_to(&world, "2026-11-22T06:00:00Z");
        look(&world.depot).await;
        advance_to(&world, "2026-11-22T07:59:59Z");
        look(&world.depot).await;
        assert_eq!(last().await.state, DayState::Waiting);
        advance_to(&world, "2026-11-22T08:00:10Z");
        look(&world.depot).await;
        assert_eq!(
            (last().await.state, last().await.fault),
            (DayState::Done, None)
        );
        assert_eq!(last().await.sha256, None);
        assert!(told(&world).await.is_empty());
    }
}

/// The same expectation at a partner's server that says nothing.
pub(crate) fn there() -> ExpectationDefinition {
    ExpectationDefinition {
        place: ExpectedPlace::There {
            partner: "globex".parse().unwrap(),
            target: FlowTarget::Location("out".parse().unwrap()),
        },
        ..crm()
    }
}

pub(crate) async fn add_globex(world: &World) {
    let mut partner = wanted("globex", "sftp");
    partner.locations = Some(vec![location("out", "/out")]);
    let registry = world.depot.registry();
    registry
        .apply(&actor(), &[partner], &[], &[], Doing::Really)
        .await
        .unwrap();
}

/// Every look that is due fails; how many there were.
async fn fail(depot: &Depot) -> usize {
    let looks = depot.expectation_looks();
    looks.plan().await.unwrap();
    let claimed = looks.claim(8).await.unwrap();
    for day in &claimed {
        let why = "connecting failed: nobody is there".to_owned();
        looks.end(day, Sighting::Unreachable { why }).await.unwrap();
    }
    claimed.len()
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_is_not_a_missing_file_and_told_after_an_hour() {
    for world in worlds().await {
        add_globex(&world).await;
        expect(&world, &there()).await;
        advance_to(&world, "2026-11-21T06:00:00Z");
        let mut looks = 0;
        let end: Timestamp = "2026-11-21T06:59:50Z".parse().unwrap();
        while world.clock.now() < end {
            looks += fail(&world.depot).await;
            world.clock.advance(Duration::from_secs(10));
        }
        assert!(told(&world).await.is_empty());
        assert!((8..=14).contains(&looks), "with growing waits: {looks}");
        let standing = world
            .depot
            .registry()
            .expectation(&crm().name)
            .await
            .unwrap();
        let last = standing.last.unwrap();
        assert_eq!(
            (last.state, last.fault),
            (DayState::Waiting, Some(DayFault::Unreachable))
        );
        world.clock.advance(11 * MINUTE);
        assert_eq!(fail(&world.depot).await, 1);
        assert_eq!(faults(&world).await, [failed("unreachable")]);
        let event = told(&world).await.pop().unwrap();
        assert_eq!(event.detail["integration"], "globex");
        assert_eq!(event.detail["place"], "globex:out");
        assert!(event.detail["why"].as_str().unwrap().contains("nobody"));
        world.clock.advance(HOUR);
        assert_eq!(fail(&world.depot).await, 0);

        // After a standstill the first try is not the last.
        advance_to(&world, "2026-11-22T09:00:00Z");
        assert_eq!(fail(&world.depot).await, 1);
        assert_eq!(told(&world).await.len(), 1);
        world.clock.advance(10 * MINUTE);
        assert_eq!(fail(&world.depot).await, 1);
        assert_eq!(told(&world).await.len(), 2);
    }
}

#[tokio::test]
async fn deadlines_are_those_of_the_entitys_clocks_also_where_they_change() {
    for world in worlds().await {
        let registry = world.depot.registry();
        let acme = "acme".parse().unwrap();
        let zone = "Europe/Brussels".parse().unwrap();
        registry
            .set_entity_zone(&actor(), &acme, Some(&zone))
            .await
            .unwrap();
        let weekdays = ExpectationDefinition {
            rules: ExpectationRules {
                days: "sat,sun".parse().unwrap(),
                date_offset: -1,
                ..ExpectationRules::default()
            },
            ..crm()
        };
        advance_to(&world, "2027-03-26T12:00:00Z");
        expect(&world, &weekdays).await;
        // 06:00 on Saturday is 05:00 UTC, on Sunday 04:00.
        for (moment, days) in [
            ("2027-03-27T04:59:59Z", vec![]),
            ("2027-03-27T05:00:00Z", vec!["2027-03-27"]),
            ("2027-03-28T03:59:59Z", vec!["2027-03-27"]),
            ("2027-03-28T04:00:00Z", vec!["2027-03-27", "2027-03-28"]),
            ("2027-04-02T12:00:00Z", vec!["2027-03-27", "2027-03-28"]),
        ] {
            advance_to(&world, moment);
            look(&world.depot).await;
            let events = told(&world).await;
            let told: Vec<_> = events.iter().map(|one| one.detail["day"].clone()).collect();
            assert_eq!(told, days, "{moment}");
        }
    }
}
