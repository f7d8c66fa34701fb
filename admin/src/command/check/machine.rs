//! What the machine gives beside directories and ports: random numbers, a clock that is
//! right, and room on its disks.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use layover_config::Settings;
use layover_depot::{DiskRoom, timer};
use rustix::fs::{OFlags, StatVfs, stat, statvfs};
use tokio::process::Command;

use super::Finding;
use crate::value::ByteSize;

/// How long a program may take to tell of the clock.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// Below this share of a disk somebody should look: uploads go on until the reserve, which
/// is less of every disk.
const SHARE_TO_BE_TOLD: u64 = 10;

/// What systemd-timesyncd leaves when it has set the clock.
const SET_BY_TIMESYNCD: &str = "/run/systemd/timesync/synchronized";

/// By what Docker and Podman can be told from inside.
const CONTAINER_MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];

/// Since Linux 5.6 it answers when the kernel has random numbers, and not before
/// (random(4)).
const RANDOM: &str = "/dev/random";

/// Whether the kernel has random numbers yet: until then a key cannot be made, and a start
/// would wait.
pub(super) fn entropy() -> Finding {
    entropy_of(Path::new(RANDOM))
}

fn entropy_of(device: &Path) -> Finding {
    const WHAT: &str = "random numbers";
    let no_wait = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(no_wait)
        .open(device);
    match opened.and_then(|mut file| file.read_exact(&mut [0])) {
        Ok(()) => Finding::ready(WHAT, "the kernel has them"),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Finding::not_ready(
            WHAT,
            "the kernel has collected too little to make keys, and the server would wait",
            "wait; a virtual machine wants virtio-rng, or a program such as haveged",
        ),
        Err(error) => Finding::notice(
            WHAT,
            format!("{}: {error}", device.display()),
            "whether the kernel has random numbers cannot be seen; a sandbox should have the device",
        ),
    }
}

/// Whether something keeps the clock right. Files are deleted by it.
pub(super) async fn clock() -> Finding {
    let told = told_by_programs().await;
    let told = told.or_else(|| Path::new(SET_BY_TIMESYNCD).exists().then_some(true));
    synchronised(told, is_in_container())
}

fn synchronised(told: Option<bool>, is_in_container: bool) -> Finding {
    const WHAT: &str = "clock";
    match told {
        Some(true) => Finding::ready(WHAT, "synchronised"),
        Some(false) => Finding::notice(
            WHAT,
            "not synchronised: files are deleted by it, and it may run away",
            "systemctl enable --now systemd-timesyncd, or install chrony; then see that it can \
             reach its servers",
        ),
        None if is_in_container => Finding::ready(
            WHAT,
            "a container's clock is its host's: see there that it is synchronised",
        ),
        None => Finding::notice(
            WHAT,
            "nothing here tells whether it is synchronised (neither timedatectl nor chronyc)",
            "run systemd-timesyncd or chrony; in a virtual machine its host may do it",
        ),
    }
}

async fn told_by_programs() -> Option<bool> {
    // What adjtimex(2) says, whoever keeps the clock.
    let property = ["show", "--property=NTPSynchronized", "--value"];
    if let Some(text) = output_of("timedatectl", &property).await
        && let Some(told) = of_timedatectl(&text)
    {
        return Some(told);
    }
    of_chronyc(&output_of("chronyc", &["-c", "tracking"]).await?)
}

fn of_timedatectl(text: &str) -> Option<bool> {
    match text.trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

/// The last of the columns is the leap status.
fn of_chronyc(text: &str) -> Option<bool> {
    let status = text.trim().rsplit(',').next()?;
    match status {
        "Normal" | "Insert second" | "Delete second" => Some(true),
        "Not synchronised" => Some(false),
        _ => None,
    }
}

/// What a program prints; nothing when it is not there, fails or takes too long.
async fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    let ran = timer::timeout(ASK_LIMIT, command.output())
        .await
        .ok()?
        .ok()?;
    let text = String::from_utf8(ran.stdout).ok()?;
    ran.status.success().then_some(text)
}

/// Whether this process runs in a container.
pub(crate) fn is_in_container() -> bool {
    let marked = CONTAINER_MARKS.iter().any(|mark| Path::new(mark).exists());
    marked || std::env::var_os("container").is_some()
}

/// One line for each disk that files, or the data directory, lie on or are going to.
pub(super) fn disks(settings: &Settings) -> Vec<Finding> {
    let mut disks: BTreeMap<u64, (Vec<&'static str>, PathBuf)> = BTreeMap::new();
    for (name, path) in [
        ("homes", &settings.storage.homes),
        ("data_dir", &settings.data_dir),
    ] {
        let Some((device, place)) = existing(path) else {
            continue;
        };
        let (names, _) = disks.entry(device).or_insert_with(|| (Vec::new(), place));
        names.push(name);
    }
    let disks = disks.into_values();
    disks
        .filter_map(|(names, place)| {
            let space = statvfs(&place).ok()?;
            Some(disk(&names.join(", "), &space))
        })
        .collect()
}

/// The nearest place that is there, and its device.
fn existing(path: &Path) -> Option<(u64, PathBuf)> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find_map(|place| {
        let found = stat(place).ok()?;
        Some((found.st_dev, place.to_owned()))
    })
}

