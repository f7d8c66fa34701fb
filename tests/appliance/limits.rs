//! Every limit on connections, just below and just above it (G04).

use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use layover_tests::account::PASSWORD;
use layover_tests::content::{MIB, write_file};
use layover_tests::ftps::{Entry, FtpsLogin, Tls};
use layover_tests::ftps_control::{Control, Resumption};
use layover_tests::openssh;
use layover_tests::packet::{Body, open, request};
use layover_tests::sftp::Sftp;
use layover_tests::ssh::{Caller, Ssh};
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Engine, Layover, Protocol, Setup, over_both_protocols};

over_both_protocols!(
    connections_in_all_are_limited_and_a_freed_place_is_used,
    g04_one_address_cannot_take_all_places,
    g04_connections_before_login_are_limited_apart_from_those_after,
    an_idle_session_ends_and_a_busy_one_does_not,
    s07_what_a_dead_upload_left_gives_way_to_the_next_of_its_name,
);

const NEAR: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

fn serve(settings: &[(&str, &str)]) -> (Layover, layover_tests::Account) {
    serve_on(Engine::Sqlite, settings)
}

fn serve_on(engine: Engine, settings: &[(&str, &str)]) -> (Layover, layover_tests::Account) {
    let mut setup = Setup::new(engine);
    for (key, value) in settings {
        setup = setup.set("gate", key, value);
    }
    let layover = setup.prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    (layover, account)
}

/// Connects and waits for the greeting, which must come.
fn greeted(from: IpAddr, layover: &Layover, protocol: Protocol) -> Caller {
    let mut caller = Caller::call(from, protocol.address(layover));
    assert!(caller.is_greeted(), "{from} should have been let in");
    caller
}

fn turned_away(from: IpAddr, layover: &Layover, protocol: Protocol) -> bool {
    !Caller::call(from, protocol.address(layover)).is_greeted()
}

fn wait_for_room(from: IpAddr, layover: &Layover, protocol: Protocol) -> Caller {
    wait::until("a freed place", PATIENCE, || {
        let mut caller = Caller::call(from, protocol.address(layover));
        caller.is_greeted().then_some(caller)
    })
}

fn connections_in_all_are_limited_and_a_freed_place_is_used(protocol: Protocol, engine: Engine) {
    let (layover, _) = serve_on(engine, &[("max_connections", "3")]);
    let mut callers = vec![
        greeted(NEAR, &layover, protocol),
        greeted(OTHER, &layover, protocol),
        greeted(NEAR, &layover, protocol),
    ];
    assert!(
        turned_away(NEAR, &layover, protocol),
        "a fourth connection was let in"
    );
    assert!(
        turned_away(OTHER, &layover, protocol),
        "a fourth connection was let in"
    );
    callers.pop();
    callers.push(wait_for_room(NEAR, &layover, protocol));
    assert!(
        turned_away(NEAR, &layover, protocol),
        "a fourth connection was let in"
    );
}

fn g04_one_address_cannot_take_all_places(protocol: Protocol, engine: Engine) {
    let (layover, _) = serve_on(
        engine,
        &[
            ("max_connections", "100"),
            ("max_connections_per_address", "2"),
        ],
    );
    let mut callers = vec![
        greeted(NEAR, &layover, protocol),
        greeted(NEAR, &layover, protocol),
    ];
    assert!(
        turned_away(NEAR, &layover, protocol),
        "a third connection of one address was let in"
    );
    let _other = greeted(OTHER, &layover, protocol);
    callers.pop();
    wait_for_room(NEAR, &layover, protocol);
}

fn g04_connections_before_login_are_limited_apart_from_those_after(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve_on(engine, &[("max_half_open", "2")]);
    let logged_in = [
        account.partner(&layover, protocol),
        account.partner(&layover, protocol),
    ];
    let mut half_open = vec![
        greeted(NEAR, &layover, protocol),
        greeted(NEAR, &layover, protocol),
    ];
    assert!(
        turned_away(NEAR, &layover, protocol),
        "a third connection before login was let in"
    );
    half_open.pop();
    wait::until("a freed place before login", PATIENCE, || {
        let tried = account.try_partner_at(protocol.address(&layover), protocol);
        tried.ok()
    });
    drop(logged_in);
}

