//! Files that are expected: what comes in time is told to nobody, what does not is told once.

use std::fs;
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::calendar::Calendar;
use layover_tests::content::write_file;
use layover_tests::flaky::{Flaky, Whim};
use layover_tests::http::{self, parse_metrics};
use layover_tests::machine::Machine;
use layover_tests::partner_server::{PartnerServer, Plan, Proof, Software};
use layover_tests::skip::skip;
use layover_tests::wait;
use layover_tests::{
    Account, Engine, Layover, Protocol, Setup, on_both_engines, over_both_protocols,
};
use serde_json::Value;

/// A look at a partner's server, and a checksum; debug builds are slow, and several run at once.
const LONG: Duration = Duration::from_secs(180);

/// What passes at each look at the server while it may ask another one: slowly enough that a
/// busy machine renews its leases.
const MOMENT: Duration = Duration::from_millis(100);

/// What passes where it only looks at its own homes.
const WHILE: Duration = Duration::from_secs(5);

const HOUR: Duration = Duration::from_secs(3_600);

over_both_protocols!(a_day_of_expected_files_is_told_once_and_as_it_was);

on_both_engines!(
    a_file_on_a_partners_server_is_looked_for_and_silence_is_not_taken_for_absence,
    a_kill_9_in_the_middle_of_looks_leaves_none_out_and_tells_none_twice,
);

/// An appliance whose clock the test moves; it begins at the time outside, which commands go by.
fn start(ours: &Layover) -> Calendar {
    Calendar::start(ours, Machine::real_time())
}

fn expect(ours: &Layover, name: &str, more: &[&str]) {
    let file = format!("{name}_$yyyyMMdd.csv");
    let fixed = ["expect", "add", name, "--file", &file, "--by", "06:00"];
    ours.admin(&[&fixed[..], more].concat());
}

/// The next deadline, once it is planned.
fn next_due(ours: &Layover, name: &str) -> Timestamp {
    wait::until("the expectation to be planned", LONG, || {
        let shown = ours.json(&["expect", "show", name]);
        shown["next_due"].as_str()?.parse().ok()
    })
}

/// The file's name on the day of a deadline, in UTC.
fn named(name: &str, due: Timestamp) -> String {
    let day = due.to_string();
    let digits: String = day[..10].chars().filter(|digit| *digit != '-').collect();
    format!("{name}_{digits}.csv")
}

/// What was told of expectations, in order: the kind, the name, the fault.
fn told(ours: &Layover) -> Vec<(String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    ours.rows(&["event", "list", "--limit", "10000"])
        .iter()
        .filter(|event| text(&event["kind"]).starts_with("expectation."))
        .map(|event| {
            let detail = &event["detail"];
            (
                text(&event["kind"]),
                text(&detail["expectation"]),
                text(&detail["fault"]),
            )
        })
        .collect()
}

/// The last result of an expectation, when it is of the day of this deadline.
fn result(ours: &Layover, name: &str, due: Timestamp) -> Option<String> {
    let shown = ours.json(&["expect", "show", name]);
    let last = &shown["last"];
    let is_of_day = last["due_at"].as_str() == Some(&due.to_string());
    is_of_day.then(|| last["result"].as_str().unwrap_or("-").to_owned())
}

/// Lets time pass until an expectation's day has this result.
fn wait_for(
    ours: &Layover,
    (calendar, each): (&Calendar, Duration),
    name: &str,
    due: Timestamp,
    wanted: &str,
) {
    let found = wait::within(LONG, || {
        calendar.pass(each);
        (result(ours, name, due).as_deref() == Some(wanted)).then_some(())
    });
    assert!(
        found.is_some(),
        "{name} should be {wanted}: {} {:?}",
        ours.json(&["expect", "history", name]),
        told(ours)
    );
}

fn failed(name: &str, fault: &str) -> (String, String, String) {
    (
        "expectation.failed".to_owned(),
        name.to_owned(),
        fault.to_owned(),
    )
}

