//! `addresses.json` in the data directory: how other processes of this machine
//! find the running server. It exists while the server is ready and is removed
//! when it stops; after a crash it may be stale, so a reader also looks whether
//! the process is alive.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use layover_retention::Timestamp;
use serde::{Deserialize, Serialize};

use crate::sandbox::{SandboxReport, sandbox_report};
use crate::tls_certificate::TlsCertificateState;

/// The file's name below `data_dir`.
pub const ADDRESS_FILE_NAME: &str = "addresses.json";

/// What a running server tells about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Process id of the server.
    pub pid: u32,
    /// When that process began, in clock ticks since the machine's start; `None`
    /// where /proc does not say.
    #[serde(default)]
    pub process_began: Option<u64>,
    /// The node's name in the database.
    pub node: String,
    /// Version of the executable.
    pub version: String,
    /// When the server became ready, RFC 3339.
    pub started_at: String,
    /// Where SFTP listens, with the port that was really bound; `None`: it is
    /// switched off.
    pub sftp: Option<SocketAddr>,
    /// Where FTPS with AUTH TLS listens, likewise.
    pub ftps: Option<SocketAddr>,
    /// Where FTPS listens that begins with TLS, likewise.
    pub ftps_implicit: Option<SocketAddr>,
    /// Where metrics and health are told, likewise.
    #[serde(default)]
    pub console: Option<SocketAddr>,
    /// The TLS certificate in use; `None` where FTPS is switched off.
    #[serde(default)]
    pub tls_certificate: Option<TlsCertificateState>,
    /// What the kernel keeps it from.
    #[serde(default)]
    pub sandbox: Option<SandboxReport>,
    /// Whether it only lets running transfers finish.
    #[serde(default)]
    pub stopping: bool,
}

/// The ports that were really bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listening {
    pub(crate) sftp: Option<SocketAddr>,
    pub(crate) ftps: Option<SocketAddr>,
    pub(crate) ftps_implicit: Option<SocketAddr>,
    pub(crate) console: Option<SocketAddr>,
}

impl Addresses {
    /// The addresses of this process.
    #[must_use]
    pub(crate) fn of_this_process(
        node: String,
        started_at: Timestamp,
        listening: Listening,
        tls_certificate: Option<TlsCertificateState>,
    ) -> Self {
        Self {
            pid: std::process::id(),
            process_began: process_began(std::process::id()),
            node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_at: started_at.to_string(),
            sftp: listening.sftp,
            ftps: listening.ftps,
            ftps_implicit: listening.ftps_implicit,
            console: listening.console,
            tls_certificate,
            sandbox: sandbox_report().cloned(),
            stopping: false,
        }
    }

    /// Each kind of entry with where it listens, and none where it is switched off.
    #[must_use]
    pub fn entries(&self) -> [(&'static str, Option<SocketAddr>); 3] {
        [
            ("SFTP", self.sftp),
            ("FTPS", self.ftps),
            ("implicit FTPS", self.ftps_implicit),
        ]
    }

    /// Where the server can be reached, in one line.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let sftp = self.sftp.map(|at| format!("SFTP on {at}"));
        let ftps: Vec<_> = [(self.ftps, "explicit"), (self.ftps_implicit, "implicit")]
            .into_iter()
            .filter_map(|(at, kind)| Some(format!("{} ({kind})", at?)))
            .collect();
        let ftps = (!ftps.is_empty()).then(|| format!("FTPS on {}", ftps.join(" and ")));
        let all: Vec<_> = [sftp, ftps].into_iter().flatten().collect();
        format!("ready: {}", all.join(", "))
    }

    /// Reads the file below `data_dir`; `None` when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is not what a server of this version writes.
    pub fn read(data_dir: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(data_dir.join(ADDRESS_FILE_NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        serde_json::from_slice(&text)
            .map(Some)
            .map_err(io::Error::from)
    }

    /// Whether the process that wrote the file is alive. Its number alone does not
    /// tell, in a container every server is process 1, but where /proc says no more.
    #[must_use]
    pub fn process_is_alive(&self) -> bool {
        let began = process_began(self.pid);
        if self.process_began.is_some() && began.is_some() {
            return began == self.process_began;
        }
        // A server hides from other processes where /proc does (`hidepid`).
        let Ok(pid) = i32::try_from(self.pid) else {
            return false;
        };
        rustix::process::Pid::from_raw(pid).is_some_and(|pid| {
            !matches!(
                rustix::process::test_kill_process(pid),
                Err(rustix::io::Errno::SRCH)
            )
        })
    }
}

/// When a process began, in clock ticks since the machine's start; `None` when there
/// is no such process.
fn process_began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc_pid_stat(5): the name, in brackets, may itself contain any; the state follows
    // as field 3, and what is wanted is field 22.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(22 - 3)?.parse().ok()
}

/// The written file; removed by [`Self::remove`], or at the latest when dropped.
#[derive(Debug)]
pub(crate) struct AddressFile {
    path: PathBuf,
    /// What stands in it; `None` when it is removed.
    written: Mutex<Option<Addresses>>,
}

impl AddressFile {
    /// Writes the file whole or not at all.
    pub(crate) fn write(data_dir: &Path, addresses: &Addresses) -> io::Result<Self> {
        let file = Self {
            path: data_dir.join(ADDRESS_FILE_NAME),
            written: Mutex::new(Some(addresses.clone())),
        };
        file.put(addresses)?;
        Ok(file)
    }

    /// Something is otherwise now: whoever looks is told.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Addresses)) {
        let mut written = self.written();
        let Some(addresses) = written.as_mut() else {
            return;
        };
        change(addresses);
        if let Err(error) = self.put(addresses) {
            tracing::warn!(path = %self.path.display(), %error, "addresses.json could not be changed");
        }
    }

    /// Nobody is found any more.
    pub(crate) fn remove(&self) {
        if self.written().take().is_none() {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), %error, "addresses.json could not be removed");
        }
    }

    fn written(&self) -> MutexGuard<'_, Option<Addresses>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, addresses: &Addresses) -> io::Result<()> {
        let unfinished = self.path.with_extension("json.new");
        let mut text = serde_json::to_vec_pretty(addresses)?;
        text.push(b'\n');
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o644)
            .open(&unfinished)?;
        file.write_all(&text)?;
        fs::rename(&unfinished, &self.path)
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_this_process() -> Addresses {
        let nowhere = Listening {
            sftp: None,
            ftps: None,
            ftps_implicit: None,
            console: None,
        };
        let at = "2026-11-22T08:00:00Z".parse().unwrap();
        Addresses::of_this_process("node-1".to_owned(), at, nowhere, None)
    }

    #[test]
    fn another_process_of_the_same_number_is_not_the_server() {
        let ours = of_this_process();
        assert!(ours.process_is_alive());
        let earlier = Addresses {
            process_began: ours.process_began.map(|began| began - 1),
            ..ours
        };
        assert!(!earlier.process_is_alive());
    }

    #[test]
    fn without_the_moment_of_its_beginning_the_number_decides() {
        let ours = Addresses {
            process_began: None,
            ..of_this_process()
        };
        assert!(ours.process_is_alive());
        let gone = Addresses {
            pid: 0x3fff_ffff,
            ..ours
        };
        assert!(!gone.process_is_alive());
    }
}
