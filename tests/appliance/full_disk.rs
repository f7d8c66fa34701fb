//! A partner cannot fill the disk so far that nothing is deleted any more.

use std::os::unix::fs::symlink;

use layover_tests::account::PASSWORD;
use layover_tests::openssh;
use layover_tests::packet::open;
use layover_tests::skip::skip;
use layover_tests::storage::Tmpfs;
use layover_tests::wait::{self, PATIENCE};
use layover_tests::{Account, Engine, Layover, Protocol, Setup, http, over_both_protocols};
use serde_json::Value;

/// The disk of homes and database, in MiB; a twentieth of it is the reserve.
const DISK_MIB: u64 = 200;

const RESERVE: u64 = (DISK_MIB << 20) / 20;

/// Long enough for the disk to be full before the file is due.
const KEEP: &str = "12s";

struct OneDisk {
    // The server before its storage: fields are dropped in this order.
    layover: Layover,
    account: Account,
    storage: Tmpfs,
    _dir: tempfile::TempDir,
}

/// A server whose homes and database lie on one small disk; `None` when that cannot be made here.
fn serve_on_one_disk(
    mount: impl FnOnce(&std::path::Path) -> Result<Tmpfs, String>,
) -> Option<OneDisk> {
    let dir = tempfile::TempDir::with_prefix("layover-disk-").expect("make folder");
    let at = dir.path().join("mount");
    let storage = match mount(&at) {
        Ok(storage) => storage,
        Err(why) => {
            skip(&why);
            return None;
        }
    };
    let setup = Setup::new(Engine::Sqlite).homes(&at.join("homes"));
    let layover = setup.data_dir(&at.join("data")).prepare();
    let plan = layover.account("partner").password(PASSWORD);
    let account = plan.with(&["--keep", KEEP]).add();
    layover.start();
    Some(OneDisk {
        layover,
        account,
        storage,
        _dir: dir,
    })
}

/// What `/health/ready` says against something.
fn failing(layover: &Layover, check: &str) -> Option<String> {
    let answer = http::get(layover.console_address(), "/health/ready");
    let found: Value = serde_json::from_str(&answer.body).expect("JSON");
    let checks = found["checks"].as_array().expect("checks");
    let item = checks.iter().find(|item| item["check"] == check)?;
    let is_failing = item["ok"] == false;
    assert_eq!(answer.status == 503, found["ready"] == false, "{found}");
    is_failing.then(|| item["detail"].as_str().expect("a detail").to_owned())
}

fn entries(layover: &Layover, kind: &str) -> Vec<Value> {
    layover.rows(&["journal", "--limit", "0", "--kind", kind])
}

fn is_of_a_full_disk(words: &str) -> bool {
    let words = words.to_lowercase();
    words.contains("full") || words.contains("space")
}

over_both_protocols!(
    Sqlite:
    on_a_full_disk_partners_are_refused_and_files_still_go,
);

