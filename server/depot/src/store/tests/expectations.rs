//! Expectations and their days, as rows.

use jiff::civil::{Date, date};

use super::{HERE, entry, household, ledger, path, time};
use crate::EntityId;
use crate::event::{EventKind, NewEvent};
use crate::expectation::{
    DayEnd, DayFault, DayKey, DayState, ExpectationDefinition, ExpectationPlan,
};
use crate::journal::{JournalKind, NewEntry};
use crate::store::{ExpectationWrite, Store};

fn definition(
    name: &str,
    change: impl FnOnce(&mut ExpectationDefinition),
) -> ExpectationDefinition {
    let text = r#"{"expectation":{"by":"06:00","enabled":true,"file":"crm_$yyyyMMdd.csv",
        "home":"alice:/in","name":"crm"},"version":1}"#;
    let mut definition = ExpectationDefinition::from_json(text).unwrap();
    definition.name = name.parse().unwrap();
    change(&mut definition);
    definition
}

async fn write(store: &Store, entity: EntityId, definition: &ExpectationDefinition, second: i64) {
    let write = ExpectationWrite {
        definition: definition.clone(),
        entity,
        entry: entry("expectation.set"),
    };
    let written = store
        .write_integrations(&[], &[], &[write], time(second))
        .await;
    assert_eq!(written.unwrap(), Some(()));
}

fn plan(
    name: &str,
    version: i64,
    was_due: Option<i64>,
    day: Option<Date>,
    next: i64,
) -> ExpectationPlan {
    ExpectationPlan {
        name: name.parse().unwrap(),
        version,
        was_due: was_due.map(time),
        fires: day.zip(was_due).map(|(day, due)| (day, time(due))),
        next_due: Some(time(next)),
    }
}

fn key(name: &str, day: Date) -> DayKey {
    DayKey {
        expectation: name.parse().unwrap(),
        day,
    }
}

fn end(key: &DayKey, held: i64, state: DayState, fault: Option<DayFault>, now: i64) -> DayEnd {
    DayEnd {
        key: key.clone(),
        held: time(held),
        state,
        at: time(now),
        fault,
        file_name: Some(b"crm.csv".to_vec()),
        size_bytes: Some(7),
        sha256: Some("aa".to_owned()),
        modified_at: None,
        alert: None,
        now: time(now),
    }
}

fn alert(once: &str) -> (NewEvent, NewEntry) {
    let event = NewEvent {
        at: time(50_020),
        kind: EventKind::ExpectationFailed,
        entity: None,
        subject: "expectation:crm".to_owned(),
        once: Some(once.to_owned()),
        detail: serde_json::Map::new(),
    };
    (event, entry("expectation.failed"))
}

