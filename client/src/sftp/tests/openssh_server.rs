//! OpenSSH's sshd, one process for each connection, behind a socket of ours: no
//! port is guessed and nothing is left running.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use russh::keys::ssh_key::{Algorithm, EcdsaCurve, HashAlg, LineEnding, PrivateKey};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{key, new_key, options};
use crate::sftp::{Fingerprint, HostTrust, KeyPair, KnownKeys, SftpOptions};

const SSHD: &str = "/usr/sbin/sshd";

pub(super) struct OpenSsh {
    folder: TempDir,
    pub(super) port: u16,
    pub(super) username: String,
    pub(super) key: KeyPair,
    /// Ed25519, ECDSA, RSA.
    pub(super) host_keys: Vec<PrivateKey>,
    _accepting: AbortOnDropHandle<()>,
}

impl OpenSsh {
    /// `None` when this machine has no sshd; the test says so and returns.
    pub(super) async fn start() -> Option<Self> {
        Self::start_with("Subsystem sftp internal-sftp").await
    }

    /// With lines of `sshd_config`, the subsystem's among them.
    pub(super) async fn start_with(more: &str) -> Option<Self> {
        if !Path::new(SSHD).exists() {
            skip("no sshd (package openssh-server)");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("data")).unwrap();
        // sshd run by root wants it; elsewhere it is not needed.
        std::fs::create_dir_all("/run/sshd").ok();
        let key = new_key();
        let authorized = folder.path().join("authorized_keys");
        std::fs::write(&authorized, key.authorized_keys_line().unwrap()).unwrap();
        let mut config = format!(
            "AuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PidFile none\nLogLevel ERROR\n{more}\n",
            authorized.display()
        );
        let mut host_keys = Vec::new();
        for algorithm in [
            Algorithm::Ed25519,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP256,
            },
        ] {
            let mut random = russh::keys::key::safe_rng();
            host_keys.push(PrivateKey::random(&mut random, algorithm).unwrap());
        }
        for (number, host_key) in host_keys.iter().enumerate() {
            let file = folder.path().join(format!("host_{number}"));
            host_key.write_openssh_file(&file, LineEnding::LF).unwrap();
            config.push_str(&format!("HostKey {}\n", file.display()));
        }
        let config_file = folder.path().join("sshd_config");
        std::fs::write(&config_file, config).unwrap();
        let username = Command::new("id").arg("-un").output().unwrap().stdout;
        let username = String::from_utf8(username).unwrap().trim().to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stream = stream.into_std().unwrap();
                stream.set_nonblocking(false).unwrap();
                let input = OwnedFd::from(stream);
                let output = input.try_clone().unwrap();
                let child = Command::new(SSHD)
                    .arg("-i")
                    .arg("-f")
                    .arg(&config_file)
                    .stdin(Stdio::from(input))
                    .stdout(Stdio::from(output))
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                std::thread::spawn(move || {
                    let mut child = child;
                    child.wait().ok();
                });
            }
        });
        Some(Self {
            folder,
            port,
            username,
            key,
            host_keys,
            _accepting: AbortOnDropHandle::new(accepting),
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    pub(super) fn fingerprint(&self, number: usize) -> Fingerprint {
        let text = self.host_keys[number]
            .fingerprint(HashAlg::Sha256)
            .to_string();
        Fingerprint::parse(&text).unwrap()
    }

    pub(super) fn trust(&self) -> HostTrust {
        HostTrust::Known(KnownKeys::fingerprints([self.fingerprint(0)]).unwrap())
    }

    pub(super) fn options(&self) -> SftpOptions {
        options(self.port, &self.username, key(&self.key), self.trust())
    }

    /// A file or folder as the server sees it.
    pub(super) fn local(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join("data").join(name)
    }

    /// The same, as a path that is sent.
    pub(super) fn remote(&self, name: &str) -> Vec<u8> {
        self.local(name).into_os_string().into_encoded_bytes()
    }

    pub(super) fn authorize(&self, keys: &[&KeyPair]) {
        let lines: Vec<_> = keys
            .iter()
            .map(|key| key.authorized_keys_line().unwrap())
            .collect();
        std::fs::write(self.folder.path().join("authorized_keys"), lines.join("\n")).unwrap();
    }
}

/// Records that the running test was skipped, as the project's other tests do.
pub(super) fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!(
        "skipped: {}: {reason}\n",
        thread.name().unwrap_or("unnamed")
    );
    eprint!("{line}");
    if let Some(log) = std::env::var_os("LAYOVER_TEST_SKIPS") {
        let mut log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)
            .unwrap();
        log.write_all(line.as_bytes()).unwrap();
    }
}
