//! The three servers, ready for the same clients: one certificate, files in memory. vsftpd and
//! ProFTPD let everybody in, so that a login costs them nothing; vsftpd has one process for a
//! session, not three with pipes between them, which is the most that it can do.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use layover_tests::engine::Engine;
use layover_tests::ftps::Entry;
use layover_tests::layover::{Layover, Setup};
use layover_tests::process;
use layover_tests::wait::{self, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::reaper::REAP;
use crate::cost;
use crate::rivals::Fsync;

/// Where Debian's packages are unpacked, when they are not installed: the two cannot be at once.
const UNPACKED: &str = "LAYOVER_TEST_FTP_SERVERS";

/// Debian has had this user for ever, and its home directory exists, which vsftpd wants.
const USER: &str = "daemon";

const PASSWORD: &str = "password-of-the-benchmark";

/// One of the three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Server {
    Vsftpd,
    ProFtpd,
    Layover,
}

impl Server {
    pub(super) const ALL: [Server; 3] = [Server::Vsftpd, Server::ProFtpd, Server::Layover];
}

pub(super) struct Servers {
    pub(super) client_dir: PathBuf,
    vsftpd: Rival,
    proftpd: Rival,
    layover: Layover,
    _dir: TempDir,
}

/// A server that somebody else wrote, below its reaper.
struct Rival {
    reaper: Child,
    address: SocketAddr,
}

impl Drop for Rival {
    fn drop(&mut self) {
        for pid in cost::tree(self.reaper.id()) {
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                // Some end because another one ended.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        self.reaper.wait().ok();
    }
}

impl Rival {
    fn start(address: SocketAddr, program: &Path, arguments: &[&str]) -> Self {
        let own = std::env::current_exe().expect("the path of this program");
        let reaper = Command::new(own)
            .arg(REAP)
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .spawn()
            .expect("start a server");
        let rival = Self { reaper, address };
        wait::within(PATIENCE, || TcpStream::connect(address).ok())
            .unwrap_or_else(|| panic!("{} does not answer", program.display()));
        rival
    }

    fn vsftpd(dir: &Path, certificate: &Path) -> Self {
        let (address, root) = (free_address(), home(dir, "vsftpd"));
        let config = dir.join("vsftpd.conf");
        let text = format!(
            "listen=YES\nbackground=NO\nlisten_address={}\nlisten_port={}\n\
             anonymous_enable=YES\nno_anon_password=YES\nanon_root={root}\n\
             ftp_username={USER}\nnopriv_user=nobody\nsecure_chroot_dir={root}\n\
             write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
             anon_other_write_enable=YES\nanon_world_readable_only=NO\n\
             ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\n\
             force_anon_data_ssl=YES\nrsa_cert_file={}\nssl_ciphers=HIGH\n\
             require_ssl_reuse=NO\nseccomp_sandbox=NO\n\
             one_process_model=YES\nmax_clients=2000\nmax_per_ip=2000\n",
            address.ip(),
            address.port(),
            certificate.display(),
            root = root.display(),
        );
        fs::write(&config, text).expect("write vsftpd.conf");
        let config = config.display().to_string();
        Self::start(address, &installed("usr/sbin/vsftpd"), &[&config])
    }

    fn proftpd(dir: &Path, certificate: &Path) -> Self {
        let (address, root) = (free_address(), home(dir, "proftpd"));
        let config = dir.join("proftpd.conf");
        let text = format!(
            "ServerName bench\nServerType standalone\nDefaultAddress {}\nPort {}\n\
             SocketBindTight on\nUseIPv6 off\nModulePath {}\nLoadModule mod_tls.c\n\
             User {USER}\nGroup {USER}\nPidFile {root}/pid\nScoreboardFile {root}/scoreboard\n\
             SystemLog none\nWtmpLog off\nTransferLog none\nUseReverseDNS off\n\
             MaxInstances 200\nDelayEngine off\n\
             TLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\nTLSLog none\n\
             TLSECCertificateFile {certificate}\nTLSECCertificateKeyFile {certificate}\n\
             TLSOptions NoSessionReuseRequired\n\
             <Anonymous {root}>\n\
             User {USER}\nGroup {USER}\nUserAlias anonymous {USER}\n\
             AnonRequirePassword off\nRequireValidShell off\nAllowOverwrite on\n\
             </Anonymous>\n",
            address.ip(),
            address.port(),
            installed("usr/lib/proftpd").display(),
            root = root.display(),
            certificate = certificate.display(),
        );
        fs::write(&config, text).expect("write proftpd.conf");
        let config = config.display().to_string();
        Self::start(
            address,
            &installed("usr/sbin/proftpd"),
            &["-n", "-q", "-c", &config],
        )
    }
}

/// Clients that have logged in, listed a directory and wait until this is dropped.
pub(super) struct Idle {
    client: Child,
    stdin: Option<ChildStdin>,
}

impl Drop for Idle {
    fn drop(&mut self) {
        drop(self.stdin.take());
        self.client.wait().ok();
    }
}

impl Servers {
    /// Starts all, their files below `place`. Needs root, as vsftpd does.
    pub(super) fn start(place: &Path, fsync: Fsync) -> Self {
        let dir = TempDir::with_prefix_in("layover-bench-", place).expect("make a folder");
        open_for_all(dir.path());
        let client_dir = dir.path().join("client");
        fs::create_dir(&client_dir).expect("make the client's folder");
        let data_dir = dir.path().join("data");
        let quoted = format!("\"{}\"", fsync.as_str());
        // Equal promises first: the others wait for no disk and compute no checksum.
        let checksum = match fsync {
            Fsync::Never => "\"off\"",
            Fsync::Always => "\"background\"",
        };
        let layover = Setup::new(Engine::Sqlite)
            .homes(&dir.path().join("homes"))
            .data_dir(&data_dir)
            .set("storage", "fsync", &quoted)
            .set("storage", "checksum", checksum)
            .set("gate", "max_connections_per_address", "2000")
            .set("gate", "max_half_open", "2000")
            .prepare();
        layover.admin(&["entity", "add", "bench"]);
        let account = ["account", "add", "bench", "--entity", "bench"];
        let rest = ["--allow", "127.0.0.1/32", "--password-stdin"];
        layover
            .run_with_input(&[&account[..], &rest].concat(), &format!("{PASSWORD}\n"))
            .expect_ok();
        layover.start();
        let certificate = layover_server::generated_tls_certificate_path(&data_dir);
        Self {
            client_dir,
            vsftpd: Rival::vsftpd(dir.path(), &certificate),
            proftpd: Rival::proftpd(dir.path(), &certificate),
            layover,
            _dir: dir,
        }
    }

