//! How fast an account's files move, and what its limit leaves alone.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use layover_tests::account::PASSWORD;
use layover_tests::content::{Dice, MIB};
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::ftps::{Entry, FtpsLogin};
use layover_tests::ftps_control::{Control, Resumption};
use layover_tests::openssh;
use layover_tests::packet::{Body, open, reply, request};
use layover_tests::sftp::{HandleName, Sftp};
use layover_tests::wait::{self, PATIENCE, Timer};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, http, over_both_protocols};

over_both_protocols!(
    files_move_no_faster_than_their_account_may,
    a_rate_that_is_taken_away_counts_for_what_runs,
    killing_a_session_ends_what_is_held_back,
);

over_both_protocols!(Sqlite: what_is_held_back_has_not_stalled, a_neighbour_is_not_slowed);

/// The slowest that an account may be made.
const SLOW: &str = "16KiB";

/// What takes four minutes at [`SLOW`].
const MUCH: usize = 4 * MIB as usize;

/// Far below that, and far above what a busy machine needs for it at once.
const AT_ONCE: Duration = Duration::from_secs(30);

fn serve(engine: Engine, rate: &str, settings: &[(&str, &str, &str)]) -> (Layover, Account) {
    let mut setup = Setup::new(engine);
    for (section, key, value) in settings {
        setup = setup.set(section, key, value);
    }
    let layover = setup.prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan
        .with(&["--upload-rate", rate, "--download-rate", rate])
        .add();
    layover.start();
    (layover, account)
}

fn noise(size: usize) -> Vec<u8> {
    Dice::seeded(7).bytes(size)
}

/// Puts a file into the home without the server's doing.
fn stored(layover: &Layover, account: &Account, protocol: Protocol, content: &[u8]) {
    let limit = ["account", "set", "partner", "--upload-rate", "none"];
    layover.admin(&limit);
    let mut partner = account.partner(layover, protocol);
    partner.put(b"/stored", content).expect("put");
}

/// Waits until `session list` tells of a file that moves; the session's id.
fn moving(layover: &Layover) -> String {
    wait::until("a transfer to be told", PATIENCE, || {
        let listed = layover.rows(&["session", "list"]);
        let moving = listed
            .iter()
            .find(|session| session["moving"][0]["moved_bytes"].as_u64() > Some(0));
        moving.map(|session| session["id"].as_str().expect("an id").to_owned())
    })
}

fn files_move_no_faster_than_their_account_may(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine, "512KiB/s", &[]);
    let content = noise(2 * MIB as usize);
    // An eighth of a second may be saved up, and the last piece of 32 KiB be owed at the end.
    let least = Duration::from_millis(3_500);
    let mut partner = account.partner(&layover, protocol);
    let timer = Timer::start();
    partner.put(b"/file", &content).expect("put");
    let up = timer.elapsed();
    let timer = Timer::start();
    let got = partner.get(b"/file").expect("get");
    let down = timer.elapsed();
    assert!(got == content, "another content came back");
    for (way, took) in [("up", up), ("down", down)] {
        assert!((least..PATIENCE).contains(&took), "{way}: {took:?}");
    }
    let shown = layover.json(&["account", "show", "partner"]);
    for key in ["upload_bytes_per_s", "download_bytes_per_s"] {
        assert_eq!(shown[key], 512 * 1024, "{shown}");
    }
}

/// Clients of others', with all of their requests under way: half of the content goes by two at once.
#[test]
fn two_transfers_of_a_real_client_share_their_accounts_rate() {
    let (layover, account) = serve(Engine::Sqlite, "512KiB", &[]);
    let login = account.by_key(&layover);
    let local = layover.scratch().join("local");
    std::fs::write(&local, noise(MIB as usize)).expect("write");
    let put = |name: &str| {
        let commands = format!("put {} {name}\n", local.display());
        openssh::start_sftp(&login, &[], &commands)
    };
    let timer = Timer::start();
    let both = [put("one"), put("two")];
    for one in both {
        one.finish(PATIENCE).expect_ok();
    }
    // Up to 256 KiB of each may be owed at the end.
    let least = Duration::from_millis(2_750);
    assert!(timer.elapsed() >= least, "up: {:?}", timer.elapsed());
    let back = layover.scratch().join("back");
    let timer = Timer::start();
    let get = format!("get one {}\n", back.display());
    openssh::sftp(&login, &[], &get, PATIENCE).expect_ok();
    assert!(timer.elapsed() >= Duration::from_millis(1_250));
    assert_eq!(std::fs::read(&back).expect("read"), noise(MIB as usize));
}

