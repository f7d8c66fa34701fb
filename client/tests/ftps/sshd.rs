//! OpenSSH's sshd, one process for each connection, behind a socket of ours: no port is
//! guessed and nothing is left running.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

use layover_client::sftp::{KeyKind, KeyPair};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

const SSHD: &str = "/usr/sbin/sshd";

/// A running server; it ends with the value.
pub(crate) struct Sshd {
    dir: TempDir,
    port: u16,
    pub(crate) user: String,
    accepting: JoinHandle<()>,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Sshd {
    /// With more lines of its configuration; the reason when it is not installed.
    pub(crate) async fn start(more: &str) -> Result<Self, String> {
        if !Path::new(SSHD).exists() {
            return Err("no sshd (package openssh-server)".to_owned());
        }
        // sshd run by root wants it; elsewhere it is not needed.
        std::fs::create_dir_all("/run/sshd").ok();
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        let host_key = KeyPair::generate(KeyKind::Ed25519, "host").unwrap();
        let key_file = dir.path().join("host_key");
        write_private(&key_file, host_key.to_openssh().unwrap().as_bytes());
        std::fs::write(dir.path().join("authorized_keys"), "").unwrap();
        let config = format!(
            "HostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUseDNS no\n\
             PidFile none\nLogLevel ERROR\nSubsystem sftp internal-sftp\n{more}\n",
            key_file.display(),
            dir.path().join("authorized_keys").display(),
        );
        let config_file = dir.path().join("sshd_config");
        std::fs::write(&config_file, config).unwrap();
        let user = Command::new("id").arg("-un").output().unwrap().stdout;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Ok(Self {
            dir,
            port: listener.local_addr().unwrap().port(),
            user: String::from_utf8(user).unwrap().trim().to_owned(),
            accepting: tokio::spawn(accept(listener, config_file)),
        })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its files.
    pub(crate) fn files(&self) -> std::path::PathBuf {
        self.dir.path().join("files")
    }

    /// Lets the holder of this key in, and nobody else.
    pub(crate) fn authorize(&self, public: &str) {
        std::fs::write(self.dir.path().join("authorized_keys"), public).unwrap();
    }
}

fn write_private(file: &Path, key: &[u8]) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(file, key).unwrap();
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

async fn accept(listener: TcpListener, config_file: std::path::PathBuf) {
    while let Ok((stream, _)) = listener.accept().await {
        let stream = stream.into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        let input = OwnedFd::from(stream);
        let output = input.try_clone().unwrap();
        let mut child = Command::new(SSHD)
            .arg("-i")
            .arg("-f")
            .arg(&config_file)
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::spawn(move || child.wait().ok());
    }
}
