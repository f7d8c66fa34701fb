//! Days of flows against servers whose lines break, that turn us away and start again, over the
//! end of daylight saving time: every file arrives exactly once, whole, in the order of the
//! schedule.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use layover_retention::Timestamp;
use layover_tests::account::PASSWORD;
use layover_tests::calendar::Calendar;
use layover_tests::content::{Dice, write_file};
use layover_tests::flaky::{Flaky, Whim};
use layover_tests::machine::Machine;
use layover_tests::partner_server::{PartnerServer, Plan, Software};
use layover_tests::process;
use layover_tests::skip::skip;
use layover_tests::wait;
use layover_tests::{Account, Engine, Layover, Partner, Protocol, Setup};

use super::{LONG, held, server, sshd};

/// Half past two comes twice in one of the nights, and counts once.
const SCHEDULE: &str = "0 30 2,14 * * *";

/// The partner's disk: more than all files need.
const DISK: &str = "size=32m,mode=777";

/// What is left of it when it is full: less than most files.
const LEFT_BYTES: u64 = 64 * 1024;

const MOST_BYTES: u64 = 400_000;

/// What passes at each look, of which there are a hundred in a second: slowly enough that a busy
/// machine renews its leases, for what a partner's file is dated by is the real time, and a run
/// that is taken over could not know it again.
const MOMENT: Duration = Duration::from_millis(100);

/// Zones with an end of daylight saving time in spring and in autumn.
const ZONES: [&str; 2] = ["Europe/Brussels", "Australia/Sydney"];

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The zone in which it ends next, and when; not within days. It must be near: a listing of
/// vsftpd names no year, and its clock is the real one.
fn next_end() -> (&'static str, Timestamp) {
    let real = Machine::real_time().saturating_add(8 * DAY);
    let from = jiff::Timestamp::from_microsecond(real.as_micros()).expect("a time");
    let ends = ZONES.map(|name| {
        let zone = jiff::tz::TimeZone::get(name).expect("a zone");
        let end = zone
            .following(from)
            .find(|change| !change.dst().is_dst())
            .expect("an end");
        (
            name,
            Timestamp::from_micros(end.timestamp().as_microsecond()),
        )
    });
    let [one, other] = ends;
    if one.1 < other.1 { one } else { other }
}

#[test]
fn three_days_over_the_end_of_daylight_saving_time() {
    days(Engine::Sqlite, 1, 3);
}

#[test]
#[ignore = "long: 14 days"]
fn fourteen_days_on_sqlite() {
    days(Engine::Sqlite, 6, 14);
}

#[test]
#[ignore = "long: 14 days"]
fn fourteen_days_on_postgresql() {
    if Engine::Postgres.available() {
        days(Engine::Postgres, 6, 14);
    }
}

/// A partner behind a line, and the flows to and from it.
struct Partnership {
    name: &'static str,
    theirs: PartnerServer,
    line: Flaky,
    from_there: PathBuf,
    to_there: PathBuf,
    to_here: PathBuf,
    sent: BTreeMap<String, String>,
    fetched: BTreeMap<String, String>,
}

/// A file system of its own; unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn at(folder: &Path) -> Result<Self, String> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", DISK, "tmpfs"]).arg(folder);
        process::run(&mut mount, b"", LONG)
            .ok()
            .then(|| Self(folder.to_owned()))
            .ok_or_else(|| "a full disk is not part of it: mount is not allowed".to_owned())
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("make the filler");
        let piece = vec![0; 16 * 1024];
        while file.write_all(&piece).is_ok() {}
        let size = file.metadata().expect("its size").len();
        file.set_len(size.saturating_sub(LEFT_BYTES))
            .expect("leave a little");
    }

    fn empty(&self) {
        // It is there only when the disk was filled.
        let _ = fs::remove_file(self.filler());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        process::run(umount.arg("-l").arg(&self.0), b"", LONG);
    }
}

