//! OpenSSH's sshd, one process for each connection, behind a socket of ours: no port is guessed
//! and nothing is left running.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::{PartnerServer, Plan, Running, folder, text};
use crate::keys::{KeyKind, KeyPair};
use crate::process;
use crate::wait::PATIENCE;

const SSHD: &str = "/usr/sbin/sshd";

/// Accepts until it is dropped.
pub(super) struct Acceptor {
    address: SocketAddr,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        // It looks when somebody comes.
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Acceptor {
    fn start(config: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
        let address = listener.local_addr().expect("an address");
        let stops = Arc::new(AtomicBool::new(false));
        let (config, stopping) = (config.to_owned(), Arc::clone(&stops));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                let input = OwnedFd::from(stream);
                let output = input.try_clone().expect("share the connection");
                let child = Command::new(SSHD)
                    .args(["-i", "-f"])
                    .arg(&config)
                    .stdin(Stdio::from(input))
                    .stdout(Stdio::from(output))
                    .stderr(Stdio::null())
                    .spawn();
                let mut child = child.expect("start sshd");
                std::thread::spawn(move || child.wait());
            }
        });
        Self {
            address,
            stops,
            thread: Some(thread),
        }
    }
}

pub(super) fn sshd(plan: Plan) -> Result<PartnerServer, String> {
    if !Path::new(SSHD).exists() {
        return Err("no sshd (package openssh-server)".to_owned());
    }
    let dir = folder();
    let files = dir.path().join("files");
    std::fs::create_dir(&files).expect("make the partner's files");
    // sshd run by root wants it; elsewhere it is not needed.
    std::fs::create_dir_all("/run/sshd").ok();
    let host_key = KeyPair::generate(dir.path(), "host", KeyKind::Ed25519);
    let authorized = dir.path().join("authorized_keys");
    std::fs::write(&authorized, "").expect("write authorized_keys");
    let config = dir.path().join("sshd_config");
    let lines = format!(
        "AuthorizedKeysFile {}\nHostKey {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\nPidFile none\n\
         LogLevel ERROR\nSubsystem sftp internal-sftp\n",
        authorized.display(),
        host_key.private().display()
    );
    std::fs::write(&config, lines).expect("write sshd_config");
    let acceptor = Acceptor::start(&config);
    let mut whoami = Command::new("id");
    let ran = process::run(whoami.arg("-un"), b"", PATIENCE).expect_ok();
    Ok(PartnerServer {
        address: acceptor.address,
        username: ran.stdout.trim().to_owned(),
        password: String::new(),
        path: text(&files),
        files,
        authority: None,
        pin: None,
        identity: None,
        host_key: Some(known(acceptor.address, &host_key.line())),
        plan,
        authorized_keys: Some(authorized),
        running: Running::Sockets(acceptor),
        dir,
    })
}

/// A host key as a line of known_hosts.
pub(super) fn known(address: SocketAddr, public: &str) -> String {
    let mut words = public.split_whitespace();
    let (kind, key) = (words.next(), words.next());
    format!(
        "[{}]:{} {} {}",
        address.ip(),
        address.port(),
        kind.expect("a key's kind"),
        key.expect("a key")
    )
}

/// The Ed25519 host key of a server, as a line of known_hosts.
pub(super) fn scanned(address: SocketAddr) -> String {
    let mut scan = Command::new("ssh-keyscan");
    let port = address.port().to_string();
    scan.args(["-t", "ed25519", "-p", &port, &address.ip().to_string()]);
    let ran = process::run(&mut scan, b"", PATIENCE).expect_ok();
    let line = ran.stdout.lines().find(|line| line.contains("ssh-ed25519"));
    line.expect("an Ed25519 host key").to_owned()
}