pub(super) async fn a_day_from_its_deadline_to_its_end(store: &Store) {
    let (entity, ..) = household(store, "expecting-crm").await;
    let crm = definition("crm", |_| {});
    write(store, entity, &crm, 50_000).await;
    let due = store.expectations_to_plan(time(50_000), 10).await.unwrap();
    assert_eq!(due.len(), 1);
    assert_eq!((&due[0].definition, due[0].next_due), (&crm, None));
    assert_eq!(due[0].plan_from, Some(time(50_000)));

    // Planned once, whoever does; for the version that was looked at.
    let planned = plan("crm", 1, None, None, 50_010);
    assert_eq!(
        store
            .plan_expectations(&[planned], time(50_000))
            .await
            .unwrap(),
        0
    );
    assert!(
        store
            .expectations_to_plan(time(50_009), 10)
            .await
            .unwrap()
            .is_empty()
    );
    let day = date(2026, 11, 22);
    let fires = |version| plan("crm", version, Some(50_010), Some(day), 60_000);
    assert_eq!(
        store
            .plan_expectations(&[fires(2)], time(50_010))
            .await
            .unwrap(),
        0
    );
    let both = [fires(1), fires(1)];
    assert_eq!(
        store.plan_expectations(&both, time(50_010)).await.unwrap(),
        1
    );

    // Held by one at a time.
    let open = store
        .days_to_look_at(time(50_010), time(90_000), 10)
        .await
        .unwrap();
    assert_eq!(open.len(), 1);
    let found = &open[0];
    assert_eq!(
        (found.day, found.due_at, found.state),
        (day, time(50_010), DayState::Waiting)
    );
    assert_eq!((found.not_before, found.entity_id), (time(50_010), entity));
    let today = key("crm", day);
    let hold = async |seen, until| {
        store
            .hold_day(&today, time(seen), time(until))
            .await
            .unwrap()
    };
    assert!(hold(50_010, 50_040).await);
    assert!(!hold(50_010, 50_041).await);
    assert!(
        store
            .days_to_look_at(time(50_039), time(90_000), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(hold(50_040, 50_050).await);

    // Told with its end, which only who holds it writes.
    let missing = |held| DayEnd {
        file_name: None,
        size_bytes: None,
        sha256: None,
        alert: Some(alert("crm:1")),
        ..end(
            &today,
            held,
            DayState::Missing,
            Some(DayFault::Missing),
            50_060,
        )
    };
    assert_eq!(store.end_day(&missing(50_040)).await.unwrap(), None);
    assert_eq!(store.end_day(&missing(50_050)).await.unwrap(), Some(()));
    let late = DayEnd {
        alert: Some(alert("crm:1")),
        ..end(&today, 50_060, DayState::Done, Some(DayFault::Late), 50_070)
    };
    // What was told under a name that was given again: the day is over all the same.
    assert_eq!(store.end_day(&late).await.unwrap(), Some(()));
    assert_eq!(store.end_day(&late).await.unwrap(), None, "it is over");
    assert!(!hold(50_070, 50_080).await);

    let standing = store.expectations(Some(&crm.name)).await.unwrap().remove(0);
    let last = standing.last.unwrap();
    assert_eq!(
        (last.state, last.fault),
        (DayState::Done, Some(DayFault::Late))
    );
    assert_eq!(store.days_of(&crm.name, 10).await.unwrap(), [last]);
    let next = key("crm", date(2026, 11, 23));
    let before = store.content_before(&next).await.unwrap().unwrap();
    assert_eq!(
        (before.sha256.as_deref(), before.size_bytes),
        (Some("aa"), Some(7))
    );
    assert_eq!(store.content_before(&today).await.unwrap(), None);
    let figures = store
        .ledger_figures(time(50_080))
        .await
        .unwrap()
        .expectations;
    assert_eq!(figures.faults.get(&DayFault::Late), Some(&1));

    what_an_operator_changes(store, entity, &crm).await;
}

async fn what_an_operator_changes(store: &Store, entity: EntityId, crm: &ExpectationDefinition) {
    // A change is planned anew; what is disabled is not looked at.
    write(store, entity, crm, 51_000).await;
    let due = store.expectations_to_plan(time(51_000), 10).await.unwrap();
    assert_eq!((due[0].version, due[0].next_due), (2, None));
    let tomorrow = date(2026, 11, 23);
    let planned = plan("crm", 2, None, None, 51_010);
    store
        .plan_expectations(&[planned], time(51_000))
        .await
        .unwrap();
    let fires = plan("crm", 2, Some(51_010), Some(tomorrow), 52_000);
    assert_eq!(
        store
            .plan_expectations(&[fires], time(51_010))
            .await
            .unwrap(),
        1
    );
    // A day that has not come by a clock that is right.
    let forget = async |behind| {
        let names = std::slice::from_ref(&crm.name);
        store.forget_days_to_come(names, time(behind)).await
    };
    assert_eq!(forget(51_010).await.unwrap(), 0);
    assert_eq!(forget(51_009).await.unwrap(), 1);
    assert_eq!(store.days_of(&crm.name, 10).await.unwrap().len(), 1);
    let disabled = definition("crm", |crm| crm.enabled = false);
    write(store, entity, &disabled, 51_011).await;
    assert!(
        store
            .days_to_look_at(time(60_000), time(90_000), 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(store.days_of(&crm.name, 10).await.unwrap().len(), 1);

    // A zone, and an integration that goes to another entity.
    let planned = plan("crm", 3, None, None, 90_000);
    store
        .plan_expectations(&[planned], time(51_012))
        .await
        .unwrap();
    store
        .set_entity_zone(
            entity,
            Some("Asia/Tokyo"),
            time(51_013),
            &entry("entity.set"),
        )
        .await
        .unwrap();
    let due = store.expectations_to_plan(time(51_013), 10).await.unwrap();
    assert_eq!(due[0].entity_zone.as_deref(), Some("Asia/Tokyo"));

    // Two of one name would be one: removed, the name begins anew.
    write(store, entity, &definition("other", |_| {}), 51_014).await;
    assert_eq!(store.expectations(None).await.unwrap().len(), 2);
    let entry = entry("expectation.remove");
    let removed = store
        .remove_expectation(&"other".parse().unwrap(), &entry)
        .await;
    assert_eq!(removed.unwrap(), Some(()));
    let again = store
        .remove_expectation(&"other".parse().unwrap(), &entry)
        .await;
    assert_eq!(again.unwrap(), None);
    assert_eq!(store.prune_days(time(50_070), 10).await.unwrap(), 0);
    assert_eq!(store.prune_days(time(50_071), 10).await.unwrap(), 1);
    assert_eq!(store.prune_days(time(50_071), 10).await.unwrap(), 0);
}

fn told(action: &'static str, name: &str, second: i64) -> NewEntry {
    NewEntry::new(time(second), JournalKind::Transfer, action, &HERE.id())
        .path(&path(name))
        .size_bytes(7)
        .with("home", "having-folders")
}

pub(super) async fn what_a_folder_has_and_had(store: &Store) {
    let (_, account, home) = household(store, "having-folders").await;
    for (name, second) in [
        ("/in/crm_1", 70_001),
        ("/in/crm_2", 70_002),
        ("/in/erp_1", 70_003),
        ("/in/deep/crm_3", 70_004),
        ("/crm_4", 70_005),
    ] {
        ledger::stored(store, home, account, name, time(second)).await;
    }
    let folder = path("/in");
    let named = async |beginning: &[u8], after: &[u8]| {
        let found = store
            .stored_named(home, &folder, beginning, after, 10)
            .await;
        let found = found.unwrap().into_iter().map(|file| file.name);
        found
            .map(|name| String::from_utf8(name).unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(named(b"crm_", b"").await, ["crm_1", "crm_2"]);
    assert_eq!(named(b"crm_", b"crm_1").await, ["crm_2"]);
    assert_eq!(named(b"", b"").await.len(), 3);
    assert_eq!(named(b"\xff", b"").await.len(), 0);

    let row = store
        .rows_at(home, &path("/in/crm_1"))
        .await
        .unwrap()
        .remove(0);
    let known = store.file_end(row.id).await.unwrap().unwrap();
    assert_eq!((known.home, known.replaced_at), (home, None));
    assert_eq!(store.file_end(crate::FileId(i64::MAX)).await.unwrap(), None);

    for entry in [
        told("upload", "/in/a", 71_000).with("file_id", row.id.0),
        told("upload", "/in/waits", 71_001).with("awaits", "rename"),
        told("rename", "/in/b", 71_002),
        told("rename", "/in/c", 71_003).with("directory", true),
        told("delete", "/in/d", 71_004),
        told("upload", "/in/deep/e", 71_005),
        told("adopt", "/in/f", 71_006).with("home", "others"),
        told("publish", "/in/g", 71_007),
        told("publish", "/in/h", 71_008),
    ] {
        store.append(&entry).await.unwrap();
    }
    let within = (time(70_999), time(71_007));
    let mut before = None;
    let mut names = Vec::new();
    loop {
        let told = store
            .names_told(home, &folder, within, before, 2)
            .await
            .unwrap();
        names.extend(told.files);
        before = told.next;
        if before.is_none() {
            break;
        }
    }
    let found: Vec<_> = names
        .iter()
        .map(|one| (one.name.as_slice(), one.file))
        .collect();
    assert_eq!(
        found,
        [
            (&b"g"[..], None),
            (&b"b"[..], None),
            (&b"a"[..], Some(row.id))
        ]
    );
    assert_eq!(names[0].at, time(71_007));
}