fn open_folder(path: PathBuf) -> PathBuf {
    fs::create_dir_all(&path).expect("make a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    fs::set_permissions(&path, open).expect("open it");
    path
}

fn partnership(ours: &Layover, name: &'static str, plan: Plan, zone: &str) -> Option<Partnership> {
    let theirs = server(plan)?;
    let line = Flaky::before(theirs.address(), Whim::Carry);
    let theirs = theirs.behind(line.address());
    theirs.introduce_as(ours, name, &[]);
    let files = theirs.files().to_owned();
    let home = ours.homes().join("alice").join(name);
    for folder in ["in", "out"] {
        fs::create_dir_all(home.join(folder)).expect("make a folder here");
    }
    for (direction, there, here) in [("download", "theirs", "in"), ("upload", "ours/box", "out")] {
        let flow = format!("{name}-{direction}");
        let add = [
            "flow",
            "add",
            &flow,
            "--integration",
            name,
            "--direction",
            direction,
        ];
        let path = format!("{}/{there}", theirs.path());
        let here = format!("alice:/{name}/{here}");
        let what = ["--path", &path, "--home", &here, "--schedule", SCHEDULE];
        let how = ["--time-zone", zone, "--retries", "50", "--retry-after", "1"];
        ours.admin(&[&add[..], &what, &how].concat());
    }
    Some(Partnership {
        name,
        from_there: open_folder(files.join("theirs")),
        to_there: open_folder(files.join("ours/box")),
        to_here: home.join("in"),
        theirs,
        line,
        sent: BTreeMap::new(),
        fetched: BTreeMap::new(),
    })
}

impl Partnership {
    /// New files on both sides.
    fn prepare(&mut self, alice: &mut dyn Partner, scratch: &Path, firing: usize, dice: &mut Dice) {
        for number in 0..2 {
            let name = format!("{firing:02}-{number}");
            let size = dice.below(MOST_BYTES);
            let sum = write_file(&self.from_there.join(&name), size, dice.number());
            self.fetched.insert(name.clone(), sum);
            let file = scratch.join("file");
            let sum = write_file(&file, dice.below(MOST_BYTES), dice.number());
            let path = format!("/{}/out/{name}", self.name);
            let content = fs::read(&file).expect("read the file");
            alice.put(path.as_bytes(), &content).expect("put");
            self.sent.insert(name, sum);
        }
    }

    fn is_done(&self) -> bool {
        let count = |folder: &Path| {
            let entries = fs::read_dir(folder).expect("read the folder");
            let names = entries.map(|entry| entry.expect("an entry").file_name());
            names
                .filter(|name| !name.to_string_lossy().ends_with(".part"))
                .count()
        };
        count(&self.to_here) == self.fetched.len() && count(&self.to_there) == self.sent.len()
    }
}

fn days(engine: Engine, before: u32, days: usize) {
    let mut dice = Dice::thrown("days of flows");
    let (zone, end) = next_end();
    let ours = Setup::new(engine)
        .set("retention", "keep", "\"30d\"")
        .set("retention", "max_keep", "\"30d\"")
        .prepare();
    let alice: Account = ours.account("alice").password(PASSWORD).add();
    let plans = [("sshd", sshd()), ("vsftpd", Plan::of(Software::Vsftpd))];
    let mut all: Vec<_> = plans
        .into_iter()
        .filter_map(|(name, plan)| partnership(&ours, name, plan, zone))
        .collect();
    if all.is_empty() {
        return;
    }
    // OpenSSH says no more than "Failure" of a full disk, which is no reason to try again.
    let disks: Vec<_> = all
        .iter()
        .filter(|one| one.name == "vsftpd")
        .filter_map(|one| {
            let folder = one.to_there.parent().expect("a folder above");
            Disk::at(folder).map_err(|why| skip(&why)).ok()
        })
        .collect();
    for one in &all {
        open_folder(one.to_there.clone());
    }
    let calendar = Calendar::start(&ours, end.saturating_sub(before * DAY));
    let (mut firings, mut cuts) = (Vec::new(), 0);
    for firing in 0..days * 2 {
        let mut partner = alice.partner_at(calendar.address(Protocol::Sftp), Protocol::Sftp);
        for one in &mut all {
            one.prepare(&mut *partner, ours.client_dir(), firing, &mut dice);
        }
        drop(partner);
        let due = next_due(&ours, &calendar);
        firings.push(due);
        for one in &all {
            one.line.becomes(match firing % 3 {
                0 => Whim::Carry,
                1 => Whim::CutAfter(dice.below(MOST_BYTES)),
                _ => Whim::Refuse,
            });
        }
        let is_full = firing % 4 == 0;
        disks.iter().filter(|_| is_full).for_each(Disk::fill);
        let left = due.duration_since(calendar.now());
        calendar.pass(left);
        // What is wrong passes by itself after a while; until then nothing is given up.
        let trouble = due.saturating_add(Duration::from_secs(10));
        let mut is_over = false;
        let found = wait::within(LONG, || {
            calendar.pass(MOMENT);
            if !is_over && calendar.now() >= trouble {
                is_over = true;
                for one in &mut all {
                    one.line.becomes(Whim::Carry);
                    if one.name == "vsftpd" && firing % 3 == 0 {
                        one.line.cut();
                        one.theirs.start_again();
                    }
                }
                disks.iter().for_each(Disk::empty);
            }
            (is_over && all.iter().all(Partnership::is_done)).then_some(())
        });
        assert!(found.is_some(), "firing {firing}: {:#?}", told(&ours));
        cuts += all.iter().map(|one| one.line.cuts()).sum::<u64>();
    }
    assert!(cuts > 0, "no line was cut");
    wait::until("the runs to end", LONG, || {
        calendar.pass(MOMENT);
        let flows = ours.rows(&["flow", "list"]);
        let names = flows.iter().filter_map(|flow| flow["name"].as_str());
        let mut runs =
            names.flat_map(|name| ours.rows(&["flow", "history", name, "--limit", "500"]));
        runs.all(|run| run["state"] == "done" || run["state"] == "failed")
            .then_some(())
    });
    for one in &all {
        assert_eq!(held(&one.to_here), one.fetched, "{}", one.name);
        assert_eq!(held(&one.to_there), one.sent, "{}: and no .part", one.name);
    }
    in_order(&ours, &all, &firings);
    calendar.stop();
}

/// What went wrong lately.
fn told(ours: &Layover) -> Vec<String> {
    let mut entries = ours.rows(&["journal", "--limit", "200"]);
    entries.retain(|entry| entry["outcome"] == "failed");
    let last = entries.iter().rev().take(10);
    last.map(ToString::to_string).collect()
}

/// The next firing of all flows: they have the same schedule.
fn next_due(ours: &Layover, calendar: &Calendar) -> Timestamp {
    wait::until("the flows to be planned", LONG, || {
        calendar.pass(MOMENT);
        let flows = ours.rows(&["flow", "list"]);
        let due = flows
            .iter()
            .map(|flow| flow["next_due"].as_str()?.parse().ok());
        let due: Vec<Timestamp> = due.collect::<Option<_>>()?;
        let first = *due.first()?;
        (first > calendar.now() && due.iter().all(|due| *due == first)).then_some(first)
    })
}

/// Each file has one entry that says that it moved, behind those of the firings before it, and
/// none of a later one came before its time.
fn in_order(ours: &Layover, all: &[Partnership], firings: &[Timestamp]) {
    let journal = ours.rows(&["journal", "--kind", "transfer", "--limit", "0"]);
    for one in all {
        for (action, folder, files) in [
            ("outbound.download", "in", &one.fetched),
            ("outbound.upload", "out", &one.sent),
        ] {
            let entries = journal.iter().filter(|entry| {
                entry["action"] == action
                    && entry["outcome"] == "ok"
                    && entry["detail"]["integration"] == one.name
            });
            let mut found = BTreeMap::new();
            let mut last = 0;
            for entry in entries {
                let path = entry["path"].as_str().expect("a path");
                let name = path.rsplit('/').next().expect("a name");
                assert_eq!(path, format!("/{}/{folder}/{name}", one.name));
                let firing: usize = name[..2].parse().expect("a firing");
                assert!(firing >= last, "{name} came behind {last}");
                last = firing;
                let at: Timestamp = entry["at"]
                    .as_str()
                    .expect("a time")
                    .parse()
                    .expect("a time");
                assert!(at >= firings[firing], "{name} came before its time");
                *found.entry(name.to_owned()).or_insert(0) += 1;
            }
            let expected: BTreeMap<_, _> = files.keys().map(|name| (name.clone(), 1)).collect();
            assert_eq!(found, expected, "{} {action}", one.name);
        }
    }
    let gaps: Vec<_> = firings
        .windows(2)
        .map(|two| two[1].duration_since(two[0]).as_secs() / 3600)
        .collect();
    // One night has 25 hours: from half past two, the first time, to half past two.
    assert!(
        gaps.iter().all(|hours| [12, 13].contains(hours)),
        "{gaps:?}"
    );
    assert_eq!(
        gaps.iter().filter(|hours| **hours == 13).count(),
        1,
        "{gaps:?}"
    );
}
