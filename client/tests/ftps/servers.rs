//! vsftpd, ProFTPD and pure-ftpd on free ports of loopback, each with one certificate.
//!
//! Debian lets nobody install two of them, so `tests/run` unpacks them beside the system. They
//! need root, because they change to another user.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use layover_client::ServerSystem;
use layover_client::ftps::{
    FtpsOptions, ListingOptions, Now, Security, Timeouts, TlsOptions, TlsVersions, Transfer, Trust,
};
use layover_depot::Secret;
use tempfile::TempDir;

use crate::authority::{Authority, Leaf};

/// Debian has had this user for ever.
const USER_ID: u32 = 1;
const USER: &str = "daemon";
const PASSWORD: &str = "password-of-a-partner";
/// Ports for data connections, below those that the system gives out: nobody else uses them
/// on an address of our own.
pub(crate) const PASSIVE_PORTS: RangeInclusive<u16> = 30_000..=30_019;
/// How long a server may take to listen, in tries of 20 ms.
const TRIES: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Software {
    /// `require_ssl_reuse=YES`, which is its default.
    Vsftpd,
    /// mod_tls as it is by default: data connections must resume the session.
    ProFtpd,
    PureFtpd,
}

/// What differs from one server to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) software: Software,
    pub(crate) security: Security,
    /// Whether it wants a certificate of ours.
    pub(crate) wants_identity: bool,
    /// Whether it lets uploads replace or continue what is there.
    pub(crate) overwrites: bool,
    /// Whether data connections come on [`PASSIVE_PORTS`] alone.
    pub(crate) has_passive_range: bool,
}

impl Setup {
    pub(crate) fn new(software: Software, security: Security) -> Self {
        Self {
            software,
            security,
            wants_identity: false,
            overwrites: true,
            has_passive_range: false,
        }
    }
}

impl Setup {
    /// A line of settings with the first and the last of [`PASSIVE_PORTS`].
    fn passive_ports(self, before: &str, between: &str) -> String {
        let (first, last) = PASSIVE_PORTS.into_inner();
        if self.has_passive_range {
            format!("{before}{first}{between}{last}\n")
        } else {
            String::new()
        }
    }
}

