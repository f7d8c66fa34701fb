//! What partners' clients do over FTPS besides `put` and `get`: whole trees, many connections at
//! once, going on with what broke off; each explicit and implicit, with TLS 1.2 and 1.3.

use std::path::Path;
use std::time::Duration;

use layover_tests::content::{MIB, sha256, write_file};
use layover_tests::ftps::{Entry, FtpsLogin, Tls, basic_ftp_available};
use layover_tests::ftps_control::{Control, Resumption};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, on_both_engines};
use serde_json::Value;

use crate::ledger;

/// For one conversation, in a build that is not optimised.
const LONG: Duration = Duration::from_secs(120);

fn serve(engine: Engine) -> (Layover, Account) {
    let layover = Setup::new(engine).prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    (layover, account)
}

/// Calls `converse` for both entries and both TLS versions, and sees to it that the journal tells
/// how the data connections proved themselves, in one of these ways, and calls each transfer whole
/// but the upload that [`resumed`] breaks off.
fn each_way(engine: Engine, proofs: &[&str], converse: impl Fn(&FtpsLogin<'_>, Tls)) {
    let (layover, account) = serve(engine);
    let mut seen = 0;
    for entry in Entry::BOTH {
        for tls in Tls::BOTH {
            let login = FtpsLogin {
                layover: &layover,
                account: &account,
                entry,
            };
            converse(&login, tls);
            let transfers = transfers(&layover);
            assert!(transfers.len() > seen, "{entry:?} {tls:?}: nothing moved");
            for transfer in &transfers[seen..] {
                let detail = &transfer["detail"];
                assert_eq!(detail["tls"], tls.journalled(), "{entry:?}: {transfer}");
                let proof = detail["data"].as_str().expect("a proof");
                assert!(proofs.contains(&proof), "{entry:?} {tls:?}: {transfer}");
                if detail["end"] != "bare-fin" || transfer["path"] != "/broken" {
                    assert_eq!(transfer["outcome"], "ok", "{entry:?} {tls:?}: {transfer}");
                    assert_eq!(detail["end"], "close-notify", "{entry:?}: {transfer}");
                }
            }
            seen = transfers.len();
        }
    }
    ledger::agrees_with_tree(&layover, "partner");
}

/// Breaks an upload of `/broken` off, and a download of it, and lets `go_on` end both: it gets the
/// whole file's path, and that of the download's part.
fn resumed(login: &FtpsLogin<'_>, tls: Tls, go_on: impl Fn(&str, &str)) {
    let [source, target] = ["whole", "part"].map(|name| login.account.client_dir.join(name));
    let sum = write_file(&source, 400_000, 3);
    let whole = std::fs::read(&source).expect("read");
    let mut control = Control::log_in(login, tls, Resumption::Yes);
    let mut data = control.begin("EPSV", "STOR /broken");
    data.send(&whole[..100_001]);
    data.break_off();
    assert_eq!(control.reply().code, 426);
    std::fs::write(&target, &whole[..200_001]).expect("write the first part");
    let stored = login.layover.homes().join("partner/broken");
    assert!(!stored.exists());
    go_on(&source.to_string_lossy(), &target.to_string_lossy());
    assert_eq!(sha256(&stored), sum, "the upload");
    assert_eq!(sha256(&target), sum, "the download");
    // Neither began anew.
    let moved: Vec<_> = transfers(login.layover)
        .iter()
        .rev()
        .filter(|transfer| transfer["path"] == "/broken")
        .take(2)
        .map(|transfer| transfer["size_bytes"].as_u64())
        .collect();
    assert_eq!(moved, [Some(199_999), Some(400_000)]);
    // Nobody knows what became of its first part.
    let file = ledger::file(login.layover, "partner", "/broken");
    assert!(file.value["collected_at"].is_null(), "{}", file.value);
}

/// The uploads and downloads in the journal, in their order.
fn transfers(layover: &Layover) -> Vec<Value> {
    let mut rows = layover.rows(&["journal", "--kind", "transfer", "--limit", "10000"]);
    rows.retain(|entry| ["upload", "download"].contains(&entry["action"].as_str().unwrap_or("")));
    rows
}

/// Makes `dir` with `count` files of up to 40 kB, the first of them empty: their names and sums.
fn small_files(dir: &Path, count: u64) -> Vec<(String, String)> {
    std::fs::create_dir_all(dir).expect("make a folder");
    (0..count)
        .map(|number| {
            let name = format!("file-{number:03}");
            let sum = write_file(&dir.join(&name), number * 811, number);
            (name, sum)
        })
        .collect()
}

#[track_caller]
fn holds(dir: &Path, files: &[(String, String)]) {
    for (name, sum) in files {
        assert_eq!(&sha256(&dir.join(name)), sum, "{name}");
    }
}

on_both_engines!(rclone_moves_many_small_files_over_connections_that_share_tickets);

fn rclone_moves_many_small_files_over_connections_that_share_tickets(engine: Engine) {
    // A ticket of a connection that is still logging in proves nothing: "address".
    each_way(engine, &["bound", "sibling", "address"], |login, tls| {
        let [source, target] = ["source", "target"].map(|name| {
            login
                .account
                .client_dir
                .join(format!("{name}-{:?}-{tls:?}", login.entry))
        });
        let files = small_files(&source, 50);
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        let rclone = |arguments: &[&str]| login.rclone(tls, arguments, LONG).expect_ok();
        let parallel = ["--transfers", "4", "--checkers", "4"];
        rclone(&[&["copy", &from, "layover:/in"], &parallel[..]].concat());
        holds(&login.layover.homes().join("partner/in"), &files);
        rclone(&[&["copy", "layover:/in", &to], &parallel[..]].concat());
        holds(&target, &files);
        let listed = rclone(&["lsf", "layover:/in"]).stdout;
        assert_eq!(listed.lines().count(), files.len(), "{listed}");
        rclone(&["moveto", "layover:/in/file-007", "layover:/moved"]);
        rclone(&["deletefile", "layover:/in/file-008"]);
        let left = rclone(&["lsf", "-R", "layover:/"]).stdout;
        assert!(left.lines().any(|name| name == "moved"), "{left}");
        assert!(
            !left.contains("file-007") && !left.contains("file-008"),
            "{left}"
        );
        assert!(left.contains("in/file-009"), "{left}");
        rclone(&["purge", "layover:/in"]);
        rclone(&["deletefile", "layover:/moved"]);
    });
}

#[test]
fn lftp_mirrors_trees_both_ways_over_four_connections() {
    each_way(Engine::Sqlite, &["bound"], |login, tls| {
        let [source, target] = ["source", "target"].map(|name| {
            let dir = format!("{name}-{:?}-{tls:?}", login.entry);
            login.account.client_dir.join(dir)
        });
        let files = small_files(&source.join("deep"), 30);
        let commands = format!(
            "mirror -R --parallel=4 {} /up\n\
             mirror --parallel=4 /up {}\n\
             ls /up/deep\n\
             mv /up/deep/file-003 /moved\n\
             rm -r /up\n\
             cls -1 /\n\
             rm /moved\n",
            source.display(),
            target.display(),
        );
        let ran = login.lftp_with(tls, &commands, LONG).expect_ok();
        holds(&target.join("deep"), &files);
        assert_eq!(ran.stdout.matches(" file-0").count(), files.len(), "{ran}");
        assert!(ran.stdout.lines().any(|name| name == "/moved"), "{ran}");
    });
}

#[test]
fn lftp_goes_on_with_what_broke_off() {
    each_way(Engine::Sqlite, &["bound"], |login, tls| {
        resumed(login, tls, |whole, part| {
            let commands = format!("put -c {whole} -o /broken\nget -c /broken -o {part}");
            login.lftp_with(tls, &commands, LONG).expect_ok();
        });
        login.lftp_with(tls, "rm /broken", LONG).expect_ok();
    });
}

#[test]
fn curl_goes_on_with_what_broke_off_and_changes_names() {
    // It resumes a session of TLS 1.3 on the first data connection alone.
    each_way(Engine::Sqlite, &["bound", "address"], |login, tls| {
        let version: &[&str] = match tls {
            Tls::V12 => &["--tls-max", "1.2"],
            Tls::V13 => &["--tlsv1.3"],
        };
        let curl = |arguments: &[&str], path: &str| {
            let arguments = [version, arguments].concat();
            login.curl(&arguments, path, LONG).expect_ok().stdout
        };
        resumed(login, tls, |whole, part| {
            curl(&["--continue-at", "-", "--upload-file", whole], "/broken");
            curl(&["--continue-at", "-", "--output", part], "/broken");
        });
        let list = curl(&["--quote", "RNFR /broken", "--quote", "RNTO /moved"], "/");
        assert!(
            list.contains(" moved") && !list.contains("broken"),
            "{list}"
        );
        let names = curl(&["--list-only"], "/");
        assert_eq!(names.trim_end(), "moved");
        let left = curl(&["--quote", "DELE /moved", "--list-only"], "/");
        assert_eq!(left, "");
    });
}

/// curl begins TLS on its data connection before it has read the answer to STOR, RETR or LIST.
/// When that connection was gone, it said `Bad PASV response: 550`.
#[test]
fn curl_names_a_refusal_as_what_it_is() {
    let (layover, account) = serve_with_rules();
    let local = account.client_dir.join("local");
    write_file(&local, 100, 4);
    let local = local.to_string_lossy();
    let put = ["--upload-file", &local];
    for (entry, tls) in every_way() {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let version: &[&str] = match tls {
            Tls::V12 => &["--tls-max", "1.2"],
            Tls::V13 => &["--tlsv1.3"],
        };
        for (arguments, path, code, said) in [
            (&put[..], "/closed/new", 25, "Failed FTP upload: 550"),
            (&put[..], "/new", 25, "Failed FTP upload: 552"),
            (&[][..], "/closed/file", 78, "RETR response: 550"),
            (&[][..], "/blind/", 19, "RETR response: 550"),
        ] {
            let ran = login.curl(&[version, arguments].concat(), path, LONG);
            let ran = ran.expect_code(code);
            assert!(ran.stderr.contains(said), "{entry:?} {tls:?} {path}: {ran}");
        }
    }
}

/// More than a quota holds comes while the client still sends: cut then, curl says
/// `Broken pipe`, and lftp begins again for ever.
#[test]
fn a_client_that_sends_more_than_a_quota_holds_comes_to_read_why() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let plan = layover.account("partner").password("correct-horse-7");
    let account = plan.with(&["--quota", "1MiB"]).add();
    layover.start();
    let local = account.client_dir.join("local");
    write_file(&local, 20 * MIB, 4);
    let local = local.to_string_lossy();
    // A path each: who repeats one is refused before the data, in time.
    for (number, (entry, tls)) in every_way().enumerate() {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        // curl's code for 552.
        login
            .curl(&["--upload-file", &local], &format!("/big-{number}"), LONG)
            .expect_code(70);
        let ran = login.lftp_with(tls, &format!("put {local} -o /big-{number}"), LONG);
        assert!(ran.stderr.contains("quota"), "{entry:?} {tls:?}: {ran}");
    }
}

