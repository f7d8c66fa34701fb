//! The two servers, ready for the same client.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use layover_tests::engine::Engine;
use layover_tests::keys::{KeyKind, KeyPair};
use layover_tests::layover::{Layover, Setup};
use layover_tests::process;
use layover_tests::sftp::Sftp;
use layover_tests::ssh::Ssh;
use layover_tests::wait::{self, PATIENCE};
use tempfile::TempDir;

use crate::cost;

/// How long one job may take.
const JOB_LIMIT: Duration = Duration::from_secs(300);

/// What Layover promises when it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// As little as `sshd` does: the fair comparison.
    Never,
    /// That the file survives a power cut.
    Always,
}

impl Fsync {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
        }
    }
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rival {
    OpenSsh,
    Layover,
}

pub(crate) struct Rivals {
    pub(crate) client_dir: PathBuf,
    key: KeyPair,
    user: String,
    openssh: OpenSsh,
    layover: Layover,
    _dir: TempDir,
}

struct OpenSsh {
    child: Child,
    address: SocketAddr,
    home: PathBuf,
}

impl Drop for OpenSsh {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Rivals {
    /// Starts both, their files below `place`.
    pub(crate) fn start(place: &Path, fsync: Fsync) -> Self {
        let dir = TempDir::with_prefix_in("layover-bench-", place).expect("make a folder");
        let user = user();
        let client_dir = dir.path().join("client");
        fs::create_dir(&client_dir).expect("make the client's folder");
        let key = KeyPair::generate(dir.path(), "client-key", KeyKind::Ed25519);
        let openssh = OpenSsh::start(dir.path(), &key);
        let quoted = format!("\"{}\"", fsync.as_str());
        let layover = Setup::new(Engine::Sqlite)
            .homes(&dir.path().join("homes"))
            .data_dir(&dir.path().join("data"))
            .set("storage", "fsync", &quoted)
            .set("gate", "max_connections_per_address", "2000")
            .set("gate", "max_half_open", "2000")
            .prepare();
        layover.admin(&["entity", "add", "bench"]);
        let public = key.public();
        layover.admin(&[
            "account",
            "add",
            &user,
            "--entity",
            "bench",
            "--allow",
            "127.0.0.1/32",
            "--authorized-key",
            public.to_str().expect("a path of ours is text"),
        ]);
        layover.start();
        Self {
            client_dir,
            key,
            user,
            openssh,
            layover,
            _dir: dir,
        }
    }

    fn address(&self, rival: Rival) -> SocketAddr {
        match rival {
            Rival::OpenSsh => self.openssh.address,
            Rival::Layover => self.layover.sftp_address(),
        }
    }

    pub(crate) fn pid(&self, rival: Rival) -> u32 {
        match rival {
            Rival::OpenSsh => self.openssh.child.id(),
            Rival::Layover => self.layover.pid(),
        }
    }

    /// Where a client's files go: `sshd` has no jail here.
    pub(crate) fn base(&self, rival: Rival) -> String {
        match rival {
            Rival::OpenSsh => format!("{}/", self.openssh.home.display()),
            Rival::Layover => "/".to_owned(),
        }
    }

    /// A client that talks to one of them and has not said anything yet.
    pub(crate) fn client(&self, rival: Rival) -> Command {
        let address = self.address(rival);
        let mut command = Command::new("sftp");
        command
            .args(["-q", "-F", "none", "-c", "aes128-gcm@openssh.com"])
            .args(["-o", "StrictHostKeyChecking=no"])
            .args(["-o", "UserKnownHostsFile=/dev/null"])
            .args(["-o", "IdentitiesOnly=yes", "-i"])
            .arg(self.key.private())
            .args(["-P", &address.port().to_string(), "-b", "-"])
            .arg(format!("{}@{}", self.user, address.ip()))
            .env_remove("SSH_AUTH_SOCK");
        command
    }

    /// Has a client do `commands`.
    pub(crate) fn sftp(&self, rival: Rival, commands: &str) {
        process::run(&mut self.client(rival), commands.as_bytes(), JOB_LIMIT).expect_ok();
    }

    /// A session of a client in this process: a thousand of them fit on a small machine.
    pub(crate) fn session(&self, rival: Rival) -> Sftp {
        let mut ssh = Ssh::connect(self.address(rival)).expect("connect");
        ssh.key(&self.user, &self.key).expect_accepted();
        ssh.sftp().expect("start SFTP")
    }

    /// Waits until the server has done all that the last client made it do: `sshd` counts a child's
    /// time when the child is gone.
    pub(crate) fn settle(&self, rival: Rival) {
        let pid = self.pid(rival);
        let mut before = cost::cpu_s(pid);
        let quiet = wait::within(PATIENCE, || {
            std::thread::park_timeout(Duration::from_millis(100));
            let now = cost::cpu_s(pid);
            let is_quiet = now - before < 0.011;
            before = now;
            is_quiet.then_some(())
        });
        quiet.expect("the server comes to rest");
    }
}

impl OpenSsh {
    fn start(dir: &Path, key: &KeyPair) -> Self {
        let home = dir.join("openssh");
        fs::create_dir(&home).expect("make a folder for sshd's files");
        let host_key = KeyPair::generate(dir, "host-key", KeyKind::Ed25519);
        let keys = dir.join("authorized_keys");
        fs::copy(key.public(), &keys).expect("copy the public key");
        // Where Debian's sshd wants to be able to lock itself in.
        fs::create_dir_all("/run/sshd").ok();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("find a free port");
        let address = free.local_addr().expect("the port");
        drop(free);
        let config = dir.join("sshd_config");
        let text = format!(
            "ListenAddress {address}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
             MaxStartups 2000\nMaxSessions 2000\nSubsystem sftp internal-sftp\n",
            host_key.private().display(),
            keys.display()
        );
        fs::write(&config, text).expect("write sshd_config");
        let child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-q", "-f"])
            .arg(&config)
            .stdin(Stdio::null())
            .spawn()
            .expect("start sshd (Debian's package openssh-server)");
        let openssh = Self {
            child,
            address,
            home,
        };
        wait::within(PATIENCE, || TcpStream::connect(address).ok()).expect("sshd answers");
        openssh
    }
}

/// `sshd` lets in who is running it.
fn user() -> String {
    let ran = process::run(Command::new("id").arg("-un"), b"", PATIENCE).expect_ok();
    ran.stdout.trim().to_owned()
}