fn late(name: &str) -> (String, String, String) {
    (
        "expectation.late".to_owned(),
        name.to_owned(),
        "late".to_owned(),
    )
}

fn put(account: &Account, calendar: &Calendar, protocol: Protocol, path: &str, content: &[u8]) {
    let mut partner = account.partner_at(calendar.address(protocol), protocol);
    partner.put(path.as_bytes(), content).expect("put");
}

fn a_day_of_expected_files_is_told_once_and_as_it_was(protocol: Protocol, engine: Engine) {
    let ours = Setup::new(engine).prepare();
    let alice = ours.account("alice").password(PASSWORD).add();
    let calendar = start(&ours);
    let here = ["--account", "alice", "--folder", "/"];
    expect(&ours, "crm", &here);
    expect(&ours, "erp", &here);
    expect(&ours, "tiny", &[&here[..], &["--min-size", "1KB"]].concat());
    expect(&ours, "huge", &[&here[..], &["--max-size", "2"]].concat());
    let due = next_due(&ours, "crm");
    for name in ["erp", "tiny", "huge"] {
        assert_eq!(next_due(&ours, name), due);
    }
    for name in ["crm", "tiny", "huge"] {
        let path = format!("/{}", named(name, due));
        put(&alice, &calendar, protocol, &path, b"content");
    }
    calendar.pass(due.duration_since(calendar.now()));
    wait_for(&ours, (&calendar, WHILE), "crm", due, "as_expected");
    wait_for(&ours, (&calendar, WHILE), "tiny", due, "too_small");
    wait_for(&ours, (&calendar, WHILE), "huge", due, "too_large");
    wait_for(&ours, (&calendar, WHILE), "erp", due, "missing");
    // It comes after all.
    let path = format!("/{}", named("erp", due));
    put(&alice, &calendar, protocol, &path, b"late");
    wait_for(&ours, (&calendar, WHILE), "erp", due, "late");
    let mut events = told(&ours);
    assert_eq!(events.pop(), Some(late("erp")));
    events.sort_unstable();
    let all = [
        failed("erp", "missing"),
        failed("huge", "too_large"),
        failed("tiny", "too_small"),
    ];
    assert_eq!(events, all);

    // The next day the same content comes under the day's name, and nothing else.
    let next = next_due(&ours, "crm");
    assert!(next > due);
    let path = format!("/{}", named("crm", next));
    put(&alice, &calendar, protocol, &path, b"content");
    calendar.pass(next.duration_since(calendar.now()));
    wait_for(&ours, (&calendar, WHILE), "crm", next, "same_content");
    for name in ["erp", "tiny", "huge"] {
        wait_for(&ours, (&calendar, WHILE), name, next, "missing");
    }
    calendar.pass(HOUR);
    calendar.pass(HOUR);
    let mut events = told(&ours).split_off(4);
    events.sort_unstable();
    let all = [
        failed("crm", "same_content"),
        failed("erp", "missing"),
        failed("huge", "missing"),
        failed("tiny", "missing"),
    ];
    assert_eq!(events, all);
    let mut entries = ours.rows(&["journal", "--kind", "system", "--limit", "0"]);
    entries.retain(|entry| {
        let action = entry["action"].as_str();
        action.is_some_and(|action| action.starts_with("expectation."))
    });
    assert_eq!(entries.len(), 8, "an entry for each event");
    assert!(entries.iter().all(|entry| entry["entity"] == "acme"));
    calendar.stop();
}

/// The next moment at which an expectation is looked at again passes at once.
fn pass_to_the_next_look(ours: &Layover, calendar: &Calendar, name: &str) {
    let looked_at = || {
        let shown = ours.json(&["expect", "show", name]);
        shown["last"]["next_look_at"]
            .as_str()
            .map(ToOwned::to_owned)
    };
    let Some(before) = looked_at() else { return };
    let next: Timestamp = before.parse().expect("a time");
    if next > calendar.now() {
        calendar.pass(next.duration_since(calendar.now()));
    }
    wait::until("the next look", LONG, || {
        calendar.pass(MOMENT);
        (looked_at().as_ref() != Some(&before)).then_some(())
    });
}

