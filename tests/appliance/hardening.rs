//! What the server's process may do, seen from outside.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;

use layover_tests::layover::executable;
use layover_tests::skip::skip;
use layover_tests::{Engine, Layover, Setup, on_both_engines};

on_both_engines!(
    the_process_gives_up_what_it_does_not_need,
    what_the_server_makes_is_for_its_user_alone,
    no_link_leads_a_write_out_of_the_servers_folders,
    a_server_needs_no_root,
);

/// Why a test of the sandbox is left out.
const NO_LANDLOCK: &str = "no Landlock of Linux 6.12 or later";

/// A user that owns nothing (`nobody`).
const NOBODY: u32 = 65_534;

/// Lines `name: value` of a file in /proc.
fn fields(file: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

fn sandbox(layover: &Layover) -> serde_json::Value {
    layover.json(&["status"])["server"]["sandbox"].clone()
}

/// A server that must be kept in. Where SQLite sorts it may write, and TMPDIR is above
/// everything of a test: so that is elsewhere.
fn confined(engine: Engine) -> Setup {
    let setup = Setup::new(engine).set("server", "sandbox", "\"require\"");
    setup.variable("SQLITE_TMPDIR", "/var/tmp")
}

/// Whether this kernel can keep a server in; `layover check` asks it.
fn kernel_can(layover: &Layover) -> bool {
    let check = layover.rows(&["check"]);
    let found = check.iter().find(|finding| finding["what"] == "sandbox");
    found.expect("a line")["state"] == "ready"
}

fn the_process_gives_up_what_it_does_not_need(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    layover.start();
    let pid = layover.pid();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("limits");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .expect("a limit of core files");
    let core: Vec<_> = core.split_whitespace().skip(4).take(2).collect();
    assert_eq!(core, ["0", "0"], "soft and hard");
    assert_eq!(fields(&format!("/proc/{pid}/status"))["Umask"], "0077");
    // What may not be dumped belongs to root there, whoever runs it (proc_pid(5)).
    let memory = fs::metadata(format!("/proc/{pid}/environ")).expect("stat");
    assert_eq!(memory.uid(), 0);
    if !kernel_can(&layover) {
        return;
    }
    assert_eq!(sandbox(&layover)["state"], "enforced");
    // Landlock is for those alone who gain nothing by what they execute: so it tells which
    // threads came before it.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads");
    let mut threads = 0;
    for task in tasks {
        let status = task.expect("a thread").path().join("status");
        // It may have ended since.
        if status.exists() {
            assert_eq!(fields(&status.to_string_lossy())["NoNewPrivs"], "1");
            threads += 1;
        }
    }
    assert!(threads > 4, "{threads}");
}

fn what_the_server_makes_is_for_its_user_alone(engine: Engine) {
    let layover = Setup::new(engine).prepare();
    // The server makes what is not there, and not a command.
    layover.start().stop();
    let account = layover.account("partner").add();
    layover.start();
    let mut sftp = account.sftp(&layover);
    sftp.make_dir(b"/folder").expect("mkdir");
    sftp.put(b"/folder/file", b"content").expect("put");
    let mut found = 0;
    let mut places = vec![layover.data_dir().to_owned(), layover.homes().to_owned()];
    while let Some(place) = places.pop() {
        let Ok(metadata) = fs::symlink_metadata(&place) else {
            // SQLite's log, or a file under its temporary name.
            continue;
        };
        let mode = metadata.permissions().mode();
        let shown = place.display();
        assert_eq!(mode & 0o077, 0, "{shown} is open to others ({mode:o})");
        found += 1;
        if metadata.is_dir() {
            let entries = fs::read_dir(&place).expect("list");
            places.extend(entries.filter_map(|entry| Some(entry.ok()?.path())));
        }
    }
    assert!(found > 8, "{found}");
    let file = layover.homes().join("partner/folder/file");
    assert_eq!(fs::read(file).expect("read"), b"content");
}

#[test]
fn a_database_that_a_command_makes_is_for_its_user_alone() {
    let layover = Setup::new(Engine::Sqlite).prepare();
    layover.account("partner").add();
    let entries = fs::read_dir(layover.data_dir()).expect("list");
    let mut names = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry")) {
        let mode = entry.metadata().expect("look").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{entry:?} is open to others ({mode:o})");
        names.push(entry.file_name());
    }
    assert!(names.iter().any(|name| name == "layover.db"), "{names:?}");
}