fn disk(names: &str, space: &StatVfs) -> Finding {
    const WHAT: &str = "disk space";
    let bytes = |blocks: u64| blocks.saturating_mul(space.f_frsize);
    let (total, free) = (bytes(space.f_blocks), bytes(space.f_bavail));
    // Some file systems make inodes as they go, and tell of none.
    let inodes = (space.f_files > 0).then_some((space.f_files, space.f_favail));
    let files = inodes.map(|(_, free)| format!(", room for {free} more files"));
    let detail = format!(
        "{names}: {} of {} free{}",
        ByteSize(free),
        ByteSize(total),
        files.unwrap_or_default()
    );
    let is_short = |total: u64, free: u64| free < total / SHARE_TO_BE_TOLD;
    if is_short(total, free) || inodes.is_some_and(|(total, free)| is_short(total, free)) {
        let reserve = ByteSize(DiskRoom::reserve_bytes_of(total));
        let next =
            format!("make room: uploads leave {reserve} of it free, and are refused below that");
        return Finding::notice(WHAT, detail, next);
    }
    Finding::ready(WHAT, detail)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_programs_say_of_the_clock_is_understood() {
        assert_eq!(of_timedatectl("yes\n"), Some(true));
        assert_eq!(of_timedatectl("no\n"), Some(false));
        assert_eq!(of_timedatectl("Failed to connect to bus"), None);
        let tracking = |status: &str| {
            format!(
                "A29FC87B,162.159.200.123,4,1790000000.1,0.0,0.0,0.0,1,0,0,0.01,0,64.5,{status}\n"
            )
        };
        assert_eq!(of_chronyc(&tracking("Normal")), Some(true));
        assert_eq!(of_chronyc(&tracking("Not synchronised")), Some(false));
        assert_eq!(of_chronyc("506 Cannot talk to daemon"), None);
    }

    #[test]
    fn random_numbers_are_there_or_waited_for_or_cannot_be_seen() {
        assert_eq!(entropy().state, State::Ready);
        let place = tempfile::tempdir().unwrap();
        let absent = entropy_of(&place.path().join("absent"));
        assert_eq!(absent.state, State::Notice);
        // A pipe that somebody holds and writes nothing into would be waited for, as well.
        let pipe = place.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, mode).unwrap();
        let mut held = OpenOptions::new();
        let held = held.read(true).write(true).open(&pipe).unwrap();
        let empty = entropy_of(&pipe);
        assert_eq!(empty.state, State::NotReady, "{empty:?}");
        assert!(empty.next_step.unwrap().contains("virtio-rng"));
        drop(held);
    }

    #[test]
    fn what_keeps_the_clock_right_is_judged() {
        for (told, is_in_container, state) in [
            (Some(true), false, State::Ready),
            (Some(false), false, State::Notice),
            (Some(false), true, State::Notice),
            (None, true, State::Ready),
            (None, false, State::Notice),
        ] {
            let found = synchronised(told, is_in_container);
            assert_eq!(found.state, state, "{found:?}");
            assert_eq!(found.next_step.is_some(), state != State::Ready);
        }
    }

    #[tokio::test]
    async fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(output_of("no-such-program", &[]).await, None);
        assert_eq!(output_of("false", &[]).await, None);
        assert_eq!(output_of("echo", &["x"]).await.as_deref(), Some("x\n"));
    }

    #[test]
    fn a_disk_is_told_of_when_little_is_left() {
        let place = tempfile::tempdir().unwrap();
        let mut space = statvfs(place.path()).unwrap();
        space.f_frsize = 1;
        (space.f_blocks, space.f_files) = (1_000, 1_000);
        for (free, files, state) in [
            (100, 100, State::Ready),
            (99, 100, State::Notice),
            (100, 99, State::Notice),
        ] {
            (space.f_bavail, space.f_favail) = (free, files);
            assert_eq!(disk("homes", &space).state, state, "{free} {files}");
        }
        space.f_files = 0;
        assert_eq!(disk("homes", &space).state, State::Ready);
    }

    #[test]
    fn from_where_on_uploads_are_refused_is_told_of_this_disk() {
        let place = tempfile::tempdir().unwrap();
        let mut space = statvfs(place.path()).unwrap();
        (space.f_frsize, space.f_bavail, space.f_files) = (1 << 20, 1, 0);
        for (mib, reserve) in [
            (100, "5.0 MiB"),
            (2_048, "64.0 MiB"),
            (10_000, "100.0 MiB"),
            (1 << 20, "1.0 GiB"),
        ] {
            space.f_blocks = mib;
            let next = disk("homes", &space).next_step.unwrap();
            assert!(next.contains(reserve), "{mib} MiB: {next}");
        }
    }

    #[test]
    fn homes_and_data_on_one_disk_are_one_line_before_they_are_there() {
        let place = tempfile::tempdir().unwrap();
        let mut settings = Settings {
            data_dir: place.path().join("data"),
            ..Settings::default()
        };
        settings.storage.homes = place.path().join("data/homes");
        let found = disks(&settings);
        assert_eq!(found.len(), 1);
        assert!(
            found[0].detail.starts_with("homes, data_dir: "),
            "{found:?}"
        );
        assert!(!settings.data_dir.exists());
    }
}