/// A running server; it ends with the value.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    setup: Setup,
    pub(crate) authority: Arc<Authority>,
    pub(crate) leaf: Leaf,
    /// The folder of its files on the disk.
    pub(crate) files: PathBuf,
    dir: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it; the reason when it is not installed.
    pub(crate) fn start(setup: Setup) -> Result<Self, String> {
        let dir = TempDir::with_prefix("layover-ftp-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let authority = Arc::new(Authority::new("the partner's authority"));
        let host = own_address();
        let leaf = authority.sign(&host.to_string(), |_| {});
        let identity = dir.path().join("server.pem");
        fs::write(&identity, leaf.key_pem() + &leaf.pem()).unwrap();
        fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        let root = dir.path().join("root");
        let files = root.join("files");
        fs::create_dir_all(&files).unwrap();
        chown(&files, Some(USER_ID), Some(USER_ID)).map_err(|_| "root is needed".to_owned())?;
        let free = TcpListener::bind((host, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = match setup.software {
            Software::Vsftpd => vsftpd(setup, dir.path(), &root, address)?,
            Software::ProFtpd => proftpd(setup, dir.path(), &root, address)?,
            Software::PureFtpd => pure_ftpd(setup, dir.path(), &root, address)?,
        };
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = Self {
            child,
            address,
            setup,
            authority,
            leaf,
            files,
            dir,
        };
        server.wait();
        Ok(server)
    }

    fn wait(&self) {
        for _ in 0..TRIES {
            if TcpStream::connect(self.address).is_ok() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        panic!("{:?} does not answer:\n{}", self.setup, self.log());
    }

    pub(crate) fn software(&self) -> Software {
        self.setup.software
    }

    pub(crate) fn log(&self) -> String {
        let read = |name| fs::read(self.dir.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("log"), read("tls.log")].concat()).into_owned()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Options that reach it, in passive mode.
    pub(crate) fn options(&self) -> FtpsOptions {
        FtpsOptions {
            host: self.address.ip().to_string(),
            port: Some(self.address.port()),
            username: match self.setup.software {
                Software::Vsftpd => "anonymous".to_owned(),
                Software::ProFtpd | Software::PureFtpd => "partner".to_owned(),
            },
            password: Secret::new(PASSWORD),
            security: self.setup.security,
            transfer: Transfer::Passive,
            tls: TlsOptions {
                versions: TlsVersions::From12,
                trust: Trust::Authorities {
                    pem: self.authority.pem().into_bytes(),
                    pin: None,
                },
                identity: None,
            },
            system: ServerSystem::Unix,
            listing: ListingOptions::default(),
            source: None,
            timeouts: Timeouts {
                connect: Duration::from_secs(10),
                reply: Duration::from_secs(20),
                data: Duration::from_secs(10),
                stall: Duration::from_secs(20),
            },
            now: Now::new(now),
        }
    }
}

/// An address of loopback that no other test uses: none takes the port between the
/// moment when it is found free and the server's start.
pub(crate) fn own_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [.., process] = std::process::id().to_be_bytes();
    let [.., number] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    Ipv4Addr::new(127, 77, process, number)
}

/// Within the dates of the tests' certificates.
pub(crate) fn now() -> jiff::Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn installed(path: &str) -> Result<PathBuf, String> {
    let unpacked = std::env::var_os("LAYOVER_TEST_FTP_SERVERS")
        .map(PathBuf::from)
        .or_else(|| {
            let home = PathBuf::from(std::env::var_os("HOME")?);
            Some(home.join(".cache/layover-tests/ftp-servers"))
        });
    unpacked
        .into_iter()
        .chain([PathBuf::from("/")])
        .map(|root| root.join(path))
        .find(|program| program.exists())
        .ok_or_else(|| format!("{path} is not installed; tests/run unpacks it"))
}

fn vsftpd(setup: Setup, dir: &Path, root: &Path, at: SocketAddr) -> Result<Command, String> {
    let program = installed("usr/sbin/vsftpd")?;
    let identity = dir.join("server.pem");
    let tls = match setup.security {
        Security::Plain => String::new(),
        Security::Explicit | Security::Implicit => format!(
            "ssl_enable=YES\nallow_anon_ssl=YES\nforce_anon_logins_ssl=YES\n\
             force_anon_data_ssl=YES\nrsa_cert_file={}\nssl_ciphers=HIGH\n\
             require_ssl_reuse=YES\nstrict_ssl_read_eof=YES\nstrict_ssl_write_shutdown=YES\n\
             implicit_ssl={}\nrequire_cert={wants}\nvalidate_cert={wants}\nca_certs_file={}\n",
            identity.display(),
            yes(setup.security == Security::Implicit),
            dir.join("ca.pem").display(),
            wants = yes(setup.wants_identity),
        ),
    };
    let text = format!(
        "listen=YES\nbackground=NO\nlisten_address={}\nlisten_port={}\n\
         anonymous_enable=YES\nanon_root={root}\nanon_umask=022\n\
         ftp_username={USER}\nnopriv_user=nobody\nsecure_chroot_dir={root}\n\
         write_enable=YES\nanon_upload_enable=YES\nanon_mkdir_write_enable=YES\n\
         anon_other_write_enable={}\nanon_world_readable_only=NO\n\
         port_enable=YES\nconnect_from_port_20=NO\nseccomp_sandbox=NO\n{ports}{tls}",
        at.ip(),
        at.port(),
        yes(setup.overwrites),
        root = root.display(),
        ports = setup.passive_ports("pasv_min_port=", "\npasv_max_port="),
    );
    let config = dir.join("vsftpd.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.arg(config);
    Ok(command)
}

fn yes(is: bool) -> &'static str {
    if is { "YES" } else { "NO" }
}

fn on(is: bool) -> &'static str {
    if is { "on" } else { "off" }
}

fn proftpd(setup: Setup, dir: &Path, root: &Path, at: SocketAddr) -> Result<Command, String> {
    let program = installed("usr/sbin/proftpd")?;
    let modules = installed("usr/lib/proftpd")?;
    let hash = openssl_passwd();
    let users = dir.join("users");
    let line = format!(
        "partner:{hash}:{USER_ID}:{USER_ID}::{}:/bin/sh\n",
        root.display()
    );
    fs::write(&users, line).unwrap();
    fs::set_permissions(&users, fs::Permissions::from_mode(0o600)).unwrap();
    let identity = dir.join("server.pem");
    let tls = match setup.security {
        Security::Plain => String::new(),
        Security::Explicit | Security::Implicit => format!(
            "LoadModule mod_tls.c\nTLSEngine on\nTLSRequired on\nTLSProtocol TLSv1.2 TLSv1.3\n\
             TLSLog {dir}/tls.log\nTLSECCertificateFile {identity}\n\
             TLSECCertificateKeyFile {identity}\nTLSCACertificateFile {dir}/ca.pem\n\
             TLSVerifyClient {}\n{}",
            on(setup.wants_identity),
            if setup.security == Security::Implicit {
                "TLSOptions UseImplicitSSL\n"
            } else {
                ""
            },
            dir = dir.display(),
            identity = identity.display(),
        ),
    };
    let text = format!(
        "ServerName partner\nServerType standalone\nDefaultAddress {}\nPort {}\n\
         SocketBindTight on\nUseIPv6 off\nModulePath {}\nLoadModule mod_digest.c\n\
         User {USER}\nGroup {USER}\nPidFile {dir}/pid\nScoreboardFile {dir}/scoreboard\n\
         SystemLog none\nWtmpLog off\nTransferLog none\nUseReverseDNS off\n\
         DelayEngine off\nRequireValidShell off\nAuthOrder mod_auth_file.c\n\
         AuthUserFile {}\nDefaultRoot {}\nAllowOverwrite {}\nAllowStoreRestart {}\n{ports}{tls}",
        at.ip(),
        at.port(),
        modules.display(),
        users.display(),
        root.display(),
        on(setup.overwrites),
        on(setup.overwrites),
        dir = dir.display(),
        ports = setup.passive_ports("PassivePorts ", " "),
    );
    let config = dir.join("proftpd.conf");
    fs::write(&config, text).unwrap();
    let mut command = Command::new(program);
    command.args(["-n", "-q", "-c"]).arg(config);
    Ok(command)
}

fn openssl_passwd() -> String {
    let made = Command::new("openssl")
        .args(["passwd", "-6", PASSWORD])
        .output()
        .unwrap();
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

fn pure_ftpd(setup: Setup, dir: &Path, root: &Path, at: SocketAddr) -> Result<Command, String> {
    let program = installed("usr/sbin/pure-ftpd")?;
    let users = dir.join("users");
    let database = dir.join("users.pdb");
    let mut adding = Command::new(installed("usr/bin/pure-pw")?)
        .args([
            "useradd",
            "partner",
            "-u",
            &USER_ID.to_string(),
            "-g",
            &USER_ID.to_string(),
        ])
        .args(["-D".as_ref(), root.as_os_str(), "-m".as_ref()])
        .args([
            "-f".as_ref(),
            users.as_os_str(),
            "-F".as_ref(),
            database.as_os_str(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let twice = format!("{PASSWORD}\n{PASSWORD}\n");
    adding
        .stdin
        .take()
        .unwrap()
        .write_all(twice.as_bytes())
        .unwrap();
    assert!(adding.wait().unwrap().success(), "pure-pw failed");
    let mut command = Command::new(program);
    command
        .arg("-S")
        .arg(format!("{},{}", at.ip(), at.port()))
        .arg("-l")
        .arg(format!("puredb:{}", database.display()))
        .args(["-u", "1", "-E", "-A", "-H", "-g"])
        .arg(dir.join("pid"));
    if setup.security != Security::Plain {
        command.args(["-Y", "3", "-2"]).arg(dir.join("server.pem"));
    }
    if setup.has_passive_range {
        command.arg("-p").arg(setup.passive_ports("", ":").trim());
    }
    if !setup.overwrites {
        command.arg("-r");
    }
    Ok(command)
}
