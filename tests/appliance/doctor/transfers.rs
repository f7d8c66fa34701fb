//! Data connections that are not made, and transfers that stand still or break off.

use std::net::Ipv4Addr;

use layover_tests::content::{MIB, write_file};
use layover_tests::ftps::raw::{Ftps, Way};
use layover_tests::{over_both_protocols, process};

use super::*;

on_both_engines!(
    an_address_that_pasv_tells_in_vain_is_ours_until_one_serves,
    active_mode_is_named_where_the_client_tries_nothing_else,
    data_connections_that_are_not_protected_are_named_until_they_are,
);

over_both_protocols!(
    a_transfer_that_stands_still_is_told_with_direction_and_bytes,
    what_broke_off_is_forgotten_after_three_successes_for_each,
);

fn raw(layover: &Layover) -> Ftps {
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, Way::default()).expect("connect");
    let reply = ftps.log_in("partner", PASSWORD).expect("log in");
    assert!(reply.is_good(), "{}", reply.words());
    ftps
}

/// PASV, and a client that goes elsewhere than it was told, or is not let there.
fn ask_pasv_in_vain(layover: &Layover) -> String {
    let mut ftps = raw(layover);
    let reply = ftps.ask("PASV").expect("reply");
    assert_eq!(reply.code, 227, "{}", reply.words());
    let told = reply.words();
    assert_eq!(ftps.ask("QUIT").expect("reply").code, 221);
    told
}

fn an_address_that_pasv_tells_in_vain_is_ours_until_one_serves(engine: Engine) {
    // What nobody listens at is as good as an address of somebody else.
    let layover = Setup::new(engine).set("ftps", "public_address", "\"127.0.0.77\"");
    let layover = layover.prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    // By EPSV all is well.
    login.curl(&["--list-only"], "/", LIMIT).expect_ok();
    for _ in 0..3 {
        let told = ask_pasv_in_vain(&layover);
        assert!(told.contains("127,0,0,77"), "{told}");
    }
    login.curl(&["--list-only"], "/", LIMIT).expect_ok();
    let mut last = Value::Null;
    let found = wait::within(PATIENCE, || {
        last = doctor(&layover);
        let found = last["verdict"].clone();
        let is_sure = found["sureness"] == "certain" && found["times"] == 3;
        (found["sign"] == "public-address" && is_sure).then_some(found)
    });
    let found = found.unwrap_or_else(|| panic!("{last:#}"));
    assert_eq!(found["side"], "ours", "{found:#}");
    assert!(found["to_the_partner"].is_null(), "{found:#}");
    let text = |key: &str| found[key].as_str().expect("a text").to_owned();
    assert!(
        text("what").contains("told 127.0.0.77 by PASV"),
        "{found:#}"
    );
    assert!(
        text("what_to_do").contains("`public_address` in [ftps]"),
        "{found:#}"
    );
    let told = found["told"][0].as_str().expect("a text");
    assert!(told.starts_with("127.0.0.77, port "), "{told}");

    // The setting is mended, and the next PASV serves.
    layover.stop();
    let settings = std::fs::read_to_string(layover.config()).expect("the settings");
    let settings = settings.replace("127.0.0.77", "127.0.0.1");
    std::fs::write(layover.config(), settings).expect("write the settings");
    layover.start();
    let by_pasv = ["--disable-epsv", "--no-ftp-skip-pasv-ip", "--list-only"];
    login.curl(&by_pasv, "/", LIMIT).expect_ok();
    wait::until("the address to be right", PATIENCE, || {
        let found = doctor(&layover);
        (found["verdict"].is_null()).then_some(())
    });
}

fn active_mode_is_named_where_the_client_tries_nothing_else(engine: Engine) {
    let (layover, account) = serve(engine);
    // Who goes on with EPSV is well.
    let mut ftps = raw(&layover);
    assert_eq!(ftps.ask("PORT 127,0,0,1,200,10").expect("reply").code, 502);
    let data = ftps.begin("STOR /file").expect("begin");
    data.end();
    assert_eq!(ftps.reply().expect("reply").code, 226);
    drop(ftps);
    well(&layover);
    assert!(doctor(&layover)["further"].as_array().unwrap().is_empty());

    let login = FtpsLogin {
        layover: &layover,
        account: &account,
        entry: Entry::Explicit,
    };
    let ran = login.curl(&["--ftp-port", "-", "--list-only"], "/", LIMIT);
    assert!(!ran.ok(), "{ran}");
    let found = verdict(&layover, "active-refused");
    assert!(
        sentence(&found).contains("switch your client to passive mode"),
        "{found:#}"
    );
    assert_eq!(found["sureness"], "certain");
    login.curl(&["--list-only"], "/", LIMIT).expect_ok();
    well(&layover);
}