fn no_link_leads_a_write_out_of_the_servers_folders(engine: Engine) {
    const BEFORE: &[u8] = b"somebody else's";
    let plant = |layover: &Layover| {
        let outside = layover.scratch().join("outside");
        fs::create_dir(&outside).expect("make a folder");
        fs::write(outside.join("file"), BEFORE).expect("write");
        // The server writes its addresses under this name first.
        let link = layover.data_dir().join("addresses.json.new");
        symlink(outside.join("file"), link).expect("link");
        outside.join("file")
    };
    let layover = confined(engine).prepare();
    layover.account("partner").add();
    if !kernel_can(&layover) {
        return skip(NO_LANDLOCK);
    }
    let file = plant(&layover);
    let ran = layover.run(&["serve"]).expect_code(1);
    assert!(
        ran.stderr.contains("addresses.json cannot be written"),
        "{ran}"
    );
    assert!(ran.stderr.contains("Permission denied"), "{ran}");
    assert_eq!(fs::read(&file).expect("read"), BEFORE);

    // So it was the sandbox.
    let open = Setup::new(engine)
        .set("server", "sandbox", "\"off\"")
        .prepare();
    open.account("partner").add();
    let file = plant(&open);
    open.start();
    assert_eq!(sandbox(&open)["state"], "switched_off");
    assert_ne!(fs::read(&file).expect("read"), BEFORE);
}

fn a_server_needs_no_root(engine: Engine) {
    if !rustix::process::geteuid().is_root() {
        return skip("all tests run without it");
    }
    let layover = Setup::new(engine).user(NOBODY).prepare();
    let mut tried = Command::new(executable());
    let tried = tried.uid(NOBODY).gid(NOBODY).arg("--version");
    if tried.current_dir(layover.scratch()).output().is_err() {
        return skip("the executable lies where only root may go");
    }
    let account = layover.account("partner").add();
    layover.start();
    let status = fields(&format!("/proc/{}/status", layover.pid()));
    assert!(status["Uid"].starts_with(&NOBODY.to_string()), "{status:?}");
    assert_eq!(status["CapEff"], "0000000000000000");
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/file", b"content").expect("put");
    let stored = fs::metadata(layover.homes().join("partner/file")).expect("stat");
    assert_eq!((stored.uid(), stored.mode() & 0o777), (NOBODY, 0o600));
    // Its memory is nobody else's, not even of the same user.
    let memory = fs::metadata(format!("/proc/{}/environ", layover.pid())).expect("stat");
    assert_eq!(memory.uid(), 0);
    assert_eq!(layover.json(&["status"])["running"], true);
    assert!(!layover.log().contains("runs as root"));
    drop(sftp);
    layover.stop();
}

#[test]
fn a_sandbox_that_is_required_is_there_or_the_server_does_not_start() {
    let layover = confined(Engine::Sqlite).prepare();
    layover.account("partner").add();
    if !kernel_can(&layover) {
        return skip(NO_LANDLOCK);
    }
    layover.start();
    assert_eq!(sandbox(&layover)["state"], "enforced");
    let detail = sandbox(&layover)["detail"].to_string();
    assert!(
        detail.contains("/var/tmp (where SQLite puts what it sorts)"),
        "{detail}"
    );
    let scratch = layover.scratch().to_string_lossy();
    for (folder, is_told) in [("data", true), ("homes", true), ("client", false)] {
        let told = detail.contains(&format!("{scratch}/{folder}"));
        assert_eq!(told, is_told, "{folder}: {detail}");
    }
    layover.stop();
    fs::remove_dir_all(layover.homes()).expect("remove");
    let ran = layover.run(&["serve"]).expect_code(1);
    let make = format!("mkdir -p -m 700 {}", layover.homes().display());
    assert!(ran.stderr.contains(&make), "{ran}");
    assert!(!layover.homes().exists());
    layover.run(&["check"]).expect_code(1);
}

#[test]
fn a_data_directory_behind_a_link_is_where_it_leads() {
    let layover = confined(Engine::Sqlite).prepare();
    let account = layover.account("partner").add();
    if !kernel_can(&layover) {
        return skip(NO_LANDLOCK);
    }
    let real = layover.scratch().join("real");
    fs::rename(layover.data_dir(), &real).expect("move");
    symlink(&real, layover.data_dir()).expect("link");
    layover.start();
    let mut sftp = account.sftp(&layover);
    sftp.put(b"/a", b"content").expect("put");
    sftp.make_dir(b"/folder").expect("mkdir");
    sftp.rename(b"/a", b"/folder/b")
        .expect("rename between folders");
    sftp.remove(b"/folder/b").expect("remove");
    assert_eq!(sandbox(&layover)["state"], "enforced");
    assert!(real.join("addresses.json").exists());
    drop(sftp);
    layover.stop();
    assert!(!real.join("addresses.json").exists());
}
