//! The same transfer, again and again, although it cannot succeed: each refusal waits longer,
//! and nobody else does.

use std::net::IpAddr;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::ftps::Entry;
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::packet::{Body, open, request};
use layover_tests::partner::Why;
use layover_tests::ssh::Ssh;
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, over_both_protocols};
use serde_json::Value;

over_both_protocols!(
    Sqlite:
    what_is_repeated_in_vain_waits_also_after_a_reconnect_and_the_doctor_names_it,
    a_name_that_no_file_may_have_waits_like_any_other_refusal,
    an_upload_that_uses_the_quota_up_again_and_again_is_refused_before_it_begins,
    who_comes_from_another_address_does_not_wait,
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
    // The account is read-only: that is ours.
    assert_eq!(found["side"], "ours", "{found:#}");
    let what_to_do = found["what_to_do"].as_str().expect("a text");
    assert!(
        what_to_do.contains("layover account permission set partner"),
        "{what_to_do}"
    );
    // Each is in the journal, whether it waited or not.
    let entries = layover.rows(&["journal", "--kind", "transfer"]);
    let is_refused = |entry: &&Value| entry["outcome"] == "refused";
    assert_eq!(entries.iter().filter(is_refused).count(), AT_ONCE + 2);
}

/// It never becomes a path, and is counted and journalled all the same.
fn a_name_that_no_file_may_have_waits_like_any_other_refusal(protocol: Protocol) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let refused = || {
        let mut partner = account.partner(&layover, protocol);
        let since = Timer::start();
        let refused = partner.put(b"/in\x07.csv", b"content").expect_err("a bell");
        assert!(refused.words.contains("control byte"), "{refused:?}");
        since.elapsed()
    };
    for _ in 0..AT_ONCE {
        refused();
    }
    assert!(refused() >= FIRST_DELAY);
    assert!(refused() >= FIRST_DELAY * 2);
    wait::until("the doctor to name it", PATIENCE, || {
        let found = layover.json(&["doctor", "account", "partner"]);
        let told = found["verdict"]["told"][0].as_str().unwrap_or_default();
        let repeats = found["verdict"]["sign"] == "repeats";
        (repeats && told.contains("upload of /in\\x07.csv: ")).then_some(())
    });
    let entries = wait::until("the journal", PATIENCE, || {
        let entries = layover.rows(&["journal", "--kind", "transfer"]);
        (entries.len() == AT_ONCE + 2).then_some(entries)
    });
    for entry in &entries {
        assert_eq!(entry["action"], "upload", "{entry}");
        assert_eq!(entry["outcome"], "refused", "{entry}");
        assert_eq!(entry["detail"]["why"], "bad-path", "{entry}");
        assert_eq!(entry["detail"]["name"], "/in\\x07.csv", "{entry}");
    }
}

/// What is more than the quota is known only when it has been sent: again and again it would
/// cost the line and the disk of everybody.
fn an_upload_that_uses_the_quota_up_again_and_again_is_refused_before_it_begins(
    protocol: Protocol,
) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--quota", "64KiB"]).add();
    layover.start();
    let large = vec![7; 96 << 10];
    for _ in 0..AT_ONCE {
        let mut partner = account.partner(&layover, protocol);
        partner.begin_upload(b"/large", b"begun").expect("begin");
        let refused = partner.finish_upload(&large).expect_err("too much");
        assert_eq!(refused.why, Why::NoRoom, "{refused:?}");
        drop(partner);
        // What is kept of it until then takes room.
        wait::until("the session to end", PATIENCE, || {
            layover.rows(&["session", "list"]).is_empty().then_some(())
        });
    }
    let mut partner = account.partner(&layover, protocol);
    // A machine that is so busy that the pause is over by now lets it in once more, and the next
    // pause is twice as long.
    let (refused, waited) = (0..6)
        .find_map(|_| {
            let since = Timer::start();
            let Err(refused) = partner.begin_upload(b"/large", b"begun") else {
                partner.finish_upload(&large).expect_err("too much");
                return None;
            };
            Some((refused, since.elapsed()))
        })
        .expect("it is known by now");
    assert_eq!(refused.why, Why::NoRoom, "{refused:?}");
    assert!(waited >= FIRST_DELAY, "{waited:?}");
    let found = wait::until("the doctor to name it", PATIENCE, || {
        let found = layover.json(&["doctor", "account", "partner"]);
        (found["verdict"]["sign"] == "repeats").then(|| found["verdict"].clone())
    });
    let told = found["told"][0].as_str().expect("what is repeated");
    assert!(told.starts_with("upload of /large: quota"), "{told}");
    // More room, and it is worth a try.
    layover.admin(&["account", "set", "partner", "--quota", "1MiB"]);
    wait::until("the upload to be taken", PATIENCE, || {
        partner.put(b"/large", &large).ok()
    });
}

/// One script that is out of order must not delay a person at another place.
fn who_comes_from_another_address_does_not_wait(protocol: Protocol) {
    let (layover, account) = serve();
    let refused = |from: [u8; 4]| {
        let from = IpAddr::from(from);
        match protocol {
            Protocol::Sftp => {
                let mut ssh = Ssh::connect_from(from, layover.sftp_address()).expect("connect");
                ssh.key(&account.name, &account.key).expect_accepted();
                let mut sftp = ssh.sftp().expect("a channel");
                let since = Timer::start();
                sftp.open(b"/in.csv", open::FRESH).expect_err("read-only");
                since.elapsed()
            }
            Protocol::Ftps => {
                let way = Way {
                    from,
                    ..Way::default()
                };
                let server = layover.ftps_address(way.entry);
                let mut ftps = Ftps::connect(server, way).expect("connect");
                let logged_in = ftps.log_in(&account.name, PASSWORD).expect("log in");
                assert!(logged_in.is_good(), "{logged_in:?}");
                ftps.passive().expect("a port");
                let since = Timer::start();
                let reply = ftps.ask("STOR /in.csv").expect("a reply");
                assert_eq!(reply.code, 550, "{}", reply.words());
                since.elapsed()
            }
        }
    };
    for _ in 0..AT_ONCE + 3 {
        refused([127, 0, 0, 1]);
    }
    // The next one from there waits for so long; far longer than a busy machine needs.
    let next = FIRST_DELAY * 8;
    let elsewhere = refused([127, 0, 0, 2]);
    assert!(elsewhere < next, "{elsewhere:?}");
    assert!(refused([127, 0, 0, 1]) >= next);
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
