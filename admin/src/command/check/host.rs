//! What the machine gives: directories, keys, the port, descriptors.

use std::fs::{self, Metadata};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use layover_config::{Host, Settings};
use layover_server::{Addresses, HostKeySet, HostKeyState, PublicAddresses, load_user_cas};
use rustix::fs::{Access, CWD, Mode, OFlags, ResolveFlags, access, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::Finding;
use crate::error::with_causes;

/// Permissions that would let group and others into the data directory.
pub(super) const FOREIGN_ACCESS: u32 = 0o077;

/// Descriptors that one connection may need at once: its socket, an open
/// directory and a few open files.
const DESCRIPTORS_PER_CONNECTION: u64 = 4;

/// Descriptors that the server needs for itself: database, listeners, logs.
const OWN_DESCRIPTORS: u64 = 128;

pub(super) fn data_dir(path: &Path) -> Finding {
    const WHAT: &str = "data directory";
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => to_be_made(WHAT, path),
        Err(error) => Finding::not_ready(WHAT, format!("{shown}: {error}"), "make it accessible"),
        Ok(found) if !found.is_dir() => {
            Finding::not_ready(WHAT, format!("{shown} is no directory"), "set data_dir")
        }
        Ok(_) if !writable(path) => not_writable(WHAT, path),
        Ok(found) if mode(&found) & FOREIGN_ACCESS != 0 => Finding::notice(
            WHAT,
            format!("{shown} is open to other users (mode {:o})", mode(&found)),
            format!("chmod 700 {shown}"),
        ),
        Ok(_) => Finding::ready(WHAT, shown.to_string()),
    }
}

pub(super) fn homes(path: &Path) -> Finding {
    const WHAT: &str = "homes";
    let shown = path.display();
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return to_be_made(WHAT, path),
        Err(error) => {
            return Finding::not_ready(WHAT, format!("{shown}: {error}"), "make it accessible");
        }
        Ok(found) if !found.is_dir() => {
            return Finding::not_ready(
                WHAT,
                format!("{shown} is no directory"),
                "set [storage] homes",
            );
        }
        Ok(found) => {
            if let Some(other) = elsewhere(path, &found) {
                return Finding::not_ready(
                    WHAT,
                    format!(
                        "{other} lies on another file system than {shown}: uploads cannot be renamed into place"
                    ),
                    "put all homes on one file system",
                );
            }
        }
    }
    if !writable(path) {
        return not_writable(WHAT, path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let jail = ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, path, flags, Mode::empty(), jail) {
        Ok(_) => Finding::ready(WHAT, shown.to_string()),
        Err(error) => Finding::not_ready(
            WHAT,
            format!("openat2 does not work on {shown}: {error}"),
            "Linux 5.6 or later is needed, and a sandbox that allows openat2",
        ),
    }
}

/// A folder directly below `homes` that is a mount point of its own.
fn elsewhere(homes: &Path, found: &Metadata) -> Option<String> {
    let entries = fs::read_dir(homes).ok()?;
    entries
        .filter_map(Result::ok)
        .find(|entry| {
            entry
                .metadata()
                .is_ok_and(|entry| entry.is_dir() && entry.dev() != found.dev())
        })
        .map(|entry| entry.path().display().to_string())
}

pub(super) fn host_keys(settings: &Settings) -> Finding {
    const WHAT: &str = "SSH host key";
    if !settings.sftp.enabled {
        return Finding::ready(WHAT, "not needed: SFTP is switched off");
    }
    let set = match HostKeySet::read(&settings.data_dir, &settings.sftp) {
        Ok(set) => set,
        Err(error) => {
            return Finding::not_ready(
                WHAT,
                with_causes(&error),
                "correct it; never replace it lightly: partners pin it",
            );
        }
    };
    let announced = set.in_state(HostKeyState::Announced);
    let mut keys = set.served().chain(announced);
    if let Some((key, mode)) = keys.find_map(|key| Some((key, key.loose_mode()?))) {
        return Finding::not_ready(
            WHAT,
            format!("{} is open to other users (mode {mode:o})", key.source()),
            "chmod 600 on the key file",
        );
    }
    let mut found: Vec<_> = set.served().map(|key| key.fingerprint()).collect();
    if !set.missing().is_empty() {
        let missing: Vec<_> = set
            .missing()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        found.push(format!(
            "will be made at the first start: {}",
            missing.join(", ")
        ));
    }
    Finding::ready(WHAT, found.join(", "))
}