    fn address(&self, server: Server) -> SocketAddr {
        match server {
            Server::Vsftpd => self.vsftpd.address,
            Server::ProFtpd => self.proftpd.address,
            Server::Layover => self.layover.ftps_address(Entry::Explicit),
        }
    }

    /// The process that all of the server's others are below.
    pub(super) fn pid(&self, server: Server) -> u32 {
        match server {
            Server::Vsftpd => self.vsftpd.reaper.id(),
            Server::ProFtpd => self.proftpd.reaper.id(),
            Server::Layover => self.layover.pid(),
        }
    }

    /// User and password.
    pub(super) fn login(&self, server: Server) -> [&'static str; 2] {
        match server {
            Server::Vsftpd | Server::ProFtpd => ["anonymous", "x"],
            Server::Layover => ["bench", PASSWORD],
        }
    }

    /// Where a client's files go: vsftpd wants a root that nobody can write to.
    pub(super) fn base(&self, server: Server) -> &'static str {
        match server {
            Server::Vsftpd | Server::ProFtpd => "/files/",
            Server::Layover => "/",
        }
    }

    pub(super) fn url(&self, server: Server, name: &str) -> String {
        format!("ftp://{}{}{name}", self.address(server), self.base(server))
    }

    /// So many sessions one after another, and so many that wait.
    pub(super) fn idle(&self, server: Server, ended: usize, staying: usize) -> Idle {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/idle_ftps.py");
        let address = self.address(server);
        let mut client = Command::new("/usr/bin/python3")
            .arg(script)
            .args([address.ip().to_string(), address.port().to_string()])
            .args(self.login(server))
            .args([self.base(server), &ended.to_string(), &staying.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start Python");
        let stdin = client.stdin.take();
        let stdout = client.stdout.take().expect("stdout is piped");
        let idle = Idle { client, stdin };
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("read what the client says");
        assert_eq!(line, "ready\n", "the idle clients did not come so far");
        idle
    }

    /// Waits until the server has done all that the last client made it do.
    pub(super) fn settle(&self, server: Server) {
        let pid = self.pid(server);
        let mut before = cost::tree_cpu_s(pid);
        let quiet = wait::within(PATIENCE, || {
            std::thread::park_timeout(Duration::from_millis(100));
            let now = cost::tree_cpu_s(pid);
            let is_quiet = (now - before).abs() < 0.011;
            before = now;
            is_quiet.then_some(())
        });
        quiet.expect("the server comes to rest");
    }
}

/// A root with a folder that the server's user may write to.
fn home(dir: &Path, name: &str) -> PathBuf {
    let root = dir.join(name);
    let files = root.join("files");
    fs::create_dir_all(&files).expect("make the server's folders");
    open_for_all(&root);
    chown(&files, Some(id("-u")), Some(id("-g"))).expect("give the folder to the server (as root)");
    root
}

fn open_for_all(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("open a folder for all");
}

fn id(which: &str) -> u32 {
    let ran = process::run(Command::new("id").args([which, USER]), b"", PATIENCE).expect_ok();
    ran.stdout.trim().parse().expect("a number")
}

fn installed(path: &str) -> PathBuf {
    Path::new(&std::env::var_os(UNPACKED).unwrap_or_else(|| "/".into())).join(path)
}

fn free_address() -> SocketAddr {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("find a free port");
    free.local_addr().expect("the port")
}
