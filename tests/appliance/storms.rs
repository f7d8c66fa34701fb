//! The same transfer, again and again, although it cannot succeed: each refusal waits longer,
//! and nobody else does.

use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::packet::{Body, open, request};
use layover_tests::partner::Why;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};
use serde_json::Value;

over_both_protocols!(
    Sqlite:
    what_is_repeated_in_vain_waits_also_after_a_reconnect_and_the_doctor_names_it,
);

/// Refusals that are given at once.
const AT_ONCE: usize = 3;

/// How long the next one waits.
const FIRST_DELAY: Duration = Duration::from_secs(1);

fn serve() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--read-only"]).add();
    layover.start();
    (layover, account)
}

fn what_is_repeated_in_vain_waits_also_after_a_reconnect_and_the_doctor_names_it(
    protocol: Protocol,
) {
    let (layover, account) = serve();
    let refused = || {
        let mut partner = account.partner(&layover, protocol);
        let since = Timer::start();
        let refused = partner.put(b"/in.csv", b"content").expect_err("read-only");
        assert_eq!(refused.why, Why::Denied, "{refused:?}");
        since.elapsed()
    };
    for _ in 0..AT_ONCE {
        refused();
    }
    assert!(refused() >= FIRST_DELAY);
    assert!(refused() >= FIRST_DELAY * 2);
    let found = wait::until("the doctor to name it", PATIENCE, || {
        let found = layover.json(&["doctor", "account", "partner"]);
        (found["verdict"]["sign"] == "repeats").then(|| found["verdict"].clone())
    });
    let told = found["told"][0].as_str().expect("what is repeated");
    assert!(told.starts_with("upload of /in.csv: "), "{told}");
    assert!(told.contains("may not write"), "{told}");
    // Each is in the journal, whether it waited or not.
    let entries = layover.rows(&["journal", "--kind", "transfer"]);
    let is_refused = |entry: &&Value| entry["outcome"] == "refused";
    assert_eq!(entries.iter().filter(is_refused).count(), AT_ONCE + 2);
}

#[test]
fn nothing_else_waits_on_the_same_sftp_channel() {
    let (layover, account) = serve();
    let mut sftp = account.sftp(&layover);
    let write = Body::new()
        .string(b"/in.csv")
        .u32(open::WRITE | open::CREAT | open::TRUNC)
        .no_attrs();
    // The last of them waits for half a minute.
    let opens: Vec<_> = (0..9).map(|_| sftp.send(request::OPEN, &write)).collect();
    let stat = sftp.send(request::STAT, &Body::new().string(b"/"));
    let mut before = Vec::new();
    loop {
        let answer = sftp.receive_any().expect("an answer");
        if answer.id == stat {
            break;
        }
        before.push(answer.id);
    }
    assert!(before.starts_with(&opens[..AT_ONCE]), "{before:?}");
    assert!(!before.contains(&opens[8]), "{before:?}");
    // Nor is the connection's end held up by them.
    drop(sftp);
    wait::until("the session to end", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
}

#[test]
fn abor_is_heard_while_a_refusal_waits() {
    let (layover, account) = serve();
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, Way::default()).expect("connect");
    let password = account.password.as_deref().expect("a password");
    assert!(
        ftps.log_in(&account.name, password)
            .expect("log in")
            .is_good()
    );
    let since = Timer::start();
    // Waited for, these are three minutes.
    for _ in 0..12 {
        ftps.passive().expect("a port");
        ftps.send("STOR /in.csv").expect("send");
        ftps.send("ABOR").expect("send");
        assert_eq!(ftps.reply().expect("a reply").code, 550);
        assert_eq!(ftps.reply().expect("a reply").code, 226);
    }
    assert!(since.elapsed() < PATIENCE, "{:?}", since.elapsed());
}