/// G04: a connection that stays silent, one that stays silent after its banner, and one that does
/// not get beyond the key exchange.
#[test]
fn g04_a_connection_that_does_not_log_in_ends_after_the_login_grace() {
    let (layover, account) = serve(&[("login_grace", "\"2s\"")]);
    let limit = Duration::from_secs(10);
    let mut silent = greeted(NEAR, &layover, Protocol::Sftp);
    let mut slow = greeted(NEAR, &layover, Protocol::Sftp);
    assert!(slow.say(b"SSH-2.0-slow\r\n"));
    let lazy = Ssh::connect(layover.sftp_address()).expect("connect");
    let logged_in = account.sftp(&layover);
    assert!(
        silent.ends_within(limit),
        "a silent connection is still there"
    );
    assert!(slow.ends_within(limit), "a slow connection is still there");
    assert!(
        lazy.closed_within(limit),
        "a connection without login is still there"
    );
    assert!(
        !logged_in.connection().is_closed(),
        "the grace ended a session that is logged in"
    );
}

#[test]
fn a_banner_without_end_is_cut() {
    let (layover, _) = serve(&[]);
    let mut caller = greeted(NEAR, &layover, Protocol::Sftp);
    let flood = vec![b'x'; 64 * 1024];
    let ended = (0..1024).any(|_| !caller.say(&flood));
    assert!(
        ended || caller.ends_within(PATIENCE),
        "64 MiB without a line end were taken"
    );
}

/// The longest SSH packet: one as long is waited for, one byte more ends the connection before its
/// content.
#[test]
fn an_ssh_packet_above_the_limit_ends_the_connection() {
    /// 256 KiB of a channel's data, and the fields and the padding around them.
    const LONGEST: u32 = 256 * 1024 + 33;
    let (layover, _) = serve(&[]);
    for (length, is_taken) in [(LONGEST, true), (LONGEST + 1, false), (u32::MAX, false)] {
        let mut caller = greeted(NEAR, &layover, Protocol::Sftp);
        let head = [&b"SSH-2.0-x\r\n"[..], &length.to_be_bytes(), &[4; 16]].concat();
        assert!(caller.say(&head));
        let limit = if is_taken {
            Duration::from_secs(2)
        } else {
            PATIENCE
        };
        assert_eq!(!caller.ends_within(limit), is_taken, "{length}");
    }
}

fn an_idle_session_ends_and_a_busy_one_does_not(protocol: Protocol, engine: Engine) {
    let (layover, account) = serve_on(engine, &[("idle_timeout", "\"3s\"")]);
    let mut idle = account.partner(&layover, protocol);
    let mut busy = account.partner(&layover, protocol);
    let ended = wait::within(Duration::from_secs(20), || {
        busy.names(b"/").expect("the busy session goes on");
        idle.closed_within(Duration::from_millis(50)).then_some(())
    });
    assert!(ended.is_some(), "the idle session is still there");
    busy.put(b"/file", b"content")
        .expect("the busy session goes on");
    wait::until("the idle session to leave the list", PATIENCE, || {
        (layover.rows(&["session", "list"]).len() <= 1).then_some(())
    });
}

/// S07: an upload that stalls holds its place no longer than the stall time.
#[test]
fn s07_a_stalled_upload_ends_and_is_not_published() {
    let (layover, account) = serve(&[("stall_timeout", "\"3s\""), ("idle_timeout", "\"1h\"")]);
    let mut sftp = account.sftp(&layover);
    let handle = sftp
        .open(b"/file", layover_tests::packet::open::FRESH)
        .expect("open");
    sftp.write(&handle, 0, b"half").expect("write");
    assert!(
        sftp.connection().closed_within(Duration::from_secs(20)),
        "still there"
    );
    assert!(
        !layover.homes().join("partner/file").exists(),
        "half a file was published"
    );
}

/// Short enough for a test, long enough for a busy machine to move a byte.
const STALL: (&str, &str) = ("stall_timeout", "\"3s\"");

/// By when a dead client must be gone: the stall time, its granularity, and a busy machine.
const GONE: Duration = Duration::from_secs(20);

fn wait_for_no_session(layover: &Layover) {
    wait::until("the dead session to go", GONE, || {
        layover.rows(&["session", "list"]).is_empty().then_some(())
    });
}

/// What the server has open below `folder`.
fn open_below(layover: &Layover, folder: &Path) -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", layover.pid())).expect("its files");
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .filter(|target| target.starts_with(folder) && target.is_file())
        .collect()
}