#[test]
fn lftp_and_ftplib_tell_the_servers_own_words_of_a_refusal() {
    let (layover, account) = serve_with_rules();
    let local = account.client_dir.join("local");
    write_file(&local, 100, 4);
    let local = local.to_string_lossy();
    for (entry, tls) in every_way() {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let version = (tls == Tls::V12).then_some("--tls12");
        for (remote, said) in [("/closed/new", "may not"), ("/new", "quota")] {
            let ran = login.lftp_with(tls, &format!("put {local} -o {remote}"), LONG);
            assert!(!ran.ok() && ran.stderr.contains(said), "{remote}: {ran}");
            let arguments = [&["put", &local, remote][..], version.as_slice()].concat();
            let ran = login.ftplib(&arguments, LONG);
            assert!(!ran.ok() && ran.stderr.contains(said), "{remote}: {ran}");
        }
        let ran = login.lftp_with(tls, &format!("get /closed/file -o {local}.got"), LONG);
        assert!(!ran.ok() && ran.stderr.contains("may not"), "{ran}");
    }
}

fn every_way() -> impl Iterator<Item = (Entry, Tls)> {
    let ways = |entry| Tls::BOTH.into_iter().map(move |tls| (entry, tls));
    Entry::BOTH.into_iter().flat_map(ways)
}