fn data_connections_that_are_not_protected_are_named_until_they_are(engine: Engine) {
    let (layover, account) = serve(engine);
    // As Python's ftplib does without prot_p().
    let server = layover.ftps_address(Entry::Explicit);
    let mut ftps = Ftps::connect(server, Way::default()).expect("connect");
    for (command, code) in [
        ("USER partner".to_owned(), 331),
        (format!("PASS {PASSWORD}"), 230),
        ("EPSV".to_owned(), 229),
        ("NLST".to_owned(), 521),
    ] {
        let reply = ftps.ask(&command).expect("reply");
        assert_eq!(reply.code, code, "{}", reply.words());
    }
    drop(ftps);
    let found = verdict(&layover, "data-unprotected");
    assert!(sentence(&found).contains("PROT P"), "{found:#}");
    assert_eq!(found["sureness"], "certain");
    account
        .partner(&layover, Protocol::Ftps)
        .put(b"/a", b"a")
        .expect("put");
    well(&layover);
}

#[test]
fn a_client_of_explicit_ftps_on_the_implicit_port_is_told_so() {
    let layover = Setup::new(Engine::Sqlite).set("gate", "login_grace", "\"2s\"");
    let layover = layover.prepare();
    layover.account("partner").password(PASSWORD).add();
    layover.start();
    for _ in 0..2 {
        let server = layover.ftps_address(Entry::Implicit);
        let mut waits = TcpStream::connect(server).expect("connect");
        let mut greeting = Vec::new();
        // It waits for a greeting until the server has had enough.
        let _ = waits.read_to_end(&mut greeting);
    }
    let found = verdict(&layover, "silent-on-implicit");
    assert!(sentence(&found).contains("implicit FTPS"), "{found:#}");
    assert_eq!(found["sureness"], "likely");
}

#[test]
fn a_client_in_active_mode_that_cannot_be_reached_is_told_why() {
    let layover = Setup::new(Engine::Sqlite).set("ftps", "active_mode", "true");
    let layover = layover.prepare();
    layover.account("partner").password(PASSWORD).add();
    layover.start();
    // Bound, and not listening: nobody else listens there either.
    let closed = tokio::net::TcpSocket::new_v4().expect("socket");
    closed.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("bind");
    let port = closed.local_addr().expect("address").port();
    let mut ftps = raw(&layover);
    let command = format!("PORT 127,0,0,1,{},{}", port / 256, port % 256);
    assert_eq!(ftps.ask(command).expect("reply").code, 200);
    assert_eq!(ftps.ask("LIST").expect("reply").code, 150);
    assert_eq!(ftps.reply().expect("reply").code, 425);
    let found = verdict(&layover, "active-failed");
    let told = found["told"][0].as_str().expect("a text");
    assert!(
        told.contains(&format!("your port {port} refused")),
        "{told}"
    );
    assert!(sentence(&found).contains("passive mode"), "{found:#}");
    drop(ftps);

    // Behind a NAT it names an address that is not the one that it comes from.
    let mut ftps = raw(&layover);
    let reply = ftps.ask("PORT 192,168,1,5,200,10").expect("reply");
    assert_eq!(reply.code, 501);
    drop(ftps);
    wait::until("the other address to be told", PATIENCE, || {
        let found = verdict(&layover, "active-failed");
        let told = found["told"].to_string();
        told.contains("only the address that you come from")
            .then_some(())
    });
}

/// What a client that does not read cannot have taken: more than the kernel holds for it.
const MORE_THAN_BUFFERS: u64 = 48 * MIB;

fn a_transfer_that_stands_still_is_told_with_direction_and_bytes(
    protocol: Protocol,
    engine: Engine,
) {
    let layover = Setup::new(engine).set("gate", "stall_timeout", "\"5s\"");
    let layover = layover.set("gate", "idle_timeout", "\"1h\"").prepare();
    let account = layover.account("partner").password(PASSWORD).add();
    layover.start();
    let mut partner = account.partner(&layover, protocol);
    let large = vec![7; usize::try_from(MORE_THAN_BUFFERS).expect("a size")];
    partner.put(b"/large", &large).expect("put");
    partner
        .begin_upload(b"/file", &[7; 65_536])
        .expect("begin an upload");
    let found = verdict(&layover, "transfer-stalled");
    assert_eq!(found["told"][0], "upload, 65536 bytes so far", "{found:#}");
    assert_eq!(found["protocol"], protocol.name());
    assert_eq!(
        (&found["side"], &found["sureness"]),
        (&"between".into(), &"possible".into())
    );
    assert!(sentence(&found).contains("upload, 65536 bytes so far"));

    let mut reader = account.partner(&layover, protocol);
    reader
        .begin_download(b"/large", 1_000)
        .expect("begin a download");
    let told = wait::until("the download to be told", PATIENCE, || {
        let found = verdict(&layover, "transfer-stalled");
        let told = found["told"].as_array().expect("texts").last()?.clone();
        let told = told.as_str()?.to_owned();
        told.starts_with("download, ").then_some(told)
    });
    let bytes = told.split(' ').nth(1).and_then(|bytes| bytes.parse().ok());
    let bytes: u64 = bytes.unwrap_or_else(|| panic!("{told}"));
    assert!((1_000..MORE_THAN_BUFFERS).contains(&bytes), "{told}");
    let found = doctor(&layover);
    let signs = || found["further"].as_array().expect("a list").iter();
    assert!(
        signs().all(|one| one["sign"] != "connection-lost" && one["sign"] != "data-broken"),
        "{found:#}"
    );
    drop((partner, reader));
}