/// S07: a client that stands still in the middle of a download, as one does whose machine sleeps:
/// session, place and open file are free after the stall time, and others never notice.
#[test]
fn s07_a_client_that_stops_reading_loses_session_and_open_file() {
    let (layover, account) = serve(&[STALL, ("idle_timeout", "\"1h\"")]);
    let home = layover.homes().join("partner");
    let source = account.client_dir.join("source");
    write_file(&source, 64 * MIB, 5);
    let login = account.by_key(&layover);
    let put = format!("put {} /file\n", source.display());
    openssh::sftp(&login, &[], &put, PATIENCE).expect_ok();
    // So slow that it is stopped long before the end.
    let target = account.client_dir.join("target");
    let get = format!("get /file {}\n", target.display());
    let mut client = openssh::start_sftp(&login, &["-l", "4096"], &get);
    wait::until("the download to begin", PATIENCE, || {
        (!open_below(&layover, &home).is_empty()).then_some(())
    });
    let stopped = i32::try_from(client.id()).ok().and_then(Pid::from_raw);
    let stopped = stopped.expect("a process id");
    kill_process(stopped, Signal::STOP).expect("stop the client");
    assert!(client.alive(), "the client is done already");

    wait_for_no_session(&layover);

    // Whoever computes its checksum may have it open for a while, too.
    wait::until("the file to be closed", GONE, || {
        open_below(&layover, &home).is_empty().then_some(())
    });
    account
        .sftp(&layover)
        .put(b"/other", b"the server is well")
        .expect("put");
    kill_process(stopped, Signal::CONT).expect("let the client see it");
    assert!(
        !client.finish(PATIENCE).ok(),
        "half a file came back as whole"
    );
}

/// S07: a dead upload holds neither its room in the quota nor a hidden file that nobody can resume.
#[test]
fn s07_a_dead_upload_gives_its_room_back() {
    let (layover, account) = serve(&[STALL, ("idle_timeout", "\"1h\"")]);
    layover.admin(&["account", "set", "partner", "--quota", "1MiB"]);
    let hidden = layover.homes().join(".layover/incoming");
    let count = || std::fs::read_dir(&hidden).expect("hidden folder").count();
    let large = vec![7; 900 * 1024];
    let mut dead = account.sftp(&layover);
    let handle = dead.open(b"/dead", open::FRESH).expect("open");
    // Its first byte is missing, so there is nothing to go on from.
    for (index, piece) in large.chunks(32 * 1024).enumerate() {
        let offset = 1 + index as u64 * 32 * 1024;
        dead.write(&handle, offset, piece).expect("write");
    }
    assert_eq!(count(), 1);
    let refused = account.sftp(&layover).put(b"/live", &large);
    refused.expect_err("the room is taken while the upload lives");

    assert!(dead.connection().closed_within(GONE), "still there");
    wait_for_no_session(&layover);

    assert_eq!(count(), 0, "a hidden file stays");
    account
        .sftp(&layover)
        .put(b"/live", &large)
        .expect("room again");
}

/// S07: what arrived without a gap stays for its account, and gives way to a new upload of the name.
fn s07_what_a_dead_upload_left_gives_way_to_the_next_of_its_name(
    protocol: Protocol,
    engine: Engine,
) {
    let (layover, account) = serve_on(engine, &[STALL, ("idle_timeout", "\"1h\"")]);
    layover.admin(&["account", "set", "partner", "--quota", "1MiB"]);
    let large = vec![7; 900 * 1024];
    let mut dead = account.partner(&layover, protocol);
    dead.begin_upload(b"/file", &large).expect("begin");
    // Over FTPS the transfer ends, and its session may go on.
    let mut partner = account.partner(&layover, protocol);
    wait::until("the partial", GONE, || {
        (partner.size(b"/file").ok()? == large.len() as u64).then_some(())
    });
    wait::until("room for the next", GONE, || {
        partner.put(b"/file", &large).ok()
    });
    assert_eq!(partner.get(b"/file").expect("get"), large);
    drop(dead);
}

/// The tries on one connection are few, so that guessing costs connections.
#[test]
fn a_connection_has_few_tries() {
    let (layover, _) = serve(&[("ban_score", "1000000")]);
    let mut ssh = Ssh::connect(layover.sftp_address()).expect("connect");
    let tries = (1..=20).find(|_| {
        matches!(
            ssh.password("partner", "wrong"),
            layover_tests::ssh::Verdict::Closed(_)
        )
    });
    assert!(
        tries.is_some_and(|tries| tries <= 11),
        "20 tries on one connection"
    );
}