#[test]
fn a_real_client_keeps_to_its_rate_over_ftps() {
    let (layover, account) = serve(Engine::Sqlite, "512KiB", &[]);
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let local = layover.scratch().join("local");
    std::fs::write(&local, noise(2 * MIB as usize)).expect("write");
    let timer = Timer::start();
    let upload = ["--upload-file", local.to_str().expect("a path")];
    login.curl(&upload, "/file", PATIENCE).expect_ok();
    let up = timer.elapsed();
    let back = layover.scratch().join("back");
    let timer = Timer::start();
    let download = ["--output", back.to_str().expect("a path")];
    login.curl(&download, "/file", PATIENCE).expect_ok();
    for took in [up, timer.elapsed()] {
        assert!(took >= Duration::from_millis(3_500), "{took:?}");
    }
    assert_eq!(std::fs::read(&back).expect("read"), noise(2 * MIB as usize));
}

fn a_rate_that_is_taken_away_counts_for_what_runs(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine, SLOW, &[]);
    let content = noise(MUCH);
    stored(&layover, &account, protocol, &content);
    layover.admin(&["account", "set", "partner", "--upload-rate", SLOW]);
    let (mut up, mut down) = (
        account.partner(&layover, protocol),
        account.partner(&layover, protocol),
    );
    thread::scope(|scope| {
        let up = scope.spawn(|| up.put(b"/file", &content));
        let down = scope.spawn(|| down.get(b"/stored"));
        moving(&layover);
        let both = ["--upload-rate", "none", "--download-rate", "none"];
        layover.admin(&[&["account", "set", "partner"], &both[..]].concat());
        let timer = Timer::start();
        up.join().expect("the thread").expect("put");
        let got = down.join().expect("the thread").expect("get");
        assert!(got == content, "another content came");
        assert!(timer.elapsed() < AT_ONCE, "{:?}", timer.elapsed());
    });
    let told = layover.admin(&["journal", "--kind", "admin", "-n", "1"]);
    assert!(told.stdout.contains("download_bytes_per_s"), "{told}");
}

fn killing_a_session_ends_what_is_held_back(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve(engine, SLOW, &[]);
    let content = noise(MUCH);
    stored(&layover, &account, protocol, &content);
    layover.admin(&["account", "set", "partner", "--upload-rate", SLOW]);
    for way in ["up", "down"] {
        let mut partner = account.partner(&layover, protocol);
        thread::scope(|scope| {
            let moved = scope.spawn(|| match way {
                "up" => partner.put(b"/file", &content).map(drop),
                _ => partner.get(b"/stored").map(drop),
            });
            let id = moving(&layover);
            layover.admin(&["session", "kill", &id]);
            let timer = Timer::start();
            let ended = moved.join();
            assert!(timer.elapsed() < AT_ONCE, "{way}: {:?}", timer.elapsed());
            // The FTPS client has no word for a download that is cut.
            let is_whole = ended.is_ok_and(|outcome| outcome.is_ok());
            assert!(!is_whole, "{way}: the transfer went on");
        });
        wait::until("the session to leave", PATIENCE, || {
            layover.rows(&["session", "list"]).is_empty().then_some(())
        });
    }
    assert!(!layover.homes().join("partner/file").exists());
}

fn what_is_held_back_has_not_stalled(protocol: Protocol) {
    let stall = [("gate", "stall_timeout", "\"2s\"")];
    let (layover, account) = serve(Engine::Sqlite, SLOW, &stall);
    // One piece of it takes longer than that.
    let content = noise(256 * 1024);
    let mut partner = account.partner(&layover, protocol);
    let timer = Timer::start();
    partner.put(b"/file", &content).expect("put");
    assert!(timer.elapsed() >= Duration::from_secs(12));
    assert!(partner.get(b"/file").expect("get") == content);
}