fn a_file_on_a_partners_server_is_looked_for_and_silence_is_not_taken_for_absence(engine: Engine) {
    let plan = match engine {
        Engine::Sqlite => Plan {
            proof: Proof::Key,
            ..Plan::of(Software::Sshd)
        },
        Engine::Postgres => Plan::of(Software::Vsftpd),
    };
    let theirs = match PartnerServer::start(plan) {
        Ok(theirs) => theirs,
        Err(why) => {
            skip(&why);
            return;
        }
    };
    let line = Flaky::before(theirs.address(), Whim::Carry);
    let theirs = theirs.behind(line.address());
    let ours = Setup::new(engine).prepare();
    ours.account("alice").add();
    theirs.introduce(&ours, &[]);
    let folder = theirs.files().join("box");
    fs::create_dir_all(&folder).expect("make a folder there");
    let calendar = start(&ours);
    let path = format!("{}/box", theirs.path());
    let there = ["--integration", "partner", "--path", &path];
    expect(
        &ours,
        "orders",
        &[&there[..], &["--min-size", "1KB"]].concat(),
    );
    expect(&ours, "stock", &there);
    let due = next_due(&ours, "orders");
    next_due(&ours, "stock");
    write_file(&folder.join(named("orders", due)), 2_000, 1);
    // What somebody is still writing has another name.
    write_file(
        &folder.join(format!("{}.part", named("stock", due))),
        2_000,
        2,
    );
    calendar.pass(due.duration_since(calendar.now()));
    wait_for(&ours, (&calendar, MOMENT), "orders", due, "as_expected");
    wait_for(&ours, (&calendar, MOMENT), "stock", due, "missing");
    assert_eq!(told(&ours), [failed("stock", "missing")]);
    fs::rename(
        folder.join(format!("{}.part", named("stock", due))),
        folder.join(named("stock", due)),
    )
    .expect("rename");
    pass_to_the_next_look(&ours, &calendar, "stock");
    wait_for(&ours, (&calendar, MOMENT), "stock", due, "late");
    assert_eq!(told(&ours), [failed("stock", "missing"), late("stock")]);

    // The same file under the next day's name; and a server that says nothing.
    let next = next_due(&ours, "orders");
    let copied = folder.join(named("orders", next));
    fs::copy(folder.join(named("orders", due)), &copied).expect("copy");
    let modified = fs::metadata(folder.join(named("orders", due)))
        .and_then(|metadata| metadata.modified())
        .expect("a time");
    let file = fs::File::options().write(true).open(&copied).expect("open");
    file.set_modified(modified).expect("set its time");
    line.becomes(Whim::Refuse);
    calendar.pass(next.duration_since(calendar.now()));
    wait_for(&ours, (&calendar, MOMENT), "orders", next, "waiting");
    wait_for(&ours, (&calendar, MOMENT), "stock", next, "waiting");
    // `waiting` is also what nobody has looked at yet.
    for _ in 0..3 {
        pass_to_the_next_look(&ours, &calendar, "stock");
        assert_eq!(told(&ours).len(), 2, "silence is not absence");
    }
    line.becomes(Whim::Carry);
    pass_to_the_next_look(&ours, &calendar, "orders");
    wait_for(&ours, (&calendar, MOMENT), "orders", next, "same_content");
    line.becomes(Whim::Refuse);
    for _ in 0..40 {
        if result(&ours, "stock", next).as_deref() != Some("waiting") {
            break;
        }
        pass_to_the_next_look(&ours, &calendar, "stock");
    }
    // Meanwhile the line carried for a while: it was asked then, or not within the hour.
    let stock = result(&ours, "stock", next).expect("a result");
    assert!(
        ["missing", "unreachable"].contains(&stock.as_str()),
        "{stock}"
    );
    let mut events = told(&ours).split_off(2);
    events.sort_unstable();
    assert_eq!(
        events,
        [failed("orders", "same_content"), failed("stock", &stock)]
    );

    // A whole hour of silence is told as what it is.
    let third = next_due(&ours, "stock");
    calendar.pass(third.duration_since(calendar.now()));
    wait_for(&ours, (&calendar, MOMENT), "stock", third, "waiting");
    for _ in 0..40 {
        if result(&ours, "stock", third).as_deref() != Some("waiting") {
            break;
        }
        pass_to_the_next_look(&ours, &calendar, "stock");
    }
    assert_eq!(
        result(&ours, "stock", third).as_deref(),
        Some("unreachable")
    );
    let events = told(&ours);
    let of_stock = events
        .iter()
        .filter(|event| **event == failed("stock", "unreachable"));
    assert_eq!(of_stock.count(), 1 + usize::from(stock == "unreachable"));
    calendar.stop();
}

