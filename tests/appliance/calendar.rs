//! Retention over days: an appliance whose clock the test moves.

use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::calendar::Calendar;
use layover_tests::partner::{Partner, Why};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

fn monday() -> Timestamp {
    "2026-03-02T09:00:00Z".parse().expect("a time")
}

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

over_both_protocols!(
    a_file_renamed_on_day_four_still_expires_on_day_five,
    what_fell_due_during_ten_days_of_downtime_goes_at_the_start,
    an_interrupted_upload_can_be_resumed_for_a_day_and_no_longer,
    a_clock_set_back_deletes_nothing_and_a_file_arriving_then_lives_its_time,
);

fn a_file_renamed_on_day_four_still_expires_on_day_five(protocol: Protocol, engine: Engine) {
    let (layover, account) = prepare(engine);
    let calendar = Calendar::start(&layover, monday());
    log_in(&calendar, &account, protocol)
        .put(b"/file", b"from day one")
        .expect("put");
    calendar.advance(4 * DAY);
    let mut partner = log_in(&calendar, &account, protocol);
    partner
        .rename(b"/file", b"/renamed")
        .expect("rename on day four");
    partner
        .put(b"/file", b"from day four")
        .expect("put under the old name");
    calendar.advance(DAY - SECOND);
    assert_eq!(
        names_on_disk(&layover),
        ["/file", "/renamed"],
        "a second before"
    );
    let mut partner = log_in(&calendar, &account, protocol);
    assert_eq!(
        partner.get(b"/renamed").expect("get a second before"),
        b"from day one"
    );
    calendar.advance(SECOND);
    assert_eq!(names_on_disk(&layover), ["/file"], "on the second");
    let mut partner = log_in(&calendar, &account, protocol);
    let gone = partner.get(b"/renamed").expect_err("expired");
    assert_eq!(gone.why, Why::NotFound);
    assert_eq!(
        partner.get(b"/file").expect("get the neighbour"),
        b"from day four"
    );
    calendar.advance(4 * DAY - SECOND);
    assert_eq!(names_on_disk(&layover), ["/file"]);
    calendar.advance(SECOND);
    assert!(names_on_disk(&layover).is_empty());
    calendar.stop();
}

fn what_fell_due_during_ten_days_of_downtime_goes_at_the_start(protocol: Protocol, engine: Engine) {
    let (layover, account) = prepare(engine);
    let calendar = Calendar::start(&layover, monday());
    let mut partner = log_in(&calendar, &account, protocol);
    for index in 0..20 {
        partner
            .put(format!("/old-{index}").as_bytes(), b"content")
            .expect("put");
    }
    drop(partner);
    calendar.stop();
    assert_eq!(names_on_disk(&layover).len(), 20);
    let calendar = Calendar::start(&layover, monday().saturating_add(10 * DAY));
    // Nothing moves the clock: the first sweep must find what no tick announced.
    wait::until("the old files to go", PATIENCE, || {
        names_on_disk(&layover).is_empty().then_some(())
    });
    log_in(&calendar, &account, protocol)
        .put(b"/new", b"content")
        .expect("put");
    calendar.advance(HOUR);
    assert_eq!(names_on_disk(&layover), ["/new"]);
    calendar.stop();
}

fn an_interrupted_upload_can_be_resumed_for_a_day_and_no_longer(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let calendar = Calendar::start(&layover, monday());
    let mut partner = log_in(&calendar, &account, protocol);
    partner.begin_upload(b"/file", b"half").expect("begin");
    drop(partner);
    let size = |calendar: &Calendar| log_in(calendar, &account, protocol).size(b"/file").ok();
    wait::until("the partial to be kept", PATIENCE, || {
        (size(&calendar) == Some(4)).then_some(())
    });
    calendar.advance(DAY - 60 * SECOND);
    assert_eq!(size(&calendar), Some(4), "a minute before");
    calendar.advance(120 * SECOND);
    wait::until("the partial to go", PATIENCE, || {
        size(&calendar).is_none().then_some(())
    });
    calendar.stop();
}

fn a_clock_set_back_deletes_nothing_and_a_file_arriving_then_lives_its_time(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = prepare(engine);
    let calendar = Calendar::start(&layover, monday().saturating_add(3 * DAY));
    log_in(&calendar, &account, protocol)
        .put(b"/file", b"content")
        .expect("put");
    calendar.stop();
    let calendar = Calendar::start(&layover, monday());
    log_in(&calendar, &account, protocol)
        .put(b"/earlier", b"content")
        .expect("put");
    calendar.advance(5 * DAY);
    assert_eq!(
        names_on_disk(&layover),
        ["/file"],
        "each by its own arrival"
    );
    calendar.advance(3 * DAY);
    assert!(names_on_disk(&layover).is_empty());
    calendar.stop();
}