fn a_neighbour_is_not_slowed(protocol: Protocol) {
    let (layover, account) = serve(Engine::Sqlite, SLOW, &[]);
    let neighbour = layover.account("neighbour").password(PASSWORD).add();
    let content = noise(MUCH);
    let mut slow = account.partner(&layover, protocol);
    thread::scope(|scope| {
        let slow = scope.spawn(|| slow.put(b"/file", &content));
        let id = moving(&layover);
        let mut quick = neighbour.partner(&layover, protocol);
        let timer = Timer::start();
        quick.put(b"/file", &content).expect("put");
        assert!(quick.get(b"/file").expect("get") == content);
        assert!(timer.elapsed() < AT_ONCE, "{:?}", timer.elapsed());
        layover.admin(&["session", "kill", &id]);
        assert!(slow.join().expect("the thread").is_err(), "it was not slow");
    });
}

over_both_protocols!(
    Sqlite:
    beginning_anew_and_breaking_off_takes_no_more_than_the_limit,
    connecting_anew_takes_no_more_than_the_limit,
);

/// How long somebody tries to get more than its share.
const ATTACK: Duration = Duration::from_secs(6);

/// What a try sends: two seconds' worth.
const TRY_BYTES: usize = 64 * 1024;

/// As long as it takes for what was sent to be there; who breaks off at once gets nothing.
const TRY_LASTS: Duration = Duration::from_millis(30);

/// The most that may be owed at a time: one piece, as the record layer hands it over.
const BURST_BYTES: f64 = 256.0 * 1024.0;

/// Tries again and again, and compares what was taken with the time that it took.
fn attack(protocol: Protocol, mut again: impl FnMut(&Layover, &Account)) {
    const RATE: f64 = 32.0 * 1024.0;
    let (layover, account) = serve(Engine::Sqlite, "32KiB", &[]);
    let timer = Timer::start();
    let mut tries = 0;
    while timer.elapsed() < ATTACK {
        again(&layover, &account);
        tries += 1;
    }
    drop(again);
    wait::until("the sessions to end", PATIENCE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
    let answer = http::get(layover.console_address(), "/metrics");
    let took = timer.elapsed();
    let samples = http::parse_metrics(&answer.body);
    let is_of_uploads = |labels: &BTreeMap<String, String>| {
        labels["protocol"] == protocol.name() && labels["direction"] == "upload"
    };
    let mut counts = samples.iter();
    let taken = counts.find(|((name, labels), _)| {
        name == "layover_transfer_bytes_total" && is_of_uploads(labels)
    });
    let (_, taken) = taken.expect("bytes of uploads");
    let most = RATE * took.as_secs_f64() + BURST_BYTES;
    assert!(*taken > 0.0, "nothing was taken in {tries} tries");
    assert!(
        *taken <= most,
        "{taken} bytes in {tries} tries and {took:?}: at most {most}"
    );
}

/// Sends what a try sends, and goes without a word about its end.
fn try_anew(layover: &Layover, account: &Account, protocol: Protocol) {
    let content = noise(TRY_BYTES);
    match protocol {
        Protocol::Sftp => {
            let mut sftp = account.sftp(layover);
            let handle = sftp.open(b"/file", open::FRESH).expect("open");
            send_writes(&mut sftp, &handle, &content);
            wait::let_pass(TRY_LASTS);
        }
        Protocol::Ftps => {
            let mut ftps = logged_in(layover, account);
            let mut data = ftps.begin("STOR /file").expect("begin");
            data.send(&content);
            wait::let_pass(TRY_LASTS);
        }
    }
}

fn logged_in(layover: &Layover, account: &Account) -> Ftps {
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, Way::default()).expect("connect");
    let reply = ftps.log_in(&account.name, PASSWORD).expect("log in");
    assert!(reply.is_good(), "{reply:?}");
    ftps
}

/// Without waiting for an answer; the ids of the requests.
fn send_writes(sftp: &mut Sftp, handle: &HandleName, content: &[u8]) -> Vec<u32> {
    let pieces = content.chunks(32 * 1024).enumerate();
    let sent = pieces.map(|(index, piece)| {
        let at = (index * 32 * 1024) as u64;
        let write = Body::new().string(&handle.0).u64(at).string(piece);
        sftp.send(request::WRITE, &write)
    });
    sent.collect()
}