fn what_broke_off_is_forgotten_after_three_successes_for_each(protocol: Protocol, engine: Engine) {
    const BROKEN: usize = 3;
    let (layover, account) = serve(engine);
    for number in 1..=BROKEN {
        let mut partner = account.partner(&layover, protocol);
        let name = format!("/broken-{number}");
        partner
            .begin_upload(name.as_bytes(), &[7; 65_536])
            .expect("begin an upload");
        drop(partner);
    }
    let counted = |times: &str, wanted: usize| {
        let mut last = Value::Null;
        let found = wait::within(PATIENCE, || {
            last = doctor(&layover)["verdict"].clone();
            (last["sign"] == "connection-lost" && last[times] == wanted).then_some(())
        });
        assert!(found.is_some(), "{times} {wanted}: {last:#}");
    };
    counted("times", BROKEN);
    let mut partner = account.partner(&layover, protocol);
    for _ in 1..3 * BROKEN {
        partner.put(b"/whole", b"content").expect("put");
    }
    counted("good_times", 3 * BROKEN - 1);
    partner.put(b"/whole", b"content").expect("put");
    well(&layover);
}

/// A line that drops everything from one moment on, in the middle of an upload.
fn a_line_that_goes_silent_is_told(protocol: Protocol) {
    let Some(office) = Office::open_with(&[("gate", "stall_timeout", "\"3s\"")]) else {
        return;
    };
    let source = office.account.client_dir.join("source");
    write_file(&source, 16 * MIB, 5);
    let source = source.to_string_lossy();
    // So slow that the line is silent long before the end.
    let client = match protocol {
        Protocol::Ftps => {
            let url = format!(
                "ftp://{}/file",
                office.layover.ftps_address(Entry::Explicit)
            );
            let user = format!("{}:{PASSWORD}", office.account.name);
            let mut curl = office.network.command("curl");
            curl.args(["--disable", "--silent", "--insecure", "--ssl-reqd"]);
            curl.args(["--limit-rate", "100k", "--user", &user]);
            curl.args(["--upload-file", &source, &url]);
            process::start(&mut curl, b"")
        }
        Protocol::Sftp => {
            let login = office.account.by_key(&office.layover);
            let put = format!("put {source} /file\n");
            let sftp = office.network.command("sftp");
            openssh::start_sftp_by(sftp, &login, &["-l", "800"], &put)
        }
    };
    let hidden = office.layover.homes().join(".layover/incoming");
    wait::until("the upload to begin", PATIENCE, || {
        let mut files = std::fs::read_dir(&hidden).ok()?;
        let has_bytes = |file: std::fs::DirEntry| file.metadata().is_ok_and(|file| file.len() > 0);
        files.any(|file| file.is_ok_and(has_bytes)).then_some(())
    });
    office.firewall(
        "table inet doctor { \
         chain out { type filter hook output priority 0; policy drop; }\n \
         chain in { type filter hook input priority 0; policy drop; }\n}",
    );
    let found = verdict(&office.layover, "transfer-stalled");
    let told = found["told"][0].as_str().expect("a text");
    assert!(
        told.starts_with("upload, ") && !told.contains(", 0 bytes"),
        "{told}"
    );
    assert_eq!(found["protocol"], protocol.name());
    assert_eq!(found["network"], format!("{}/32", office.network.theirs()));
    drop(client);
}

#[test]
fn a_line_that_goes_silent_is_told_over_ftps() {
    a_line_that_goes_silent_is_told(Protocol::Ftps);
}

#[test]
fn a_line_that_goes_silent_is_told_over_sftp() {
    a_line_that_goes_silent_is_told(Protocol::Sftp);
}