/// Nothing, when no authority is to be trusted.
pub(super) fn user_cas(settings: &Settings) -> Option<Finding> {
    const WHAT: &str = "user authorities";
    let files = &settings.sftp.trusted_user_ca_keys;
    if files.is_empty() {
        return None;
    }
    Some(match load_user_cas(files) {
        Ok(authorities) => {
            let prints: Vec<_> = authorities.into_iter().map(|ca| ca.fingerprint).collect();
            Finding::ready(WHAT, prints.join(", "))
        }
        Err(error) => Finding::not_ready(
            WHAT,
            with_causes(&error),
            "correct [sftp] trusted_user_ca_keys, or the file",
        ),
    })
}

/// The ports of SFTP, of both kinds of FTPS, and of the console.
pub(super) fn ports(settings: &Settings, server: Option<&Addresses>) -> [Finding; 4] {
    let (sftp, ftps) = (&settings.sftp, &settings.ftps);
    let held = |at: fn(&Addresses) -> Option<SocketAddr>| {
        server.and_then(|server| Some((server.pid, at(server)?)))
    };
    [
        Asked {
            what: "SFTP port",
            enabled: sftp.enabled,
            switch: "[sftp] enabled",
            address: SocketAddr::new(sftp.listen, sftp.port.get()),
            held: held(|server| server.sftp),
            setting: "[sftp] port (LAYOVER__SFTP__PORT)",
        },
        Asked {
            what: "FTPS port",
            enabled: ftps.explicit_enabled,
            switch: "[ftps] explicit_enabled",
            address: SocketAddr::new(ftps.listen, ftps.explicit_port.get()),
            held: held(|server| server.ftps),
            setting: "[ftps] explicit_port (LAYOVER__FTPS__EXPLICIT_PORT)",
        },
        Asked {
            what: "implicit FTPS port",
            enabled: ftps.implicit_enabled,
            switch: "[ftps] implicit_enabled",
            address: SocketAddr::new(ftps.listen, ftps.implicit_port.get()),
            held: held(|server| server.ftps_implicit),
            setting: "[ftps] implicit_port (LAYOVER__FTPS__IMPLICIT_PORT)",
        },
        Asked {
            what: "console port",
            enabled: settings.console.enabled,
            switch: "[console] enabled",
            address: settings.console.listen,
            held: held(|server| server.console),
            setting: "[console] listen (LAYOVER__CONSOLE__LISTEN)",
        },
    ]
    .map(Asked::finding)
}

/// A port that the server wants.
struct Asked {
    what: &'static str,
    enabled: bool,
    switch: &'static str,
    address: SocketAddr,
    /// Our running server's process, and what it holds.
    held: Option<(u32, SocketAddr)>,
    setting: &'static str,
}

impl Asked {
    fn finding(self) -> Finding {
        let Self { what, address, .. } = self;
        if !self.enabled {
            return Finding::ready(what, format!("switched off by {}", self.switch));
        }
        if address.port() == 0 {
            let now = self.held.map(|(_, held)| format!(", now {held}"));
            let now = now.unwrap_or_default();
            return Finding::ready(what, format!("{address}: any free port{now}"));
        }
        if let Some((pid, held)) = self.held
            && held.port() == address.port()
        {
            let held = format!("{held} is held by our server (process {pid})");
            return Finding::ready(what, held);
        }
        match TcpListener::bind(address) {
            Ok(_) => Finding::ready(what, format!("{address} is free")),
            Err(error) => Finding::not_ready(
                what,
                format!("{address}: {error}"),
                format!("stop the other program, or set {}", self.setting),
            ),
        }
    }
}