fn beginning_anew_and_breaking_off_takes_no_more_than_the_limit(protocol: Protocol) {
    let content = noise(TRY_BYTES);
    let mut ftps = None;
    let mut sftp = None;
    attack(protocol, move |layover, account| match protocol {
        Protocol::Sftp => {
            let sftp = sftp.get_or_insert_with(|| account.sftp(layover));
            let handle = sftp.open(b"/file", open::FRESH).expect("open");
            let sent = send_writes(sftp, &handle, &content);
            // The first is there; the others are left to themselves.
            sftp.receive(sent[0]).expect("an answer");
            sftp.send(request::CLOSE, &Body::new().string(&handle.0));
        }
        Protocol::Ftps => {
            let ftps = ftps.get_or_insert_with(|| logged_in(layover, account));
            let mut data = ftps.begin("STOR /file").expect("begin");
            data.send(&content);
            wait::let_pass(TRY_LASTS);
            ftps.send("ABOR").expect("send");
            let codes = [(); 2].map(|()| ftps.reply().expect("a reply").code);
            assert_eq!(codes, [426, 226]);
        }
    });
}

fn connecting_anew_takes_no_more_than_the_limit(protocol: Protocol) {
    attack(protocol, |layover, account| {
        try_anew(layover, account, protocol);
    });
}

/// RFC 959 s.4.1.3: the control connection is heard while a transfer is held back.
#[test]
fn abor_is_answered_while_a_transfer_is_held_back() {
    let (layover, account) = serve(Engine::Sqlite, SLOW, &[]);
    let content = noise(MUCH);
    stored(&layover, &account, Protocol::Ftps, &content);
    layover.admin(&["account", "set", "partner", "--upload-rate", SLOW]);
    for line in ["STOR /file", "RETR /stored"] {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry: Entry::Explicit,
        };
        let tls = layover_tests::ftps::Tls::V13;
        let mut control = Control::log_in(&login, tls, Resumption::Yes);
        let mut data = control.begin("EPSV", line);
        if line.starts_with("STOR") {
            data.send(&content[..512 * 1024]);
        }
        wait::until("the transfer to begin", PATIENCE, || {
            let so_far = control.ask("STAT");
            assert_eq!(so_far.code, 213, "{so_far:?}");
            (!so_far.text.contains(": 0 bytes so far")).then_some(())
        });
        let timer = Timer::start();
        control.send(b"ABOR\r\n");
        assert_eq!(control.reply().code, 426, "{line}");
        assert_eq!(control.reply().code, 226, "{line}");
        assert!(timer.elapsed() < AT_ONCE, "{line}: {:?}", timer.elapsed());
    }
}

/// A file that is held back keeps nothing else of its channel waiting, in neither direction.
#[test]
fn other_requests_are_answered_while_a_file_is_held_back() {
    let (layover, account) = serve(Engine::Sqlite, SLOW, &[]);
    stored(&layover, &account, Protocol::Sftp, &noise(MUCH));
    layover.admin(&["account", "set", "partner", "--upload-rate", SLOW]);
    let mut sftp = account.sftp(&layover);
    let piece = noise(32 * 1024);
    let up = sftp.open(b"/file", open::FRESH).expect("open");
    let down = sftp.open(b"/stored", open::READ).expect("open");
    // Four seconds for each direction.
    let mut held_back = Vec::new();
    for index in 0..4 {
        let at = index * piece.len() as u64;
        let write = Body::new().string(&up.0).u64(at).string(&piece);
        held_back.push(sftp.send(request::WRITE, &write));
        let read = Body::new().string(&down.0).u64(at).u32(32 * 1024);
        held_back.push(sftp.send(request::READ, &read));
    }
    let stat = sftp.send(request::STAT, &Body::new().string(b"/stored"));
    let mut before = Vec::new();
    loop {
        let answer = sftp.receive_any().expect("an answer");
        if answer.id == stat {
            assert_eq!(answer.kind, reply::ATTRS);
            break;
        }
        before.push(answer.id);
    }
    assert!(
        before.len() < held_back.len(),
        "STAT waited for all of {before:?}"
    );
    for id in held_back.into_iter().filter(|id| !before.contains(id)) {
        let answer = sftp.receive(id).expect("an answer");
        assert!([reply::STATUS, reply::DATA].contains(&answer.kind));
    }
    sftp.close(&up).expect("close");
    sftp.close(&down).expect("close");
    assert_eq!(
        sftp.stat(b"/file").expect("stat").size_bytes,
        Some(4 * 32 * 1024)
    );
}