fn on_a_full_disk_partners_are_refused_and_files_still_go(protocol: Protocol) {
    let Some(OneDisk {
        layover,
        account,
        storage,
        ..
    }) = &serve_on_one_disk(|at| Tmpfs::mount(at, DISK_MIB))
    else {
        return;
    };
    let other = layover.account("lasting").password(PASSWORD).add();
    let mut lasting = other.partner(layover, protocol);
    lasting.put(b"/lasting", b"stays").expect("put");
    let mut partner = account.partner(layover, protocol);
    let ballast = layover.data_dir().join("layover.db.ballast");
    wait::until("the ballast", PATIENCE, || ballast.exists().then_some(()));
    partner.put(b"/due", b"goes").expect("put");

    // Uploads end at the reserve, and the operator is told.
    storage.fill_up_to(RESERVE + (2 << 20));
    // What is written is counted; what others take is seen after this time.
    wait::let_pass(std::time::Duration::from_secs(1));
    let piece = vec![9; 1 << 20];
    let refused = (0..4).find_map(|at| {
        let name = format!("/large-{at}");
        lasting.put(name.as_bytes(), &piece).err()
    });
    let refused = refused.expect("more than the disk has");
    assert!(is_of_a_full_disk(&refused.words), "{refused:?}");
    assert_eq!(partner.get(b"/due").expect("get"), b"goes");
    let told = wait::until("health to tell", PATIENCE, || failing(layover, "storage"));
    assert!(told.contains("uploads are refused"), "{told}");
    let status = layover.json(&["status"]);
    assert_eq!(status["disks"][0]["at_reserve"], true, "{status}");
    let checked = layover.run(&["check"]);
    assert!(checked.stdout.contains("uploads are refused"), "{checked}");
    wait::until("the journal to tell", PATIENCE, || {
        let told = entries(layover, "system");
        told.iter()
            .any(|entry| entry["action"] == "storage.full")
            .then_some(())
    });

    // What partners do is journalled, which takes room: they are refused in time.
    storage.fill_up_to(RESERVE / 2 + (64 << 10));
    let refused = (0..5_000).find_map(|_| lasting.get(b"/lasting").err());
    let refused = refused.expect("room for fewer downloads");
    assert!(is_of_a_full_disk(&refused.words), "{refused:?}");
    let before = entries(layover, "transfer").len() + entries(layover, "login").len();
    for _ in 0..20 {
        let refused = lasting.get(b"/lasting").expect_err("no room");
        assert!(is_of_a_full_disk(&refused.words), "{refused:?}");
        lasting.put(b"/new", b"").expect_err("no room");
        lasting.make_dir(b"/dir").expect_err("no room");
        lasting.rename(b"/lasting", b"/moved").expect_err("no room");
    }
    match protocol {
        Protocol::Sftp => {
            let ran = openssh::sftp(&account.by_key(layover), &[], "pwd\n", PATIENCE);
            assert!(
                !ran.ok() && ran.stderr.contains("disk of this server is full"),
                "{ran}"
            );
        }
        Protocol::Ftps => {
            let tried = account.try_partner_at(protocol.address(layover), protocol);
            let told = tried.err().expect("no login");
            assert!(
                told.starts_with("421 the disk of this server is full"),
                "{told}"
            );
        }
    }
    let after = entries(layover, "transfer").len() + entries(layover, "login").len();
    assert_eq!(after, before, "those who are refused have no entries");

    // And if the disk is full all the same, files go when they are due.
    let due = layover.homes().join("partner/due");
    assert!(due.exists(), "the disk was full too late");
    storage.fill_up_to(0);
    wait::until("the file to go", PATIENCE, || (!due.exists()).then_some(()));
    wait::until("the ballast to be given up", PATIENCE, || {
        (!ballast.exists()).then_some(())
    });
    layover.admin(&["file", "remove", "lasting", "/lasting"]);
    assert!(!layover.homes().join("lasting/lasting").exists());
    let log = layover.log();
    let lines = log.lines().filter(|line| line.contains("the disk is full"));
    let lines: Vec<_> = lines.collect();
    assert!(lines.len() <= 6, "{lines:#?}");
    layover.stop();
    layover.start();

    storage.empty();
    wait::until("the ballast to be made again", PATIENCE, || {
        ballast.exists().then_some(())
    });
    let mut partner = account.partner(layover, protocol);
    partner.put(b"/again", b"room").expect("put");
    wait::until("health to be good", PATIENCE, || {
        failing(layover, "storage").is_none().then_some(())
    });
    layover.run(&["journal", "verify"]).expect_ok();
}