/// An account whose home is full, that may look into `/closed` and not look into `/blind`.
fn serve_with_rules() -> (Layover, Account) {
    let layover = Setup::new(Engine::Sqlite).prepare();
    let common = |name: &str, quota: &[&str]| {
        let arguments = [&["--home", "common"], quota].concat();
        let plan = layover.account(name).password("correct-horse-7");
        plan.with(&arguments).add()
    };
    let writer = common("writer", &[]);
    let account = common("partner", &["--quota", "1KiB"]);
    for (path, rights) in [("/closed", "list"), ("/blind", "write")] {
        layover.admin(&["account", "permission", "set", "partner", path, rights]);
    }
    layover.start();
    let mut writer = writer.partner(&layover, Protocol::Ftps);
    for folder in [b"/closed".as_slice(), b"/blind"] {
        writer.make_dir(folder).expect("make a folder");
    }
    writer.put(b"/closed/file", &[7; 2048]).expect("put");
    (layover, account)
}

/// The server connects to the client, and is the TLS server all the same. curl is not among them:
/// 7.87 and 7.88 speak in the clear on such a connection (curl's issue 10666).
#[test]
fn lftp_and_ftplib_move_files_in_active_mode() {
    let layover = Setup::new(Engine::Sqlite).set("ftps", "active_mode", "true");
    let layover = layover.prepare();
    let account = layover.account("partner").password("correct-horse-7").add();
    layover.start();
    let local = account.client_dir.join("local");
    let sum = write_file(&local, 300_000, 6);
    let local = local.to_string_lossy();
    for (entry, tls) in every_way() {
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let target = |client: &str| {
            let name = format!("by-{client}-{entry:?}-{tls:?}");
            account.client_dir.join(name)
        };
        let by_lftp = target("lftp");
        let commands = format!(
            "set ftp:passive-mode no\nput {local} -o /up\nget /up -o {}\nls\nrm /up",
            by_lftp.display()
        );
        let ran = login.lftp_with(tls, &commands, LONG).expect_ok();
        assert!(ran.stdout.contains(" up"), "{ran}");
        assert_eq!(sha256(&by_lftp), sum);
        let version = (tls == Tls::V12).then_some("--tls12");
        let options: Vec<&str> = ["--active"].into_iter().chain(version).collect();
        let by_ftplib = target("ftplib");
        let to = by_ftplib.to_string_lossy();
        for arguments in [["put", &local, "/up"], ["get", "/up", &to]] {
            let arguments = [&options[..], &arguments].concat();
            login.ftplib(&arguments, LONG).expect_ok();
        }
        assert_eq!(sha256(&by_ftplib), sum);
    }
}

