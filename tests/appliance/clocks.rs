//! Machines whose clocks are wrong: nothing goes early, and nothing stays because of it.

use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::calendar::Calendar;
use layover_tests::machine::Machine;
use layover_tests::partner::Partner;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn prepare(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    (layover, account)
}

fn log_in(calendar: &Calendar, account: &Account, protocol: Protocol) -> Box<dyn Partner> {
    account.partner_at(calendar.address(protocol), protocol)
}

fn names_on_disk(layover: &Layover) -> Vec<String> {
    let files = layover_tests::tree::files(&layover.homes().join("partner"));
    files
        .keys()
        .map(|path| String::from_utf8_lossy(path).into_owned())
        .collect()
}

/// What the journal says of clocks, the oldest first.
fn journal(layover: &Layover) -> Vec<String> {
    let entries = layover.rows(&["journal", "--limit", "0", "--kind", "system"]);
    let actions = entries.iter();
    actions
        .filter_map(|entry| entry["action"].as_str())
        .filter(|action| action.starts_with("clock."))
        .map(str::to_owned)
        .collect()
}

fn wait_for(layover: &Layover, action: &str) {
    wait::until(action, PATIENCE, || {
        journal(layover)
            .iter()
            .any(|found| found == action)
            .then_some(())
    });
}

fn clock(layover: &Layover) -> String {
    let status = layover.json(&["retention", "status"]);
    status["clocks"][0]["state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

/// A time that is right for the database, where that has a clock.
fn now() -> Timestamp {
    Machine::real_time()
}

over_both_protocols!(
    a_clock_set_six_days_ahead_takes_no_file_over_restarts_and_keeps_none_too_long,
    a_clock_that_an_operator_confirms_is_believed_and_newcomers_keep_their_time,
    a_clock_set_ahead_while_no_server_ran_is_noticed_at_the_start,
    a_clock_set_back_for_an_hour_takes_nothing_that_arrived_meanwhile,
    a_weekend_without_the_server_is_no_doubt_and_three_years_are,
);

fn a_clock_set_six_days_ahead_takes_no_file_over_restarts_and_keeps_none_too_long(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let machine = Machine::at(now());
    let calendar = Calendar::start_on(&layover, &machine);
    log_in(&calendar, &account, protocol)
        .put(b"/before", b"x")
        .expect("put");
    machine.set_forward(6 * DAY);
    wait_for(&layover, "clock.forward-held");
    machine.pass(HOUR);
    calendar.sweep();
    log_in(&calendar, &account, protocol)
        .put(b"/meanwhile", b"x")
        .expect("put in doubt");
    assert_eq!(names_on_disk(&layover), ["/before", "/meanwhile"]);
    calendar.stop();

    let calendar = Calendar::start_on(&layover, &machine);
    calendar.sweep();
    let content = log_in(&calendar, &account, protocol).get(b"/before");
    assert_eq!(content.expect("it is there for its partner, too"), b"x");
    let expected = match engine {
        Engine::Sqlite => "in-doubt",
        Engine::Postgres => "differs",
    };
    assert_eq!(clock(&layover), expected);

    machine.set_back(6 * DAY);
    wait_for(&layover, "clock.returned");
    calendar.sweep();
    if engine == Engine::Postgres {
        // From here on this machine would have another time than the database.
        assert_eq!(names_on_disk(&layover), ["/before", "/meanwhile"]);
        return calendar.stop();
    }
    assert_eq!(clock(&layover), "trusted");
    machine.pass(5 * DAY - 2 * HOUR);
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/before", "/meanwhile"]);
    machine.pass(HOUR);
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/meanwhile"]);
    machine.pass(HOUR);
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), Vec::<String>::new());
    calendar.stop();
}

fn a_clock_that_an_operator_confirms_is_believed_and_newcomers_keep_their_time(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let machine = Machine::at(now().saturating_sub(6 * DAY));
    let calendar = Calendar::start_on(&layover, &machine);
    log_in(&calendar, &account, protocol)
        .put(b"/old", b"x")
        .expect("put");
    machine.set_forward(6 * DAY);
    wait_for(&layover, "clock.forward-held");
    log_in(&calendar, &account, protocol)
        .put(b"/new", b"x")
        .expect("put in doubt");
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/new", "/old"]);
    let refused = layover.run(&["retention", "clock", "confirm"]);
    assert!(!refused.ok(), "a reason is wanted");
    layover.admin(&[
        "retention",
        "clock",
        "confirm",
        "--reason",
        "we looked at it",
    ]);
    wait_for(&layover, "clock.accepted");
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/new"]);
    let entries = layover.rows(&["journal", "--limit", "0", "--kind", "admin"]);
    let confirmed: Vec<_> = entries
        .iter()
        .filter(|entry| entry["action"] == "clock.confirm")
        .map(|entry| entry["detail"]["reason"].clone())
        .collect();
    assert_eq!(confirmed, ["we looked at it"]);
    let refused = layover.run(&["retention", "clock", "confirm", "--reason", "again"]);
    assert!(!refused.ok(), "there is nothing to confirm");
    calendar.stop();
}

fn a_clock_set_ahead_while_no_server_ran_is_noticed_at_the_start(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let machine = Machine::at(now());
    let calendar = Calendar::start_on(&layover, &machine);
    log_in(&calendar, &account, protocol)
        .put(b"/file", b"x")
        .expect("put");
    calendar.stop();
    machine.set_forward(6 * DAY);
    let calendar = Calendar::start_on(&layover, &machine);
    wait_for(&layover, "clock.forward-held");
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/file"]);
    calendar.stop();
}

fn a_clock_set_back_for_an_hour_takes_nothing_that_arrived_meanwhile(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let machine = Machine::at(now());
    let calendar = Calendar::start_on(&layover, &machine);
    machine.set_back(6 * DAY);
    wait_for(&layover, "clock.back");
    log_in(&calendar, &account, protocol)
        .put(b"/meanwhile", b"x")
        .expect("put");
    machine.set_forward(6 * DAY);
    wait_for(&layover, "clock.returned");
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/meanwhile"]);
    let content = log_in(&calendar, &account, protocol).get(b"/meanwhile");
    assert_eq!(content.expect("it is there for its partner, too"), b"x");
    calendar.stop();
}

fn a_weekend_without_the_server_is_no_doubt_and_three_years_are(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let away = 3 * DAY;
    let machine = Machine::at(now().saturating_sub(away));
    let calendar = Calendar::start_on(&layover, &machine);
    log_in(&calendar, &account, protocol)
        .put(b"/file", b"x")
        .expect("put");
    calendar.stop();
    machine.reboot_after(away);
    let calendar = Calendar::start_on(&layover, &machine);
    calendar.sweep();
    assert_eq!(clock(&layover), "trusted");
    calendar.stop();

    machine.reboot_after(3 * 365 * DAY);
    let calendar = Calendar::start_on(&layover, &machine);
    wait_for(&layover, "clock.forward-held");
    calendar.sweep();
    assert_eq!(names_on_disk(&layover), ["/file"]);
    calendar.stop();
}