/// The ballast lies beside the file that a link leads to, where a server that the kernel keeps
/// in its folders may write.
#[test]
fn a_full_disk_behind_a_link_is_told_of_and_its_ballast_given_up() {
    let dir = tempfile::TempDir::with_prefix("layover-disk-").expect("make folder");
    let at = dir.path().join("mount");
    let storage = match Tmpfs::mount(&at, DISK_MIB) {
        Ok(storage) => storage,
        Err(why) => return skip(&why),
    };
    let setup = Setup::new(Engine::Sqlite).variable("SQLITE_TMPDIR", "/var/tmp");
    let layover = setup.prepare();
    std::fs::create_dir(layover.data_dir()).expect("make the data directory");
    let link = layover.data_dir().join("layover.db");
    symlink(at.join("real.db"), &link).expect("link");
    // What it leads to is made by the first who needs it, as SQLite does.
    let account = layover.account("partner").password(PASSWORD).add();
    assert!(link.is_symlink() && at.join("real.db").exists());
    layover.start();
    let ballast = at.join("real.db.ballast");
    wait::until("the ballast", PATIENCE, || ballast.exists().then_some(()));
    assert!(!layover.data_dir().join("layover.db.ballast").exists());

    storage.fill_up_to(0);
    wait::until("the ballast to be given up", PATIENCE, || {
        (!ballast.exists()).then_some(())
    });
    let told = wait::until("health to tell", PATIENCE, || failing(&layover, "storage"));
    assert!(told.contains("database"), "{told}");
    wait::until("the journal to tell", PATIENCE, || {
        let told = entries(&layover, "system");
        told.iter()
            .any(|entry| entry["action"] == "storage.full")
            .then_some(())
    });
    storage.empty();
    wait::until("the ballast to be made again", PATIENCE, || {
        ballast.exists().then_some(())
    });
    let mut partner = account.partner(&layover, Protocol::Sftp);
    partner.put(b"/again", b"room").expect("put");
    // The server before its disk: a mount that is in use stays.
    drop(layover);
    drop(storage);
}

/// A hole takes no room, so a file of terabytes would cost a partner one byte; what we acknowledge we keep, and
/// could not when it is filled.
#[test]
fn a_file_cannot_end_behind_what_the_disk_could_hold() {
    let Some(OneDisk {
        layover, account, ..
    }) = &serve_on_one_disk(|at| Tmpfs::mount(at, DISK_MIB))
    else {
        return;
    };
    let mut sftp = account.sftp(layover);
    let handle = sftp.open(b"/fits", open::FRESH).expect("open");
    sftp.write(&handle, 100 << 20, b"end")
        .expect("there is room");
    // It would take no more room with each step.
    let further = (DISK_MIB + 1) << 20;
    let refused = sftp.write(&handle, further, b"end").expect_err("no room");
    assert!(is_of_a_full_disk(&format!("{refused:?}")), "{refused:?}");
    sftp.close(&handle).expect_err("it is not published");
    for far in [further, 4 << 40] {
        let handle = sftp.open(b"/far", open::FRESH).expect("open");
        let refused = sftp.write(&handle, far, b"x").expect_err("no room");
        assert!(is_of_a_full_disk(&format!("{refused:?}")), "{refused:?}");
        sftp.close(&handle).expect_err("it is not published");
    }
    assert_eq!(sftp.names(b"/").expect("list"), Vec::<String>::new());
    sftp.put(b"/small", b"content").expect("put");
    wait::until("its checksum", PATIENCE, || {
        let files = layover.rows(&["file", "list", "partner"]);
        let file = files.iter().find(|file| file["path"] == "/small")?;
        file["sha256"].is_string().then_some(())
    });
}

#[test]
fn names_of_one_partner_leave_some_for_others() {
    const FILES: u64 = 300;
    let Some(OneDisk {
        layover, account, ..
    }) = &serve_on_one_disk(|at| Tmpfs::mount_for_files(at, 64, FILES))
    else {
        return;
    };
    let mut partner = account.partner(layover, Protocol::Sftp);
    let refused = (0..FILES).find_map(|at| {
        let name = format!("/dir-{at}");
        partner.make_dir(name.as_bytes()).err()
    });
    let refused = refused.expect("no name more than there are");
    assert!(is_of_a_full_disk(&refused.words), "{refused:?}");
    let other = layover.account("other").password(PASSWORD).add();
    let mut other = other.partner(layover, Protocol::Sftp);
    assert_eq!(other.names(b"/").expect("list"), Vec::<Vec<u8>>::new());
    let told = wait::until("health to tell", PATIENCE, || failing(layover, "storage"));
    assert!(told.contains("more files"), "{told}");
}
