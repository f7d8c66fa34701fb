//! Servers that partners run: OpenSSH's sshd, vsftpd, ProFTPD (FTPS and SFTP), pure-ftpd, libunftp
//! and another Layover, each on loopback and with what it takes to be an integration.
//!
//! The FTP servers need root, and to be where `tests/run` unpacked them.

mod ftp;
mod ssh;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::engine::Engine;
use crate::layover::{Layover, Setup};
use crate::partner_ftps::PartnerFtps;
use crate::wait::{self, PATIENCE};

/// What the partner runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Software {
    /// OpenSSH.
    Sshd,
    /// With `require_ssl_reuse=YES`.
    Vsftpd,
    /// `mod_tls` as it is by default: data connections must resume the session.
    ProFtpd,
    /// ProFTPD's `mod_sftp`.
    ProFtpdSftp,
    /// pure-ftpd.
    PureFtpd,
    /// libunftp, within the tests' process.
    Libunftp,
    /// A Layover of its own, over FTPS.
    LayoverFtps,
    /// The same over SFTP.
    LayoverSftp,
}

/// How TLS begins, where there is any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// With AUTH TLS.
    Explicit,
    /// With the first byte.
    Implicit,
}

/// The newest TLS that the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Newest {
    /// TLS 1.2.
    V12,
    /// TLS 1.3.
    V13,
}

/// What the server wants to see of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A password.
    Password,
    /// Our SSH key.
    Key,
    /// A certificate of ours, and a password.
    Certificate,
}

/// A server to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// What it is.
    pub software: Software,
    /// FTPS: how TLS begins.
    pub security: Security,
    /// FTPS: how new its TLS is.
    pub newest: Newest,
    /// What it wants.
    pub proof: Proof,
}

impl Plan {
    /// Explicit FTPS with TLS 1.3, or SFTP; with a password.
    pub const fn of(software: Software) -> Self {
        Self {
            software,
            security: Security::Explicit,
            newest: Newest::V13,
            proof: Proof::Password,
        }
    }
}

/// A running server; it ends with the value.
pub struct PartnerServer {
    address: SocketAddr,
    username: String,
    password: String,
    /// Where its files are on this machine.
    files: PathBuf,
    /// The same, as it names them.
    path: String,
    /// FTPS: whom to trust, in PEM.
    authority: Option<PathBuf>,
    /// FTPS: the fingerprint of its certificate, where nobody signed that.
    pin: Option<String>,
    /// FTPS: our certificate and its key.
    identity: Option<(PathBuf, PathBuf)>,
    /// SFTP: its host key, as known_hosts has it.
    host_key: Option<String>,
    plan: Plan,
    authorized_keys: Option<PathBuf>,
    running: Running,
    dir: TempDir,
}