/// A minute of the real clock that begins soon.
fn soon() -> Timestamp {
    const MINUTE_US: i64 = 60_000_000;
    let from = Machine::real_time().as_micros() + 20_000_000;
    Timestamp::from_micros((from / MINUTE_US + 1) * MINUTE_US)
}

fn a_kill_9_in_the_middle_of_looks_leaves_none_out_and_tells_none_twice(engine: Engine) {
    const EACH: usize = 12;
    let ours = Setup::new(engine).prepare();
    let alice = ours.account("alice").password(PASSWORD).add();
    ours.start();
    let due = soon();
    let by = &due.to_string()[11..16];
    let names = |kind: &'static str| (0..EACH).map(move |number| format!("{kind}-{number}"));
    let mut sftp = alice.sftp(&ours);
    for name in names("come") {
        let path = format!("/{}", named(&name, due));
        sftp.put(path.as_bytes(), name.as_bytes()).expect("put");
    }
    drop(sftp);
    let mut manifest = "expectations:\n".to_owned();
    for name in names("come").chain(names("gone")) {
        manifest.push_str(&format!(
            "  {name}:\n    local: {{account: alice, path: /}}\n    file: {name}_$yyyyMMdd.csv\n    \
             by: \"{by}\"\n    allow_same: true\n"
        ));
    }
    let file = ours.scratch().join("expected.yaml");
    fs::write(&file, manifest).expect("write the manifest");
    ours.admin(&["apply", file.to_str().expect("a path")]);
    if next_due(&ours, "gone-0") != due {
        skip("the machine is too slow for a deadline of the real clock");
        return;
    }
    wait::until("the first of them to be told", LONG, || {
        (!told(&ours).is_empty()).then_some(())
    });
    ours.kill_9();
    ours.start();
    wait::until("every day to be over", LONG, || {
        let rows = ours.rows(&["expect", "list"]);
        let is = |row: &Value, result: &str| row["last"]["result"] == result;
        let over = rows
            .iter()
            .filter(|row| is(row, "missing") || is(row, "as_expected"));
        (over.count() == 2 * EACH).then_some(())
    });
    let mut events = told(&ours);
    events.sort_unstable();
    let mut all: Vec<_> = names("gone").map(|name| failed(&name, "missing")).collect();
    all.sort_unstable();
    assert_eq!(events, all);
    let answer = http::get(ours.console_address(), "/metrics");
    let samples = parse_metrics(&answer.body);
    let counted = |result: &str| {
        let labels = [("result".to_owned(), result.to_owned())].into();
        samples
            .get(&("layover_expectations".to_owned(), labels))
            .copied()
    };
    for (result, count) in [("missing", 12.0), ("as_expected", 12.0), ("waiting", 0.0)] {
        assert_eq!(counted(result), Some(count), "{result}");
    }
}