#[test]
fn ftplib_goes_on_with_what_broke_off_and_changes_names() {
    for (resumption, proofs) in [
        (Some("--resume"), &["bound"][..]),
        (None, &["address", "bound"]),
    ] {
        each_way(Engine::Sqlite, proofs, |login, tls| {
            let version = (tls == Tls::V12).then_some("--tls12");
            let options: Vec<&str> = resumption.into_iter().chain(version).collect();
            let ftplib = |arguments: &[&str]| {
                let arguments = [&options, arguments].concat();
                login.ftplib(&arguments, LONG).expect_ok().stdout
            };
            resumed(login, tls, |whole, part| {
                let said = ftplib(&["resume", whole, "/broken", part]);
                assert!(said.contains("there: 100001"), "{said}");
            });
            let said = ftplib(&["names", "/broken", "/moved"]);
            assert!(said.contains("nlst: ['moved']"), "{said}");
            assert!(said.contains("mlsd: ['moved']"), "{said}");
            assert!(!login.layover.homes().join("partner/moved").exists());
        });
    }
}

#[test]
fn basic_ftp_moves_trees_goes_on_and_changes_names() {
    if !basic_ftp_available() {
        return;
    }
    each_way(Engine::Sqlite, &["bound"], |login, tls| {
        let [source, target] = ["source", "target"].map(|name| {
            let dir = format!("{name}-{:?}-{tls:?}", login.entry);
            login.account.client_dir.join(dir)
        });
        let basic_ftp = |arguments: &[&str]| {
            let ran = login.basic_ftp(tls, arguments, LONG).expect_ok();
            ran.stdout
        };
        let mut files = small_files(&source.join("deep"), 10);
        // Node ends the connection of an empty file before its handshake is done, now and then
        // without close_notify; such an upload is refused as a broken one.
        let (empty, _) = files.remove(0);
        std::fs::remove_file(source.join("deep").join(empty)).expect("remove the empty file");
        let large = write_file(&source.join("large"), 8 * MIB + 5, 8);
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        let listed = basic_ftp(&["tree", &from, "/in", &to]);
        assert!(listed.contains("listed: large 8388613"), "{listed}");
        holds(&target.join("deep"), &files);
        assert_eq!(sha256(&target.join("large")), large);
        resumed(login, tls, |whole, part| {
            let said = basic_ftp(&["resume", whole, "/broken", part]);
            assert!(said.contains("there: 100001"), "{said}");
        });
        let listed = basic_ftp(&["names", "/broken", "/moved"]);
        assert!(listed.contains("listed: moved 400000"), "{listed}");
        assert!(!login.layover.homes().join("partner/moved").exists());
    });
}

/// Where tickets lie unread on a data connection, rclone's end makes the kernel answer with a
/// reset, and the tail of the upload is lost.
#[test]
fn rclone_loses_no_tail_of_a_large_file() {
    for (entry, tls) in [(Entry::Explicit, Tls::V13), (Entry::Implicit, Tls::V12)] {
        let (layover, account) = serve(Engine::Sqlite);
        let login = FtpsLogin {
            layover: &layover,
            account: &account,
            entry,
        };
        let [source, target] = ["source", "target"].map(|name| account.client_dir.join(name));
        let sum = write_file(&source, 200 * MIB + 12_345, 21);
        let (from, to) = (source.to_string_lossy(), target.to_string_lossy());
        let put = ["copyto", &from, "layover:/large"];
        login.rclone(tls, &put, LONG).expect_ok();
        assert_eq!(sha256(&layover.homes().join("partner/large")), sum);
        let get = ["copyto", "layover:/large", &to];
        login.rclone(tls, &get, LONG).expect_ok();
        assert_eq!(sha256(&target), sum, "{entry:?} {tls:?}");
        for transfer in transfers(&layover) {
            assert_eq!(transfer["outcome"], "ok", "{transfer}");
            assert_eq!(transfer["detail"]["end"], "close-notify", "{transfer}");
        }
    }
}
