use serde_json::{Map, Value, json};

use super::*;

fn entry(action: &str, outcome: Outcome, at: &str, detail: Value) -> JournalEntry {
    let detail = match detail {
        Value::Object(detail) => detail,
        _ => Map::new(),
    };
    JournalEntry {
        id: 1,
        at: at.parse().unwrap(),
        kind: JournalKind::Transfer,
        action: action.to_owned(),
        outcome,
        account: Some("alice".to_owned()),
        entity: Some("acme".to_owned()),
        peer: None,
        protocol: None,
        session: None,
        path: None,
        size_bytes: Some(10),
        duration_ms: Some(3),
        node: "n".to_owned(),
        detail,
    }
}

const NOON: &str = "2026-11-21T12:00:00Z";

fn counted(entry: &JournalEntry) -> Vec<(TransfersOf, String, Direction, bool, u64, u64)> {
    let mut sums = DailySums::new();
    count(entry, &Zones::default(), &mut sums);
    let told = sums.into_iter().map(|(key, sum)| {
        let TransferCount {
            requests,
            size_bytes,
            ..
        } = sum;
        (
            key.of,
            key.name,
            key.direction,
            key.is_ok,
            requests,
            size_bytes,
        )
    });
    told.collect()
}

#[test]
fn each_attempt_counts_once_for_whom_it_is_about() {
    use Direction::{Download, Upload};
    use TransfersOf::{Account, Integration};
    let partner = json!({"integration": "crm"});
    let cases = [
        (
            "upload",
            Outcome::Ok,
            json!({}),
            vec![(Account, "alice", Upload, true, 1, 10)],
        ),
        (
            "upload",
            Outcome::Refused,
            json!({}),
            vec![(Account, "alice", Upload, false, 1, 10)],
        ),
        (
            "download",
            Outcome::Failed,
            json!({}),
            vec![(Account, "alice", Download, false, 1, 10)],
        ),
        // Only what came now.
        (
            "upload",
            Outcome::Ok,
            json!({"received_bytes": 4}),
            vec![(Account, "alice", Upload, true, 1, 4)],
        ),
        ("upload", Outcome::Ok, json!({"copied_from": "/x"}), vec![]),
        (
            "outbound.download",
            Outcome::Ok,
            partner.clone(),
            vec![(Integration, "crm", Download, true, 1, 10)],
        ),
        (
            "outbound.upload",
            Outcome::Failed,
            partner,
            vec![(Integration, "crm", Upload, false, 1, 10)],
        ),
        ("outbound.upload", Outcome::Ok, json!({}), vec![]),
        ("publish", Outcome::Ok, json!({}), vec![]),
        ("rename", Outcome::Ok, json!({}), vec![]),
        ("delete", Outcome::Ok, json!({}), vec![]),
        ("data-connection", Outcome::Refused, json!({}), vec![]),
        (
            "more-refusals",
            Outcome::Refused,
            json!({"refusals": 9, "uploads": 5, "downloads": 3}),
            vec![
                (Account, "alice", Upload, false, 5, 0),
                (Account, "alice", Download, false, 3, 0),
            ],
        ),
        (
            "more-refusals",
            Outcome::Refused,
            json!({"refusals": 9}),
            vec![],
        ),
    ];
    for (action, outcome, detail, expected) in cases {
        let entry = entry(action, outcome, NOON, detail);
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(of, name, way, ok, requests, bytes)| {
                (of, name.to_owned(), way, ok, requests, bytes)
            })
            .collect();
        assert_eq!(counted(&entry), expected, "{action} {:?}", entry.detail);
    }
    let mut another_kind = entry("upload", Outcome::Ok, NOON, json!({}));
    another_kind.kind = JournalKind::Retention;
    assert_eq!(counted(&another_kind), []);
}

#[test]
fn a_day_begins_and_ends_at_midnight_of_the_zone() {
    let cases = [
        ("UTC", "2026-11-20T23:59:59.999999Z", "2026-11-20"),
        ("UTC", "2026-11-21T00:00:00Z", "2026-11-21"),
        (
            "Europe/Brussels",
            "2026-11-20T22:59:59.999999Z",
            "2026-11-20",
        ),
        ("Europe/Brussels", "2026-11-20T23:00:00Z", "2026-11-21"),
        ("Asia/Tokyo", "2026-11-20T14:59:59.999Z", "2026-11-20"),
        ("Asia/Tokyo", "2026-11-20T15:00:00Z", "2026-11-21"),
        ("-05:30", "2026-11-21T05:29:59.999Z", "2026-11-20"),
        ("-05:30", "2026-11-21T05:30:00Z", "2026-11-21"),
        // The day of 23 hours, from its first to its last moment.
        ("Europe/Brussels", "2026-03-28T22:59:59.999Z", "2026-03-28"),
        ("Europe/Brussels", "2026-03-28T23:00:00Z", "2026-03-29"),
        ("Europe/Brussels", "2026-03-29T21:59:59.999Z", "2026-03-29"),
        ("Europe/Brussels", "2026-03-29T22:00:00Z", "2026-03-30"),
        // The day of 25 hours.
        ("Europe/Brussels", "2026-10-24T21:59:59.999Z", "2026-10-24"),
        ("Europe/Brussels", "2026-10-24T22:00:00Z", "2026-10-25"),
        ("Europe/Brussels", "2026-10-25T22:59:59.999Z", "2026-10-25"),
        ("Europe/Brussels", "2026-10-25T23:00:00Z", "2026-10-26"),
        ("UTC", "1969-12-31T23:59:59Z", "1969-12-31"),
    ];
    for (zone, at, expected) in cases {
        let day = day_of(at.parse().unwrap(), &zone_named(Some(zone)));
        assert_eq!(date_of(day).unwrap().to_string(), expected, "{zone} {at}");
    }
}

#[test]
fn days_are_in_the_zone_of_the_entity_and_of_an_integration_in_its_own() {
    let zones = Zones {
        entities: HashMap::from([("acme".to_owned(), zone_named(Some("Asia/Tokyo")))]),
        integrations: HashMap::from([("crm".to_owned(), TimeZone::UTC)]),
    };
    let late = "2026-11-21T20:00:00Z";
    let day_of = |entry: &JournalEntry| {
        let mut sums = DailySums::new();
        count(entry, &zones, &mut sums);
        let day = sums.into_keys().next().unwrap().day;
        date_of(day).unwrap().to_string()
    };
    let partner = entry("upload", Outcome::Ok, late, json!({}));
    assert_eq!(day_of(&partner), "2026-11-22");
    let named = |name: &str| {
        entry(
            "outbound.upload",
            Outcome::Ok,
            late,
            json!({"integration": name}),
        )
    };
    assert_eq!(day_of(&named("crm")), "2026-11-21");
    assert_eq!(day_of(&named("removed")), "2026-11-22");
    let stranger = JournalEntry {
        entity: None,
        ..partner
    };
    assert_eq!(day_of(&stranger), "2026-11-21");
}