/// What PASV tells; nothing, when clients are told the address that they came to.
pub(super) async fn public_address(settings: &Settings) -> Option<Finding> {
    const WHAT: &str = "public address";
    let setting = &settings.ftps.public_address;
    if setting.rules().is_empty() || !settings.ftps.is_served() {
        return None;
    }
    Some(match PublicAddresses::look_up(setting).await {
        Ok(found) => {
            let all: Vec<_> = found
                .found()
                .map(|(host, address)| match host {
                    Host::Address(_) => address.to_string(),
                    Host::Name(name) => format!("{name} is {address}"),
                })
                .collect();
            Finding::ready(WHAT, format!("told by PASV: {}", all.join(", ")))
        }
        Err(error) => Finding::not_ready(
            WHAT,
            with_causes(&error),
            "correct [ftps] public_address (LAYOVER__FTPS__PUBLIC_ADDRESS), or the name's records",
        ),
    })
}

pub(super) fn descriptors(max_connections: usize) -> Finding {
    // The server raises the soft limit to the hard one when it starts.
    enough_descriptors(max_connections, getrlimit(Resource::Nofile).maximum)
}

fn enough_descriptors(max_connections: usize, limit: Option<u64>) -> Finding {
    const WHAT: &str = "open files";
    let needed = u64::try_from(max_connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(DESCRIPTORS_PER_CONNECTION)
        .saturating_add(OWN_DESCRIPTORS);
    match limit {
        Some(limit) if limit < needed => Finding::notice(
            WHAT,
            format!("the limit is {limit}; {max_connections} connections may need {needed}"),
            format!("ulimit -n {needed} (LimitNOFILE={needed}), or lower [gate] max_connections"),
        ),
        Some(limit) => Finding::ready(
            WHAT,
            format!("the limit is {limit}, {needed} may be needed"),
        ),
        None => Finding::ready(WHAT, "no limit"),
    }
}

/// A directory that `serve` would make: is the nearest existing one above it
/// writable?
fn to_be_made(what: &'static str, path: &Path) -> Finding {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let above = absolute.ancestors().skip(1).find(|above| above.exists());
    match above {
        Some(above) if writable(above) && takes_directories(above) => Finding::ready(
            what,
            format!("{} will be made at the first start", path.display()),
        ),
        Some(above) if reach(above) == Err(Errno::ROFS) => {
            let (detail, next) = read_only(above);
            let detail = format!("{} is not there, and {detail}", path.display());
            Finding::not_ready(what, detail, next)
        }
        _ => Finding::not_ready(
            what,
            format!("{} is not there and cannot be made", path.display()),
            format!("make it and chown it to {}", user()),
        ),
    }
}

/// Whether directories can be made there at all: for root, `access` alone says
/// yes to the kernel's own file systems.
fn takes_directories(path: &Path) -> bool {
    /// proc, sysfs, cgroup2, by the magic numbers of statfs(2).
    const OF_THE_KERNEL: [i64; 3] = [0x9fa0, 0x6265_6572, 0x6367_7270];
    rustix::fs::statfs(path).is_ok_and(|stat| !OF_THE_KERNEL.contains(&stat.f_type))
}

pub(super) fn writable(path: &Path) -> bool {
    reach(path).is_ok()
}

fn reach(path: &Path) -> Result<(), Errno> {
    access(path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK)
}

/// A directory that is there and cannot be written.
fn not_writable(what: &'static str, path: &Path) -> Finding {
    if reach(path) == Err(Errno::ROFS) {
        let (detail, next) = read_only(path);
        return Finding::not_ready(what, detail, next);
    }
    Finding::not_ready(
        what,
        format!("{} is not writable", path.display()),
        format!("chown it to {}", user()),
    )
}

/// What is said of a place on a read-only file system, and what to do: its owner has
/// nothing to do with it.
fn read_only(path: &Path) -> (String, String) {
    (
        format!("{} is on a read-only file system", path.display()),
        "mount it read-write (after a disk error Linux may have made it read-only: dmesg); under \
         systemd, name it in ReadWritePaths="
            .to_owned(),
    )
}

pub(super) fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

fn user() -> String {
    format!("user {}", rustix::process::geteuid().as_raw())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::State;
    use super::*;

    #[test]
    fn open_files_are_enough_or_the_limit_to_set_is_told() {
        let needed = 10 * DESCRIPTORS_PER_CONNECTION + OWN_DESCRIPTORS;
        assert_eq!(enough_descriptors(10, None).state, State::Ready);
        assert_eq!(enough_descriptors(10, Some(needed)).state, State::Ready);
        let short = enough_descriptors(10, Some(needed - 1));
        assert_eq!(short.state, State::Notice);
        let told = format!("ulimit -n {needed} (LimitNOFILE={needed})");
        assert!(short.next_step.unwrap().contains(&told));
    }

    #[test]
    fn a_directory_that_can_be_made_is_ready_and_is_not_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        assert_eq!(data_dir(&path).state, State::Ready);
        assert_eq!(homes(&path).state, State::Ready);
        assert!(!dir.path().join("a").exists());
    }

    #[test]
    fn a_directory_in_a_file_system_of_the_kernel_cannot_be_made() {
        for path in ["/proc/x", "/proc/x/y", "/sys/x"] {
            assert_eq!(data_dir(Path::new(path)).state, State::NotReady, "{path}");
            assert_eq!(homes(Path::new(path)).state, State::NotReady, "{path}");
        }
    }

    #[test]
    fn a_file_in_the_place_of_a_directory_is_not_ready() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        assert_eq!(data_dir(&path).state, State::NotReady);
        assert_eq!(homes(&path).state, State::NotReady);
    }

    #[test]
    fn a_data_directory_open_to_others_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(data_dir(dir.path()).state, State::Notice);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(data_dir(dir.path()).state, State::Ready);
    }

    #[test]
    fn a_port_that_another_program_holds_is_not_ready() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let text = format!(
            "[sftp]\nlisten = \"127.0.0.1\"\nport = 0\n\
             [ftps]\nlisten = \"127.0.0.1\"\nexplicit_port = {}\nimplicit_port = 0\n\
             [console]\nlisten = \"127.0.0.1:0\"\n",
            address.port()
        );
        let settings = Settings::parse(&text, "test", std::iter::empty()).unwrap();
        let states = |server| ports(&settings, server).map(|finding| finding.state);
        let (free, taken) = (State::Ready, State::NotReady);
        assert_eq!(states(None), [free, taken, free, free]);
        let ours = Addresses {
            pid: std::process::id(),
            process_began: None,
            node: "n".to_owned(),
            version: "0".to_owned(),
            started_at: String::new(),
            sftp: "127.0.0.1:1".parse().ok(),
            ftps: Some(address),
            ftps_implicit: "127.0.0.1:2".parse().ok(),
            console: None,
            tls_certificate: None,
            sandbox: None,
            stopping: false,
        };
        assert_eq!(states(Some(&ours)), [State::Ready; 4]);
        let text = text.replace("127.0.0.1:0", &address.to_string());
        let text = text.replacen(
            &format!("explicit_port = {}", address.port()),
            "explicit_port = 0",
            1,
        );
        let console = Settings::parse(&text, "test", std::iter::empty()).unwrap();
        let [.., console] = ports(&console, None);
        assert_eq!(
            (console.what, console.state),
            ("console port", State::NotReady)
        );
        let text = text.replace("explicit_port", "explicit_enabled = false\nexplicit_port");
        let settings = Settings::parse(&text, "test", std::iter::empty()).unwrap();
        let [_, off, ..] = ports(&settings, None);
        assert_eq!(off.state, State::Ready);
        assert_eq!(off.detail, "switched off by [ftps] explicit_enabled");
    }

    #[test]
    fn too_few_descriptors_are_noticed() {
        assert_eq!(descriptors(1).state, State::Ready);
        assert_ne!(descriptors(usize::MAX).state, State::NotReady);
    }
}