/// S07: whoever asks for much and goes without reading it leaves nothing behind, though the stall
/// time is long: queued replies are memory, and a place in the limits is not.
#[test]
fn s07_a_client_that_goes_without_its_replies_is_gone_at_once() {
    const READS: u64 = 60;
    let (layover, account) = serve(&[("stall_timeout", "\"1h\""), ("max_connections", "1000")]);
    let mut sftp = account.sftp(&layover);
    let content = vec![7; 16 * usize::try_from(MIB).expect("a size")];
    sftp.put(b"/file", &content).expect("put");
    let ask = |sftp: &mut Sftp| {
        let handle = sftp.open(b"/file", open::READ).expect("open");
        for at in 0..READS {
            let body = Body::new().string(&handle.0).u64(at << 18).u32(1 << 18);
            sftp.send(request::READ, &body);
        }
    };
    for _ in 0..4 {
        let mut deaf = account.sftp(&layover);
        ask(&mut deaf);
        drop(deaf);
        let mut closes = account.sftp(&layover);
        ask(&mut closes);
        closes.close_channel();
    }
    drop(sftp);
    wait_for_no_session(&layover);
}

/// S07: and an operator ends it as any other.
#[test]
fn s07_a_client_that_reads_nothing_is_ended_by_an_operator() {
    let (layover, account) = serve(&[("stall_timeout", "\"1h\"")]);
    let mut sftp = account.sftp(&layover);
    let content = vec![7; 16 * usize::try_from(MIB).expect("a size")];
    sftp.put(b"/file", &content).expect("put");
    let handle = sftp.open(b"/file", open::READ).expect("open");
    for at in 0..60_u64 {
        let body = Body::new().string(&handle.0).u64(at << 18).u32(1 << 18);
        sftp.send(request::READ, &body);
    }
    layover.run(&["account", "disable", "partner"]).expect_ok();
    wait_for_no_session(&layover);
    drop(sftp);
}

/// How often the log has this text.
fn told(layover: &Layover, text: &str) -> usize {
    layover.log().matches(text).count()
}

/// While there is no descriptor for a connection it waits in the kernel's queue, and the server
/// neither spins nor fills its log.
#[test]
fn a_want_of_descriptors_is_waited_out() {
    const FAILED: &str = "connections cannot be accepted";
    let (layover, account) = serve(&[]);
    let pid = i32::try_from(layover.pid()).ok().and_then(Pid::from_raw);
    let limit_to = |limit| prlimit(pid, Resource::Nofile, limit).expect("set the limit");
    let maximum = getrlimit(Resource::Nofile).maximum;
    // Below every descriptor that is open: none is free under it. The server's
    // own limit is as high as ours can be.
    let before = limit_to(Rlimit {
        current: Some(3),
        maximum,
    });
    let mut sftp = Caller::call(NEAR, layover.sftp_address());
    let ftps = TcpStream::connect(layover.ftps_address(Entry::Explicit)).expect("the kernel's");
    wait::until("both listeners to fail", PATIENCE, || {
        (told(&layover, FAILED) >= 2).then_some(())
    });
    limit_to(before);
    assert!(sftp.is_greeted(), "it waited and is served");
    ftps.set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let mut greeting = String::new();
    BufReader::new(ftps)
        .read_line(&mut greeting)
        .expect("a greeting");
    assert!(greeting.starts_with("220"), "{greeting}");
    account
        .sftp(&layover)
        .put(b"/file", b"content")
        .expect("put");
    // Once per listener, and again after ten seconds at the earliest.
    let count = told(&layover, FAILED);
    assert!(count <= 16, "told {count} times");
}

#[test]
fn a_data_port_without_a_free_descriptor_is_told_and_there_again_when_there_is_one() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Implicit,
    };
    let mut control = Control::log_in(&login, Tls::V13, Resumption::Yes);
    let pid = i32::try_from(layover.pid()).ok().and_then(Pid::from_raw);
    let usual = prlimit(pid, Resource::Nofile, no_descriptors()).expect("set a limit");
    for ask in ["EPSV", "PASV"] {
        let reply = control.ask(ask);
        assert_eq!(reply.code, 425, "{ask}: {}", reply.text);
        assert!(reply.text.contains("too many files"), "{}", reply.text);
    }
    prlimit(pid, Resource::Nofile, usual).expect("take the limit away");
    let mut data = control.begin("EPSV", "STOR file");
    data.send(b"content");
    data.finish();
    let reply = control.reply();
    assert_eq!(reply.code, 226, "{}", reply.text);
}

/// A process that may open nothing more: it has more than these already.
fn no_descriptors() -> Rlimit {
    Rlimit {
        current: Some(3),
        maximum: getrlimit(Resource::Nofile).maximum,
    }
}