/// What keeps it alive.
enum Running {
    Process(Reaper),
    Sockets(#[expect(dead_code, reason = "ends with the value")] ssh::Acceptor),
    Libunftp(#[expect(dead_code, reason = "ends with the value")] Box<PartnerFtps>),
    Layover(Box<Layover>),
}

/// Kills its process when dropped.
struct Reaper {
    child: Child,
    command: Command,
    address: SocketAddr,
}

impl Reaper {
    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    fn start_again(&mut self) {
        self.end();
        self.child = self.command.spawn().expect("start it again");
        let address = self.address;
        wait::until("the server to answer again", PATIENCE, || {
            std::net::TcpStream::connect(address).ok()
        });
    }
}

impl Drop for Reaper {
    fn drop(&mut self) {
        self.end();
    }
}

impl PartnerServer {
    /// Starts it; the reason when it is not installed.
    pub fn start(plan: Plan) -> Result<Self, String> {
        match plan.software {
            Software::Sshd => ssh::sshd(plan),
            Software::Vsftpd | Software::ProFtpd | Software::PureFtpd | Software::ProFtpdSftp => {
                ftp::start(plan)
            }
            Software::Libunftp => Ok(libunftp(plan)),
            Software::LayoverFtps | Software::LayoverSftp => Ok(layover(plan)),
        }
    }

    /// Where its files are on this machine.
    pub fn files(&self) -> &Path {
        &self.files
    }

    /// Ends the process of an FTP server and starts it again; who is connected may stay.
    ///
    /// # Panics
    /// When it is another server.
    pub fn start_again(&mut self) {
        match &mut self.running {
            Running::Process(reaper) => reaper.start_again(),
            _ => panic!("not a process of its own"),
        }
    }

    /// The same server, as it is reached by a line in front of it.
    #[must_use]
    pub fn behind(mut self, address: SocketAddr) -> Self {
        let [own, line] = [self.address, address].map(|at| format!("[{}]:{}", at.ip(), at.port()));
        self.host_key = self.host_key.map(|known| known.replace(&own, &line));
        self.address = address;
        self
    }

    /// The same folder, as it names it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Who we are there.
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Our password there.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// FTPS: whom to trust, in PEM.
    pub fn authority(&self) -> Option<&Path> {
        self.authority.as_deref()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes it an integration `partner` of `ours`, with the locations `in` and `out`, both its
    /// folder of files. `more` are further options of `integration add`.
    pub fn introduce(&self, ours: &Layover, more: &[&str]) {
        self.introduce_as(ours, "partner", more);
    }

    /// The same under another name.
    pub fn introduce_as(&self, ours: &Layover, name: &str, more: &[&str]) {
        let port = self.address.port().to_string();
        let host = self.address.ip().to_string();
        let is_sftp = matches!(
            self.plan.software,
            Software::Sshd | Software::ProFtpdSftp | Software::LayoverSftp
        );
        let mut arguments = vec!["integration", "add", name, "--entity", "acme"];
        arguments.extend([
            "--host",
            &host,
            "--port",
            &port,
            "--username",
            &self.username,
        ]);
        arguments.extend(["--protocol", if is_sftp { "sftp" } else { "ftps" }]);
        let authority = self.authority.as_ref().map(|file| text(file));
        if let Some(authority) = &authority {
            arguments.extend(["--ca-certificate", authority]);
        }
        if let Some(pin) = &self.pin {
            arguments.extend(["--certificate-pin", pin]);
        }
        if self.plan.security == Security::Implicit {
            arguments.extend(["--security", "implicit"]);
        }
        let identity = self.identity.as_ref();
        let identity = identity.map(|(pem, key)| (text(pem), format!("file:{}", text(key))));
        if let Some((certificate, key)) = &identity {
            arguments.extend(["--client-certificate", certificate, "--client-key", key]);
        }
        let mut input = String::new();
        if self.plan.proof == Proof::Key {
            arguments.extend(["--auth", "key"]);
        } else {
            if is_sftp {
                arguments.extend(["--auth", "password"]);
            }
            arguments.push("--password-stdin");
            input = format!("{}\n", self.password);
        }
        arguments.extend(more);
        ours.run_with_input(&arguments, &input).expect_ok();
        if let Some(host_key) = &self.host_key {
            ours.admin(&["integration", "host-key", "confirm", name, host_key]);
        }
        if self.plan.proof == Proof::Key {
            ours.admin(&["integration", "key", "rotate", name]);
            let shown = ours.admin(&["integration", "key", "show", name]).stdout;
            self.authorize(&shown);
        }
        for (location, direction) in [("in", "upload"), ("out", "download")] {
            let add = ["location", "add", name, location, &self.path];
            ours.admin(&[&add[..], &["--direction", direction]].concat());
        }
    }

    fn authorize(&self, line: &str) {
        if let Some(file) = &self.authorized_keys {
            std::fs::write(file, line).expect("write authorized_keys");
        }
        if let Running::Layover(layover) = &self.running {
            let file = self.dir.path().join("our.pub");
            std::fs::write(&file, line).expect("write the key");
            layover.admin(&["account", "key", "add", "partner", &text(&file)]);
        }
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A folder for a server and its files.
fn folder() -> TempDir {
    TempDir::with_prefix("layover-partner-").expect("make the partner's folder")
}

/// Runs a server and waits until it listens.
fn spawn(mut command: Command, address: SocketAddr, log: &Path) -> Result<Reaper, String> {
    let file = std::fs::File::create(log).expect("make the log");
    command
        .stdin(Stdio::null())
        .stdout(file.try_clone().expect("share the log"))
        .stderr(file);
    let child = command.spawn();
    let child = child.map_err(|error| format!("{command:?}: {error}"))?;
    let reaper = Reaper {
        child,
        command,
        address,
    };
    let answers = wait::within(PATIENCE, || std::net::TcpStream::connect(address).ok());
    assert!(
        answers.is_some(),
        "{:?} does not answer:\n{}",
        reaper.command,
        std::fs::read_to_string(log).unwrap_or_default()
    );
    Ok(reaper)
}

/// SHA-256 of a certificate, as OpenSSL writes it.
fn fingerprint(certificate: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]);
    let ran = crate::process::run(openssl.arg(certificate), b"", PATIENCE).expect_ok();
    let (_, found) = ran.stdout.trim().split_once('=').expect("a fingerprint");
    found.to_owned()
}

fn libunftp(plan: Plan) -> PartnerServer {
    let server = PartnerFtps::start("partner", ftp::PASSWORD);
    PartnerServer {
        address: server.address(),
        username: "partner".to_owned(),
        password: ftp::PASSWORD.to_owned(),
        files: server.files(),
        path: "/".to_owned(),
        authority: None,
        pin: Some(fingerprint(&server.certificate())),
        identity: None,
        host_key: None,
        plan,
        authorized_keys: None,
        running: Running::Libunftp(Box::new(server)),
        dir: folder(),
    }
}

fn layover(plan: Plan) -> PartnerServer {
    let dir = folder();
    let certificate = dir.path().join("certificate.pem");
    let key = dir.path().join("key.pem");
    let names = ["localhost", "127.0.0.1"].map(str::to_owned);
    let made = rcgen::generate_simple_self_signed(names).expect("make a certificate");
    std::fs::write(&certificate, made.cert.pem()).expect("write the certificate");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("write the key");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&key, private).expect("close the key");
    let theirs = Setup::new(Engine::Sqlite)
        .set("ftps", "certificate", &format!("{:?}", text(&certificate)))
        .set("ftps", "private_key", &format!("\"file:{}\"", text(&key)))
        .prepare();
    theirs
        .account("partner")
        .password(crate::account::PASSWORD)
        .add();
    theirs.start();
    let is_sftp = plan.software == Software::LayoverSftp;
    let entry = match plan.security {
        Security::Explicit => crate::ftps::Entry::Explicit,
        Security::Implicit => crate::ftps::Entry::Implicit,
    };
    let address = if is_sftp {
        theirs.sftp_address()
    } else {
        theirs.ftps_address(entry)
    };
    let host_key = is_sftp.then(|| ssh::scanned(address));
    PartnerServer {
        address,
        username: "partner".to_owned(),
        password: crate::account::PASSWORD.to_owned(),
        files: theirs.homes().join("partner"),
        path: "/".to_owned(),
        authority: None,
        pin: (!is_sftp).then(|| fingerprint(&certificate)),
        identity: None,
        host_key,
        plan,
        authorized_keys: None,
        running: Running::Layover(Box::new(theirs)),
        dir,
    }
}
