//! What every external client needs to know to log in.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::keys::KeyPair;

/// How an account proves itself.
#[derive(Debug, Clone)]
pub enum Proof {
    /// With the private half of this pair.
    Key(KeyPair),
    /// With a password.
    Password(String),
}

/// One account's way in, with a folder for the client's own files.
#[derive(Debug, Clone)]
pub struct Login {
    /// Where the server listens.
    pub server: SocketAddr,
    /// Account name.
    pub user: String,
    /// Key or password.
    pub proof: Proof,
    /// Where the client keeps its known hosts and scripts.
    pub client_dir: PathBuf,
}

impl Login {
    /// The client's own file of known host keys.
    pub fn known_hosts(&self) -> PathBuf {
        self.client_dir.join("known_hosts")
    }

    /// Options that keep OpenSSH from reading anything of the person who runs the tests, and from
    /// asking anything. The host key is learnt at the first connection and must stay after it.
    pub(crate) fn ssh_options(&self) -> Vec<String> {
        let mut options = vec![
            "-F".to_owned(),
            "/dev/null".to_owned(),
            "-o".to_owned(),
            format!("UserKnownHostsFile={}", self.known_hosts().display()),
        ];
        let mut set = |option: &str| options.extend(["-o".to_owned(), option.to_owned()]);
        set("GlobalKnownHostsFile=/dev/null");
        set("StrictHostKeyChecking=accept-new");
        set("ConnectTimeout=30");
        set("ServerAliveInterval=30");
        match &self.proof {
            Proof::Key(pair) => {
                set("IdentitiesOnly=yes");
                set("PreferredAuthentications=publickey");
                set(&format!("IdentityFile={}", pair.private().display()));
            }
            Proof::Password(_) => {
                set("BatchMode=no");
                set("PubkeyAuthentication=no");
                set("PreferredAuthentications=password,keyboard-interactive");
                set("NumberOfPasswordPrompts=1");
            }
        }
        options
    }

    /// Makes a program that answers OpenSSH's question for the password.
    pub fn askpass(&self, password: &str) -> PathBuf {
        let answer = self.client_dir.join("answer");
        std::fs::write(&answer, format!("{password}\n")).expect("write answer");
        let script = self.client_dir.join("askpass");
        write_script(
            &script,
            &format!("#!/bin/sh\nexec cat '{}'\n", answer.display()),
        );
        script
    }
}

/// Writes a file that can be executed.
pub(crate) fn write_script(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("write script");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).expect("chmod script");
}
